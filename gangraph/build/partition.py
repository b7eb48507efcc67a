"""An evaluation in two parts: what is computed batch by batch, and the ops that see whole sets of samples."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from gangraph.graph.kind import kinds
from gangraph.graph.model import Graph, Node, Ref
from gangraph.registry import vocabulary


@dataclass(frozen=True, slots=True)
class Sets:
    """`batched` are the values that come batch by batch, `whole` the ops over all of them, in order."""

    batched: tuple[str, ...]
    whole: tuple[str, ...]


def after_all(graph: Graph, roots: tuple[str, ...]) -> Sets:
    """Every op that no network or gradient needs sees all samples at once; so a mean is a mean over all of them."""
    return _split(graph, roots, lambda node: kinds.of(node).whole)


def after_metrics(graph: Graph, roots: tuple[str, ...]) -> Sets:
    """The parts of an evaluation: what runs batch by batch, and metrics that need all samples, with what uses these."""
    late: set[str] = set()
    for node in graph.nodes.values():
        checks_itself = node.kind == "op" and vocabulary[node.target].traits.expects is not None
        if checks_itself or (kinds.of(node).whole and not late.isdisjoint(node.inputs)):
            late.add(node.id)
    return _split(graph, roots, lambda node: node.id in late)


def ops_of(graph: Graph, numbers: Iterable[str], whole: tuple[str, ...]) -> tuple[str, ...]:
    """The ops over all samples that some numbers need, in order; not those that only lead to a network."""
    waiting, needed = list(numbers), set[str]()
    while waiting:
        name = waiting.pop()
        if name in whole and name not in needed:
            needed.add(name)
            waiting += graph.nodes[name].inputs
    return tuple(name for name in whole if name in needed)


def sets_of(graph: Graph, number: str, whole: Collection[str]) -> tuple[frozenset[str], ...]:
    """The values that a number is computed from over all samples, in sets of which each has equally many samples.

    There is one set, but for metrics that take several (`sets_taken`). Sets that share a value are one.
    """
    found: list[frozenset[str]] = []

    @cache
    def reached(name: str) -> frozenset[str]:
        if name not in whole:
            return frozenset((name,))
        apart = sets_taken(graph.nodes[name])
        found.extend(_joined(map(reached, values)) for values in apart.values())
        return frozenset() if apart else _joined(map(reached, graph.nodes[name].inputs))

    found.append(reached(number))
    sets: list[frozenset[str]] = []
    for one in found:
        sets = [*(other for other in sets if not other & one), _joined((one, *(o for o in sets if o & one)))]
    return tuple(filter(None, sets))


def sets_taken(node: Node) -> Mapping[str, tuple[str, ...]]:
    """The values of each set that a metric takes apart from the others, by the set's first argument; else none."""
    sets = vocabulary[node.target].traits.sets if node.kind == "op" else ()
    if not sets:
        return {}
    given = vocabulary[node.target].signature.bind(*node.arguments, **dict(node.keywords)).arguments
    return {names[0]: tuple(value.id for name in names if isinstance(value := given[name], Ref)) for names in sets}


def _joined(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


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
