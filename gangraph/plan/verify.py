"""What holds of every plan: all that is read was computed before it, in the order in which a step runs."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass

from gangraph.graph.differentiability import differentiable
from gangraph.graph.model import Graph
from gangraph.graph.verify import raise_first
from gangraph.plan.grouping import in_turn
from gangraph.plan.model import LookaheadPlan, Plan, Segment, UpdatePlan
from gangraph.plan.order import State, states
from gangraph.plan.versions import versions


def verify_plan(plan: Plan) -> None:
    """Make sure that a step can run as it is planned.

    1. A segment reads what is given, or what an earlier one gives and no update has freed since. Its sources are drawn.
    2. It computes each of its nodes after what the node needs, and gives what it computes.
    3. Calls that run as one are alike and do not need each other; they, and calls whose state is kept, are its own. Of
       two calls that move the same state, the second is told to follow the first.
    4. It differentiates through all that depends on what its update trains, or on what its steps ahead move.
    5. An update has its objectives and losses when its segments have run. One that may not run, or runs again, gives
       nothing to later ones but held values.
    6. Random layers draw in an update for each of its calls of which no numbers of the same value are there, and for no
       other.

    Raises:
        InvariantError: with the first rule that is broken, and where.
    """
    raise_first(_broken(plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a segment stands: in which update, by its number, what can be read there, and which states were kept.

    `reached` has for each update what depends differentiably on the networks that it trains, `moves` the state that
    each call changes, if it does.
    """

    index: int
    there: Set[str]
    drawn: Collection[str]
    kept: Set[str]
    reached: tuple[Set[str], ...]
    moves: Mapping[str, State]


def _broken(plan: Plan) -> Iterator[str]:
    yield from _named(plan)
    graph, there, kept = plan.checked.graph, set[str](), set[str]()
    moves = states(graph, plan.checked.networks)
    reached = tuple(
        differentiable(graph, update.graph.networks, graph.below(*update.graph.roots)) for update in plan.step
    )
    for index, update in enumerate(plan.step):
        made = set(there)
        for segment in update.segments:
            drawn = {*plan.sources, *update.redraws}
            place = _Place(index=index, there=made, drawn=drawn, kept=kept, reached=reached, moves=moves)
            yield from (f"segment '{segment.name}' {told}" for told in _segment(plan, segment, place))
            made |= {*segment.outputs, *segment.histories}
            kept |= set(segment.keeps)
        for name in graph.in_order(_wanted(update) - made):
            if not graph.nodes[name].is_given:
                yield f"update '{update.graph.name}' has not computed '{name}' when its segments have run"
        there = _left(graph, update, there, made)
    yield from _noise(plan)


def _named(plan: Plan) -> Iterator[str]:
    """What is wrong with names: a node that does not exist, or two segments of one name."""
    for update in plan.step:
        for name in sorted(_wanted(update) - plan.checked.graph.nodes.keys()):
            yield f"update '{update.graph.name}' computes '{name}', and there is no such node"
    segments = [segment for update in plan.step for segment in update.segments]
    steps = [ahead for segment in segments for ahead in segment.lookaheads]
    names = (*(each.name for each in segments), *(each.each.name for each in steps), *(each.called for each in steps))
    yield from (f"{count} segments are called '{name}'" for name, count in Counter(names).items() if count > 1)


def _wanted(update: UpdatePlan) -> set[str]:
    """The values that an update needs to have when its segments have run."""
    return {*update.graph.roots, *(node for _, node in update.losses)}


def _called(graph: Graph, update: UpdatePlan) -> set[str]:
    """The calls of an update as the spec writes them, also in the steps that it looks ahead."""
    steps = (ahead.each for segment in update.segments for ahead in segment.lookaheads)
    nodes = (graph.nodes[name] for segment in (*update.segments, *steps) for name in segment.nodes)
    return {node.origin or node.id for node in nodes if node.is_call}


def _left(graph: Graph, update: UpdatePlan, before: set[str], made: set[str]) -> set[str]:
    """What later updates may read."""
    if update.graph.timing.once:
        return made - {*update.frees}
    given = {name for segment in update.segments for name in (*segment.outputs, *segment.histories)}
    held = {name for name in given if graph.nodes[name].remembers == "step"}
    return (before - given | held) - {*update.frees}


def _segment(plan: Plan, segment: Segment, place: _Place) -> Iterator[str]:
    """The rules that a segment breaks."""
    graph = plan.checked.graph
    for name in (*segment.inputs, *segment.histories, *segment.nodes):
        if name not in graph.nodes:
            yield f"names '{name}', and there is no such node"
    yield from _read(graph, segment, place)
    yield from _computed(graph, segment)
    yield from _in_turn(graph, segment, place.moves)
    for name in segment.outputs:
        if name not in segment.nodes:
            yield f"gives '{name}', which it does not compute"
    for name in segment.again:
        if name not in place.kept:
            yield f"calls '{name}' again, and its state was not kept"
    if segment.target is None or not 0 <= segment.target < len(plan.step):
        yield "is differentiated in no update"
        return
    trained = plan.step[segment.target].graph.networks
    yield from _trained(segment, trained)
    yield from _differentiated(graph, segment, segment.target == place.index, place.reached[segment.target])
    for ahead in segment.lookaheads:
        wrong = (*_ahead(graph, segment, ahead, trained), *_in_turn(graph, ahead.each, place.moves))
        yield from (f"looks ahead, where '{ahead.each.name}' {told}" for told in wrong)


def _read(graph: Graph, segment: Segment, place: _Place) -> Iterator[str]:
    """What a segment reads although nothing has computed it, or it was freed."""
    presents: list[str] = []
    for name in segment.inputs:
        if not graph.nodes[name].is_given and name not in place.there and name not in segment.histories:
            yield f"reads '{name}', which is not there"
    for name in segment.histories:
        if graph.nodes[name].remembers != "run":
            yield f"mixes '{name}' with its past, which is not kept"
        presents += graph.nodes[name].inputs
        if not all(graph.nodes[each].is_given or each in place.there for each in graph.nodes[name].inputs):
            yield f"mixes '{name}' with its past before there is a present"
    for name in (*segment.inputs, *presents):
        if graph.nodes[name].is_source and graph.nodes[name].target not in place.drawn:
            yield f"reads '{name}', which is not drawn"
    if not segment.detached <= {*segment.inputs}:
        yield f"reads {_listed(segment.detached - {*segment.inputs})} without a gradient, which it does not read"


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
    places = {name: position for position, name in enumerate(segment.nodes)}
    for first, second in segment.order:
        if not places.get(first, len(places)) < places.get(second, -1):
            yield f"does not call '{first}' before '{second}', whose state that moves"
    yield from _merged(graph, segment)
    if not own.issuperset(segment.keeps):
        yield f"keeps the state before {_listed({*segment.keeps} - own)}, which it does not call"
    if not segment.live <= done:
        yield f"differentiates {_listed(segment.live - done)}, which it does not have"


def _in_turn(graph: Graph, segment: Segment, moves: Mapping[str, State]) -> Iterator[str]:
    """Calls that change the same state and are not ordered as the spec writes them."""
    last: dict[State, str] = {}
    for name in graph.in_order(moves.keys() & {*segment.nodes} - {*segment.again}):
        first = last.get(moves[name])
        if first is not None and (first, name) not in segment.order:
            yield f"may call '{name}' before '{first}', which moves the same state and comes first"
        last[moves[name]] = name


def _noise(plan: Plan) -> Iterator[str]:
    """Calls for which random layers draw no numbers, or draw them twice for one value."""
    graph, known = plan.checked.graph, versions(plan.checked.graph)
    drew: dict[str, int] = {}  # the last update in which the layers of a call certainly drew
    for index, update in enumerate(plan.step):
        called, title = _called(graph, update), f"update '{update.graph.name}'"
        for name in sorted({*update.noise} - called):
            yield f"{title} draws numbers for '{name}', which it does not call"
        for name in graph.in_order(called):
            there = name in drew and known.same(name, drew[name], index)
            random = bool(plan.checked.networks[graph.owner(graph.nodes[name].target)].draws)
            if random and not there and name not in update.noise:
                yield f"{title} draws no numbers for '{name}', which has none of this value"
            if name in update.noise and (there or not random):
                why = "has those of this value" if there else "takes none"
                yield f"{title} draws numbers for '{name}', which {why}"
        if update.graph.timing.once:
            drew |= dict.fromkeys(update.noise, index)
        else:
            drew = {name: by for name, by in drew.items() if name not in update.noise}


def _merged(graph: Graph, segment: Segment) -> Iterator[str]:
    """What is wrong with merged calls: they call different networks, or one needs the result of another."""
    own, merged = set(segment.nodes), Counter(name for group in segment.merges for name in group)
    for group in segment.merges:
        if not own.issuperset(group):
            yield f"makes one call of {', '.join(group)}, which are not all its own"
            return
        calls = [graph.nodes[name] for name in group]
        if len({(call.kind, call.target, call.ahead, call.id in segment.live) for call in calls}) > 1:
            yield f"makes one call of {', '.join(group)}, which are not alike"
        if not all(call.is_call and merged[call.id] == 1 for call in calls):
            yield f"makes one call of {', '.join(group)}, which are no calls, or are made twice"
    if segment.merges:
        first = {second: (first,) for first, second in segment.order}
        alone = ((name,) for name in segment.nodes if name not in merged)
        _, circle = in_turn((*segment.merges, *alone), lambda name: (*graph.read_for(name), *first.get(name, ())))
        if circle:
            yield f"makes one call each of calls that need each other: {_listed(circle[0])}"


def _trained(segment: Segment, networks: Collection[str]) -> Iterator[str]:
    """What is wrong with the networks that a segment trains, which have to be `networks`."""
    if {*segment.trained} != {*networks}:
        yield f"trains {_listed(segment.trained) or 'nothing'}, in place of {_listed(networks) or 'nothing'}"


def _differentiated(graph: Graph, segment: Segment, own: bool, reached: Set[str]) -> Iterator[str]:
    """Values that depend on what is trained (`reached`), but that a segment does not differentiate through.

    A segment for another update may leave some out, if the gradient through the others is complete.
    """
    possible = reached & ({*segment.nodes} | ({*segment.inputs} - segment.detached))
    if own:
        needed = possible
    else:
        needed = {each for name in segment.live for each in graph.nodes[name].inputs if name in segment.nodes} & reached
    if segment.live - possible:
        yield f"differentiates {_listed(segment.live - possible)}, on which no gradient depends"
    if needed - segment.live:
        yield f"does not differentiate {_listed(needed - segment.live)}"


def _ahead(graph: Graph, segment: Segment, ahead: LookaheadPlan, trained: Collection[str]) -> Iterator[str]:
    """What is wrong with a lookahead: its step, what that differentiates, and whether a gradient flows through it."""
    yield from _computed(graph, ahead.each)
    yield from _trained(ahead.each, trained if ahead.live else ())
    if ahead.live != (ahead.graph.id in segment.live):
        yield "is passed by a gradient in one place, and by none in another"
    moved = differentiable(graph, ahead.graph.networks, ahead.each.nodes)
    through = segment.live & {*ahead.each.inputs} if ahead.live else set[str]()
    if ahead.each.live != moved | through:
        yield f"does not differentiate {_listed(ahead.each.live ^ (moved | through))} as it has to"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
