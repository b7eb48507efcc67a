"""Names of segments: no two have the same."""

from gangraph.plan.naming import name_segments
from tests.plan.planning import known, of_nodes, running, updates


def test_the_segment_of_an_update_itself_is_called_as_the_update() -> None:
    assert [[segment.name for segment in update.segments] for update in updates(known())] == [
        ["d_shared_2", "d"],
        ["g"],
    ]


def test_a_name_that_another_segment_or_update_has_gets_an_underscore() -> None:
    facts = known()
    first, second = updates(facts)
    wanted = (running(first, *map(of_nodes, ("a", "g", "d"))), running(second, *map(of_nodes, ("a", "g"))))
    named = name_segments(facts, wanted)
    assert [[segment.name for segment in update.body] for update in named] == [["a", "g_", "d"], ["a_", "g"]]


def test_steps_ahead_are_not_called_as_a_network_or_value_is() -> None:
    unroll = "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 1}}"
    (plain,) = updates(known(unroll))
    (ahead,) = (ahead for segment in plain.segments for ahead in segment.lookaheads)
    (taken,) = updates(known(unroll, more_networks=f"  {ahead.called}: mlp(widths=[2], outputs=2)"))
    (other,) = (ahead for segment in taken.segments for ahead in segment.lookaheads)
    assert other.called == f"{ahead.called}_"
