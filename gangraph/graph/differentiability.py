"""Where gradients flow: which values depend differentiably on which networks' parameters.

All of it is one walk over *points*: a node and, for a call of a network with several outputs, one of these by name.
`behind` says what a gradient comes to from there, so every question about gradients has the same answer everywhere.
"""

from collections.abc import Iterable, Iterator

from gangraph.errors import SpecError
from gangraph.graph.kind import kinds
from gangraph.graph.model import Graph, Node
from gangraph.graph.network import Flow

Point = tuple[str, str]  # a node, and an output of a call where it has several by name


def stops(graph: Graph, node: Node) -> bool:
    """Whether no gradient passes through a value. Raises SpecError where a plug-in fails to say."""
    kind = kinds.of(node)
    try:
        return kind.stops(graph, node)
    except (Exception, SystemExit) as error:  # a plug-in can raise anything
        raise SpecError([kind.fault(error, kind.stops, "gradients are followed", node.span)]) from error


def is_stop(graph: Graph, node: Node) -> bool:
    """Whether a node is a form of a value that passes no gradient on, such as `at_first(fake)`."""
    return stops(graph, node) and not (node.is_given or node.is_operation or node.of_network)


def points(graph: Graph, name: str) -> Iterator[Point]:
    """The points of a node: one for each output of a call."""
    node = graph.nodes[name]
    outputs = graph.networks[graph.owner(node.target)].outputs if node.is_call else ("",)
    return ((name, output) for output in outputs)


def flow_at(graph: Graph, point: Point) -> Flow | None:
    """Where a gradient comes to inside of a network; None for what is no call, or for an output that there is not."""
    name, output = point
    node = graph.nodes[name]
    return graph.networks[graph.owner(node.target)].flows.get(output) if node.is_call else None


def behind(graph: Graph, point: Point) -> Iterator[Point]:
    """The points to which a gradient comes from one in one step.

    The steps that are looked ahead are behind an output that depends on the parameters of their network.
    """
    node, flow = graph.nodes[point[0]], flow_at(graph, point)
    if flow is not None:
        inputs = graph.networks[graph.owner(node.target)].spec.inputs
        yield from ((source, "") for name, source in zip(inputs, node.inputs, strict=True) if name in flow.inputs)
        if node.ahead and flow.layers:
            yield node.ahead, ""
    elif node.kind == "output":
        yield node.inputs[0], node.field
    elif node.kind == "lookahead":
        reached = all_behind(graph, graph.lookaheads[node.id].loss)
        yield from ((source, "") for source in node.inputs if (source, "") in reached)
    elif not stops(graph, node):
        yield from ((source, "") for source in node.needs)


def all_behind(graph: Graph, output: str, at: str | None = None) -> set[Point]:
    """Every point that a gradient comes to from a value, itself included; with `at` only those computed from it."""
    waiting = [(output, "")] if at is None or graph.depends(output, at) else []
    found = set(waiting)
    while waiting:
        point = waiting.pop()
        if point[0] == at:
            continue
        fresh = {each for each in behind(graph, point) if at is None or graph.depends(each[0], at)} - found
        waiting += fresh
        found |= fresh
    return found


def differentiable(graph: Graph, networks: Iterable[str], within: Iterable[str]) -> set[str]:
    """The nodes among `within` that depend differentiably on the parameters of `networks`."""
    chosen = set(networks)
    inside = [point for name in graph.in_order(within) for point in points(graph, name)]
    starts = {point for point in inside if _starts(graph, point, chosen)}
    return {name for name, _ in _leading(graph, inside, starts)}


def _starts(graph: Graph, point: Point, networks: set[str]) -> bool:
    """Whether a value depends on parameters of some networks by itself."""
    node, flow = graph.nodes[point[0]], flow_at(graph, point)
    if node.kind == "lookahead":
        return not networks.isdisjoint(_inside(graph, node))
    if not node.of_network or node.target not in networks or node.ahead:
        return False
    return bool(flow.layers) if flow is not None else not stops(graph, node)


def _leading(graph: Graph, inside: Iterable[Point], starts: set[Point]) -> set[Point]:
    """The points among those `inside`, which are in order, from which a gradient comes to one of the `starts`."""
    found = set(starts)
    for point in inside:
        if any(each in found for each in behind(graph, point)):
            found.add(point)
    return found


def _inside(graph: Graph, node: Node) -> set[str]:
    """The networks that the steps of a lookahead compute with as they are."""
    ahead = graph.lookaheads[node.id]
    called = {graph.nodes[name].target for name in ahead.body if graph.nodes[name].of_network}
    return called - {*ahead.networks}


def penalised_calls(graph: Graph) -> list[tuple[str, str]]:
    """The network calls through which a gradient flows that is a value: pairs of the call's node and the gradient's."""
    gradients = (node for node in graph.nodes.values() if node.is_gradient)
    return [
        (name, node.id)
        for node in gradients
        for name in graph.in_order(passed(graph, node))
        if graph.nodes[name].is_call
    ]


def passed(graph: Graph, gradient: Node) -> set[str]:
    """The values through which a gradient's output depends on what it is taken with respect to, without the latter.

    With respect to parameters, these are the calls of their network and of networks that share parts with it, and what
    is computed from these calls or from the vector of the parameters.
    """
    output, *ats = gradient.inputs
    found = all_behind(graph, output, *ats)
    order = sorted(found, key=lambda point: graph.positions[point[0]])
    if ats:
        return {name for name, _ in _leading(graph, order, found & {(ats[0], "")})} - {*ats}
    networks = {gradient.target, *graph.tied.get(gradient.target, ())}
    starts = {point for point in order if _starts(graph, point, networks)}
    return {name for name, _ in _leading(graph, order, starts)}


def flowing(graph: Graph, nodes: Iterable[str], live: Iterable[str], outputs: Iterable[str]) -> set[str]:
    """The `live` values among some nodes from which a gradient flows to one of the outputs."""
    chosen = set(live)
    found = {point for name in chosen.intersection(outputs) for point in points(graph, name)}
    for name in reversed(graph.in_order(nodes)):
        for point in found.intersection(points(graph, name)):
            found.update(each for each in behind(graph, point) if each[0] in chosen)
    return {name for name, _ in found}


def penalties(graph: Graph, nodes: Iterable[str], live: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each node, the gradients that differentiate through it and are differentiated themselves."""
    chosen, found = set(nodes), dict[str, tuple[str, ...]]()
    for name in graph.in_order(chosen.intersection(live)):
        if graph.nodes[name].is_gradient:
            for between in chosen.intersection(passed(graph, graph.nodes[name])):
                found[between] = (*found.get(between, ()), name)
    return found
