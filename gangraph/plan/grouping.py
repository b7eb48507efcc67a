"""Group nodes of a graph such that it stays acyclic when each group becomes one node."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush


@dataclass(slots=True)
class _Group:
    """Nodes that become one. `members` and `beneath`, the nodes that they need, are sets: bit i is the node i."""

    names: list[str]
    members: int
    beneath: int


@dataclass(slots=True)
class _Groups:
    """Groups while they are made: by the place of each of their nodes, and those of `several` nodes by themselves.

    `merged` are all nodes of these. What is beneath one of them has whole groups in it, with what is beneath those.
    """

    by_place: dict[int, _Group] = field(default_factory=dict)
    several: list[_Group] = field(default_factory=list)
    merged: int = 0

    def closed(self, nodes: int) -> int:
        """A set of nodes, completed by every group that one of them is in, and by all nodes that these groups need."""
        waiting = nodes & self.merged
        while waiting:
            group = self.by_place[waiting.bit_length() - 1]
            nodes |= group.members | group.beneath
            waiting &= ~(group.members | group.beneath)
        return nodes

    def begin(self, name: str, place: int, beneath: int) -> None:
        """A group of one node."""
        self.by_place[place] = _Group([name], 1 << place, beneath)

    def join(self, first: int, name: str, place: int, beneath: int) -> None:
        """Take one more node into the group of the node at `first`; the sets `beneath` of other groups grow with it."""
        group = self.by_place[place] = self.by_place[first]
        if len(group.names) == 1:
            self.several.append(group)
        group.names.append(name)
        group.beneath = self.closed(group.beneath) | beneath
        group.members |= 1 << place
        self.merged |= group.members
        for other in self.several:
            if other.beneath & group.members:
                other.beneath |= group.members | group.beneath


def grouped(before: Mapping[str, Iterable[str]], alike: Mapping[str, Hashable]) -> tuple[tuple[str, ...], ...]:
    """Put each node into the first group of its kind on which it does not depend, directly or through other groups.

    Sets of nodes are whole numbers, bit i for the node i, so that a step takes a few operations on numbers.

    Args:
        before: every node, after those that it needs directly, with these.
        alike: for each node that may be put into a group, what all nodes of the group have in common.

    Returns:
        The groups of two and more, those that have one thing in common after each other.
    """
    place = {name: position for position, name in enumerate(before)}
    groups, firsts = _Groups(), dict[Hashable, int]()  # the first nodes of the groups that have a thing in common
    beneath: list[int] = []  # each node
    for own, (name, needs) in enumerate(before.items()):
        found = 0
        for each in needs:
            found |= beneath[place[each]] | 1 << place[each]
        beneath.append(found := groups.closed(found))
        if name not in alike:
            continue
        likes = firsts.get(alike[name], 0)
        if free := likes & ~found:
            groups.join(_lowest(free), name, own, found)
        else:
            groups.begin(name, own, found)
            firsts[alike[name]] = likes | 1 << own
    made = (groups.by_place[first] for likes in firsts.values() for first in _places(likes))
    return tuple(tuple(group.names) for group in made if len(group.names) > 1)


Names = tuple[str, ...]


def in_turn(groups: Sequence[Names], before: Callable[[str], Iterable[str]]) -> tuple[list[Names], list[Names]]:
    """Groups in an order in which each follows the groups that its nodes need, and the groups for which there is none.

    Of the groups that can come next, the first in the given order is taken. Groups in a circle, and those that need
    them, have no place.
    """
    place = {name: position for position, group in enumerate(groups) for name in group}
    needs = [{place[each] for name in group for each in before(name) if each in place} for group in groups]
    after: list[list[int]] = [[] for _ in groups]
    for position, needed in enumerate(needs):
        for each in needed:
            after[each].append(position)
    waits = list(map(len, needs))
    ready, ordered = [position for position, count in enumerate(waits) if not count], list[Names]()
    while ready:
        position = heappop(ready)
        ordered.append(groups[position])
        for each in after[position]:
            waits[each] -= 1
            if not waits[each]:
                heappush(ready, each)
    return ordered, [group for group, count in zip(groups, waits, strict=True) if count]


def _lowest(nodes: int) -> int:
    """The place of the first node of a set."""
    return (nodes & -nodes).bit_length() - 1


def _places(nodes: int) -> list[int]:
    """The places of the nodes of a set, in order."""
    places = []
    while nodes:
        places.append(_lowest(nodes))
        nodes &= nodes - 1
    return places
