"""What an update computes for a later one to differentiate."""

from collections.abc import Iterable, Iterator, Set

from gangraph.plan.facts import Facts
from gangraph.plan.order import in_order


def takers(facts: Facts, index: int) -> Iterator[int]:
    """The later updates that may take values over from this one together with the gradients that flow through them."""
    if facts.share and facts.updates[index].timing.once:
        yield from (later for later in range(index + 1, len(facts.updates)) if not facts.updates[later].repeated)


def lasting(facts: Facts, index: int, values: Set[str]) -> dict[int, set[str]]:
    """The values of an update that it does not change itself, grouped by the set of networks and sources beneath them.

    Values with the same set change together, so that later updates ask once for each group. Held values depend on
    nothing that changes within a step.
    """
    versions = facts.versions
    found: dict[int, set[str]] = {}
    for name in values - facts.ahead(values):
        if not versions.beneath[name] & versions.moved[index]:
            found.setdefault(0 if name in versions.held else versions.beneath[name], set()).add(name)
    return found


def shared(
    facts: Facts, alike: Iterable[Set[str]], later: int, left: frozenset[str], again: Iterable[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The values `left` that a later update differentiates unchanged, and those among `left` that they need.

    `alike` are sets of values that are the same in the later update. All that is found can be computed before
    everything else. A call is left out, with everything computed from it, if a call that changes the same state before
    it is left out.
    """
    chosen = _reached(facts, later, set[str]().union(*(values & facts.live[later] for values in alike)) & left)
    while chosen:
        taken = _with_below(facts, chosen, left)
        pairs = in_order(facts.moving(left, again), facts.moves)
        late = {second for first, second in pairs if second in taken and first not in taken}
        if not late:
            return frozenset(chosen), taken
        chosen -= _above(facts, late)
    return frozenset(), frozenset()


def _reached(facts: Facts, later: int, names: Set[str]) -> set[str]:
    """The values among `names` that the gradient of a later update reaches through `names` alone."""
    live = facts.live[later]
    found = set[str]()
    for name in facts.ordered(names):  # each after all that its gradient passes through
        if all(each in found for each in facts.graph.nodes[name].inputs if each in live):
            found.add(name)
    return found


def _with_below(facts: Facts, names: Iterable[str], left: frozenset[str]) -> frozenset[str]:
    """Values with what they are computed from among those `left`, and all outputs of the calls among these."""
    found = facts.graph.below(*names) & left
    return frozenset(found | {name for call in found & facts.outputs.keys() for name in facts.outputs[call]} & left)


def _above(facts: Facts, names: Set[str]) -> set[str]:
    """Values, and what is computed from them."""
    found = set(names)
    for node in facts.graph.nodes.values():
        if not found.isdisjoint(node.needs):
            found.add(node.id)
    return found
