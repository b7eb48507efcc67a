"""A graph as a picture: a self-contained SVG of a training step's data flow, or of a network's layers.

What is drawn of a step: data, random draws, calls of networks, named values, and every op on the way to a call. The
arithmetic below a loss or an objective is folded into a formula. A hue stands for one network, everywhere.
"""

from collections.abc import Iterator, Mapping, Sequence

from gangraph.graph.model import Graph, LayerUse, NetworkGraph, Node, Ref, UpdateGraph
from gangraph.language.expression.model import show
from gangraph.language.spec import AverageSpec, NetworkSpec
from gangraph.language.tied import tied_to
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.formulas import INFIX, Reading, constant_text, wrapped
from gangraph.views.picture import UNKNOWN, Chip, Figure, Picture
from gangraph.views.svg import Frame, document


def draw(graph: Graph, *, title: str = "", subtitle: str = "", shapes: Mapping[str, str] | None = None) -> str:
    """The training step as SVG. `shapes` gives tooltips the shapes of values, by node."""
    picture = step_picture(graph, shapes or {})
    goals = (
        f"{figure.name}: {' '.join(figure.lines)}" for figure in picture.figures.values() if figure.kind == "update"
    )
    about = "Data flow of one training step. " + "; ".join(goals)
    frame = Frame(
        title=title, subtitle=subtitle, about=about, networks=_networks(graph), schedule=tuple(_schedule(graph))
    )
    return document(picture, frame)


def draw_network(graph: NetworkGraph, *, title: str, shapes: Mapping[str, str] | None = None) -> str:
    """A network as SVG: one box for every chain of layers of one part."""
    frame = Frame(title=title, subtitle=graph.spec.template, about=f"The layers of the network {title}")
    return document(network_picture(graph, shapes or {}), frame)


def step_picture(graph: Graph, shapes: Mapping[str, str]) -> Picture:
    """What to draw of a training step. What looks ahead is drawn where the networks are, and told in words."""
    graph = graph.as_written
    reading = Reading(graph)
    hues = _hues(graph)
    given = {name: i for i, name in enumerate(graph.spec.data)}
    drawn = sorted(reading.drawn, key=list(graph.nodes).index)
    drawn.sort(key=lambda name: given.get(graph.nodes[name].target, len(given)))
    figures = {name: reading.figure(name, hues, shapes.get(name, "")) for name in drawn}
    edges = [(source, name) for name in figures for source in reading.sources(graph.nodes[name].inputs)]
    for number, update in enumerate(graph.updates, 1):
        terminal = f"update {number}"
        figures[terminal] = _update_figure(update, number, reading, hues)
        edges += [(source, terminal) for source in reading.sources(update.roots)]
    ends = {name: f.kind for name, f in figures.items() if f.kind in ("loss", "update")}
    calls = {name: f.head for name, f in figures.items() if f.kind == "call"}
    fixed = {name for name, f in figures.items() if f.kind == "stream" or name in reading.named or name in given}
    late = frozenset(name for name in figures if name in ends or name not in fixed)
    return Picture(figures=figures, edges=tuple(dict.fromkeys(edges)), late=late, teams=ends | calls)


def _networks(graph: Graph) -> tuple[tuple[Chip, str], ...]:
    """Every network's chip, and what it is made from."""
    hues = _hues(graph)
    made = []
    for name, network in graph.spec.networks.items():
        template = f"{network.of}, averaged" if isinstance(network, AverageSpec) else network.template
        tied = tied_to(network) if isinstance(network, NetworkSpec) else {}
        shared = "".join(f", {_listed(parts)} shared with {owner}" for owner, parts in tied.items())
        made.append((name, (template if template != name else "written in this spec") + shared))
    return tuple(((name, hues.get(name, UNKNOWN)), text) for name, text in made)


def _hues(graph: Graph) -> dict[str, int]:
    trained = [name for name, made in graph.spec.networks.items() if not isinstance(made, AverageSpec)]
    hues = {name: i % UNKNOWN for i, name in enumerate(trained)}
    return hues | {n: hues[m.of] for n, m in graph.spec.networks.items() if isinstance(m, AverageSpec) and m.of in hues}


def _update_figure(update: UpdateGraph, number: int, reading: Reading, hues: Mapping[str, int]) -> Figure:
    lines: list[str] = []
    for objective in update.objectives:
        verb, _, text = reading.objective(objective).partition(" ")
        group = f"{objective.group}: " if len(update.objectives) > 1 else ""
        lines += wrapped(text, f"{group}{verb} ", width=48)
        if (ahead := objective.ahead) is not None:
            lines.append(f"after {ahead.steps} step{'s' * (ahead.steps != 1)} of {ahead.group}, then forgotten")
    chips = tuple((name, hues.get(name, UNKNOWN)) for name in _named(update))
    return Figure(kind="update", name=update.name, lines=tuple(lines), chips=chips, number=number)


def _named(update: UpdateGraph) -> tuple[str, ...]:
    return tuple(name for name in update.networks if name not in update.tied)


def _schedule(graph: Graph) -> Iterator[str]:
    for number, update in enumerate(graph.updates, 1):
        draws = update.draws if update.draws is not None or number > 1 else tuple(graph.spec.data)
        fresh = [name for name in draws or () if name in graph.spec.data]
        shared = "on the same draws as the update before"
        parts = [shared if draws is None else f"draws {_listed(fresh) or 'nothing'} afresh"]
        said = (
            ("{} times in a row", update.times),
            ("every {} steps", update.every),
            ("when {}", update.when),
        )
        filled = (words.format(show(value)) for words, value in said if value is not None)
        parts += [text.replace("steps steps", "steps") for text in filled]
        options = ((UPDATE_OPTIONS[name], value) for name, value in update.options.items())
        parts += [option.told(option.caption, show(value)) for option, value in options]
        parts += [f"looks {each.steps} steps of {each.group} ahead" for each in update.lookaheads]
        parts += [f"{each.group} when {show(each.when)}" for each in update.objectives if each.when is not None]
        parts += [f"gradients summed over {update.accumulate} batches"] * (update.accumulate > 1)
        parts += [f"then {name}({', '.join([of, *map(constant_text, numbers)])})" for name, of, numbers in update.then]
        yield f"{number}.  {update.name}: updates {_listed(_named(update))}; " + "; ".join(parts)
    for name, made in graph.spec.networks.items():
        if isinstance(made, AverageSpec):
            yield f"∘  {name} follows {made.of} as a moving average, decay {show(made.decay)}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def network_picture(graph: NetworkGraph, shapes: Mapping[str, str]) -> Picture:
    """What to draw of a network: chains of layers of one part as one box, joins as pills."""
    readers: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for node in graph.nodes.values():
        for source in dict.fromkeys(node.inputs):
            readers[source].append(node.id)
    ends = {ref.id for ref in graph.outputs.values() if isinstance(ref, Ref)} | {*graph.spec.values, *graph.spec.parts}
    chains: dict[str, list[Node]] = {}
    chain_of: dict[str, str] = {}
    for node in graph.nodes.values():
        source = next(iter(node.inputs), "")
        joins = len(set(node.inputs)) != 1 or node.kind == "input"
        follows = not joins and source not in ends and readers[source] == [node.id] and _joinable(graph.nodes[source])
        chain_of[node.id] = chain_of[source] if follows else node.id
        chains.setdefault(chain_of[node.id], []).append(node)
    figures = {name: _chain_figure(chain, graph, shapes) for name, chain in chains.items()}
    edges = [(chain_of[source], name) for name, chain in chains.items() for source in dict.fromkeys(chain[0].inputs)]
    for name, argument in graph.outputs.items():
        if isinstance(argument, Ref):
            figures[f"output {name}"] = Figure(kind="stream", name=name or "output")
            edges.append((chain_of[argument.id], f"output {name}"))
    return Picture(figures=figures, edges=tuple(dict.fromkeys(edges)), down=True)


def _joinable(node: Node) -> bool:
    return node.kind != "input" and len(set(node.inputs)) == 1


def _chain_figure(chain: Sequence[Node], graph: NetworkGraph, shapes: Mapping[str, str]) -> Figure:
    first, last = chain[0], chain[-1]
    tip = "\n".join(f"{node.id} {shapes.get(node.id, '')}".rstrip() for node in chain)
    value = last.id if last.id in graph.spec.values else ""
    if first.kind == "input":
        return Figure(kind="stream", name=first.id, tip=tip)
    if len(set(first.inputs)) != 1:
        return Figure(kind="op", head=INFIX.get(first.target, (first.target,))[0], name=value, tip=tip)
    titles = {part.replace("[", "_").replace("]", ""): part for part in graph.spec.parts}
    prefix = next((node.target.rpartition(".")[0] for node in chain if node.kind == "layer"), "")
    lines = tuple(line for node in chain for line in wrapped(_layer_text(node, graph), width=64))
    return Figure(kind="part", head=titles.get(prefix, prefix), name=value, lines=lines, tip=tip)


def _layer_text(node: Node, graph: NetworkGraph) -> str:
    if node.kind == "layer":
        return _use_text(graph.layers[node.target])
    constants = [constant_text(a) for a in node.arguments if not isinstance(a, Ref)]
    constants += [f"{key}={constant_text(value)}" for key, value in node.keywords if not isinstance(value, Ref)]
    return f"{node.target}({', '.join(constants)})" if constants else node.target


def _use_text(use: LayerUse) -> str:
    inside = [_use_text(use.wrapped)] if use.wrapped else []
    inside += [constant_text(a) for a in use.arguments] + [
        f"{key}={constant_text(value)}" for key, value in use.keywords
    ]
    return f"{use.name}({', '.join(inside)})" if inside else use.name
