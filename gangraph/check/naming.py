"""What messages call the values of a graph."""

from gangraph.graph.model import Graph


def said(graph: Graph, node: str) -> str:
    """A node as the author of the spec wrote it: by its name, or as an expression."""
    label, span = graph.label(node), graph.nodes[node].span
    named = label in graph.values or label in graph.losses or graph.nodes[node].is_source
    return label if named else span.text.content[span.start : span.end]
