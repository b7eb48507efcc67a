"""A lint of samples that are padded to one length."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Problem
from gangraph.graph.model import Graph, Node


def last_step_of_padding(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG671: a network takes the last step of padded sentences, which is padding, and not that of the last word."""
    for call in (node for node in graph.nodes.values() if node.is_call and node.id in types.calls):
        network = types.calls[call.id].graph
        inputs = dict(zip(network.spec.inputs, call.inputs, strict=True))
        reached = {name for name, given in inputs.items() if _is_padded(graph, graph.nodes[given])}
        padded = [*reached]
        for node in (node for node in network.nodes.values() if node.inputs and node.inputs[0] in reached):
            if node.target == "last" and len(node.inputs) == 1:
                fix = f"last(..., lengths({padded[0]}))"
                yield warn("GG671", "the last step comes after the padding", node.span, call.target, fix)
            elif node.target not in ("last", "lengths"):
                reached.add(node.id)


def _is_padded(graph: Graph, node: Node) -> bool:
    """Whether a value is a field of data whose samples end in padding."""
    return graph.is_data(node) and graph.sources[node.target].fields[node.field].padded
