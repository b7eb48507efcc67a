"""What an update that repeats computes once, and what in every repetition."""

from collections.abc import Callable, Set

from gangraph.graph.changes import drawn, moved
from gangraph.plan.facts import Facts


def changes_while_repeating(facts: Facts, index: int) -> Callable[[str], bool]:
    """A function of the id of a node: whether its value differs from one repetition of the update to the next."""
    if not facts.updates[index].repeated:
        return lambda name: False
    beneath, held = facts.versions.beneath, facts.versions.held
    changing = facts.versions.mask((*moved(facts.graph, index), *drawn(facts.graph, index)))
    return lambda name: name not in held and bool(beneath[name] & changing)


def split(
    facts: Facts, index: int, wanted: frozenset[str], again: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Those of the values `wanted` that an update computes once, and those that it computes in every repetition.

    The values through which a gradient flows are computed together with it, in every repetition. A call among them
    changes state once for each value: if its value is the same in every repetition and it is not made `again`, it is
    also made once before.
    """
    if not facts.updates[index].repeated:
        return frozenset(), wanted
    changing = _changing(facts, index, wanted)
    body = _with_above(facts, changing | (facts.along(changing) & wanted), wanted)
    calls = (body & facts.moves.keys()) - again - changing
    return (wanted - body) | (wanted & facts.graph.below(*calls)), body


def _changing(facts: Facts, index: int, wanted: frozenset[str]) -> frozenset[str]:
    """The values that differ from one repetition of an update to the next, and those that depend on them."""
    changes, nodes = changes_while_repeating(facts, index), facts.graph.nodes
    body = {name for name in wanted if changes(name) or nodes[name].remembers == "run"}
    return _with_above(facts, body | facts.ahead(wanted), wanted)


def _with_above(facts: Facts, names: Set[str], wanted: frozenset[str]) -> frozenset[str]:
    """Some values, and the wanted ones that are computed from them."""
    found = set(names)
    for name in facts.ordered(wanted):
        if not found.isdisjoint(facts.graph.nodes[name].needs):
            found.add(name)
    return frozenset(found)
