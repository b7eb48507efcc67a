"""Measuring a trained run: its results and metrics over many samples, each with how it was measured."""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gangraph.build.partition import ops_of, sets_of, sets_taken
from gangraph.data.random import RandomSource
from gangraph.evaluate.evaluation import Evaluation, over_set
from gangraph.folder.results import Measured, Measurements, read_results
from gangraph.folder.saved import LATEST, first_good, is_run, results_folder
from gangraph.folder.state import read_state
from gangraph.graph.model import Evaluation as Seen
from gangraph.graph.model import Graph, Node
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.spec import Spec
from gangraph.registry import vocabulary
from gangraph.run.continuing import refuse_training
from gangraph.run.draws import Draws
from gangraph.run.reporter import tell
from gangraph.run.trainer import Trainer
from gangraph.session.evaluators import facts_of

__all__ = ["Measured", "Measurements", "measure", "measure_run"]

_EVERY = ("samples", "batch", "mode", "seed", "step")  # the facts of every number, whatever measured it


def measure(trainer: Trainer, names: Collection[str] | None = None) -> dict[str, Measured]:
    """Every result and every metric of the spec, or those in `names`, over `result_samples` samples.

    The networks run on `samples` samples at a time; ops and metrics then see all samples at once, float32 on the CPU.
    No sample of a data stream is used twice, so the smallest that a number is computed from limits its samples. Where a
    metric takes several sets, each is limited by its own streams.

    Raises:
        RunError: a metric refuses its values.
        DataError: data is missing.
    """
    program = trainer.engine.program
    seen = program.plan.checked.graph.evaluation
    chosen = {name: node for name, node in seen.numbers if names is None or name in names} if seen else {}
    if seen is None or program.measurement is None or not chosen:
        return {}
    evaluation = Evaluation(trainer.engine, seen, program.measurement)
    draws = evaluation.draws(evaluation.spec.samples)
    counts = {name: _counts(evaluation, draws, node) for name, node in chosen.items()}
    most = max((count for each in counts.values() for count in each.values()), default=evaluation.spec.result_samples)
    gathered = _gathered(evaluation, draws, trainer, most)
    found = {}
    for names in _counted_alike(counts):
        nodes = {name: chosen[name] for name in names}
        together = {value: count for name in names for value, count in counts[name].items()}
        values = {
            name: gathered[name] if _is_vector(evaluation, name) else _first(gathered[name], count, most)
            for name, count in together.items()
        }
        made, missing = over_set(seen.graph, ops_of(seen.graph, nodes.values(), program.measurement.whole), values)
        for name, node in nodes.items():
            value, why = (None, missing[node]) if node in missing else _number(made[node])
            facts = {**_protocol(seen, node, counts[name]), **_common(evaluation, trainer, counts[name])}
            found[name] = Measured(value, why, facts)
    return {name: found[name] for name in chosen}


def _counted_alike(counts: Mapping[str, Mapping[str, int]]) -> Iterable[list[str]]:
    """The numbers that can be computed together, because each value has equally many samples in all of them."""
    groups: dict[object, list[str]] = {}
    for name, each in counts.items():
        single = len(set(each.values())) < 2
        groups.setdefault(max(each.values(), default=0) if single else name, []).append(name)
    return groups.values()


def _common(evaluation: Evaluation, trainer: Trainer, counts: Mapping[str, int]) -> dict[str, Any]:
    """What is to be said of every number; of several sets, the smallest counts."""
    count = min(counts.values(), default=evaluation.spec.result_samples)
    return {
        "samples": count,
        "batch": min(evaluation.spec.samples, count),
        "mode": evaluation.spec.mode,
        "seed": trainer.seed,
        "step": trainer.step_count,
    }


def measure_run(
    folder: str | Path, spec: Spec | None = None, *, which: str | None = None, device: str = "auto"
) -> Measurements:
    """Measure a run at its newest checkpoint, and write `results.json` into its folder.

    What that file already answers is not measured again, except for what could not be measured then. The numbers of
    another checkpoint stand in the folder of that.

    Args:
        folder: the run, or a checkpoint.
        spec: a newer form of the run's spec whose `evaluate:` is used instead; its training is the same.
        which: `best`, `latest` or a step.

    Raises:
        UsageError: there is no such run or checkpoint, or `spec` trains something else.
        RunError: the run has no checkpoint, or a metric refuses its values.
    """
    checkpoint, trainer = first_good(
        folder,
        which,
        lambda path: (path, Trainer.resume(path, device=device, compile="off", kernels="auto", spec=spec)),
        tell,
    )
    path = Path(folder) if which in (None, LATEST) and is_run(Path(folder)) else results_folder(checkpoint)
    refuse_training(trainer.changes, Path(folder))
    trained = read_state(checkpoint).extra
    asked = Measurements(
        fingerprint=trained.fingerprint or fingerprint(trainer.spec),
        evaluation=evaluation_fingerprint(trainer.spec.phases[trainer.phase]),
        step=trainer.step_count,
        results={},
    )
    before = read_results(path)
    known = before.results if before is not None and before.answers(asked) else {}
    seen = trainer.checked[trainer.phase].graph.evaluation
    names = [name for name, _ in seen.numbers] if seen is not None else []
    left = [name for name in names if name not in known or known[name].why]
    fresh = measure(trainer, left)
    found = Measurements(
        fingerprint=asked.fingerprint,
        evaluation=asked.evaluation,
        step=asked.step,
        results={name: fresh.get(name) or known[name] for name in names},
    )
    if fresh or before is None or not before.answers(asked):
        found.save(path)
    return found


def _counts(evaluation: Evaluation, draws: Draws, node: str) -> dict[str, int]:
    """How many samples there are for a number, of each value that comes in batches: none of a stream comes twice.

    Where layers see the batch, in training mode or since they couple samples always, every batch is a whole one.
    """
    counts: dict[str, int] = {}
    for values in sets_of(evaluation.graph, node, evaluation.part.whole):
        below = {evaluation.graph.nodes[name].target for name in evaluation.graph.below(*values)}
        streams = [s for s in evaluation.sources if s in below and not isinstance(draws.sources[s], RandomSource)]
        count = min([evaluation.spec.result_samples, *(len(draws.open(name)) for name in streams)])
        batch = min(evaluation.spec.samples, count)
        whole = evaluation.spec.mode == "train" or _couples(evaluation)
        counts |= dict.fromkeys(values, count - count % batch if whole else count)
    return counts


def _couples(evaluation: Evaluation) -> bool:
    """Whether a network of the evaluation compares the samples of a batch: the last batch runs them all."""
    seen = evaluation.engine.program.plan.checked.evaluation
    return seen is not None and any(model.couples_always for model in seen.networks.values())


def _gathered(evaluation: Evaluation, draws: Draws, trainer: Trainer, count: int) -> dict[str, Tensor]:
    """What the networks give, and what else ops read, over all samples: batch after batch, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    for index, start in enumerate(range(0, count, evaluation.spec.samples)):
        draws.batch = min(evaluation.spec.samples, count - start)
        for name, value in evaluation.batch(draws, trainer.clock, index).items():
            value = value.detach().cpu()
            if name in parts and _is_vector(evaluation, name):
                continue  # it is the same in every batch
            parts.setdefault(name, []).append(value.float() if value.is_floating_point() else value)
    return {name: _joined(values) for name, values in parts.items()}


def _is_vector(evaluation: Evaluation, name: str) -> bool:
    """Whether a value is the parameters of a network, which have no samples."""
    return name in evaluation.graph.nodes and evaluation.graph.nodes[name].kind == "parameters"


def _joined(values: list[Tensor]) -> Tensor:
    """The samples of all batches; of what is one number a batch, the mean."""
    return torch.cat(values) if values[0].dim() else torch.stack(values).float().mean()


def _first(value: Tensor, count: int, of: int) -> Tensor:
    """The first `count` of so many samples; what is one number stays."""
    return value[: len(value) * count // of] if value.dim() else value


def _number(value: Tensor) -> tuple[float | None, str]:
    number = float(value)
    return (number, "") if math.isfinite(number) else (None, f"the value is not finite: {number}")


def _protocol(seen: Seen, node: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """The facts that metrics state of themselves, the averages used, and how good the evaluators are."""
    graph = seen.graph
    beneath = graph.below(node)
    below = [made for name, made in graph.nodes.items() if name in beneath]
    called = dict.fromkeys(made.target for made in below if made.of_network)
    averages = [name for name in called if name in graph.averages]
    evaluators = {name: facts_of(seen.evaluators[name]) for name in called if name in seen.evaluators}
    return {**_together(_stated(graph, below, counts)), **({"averages": averages} if averages else {}), **evaluators}


def _stated(graph: Graph, nodes: Iterable[Node], counts: Mapping[str, int]) -> dict[str, Mapping[str, Any]]:
    """What every metric says of how it measures, by its name; calls that differ are numbered."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for node in nodes:
        if node.kind == "op" and vocabulary[node.target].kind == "metric":
            facts = {**_facts(node), **_sets(graph, node, counts)}
            every = found.setdefault(node.target, [])
            every += [facts] if facts not in every else []
    return {
        f"{name} {number}" if len(every) > 1 else name: facts
        for name, every in found.items()
        for number, facts in enumerate(every, 1)
    }


def _sets(graph: Graph, node: Node, counts: Mapping[str, int]) -> dict[str, Any]:
    """How many samples each set of a metric has, by its first argument, if they differ."""
    found = {
        name: min((counts[value] for value in graph.below(*values) if value in counts), default=0)
        for name, values in sets_taken(node).items()
    }
    return {"sets": found} if len(set(found.values())) > 1 else {}


def _facts(node: Node) -> Mapping[str, Any]:
    """The constants of a metric's call, under its name where every number has such a fact, and what it says itself."""
    definition = vocabulary[node.target]
    bound = definition.signature.bind(*node.arguments, **dict(node.keywords))
    bound.apply_defaults()
    tensors = {name for name, parameter in definition.signature.parameters.items() if parameter.annotation is Tensor}
    constants = {name: value for name, value in bound.arguments.items() if name not in tensors}
    protocol = definition.traits.protocol
    given = {
        f"{node.target}_{name}" if name in _EVERY else name: list(value) if isinstance(value, tuple) else value
        for name, value in constants.items()
        if value is not None
    }
    return {**given, **(protocol(**constants) if protocol is not None else {})}


def _together(stated: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of several metrics; where two of them differ in a fact, it stands below the name of each."""
    values: dict[str, list[Any]] = {}
    for facts in stated.values():
        for key, value in facts.items():
            values.setdefault(key, []).append(value)
    alike = {key: every[0] for key, every in values.items() if all(value == every[0] for value in every)}
    apart = {name: {k: v for k, v in facts.items() if k not in alike} for name, facts in stated.items()}
    return {**alike, **{name: facts for name, facts in apart.items() if facts}}
