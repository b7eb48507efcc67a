"""Where gradients flow: which values depend differentiably on which networks' parameters."""

from collections.abc import Callable, Iterable

from gangraph.errors import SpecError
from gangraph.graph.model import Graph, Node


def stops(graph: Graph, node: Node) -> bool:
    """Whether no gradient passes through a value. Raises SpecError where a plug-in fails to say."""
    kind = node.record
    try:
        return kind.stops(graph, node)
    except (Exception, SystemExit) as error:  # a plug-in can raise anything
        raise SpecError([kind.fault(error, kind.stops, "gradients are followed", node.span)]) from error


def is_stop(graph: Graph, node: Node) -> bool:
    """Whether a node is a form of a value that passes no gradient on, such as `at_first(fake)`."""
    return stops(graph, node) and not (node.is_given or node.is_operation or node.of_network)


def differentiable(graph: Graph, networks: Iterable[str], within: Iterable[str]) -> set[str]:
    """The nodes among `within` that depend differentiably on the parameters of `networks`."""
    chosen = set(networks)
    reached: set[str] = set()
    for node in map(graph.nodes.__getitem__, graph.in_order(within)):
        if not node.is_call and stops(graph, node):
            continue
        starts = node.of_network and node.target in chosen and not node.ahead and not _is_constant(graph, node)
        through = not reached.isdisjoint(node.needs) and not stops(graph, node)
        if starts or not chosen.isdisjoint(_inside(graph, node)) or through or node.ahead in reached:
            reached.add(node.id)
    return reached


def _is_constant(graph: Graph, node: Node) -> bool:
    """Whether no output of a network depends differentiably on any of its layers."""
    return node.is_call and graph.owner(node.target) in graph.constant


def _inside(graph: Graph, node: Node) -> set[str]:
    """The networks that the steps of a lookahead compute with as they are."""
    if node.kind != "lookahead":
        return set()
    ahead = graph.lookaheads[node.id]
    called = {graph.nodes[name].target for name in ahead.body if graph.nodes[name].of_network}
    return called - {*ahead.networks}


def differentiable_in_inputs(graph: Graph, loss: str, networks: Iterable[str]) -> set[str]:
    """The networks among `networks` whose parameters, or shared ones, the loss depends on differentiably."""
    below = graph.below(loss)
    return {name for name in networks if loss in differentiable(graph, (name, *graph.tied.get(name, ())), below)}


def penalised_calls(graph: Graph) -> list[tuple[str, str]]:
    """The network calls that lie inside a `grad(output, input)`: pairs of the call's node and the grad's node.

    For a gradient with respect to parameters, these are the calls through which it flows.
    """
    calls = sum(1 << place for place, node in enumerate(graph.nodes.values()) if node.is_call)
    found = []
    for node in graph.nodes.values():
        if node.kind == "grad":
            output, at = node.inputs
            inside = graph.named(calls & graph.ancestors[output] & ~graph.ancestors[at])
            found += [(name, node.id) for name in inside]
        elif node.by_parameters:
            found += [(name, node.id) for name in passed(graph, node) if graph.nodes[name].is_call]
    return found


def _between(graph: Graph, output: str, at: str, follows: Callable[[Node], bool] = lambda _: True) -> list[str]:
    """The values through which an output depends on a value, both included, in order; none if it does not.

    The inputs of a node are considered only if it `follows`.
    """
    waiting = [output] if graph.depends(output, at) else []
    found = set(waiting)
    while waiting:
        node = graph.nodes[waiting.pop()]
        if node.id != at and follows(node):
            fresh = [name for name in node.needs if name not in found and graph.depends(name, at)]
            found.update(fresh)
            waiting += fresh
    return graph.in_order(found)


def passed(graph: Graph, gradient: Node) -> set[str]:
    """The values through which a gradient's output depends on what it is taken with respect to, without the latter.

    With respect to parameters, these are the calls of their network and of networks that share parts with it, and what
    is computed from these calls or from the vector of the parameters.
    """
    output, *ats = gradient.inputs
    if not ats:
        return _passed_from_parameters(graph, output, gradient.target)
    (at,) = ats
    found = {at}
    for name in _between(graph, output, at, lambda node: not stops(graph, node)):
        if not stops(graph, graph.nodes[name]) and not found.isdisjoint(graph.nodes[name].needs):
            found.add(name)
    return found - {at}


def _passed_from_parameters(graph: Graph, output: str, network: str) -> set[str]:
    """The values through which an output depends differentiably on the parameters of a network."""
    waiting, behind = [output], {output}
    while waiting:
        node = graph.nodes[waiting.pop()]
        fresh = {*node.needs} - behind if not stops(graph, node) else set[str]()
        waiting += fresh
        behind |= fresh
    return differentiable(graph, (network, *graph.tied.get(network, ())), behind)


def flowing(graph: Graph, nodes: Iterable[str], live: Iterable[str], outputs: Iterable[str]) -> set[str]:
    """The `live` values among some nodes from which a gradient flows to one of the outputs."""
    chosen = set(live)
    found = chosen.intersection(outputs)
    for name in reversed(graph.in_order(nodes)):
        node = graph.nodes[name]
        if name in found and not stops(graph, node):
            found.update(chosen.intersection(node.needs))
    return found


def penalties(graph: Graph, nodes: Iterable[str], live: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each node, the gradients that differentiate through it and are differentiated themselves."""
    chosen, found = set(nodes), dict[str, tuple[str, ...]]()
    for name in graph.in_order(chosen.intersection(live)):
        node = graph.nodes[name]
        if node.is_gradient:
            output, *ats = node.inputs
            inside = _between(graph, output, ats[0]) if ats else passed(graph, node)
            for between in chosen.intersection(inside).difference(ats):
                found[between] = (*found.get(between, ()), name)
    return found
