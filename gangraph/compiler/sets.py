"""An evaluation in two parts: what is computed batch by batch, and the ops that see whole sets of samples."""

from collections.abc import Callable
from dataclasses import dataclass

from gangraph.compiler.graph import Graph, Node
from gangraph.registry import vocabulary

_OPS = ("op", "detach", "held", "history")  # what is only looked at has no past and no gradient


@dataclass(frozen=True, slots=True)
class Sets:
    """`batched` are the values that come batch by batch, `whole` the ops over all of them, in order."""

    batched: tuple[str, ...]
    whole: tuple[str, ...]


def after_all(graph: Graph, roots: tuple[str, ...]) -> Sets:
    """Every op that no network or gradient needs sees all samples at once; so a mean is a mean over all of them."""
    return _split(graph, roots, lambda node: node.kind in _OPS)


def after_metrics(graph: Graph, roots: tuple[str, ...]) -> Sets:
    """Only metrics that look at sets, and what is computed from them, stand apart."""
    late: set[str] = set()
    for node in graph.nodes.values():
        looks = node.kind == "op" and "expects" in vocabulary[node.target].traits
        if looks or (node.kind in _OPS and not late.isdisjoint(node.inputs)):
            late.add(node.id)
    return _split(graph, roots, lambda node: node.id in late)


def _split(graph: Graph, roots: tuple[str, ...], late: Callable[[Node], bool]) -> Sets:
    waiting, whole, batched = list(roots), set[str](), set[str]()
    while waiting:
        node = graph.nodes[waiting.pop()]
        if node.id in whole or node.id in batched:
            continue
        if late(node):
            whole.add(node.id)
            waiting += node.inputs
        else:
            batched.add(node.id)
    return Sets(
        batched=tuple(name for name in graph.nodes if name in batched),
        whole=tuple(name for name in graph.nodes if name in whole),
    )
