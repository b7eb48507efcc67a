"""Reuse: what an update computes, and what of the updates before it stands already."""

from gangraph.plan.facts import Facts
from gangraph.plan.reuse import Past, Standing, Work, left_by, work
from tests.plan.planning import known

NOTHING = Past(tensors={}, moved={})
SLOW = "  S: mlp(widths=[3], outputs=2)"
TWICE = ("{update: d, minimize: judge}", "{update: d, minimize: judge}", "{update: g, minimize: fool}")


def after(facts: Facts, *live_for: dict[str, int | None]) -> Work:
    """The work of the update that comes after some others, of which each leaves values with these gradients."""
    past = NOTHING
    for index, mapping in enumerate(live_for):
        past = left_by(facts, past, work(facts, past, index), mapping)
    return work(facts, past, len(live_for))


def test_the_first_update_computes_all_that_it_needs() -> None:
    first = work(known(), NOTHING, 0)
    assert first.reuses == () and first.tensors == {}
    assert first.wanted == known().needed[0] - {"x", "z"}


def test_a_value_stands_while_nothing_beneath_it_changes() -> None:
    second = after(known(*TWICE), {})
    assert [(reuse.value, reuse.source, reuse.why) for reuse in second.reuses] == [
        ("fake", 0, "nothing beneath it has changed since (G z)")
    ]
    assert "fake" not in second.wanted and "judge" in second.wanted


def test_a_value_without_its_gradient_is_computed_again_by_who_differentiates_it() -> None:
    assert after(known(), {}).reuses == ()
    assert [reuse.value for reuse in after(known(), {"fake": 1}).reuses] == ["fake"]


def test_nothing_is_taken_from_an_update_that_may_be_skipped_but_what_is_held() -> None:
    skipped = ("{update: d, minimize: judge, every: 2}", "{update: d, minimize: judge}", "{update: g, minimize: fool}")
    assert after(known(*skipped), {}).reuses == ()
    repeated = (skipped[0].replace("every: 2", "accumulate: 2, draw: x"), *skipped[1:])
    held = after(known(*repeated, judge="logistic.critic(real=D(x), fake=D(at_first(fake)))"), {})
    assert [(reuse.value, reuse.why) for reuse in held.reuses] == [
        ("at_first", "it is held as it was when first computed")
    ]


def test_without_sharing_only_what_remembers_is_taken_from_others() -> None:
    facts = known(*TWICE, share=False, judge="logistic.critic(real=D(x), fake=D(history(fake, 8)))")
    assert [reuse.value for reuse in after(facts, {}).reuses] == ["history"]


def test_a_call_that_moved_state_for_the_same_value_is_made_again() -> None:
    facts = known(networks_g="{inputs: z, layers: 'linear(2), batch_norm'}", share=False)
    assert after(facts, {}).again == {"fake"}
    assert after(known(share=False), {}).again == frozenset()


def test_what_is_computed_anew_no_longer_stands() -> None:
    facts = known()
    past = Past(tensors={"fake": Standing(0, None), "judge": Standing(0, None)}, moved={})
    assert work(facts, past, 1).tensors == {"judge": Standing(0, None)}
