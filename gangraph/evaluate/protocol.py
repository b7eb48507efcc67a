"""How a number was measured: facts that are stored beside it in `results.json`."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from gangraph.build.partition import sets_taken
from gangraph.evaluate.evaluation import BoundEvaluation, Evaluator
from gangraph.graph.model import Graph, Node
from gangraph.registry import vocabulary

_EVERY = ("samples", "batch", "mode", "seed", "step")  # the facts of every number, whatever measured it


def protocol(
    bound: BoundEvaluation, node: str, counts: Mapping[str, int], evaluators: Mapping[str, Evaluator]
) -> dict[str, Any]:
    """How the number that `node` computes is measured.

    These are the facts that its metrics state of themselves, the averages used, how good its evaluators are, and what
    is said of every number. `counts` has the samples of each value; of several sets, the smallest is told.
    """
    graph, spec, beneath = bound.graph, bound.spec, bound.graph.below(node)
    below = [made for name, made in graph.nodes.items() if name in beneath]
    called = dict.fromkeys(made.target for made in below if made.of_network)
    averages = [name for name in called if name in graph.averages]
    count = min(counts.values(), default=spec.result_samples)
    return {
        **_together(_stated(graph, below, counts)),
        **({"averages": averages} if averages else {}),
        **{name: evaluators[name].facts for name in called if name in evaluators},
        "samples": count,
        "batch": min(spec.samples, count),
        "mode": spec.mode,
        "seed": bound.engine.settings.seed,
        "step": bound.engine.step_count,
    }


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
