"""Segments: what runs together, and what it reads and gives."""

from gangraph.plan.compute import compute
from tests.plan.planning import known


def test_what_a_later_update_differentiates_runs_by_itself_and_is_detached_for_its_own() -> None:
    first, second = compute(known())
    shared, own = first.body
    assert shared.name == "d_shared_2" and shared.target == 1 and shared.trained == ("G",)
    assert shared.nodes == ("fake",) == shared.outputs and "fake" in shared.live
    assert own.target == 0 and own.detached == {"fake"} and "fake" in own.inputs
    (own,) = second.body
    assert own.detached == frozenset() and "fake" in own.live


def test_an_update_that_repeats_runs_once_what_stays() -> None:
    first, _ = compute(known("{update: d, minimize: judge, times: 2}", "{update: g, minimize: fool}"))
    assert [segment.nodes for segment in first.before] == [("fake",)]
    assert [segment.name for segment in first.body] == ["d"]


def test_a_step_ahead_is_a_segment_that_moves_its_networks() -> None:
    unroll = "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 3}}"
    (update,) = compute(known(unroll))
    (ahead,) = (ahead for segment in update.segments for ahead in segment.lookaheads)
    assert ahead.live and ahead.graph.steps == 3
    assert ahead.each.moved == ("D",) and ahead.each.outputs == (ahead.graph.loss,)


def test_calls_that_move_one_state_keep_their_order() -> None:
    first, _ = compute(known(networks_d="{inputs: x, layers: 'linear(2), batch_norm, linear(1)'}"))
    calls = [node.id for node in known().graph.calls("D")]
    (own,) = (segment for segment in first.body if segment.target == 0)
    assert own.order == (tuple(calls[:2]),)


def test_frozen_are_the_networks_that_are_called_and_not_trained() -> None:
    assert [update.frozen for update in compute(known())] == [("G",), ("D",)]
