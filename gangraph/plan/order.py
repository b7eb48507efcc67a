"""The order in which calls change state: the one in which the spec writes them, whichever calls run together."""

from collections.abc import Iterable, Mapping

from gangraph.check.instantiate import NetworkModel
from gangraph.graph.closure import closure
from gangraph.graph.model import Graph

State = tuple[str, ...]  # what a call moves: the steps ahead that it belongs to, if any, and the networks that keep it


def states(graph: Graph, networks: Mapping[str, NetworkModel]) -> dict[str, State]:
    """The calls that change state in training, each with the state that it changes.

    An average has buffers of its own. Networks with a part in common may have buffers in common: they are one state.
    """
    keepers = {name for name in (*graph.networks, *graph.averages) if _keeps(graph, networks, name)}
    tied = {name: keepers.intersection(graph.tied.get(name, ())) for name in keepers}
    places = {name: tuple(sorted(closure((name,), tied.__getitem__))) for name in keepers}
    return {
        node.id: (node.ahead, *places[node.target])
        for node in graph.nodes.values()
        if node.is_call and node.target in places
    }


def _keeps(graph: Graph, networks: Mapping[str, NetworkModel], name: str) -> bool:
    model = networks.get(graph.owner(name))
    return model is not None and bool(model.state)


def in_order(calls: Iterable[str], moves: Mapping[str, State]) -> tuple[tuple[str, str], ...]:
    """Pairs of calls, in the order given, of which the second moves what the first has moved last."""
    last: dict[State, str] = {}
    pairs = []
    for call in calls:
        if call in moves:
            if moves[call] in last:
                pairs.append((last[moves[call]], call))
            last[moves[call]] = call
    return tuple(pairs)
