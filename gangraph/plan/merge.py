"""Which calls of one network run as one call along the batch."""

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
    2. Inputs of the same shapes, so that the result is cut into equal parts; no input is one number for all samples.
    3. All differentiated or none, and none inside a gradient penalty, which would differentiate the others too.
    4. No call needs another's result, also by way of groups that were made before, or of the order of calls that
       move state.

    Where several objectives are differentiated, each would pay for all calls, so none are merged.
    """
    if not facts.merge:
        return updates
    penalised = frozenset(call for call, _ in penalised_calls(facts.graph))
    return tuple(
        replace(
            update,
            before=tuple(_merged(facts, penalised, segment) for segment in update.before),
            body=tuple(_merged(facts, penalised, segment) for segment in update.body),
        )
        for update in updates
    )


def _merged(facts: Facts, penalised: Set[str], segment: Segment) -> Segment:
    """A segment, and the steps that it looks ahead, with calls that become one."""
    together = segment.target is not None and len(facts.updates[segment.target].objectives) > 1
    return replace(
        segment,
        merges=() if together else _groups(facts, penalised, segment),
        lookaheads=tuple(
            replace(ahead, each=replace(ahead.each, merges=_groups(facts, penalised, ahead.each)))
            for ahead in segment.lookaheads
        ),
    )


def _groups(facts: Facts, penalised: Set[str], segment: Segment) -> tuple[tuple[str, ...], ...]:
    """The calls of a segment that become one."""
    nodes, within = facts.graph.nodes, set(segment.nodes)
    call_before = {second: first for first, second in segment.order}
    before = {
        name: [each for each in (*nodes[name].needs, call_before.get(name)) if each in within]
        for name in facts.ordered(segment.nodes)
    }
    alike = {
        name: (nodes[name].target, nodes[name].ahead, name in segment.live, shapes)
        for name in before
        if nodes[name].is_call and name not in penalised and (shapes := _shapes(facts, nodes[name]))
    }
    return grouped(before, alike)


def _shapes(facts: Facts, call: Node) -> tuple[tuple[int, ...], ...]:
    """The shapes of what a call takes, all that it can have; none where one call on two batches is another thing."""
    network = facts.checked.networks[facts.graph.owner(call.target)]
    types = facts.checked.types
    shapes = tuple(types.nodes[name].shape for name in call.inputs)
    several = tuple(shape for name in call.inputs for shape in types.varying.get(name, ((),)))
    return (*shapes, *several) if all(shapes) and not network.mixes_samples and not network.state else ()
