"""Held values: which update fixes them."""

from gangraph.plan.reuse import Past, work
from gangraph.plan.split import split
from tests.plan.planning import known

HELD = "logistic.generator(D(fake)) + l2(at_first(fake), fake)"
FAKE = "logistic.critic(real=D(x), fake=D(fake))"
REAL = "mean(D(x))"
FOOL = "{update: g, minimize: fool}"


def fixed(first: str, *, judge: str) -> list[int]:
    """The updates that fix a value which the second one reads held."""
    return [index for index, names in enumerate(known(first, FOOL, judge=judge, fool=HELD).held) if names]


def test_a_value_is_fixed_where_it_is_first_computed() -> None:
    assert fixed("{update: d, minimize: judge}", judge=FAKE) == [0]


def test_a_value_is_fixed_by_who_reads_it_held_if_no_one_computes_it_before() -> None:
    assert fixed("{update: d, minimize: judge}", judge=REAL) == [1]


def test_an_update_that_may_be_skipped_fixes_nothing_for_others() -> None:
    assert fixed("{update: d, minimize: judge, every: 2}", judge=FAKE) == [1]


def test_what_no_update_reads_is_not_fixed() -> None:
    facts = known(more_values="  kept: at_first(fake)")
    assert not any(facts.held)


def test_a_constant_number_of_times_is_no_condition() -> None:
    judge = "logistic.critic(real=D(x), fake=D(at_first(fake)))"
    facts = known("{update: d, minimize: judge, times: 2}", FOOL, judge=judge, fool=HELD)
    assert not facts.updates[0].timing.conditional
    assert [index for index, names in enumerate(facts.held) if names] == [0]
    once, body = split(facts, 0, work(facts, Past(tensors={}, moved={}), 0).wanted, frozenset())
    assert "at_first" in once and "at_first" not in body
