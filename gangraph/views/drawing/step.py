"""A training step as a picture of its data flow. A hue stands for one network, everywhere."""

import textwrap
from collections.abc import Mapping

from gangraph.errors import listed
from gangraph.graph.differentiability import is_stop
from gangraph.graph.model import Graph, Node
from gangraph.graph.update import UpdateGraph
from gangraph.language.expression.model import Call, Expression, Literal, unparse
from gangraph.language.spec import AverageSpec, NetworkSpec
from gangraph.language.tied import tied_to
from gangraph.views.drawing.folding import Folding
from gangraph.views.drawing.picture import UNKNOWN, Chip, Figure, Picture
from gangraph.views.drawing.schedule import schedule
from gangraph.views.drawing.svg import Frame, document
from gangraph.views.printers.text import wrapped
from gangraph.views.spec import fixity, weights_text


def draw(graph: Graph, *, title: str = "", subtitle: str = "", shapes: Mapping[str, str] | None = None) -> str:
    """The training step as SVG. `shapes` gives tooltips the shapes of values, by node."""
    picture = step_picture(graph, shapes or {})
    goals = (
        f"{figure.name}: {' '.join(figure.lines)}" for figure in picture.figures.values() if figure.kind == "update"
    )
    about = "Data flow of one training step. " + "; ".join(goals)
    frame = Frame(
        title=title, subtitle=subtitle, about=about, networks=_networks(graph), schedule=tuple(schedule(graph))
    )
    return document(picture, frame)


def step_picture(graph: Graph, shapes: Mapping[str, str]) -> Picture:
    """What to draw of a training step. What looks ahead is drawn where the networks are, and told in words."""
    graph = graph.as_written
    folding = Folding.of(graph)
    hues = _hues(graph)
    given = {name: i for i, name in enumerate(graph.spec.data)}
    unread = _unread(graph)
    drawn = [name for name in graph.nodes if name in folding.drawn and name not in unread]
    drawn.sort(key=lambda name: given.get(graph.nodes[name].target, len(given)))
    figures = {name: _figure(folding, graph.nodes[name], hues, shapes.get(name, "")) for name in drawn}
    edges = [(source, name) for name in figures for source in folding.behind(graph.nodes[name].inputs)]
    for number, update in enumerate(graph.updates, 1):
        terminal = f"update {number}"
        figures[terminal] = _update_figure(update, number, folding, hues)
        edges += [(source, terminal) for source in folding.behind(update.roots)]
    for number, entry in enumerate(graph.moves, len(graph.updates) + 1):
        figures[f"state {number}"] = _state_figure(entry, number, folding)
        edges += [(source, f"state {number}") for source in folding.behind(entry.roots)]
    ends = {name: f.kind for name, f in figures.items() if f.kind in ("loss", "update")}
    calls = {name: f.head for name, f in figures.items() if f.kind == "call"}
    fixed = {
        name for name, f in figures.items() if f.kind in ("stream", "state") or name in folding.values or name in given
    }
    late = frozenset(name for name in figures if name in ends or name not in fixed)
    return Picture(figures=figures, edges=tuple(dict.fromkeys(edges)), late=late, teams=ends | calls)


def _unread(graph: Graph) -> set[str]:
    """Unnamed nodes that no step reads: for first values of variables, and calls that only `again` makes anew."""
    named = {*graph.values.values(), *graph.losses.values()}
    read = graph.below(*named, *(root for entry in (*graph.updates, *graph.moves) for root in entry.roots))
    start = graph.below(*graph.begun.values())
    return {name for name, node in graph.nodes.items() if name not in read and (name in start or node.is_call)}


def _figure(folding: Folding, node: Node, hues: Mapping[str, int], shape: str) -> Figure:
    """How a drawn node looks."""
    tip = "\n".join(part for part in (node.id, folding.formula(node.id), shape) if part)
    name = ", ".join(folding.values.get(node.id, ()))
    if node.is_source:
        return _source_figure(folding.graph, node, tip)
    if node.is_state:
        return Figure(
            kind="state",
            name=node.target,
            lines=(f"from {unparse(folding.graph.spec.states[node.target].start)}",),
            tip=tip,
        )
    if node.is_call and folding.graph.networks[folding.graph.owner(node.target)].is_function:
        return Figure(kind="op", head=node.target, name=name, tip=tip)
    if node.is_call:
        outputs = (n for n in folding.graph.nodes.values() if n.field and n.inputs == (node.id,))
        named = [f".{n.field} = {', '.join(folding.values[n.id])}" for n in outputs if n.id in folding.values]
        value = ", ".join([name] * bool(name) + named)
        return Figure(kind="call", head=node.target, name=value, hue=hues.get(node.target, UNKNOWN), tip=tip)
    if node.id in folding.losses:
        title, lines = ", ".join(folding.losses[node.id]), wrapped(folding.formula(node.id))
        return Figure(kind="loss", name=title, lines=lines, tip=tip)
    kind = "stop" if is_stop(folding.graph, node) else "op"
    return Figure(kind=kind, head=folding.label(node.id), name=name, tip=tip)


def _source_figure(graph: Graph, node: Node, tip: str) -> Figure:
    """Data or a random draw, with what the spec says of it; a draw inside a value as it is written there."""
    kind = "stream" if graph.is_data(node) else "random"
    source = graph.spec.data.get(node.target)
    if node.is_unwritten:
        call = graph.drawn_at(node.id)
        laws = graph.networks[graph.owner(call.target)].spec.draws
        drawn = graph.draws_at(call)
        tip = "\n".join(f"{name} from {unparse(laws[name])}" for name in drawn)
        return Figure(kind=kind, name=textwrap.shorten(", ".join(drawn), 26, placeholder="…"), tip=tip)
    if source is None:
        written = node.span.text.content[node.span.start : node.span.end]
        return Figure(kind=kind, name=written, tip=tip)
    return Figure(kind=kind, name=node.id, lines=(_caption(source),), tip=f"{tip}\n{unparse(source)}")


def _caption(expression: Expression) -> str:
    """A source in few letters: its function, and its plain arguments without their folders."""
    if not isinstance(expression, Call):
        return unparse(expression)
    paths = (value for _, value in expression.keywords if isinstance(value, Literal) and "/" in str(value.value))
    given = [*expression.arguments, *paths]
    plain = [str(a.value).rpartition("/")[2] if isinstance(a, Literal) else unparse(a) for a in given]
    return textwrap.shorten(
        unparse(expression.function) + (f"({', '.join(plain)})" if plain else ""), 26, placeholder="…"
    )


def _networks(graph: Graph) -> tuple[tuple[Chip, str], ...]:
    """Every network's chip, and what it is made from."""
    hues = _hues(graph)
    made = []
    for name, network in graph.spec.networks.items():
        template = f"{network.of}, averaged" if isinstance(network, AverageSpec) else network.template
        if name in graph.spec.variables:
            template = f"a variable that begins as {unparse(graph.spec.variables[name])}"
        tied = tied_to(network) if isinstance(network, NetworkSpec) else {}
        shared = "".join(f", {listed(parts)} shared with {owner}" for owner, parts in tied.items())
        function = name in graph.networks and graph.networks[name].is_function
        own = template if template != name else "a function" if function else "written in this spec"
        made.append((name, (_origin(network, "" if template == name else template) or own) + shared))
    return tuple(((name, hues.get(name, UNKNOWN)), text) for name, text in made)


def _origin(network: NetworkSpec | AverageSpec, template: str) -> str:
    """Where a network from elsewhere comes from, and whether it stays as it is; nothing for all others."""
    if isinstance(network, AverageSpec) or network.weights is None:
        return ""
    return f"{template} of {weights_text(network.weights)}, {fixity(network)}".removeprefix(" of ")


def _hues(graph: Graph) -> dict[str, int]:
    """A hue for each network with parameters; functions, which are drawn as ops are, have none."""
    functions = {name for name, network in graph.networks.items() if network.is_function}
    written = (name for name, made in graph.spec.networks.items() if not isinstance(made, AverageSpec))
    trained = [name for name in written if name not in functions]
    hues = {name: i % UNKNOWN for i, name in enumerate(trained)}
    return hues | {n: hues[m.of] for n, m in graph.spec.networks.items() if isinstance(m, AverageSpec) and m.of in hues}


def _state_figure(entry: UpdateGraph, number: int, folding: Folding) -> Figure:
    """The end of a step: what states become."""
    nexts = [line for name, node in entry.states for line in wrapped(folding.formula(node), f"{name} ← ", width=48)]
    return Figure(kind="update", name=entry.name, lines=tuple(nexts), number=number)


def _update_figure(update: UpdateGraph, number: int, folding: Folding, hues: Mapping[str, int]) -> Figure:
    """An update: what each of its groups wants, and whose parameters it changes."""
    goals = (goal for each in folding.graph.spec.updates for goal in each.objectives)
    maximized = {goal.expression.span for goal in goals if goal.sign < 0}
    lines: list[str] = []
    for objective in update.objectives:
        verb, goal = folding.goal(objective.loss, maximized=objective.span in maximized)
        group = f"{objective.group}: " if len(update.objectives) > 1 else ""
        lines += wrapped(goal, f"{group}{verb} ", width=48)
        if (ahead := objective.ahead) is not None:
            lines.append(f"after {ahead.steps} step{'s' * (ahead.steps != 1)} of {ahead.group}, then forgotten")
    if update.ahead:
        lines.append(f"with gradients {update.ahead} step{'s' * (update.ahead != 1)} ahead")
    if update.closure:
        lines.append("evaluated several times")
    named = folding.graph.trained(*update.objectives)
    chips = tuple((name, hues.get(name.partition(".")[0], UNKNOWN)) for name in named)
    return Figure(kind="update", name=update.name, lines=tuple(lines), chips=chips, number=number)
