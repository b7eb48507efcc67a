"""What an optimizer keeps for each parameter, found by letting one of the same options take a step."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gangraph.build.optimizers import make_optimizer
from gangraph.language.spec import OptimizerSpec
from gangraph.run.tensor_kind import TensorKind

MORE_STATE = {"amsgrad": True, "centered": True, "momentum": 0.5}  # options under which an optimizer keeps more


@dataclass(frozen=True, slots=True)
class Kept:
    """What an optimizer keeps of a parameter: `always`, `usual` once it stepped, and what is `possible`."""

    always: frozenset[str]
    usual: frozenset[str]
    possible: Mapping[str, TensorKind]


def kept_by(group: OptimizerSpec, kind: TensorKind) -> Kept:
    """What an optimizer of a group keeps of a parameter of some kind, with whatever values its options may have had."""
    parameter = torch.zeros(kind.shape, dtype=kind.dtype)
    always, _ = _after_a_step(group, parameter, {})
    _, least = _after_a_step(group, parameter, dict.fromkeys(MORE_STATE, False))
    possible = {key: TensorKind.of(tensor) for key, tensor in possible_state(group, parameter).items()}
    return Kept(frozenset(always), frozenset(least), possible)


def possible_state(group: OptimizerSpec, parameter: Tensor) -> dict[str, Tensor]:
    """Tensors like all those that an optimizer of a group may keep of a parameter, where it keeps them.

    Both with its options, and with every other value that these may have had: an option may change over time, and a
    phase takes over the state of the phase before, which had other options.
    """
    return _after_a_step(group, parameter, {})[1] | _after_a_step(group, parameter, MORE_STATE)[1]


def _after_a_step(
    group: OptimizerSpec, like: Tensor, options: Mapping[str, float]
) -> tuple[set[str], dict[str, Tensor]]:
    """The keys of an optimizer's state of a parameter before its first step, and that state after the step."""
    parameter = nn.Parameter(torch.zeros_like(like))
    optimizer = make_optimizer(group, [parameter])
    before = set(optimizer.state[parameter])
    for option in options.keys() & optimizer.defaults.keys():
        optimizer.param_groups[0][option] = options[option]
    if options.get("momentum") == 0:
        optimizer.param_groups[0]["nesterov"] = False
    parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return before, dict(optimizer.state[parameter])
