"""In which order the boxes of each column stand, so that few wires cross."""

import random
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from gangraph.views.drawing.columns import Columns, Item, ranks

STARTS, SWEEPS, FINALISTS = 64, 12, 16
END_ORDER, ORDER = 80.0, 4.0  # the length of wire worth having two boxes in the given order


def orders(plane: Columns) -> list[list[list[Item]]]:
    """The best orders of all columns that were found."""
    found: list[tuple[int, list[list[Item]]]] = []
    for seed in range(STARTS):
        columns = [list(column) for column in plane.columns]
        if seed:
            shuffle = random.Random(seed).shuffle
            for column in columns:
                shuffle(column)
        for sweep in range(SWEEPS):
            _sweep(plane, columns, forward=sweep % 2 == 0)
            _swap(plane, columns)
            found.append((_crossings(plane, columns), [list(column) for column in columns]))
    fewest = min((count for count, _ in found), default=0)
    best: list[list[list[Item]]] = []
    for order in (order for count, order in found if count == fewest):
        if order not in best:
            best += [order, [column[::-1] for column in order]]
    return best[:FINALISTS]


def disorder(plane: Columns, order: list[list[Item]]) -> float:
    """How much wire the pairs of boxes are worth that stand in another order than they were given in."""
    given, total = {name: i for i, name in enumerate(plane.sizes)}, 0.0
    for column in order:
        pairs = ((a, b) for i, a in enumerate(column) for b in column[i + 1 :])
        wrong = sum(given[a[0]] > given[b[0]] for a, b in pairs if not (plane.bends(a) and plane.bends(b)))
        total += wrong * (END_ORDER if column in (order[0], order[-1]) else ORDER)
    return total


def _sweep(plane: Columns, columns: list[list[Item]], *, forward: bool) -> None:
    for index in range(len(columns)) if forward else reversed(range(len(columns))):
        near = plane.before if forward else plane.after
        rank = ranks(columns)
        wish = {item: near[item] or [item] for item in columns[index]}
        columns[index].sort(key=lambda item: fmean(rank[other] for other in wish[item]))


def _swap(plane: Columns, columns: list[list[Item]]) -> None:
    rank = ranks(columns)
    for column in columns:
        for i in range(len(column) - 1):
            upper, lower = column[i : i + 2]
            if _pair(plane, lower, upper, rank) < _pair(plane, upper, lower, rank):
                column[i : i + 2] = lower, upper
                rank[upper], rank[lower] = rank[lower], rank[upper]


def _pair(plane: Columns, upper: Item, lower: Item, rank: Mapping[Item, float]) -> int:
    sides = ((side[upper], side[lower]) for side in (plane.before, plane.after))
    return sum(rank[a] > rank[b] for above, below in sides for a in above for b in below)


def _crossings(plane: Columns, columns: list[list[Item]]) -> int:
    rank, passed = ranks(columns), defaultdict[int, list[float]](list)
    total = 0
    for source, target in sorted(plane.links, key=lambda link: (rank[link[0]], rank[link[1]])):
        seen = passed[source[1]]
        total += len(seen) - bisect_right(seen, rank[target])
        insort(seen, rank[target])
    return total
