"""Facts: what follows from a checked graph for every update."""

from gangraph.plan.facts import labels
from tests.plan.planning import known


def test_facts_say_what_each_update_needs_and_differentiates() -> None:
    facts = known()
    assert "x" in facts.needed[0] and "x" not in facts.needed[1]
    assert "fake" not in facts.live[0] and "fake" in facts.live[1]
    assert facts.later == (facts.needed[1], frozenset())


def test_values_come_in_the_order_of_the_graph() -> None:
    facts = known()
    assert facts.ordered(["judge", "z", "fake"]) == ("z", "fake", "judge")


def test_what_a_gradient_passes_is_computed_along_with_it() -> None:
    facts = known(judge="logistic.critic(real=D(x), fake=D(fake)) + mean(norm(grad(D(x), x)))")
    (grad,) = facts.paths
    (call,) = (node.id for node in facts.graph.calls("D") if node.inputs == ("x",))
    assert facts.along([grad]) == {call}
    assert facts.inputs([grad]) == {call, "x"}


def test_a_call_of_several_outputs_lists_those_that_are_read() -> None:
    facts = known(
        networks_d="{inputs: x, parts: {body: linear(2), score: linear(1)}, values: {h: body(x)},"
        " outputs: {score: score(h), features: h}}",
        judge="logistic.critic(real=D(x).score, fake=D(fake).score)",
        fool="logistic.generator(D(fake).score) + l2(D(fake).features, D(x).features)",
    )
    assert sorted(len(outputs) for outputs in facts.outputs.values()) == [2, 2]
    assert all(facts.graph.nodes[name].kind == "output" for each in facts.outputs.values() for name in each)


def test_updates_of_one_name_are_told_apart_by_their_number() -> None:
    assert labels(["d", "g", "d"]) == ("d_update_1", "g", "d_update_3")
    assert labels(["d", "d", "d_update_1"]) == ("d_update_1_", "d_update_2", "d_update_1")
