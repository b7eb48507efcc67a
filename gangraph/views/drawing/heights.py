"""At which heights the boxes of ordered columns stand, and where wires enter them."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import networkx as nx

from gangraph.views.drawing.columns import Columns, Item

Ports = Mapping[Item, Mapping[Item, float]]  # how far below the middle of a box each of its links enters
Targets = list[tuple[float, float]]  # positions that an item is drawn to, and how strongly

GRAIN = 4  # steps of a length unit in the linear program, which takes whole numbers
PORT, SLACK = 13.0, 24.0


def ports_of(plane: Columns, target: Item, rank: Mapping[Item, float]) -> dict[Item, float]:
    """How far below its middle each link enters a box."""
    sources = sorted(plane.before[target], key=rank.__getitem__)
    step = min(PORT, (plane.height(target) - 8) / max(len(sources), 1)) if len(sources) > 1 else 0.0
    return {source: (i - (len(sources) - 1) / 2) * step for i, source in enumerate(sources)}


def slid(
    plane: Columns, target: Item, ports: Mapping[Item, float], y: Mapping[Item, float], *, final: bool
) -> dict[Item, float]:
    """Ports moved along the side of a box where that makes their wires straight.

    Of two wires, one that is straight already moves to the middle, so that the next round makes the box follow.
    """
    if plane.bends(target) or not ports:
        return dict(ports)
    offsets, room = list(ports.values()), plane.height(target) / 2 - 9
    gaps = [y[source] - y[target] for source in ports]
    middle = next((place for place, gap in zip(offsets, gaps, strict=True) if abs(place - gap) < 1), 0.0)
    if len(gaps) == 2 and not final and abs(offsets[1] - offsets[0]) <= room + 4:
        return {source: place - middle for source, place in ports.items()}
    nearest = (gap if abs(gap - place) <= SLACK else place for gap, place in zip(gaps, offsets, strict=True))
    span = [place - offsets[0] for place in offsets]
    low, high = min(-room, offsets[0]), max(room, offsets[-1]) - span[-1]
    places = _settled([[(place, 1.0)] for place in nearest], span, weighted_mean)
    moved = (min(max(place - step, low), high) + step for place, step in zip(places, span, strict=True))
    return dict(zip(ports, moved, strict=True))


def settle(
    plane: Columns,
    columns: list[list[Item]],
    ports: Ports,
    y: Mapping[Item, float],
    center: Callable[[Targets], float],
    rounds: int,
) -> dict[Item, float]:
    """Move each column in turn to where its links draw it."""
    spans = [[sum(steps[: i + 1]) for i in range(len(steps))] for steps in map(plane.steps, columns)]
    places = dict(y)
    for column, span in zip(columns, spans, strict=True):
        places |= {item: step - span[-1] / 2 for item, step in zip(column, span, strict=True) if item not in y}
    for turn in range(rounds):
        for index in range(len(columns)) if turn % 2 == 0 else reversed(range(len(columns))):
            wishes = [_targets(plane, item, places, ports) or [(places[item], 0.01)] for item in columns[index]]
            places |= dict(zip(columns[index], _settled(wishes, spans[index], center), strict=True))
    return places


def straight(plane: Columns, columns: list[list[Item]], ports: Ports) -> dict[Item, float]:
    """Heights with the least sum of weighted lengths: potentials of the flow that is dual to that."""
    flow = nx.DiGraph()
    for source, target in plane.links:
        weight, drop = plane.weight(source, target), round(GRAIN * -ports[target][source])
        flow.add_edge(source, target, capacity=int(weight), weight=drop)
        flow.add_edge(target, source, capacity=int(weight), weight=-drop)
    for column in columns:
        for (upper, lower), step in zip(pairwise(column), plane.steps(column)[1:], strict=True):
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


def _targets(plane: Columns, item: Item, y: Mapping[Item, float], ports: Ports) -> Targets:
    back = [(y[other] - ports[item][other], plane.weight(other, item)) for other in plane.before[item]]
    return back + [(y[other] + ports[other][item], plane.weight(item, other)) for other in plane.after[item]]


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


def weighted_mean(targets: Targets) -> float:
    """The weighted mean of the places."""
    return sum(place * weight for place, weight in targets) / sum(weight for _, weight in targets)


def median(targets: Targets) -> float:
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
