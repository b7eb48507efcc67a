"""How the four plans of a spec are compared: every loss of every step, every parameter and every buffer."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from gangraph import Trainer
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase
from gangraph.plan.model import UpdatePlan
from gangraph.plan.planner import plan
from gangraph.run.engine import NotFiniteError
from tests.support import trainer

PLANS = {"shared and merged": (True, True), "merged": (False, True), "shared": (True, False), "plain": (False, False)}
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Comparison:
    """What four plans of one spec gave: the largest difference between two of them, and in what it first was too large.

    `stopped` says that a loss became NaN or infinite, in all of them at the same step. `trainers` are those of the
    plans that differ: one that says the same as another is that one.
    """

    largest: float
    difference: str
    stopped: bool
    trainers: tuple[Trainer, ...]


def compare(spec: Spec, steps: int, *, alone: bool = True) -> Comparison:
    """Train by every plan, step by step; if not `alone`, only where plans differ. Raises SpecError."""
    runs = _trainers(spec)
    made, largest = tuple(runs.values()), 0.0
    for step in range(steps if alone or len(made) > 1 else 0):
        losses = {name: _stepped(run) for name, run in runs.items()}
        ended = [name for name, each in losses.items() if each is None]
        if ended:
            alike = len(ended) == len(runs)
            return Comparison(largest, "" if alike else f"step {step}: NaN in {', '.join(ended)} only", alike, made)
        first, *others = ({**(losses[name] or {}), **tensors(run)} for name, run in runs.items())
        for name, other in zip([*runs][1:], others, strict=True):
            if first.keys() != other.keys():
                return Comparison(largest, f"step {step}, {name}: {first.keys() ^ other.keys()}", False, made)
            for value, found in _differences(first, other):
                largest = max(largest, found)
                if not found <= TOLERANCE:
                    return Comparison(largest, f"step {step}, {name}: {value} by {found:.3g}", False, made)
    return Comparison(largest, "", False, made)


def _trainers(spec: Spec) -> dict[str, Trainer]:
    """A trainer of each plan that says something else than those before it."""
    checked = check_phase(spec, spec.phases[0])
    known: list[tuple[UpdatePlan, ...]] = []
    runs = {}
    for name, (share, merge) in PLANS.items():
        if (updates := plan(checked, share=share, merge=merge).step) not in known:
            known.append(updates)
            with patch("gangraph.run.training.check_phase", lambda *_: checked):  # once for all
                runs[name] = trainer(spec, share=share, merge=merge)
    return runs


def _stepped(run: Trainer) -> dict[str, float] | None:
    try:
        return run.step()
    except NotFiniteError:
        return None


def tensors(run: Trainer) -> dict[str, Tensor]:
    """Every parameter and buffer of networks and averages, and every state, as they are."""
    states = {f"state {name}": tensor for name, tensor in run.states.items()}
    modules = {**run.engine.networks.live, **run.engine.networks.averages}
    own = {f"{name}.{path}": t for name, module in modules.items() for path, t in module.state_dict().items()}
    return own | states


def _differences(
    first: Mapping[str, Tensor | float], second: Mapping[str, Tensor | float]
) -> Iterator[tuple[str, float]]:
    """The largest absolute difference in each thing, relative to what is larger than 1; two NaN are alike."""
    for name, value in first.items():
        one, other = (torch.as_tensor(each, dtype=torch.float64) for each in (value, second[name]))
        apart = torch.where(one.isnan() & other.isnan(), 0.0, (one - other).abs()).max()
        size = one.nan_to_num().abs().max().clamp_min(1.0)
        yield name, math.inf if apart.isnan() else float(apart / size)
