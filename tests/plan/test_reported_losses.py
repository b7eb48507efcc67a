"""Losses: which of them each update reports."""

from tests.plan.planning import known
from tests.support import DRAW_ONCE, small, trainer

UNROLLED = "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 1}}"


def test_an_update_reports_the_losses_that_it_names() -> None:
    assert [{*losses} for losses in known().losses] == [{"judge"}, {"fool"}]


def test_a_loss_that_no_update_names_is_reported_where_it_is_computed() -> None:
    facts = known("{update: d, minimize: judge}", "{update: g, minimize: fool}", fool="judge * -1")
    assert {*facts.losses[1]} == {"fool", "judge"} or {*facts.losses[1]} == {"fool"}


def test_a_loss_at_looked_ahead_networks_is_reported_under_its_name() -> None:
    alone = known("{update: d, minimize: judge}", UNROLLED)
    assert {*alone.losses[1]} == {"fool"} and alone.graph.nodes[alone.losses[1]["fool"]].origin


def test_a_loss_is_reported_at_the_networks_as_they_are_if_some_update_computes_it_there() -> None:
    both = known("{update: d, minimize: judge}", UNROLLED, "{update: g, minimize: fool}")
    assert both.losses[1] == {} and {*both.losses[2]} == {"fool"}


def test_a_loss_of_two_names_is_reported_by_both() -> None:
    told = trainer(small(*DRAW_ONCE, fool="logistic.generator(D(fake))\n  same: fool")).step()
    assert told["fool"] == told["same"] and {*told} == {"judge", "fool", "same"}
