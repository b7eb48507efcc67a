"""Boxes and the edges between them to places on a plane, by the layered method of Sugiyama, Tagawa and Toda (1981).

1. Every box gets a column: one more than the furthest of what it reads; some move right, towards their readers.
2. What a box gives leaves it as one trunk, which bends once in every column it passes and forks to each reader there.
3. Columns are ordered by sweeps of barycentres and of swaps of neighbours, from several starts; fewest crossings win.
4. Of equally many crossings, the shortest wires win, and the given order of the boxes, mostly at both ends; for that,
   heights minimise squared lengths across the flow, each column exactly in turn (isotonic regression).
5. Heights minimise the lengths of all wires across the flow, as a linear program through its dual, a flow of least
   cost (Gansner et al. 1993); this makes wires straight. Ports then slide along boxes where that helps, and again.

Wires cross columns only at bends, which keep their distance from boxes, so no wire runs through a box.
"""

import math
import random
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from statistics import fmean

import networkx as nx

Point = tuple[float, float]
Item = tuple[str, int]  # a box in its own column; in a later column, a bend of its trunk
Ports = Mapping[Item, Mapping[Item, float]]  # how far below the middle of a box each of its links enters
Targets = list[tuple[float, float]]  # positions that an item is drawn to, and how strongly

STARTS, SWEEPS, FINALISTS = 64, 12, 16
CALM, BALANCE = 24, 6  # rounds that minimise squares, and that centre boxes between equally good places
END_ORDER, ORDER = 80.0, 4.0  # the length of wire worth having two boxes in the given order
GRAIN = 4  # steps of a length unit in the linear program, which takes whole numbers
BETWEEN_BOXES, BESIDE_WIRE, BETWEEN_WIRES = 20.0, 16.0, 11.0
NARROW, WIDE, STEEP = 46.0, 130.0, 0.16
PORT, SLACK = 13.0, 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a box stands: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height

    def overlaps(self, other: "Box") -> bool:
        """Whether two boxes share any area."""
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A piece of the trunk of `source`: straight, a cubic curve, straight. `target` is empty where it goes on."""

    source: str
    target: str
    points: tuple[Point, Point, Point, Point, Point, Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All boxes and wires; the upper left corner is the origin."""

    boxes: Mapping[str, Box]
    wires: tuple[Wire, ...]
    width: float
    height: float


def arrange(
    sizes: Mapping[str, Point],
    edges: Iterable[tuple[str, str]],
    *,
    late: Iterable[str] = (),
    teams: Mapping[str, str] | None = None,
    down: bool = False,
) -> Layout:
    """Place boxes of the given widths and heights.

    Boxes of `late` move towards what reads them: to the last column where one of their team stands, and freely if they
    have no team. The flow is to the right, or `down`.
    """
    if not sizes:
        return Layout(boxes={}, wires=(), width=0.0, height=0.0)
    graph = nx.DiGraph()
    graph.add_nodes_from(sizes)
    graph.add_edges_from(dict.fromkeys(edges))
    if down:
        sizes = {name: (height, width) for name, (width, height) in sizes.items()}
    plane = _Plane(sizes, graph, _columns(graph, set(late), teams or {}), 0.6 if down else 1.0)
    best = min(plane.orders(), key=lambda order: _length(plane.placed(order, exact=False)) + plane.disorder(order))
    layout = plane.placed(best, exact=True)
    return _transposed(layout) if down else layout


def _columns(graph: nx.DiGraph, late: set[str], teams: Mapping[str, str]) -> dict[str, int]:
    first = {name: depth for depth, names in enumerate(nx.topological_generations(graph)) for name in names}
    last, column = max(first.values(), default=0), dict(first)
    for name in reversed(list(nx.topological_sort(graph))):
        if name in late:
            limit = min((column[reader] - 1 for reader in graph.successors(name)), default=last)
            team = teams.get(name)
            wish = max(first[other] for other in first if teams.get(other) == team) if team else limit
            column[name] = max(column[name], min(wish, limit))
    return column


class _Plane:
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

    def orders(self) -> list[list[list[Item]]]:
        """The best orders of all columns that were found."""
        found: list[tuple[int, list[list[Item]]]] = []
        for seed in range(STARTS):
            columns = [list(column) for column in self.columns]
            if seed:
                shuffle = random.Random(seed).shuffle
                for column in columns:
                    shuffle(column)
            for sweep in range(SWEEPS):
                self._sweep(columns, forward=sweep % 2 == 0)
                self._swap(columns)
                found.append((self._crossings(columns), [list(column) for column in columns]))
        fewest = min((count for count, _ in found), default=0)
        best: list[list[list[Item]]] = []
        for order in (order for count, order in found if count == fewest):
            if order not in best:
                best += [order, [column[::-1] for column in order]]
        return best[:FINALISTS]

    def disorder(self, order: list[list[Item]]) -> float:
        """How much wire the pairs of boxes are worth that stand in another order than they were given in."""
        given, total = {name: i for i, name in enumerate(self.sizes)}, 0.0
        for column in order:
            pairs = ((a, b) for i, a in enumerate(column) for b in column[i + 1 :])
            wrong = sum(given[a[0]] > given[b[0]] for a, b in pairs if not (self.bends(a) and self.bends(b)))
            total += wrong * (END_ORDER if column in (order[0], order[-1]) else ORDER)
        return total

    def _sweep(self, columns: list[list[Item]], *, forward: bool) -> None:
        for index in range(len(columns)) if forward else reversed(range(len(columns))):
            near = self.before if forward else self.after
            rank = _ranks(columns)
            wish = {item: near[item] or [item] for item in columns[index]}
            columns[index].sort(key=lambda item: fmean(rank[other] for other in wish[item]))

    def _swap(self, columns: list[list[Item]]) -> None:
        rank = _ranks(columns)
        for column in columns:
            for i in range(len(column) - 1):
                upper, lower = column[i : i + 2]
                if self._pair(lower, upper, rank) < self._pair(upper, lower, rank):
                    column[i : i + 2] = lower, upper
                    rank[upper], rank[lower] = rank[lower], rank[upper]

    def _pair(self, upper: Item, lower: Item, rank: Mapping[Item, float]) -> int:
        sides = ((side[upper], side[lower]) for side in (self.before, self.after))
        return sum(rank[a] > rank[b] for above, below in sides for a in above for b in below)

    def _crossings(self, columns: list[list[Item]]) -> int:
        rank, passed = _ranks(columns), defaultdict[int, list[float]](list)
        total = 0
        for source, target in sorted(self.links, key=lambda link: (rank[link[0]], rank[link[1]])):
            seen = passed[source[1]]
            total += len(seen) - bisect_right(seen, rank[target])
            insort(seen, rank[target])
        return total

    def placed(self, columns: list[list[Item]], *, exact: bool) -> Layout:
        """The layout with the columns in this order; its heights are `exact` or nearly good."""
        rank = _ranks(columns)
        ports = {target: self._ports(target, rank) for column in columns for target in column}
        y = self._settle(columns, ports, {}, _mean, CALM)
        for final in (False, False, True) if exact else ():
            y = self._settle(columns, ports, self._straight(columns, ports), _median, BALANCE)
            ports = {target: self._slid(target, ports[target], y, final=final) for target in ports}
        top = min((y[item] - self.height(item) / 2 for item in y), default=0.0)
        y = {item: value - top for item, value in y.items()}
        lefts, rights = self._sides(columns, y, ports)
        boxes = {}
        for name, (width, height) in self.sizes.items():
            item = (name, self.column[name])
            middle = (lefts[item[1]] + rights[item[1]]) / 2
            boxes[name] = Box(x=middle - width / 2, y=y[item] - height / 2, width=width, height=height)
        wires = tuple(self._wire(link, boxes, y, ports, lefts, rights) for link in self.links)
        bottom = max((y[item] + self.height(item) / 2 for item in y), default=0.0)
        return Layout(boxes=boxes, wires=wires, width=rights[-1], height=bottom)

    def _ports(self, target: Item, rank: Mapping[Item, float]) -> dict[Item, float]:
        """How far below its middle each link enters a box."""
        sources = sorted(self.before[target], key=rank.__getitem__)
        step = min(PORT, (self.height(target) - 8) / max(len(sources), 1)) if len(sources) > 1 else 0.0
        return {source: (i - (len(sources) - 1) / 2) * step for i, source in enumerate(sources)}

    def _slid(
        self, target: Item, ports: Mapping[Item, float], y: Mapping[Item, float], *, final: bool
    ) -> dict[Item, float]:
        """Ports moved along the side of a box where that makes their wires straight.

        Of two wires, one that is straight already moves to the middle, so that the next round makes the box follow.
        """
        if self.bends(target) or not ports:
            return dict(ports)
        offsets, room = list(ports.values()), self.height(target) / 2 - 9
        gaps = [y[source] - y[target] for source in ports]
        middle = next((place for place, gap in zip(offsets, gaps, strict=True) if abs(place - gap) < 1), 0.0)
        if len(gaps) == 2 and not final and abs(offsets[1] - offsets[0]) <= room + 4:
            return {source: place - middle for source, place in ports.items()}
        nearest = (gap if abs(gap - place) <= SLACK else place for gap, place in zip(gaps, offsets, strict=True))
        span = [place - offsets[0] for place in offsets]
        low, high = min(-room, offsets[0]), max(room, offsets[-1]) - span[-1]
        places = _settled([[(place, 1.0)] for place in nearest], span, _mean)
        moved = (min(max(place - step, low), high) + step for place, step in zip(places, span, strict=True))
        return dict(zip(ports, moved, strict=True))

    def _settle(
        self,
        columns: list[list[Item]],
        ports: Ports,
        y: Mapping[Item, float],
        center: Callable[[Targets], float],
        rounds: int,
    ) -> dict[Item, float]:
        """Move each column in turn to where its links draw it."""
        spans = [[sum(steps[: i + 1]) for i in range(len(steps))] for steps in map(self._steps, columns)]
        places = dict(y)
        for column, span in zip(columns, spans, strict=True):
            places |= {item: step - span[-1] / 2 for item, step in zip(column, span, strict=True) if item not in y}
        for turn in range(rounds):
            for index in range(len(columns)) if turn % 2 == 0 else reversed(range(len(columns))):
                wishes = [self._targets(item, places, ports) or [(places[item], 0.01)] for item in columns[index]]
                places |= dict(zip(columns[index], _settled(wishes, spans[index], center), strict=True))
        return places

    def _steps(self, column: list[Item]) -> list[float]:
        """How far below its upper neighbour each item of a column has to stand at least."""
        gaps = (self._gap(upper, lower) for upper, lower in pairwise(column))
        return [0.0, *map(math.ceil, gaps)]

    def _straight(self, columns: list[list[Item]], ports: Ports) -> dict[Item, float]:
        """Heights with the least sum of weighted lengths: potentials of the flow that is dual to that."""
        flow = nx.DiGraph()
        for source, target in self.links:
            weight, drop = self._weight(source, target), round(GRAIN * -ports[target][source])
            flow.add_edge(source, target, capacity=int(weight), weight=drop)
            flow.add_edge(target, source, capacity=int(weight), weight=-drop)
        for column in columns:
            for (upper, lower), step in zip(pairwise(column), self._steps(column)[1:], strict=True):
                flow.add_edge(lower, upper, weight=round(-GRAIN * step))
        flow.add_nodes_from(item for column in columns for item in column)
        _, used = nx.network_simplex(flow)
        rest = nx.DiGraph()
        rest.add_weighted_edges_from(("", item, 0) for item in flow)
        for a, b, data in flow.edges(data=True):
            if used[a][b] < data.get("capacity", math.inf):
                rest.add_edge(a, b, weight=data["weight"])
            if used[a][b] > 0:
                rest.add_edge(b, a, weight=-data["weight"])
        found: dict[Item, float] = nx.single_source_bellman_ford_path_length(rest, "")
        return {item: found[item] / GRAIN for item in flow}

    def _gap(self, upper: Item, lower: Item) -> float:
        space = (BETWEEN_BOXES, BESIDE_WIRE, BETWEEN_WIRES)[self.bends(upper) + self.bends(lower)]
        return self.height(upper) / 2 + self.height(lower) / 2 + space

    def _targets(self, item: Item, y: Mapping[Item, float], ports: Ports) -> Targets:
        back = [(y[other] - ports[item][other], self._weight(other, item)) for other in self.before[item]]
        return back + [(y[other] + ports[other][item], self._weight(item, other)) for other in self.after[item]]

    def _weight(self, source: Item, target: Item) -> float:
        return {(False, False): 1.0, (True, False): 2.0, (False, True): 4.0, (True, True): 8.0}[
            self.bends(source), self.bends(target)
        ]

    def _sides(
        self, columns: list[list[Item]], y: Mapping[Item, float], ports: Ports
    ) -> tuple[list[float], list[float]]:
        """The left and right side of every column; the steeper the wires between two, the further they stand apart."""
        lefts, rights, x = [], [], 0.0
        for index, column in enumerate(columns):
            width = max((self.sizes[item[0]][0] for item in column if not self.bends(item)), default=0.0)
            rises = [abs(y[a] - y[b] - ports[b][a]) for a, b in self.links if a[1] == index]
            lefts.append(x)
            rights.append(x + width)
            x += width + min(WIDE, NARROW + STEEP * max(rises, default=0.0)) * self.pace
        return lefts, rights

    def _wire(
        self,
        link: tuple[Item, Item],
        boxes: Mapping[str, Box],
        y: Mapping[Item, float],
        ports: Ports,
        lefts: Sequence[float],
        rights: Sequence[float],
    ) -> Wire:
        source, target = link
        start = lefts[source[1]] if self.bends(source) else boxes[source[0]].right
        end = lefts[target[1]] if self.bends(target) else boxes[target[0]].x
        leave, enter = rights[source[1]], lefts[target[1]]
        y0, y1, bow = y[source], y[target] + ports[target][source], 0.55 * (enter - leave)
        points = ((start, y0), (leave, y0), (leave + bow, y0), (enter - bow, y1), (enter, y1), (end, y1))
        return Wire(source=source[0], target="" if self.bends(target) else target[0], points=points)


def _links(graph: nx.DiGraph, column: Mapping[str, int]) -> Iterator[tuple[Item, Item]]:
    for name in graph:
        readers = sorted(graph.successors(name), key=lambda reader: column[reader])
        for reader in readers:
            yield from (((name, i), (name, i + 1)) for i in range(column[name], column[reader] - 1))
            yield (name, column[reader] - 1), (reader, column[reader])


def _ranks(columns: Iterable[Sequence[Item]]) -> dict[Item, float]:
    """Where items stand in their columns, centred so that columns of different lengths compare."""
    return {item: i - len(column) / 2 for column in columns for i, item in enumerate(column)}


def _settled(wishes: Sequence[Targets], span: Sequence[float], center: Callable[[Targets], float]) -> list[float]:
    """Positions closest to the wishes that keep the distances of `span` (pool adjacent violators)."""
    pools: list[tuple[float, Targets, int]] = []
    for wish, offset in zip(wishes, span, strict=True):
        targets, count = [(place - offset, weight) for place, weight in wish], 1
        while pools and pools[-1][0] > center(targets):
            _, more, members = pools.pop()
            targets, count = more + targets, count + members
        pools.append((center(targets), targets, count))
    flat = [place for place, _, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(flat, span, strict=True)]


def _mean(targets: Targets) -> float:
    return sum(place * weight for place, weight in targets) / sum(weight for _, weight in targets)


def _median(targets: Targets) -> float:
    """The middle of the places where as much weight lies above as below."""
    ordered = sorted(targets)
    half, passed = sum(weight for _, weight in ordered) / 2, 0.0
    for i, (place, weight) in enumerate(ordered):
        passed += weight
        if abs(passed - half) < 1e-9:
            return (place + ordered[i + 1][0]) / 2
        if passed > half:
            return place
    return ordered[-1][0]


def _length(layout: Layout) -> float:
    return sum(abs(wire.points[0][1] - wire.points[-1][1]) for wire in layout.wires)


def _transposed(layout: Layout) -> Layout:
    boxes = {name: Box(x=box.y, y=box.x, width=box.height, height=box.width) for name, box in layout.boxes.items()}
    wires = tuple(replace(wire, points=tuple((y, x) for x, y in wire.points)) for wire in layout.wires)  # type: ignore[arg-type]
    return Layout(boxes=boxes, wires=wires, width=layout.height, height=layout.width)
