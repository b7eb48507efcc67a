"""Stages: values are mixed with their past between groups."""

from gangraph.plan.facts import Facts
from gangraph.plan.stages import stages
from tests.plan.planning import known


def groups(facts: Facts) -> list[frozenset[str]]:
    """The first update in groups."""
    return list(stages(facts, facts.needed[0] - {"x", "z"}, ()))


def test_without_a_past_all_is_one_group() -> None:
    assert len(groups(known())) == 1


def test_what_is_mixed_with_its_past_is_computed_before() -> None:
    first, second = groups(known(judge="logistic.critic(real=D(x), fake=D(history(fake, 8)))"))
    assert first == {"fake"} and "history" in second


def test_a_past_of_a_past_takes_a_group_more() -> None:
    first, second, third = groups(known(judge="logistic.critic(real=D(x), fake=D(history(history(fake, 8), 8)))"))
    assert first == {"fake"} and second == {"history"} and "history_2" in third


def test_the_past_of_a_draw_needs_no_group_before() -> None:
    assert len(groups(known(judge="logistic.critic(real=D(history(x, 8)), fake=D(fake))"))) == 1
