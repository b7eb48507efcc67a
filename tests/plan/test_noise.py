"""Noise: for which calls the random layers draw anew."""

from tests.plan.planning import known, updates

DROPOUT = "{inputs: x, layers: 'linear(4), dropout(0.5), linear(1)'}"
NOISY = "{inputs: z, layers: 'linear(4), dropout(0.5), linear(2)'}"
FIRST, SECOND = "{update: d, minimize: judge}", "{update: g, minimize: fool}"


def test_networks_without_random_layers_draw_none() -> None:
    assert [update.noise for update in updates(known())] == [(), ()]


def test_a_call_draws_once_for_a_value() -> None:
    assert [update.noise for update in updates(known(networks_g=NOISY, share=False))] == [("fake",), ()]


def test_a_call_draws_again_where_its_value_has_changed() -> None:
    first, second = (update.noise for update in updates(known(networks_d=DROPOUT)))
    assert len(first) == 2 and len(second) == 1 and set(second) < set(first)


def test_what_an_update_draws_that_may_be_skipped_is_not_relied_on() -> None:
    skipped = FIRST.replace("}", ", every: 2}")
    assert [update.noise for update in updates(known(skipped, SECOND, networks_g=NOISY))] == [("fake",), ("fake",)]


def test_a_call_at_looked_ahead_networks_takes_the_numbers_of_the_call_as_written() -> None:
    unroll = SECOND.replace("}", ", unroll: {update: d, minimize: judge, steps: 1}}")
    facts = known(unroll, networks_d=DROPOUT)
    (update,) = updates(facts)
    assert update.noise and not any(facts.graph.nodes[name].ahead for name in update.noise)
