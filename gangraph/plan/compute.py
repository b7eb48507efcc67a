"""What each update computes, in the order of the step, given the tensors that the updates before it left."""

from collections.abc import Set

from gangraph.graph.changes import drawn
from gangraph.plan.facts import Facts
from gangraph.plan.model import UpdatePlan
from gangraph.plan.reuse import Past, left_by, work
from gangraph.plan.segments import segments
from gangraph.plan.split import split


def compute(facts: Facts) -> tuple[UpdatePlan, ...]:
    """Every update with its segments; free names, noise, merged calls and the rest are added by later steps."""
    past, planned = Past(tensors={}, moved={}), list[UpdatePlan]()
    for index in range(len(facts.updates)):
        past, update = compute_update(facts, past, index)
        planned.append(update)
    return tuple(planned)


def compute_update(facts: Facts, past: Past, index: int) -> tuple[Past, UpdatePlan]:
    """The plan of one update, given the tensors that exist; returns the tensors that exist after it as well."""
    todo = work(facts, past, index)
    once, body = split(facts, index, todo.wanted, todo.again)
    before, made = segments(facts, todo, once, body)
    update = facts.updates[index]
    return left_by(facts, past, todo, made.live_for), UpdatePlan(
        graph=update,
        differentiated=update.networks,
        frozen=tuple(sorted(_called(facts, todo.wanted) - set(update.networks) - _functions(facts))),
        before=before.segments,
        body=made.segments[len(before.segments) :],
        redraws=_redrawn(facts, index),
        reuses=todo.reuses,
        losses=tuple(facts.losses[index].items()),
    )


def _functions(facts: Facts) -> set[str]:
    """The networks without layers, which have no parameters to freeze."""
    return {name for name, network in facts.graph.networks.items() if network.is_function}


def _called(facts: Facts, wanted: Set[str]) -> set[str]:
    """The networks that an update calls, or whose parameters it reads, also in the steps of a lookahead."""
    nodes, lookaheads = facts.graph.nodes, facts.graph.lookaheads
    steps = {name for ahead in wanted & lookaheads.keys() for name in lookaheads[ahead].body}
    return {nodes[name].target for name in wanted | steps if nodes[name].of_network}


def _redrawn(facts: Facts, index: int) -> tuple[str, ...]:
    """The sources that an update draws anew and reads."""
    read = {facts.graph.nodes[name].target for name in facts.needed[index]}
    return tuple(source for source in drawn(facts.graph, index) if source in read)
