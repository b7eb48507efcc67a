"""For which calls of an update random layers draw new numbers."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gangraph.plan.facts import Facts
from gangraph.plan.model import Segment, UpdatePlan


def draw_noise(facts: Facts, updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """Each update with the calls whose random layers draw in it.

    The value of such a call has changed since the last update in which its layers certainly drew. A call at
    looked-ahead networks takes the numbers of the call as the spec writes it.
    """
    drew: dict[str, int] = {}  # the last update in which each call surely drew
    planned = []
    for index, update in enumerate(updates):
        calls = facts.ordered(set(_random_calls(facts, update.segments)))
        anew = tuple(call for call in calls if call not in drew or not facts.versions.same(call, drew[call], index))
        if not update.graph.timing.once:
            drew = {call: by for call, by in drew.items() if call not in anew}
        else:
            drew |= dict.fromkeys(anew, index)
        planned.append(replace(update, noise=anew))
    return tuple(planned)


def _random_calls(facts: Facts, segments: Iterable[Segment]) -> Iterator[str]:
    """The calls, as the spec writes them, of networks with random layers."""
    nodes, networks = facts.graph.nodes, facts.checked.networks
    for segment in segments:
        steps = (name for ahead in segment.lookaheads for name in ahead.graph.body)
        for name in (*(nodes[each].origin or each for each in segment.nodes), *steps):
            node = nodes[name]
            if node.is_call and networks[facts.graph.owner(node.target)].draws:
                yield name
