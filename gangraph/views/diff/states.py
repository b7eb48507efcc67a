"""How the states of two specs differ."""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.language.expression.model import unparse
from gangraph.language.spec import PhaseSpec, StateSpec
from gangraph.update_schedule import SCHEDULE_KEYS
from gangraph.views.diff.difference import Difference, sides
from gangraph.views.diff.matching import Matching
from gangraph.views.printers.words import written


def state_differences(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    """States that came or went, begin otherwise, become something else, or move in other steps. Names pair them."""
    nodes = [
        dict(pair for entry in side.graph.moves for pair in entry.states) for side in (matching.first, matching.second)
    ]
    for name, other in sides(a.states, b.states, {name: name for name in a.states if name in b.states}):
        ours, theirs = a.states.get(name), b.states.get(other)
        if ours is None or theirs is None:
            yield Difference("state", name or other, *("" if each is None else _told(each) for each in (ours, theirs)))
            continue
        if (ours.value, ours.shape) != (theirs.value, theirs.shape):
            yield Difference("state", f"what {name} begins as", unparse(ours.start), unparse(theirs.start))
        if not matching.same_node(nodes[0][name], nodes[1][name]):
            yield Difference("state", f"what {name} becomes", written(ours.next), written(theirs.next))
        for key, record in SCHEDULE_KEYS.items():
            before, after = (
                record.usual if each is None else record.told(record.stated, written(each))
                for each in (ours.schedule.get(key), theirs.schedule.get(key))
            )
            if before != after:
                yield Difference("state", record.compared.replace("update {}", name), before, after)


def _told(state: StateSpec) -> str:
    return f"{written(state.next)}, from {unparse(state.start)} on"
