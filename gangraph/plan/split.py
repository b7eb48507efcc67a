"""What an update that repeats computes once, and what each time."""

from collections.abc import Callable, Iterable, Set

from gangraph.graph.model import UpdateGraph
from gangraph.plan.facts import Facts
from gangraph.plan.versions import drawn, moved


def loops(update: UpdateGraph) -> bool:
    """Whether an update runs several times in a row, or on several batches before it steps."""
    return update.times is not None or update.accumulate > 1


def changes_while_repeating(facts: Facts, index: int) -> Callable[[str], bool]:
    """Whether a value, by its name, is another one each time that an update repeats."""
    if not loops(facts.updates[index]):
        return lambda name: False
    beneath, held = facts.versions.beneath, facts.versions.held
    changing = facts.versions.mask((*moved(facts.graph, index), *drawn(facts.graph, index)))
    return lambda name: name not in held and bool(beneath[name] & changing)


def split(
    facts: Facts, index: int, wanted: frozenset[str], again: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """What of the values that are `wanted` the update computes once, and what each time that it repeats.

    What a gradient passes is computed together with it, each time. A call among this that moves state moves it once
    for each value: it is made once before as well, if it is for the same value each time and not made `again` anyway.
    """
    if not loops(facts.updates[index]):
        return frozenset(), wanted
    changing = _changing(facts, index, wanted)
    body = _with_above(facts, changing | (facts.along(changing) & wanted), wanted)
    calls = (body & facts.moves.keys()) - again - changing
    return (wanted - body) | (_with_below(facts, calls) & wanted), body


def _changing(facts: Facts, index: int, wanted: frozenset[str]) -> frozenset[str]:
    """What is another value each time that an update repeats, and what depends on it."""
    changes, nodes = changes_while_repeating(facts, index), facts.graph.nodes
    body = {name for name in wanted if changes(name) or nodes[name].remembers == "run"}
    return _with_above(facts, body | facts.ahead(wanted), wanted)


def _with_above(facts: Facts, names: Set[str], wanted: frozenset[str]) -> frozenset[str]:
    """Some values, and what among those that are wanted is computed from them."""
    found = set(names)
    for name in facts.ordered(wanted):
        if not found.isdisjoint(facts.graph.nodes[name].needs):
            found.add(name)
    return frozenset(found)


def _with_below(facts: Facts, names: Iterable[str]) -> set[str]:
    """Some values, and everything that they are computed from."""
    found, waiting = set[str](), list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += facts.graph.nodes[name].needs
    return found
