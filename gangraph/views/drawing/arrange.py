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

from collections.abc import Iterable, Mapping, Sequence

import networkx as nx

from gangraph.views.drawing.columns import Columns, Item, ranks
from gangraph.views.drawing.heights import Ports, median, ports_of, settle, slid, straight, weighted_mean
from gangraph.views.drawing.layout import Box, Layout, Point, Wire
from gangraph.views.drawing.order import disorder, orders

CALM, BALANCE = 24, 6  # rounds that minimise squares, and that centre boxes between equally good places
NARROW, WIDE, STEEP = 46.0, 130.0, 0.16


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
    plane = Columns(sizes, graph, _columns(graph, set(late), teams or {}), 0.6 if down else 1.0)
    best = min(orders(plane), key=lambda order: _placed(plane, order, exact=False).length + disorder(plane, order))
    layout = _placed(plane, best, exact=True)
    return layout.transposed if down else layout


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


def _placed(plane: Columns, columns: list[list[Item]], *, exact: bool) -> Layout:
    """The layout with the columns in this order; its heights are `exact` or nearly good."""
    rank = ranks(columns)
    ports = {target: ports_of(plane, target, rank) for column in columns for target in column}
    y = settle(plane, columns, ports, {}, weighted_mean, CALM)
    for final in (False, False, True) if exact else ():
        y = settle(plane, columns, ports, straight(plane, columns, ports), median, BALANCE)
        ports = {target: slid(plane, target, ports[target], y, final=final) for target in ports}
    top = min((y[item] - plane.height(item) / 2 for item in y), default=0.0)
    y = {item: value - top for item, value in y.items()}
    lefts, rights = _sides(plane, columns, y, ports)
    boxes = {}
    for name, (width, height) in plane.sizes.items():
        item = (name, plane.column[name])
        middle = (lefts[item[1]] + rights[item[1]]) / 2
        boxes[name] = Box(x=middle - width / 2, y=y[item] - height / 2, width=width, height=height)
    wires = tuple(_wire(plane, link, boxes, y, ports, lefts, rights) for link in plane.links)
    bottom = max((y[item] + plane.height(item) / 2 for item in y), default=0.0)
    return Layout(boxes=boxes, wires=wires, width=rights[-1], height=bottom)


def _sides(
    plane: Columns, columns: list[list[Item]], y: Mapping[Item, float], ports: Ports
) -> tuple[list[float], list[float]]:
    """The left and right side of every column; the steeper the wires between two, the further they stand apart."""
    lefts, rights, x = [], [], 0.0
    for index, column in enumerate(columns):
        width = max((plane.sizes[item[0]][0] for item in column if not plane.bends(item)), default=0.0)
        rises = [abs(y[a] - y[b] - ports[b][a]) for a, b in plane.links if a[1] == index]
        lefts.append(x)
        rights.append(x + width)
        x += width + min(WIDE, NARROW + STEEP * max(rises, default=0.0)) * plane.pace
    return lefts, rights


def _wire(
    plane: Columns,
    link: tuple[Item, Item],
    boxes: Mapping[str, Box],
    y: Mapping[Item, float],
    ports: Ports,
    lefts: Sequence[float],
    rights: Sequence[float],
) -> Wire:
    source, target = link
    start = lefts[source[1]] if plane.bends(source) else boxes[source[0]].right
    end = lefts[target[1]] if plane.bends(target) else boxes[target[0]].x
    leave, enter = rights[source[1]], lefts[target[1]]
    y0, y1, bow = y[source], y[target] + ports[target][source], 0.55 * (enter - leave)
    points = ((start, y0), (leave, y0), (leave + bow, y0), (enter - bow, y1), (enter, y1), (end, y1))
    return Wire(source=source[0], target="" if plane.bends(target) else target[0], points=points)
