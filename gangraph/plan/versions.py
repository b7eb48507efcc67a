"""Versions: on which networks and sources a value depends, and which of these change between two updates.

A value is its expression, evaluated with the current parameters and draws. A tensor computed by one update is the value
in a later one exactly if nothing that it depends on has changed in between. A held value is the same to the end of the
step.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import or_

from gangraph.graph.changes import drawn, moved
from gangraph.graph.model import Graph, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What values depend on, and what changes. Sets are whole numbers, in which bit i stands for `things[i]`.

    The things are networks and sources. `beneath` has the set that each value depends on; `changed[later][first]` the
    set of those that have another version when the update number `later` computes than when number `first` did, and
    `moved` the set of networks that each update changes.
    """

    things: tuple[str, ...]
    beneath: Mapping[str, int]
    changed: tuple[tuple[int, ...], ...]
    moved: tuple[int, ...]
    held: frozenset[str]

    def same(self, value: str, first: int, later: int) -> bool:
        """Whether what the update number `first` computed is the value in the update number `later`."""
        return value in self.held or not self.beneath[value] & self.changed[later][first]

    def mask(self, things: Iterable[str]) -> int:
        """A set of networks and sources as the whole number that `beneath` and `changed` write it as."""
        return _bits(self.things, things)

    def named(self, value: str) -> tuple[str, ...]:
        """The names of the networks and sources that a value depends on, in alphabetical order."""
        return tuple(sorted(thing for place, thing in enumerate(self.things) if self.beneath[value] >> place & 1))


def versions(graph: Graph) -> Versions:
    """The versions of a graph's values over one pass through its step."""
    owners = (graph.owner(node.target) for node in graph.nodes.values() if node.of_network)
    things = tuple(dict.fromkeys((*graph.networks, *graph.sources, *owners)))
    changes = tuple(_bits(things, _changes(graph, index)) for index in range(len(graph.step)))
    return Versions(
        things=things,
        beneath=_beneath(graph, {thing: 1 << place for place, thing in enumerate(things)}),
        changed=tuple(_since(changes[: later + 1]) for later in range(len(changes))),
        moved=tuple(_bits(things, moved(graph, index)) for index in range(len(graph.step))),
        held=frozenset(node.id for node in graph.nodes.values() if node.remembers == "step"),
    )


def _bits(things: tuple[str, ...], chosen: Iterable[str]) -> int:
    wanted = set(chosen)
    return sum(1 << place for place, thing in enumerate(things) if thing in wanted)


def _changes(graph: Graph, index: int) -> Iterator[str]:
    """What changes from the values of one update to those of the next. For the first update, the step itself draws."""
    if index > 0:
        yield from moved(graph, index - 1)
        yield from drawn(graph, index)


def _since(changes: tuple[int, ...]) -> tuple[int, ...]:
    """What has changed since each update when the last one computes, from what changed before each of them."""
    from_last = tuple(accumulate(reversed(changes[1:]), or_, initial=0))
    return from_last[::-1]


def _beneath(graph: Graph, bit: Mapping[str, int]) -> dict[str, int]:
    """The networks and sources that each value depends on; nodes stand after what they need."""
    beneath: dict[str, int] = {}
    for node in graph.nodes.values():
        found = _own(graph, node, bit)
        for name in graph.lookaheads[node.id].body if node.kind == "lookahead" else ():
            found |= _own(graph, graph.nodes[name], bit)
        for name in node.needs:
            found |= beneath[name]
        beneath[node.id] = found
    return beneath


def _own(graph: Graph, node: Node, bit: Mapping[str, int]) -> int:
    """The network that a node calls, or the source that it reads."""
    if node.of_network:
        return bit[graph.owner(node.target)]
    return bit[node.target] if node.is_source else 0
