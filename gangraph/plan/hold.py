"""In which update a held value is fixed: the one that computes the value first."""

from collections.abc import Sequence, Set

from gangraph.graph.model import Graph


def held(graph: Graph, needed: Sequence[Set[str]]) -> tuple[frozenset[str], ...]:
    """For each update the held values that are fixed in it. `needed` are the values that each update reads.

    A value is fixed by the first update that reads it held, or by an earlier one that computes it anyway and surely
    runs once in each step in which any reads it.
    """
    fixed: list[set[str]] = [set() for _ in graph.step]
    for node in graph.nodes.values():
        if node.remembers == "step" and (first := _first(graph, needed, node.id, node.inputs[0])) is not None:
            fixed[first].add(node.id)
    return tuple(map(frozenset, fixed))


def _first(graph: Graph, needed: Sequence[Set[str]], name: str, value: str) -> int | None:
    """The number of the update that fixes a held value; none if no update reads it."""
    readers = [index for index, names in enumerate(needed) if name in names]
    if not readers:
        return None
    before = (index for index in range(readers[0]) if value in needed[index])
    return next((index for index in before if graph.surely(index, readers)), readers[0])
