"""Splitting: what an update that repeats computes once."""

from gangraph.plan.facts import Facts
from gangraph.plan.reuse import Past, work
from gangraph.plan.split import split
from tests.plan.planning import known

FOOL = "{update: g, minimize: fool}"


def parts(facts: Facts) -> tuple[frozenset[str], frozenset[str]]:
    """What the first update computes once, and each time."""
    todo = work(facts, Past(tensors={}, moved={}), 0)
    return split(facts, 0, todo.wanted, todo.again)


def test_an_update_that_runs_once_computes_all_of_it_then() -> None:
    once, body = parts(known())
    assert once == frozenset() and {"fake", "judge"} <= body


def test_what_neither_changes_nor_is_drawn_anew_is_computed_once() -> None:
    once, body = parts(known("{update: d, minimize: judge, times: 3}", FOOL))
    assert once == {"fake"} and "judge" in body


def test_what_is_drawn_anew_is_computed_each_time() -> None:
    once, body = parts(known("{update: d, minimize: judge, times: 3, draw: z}", FOOL))
    assert once == frozenset() and "fake" in body


def test_a_value_is_mixed_with_its_past_each_time() -> None:
    judge = "logistic.critic(real=D(x), fake=D(history(fake, 8)))"
    once, body = parts(known("{update: d, minimize: judge, times: 3}", FOOL, judge=judge))
    assert once == {"fake"} and "history" in body


def test_a_call_under_a_gradient_is_made_each_time_but_moves_its_state_once() -> None:
    judge = "mean(D(x)) + mean(norm(grad(mean(T(x) + x), x)))"
    facts = known(
        "{update: d, minimize: judge, times: 3}",
        FOOL,
        judge=judge,
        more_networks="  T: {inputs: x, layers: 'running_mean(0.5)'}",
    )
    (call,) = (node.id for node in facts.graph.calls("T"))
    once, body = parts(facts)
    assert call in once or call not in body
