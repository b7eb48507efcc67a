"""Lints of names that nothing uses."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Problem
from gangraph.graph.model import Graph


def unused(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG608: what nothing in an update or in the evaluation reads."""
    aheads = (ahead.loss for update in graph.updates for ahead in update.lookaheads)
    used = graph.below(*(root for update in graph.step for root in update.roots), *aheads)
    places = {(each.target, each.field) for each in map(graph.nodes.get, used) if each and each.by_parameters}
    used |= {node.id for node in graph.nodes.values() if node.of_parameters and (node.target, node.field) in places}
    if graph.evaluation is not None:
        evaluation = graph.evaluation
        drawn = (node for sampler in evaluation.samplers.values() for node in sampler.shown)
        shown = evaluation.graph.below(*evaluation.every_time, *(node for _, node in evaluation.numbers), *drawn)
        labels = {evaluation.graph.label(name) for name in shown}
        used |= {name for name in graph.nodes if graph.label(name) in labels}
        called = {evaluation.graph.nodes[name].target for name in shown if evaluation.graph.nodes[name].of_network}
        sources = {evaluation.graph.nodes[name].target for name in shown}
    else:
        called, sources = set(), set()
    called |= {graph.nodes[name].target for name in used if graph.nodes[name].of_network}
    sources |= {graph.nodes[name].target for name in used}
    for kind, names in (("value", graph.values), ("loss", graph.losses)):
        for name, node in names.items():
            if node not in used:
                yield warn(
                    "GG608", f"{kind} '{name}' is used by nothing", graph.spec.spans.get(name, graph.nodes[node].span)
                )
    for name in graph.spec.data:
        if name in graph.sources and name not in sources:
            yield warn("GG608", f"source '{name}' is used by nothing", graph.spec.spans[name])
    for name in graph.networks:
        if name not in called and name not in {average.of for average in graph.averages.values()}:
            yield warn(
                "GG608",
                f"network '{name}' is used by nothing",
                graph.spec.spans.get(name, graph.networks[name].spec.span),
            )
    for name, evaluator in graph.evaluation.evaluators.items() if graph.evaluation is not None else ():
        if name not in called:
            yield warn("GG608", f"network '{name}' is used by nothing", evaluator.span)
