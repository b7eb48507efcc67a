"""The layers inside networks that a value depends on differentiably."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gangraph.graph.differentiability import Point, all_behind, flow_at
from gangraph.graph.groups import owned
from gangraph.graph.model import Graph
from gangraph.graph.parts import Key, beneath, meet, owner_at, paths_at
from gangraph.graph.update import Lookahead
from gangraph.language.place import Place
from gangraph.language.spec import NetworkSpec

Names = Mapping[str, Iterable[str]]  # the names of the parameters of networks, as far as they are known


def unreached(graph: Graph, output: str, places: Iterable[Place], names: Names) -> list[Place]:
    """The places at which there is no parameter that a value depends on differentiably.

    A parameter's name within its layer is not looked at: a call of a layer depends on all its parameters. Of networks
    whose parameters are not known, every layer is taken to have some.
    """
    found = {key for point in all_behind(graph, output) for key in _layers(graph, point)}
    return [place for place in places if not _meets(_wanted(graph, place, names), found)]


def _meets(wanted: Iterable[Key], found: Iterable[Key]) -> bool:
    return any(one == two and meet([first], [second]) for one, first in wanted for two, second in found)


def _wanted(graph: Graph, place: Place, names: Names) -> list[Key]:
    """The parameters at a place as their owners name them; where they are not known, the layers and parts."""
    networks = graph.spec.networks
    spec = networks[place.network]
    if place.network not in names or not isinstance(spec, NetworkSpec):
        return owned(networks, place)
    return [owner_at(networks, place.network, name) for name in beneath(names[place.network], paths_at(spec, place))]


def _layers(graph: Graph, point: Point) -> Iterator[Key]:
    """The layers that the value at a point depends on by itself. An average has none that are trained."""
    node, flow, networks = graph.nodes[point[0]], flow_at(graph, point), graph.spec.networks
    if node.kind == "lookahead":
        yield from _inside(graph, graph.lookaheads[node.id])
    elif flow is not None and node.target not in graph.averages and not node.ahead:
        yield from (owner_at(networks, node.target, path) for path in flow.layers)
    elif node.of_parameters:
        yield from owned(networks, replace(node.place, network=graph.owner(node.target)))


def _inside(graph: Graph, ahead: Lookahead) -> Iterator[Key]:
    """The layers of the networks that steps ahead compute with as they are."""
    for point in all_behind(graph, ahead.loss):
        if point[0] in ahead.body and graph.nodes[point[0]].target not in ahead.networks:
            yield from _layers(graph, point)
