"""Which layers a value depends on differentiably, inside of the networks that are called for it."""

from collections.abc import Iterable

from gangraph.graph.code_names import module_name
from gangraph.graph.differentiability import stops
from gangraph.graph.model import Graph, NetworkGraph, Node, Ref
from gangraph.graph.parts import meet, paths_at
from gangraph.language.places import Place
from gangraph.language.spec import NetworkSpec
from gangraph.registry import vocabulary

Layers = set[tuple[str, str]]  # the network that owns a layer, and the layer's path


def reaches(graph: Graph, output: str, places: Iterable[Place]) -> bool:
    """Whether a value depends differentiably on some of the parameters at one of some places.

    A parameter's name within its layer is not looked at: a call of a layer depends on all its parameters.
    """
    found = reached_layers(graph, output)
    wanted = {(owner, path) for place in places for owner, path in owned(graph, place)}
    return any(one == two and meet([first], [second]) for one, first in wanted for two, second in found)


def owned(graph: Graph, place: Place) -> Layers:
    """The paths at a place, each with the network that owns it, which may be another that shares a part."""
    spec = graph.spec.networks[graph.owner(place.network)]
    assert isinstance(spec, NetworkSpec)
    if place.path:
        return {_owner(graph, place.network, path) for path in paths_at(spec, place)}
    return {_owner(graph, place.network, path) for path in graph.networks[graph.owner(place.network)].layers}


def reached_layers(graph: Graph, output: str) -> Layers:
    """The layers on which a value depends differentiably."""
    found: Layers = set()
    waiting, known = [(output, "")], {(output, "")}
    while waiting:
        name, field = waiting.pop()
        node = graph.nodes[name]
        if node.is_call:
            found |= _called(graph, node, field)
        elif node.of_parameters:
            found |= owned(graph, node.place)
        if node.is_call or not stops(graph, node):
            fresh = {(each, node.field if node.kind == "output" else "") for each in node.needs} - known
            waiting += fresh
            known |= fresh
    return found


def _called(graph: Graph, call: Node, field: str) -> Layers:
    """The layers on which an output of a call depends."""
    network = graph.networks[graph.owner(call.target)]
    return {_owner(graph, call.target, path) for path in _layers(network, field)}


def _layers(network: NetworkGraph, field: str) -> set[str]:
    """The layers of a network from which a gradient comes to its output of a name, or of no name."""
    output = network.outputs.get(field)
    waiting = [output.id] if isinstance(output, Ref) else []
    known, found = set(waiting), set[str]()
    while waiting:
        node = network.nodes[waiting.pop()]
        name = network.layers[node.target].name if node.kind == "layer" else node.target
        if node.kind == "input" or vocabulary[name].traits.stops_gradient:
            continue
        if node.kind == "layer":
            found.add(node.target)
        fresh = {*node.inputs} - known
        waiting += fresh
        known |= fresh
    return found


def _owner(graph: Graph, network: str, path: str) -> tuple[str, str]:
    """A path in a network with the network that owns the part: another one, where it is shared with that."""
    owner = graph.owner(network)
    spec = graph.spec.networks[owner]
    shares = spec.shares if isinstance(spec, NetworkSpec) else ()
    return next((s.network for s in shares if module_name(s.part) == path.partition(".")[0]), owner), path
