"""Sharing: what an update computes for a later one to differentiate."""

from gangraph.plan.facts import Facts
from gangraph.plan.share import lasting, shared, takers
from tests.plan.planning import known


def given_to(facts: Facts, later: int = 1) -> tuple[frozenset[str], frozenset[str]]:
    """What the first update gives to a later one."""
    left = facts.needed[0] - {"x", "z"}
    changed = facts.versions.changed[later][0]
    same = [names for beneath, names in lasting(facts, 0, left).items() if not beneath & changed]
    return shared(facts, same, later, left, ())


def test_a_value_of_networks_that_stay_is_given_with_its_gradient() -> None:
    assert given_to(known()) == ({"fake"}, {"fake"})


def test_what_the_update_changes_is_not_given() -> None:
    live, _ = given_to(known())
    assert "judge" not in live and not live & {node.id for node in known().graph.calls("D")}


def test_a_value_that_is_drawn_anew_is_not_given() -> None:
    assert given_to(known("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: z}")) == (set(), set())


def test_a_call_waits_for_one_that_moves_its_state_before_and_so_is_not_given() -> None:
    step = ("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: z}")
    losses = {"judge": "logistic.critic(real=D(G(x)), fake=D(fake))", "fool": "logistic.generator(D(G(x)))"}
    facts = known(*step, **losses)
    (call,) = (node.id for node in facts.graph.calls("G") if node.inputs == ("x",))
    assert given_to(facts) == ({call}, {call})
    stateful = known(*step, **losses, networks_g="{inputs: z, layers: 'linear(2), batch_norm'}")
    assert stateful.ordered([call, "fake"]) == ("fake", call)
    assert given_to(stateful) == (set(), set())


def test_updates_that_repeat_neither_give_nor_take() -> None:
    judge, fool = "{update: d, minimize: judge}", "{update: g, minimize: fool}"
    assert list(takers(known(), 0)) == [1]
    assert list(takers(known(share=False), 0)) == []
    assert list(takers(known(judge.replace("}", ", times: 2}"), fool), 0)) == []
    assert list(takers(known(judge, fool.replace("}", ", times: 2}")), 0)) == []
    assert list(takers(known(judge, fool.replace("}", ", every: 2}")), 0)) == [1]
