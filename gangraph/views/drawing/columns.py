"""Boxes in columns, with the bends of their wires: what is ordered, and then placed."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise

import networkx as nx

from gangraph.views.drawing.layout import Point

Item = tuple[str, int]  # a box in its own column; in a later column, a bend of its trunk
BETWEEN_BOXES, BESIDE_WIRE, BETWEEN_WIRES = 20.0, 16.0, 11.0


class Columns:
    """Boxes in columns, with their bends and the links between neighbouring columns."""

    def __init__(self, sizes: Mapping[str, Point], graph: nx.DiGraph, column: Mapping[str, int], pace: float) -> None:
        self.sizes, self.column, self.pace = sizes, column, pace
        self.links: list[tuple[Item, Item]] = list(dict.fromkeys(_links(graph, column)))
        self.before: dict[Item, list[Item]] = defaultdict(list)
        self.after: dict[Item, list[Item]] = defaultdict(list)
        for source, target in self.links:
            self.before[target].append(source)
            self.after[source].append(target)
        items = dict.fromkeys([*((name, column[name]) for name in graph), *chain.from_iterable(self.links)])
        self.columns: list[list[Item]] = [[] for _ in range(1 + max(column.values(), default=-1))]
        for item in items:
            self.columns[item[1]].append(item)

    def height(self, item: Item) -> float:
        """The height of a box; a bend has none."""
        return 0.0 if self.bends(item) else self.sizes[item[0]][1]

    def bends(self, item: Item) -> bool:
        """Whether an item is a bend of a trunk."""
        return self.column[item[0]] != item[1]

    def steps(self, column: list[Item]) -> list[float]:
        """How far below its upper neighbour each item of a column has to stand at least."""
        gaps = (self._gap(upper, lower) for upper, lower in pairwise(column))
        return [0.0, *map(math.ceil, gaps)]

    def _gap(self, upper: Item, lower: Item) -> float:
        space = (BETWEEN_BOXES, BESIDE_WIRE, BETWEEN_WIRES)[self.bends(upper) + self.bends(lower)]
        return self.height(upper) / 2 + self.height(lower) / 2 + space

    def weight(self, source: Item, target: Item) -> float:
        """How strongly a link draws its ends to one height; the more where it bends."""
        return {(False, False): 1.0, (True, False): 2.0, (False, True): 4.0, (True, True): 8.0}[
            self.bends(source), self.bends(target)
        ]


def _links(graph: nx.DiGraph, column: Mapping[str, int]) -> Iterator[tuple[Item, Item]]:
    for name in graph:
        readers = sorted(graph.successors(name), key=lambda reader: column[reader])
        for reader in readers:
            yield from (((name, i), (name, i + 1)) for i in range(column[name], column[reader] - 1))
            yield (name, column[reader] - 1), (reader, column[reader])


def ranks(columns: Iterable[Sequence[Item]]) -> dict[Item, float]:
    """Where items stand in their columns, centred so that columns of different lengths compare."""
    return {item: i - len(column) / 2 for column in columns for i, item in enumerate(column)}
