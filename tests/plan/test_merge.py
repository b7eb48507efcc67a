"""Merging: which calls of one network run as one."""

from gangraph.plan.compute import compute
from gangraph.plan.facts import Facts
from gangraph.plan.merge import merge
from tests.plan.planning import known


def merged(facts: Facts) -> list[tuple[str, ...]]:
    """The groups of the first update, by what their calls take."""
    first = merge(facts, compute(facts))[0]
    nodes = facts.graph.nodes
    return [
        tuple(" ".join(nodes[call].inputs) for call in group) for segment in first.segments for group in segment.merges
    ]


def test_calls_that_do_not_need_each_other_become_one() -> None:
    assert merged(known()) == [("x", "fake")]


def test_none_are_merged_if_that_is_not_asked_for() -> None:
    assert merged(known(merge=False)) == []


def test_calls_of_a_network_that_mixes_samples_or_keeps_state_stay_apart() -> None:
    assert merged(known(networks_d="{inputs: x, layers: 'linear(2), batch_norm(track=false), linear(1)'}")) == []
    assert merged(known(networks_d="{inputs: x, layers: 'spectral_norm(linear(1))'}")) == []


def test_a_call_under_a_gradient_penalty_stays_apart() -> None:
    penalty = "logistic.critic(real=D(x), fake=D(fake)) + mean(norm(grad(D(x + fake), x)))"
    assert merged(known(judge=penalty)) == [("x", "fake")]


def test_a_call_that_needs_another_stays_apart() -> None:
    assert merged(known(judge="mean(D(x)) + mean(D(fake + mean(D(x))))")) == []


def test_where_several_groups_are_differentiated_none_are_merged() -> None:
    assert merged(known("{update: {d: {minimize: judge}, g: {minimize: fool}}}")) == []
