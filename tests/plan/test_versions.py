"""Versions: what lies beneath values, and what changes from one update to another."""

from tests.plan.planning import known

THREE = ("{update: d, minimize: judge}", "{update: g, minimize: fool}", "{update: d, minimize: judge, draw: z}")


def test_beneath_a_value_are_the_networks_and_sources_that_it_is_computed_from() -> None:
    versions = known().versions
    assert versions.named("fake") == ("G", "z")
    assert versions.named("judge") == ("D", "G", "x", "z")


def test_a_value_is_the_same_until_something_beneath_it_changes() -> None:
    versions = known(*THREE).versions
    assert versions.same("fake", 0, 1)  # the first update moved D alone
    assert not versions.same("fake", 0, 2) and not versions.same("fake", 1, 2)  # G moved, and z was drawn anew
    assert versions.same("x", 0, 2) and not versions.same("z", 0, 2)
    assert not versions.same("judge", 0, 1)
    assert all(versions.same(name, index, index) for name in versions.beneath for index in range(3))


def test_a_held_value_is_the_same_to_the_end_of_the_step() -> None:
    versions = known(*THREE, fool="logistic.generator(D(fake)) + 0 * mean(at_first(fake))").versions
    assert versions.held == {"at_first"}
    assert versions.same("at_first", 0, 2) and not versions.same("fake", 0, 2)


def test_an_average_changes_with_the_network_that_it_follows() -> None:
    versions = known(
        *THREE,
        more_networks="  E: average(G, decay=0.9)",
        judge="logistic.critic(real=D(x), fake=D(fake)) + 0 * mean(E(z))",
    ).versions
    (call,) = (name for name in versions.beneath if name.startswith("E"))
    assert versions.named(call) == ("G", "z")
    assert not versions.same(call, 1, 2)


def test_sets_are_numbers_in_which_each_thing_has_a_bit() -> None:
    versions = known().versions
    assert versions.mask(("G", "z")) == versions.beneath["fake"]
    assert versions.mask(()) == 0
