"""Freeing: what is given on, and when it is read for the last time."""

from gangraph.plan.compute import compute
from gangraph.plan.free import free
from tests.plan.planning import known


def test_a_value_is_freed_by_the_last_update_that_reads_it() -> None:
    facts = known()
    first, second = free(facts, compute(facts))
    assert "fake" not in first.frees and "fake" in second.frees
    assert {"x", "judge"} <= set(first.frees)


def test_what_no_one_reads_is_not_given_on() -> None:
    facts = known("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: z}")
    assert [[segment.outputs for segment in update.body] for update in free(facts, compute(facts))] == [
        [("judge",)],
        [("fool",)],
    ]
