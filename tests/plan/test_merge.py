"""Merging: which calls of one network run as one."""

import pytest

from gangraph.pipeline import check_phase
from gangraph.plan.compute import compute
from gangraph.plan.facts import Facts, facts
from gangraph.plan.merge import merge
from tests.plan.planning import known
from tests.plans import compare
from tests.support import read


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


@pytest.mark.parametrize(
    ("section", "output"),
    [
        ("variables: {w: '[1.0, 2.0, 3.0, 4.0]', v: '[4.0, 3.0, 2.0, 1.0]'}", "p(x) * w"),
        ("variables: {w: '[1.0, 2.0, 3.0, 4.0]', v: '[4.0, 3.0, 2.0, 1.0]'}", "p(x) * mean(w)"),  # fits as one call
        ("state: {w: {start: 'ones(1, 4)', next: 0.9 * w}, v: {start: 'zeros(1, 4)', next: 0.9 * v + 1}}", "p(x) * w"),
        ("state: {w: {start: 2, next: 0.9 * w}, v: {start: 3, next: 0.9 * v}}", "p(x) * w"),
    ],
)
def test_a_call_with_an_input_that_is_one_thing_for_all_samples_stays_apart(section: str, output: str) -> None:
    spec = read(f"""
gangraph: 1
name: tinted
data: {{x: plane(std=0.3), z: normal(2)}}
{section}
networks: {{P: {{inputs: [x, w], parts: {{p: linear(4)}}, output: {output}}}}}
losses: {{l: "mean(P(x, w) ** 2) + mean(P(z, v)) + mean(P(z, w))"}}
train:
  batch: 4
  length: 9 steps
  optimizers: {{p: "sgd(P, lr=0.1)"}}
  step: [{{update: p, minimize: l}}]
""")
    assert merged(facts(check_phase(spec, spec.phases[0]), share=True, merge=True)) == []
    found = compare(spec, 3)
    assert not found.difference and not found.stopped
