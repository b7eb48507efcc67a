"""How the four plans of a spec are compared: every loss of every step, every parameter and every buffer.

What the spec evaluates is compared at the end, and phases follow each other as in a run.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from gangraph import Trainer
from gangraph.evaluate.measure import measure
from gangraph.language.spec import Spec
from gangraph.lower.given_names import noise_name
from gangraph.pipeline import check_phase
from gangraph.plan.planner import plan
from gangraph.run.finite import NotFiniteError
from tests.support import trainer

PLANS = {"shared and merged": (True, True), "merged": (False, True), "shared": (True, False), "plain": (False, False)}
TOLERANCE = 1e-9
Told = Mapping[str, list[Tensor] | list[Mapping[str, Tensor]]]


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


def compare(spec: Spec, steps: int, *, alone: bool = True, given: bool = False) -> Comparison:
    """Train by every plan, step by step; if not `alone`, only where plans differ. Raises SpecError.

    If `given`, the first plan tells half of what happens by chance in it, and the others are given that.
    """
    runs = _trainers(spec)
    made, largest = tuple(runs.values()), 0.0
    for step in range(steps if alone or len(made) > 1 else 0):
        found = _stepped(runs, step if given else None)
        ended = [name for name, each in found.items() if each is None]
        if ended:
            alike = len(ended) == len(found)
            return Comparison(largest, "" if alike else f"step {step}: NaN in {', '.join(ended)} only", alike, made)
        apart, difference = _apart({name: {**(each or {}), **tensors(runs[name])} for name, each in found.items()})
        largest = max(largest, apart)
        if difference:
            return Comparison(largest, f"step {step}, {difference}", False, made)
    apart, difference = _apart({name: evaluated(run) for name, run in runs.items()} if alone or len(made) > 1 else {})
    return Comparison(max(largest, apart), f"evaluation, {difference}" if difference else "", False, made)


def _trainers(spec: Spec) -> dict[str, Trainer]:
    """A trainer of each plan that says something else than those before it."""
    checked = {phase.called: check_phase(spec, phase) for phase in spec.phases}
    known = []
    runs = {}
    for name, (share, merge) in PLANS.items():
        if (updates := [plan(each, share=share, merge=merge).step for each in checked.values()]) not in known:
            known.append(updates)
            with patch("gangraph.run.training.check_phase", lambda _, phase: checked[phase.called]):  # once for all
                runs[name] = trainer(spec, share=share, merge=merge)
    return runs


def _stepped(runs: Mapping[str, Trainer], seed: int | None) -> dict[str, dict[str, float] | None]:
    """The losses of a step of every run, or None of one that ended in NaN; with a seed, chances are given."""
    for run in runs.values():
        if not run.in_last_phase and run.phase_done:
            run.next_phase()
    (first, leads), *others = runs.items()
    if seed is None:
        return {name: _step(run, {}) for name, run in runs.items()}
    with overheard(leads, seed) as told:
        found = {first: _step(leads, {})}
    return found if found[first] is None else found | {name: _step(run, told) for name, run in others}


def _step(run: Trainer, given: Told) -> dict[str, float] | None:
    try:
        return run.step(given)
    except NotFiniteError:
        return None


@contextmanager
def overheard(run: Trainer, seed: int) -> Iterator[Told]:
    """Half of what happens by chance in a step of a run, by the names under which it can be given to others.

    Sources, and numbers of layers, are those that the run draws; histories exchange with places that are chosen here.
    """
    pick, chances, draws = random.Random(seed), run.engine.chances, run.engine.draws
    chosen = {name for name in run.draws if pick.randrange(2)}
    names = {chance.key: name for name, chance in chances.known.items() if name in chosen}
    told: dict[str, list] = defaultdict(list)
    draw, noise, taken = draws.draw, draws.noise, chances.taken

    def drawn(name: str, step: int) -> Mapping[str, Tensor]:
        made = draw(name, step)
        if name in chosen:
            told[name].append(made)
        return made

    def taken_here(key: str) -> Tensor | None:
        if key not in names or not chances.known[names[key]].size:
            return taken(key)
        chance = chances.known[names[key]]
        shape = chances.shape(chance.node, ())
        told[names[key]].append(torch.tensor([pick.randrange(-1, chance.size) for _ in range(shape[0])]))
        return told[names[key]][-1]

    def noise_here(call: str, layer, path: str, *more) -> Tensor:  # type: ignore[no-untyped-def]
        made = noise(call, layer, path, *more)
        if (key := noise_name(call, path)) in names:
            told[names[key]].append(made)
        return made

    with (
        patch.object(draws, "draw", drawn),
        patch.object(draws, "noise", noise_here),
        patch.object(chances, "taken", taken_here),
    ):
        yield told


def evaluated(run: Trainer) -> dict[str, float | Tensor]:
    """What the spec evaluates and measures, and everything that this leaves as it was; NaN for what is not finite."""
    found, measured = run.evaluate(), measure(run.engine, run.clock, {})
    columns = (
        {}
        if found is None
        else {f"{grid}: {name}": each for grid, every in found.grids.items() for name, each in every.items()}
    )
    results = {f"over all: {name}": math.nan if each.value is None else each.value for name, each in measured.items()}
    return {**columns, **(found.metrics if found is not None else {}), **results, **tensors(run)}


def tensors(run: Trainer) -> dict[str, Tensor]:
    """Every parameter and buffer of networks and averages, and every state, as they are."""
    states = {f"state {name}": tensor for name, tensor in run.states.items()}
    modules = {**run.engine.networks.live, **run.engine.networks.averages}
    own = {f"{name}.{path}": t for name, module in modules.items() for path, t in module.state_dict().items()}
    return own | states


def _apart(found: Mapping[str, Mapping[str, Tensor | float]]) -> tuple[float, str]:
    """The largest difference between the first and another, and what it is in where it is too large."""
    largest, (first, *others) = 0.0, found.values() if found else [{}]
    for name, other in zip([*found][1:], others, strict=True):
        if first.keys() != other.keys():
            return largest, f"{name}: {first.keys() ^ other.keys()}"
        for value, apart in _differences(first, other):
            largest = max(largest, apart)
            if not apart <= TOLERANCE:
                return largest, f"{name}: {value} by {apart:.3g}"
    return largest, ""


def _differences(
    first: Mapping[str, Tensor | float], second: Mapping[str, Tensor | float]
) -> Iterator[tuple[str, float]]:
    """The largest absolute difference in each thing, relative to what is larger than 1; two NaN are alike."""
    for name, value in first.items():
        one, other = (torch.as_tensor(each, dtype=torch.float64) for each in (value, second[name]))
        apart = torch.where(one.isnan() & other.isnan(), 0.0, (one - other).abs()).max()
        size = one.nan_to_num().abs().max().clamp_min(1.0)
        yield name, math.inf if apart.isnan() else float(apart / size)
