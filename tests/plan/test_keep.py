"""States that are kept: those that a call which is made again begins from."""

from dataclasses import replace

from gangraph.plan.keep import keep
from tests.plan.planning import known, of_nodes, running, updates


def test_the_last_call_before_the_one_that_is_made_again_keeps_its_state() -> None:
    facts = known()
    first, second = updates(facts)
    again = replace(of_nodes("c", "call"), again=("call",))
    made = keep(facts, (running(first, of_nodes("a", "call"), of_nodes("b", "call", "other")), running(second, again)))
    assert [[segment.keeps for segment in update.body] for update in made] == [[(), ("call",)], [()]]


def test_nothing_is_kept_that_no_call_asks_for() -> None:
    assert not any(segment.keeps for update in updates(known()) for segment in update.segments)
