"""Losses: which of them each update reports."""

from tests.plan.planning import known

UNROLLED = "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 1}}"


def test_an_update_reports_the_losses_that_it_names() -> None:
    assert [set(losses.values()) for losses in known().losses] == [{"judge"}, {"fool"}]


def test_a_loss_that_no_update_names_is_reported_where_it_is_computed() -> None:
    facts = known("{update: d, minimize: judge}", "{update: g, minimize: fool}", fool="judge * -1")
    assert set(facts.losses[1].values()) == {"fool", "judge"} or set(facts.losses[1].values()) == {"fool"}


def test_a_loss_at_looked_ahead_networks_is_reported_under_its_name() -> None:
    alone = known("{update: d, minimize: judge}", UNROLLED)
    (node,) = alone.losses[1]
    assert alone.losses[1][node] == "fool" and alone.graph.nodes[node].origin


def test_a_loss_is_reported_at_the_networks_as_they_are_if_some_update_computes_it_there() -> None:
    both = known("{update: d, minimize: judge}", UNROLLED, "{update: g, minimize: fool}")
    assert both.losses[1] == {} and set(both.losses[2].values()) == {"fool"}
