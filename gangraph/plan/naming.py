"""Names of segments and lookahead steps, such that no two are equal."""

from collections.abc import Iterable
from dataclasses import replace

from gangraph.graph.code_names import module_name
from gangraph.plan.facts import Facts, unique_name
from gangraph.plan.model import LookaheadPlan, Segment, UpdatePlan


def name_segments(facts: Facts, updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """Each segment with a unique name: its own, or that with underscores appended.

    The segment that is an update's own is called as the update is. The function that takes steps ahead is called by
    code that calls networks as well, so it has a name that none of these has, nor a value.
    """
    used = set(facts.labels)
    called = set(map(module_name, (*facts.graph.spec.networks, *facts.graph.nodes)))

    def fresh(name: str, others: Iterable[str] = ()) -> str:
        used.add(made := unique_name(name, used.union(others)))
        return made

    def named(segment: Segment, own: str) -> Segment:
        name = own if segment.name == own else fresh(segment.name)
        return replace(segment, name=name, lookaheads=tuple(map(steps, segment.lookaheads)))

    def steps(ahead: LookaheadPlan) -> LookaheadPlan:
        each = replace(ahead.each, name=fresh(ahead.each.name))
        return replace(ahead, each=each, called=fresh(f"{module_name(ahead.graph.id)}_steps", called))

    return tuple(
        replace(
            update,
            before=tuple(named(segment, label) for segment in update.before),
            body=tuple(named(segment, label) for segment in update.body),
        )
        for update, label in zip(updates, facts.labels, strict=True)
    )
