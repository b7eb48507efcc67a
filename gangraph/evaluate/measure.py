"""Measuring trained networks: results and metrics over many samples, each with how it was measured."""

import math
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from gangraph.build.partition import ops_of, sets_of
from gangraph.data.fixed import is_fixed
from gangraph.data.random import RandomSource
from gangraph.evaluate.evaluation import BoundEvaluation, Evaluator, over_set
from gangraph.evaluate.protocol import protocol
from gangraph.folder.results import Measured
from gangraph.language.expression.schedule import Clock
from gangraph.run.draws import Draws
from gangraph.run.engine import Engine


def measure(
    engine: Engine, clock: Clock, evaluators: Mapping[str, Evaluator], names: Collection[str] | None = None
) -> dict[str, Measured]:
    """Every result and every metric of the spec, or those in `names`, over `result_samples` samples.

    The networks run on `samples` samples at a time; ops and metrics then see all samples at once, float32 on the CPU.
    No sample of a data stream is used twice, so the smallest that a number is computed from limits its samples. Where a
    metric takes several sets, each is limited by its own streams.

    Args:
        evaluators: at least those that the measurement calls.

    Raises:
        RunError: a metric refuses its values.
        DataError: data is missing.
    """
    program = engine.program
    evaluation = program.plan.checked.graph.evaluation
    chosen = {name: node for name, node in evaluation.numbers if names is None or name in names} if evaluation else {}
    if evaluation is None or program.measurement is None or not chosen:
        return {}
    bound = BoundEvaluation(engine, program.measurement, evaluators)
    draws = bound.draws(bound.spec.samples)
    counts = {name: _counts(bound, draws, node) for name, node in chosen.items()}
    most = max((count for each in counts.values() for count in each.values()), default=bound.spec.result_samples)
    gathered = _gathered(bound, draws, clock, most)
    found, along = {}, _batched(bound)
    for together in _counted_alike(counts):
        nodes = {name: chosen[name] for name in together}
        values = {
            value: _first(gathered[value], count, most) if value in along else gathered[value]
            for name in together
            for value, count in counts[name].items()
        }
        made, missing = over_set(bound.graph, ops_of(bound.graph, nodes.values(), program.measurement.whole), values)
        for name, node in nodes.items():
            value, why = (None, missing[node]) if node in missing else _number(made[node])
            found[name] = Measured(value, why, protocol(bound, node, counts[name], evaluators))
    return {name: found[name] for name in chosen}


def _counted_alike(counts: Mapping[str, Mapping[str, int]]) -> Iterable[list[str]]:
    """The numbers that can be computed together, because each value has equally many samples in all of them."""
    groups: dict[object, list[str]] = {}
    for name, each in counts.items():
        single = len(set(each.values())) < 2
        groups.setdefault(max(each.values(), default=0) if single else name, []).append(name)
    return groups.values()


def _counts(bound: BoundEvaluation, draws: Draws, node: str) -> dict[str, int]:
    """How many samples there are for a number, of each value that comes in batches: none of a stream comes twice.

    Where layers see the batch, in training mode or since they couple samples always, every batch is a whole one.
    """
    counts: dict[str, int] = {}
    per_sample = bound.engine.program.plan.checked.per_sample
    for values in sets_of(bound.graph, node, bound.part.whole):
        below = {bound.graph.nodes[name].target for name in bound.graph.below(*values)}
        streams = [s for s in bound.sources if s in below and not isinstance(draws.sources[s], RandomSource)]
        count = min([bound.spec.result_samples, *(len(draws.open(name)) for name in streams)])
        owners = {bound.graph.owner(name) for name in below}
        if not per_sample.isdisjoint(owners) or any(is_fixed(draws.sources[s]) for s in bound.sources if s in below):
            count = min(count, bound.spec.samples)  # every batch has the same samples
        batch = min(bound.spec.samples, count)
        whole = bound.spec.mode == "train" or _couples(bound)
        counts |= dict.fromkeys(values, count - count % batch if whole else count)
    return counts


def _couples(bound: BoundEvaluation) -> bool:
    """Whether a network of the evaluation compares the samples of a batch: the last batch runs them all."""
    types = bound.engine.program.plan.checked.evaluation
    return types is not None and any(model.couples_always for model in types.networks.values())


def _gathered(bound: BoundEvaluation, draws: Draws, clock: Clock, count: int) -> dict[str, Tensor]:
    """The outputs of networks, and everything else that ops read, over all samples: batch after batch, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    drawn = _drawn(bound)
    for index, start in enumerate(range(0, count, bound.spec.samples)):
        draws.batch = min(bound.spec.samples, count - start)
        for name, value in bound.batch(draws, clock, index).items():
            value = value.detach().cpu()
            if name in parts and name not in drawn:
                continue  # it is the same in every batch
            parts.setdefault(name, []).append(value.float() if value.is_floating_point() else value)
    along = _batched(bound)
    return {name: torch.cat(values) if name in along else _mean(values) for name, values in parts.items()}


def _drawn(bound: BoundEvaluation) -> frozenset[str]:
    """The values that are computed from a draw, or come by chance: other ones in every batch."""
    types, found = bound.engine.program.plan.checked.evaluation, set[str]()
    assert types is not None
    for node in bound.graph.nodes.values():
        chance = node.is_call and node.id in types.calls and bool(types.calls[node.id].draws)
        if node.is_source or node.id in types.batched or chance or not found.isdisjoint(node.inputs):
            found.add(node.id)
    return frozenset(found)


def _batched(bound: BoundEvaluation) -> frozenset[str]:
    """The values whose first axis is the batch; no state, mean over a batch or vector of parameters is one."""
    types = bound.engine.program.plan.checked.evaluation
    assert types is not None
    return types.batched


def _mean(values: list[Tensor]) -> Tensor:
    """What is one thing for a batch, of all batches: it is the same in each, or else the mean is taken."""
    return values[0] if len(values) == 1 else torch.stack(values).float().mean(0)


def _first(value: Tensor, count: int, of: int) -> Tensor:
    """The first `count` of so many samples."""
    return value[: len(value) * count // of]


def _number(value: Tensor) -> tuple[float | None, str]:
    number = float(value)
    return (number, "") if math.isfinite(number) else (None, f"the value is not finite: {number}")
