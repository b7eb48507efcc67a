"""Which calls of one network run as one call along the batch."""

from collections import Counter
from collections.abc import Set
from dataclasses import replace

from gangraph.graph.differentiability import penalised_calls
from gangraph.graph.model import Node
from gangraph.plan.facts import Facts
from gangraph.plan.grouping import grouped
from gangraph.plan.model import Segment, UpdatePlan


def merge(facts: Facts, updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """Each segment with groups of calls that become one call each.

    1. The same network, and no layer of it mixes samples, or keeps state that each call moves.
    2. Inputs of the same shapes, so that the result is cut into equal parts, all of which have the batch as their first
       axis: what is one thing for all samples, such as a variable, is none of these.
    3. All differentiated or none, and none inside a gradient penalty, which would differentiate the others too.
    4. No call needs another's result, also by way of groups that were made before, or of the order of calls that
       move state.

    Where several objectives are differentiated, each would pay for all calls, so none are merged.
    """
    if not facts.merge:
        return updates
    free = _free(facts)
    return tuple(
        replace(
            update,
            before=tuple(_merged(facts, free, segment) for segment in update.before),
            body=tuple(_merged(facts, free, segment) for segment in update.body),
        )
        for update in updates
    )


def _free(facts: Facts) -> frozenset[str]:
    """The calls that may become one with others of their network, by what they are themselves (rules 1 to 3)."""
    graph, networks = facts.graph, facts.checked.networks
    penalised = {call for call, _ in penalised_calls(graph)}
    called = Counter(node.target for node in graph.nodes.values() if node.is_call)
    calls = []
    for node in (node for node in graph.nodes.values() if node.is_call and called[node.target] > 1):
        network = networks[graph.owner(node.target)]
        if node.inputs and node.id not in penalised and not network.mixes_samples and not network.state:
            calls.append(node)
    return frozenset(call.id for call in calls if facts.checked.types.batched.issuperset(call.inputs))


def _merged(facts: Facts, free: Set[str], segment: Segment) -> Segment:
    """A segment, and the steps that it looks ahead, with calls that become one."""
    together = segment.target is not None and len(facts.updates[segment.target].objectives) > 1
    return replace(
        segment,
        merges=() if together else _groups(facts, free, segment),
        lookaheads=tuple(
            replace(ahead, each=replace(ahead.each, merges=_groups(facts, free, ahead.each)))
            for ahead in segment.lookaheads
        ),
    )


def _groups(facts: Facts, free: Set[str], segment: Segment) -> tuple[tuple[str, ...], ...]:
    """The calls of a segment that become one."""
    nodes, within = facts.graph.nodes, set(segment.nodes)
    call_before = {second: first for first, second in segment.order}
    before = {
        name: [each for each in (*nodes[name].needs, call_before.get(name)) if each in within]
        for name in facts.ordered(segment.nodes)
    }
    alike = {
        name: (nodes[name].target, nodes[name].ahead, name in segment.live, _shapes(facts, nodes[name]))
        for name in before
        if name in free
    }
    return grouped(before, alike)


def _shapes(facts: Facts, call: Node) -> tuple[tuple[int, ...], ...]:
    """The shapes of what a call takes, all that it can have."""
    types = facts.checked.types
    shapes = tuple(types.nodes[name].shape for name in call.inputs)
    several = tuple(shape for name in call.inputs for shape in types.varying.get(name, ((),)))
    return *shapes, *several
