"""What an optimizer keeps for each parameter, found by letting one of the same options take a step."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from gangraph.build.optimizers import make_optimizer
from gangraph.language.spec import OptimizerSpec
from gangraph.run.tensor_kind import TensorKind

MORE_STATE = {"amsgrad": True, "centered": True, "momentum": 0.5}  # options under which an optimizer keeps more


@dataclass(frozen=True, slots=True)
class Kept:
    """What an optimizer keeps of each parameter: `always`, `usual` once it stepped, and what is `possible`.

    Of that, None stands for a tensor like the parameter.
    """

    always: frozenset[str]
    usual: frozenset[str]
    possible: Mapping[str, TensorKind | None]


def kept_by(group: OptimizerSpec) -> Kept:
    """What an optimizer of a group keeps: with its options, and with every other value that these may have had.

    An option may change over time, and a phase takes over the state of the phase before, which had other options.
    """
    like = (2, 3)
    always, usual = _after_a_step(group, like, {})
    most = _after_a_step(group, like, MORE_STATE)[1]
    least = _after_a_step(group, like, dict.fromkeys(MORE_STATE, False))[1]
    possible = {key: None if kind.shape == like else kind for key, kind in {**usual, **most}.items()}
    return Kept(frozenset(always), frozenset(least), possible)


def _after_a_step(
    group: OptimizerSpec, shape: tuple[int, ...], options: Mapping[str, float]
) -> tuple[set[str], dict[str, TensorKind]]:
    """The keys of an optimizer's state before its first step, and after that the kind of each."""
    parameter = nn.Parameter(torch.zeros(shape))
    optimizer = make_optimizer(group, [parameter])
    before = set(optimizer.state[parameter])
    for option in options.keys() & optimizer.defaults.keys():
        optimizer.param_groups[0][option] = options[option]
    if options.get("momentum") == 0:
        optimizer.param_groups[0]["nesterov"] = False
    parameter.grad = torch.zeros(shape)
    optimizer.step()
    return before, {key: TensorKind.of(tensor) for key, tensor in optimizer.state[parameter].items()}
