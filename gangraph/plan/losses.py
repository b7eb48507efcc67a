"""Which named losses each update reports."""

from collections.abc import Mapping, Sequence, Set

from gangraph.graph.model import Graph


def reported(graph: Graph, needed: Sequence[Set[str]]) -> tuple[Mapping[str, str], ...]:
    """For each update the losses that it reports: name to node. `needed` are the values that each update reads.

    An update reports the losses that it names, and those that it computes although no update names them. A loss that
    only a state needs is reported where the state moves. A loss at looked-ahead networks is reported only if no update
    reports it at the networks as they are.
    """
    somewhere = set[str]().union(*(update.named for update in graph.updates))
    trained = set[str]().union(*needed[: len(graph.updates)])
    own = [
        {
            name: node
            for name, node in graph.losses.items()
            if name in update.named or (name not in somewhere and not (update.states and node in trained))
        }
        for update in graph.step
    ]
    plain = [
        {name: node for name, node in losses.items() if node in within}
        for losses, within in zip(own, needed, strict=True)
    ]
    known = set[str]().union(*plain)
    left = [{name: node for name, node in losses.items() if name not in known} for losses in own]
    return tuple(
        found | (_ahead(graph, losses, within) if losses else {})
        for found, losses, within in zip(plain, left, needed, strict=True)
    )


def _ahead(graph: Graph, losses: Mapping[str, str], within: Set[str]) -> dict[str, str]:
    """The losses, by the nodes that the spec writes, at looked-ahead networks."""
    made = {node.origin: node.id for node in graph.nodes.values() if node.origin and node.id in within}
    return {name: made[node] for name, node in losses.items() if node in made}
