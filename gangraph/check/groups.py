"""Checks of optimizer groups, once the parameters of networks are known."""

from collections.abc import Iterator, Mapping

from gangraph.check.instantiate import NetworkModel
from gangraph.check.parameter_values import parameter_names
from gangraph.errors import Problem
from gangraph.graph.groups import assign
from gangraph.graph.model import Graph
from gangraph.graph.reached import unreached
from gangraph.language.expression.model import unparse
from gangraph.language.place import Place
from gangraph.language.update_spec import Entry, OptimizerSpec


def misassigned(graph: Graph, models: Mapping[str, NetworkModel]) -> Iterator[Problem]:
    """GG324: entries of groups that claim the same parameters, or that have none of their own."""
    names = parameter_names(models)
    for group in (group for group in graph.spec.optimizers.values() if group.listed):
        if any(network not in names for network, _ in group.networks):
            continue  # which has a problem, or is called by nothing
        assigned = assign(group, graph.spec.networks, names)
        for first, second in assigned.unclear:
            yield _unclear(first, second)
        known = {second.place.span for _, second in assigned.unclear}
        known |= {problem.span for problem in graph.problems if problem.code == "GG544"}
        for number, entry in enumerate(group.entries):
            if not assigned.left_for(number) and entry.place.span not in known:
                yield _empty(group, entry)


def out_of_reach(graph: Graph, loss: str, group: str, models: Mapping[str, NetworkModel]) -> list[str]:
    """What of a group a loss does not depend on differentiably: networks, or else the entries that it lists.

    Networks that nothing calls have no parameters, even if a loss depends on parts that they share with others.
    """
    spec, names = graph.spec.optimizers[group], parameter_names(models)
    whole = [Place(network, "", span) for network, span in spec.networks]
    if not any(True for place in whole for _ in graph.calls(place.network)):
        return [place.written for place in whole]
    for places in (whole, spec.places):
        called = (place for place in places if place.network in graph.networks)
        if left := unreached(graph, loss, called, names):
            return [place.written for place in left]
    return []


def _unclear(first: Entry, second: Entry) -> Problem:
    if first.place == second.place:
        return Problem(
            code="GG324",
            message=f"'{second.place.written}' is named twice in one group",
            span=second.place.span,
            found=" and ".join(map(_written, (first, second))),
            expected="each part once",
        )
    return Problem(
        code="GG324",
        message=f"'{first.place.written}' and '{second.place.written}' have parameters in common",
        span=second.place.span,
        found=f"{' and '.join(map(_written, (first, second)))}, of which neither is a part of the other",
        expected="the same options for both, or an entry for what they have in common",
    )


def _empty(group: OptimizerSpec, entry: Entry) -> Problem:
    others = [each.place.written for each in group.entries if each is not entry]
    return Problem(
        code="GG324",
        message=f"nothing is left of '{entry.place.written}'",
        span=entry.place.span,
        found=f"no parameters that are not those of {', '.join(others)}" if others else "no parameters",
        expected="a network or a part with parameters of its own; one belongs to the most specific entry",
        fix="leave it out" if others else "",
    )


def _written(entry: Entry) -> str:
    """`G.mapping(lr=0.01)`."""
    options = ", ".join(f"{name}={unparse(value)}" for name, value in entry.options.items())
    return f"{entry.place.written}({options})" if options else entry.place.written
