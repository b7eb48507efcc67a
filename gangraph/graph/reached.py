"""The layers inside networks that a value depends on differentiably."""

from collections.abc import Iterable
from dataclasses import replace

from gangraph.graph.differentiability import stops
from gangraph.graph.groups import owned
from gangraph.graph.model import Graph, NetworkGraph, Node, Ref
from gangraph.graph.parts import Key, meet, owner_at
from gangraph.language.place import Place
from gangraph.registry import vocabulary

Layers = set[Key]


def reaches(graph: Graph, output: str, places: Iterable[Place]) -> bool:
    """Whether a value depends differentiably on some of the parameters at one of some places.

    A layer is taken to depend on all of its parameters, so a place of one parameter counts as its layer.
    """
    found = reached_layers(graph, output)
    wanted = {(owner, path) for place in places for owner, path in owned(graph.spec.networks, place)}
    return any(one == two and meet([first], [second]) for one, first in wanted for two, second in found)


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
            place = replace(node.place, network=graph.owner(node.target))
            found |= {*owned(graph.spec.networks, place)}
        if node.is_call or not stops(graph, node):
            fresh = {(each, node.field if node.kind == "output" else "") for each in node.needs} - known
            waiting += fresh
            known |= fresh
    return found


def _called(graph: Graph, call: Node, field: str) -> Layers:
    """The layers on which an output of a call depends."""
    network = graph.networks[graph.owner(call.target)]
    return {owner_at(graph.spec.networks, graph.owner(call.target), path) for path in _layers(network, field)}


def _layers(network: NetworkGraph, field: str) -> set[str]:
    """The layers of a network that an output depends on differentiably; `field` is "" for its main output."""
    output = network.outputs.get(field)
    waiting = [output.id] if isinstance(output, Ref) else []
    known, found = set(waiting), set[str]()
    while waiting:
        node = network.nodes[waiting.pop()]
        if node.kind == "variable":
            found.add(node.target)
        name = network.layers[node.target].name if node.kind == "layer" else node.target
        if node.kind in ("input", "variable") or vocabulary[name].traits.stops_gradient:
            continue
        if node.kind == "layer":
            found.add(node.target)
        fresh = {*node.inputs} - known
        waiting += fresh
        known |= fresh
    return found
