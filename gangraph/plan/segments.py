"""Segments of the values that an update computes: first those that later updates differentiate, then its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gangraph.graph.differentiability import differentiable
from gangraph.plan.facts import Facts
from gangraph.plan.model import LookaheadPlan, Segment
from gangraph.plan.order import in_order
from gangraph.plan.reuse import Work
from gangraph.plan.share import lasting, shared, takers
from gangraph.plan.stages import stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Values that run together, and the networks that are differentiated through them.

    The update number `target` differentiates through those in `live`. What is `outside` reads some of them as well.
    """

    name: str
    purpose: str
    values: frozenset[str]
    target: int
    live: frozenset[str]
    outside: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Segments that were made in an update so far.

    A call in `again` was made by then for the value that it is now. `live_for` has the values that were computed for
    later updates, and which of these differentiates through them, if any.
    """

    segments: tuple[Segment, ...] = ()
    again: frozenset[str]
    live_for: Mapping[str, int | None]


def segments(facts: Facts, work: Work, once: frozenset[str], body: frozenset[str]) -> tuple[Made, Made]:
    """The segments that run once in an update, and all its segments.

    Values of the `body` that a later update differentiates as they are come first, in segments of their own.
    """
    index, label = work.index, facts.labels[work.index]
    before = _staged(
        facts,
        work,
        Made(again=work.again, live_for={}),
        Part(
            name=f"{label}_once",
            purpose="computed once",
            values=once,
            target=index,
            live=facts.live[index],
            outside=work.roots | facts.inputs(body),
        ),
    )
    made, left, same = before, body, lasting(facts, index, body)
    for later in takers(facts, index):
        changed = facts.versions.changed[later][index]
        same = {beneath: names for beneath, names in same.items() if not beneath & changed}
        if not same:
            break
        live, taken = shared(facts, same.values(), later, left, made.again)
        if live:
            left -= taken
            made = _staged(facts, work, made, _for_later(facts, work, later, live, taken, left))
    trained = ", ".join(name for name in facts.updates[index].networks if name not in facts.updates[index].tied)
    own = Part(
        name=label,
        purpose=f"differentiated for {trained}" if trained else "what states become",
        values=left,
        target=index,
        live=facts.live[index],
        outside=work.roots,
    )
    return before, _staged(facts, work, made, own)


def _for_later(
    facts: Facts, work: Work, later: int, live: frozenset[str], taken: frozenset[str], left: frozenset[str]
) -> Part:
    """The segment of values that a later update differentiates. The values `left` to this update read some of them."""
    return Part(
        name=f"{facts.labels[work.index]}_shared_{later + 1}",
        purpose=f"shared with {facts.graph.title(later)}, which differentiates it",
        values=taken,
        target=later,
        live=live,
        outside=work.roots | facts.inputs(left),
    )


def _staged(facts: Facts, work: Work, made: Made, part: Part) -> Made:
    """The values of a part as a segment, after those that compute what its histories mix."""
    left = part.values
    *pasts, last = stages(facts, left, made.again)
    for values in filter(None, pasts):
        left -= values
        past = replace(
            part,
            name=f"{part.name}_past",
            purpose="mixed with its past",
            values=values,
            outside=part.outside | facts.inputs(left),
        )
        made = _and_then(facts, work, made, past)
    return _and_then(facts, work, made, replace(part, values=last)) if last else made


def _and_then(facts: Facts, work: Work, made: Made, part: Part) -> Made:
    """The segments so far, and one more."""
    segment = _segment(facts, work, made, part)
    computed = segment.nodes if part.target != work.index else ()
    return Made(
        segments=(*made.segments, segment),
        again=made.again | (facts.moves.keys() & set(segment.nodes)),
        live_for={**made.live_for, **{name: part.target if name in segment.live else None for name in computed}},
    )


def _segment(facts: Facts, work: Work, made: Made, part: Part) -> Segment:
    """A segment of values, with all values through which a gradient among them flows, even if these exist already."""
    histories = {name for name in part.values if facts.graph.nodes[name].remembers == "run"}
    along = facts.along(part.values) - part.values
    nodes = (part.values - histories) | along
    ordered, inputs = facts.ordered(nodes), facts.ordered(facts.inputs(nodes) - nodes)
    detached = _detached(facts, work, made, part, inputs)
    live = part.live & (nodes | (set(inputs) - detached))
    return Segment(
        name=part.name,
        purpose=part.purpose,
        target=part.target,
        nodes=ordered,
        inputs=inputs,
        outputs=tuple(n for n in ordered if n not in along and _is_read(facts, work.index, part, n)),
        trained=facts.updates[part.target].networks,
        live=live,
        detached=detached,
        histories=facts.ordered(histories),
        lookaheads=tuple(_lookahead(facts, work.index, n, live) for n in ordered if n in facts.graph.lookaheads),
        order=in_order(facts.moving(nodes, made.again), facts.moves),
        again=tuple(name for name in ordered if name in made.again),
    )


def _is_read(facts: Facts, index: int, part: Part, name: str) -> bool:
    """Whether something outside of a segment may read a value: a call with several outputs is none."""
    offered = name in facts.later[index] and facts.updates[index].timing.once
    return name not in facts.outputs and (name in part.outside or offered)


def _detached(facts: Facts, work: Work, made: Made, part: Part, inputs: tuple[str, ...]) -> frozenset[str]:
    """The inputs that carry a gradient of another update than the one that differentiates through the segment."""
    standing = {name: work.tensors[name].live_for for name in inputs if name in work.tensors}
    foreign = {name for name, live_for in standing.items() if live_for not in (None, part.target)}
    if part.target == work.index:
        foreign |= {name for name in inputs if name not in part.live and made.live_for.get(name) is not None}
    return frozenset(foreign)


def _lookahead(facts: Facts, index: int, name: str, live: frozenset[str]) -> LookaheadPlan:
    """The segment that every step of a lookahead runs."""
    ahead, node = facts.graph.lookaheads[name], facts.graph.nodes[name]
    moved = differentiable(facts.graph, ahead.networks, ahead.body)
    through = name in live
    stateful = (facts.graph.nodes[call].target for call in ahead.body if call in facts.moves)
    each = Segment(
        name=f"{name}_step",
        purpose=f"what {ahead.group} makes smaller in each step that {facts.labels[index]} looks ahead",
        target=index,
        nodes=ahead.body,
        inputs=node.inputs,
        outputs=(ahead.loss,),
        trained=facts.updates[index].networks if through else (),
        live=frozenset(moved | (live & set(node.inputs)) if through else moved),
        detached=frozenset(),
        moved=tuple(dict.fromkeys((*ahead.networks, *stateful))),
        order=in_order(ahead.body, facts.moves),
    )
    return LookaheadPlan(graph=ahead, each=each, live=through, called=f"{name}_steps")
