"""What an optimizer keeps for each parameter, found by letting one of the same options take a step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from gangraph.build.optimizers import make_optimizer, options_of, take_step
from gangraph.language.update_spec import OptimizerSpec
from gangraph.run.tensor_kind import TensorKind


@dataclass(frozen=True, slots=True)
class Kept:
    """The tensors that an optimizer keeps of a parameter: from the start, after any step, and at most."""

    always: frozenset[str]
    usual: frozenset[str]
    possible: Mapping[str, TensorKind]


class Keeping:
    """What the optimizer of a group may keep of a parameter, whatever values its options had.

    An option may change over time, and a phase takes over the state of the phase before, which had other options.
    """

    def __init__(self, group: OptimizerSpec) -> None:
        self.group = group
        weight = torch.zeros(2, 3)
        own = state_after_a_step(group, weight).keys()
        self.others = [
            other for other in _others(group, weight) if state_after_a_step(group, weight, other).keys() != own
        ]

    def of(self, kind: TensorKind) -> Kept:
        """What they keep of a parameter of some kind."""
        parameter = nn.Parameter(torch.zeros(kind.shape, dtype=kind.dtype))
        always = frozenset(make_optimizer(self.group, [parameter]).state[parameter])
        states = list(self._states(parameter))
        possible = {key: TensorKind.of(tensor) for state in states for key, tensor in state.items()}
        return Kept(always, frozenset(possible).intersection(*states), possible)

    def possible(self, parameter: Tensor) -> dict[str, Tensor]:
        """Tensors like all those that they may keep of a parameter, where they keep them."""
        return {key: tensor for state in self._states(parameter) for key, tensor in state.items()}

    def _states(self, parameter: Tensor) -> Iterator[dict[str, Tensor]]:
        yield state_after_a_step(self.group, parameter)
        for other in self.others:
            yield state_after_a_step(self.group, parameter, other)


def keepings(group: OptimizerSpec, entries: Sequence[int], count: int) -> list[Keeping]:
    """What may be kept of each of `count` parameters of a group; `entries` are their entries, where they have any."""
    if not entries:
        return [Keeping(group)] * count
    made = {entry: Keeping(group.of(group.entries[entry])) for entry in {*entries}}
    return [made[entry] for entry in entries]


def state_after_a_step(
    group: OptimizerSpec, like: Tensor, options: Mapping[str, float] = MappingProxyType({})
) -> dict[str, Tensor]:
    """What an optimizer keeps of a parameter after its first step, with `options` in place of its group's."""
    parameter = nn.Parameter(torch.zeros_like(like))
    optimizer = make_optimizer(group, [parameter])
    optimizer.param_groups[0].update(options)
    parameter.grad = torch.zeros_like(parameter)
    take_step(group, optimizer)
    return dict(optimizer.state[parameter])


def _others(group: OptimizerSpec, weight: Tensor) -> Iterator[dict[str, float]]:
    """For each option that is a switch or a number, the option with the opposite setting: on if off, 0 if not 0.

    Those with which the optimizer cannot take a step are left out.
    """
    defaults = make_optimizer(group, [nn.Parameter(weight)]).defaults
    for option in options_of(group.kind):
        if isinstance(value := defaults.get(option), int | float):
            other = {option: not value if isinstance(value, bool) else 0.0 if value else 0.5}
            with suppress(Exception):  # torch raises many types
                state_after_a_step(group, weight, other)
                yield other
