"""What holds of every plan: all that is read was computed before it, in the order in which a step runs."""

from collections.abc import Iterator

from gangraph.graph.model import Graph
from gangraph.graph.verify import raise_first
from gangraph.plan.model import Plan, Segment, UpdatePlan


def verify_plan(plan: Plan) -> None:
    """Make sure that a step can run as it is planned.

    1. A segment reads what is given, or what an earlier one gives and no update has freed since.
    2. It computes each of its nodes after what the node needs, and gives what it computes.
    3. Calls that run as one, and calls whose state is kept, are its own.
    4. An update has its objectives and losses when its segments have run. One that may not run, or runs again, gives
       nothing to later ones but held values.

    Raises:
        InvariantError: with the first rule that is broken, and where.
    """
    raise_first(_broken(plan))


def _broken(plan: Plan) -> Iterator[str]:
    graph, there, kept = plan.checked.graph, set[str](), set[str]()
    for update in plan.updates:
        made = set(there)
        for segment in update.segments:
            yield from (f"segment '{segment.name}' {told}" for told in _segment(graph, segment, made, kept))
            made |= {*segment.outputs, *segment.histories}
            kept |= set(segment.keeps)
        wanted = {*update.graph.roots, *(node for _, node in update.losses)}
        for name in graph.in_order(wanted - made):
            if not graph.nodes[name].is_given:
                yield f"update '{update.graph.name}' has not computed '{name}' when its segments have run"
        there = _left(graph, update, there, made)


def _left(graph: Graph, update: UpdatePlan, before: set[str], made: set[str]) -> set[str]:
    """What later updates may read."""
    if not update.graph.conditional and update.graph.accumulate == 1:
        return made - {*update.frees}
    given = {name for segment in update.segments for name in (*segment.outputs, *segment.histories)}
    held = {name for name in given if graph.nodes[name].remembers == "step"}
    return (before - given | held) - {*update.frees}


def _segment(graph: Graph, segment: Segment, there: set[str], kept: set[str]) -> Iterator[str]:
    """What a segment breaks, given the values that are there before it and the calls whose state was kept."""
    for name in segment.inputs:
        if not graph.nodes[name].is_given and name not in there and name not in segment.histories:
            yield f"reads '{name}', which is not there"
    for name in segment.histories:
        (present,) = graph.nodes[name].inputs
        if not graph.nodes[present].is_given and present not in there:
            yield f"mixes '{name}' with its past before there is a present"
    yield from _computed(graph, segment)
    for name in segment.outputs:
        if name not in segment.nodes:
            yield f"gives '{name}', which it does not compute"
    for name in segment.again:
        if name not in kept:
            yield f"calls '{name}' again, and its state was not kept"
    for ahead in segment.lookaheads:
        yield from (f"looks ahead, where '{ahead.each.name}' {told}" for told in _computed(graph, ahead.each))


def _computed(graph: Graph, segment: Segment) -> Iterator[str]:
    """Whether a segment computes its nodes one after the other from what it reads."""
    own, done = set(segment.nodes), set(segment.inputs)
    for name in segment.nodes:
        if graph.nodes[name].is_given:
            yield f"computes '{name}', which is given"
        for source in graph.read_for(name):
            if source not in done:
                yield f"computes '{name}' before '{source}'"
        done.add(name)
    for group in segment.merges:
        if not own.issuperset(group):
            yield f"makes one call of {', '.join(group)}, which are not all its own"
    if not own.issuperset(segment.keeps):
        yield f"keeps the state before {', '.join(sorted({*segment.keeps} - own))}, which it does not call"
    if not segment.live <= done:
        yield f"differentiates {', '.join(sorted(segment.live - done))}, which it does not have"
