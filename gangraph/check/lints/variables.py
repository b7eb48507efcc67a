"""Lints of variables, and of optimizers that are meant for one objective."""

from collections.abc import Iterator

from gangraph.check.batch_axis import variables_per_sample
from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.data.fixed import is_fixed
from gangraph.errors import Problem
from gangraph.graph.model import Graph
from gangraph.language.expression.model import unparse


def moving_target(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG642: a variable has a tensor for each sample, and its losses read other samples in every step."""
    each = variables_per_sample(graph, types) if graph.starts else frozenset()
    told: set[tuple[str, str]] = set()
    for update in graph.updates:
        for objective in update.objectives:
            below = graph.below(objective.written)
            streams = dict.fromkeys(n.target for n in graph.nodes.values() if n.id in below and graph.is_data(n))
            read = {graph.nodes[name].target for name in below if graph.nodes[name].is_call}
            for name in (name for name in objective.networks if name in each and name in read):
                for stream in (s for s in streams if not is_fixed(graph.sources[s]) and (name, s) not in told):
                    told.add((name, stream))
                    yield warn(
                        "GG642",
                        f"'{name}' has a tensor for each sample, and '{stream}' draws other samples in every step",
                        graph.spec.spans.get(name, graph.spec.variables[name].span),
                        found=f"{stream}: {unparse(graph.spec.data[stream])}",
                        fix=f"{stream}: fixed({unparse(graph.spec.data[stream])})",
                    )


def moving_objective(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG641: an optimizer compares the gradients of two steps, such as L-BFGS, and the draws differ between them."""
    for update in (each for each in graph.updates if each.closure):
        below = graph.below(*(objective.written for objective in update.objectives))
        drawn = dict.fromkeys(n.target for n in graph.nodes.values() if n.id in below and n.is_source)
        moving = [name for name in drawn if not is_fixed(graph.sources[name])]
        for objective in update.objectives:
            if moving:
                written = graph.spec.data.get(moving[0])
                yield warn(
                    "GG641",
                    f"{graph.spec.optimizers[objective.group].kind} compares the gradients of two steps, and"
                    f" '{moving[0]}' draws anew in every step",
                    objective.span,
                    found=f"{moving[0]}: {unparse(written)}" if written is not None else "a draw inside of a value",
                    fix=f"{moving[0]}: fixed({unparse(written)})"
                    if written is not None
                    else "a fixed source under data:",
                )
