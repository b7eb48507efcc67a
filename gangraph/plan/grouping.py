"""Nodes of a graph in groups, so that the graph stays without circles when each group becomes one node."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Group:
    """Nodes that become one, in order. `members` and all that is `beneath` them are sets of nodes, as bits."""

    names: list[str]
    members: int
    beneath: int


def grouped(before: Mapping[str, Iterable[str]], alike: Mapping[str, Hashable]) -> tuple[tuple[str, ...], ...]:
    """Put each node into the first group of its likes that it does not depend on, also by way of other groups.

    Sets of nodes are whole numbers, bit i for the node i, so that a step takes a few operations on numbers.

    Args:
        before: every node, after those that it needs directly.
        alike: for each node that may be put into a group, what all nodes of the group have in common.

    Returns:
        The groups of two and more, those of one kind after each other.
    """
    place = {name: position for position, name in enumerate(before)}
    groups: dict[int, _Group] = {}  # by the places of all their nodes
    kinds: dict[Hashable, int] = {}  # the first nodes of all groups of each kind
    merged, beneath = 0, list[int]()  # the nodes of the groups of several; what is beneath each node
    for name, needs in before.items():
        own = place[name]
        beneath.append(_closed(_directly(needs, place, beneath), groups, merged))
        if name not in alike:
            continue
        kind = alike[name]
        free = kinds.get(kind, 0) & ~beneath[own]
        if not free:
            groups[own] = _Group([name], 1 << own, beneath[own])
            kinds[kind] = kinds.get(kind, 0) | 1 << own
            continue
        group = groups[own] = groups[(free & -free).bit_length() - 1]
        beneath_all = _closed(group.beneath, groups, merged) | beneath[own]
        group.names.append(name)
        group.members, group.beneath = group.members | 1 << own, beneath_all
        merged |= group.members
        _carry(group, groups, merged)
    firsts = [places for kind in kinds.values() for places in _places(kind)]
    return tuple(tuple(groups[first].names) for first in firsts if len(groups[first].names) > 1)


def _directly(needs: Iterable[str], place: Mapping[str, int], beneath: list[int]) -> int:
    """The nodes that are needed, and what is beneath these."""
    found = 0
    for name in needs:
        found |= beneath[place[name]] | 1 << place[name]
    return found


def _closed(nodes: int, groups: Mapping[int, _Group], merged: int) -> int:
    """Some nodes, with the whole groups that they are in and what is beneath those."""
    waiting = nodes & merged
    while waiting:
        group = groups[waiting.bit_length() - 1]
        nodes |= group.members | group.beneath
        waiting &= ~(group.members | group.beneath)
    return nodes


def _carry(changed: _Group, groups: Mapping[int, _Group], merged: int) -> None:
    """Tell every group that has some of a changed group beneath it what is beneath this one now."""
    for first in _places(merged):
        group = groups[first]
        if group.beneath & changed.members:
            group.beneath |= changed.members | changed.beneath


def _places(nodes: int) -> list[int]:
    """The bits of a number that are 1, the lowest first."""
    places = []
    while nodes:
        places.append((nodes & -nodes).bit_length() - 1)
        nodes &= nodes - 1
    return places
