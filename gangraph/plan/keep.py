"""Which states of networks are kept for calls that are made again."""

from dataclasses import replace

from gangraph.plan.facts import Facts
from gangraph.plan.model import UpdatePlan


def keep(facts: Facts, updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """The updates, each with the calls before which it copies the state, where later calls for the same value begin."""
    asked: set[str] = set()
    planned = []
    for update in reversed(updates):
        segments = []
        for segment in reversed(update.segments):
            asked |= set(segment.again)
            kept = tuple(name for name in segment.nodes if name in asked and name not in segment.again)
            asked -= set(kept)
            segments.append(replace(segment, keeps=kept))
        ordered, count = tuple(reversed(segments)), len(update.before)
        planned.append(replace(update, before=ordered[:count], body=ordered[count:]))
    return tuple(reversed(planned))
