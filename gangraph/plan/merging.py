"""Which calls of one network can run as one call along the batch."""

from collections.abc import Iterable, Mapping

import networkx as nx

from gangraph.check.instantiate import NetworkModel
from gangraph.graph.differentiability import penalised_calls
from gangraph.graph.model import Graph
from gangraph.graph.types import TensorType


def merges(
    graph: Graph,
    networks: Mapping[str, NetworkModel],
    types: Mapping[str, TensorType],
    nodes: set[str],
    live: frozenset[str],
    order: Iterable[tuple[str, str]],
) -> tuple[tuple[str, ...], ...]:
    """Groups of calls among `nodes` that become one call each.

    1. The same network, and no layer of it mixes samples, or keeps state that each call moves.
    2. Inputs of the same shapes, so that the result is cut into equal parts; no input is one number for all samples.
    3. All differentiated or none, and none inside a gradient penalty, which would differentiate the others too.
    4. No call needs another's result, also by way of groups that were made before, or of the `order` of calls that
       move state.
    """
    penalised = {call for call, _ in penalised_calls(graph)}
    contracted = nx.DiGraph(graph.digraph.subgraph(nodes))
    contracted.add_edges_from(order)
    groups: dict[object, list[list[str]]] = {}
    for name in (n for n in graph.nodes if n in nodes):
        node = graph.nodes[name]
        if node.kind != "network" or name in penalised or _is_by_itself(networks[graph.owner(node.target)]):
            continue
        if not all(types[i].shape for i in node.inputs):
            continue
        alike = groups.setdefault(
            (node.target, node.ahead, name in live, tuple(types[i].shape for i in node.inputs)), []
        )
        group = next((group for group in alike if _independent(contracted, group[0], name)), None)
        if group is None:
            alike.append([name])
        else:
            contracted = nx.contracted_nodes(contracted, group[0], name, self_loops=False)
            group.append(name)
    return tuple(tuple(group) for alike in groups.values() for group in alike if len(group) > 1)


def _is_by_itself(network: NetworkModel) -> bool:
    """Whether a call on two batches at once is another thing than two calls."""
    return network.mixes_samples or bool(network.state)


def _independent(graph: nx.DiGraph, first: str, second: str) -> bool:
    return not nx.has_path(graph, first, second) and not nx.has_path(graph, second, first)
