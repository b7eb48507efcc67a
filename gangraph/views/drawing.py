"""A graph as a picture: a self-contained SVG of a training step's data flow, or of a network's layers.

What is drawn of a step: data, random draws, calls of networks, named values, and every op on the way to a call. The
arithmetic below a loss or an objective is folded into a formula. A hue stands for one network, everywhere.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from xml.sax.saxutils import escape

from gangraph.compiler.graph import Argument, Graph, LayerUse, NetworkGraph, Node, ObjectiveGraph, Ref, UpdateGraph
from gangraph.language.expression import Call, Expression, Literal, show
from gangraph.language.spec import AverageSpec
from gangraph.views.layout import Layout, arrange

INFIX = {"add": ("+", 1), "sub": ("-", 1), "mul": ("·", 2), "truediv": ("/", 2)}
FENCES = {"norm": "‖{}‖", "abs": "|{}|"}
POWERS = {2: "²", 3: "³"}
ATOM = 4
STOPS = ("held", "detach", "history")
# The palette of Okabe and Ito, darkened until white text stands out; the second of a pair is for lines on black.
HUES = (
    ("#0072B2", "#56B4E9"), ("#C65102", "#F58B4C"), ("#00805C", "#2FC79A"), ("#A33C7E", "#E08CC0"),
    ("#86690B", "#E3B93C"), ("#5A4FB3", "#A79FF0"), ("#9C2F3F", "#F07C8A"), ("#5B6770", "#A9B5BE"),
)  # fmt: skip
UNKNOWN = len(HUES) - 1  # grey: no network in particular
Chip = tuple[str, int]  # a network and its hue
MONO = 0.605  # the width of a character, in font sizes
MARGIN, FORMULA, NARROWEST = 36.0, 38, 780.0
WORDS = {"stream": "data", "random": "random draw", "call": "network and its value", "op": "operation",
         "stop": "gradients stop here", "loss": "loss", "update": "update"}  # fmt: skip

LIGHT = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:#18212d}
.m{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.b{font-weight:700}.soft{fill:#5c6878}.on{fill:#fff}.bg{fill:#fff}.rule{stroke:#d6dce4}
.wire{fill:none;stroke-width:1.8;stroke-linecap:round}.halo{fill:none;stroke:#fff;stroke-width:6}
.stream{fill:#e6ebf2;stroke:#66758a}.random{fill:#fff;stroke:#66758a}.op{fill:#fff;stroke:#8591a1}
.stop{fill:#fff;stroke:#8591a1;stroke-dasharray:4 3}.loss{fill:#fdf3d0;stroke:#a07f1c}.update{fill:#fff;stroke:#18212d}
.part{fill:#fff;stroke:#0072B2}.pip{fill:#66758a}.badge{fill:#18212d}.badged{fill:#fff}
.lo{stroke:#7b8797}.ao{fill:#7b8797}.lx{stroke:#3d4a5c}.ax{fill:#3d4a5c}.ly{stroke:#98a5b5}.ay{fill:#98a5b5}
.lz{stroke:#6d7a8b}.az{fill:#6d7a8b}.dashed{stroke-dasharray:5 4;stroke-linecap:butt}
"""
DARK = """
text{fill:#e7ecf3}.soft{fill:#9dabbb}.on{fill:#fff}.bg{fill:#10151c}.rule{stroke:#2b3542}.halo{stroke:#10151c}
.stream{fill:#232e3b;stroke:#91a2b8}.random,.op,.stop,.part{fill:#10151c;stroke:#91a2b8}
.loss{fill:#2d2712;stroke:#cba93a}.update{fill:#19212b;stroke:#e7ecf3}.pip{fill:#91a2b8}.badge{fill:#e7ecf3}
.badged{fill:#10151c}.lo{stroke:#8d9aab}.ao{fill:#8d9aab}.lx{stroke:#d3dce8}.ax{fill:#d3dce8}.ly{stroke:#76859a}.ay{fill:#76859a}
.lz{stroke:#a3b0c1}.az{fill:#a3b0c1}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One box: what it shows, and its size."""

    kind: str
    head: str = ""
    name: str = ""
    lines: tuple[str, ...] = ()
    chips: tuple[Chip, ...] = ()
    number: int = 0
    hue: int | None = None
    tip: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, from the text."""
        text = max((len(line) * MONO * 11 for line in self.lines), default=0.0)
        match self.kind:
            case "stream" | "random":
                return max(len(self.name) * MONO * 14, text) + 54, 46.0 if self.lines else 36.0
            case "call":
                return self.split + (len(self.name) * MONO * 12.5 + 20 if self.name else 0), 34.0
            case "op" | "stop":
                return self.split + (len(self.name) * MONO * 12 + 10 if self.name else 0), 26.0
            case "loss":
                return max(len(self.name) * MONO * 14, text) + 40, 34.0 + 15 * len(self.lines)
            case "part":
                title = len(self.head) * MONO * 12.5 + len(self.name) * MONO * 11 + 14
                return max(title, text, 90) + 28, 32.0 + 15 * len(self.lines)
        chips = sum(_chip_width(name) + 6 for name, _ in self.chips) + 62
        return max(len(self.name) * MONO * 14 + 30, text, chips) + 30, 76.0 + 15 * len(self.lines)

    @property
    def rank(self) -> str:
        """Figures of the same rank get the same width, where they stand side by side."""
        return "source" if self.kind in ("stream", "random") and self.lines else self.kind

    @property
    def split(self) -> float:
        """Where the head of a call or an op ends and the name of its value begins."""
        size, space = (14, 24) if self.kind == "call" else (11.5, 20)
        return len(self.head) * MONO * size + space


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Figures by id, the edges between them, and where they may stand."""

    figures: Mapping[str, Figure]
    edges: tuple[tuple[str, str], ...]
    late: frozenset[str] = frozenset()
    teams: Mapping[str, str] = field(default_factory=dict)
    down: bool = False

    @cached_property
    def layout(self) -> Layout:
        """Where everything stands."""
        sizes = {name: figure.size for name, figure in self.figures.items()}
        feeding = {source for source, target in self.edges if self.figures[target].kind != "update"}
        for rank in ("source", "loss", "update"):
            same = [
                name for name, f in self.figures.items() if f.rank == rank and (rank != "loss" or name not in feeding)
            ]
            widest = max((sizes[name][0] for name in same), default=0.0)
            sizes |= {name: (widest, sizes[name][1]) for name in same}
        return arrange(sizes, self.edges, late=self.late, teams=self.teams, down=self.down)

    def stopped(self, name: str) -> bool:
        """Whether no gradient flows back into what gives a value."""
        if self.figures[name].kind != "op":
            return self.figures[name].kind == "stop"
        sources = self._sources(name)
        return len(sources) == 1 and self.stopped(sources[0])

    def strand(self, name: str) -> str:
        """The colour of what a figure gives: its network's, its data's shade, or that of the one thing it changes."""
        figure = self.figures[name]
        if figure.hue is not None:
            return f"{figure.hue}"
        if figure.kind == "stream":
            return "xyz"[[n for n, f in self.figures.items() if f.kind == "stream"].index(name) % 3]
        sources = self._sources(name)
        return self.strand(sources[0]) if figure.kind in ("op", "stop") and len(sources) == 1 else "o"

    def _sources(self, name: str) -> list[str]:
        return [source for source, target in self.edges if target == name]


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
    return _document(picture, frame)


def draw_network(graph: NetworkGraph, *, title: str, shapes: Mapping[str, str] | None = None) -> str:
    """A network as SVG: one box for every chain of layers of one part."""
    frame = Frame(title=title, subtitle=graph.spec.template, about=f"The layers of the network {title}")
    return _document(network_picture(graph, shapes or {}), frame)


def step_picture(graph: Graph, shapes: Mapping[str, str]) -> Picture:
    """What to draw of a training step."""
    reading = _Reading(graph)
    hues = _hues(graph)
    given = {name: i for i, name in enumerate(graph.spec.data)}
    drawn = sorted(reading.drawn, key=list(graph.nodes).index)
    drawn.sort(key=lambda name: given.get(graph.nodes[name].target, len(given)))
    figures = {name: reading.figure(name, hues, shapes.get(name, "")) for name in drawn}
    edges = [(source, name) for name in figures for source in reading.sources(graph.nodes[name].inputs)]
    for number, update in enumerate(graph.updates, 1):
        terminal = f"update {number}"
        figures[terminal] = _update_figure(update, number, reading, hues)
        edges += [(source, terminal) for source in reading.sources(objective.loss for objective in update.objectives)]
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
        made.append((name, template if template != name else "written in this spec"))
    return tuple(((name, hues.get(name, UNKNOWN)), text) for name, text in made)


def _hues(graph: Graph) -> dict[str, int]:
    trained = [name for name, made in graph.spec.networks.items() if not isinstance(made, AverageSpec)]
    hues = {name: i % UNKNOWN for i, name in enumerate(trained)}
    return hues | {n: hues[m.of] for n, m in graph.spec.networks.items() if isinstance(m, AverageSpec) and m.of in hues}


class _Reading:
    """Which nodes of a step are drawn, and the formulas that stand for the others."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.data = graph.spec.data
        goals = (goal for update in graph.spec.updates for goal in update.objectives)
        self.maximized = {goal.expression.span for goal in goals if goal.sign < 0}
        self.losses: dict[str, str] = {}
        for name, node in graph.losses.items():
            if graph.nodes[node].kind == "op":
                self.losses[node] = f"{self.losses[node]}, {name}" if node in self.losses else name
        self.named: dict[str, str] = {}
        others = {n: i for n, i in graph.losses.items() if i not in self.losses}
        for name, node in (*graph.values.items(), *others.items()):
            if node not in self.losses and graph.nodes[node].kind not in ("stream", "random", "scalar"):
                self.named[node] = f"{self.named[node]}, {name}" if node in self.named else name
        self.drawn = self._drawn()

    def _drawn(self) -> set[str]:
        always = {n.id for n in self.nodes.values() if n.kind not in ("op", "output", "scalar")}
        before = self.graph.below(*always, *self.named)
        drawn = always | {name for name in before if self.nodes[name].kind == "op" and name not in self.losses}
        for name in sorted(drawn):
            readers = list(self.graph.digraph.successors(name))
            if len(readers) == 1 and readers[0] in drawn and name not in self.named and self._folds(name, readers[0]):
                drawn.discard(name)
        return drawn | set(self.losses)

    def _folds(self, name: str, reader: str) -> bool:
        kinds = self.nodes[name].kind, self.nodes[reader].kind
        return kinds == ("op", "op") or (kinds[0] in STOPS and kinds[1] in STOPS)

    def sources(self, ids: Iterable[str]) -> Iterator[str]:
        """The drawn nodes that lie behind some nodes."""
        for name in ids:
            if name in self.drawn:
                yield name
            else:
                yield from self.sources(self.nodes[name].inputs)

    def figure(self, name: str, hues: Mapping[str, int], shape: str) -> Figure:
        """How a drawn node looks."""
        node = self.nodes[name]
        tip = "\n".join(part for part in (name, self.formula(name)[0], shape) if part)
        label = self.named.get(name, "")
        match node.kind:
            case "stream" | "random":
                source = self.data.get(node.target)
                if source is None:
                    written = node.span.text.content[node.span.start : node.span.end]
                    return Figure(kind=node.kind, name=written, tip=tip)
                return Figure(kind=node.kind, name=name, lines=(_caption(source),), tip=f"{tip}\n{show(source)}")
            case "network":
                outputs = (
                    n for n in self.nodes.values() if n.kind == "output" and n.inputs == (name,) and n.id in self.named
                )
                value = ", ".join([label] * bool(label) + [f".{n.field} = {self.named[n.id]}" for n in outputs])
                return Figure(kind="call", head=node.target, name=value, hue=hues.get(node.target, UNKNOWN), tip=tip)
            case "op" if name in self.losses:
                return Figure(kind="loss", name=self.losses[name], lines=_wrapped(self.formula(name)[0]), tip=tip)
        kind = "stop" if node.kind in STOPS else "op"
        return Figure(kind=kind, head=self.pill(name), name=label, tip=tip)

    def pill(self, name: str) -> str:
        """An op in few letters: the values that it reads are left to the wires."""
        node = self.nodes[name]
        if node.kind == "grad":
            return "∇ grad"
        if node.kind == "output":
            return ""
        if node.kind == "scalar" and node.expression is not None:
            return show(node.expression)
        parts = (self._part(argument) for argument in (*node.arguments, *(value for _, value in node.keywords)))
        inside = [part for part in parts if part]
        called = node.target if node.kind == "op" else node.kind
        if called in INFIX or called in ("neg", "pow"):
            plain = all(isinstance(argument, Ref) and argument.id in self.drawn for argument in node.arguments)
            return (
                INFIX[called][0]
                if plain and called in INFIX
                else textwrap.shorten(self.formula(name)[0], 32, placeholder="…")
            )
        return f"{called}({', '.join(inside)})" if inside else called

    def _part(self, argument: Argument) -> str:
        if isinstance(argument, Ref):
            return "" if argument.id in self.drawn else self.pill(argument.id)
        return _constant(argument)

    def formula(self, name: str) -> tuple[str, int]:
        """A node as a formula over names, and how tightly its outermost operation binds."""
        node = self.nodes[name]
        arguments = [self._inside(argument) for argument in node.arguments]
        arguments += [(f"{key}={self._inside(value)[0]}", 0) for key, value in node.keywords]
        inside = [text for text, _ in arguments]
        match node.kind:
            case "stream" | "random":
                return name, ATOM
            case "scalar" if node.expression is not None:
                text = show(node.expression)
                return text, ATOM if text.isidentifier() or text.endswith(")") else 0
            case "network":
                return f"{node.target}({', '.join(inside)})", ATOM
            case "output":
                return f"{inside[0]}.{node.field}", ATOM
            case "grad":
                return f"∇{_guard(arguments[0], ATOM)}", ATOM
            case "held" | "detach":
                return arguments[0]
            case "history":
                return f"history({inside[0]})", ATOM
        return _operation(node.target, arguments)

    def _inside(self, argument: Argument) -> tuple[str, int]:
        if isinstance(argument, Ref):
            names = self.losses.get(argument.id) or self.named.get(argument.id)
            return (names.partition(", ")[0], ATOM) if names else self.formula(argument.id)
        return _constant(argument), ATOM

    def objective(self, objective: ObjectiveGraph) -> str:
        """What is minimised or maximised, over the names of losses."""
        node, verb = self.nodes[objective.loss], "minimize"
        if objective.span in self.maximized and node.target == "neg":
            (argument,), verb = node.arguments, "maximize"
            return f"{verb} {self._inside(argument)[0]}"
        return f"{verb} {self._inside(Ref(node.id))[0]}"


def _operation(name: str, arguments: Sequence[tuple[str, int]]) -> tuple[str, int]:
    if name == "pow" and arguments[1][0] in ("2", "3"):
        return _guard(arguments[0], ATOM) + POWERS[int(arguments[1][0])], ATOM - 1
    if name == "pow":
        return f"{_guard(arguments[0], ATOM)}^{_guard(arguments[1], ATOM)}", ATOM - 1
    if name == "neg":
        return f"-{_guard(arguments[0], 2)}", 1
    if name in FENCES and len(arguments) == 1:
        return FENCES[name].format(arguments[0][0]), ATOM
    if name in INFIX:
        symbol, level = INFIX[name]
        left, right = _guard(arguments[0], level), _guard(arguments[1], level + (name in ("sub", "truediv")))
        if name == "mul" and _is_number(left) and arguments[1][1] >= 3 and not _is_number(right):
            return f"{left} {right}", level
        return f"{left} {symbol} {right}", level
    return f"{name}({', '.join(text for text, _ in arguments)})", ATOM


def _guard(part: tuple[str, int], level: int) -> str:
    return f"({part[0]})" if part[1] < level else part[0]


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e-", "", 1).isdigit()


def _constant(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_constant, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _caption(expression: Expression) -> str:
    """A source in few letters: its function, and its plain arguments without their folders."""
    if not isinstance(expression, Call):
        return show(expression)
    paths = (value for _, value in expression.keywords if isinstance(value, Literal) and "/" in str(value.value))
    given = [*expression.arguments, *paths]
    plain = [str(a.value).rpartition("/")[2] if isinstance(a, Literal) else show(a) for a in given]
    return textwrap.shorten(show(expression.function) + (f"({', '.join(plain)})" if plain else ""), 26, placeholder="…")


def _wrapped(text: str, first: str = "", width: int = FORMULA) -> tuple[str, ...]:
    """A formula on lines: one where it fits, else one a term, else as many as it takes."""
    if len(first + text) <= width:
        return (first + text,)
    lines: list[str] = []
    for term in _terms(text):
        lines += _filled(term, width - len(first), "   ")
    return tuple((" " * len(first) if i else first) + line for i, line in enumerate(lines))


def _filled(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _terms(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and text[i : i + 3] in (" + ", " - "):
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _update_figure(update: UpdateGraph, number: int, reading: _Reading, hues: Mapping[str, int]) -> Figure:
    lines: list[str] = []
    for objective in update.objectives:
        verb, _, text = reading.objective(objective).partition(" ")
        group = f"{objective.group}: " if len(update.objectives) > 1 else ""
        lines += _wrapped(text, f"{group}{verb} ", width=48)
    chips = tuple((name, hues.get(name, UNKNOWN)) for name in update.networks)
    return Figure(kind="update", name=update.name, lines=tuple(lines), chips=chips, number=number)


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
            ("gradient norm at most {}", update.clip_grad_norm),
            ("each gradient within ±{}", update.clip_grad_value),
        )
        filled = (words.format(show(value)) for words, value in said if value is not None)
        parts += [text.replace("steps steps", "steps") for text in filled]
        parts += [f"gradients summed over {update.accumulate} batches"] * (update.accumulate > 1)
        parts += [f"then {name}({', '.join([of, *map(_constant, numbers)])})" for name, of, numbers in update.then]
        yield f"{number}.  {update.name}: updates {_listed(update.networks)}; " + "; ".join(parts)
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
    lines = tuple(line for node in chain for line in _wrapped(_layer_text(node, graph), width=64))
    return Figure(kind="part", head=titles.get(prefix, prefix), name=value, lines=lines, tip=tip)


def _layer_text(node: Node, graph: NetworkGraph) -> str:
    if node.kind == "layer":
        return _use_text(graph.layers[node.target])
    constants = [_constant(a) for a in node.arguments if not isinstance(a, Ref)]
    constants += [f"{key}={_constant(value)}" for key, value in node.keywords if not isinstance(value, Ref)]
    return f"{node.target}({', '.join(constants)})" if constants else node.target


def _use_text(use: LayerUse) -> str:
    inside = [_use_text(use.wrapped)] if use.wrapped else []
    inside += [_constant(a) for a in use.arguments] + [f"{key}={_constant(value)}" for key, value in use.keywords]
    return f"{use.name}({', '.join(inside)})" if inside else use.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a picture."""

    title: str
    subtitle: str
    about: str
    networks: tuple[tuple[Chip, str], ...] = ()
    schedule: tuple[str, ...] = ()


def _document(picture: Picture, frame: Frame) -> str:
    layout = picture.layout
    words = max(_sans_width(frame.title, 26), _sans_width(frame.subtitle, 14))
    width = max(max(layout.width, words) + 2 * MARGIN, NARROWEST)
    top = MARGIN + 30 * bool(frame.title) + 22 * bool(frame.subtitle) + 14
    body = [_text(MARGIN, MARGIN + 16, frame.title, 24, "b")]
    body += [_text(MARGIN, MARGIN + 12 + 28 * bool(frame.title), frame.subtitle, 14, "soft")]
    body += [f'<g transform="translate({(width - layout.width) / 2:.1f} {top:g})">', *_wires(picture)]
    body += [_figure(picture, name) for name in picture.figures] + ["</g>"]
    legend, y = (
        _legend(picture, frame, width, top + layout.height + 34) if frame.networks else ([], top + layout.height)
    )
    schedule, y = _schedule_lines(frame.schedule, width, y)
    size = f'width="{width:.1f}" height="{y + 24:.1f}" viewBox="0 0 {width:.1f} {y + 24:.1f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">'
    title = f'<title id="title">{escape(frame.title or "Data flow")}</title>'
    about = f'<desc id="about">{escape(frame.about)}</desc>'
    ground = f'<style>{_style()}</style>\n<rect class="bg" width="100%" height="100%"/>'
    return "\n".join(part for part in (head, title, about, ground, *body, *legend, *schedule, "</svg>") if part) + "\n"


def _style() -> str:
    light = "".join(
        f".h{i},.a{i}{{fill:{hue}}}.l{i}{{stroke:{hue}}}.t{i}{{fill:{hue};fill-opacity:.12;stroke:{hue}}}"
        for i, (hue, _) in enumerate(HUES)
    )
    dark = "".join(
        f".a{i}{{fill:{hue}}}.l{i}{{stroke:{hue}}}.t{i}{{fill-opacity:.35;stroke:{hue}}}"
        for i, (_, hue) in enumerate(HUES)
    )
    return f"{LIGHT}{light}\n@media (prefers-color-scheme:dark){{{DARK}{dark}}}"


def _schedule_lines(schedule: Sequence[str], width: float, y: float) -> tuple[list[str], float]:
    if not schedule:
        return [], y
    letters = int((width - 2 * MARGIN) / 7.2)
    lines = [line for entry in schedule for line in _filled(entry, letters, "   ")]
    drawn = [_text(MARGIN, y + 18, "Every step, in this order", 13, "b")]
    for i, line in enumerate(lines):
        drawn.append(_text(MARGIN + 16 * line.startswith(" "), y + 40 + 20 * i, line.strip(), 13))
    return drawn, y + 40 + 20 * len(lines)


def _wires(picture: Picture) -> Iterator[str]:
    """The wires of each source over a halo, so that they pass over those drawn before like bridges."""
    lines: dict[str, str] = {}
    tips: dict[str, str] = {}
    for wire in picture.layout.wires:
        p = [f"{x:.1f} {y:.1f}" for x, y in wire.points]
        lines[wire.source] = lines.get(wire.source, "") + f"M{p[0]}L{p[1]}C{p[2]} {p[3]} {p[4]}L{p[5]}"
        tip = f"M{p[5]}l-4 -7h8z" if picture.down else f"M{p[5]}l-7 -4v8z"
        tips[wire.source] = tips.get(wire.source, "") + (tip if wire.target else "")
    for source, path in lines.items():
        strand, dashed = picture.strand(source), " dashed" * picture.stopped(source)
        yield f'<path class="halo" d="{path}"/><path class="wire l{strand}{dashed}" d="{path}"/>'
        yield f'<path class="a{strand}" d="{tips[source]}"/>'


def _figure(picture: Picture, name: str) -> str:
    figure, box = picture.figures[name], picture.layout.boxes[name]
    shapes = {"stream": _source, "random": _source, "call": _call, "op": _pill, "stop": _pill}
    shape = shapes.get(figure.kind) or {"loss": _loss, "part": _part, "update": _update}[figure.kind]
    tip = f"<title>{escape(figure.tip)}</title>" if figure.tip else ""
    return f'<g transform="translate({box.x:.1f} {box.y:.1f})">{tip}{shape(figure, box.width, box.height)}</g>'


def _source(figure: Figure, w: float, h: float) -> str:
    icon = (_dice if figure.kind == "random" else _stack)(16, h / 2 - 8)
    name = _text(40, h / 2 + (-2 if figure.lines else 5), figure.name, 14, "m b")
    caption = "".join(_text(40, h / 2 + 13, line, 11, "m soft") for line in figure.lines)
    return _rect(0, 0, w, h, h / 2, figure.kind) + icon + name + caption


def _call(figure: Figure, w: float, h: float) -> str:
    value = _rect(0, 0, w, h, 7, f"t{figure.hue}") + _text(figure.split + 9, h / 2 + 4.5, figure.name, 12.5, "m")
    head = _rect(0, 0, figure.split, h, 7, f"h{figure.hue}") + _text(12, h / 2 + 5, figure.head, 14, "m b on")
    return value * bool(figure.name) + head


def _pill(figure: Figure, w: float, h: float) -> str:
    name = _text(figure.split - 2, h / 2 + 4, figure.name, 12, "m")
    return _rect(0, 0, w, h, h / 2, figure.kind) + _text(10, h / 2 + 4, figure.head, 11.5, "m soft") + name


def _loss(figure: Figure, w: float, h: float) -> str:
    path = f"M4 0H{w - 16:.1f}L{w:.1f} {h / 2:.1f}L{w - 16:.1f} {h:.1f}H4Q0 {h:.1f} 0 {h - 4:.1f}V4Q0 0 4 0Z"
    tag = f'<path class="loss" stroke-width="1.5" d="{path}"/>'
    return tag + _text(14, 21, figure.name, 14, "m b") + _lines(figure, 14, 39)


def _part(figure: Figure, w: float, h: float) -> str:
    value = f"→ {figure.name}" if figure.name else ""
    after = _text(28 + len(figure.head) * MONO * 12.5, 20, value, 11, "m soft")
    return _rect(0, 0, w, h, 7, figure.kind) + _text(14, 20, figure.head, 12.5, "m b") + after + _lines(figure, 14, 38)


def _update(figure: Figure, w: float, h: float) -> str:
    number = f"{figure.number}"
    badge = '<circle class="badge" cx="24" cy="24" r="11"/>' + _text(
        24 - 4 * len(number), 28.5, number, 12.5, "b badged"
    )
    x, chips = 68.0, _text(15, h - 16, "updates", 11, "soft")
    for chip in figure.chips:
        chips += _chip(x, h - 30, chip)
        x += _chip_width(chip[0]) + 6
    return (
        _rect(0, 0, w, h, 9, "update") + badge + _text(42, 29, figure.name, 14, "m b") + _lines(figure, 15, 51) + chips
    )


def _lines(figure: Figure, x: float, y: float) -> str:
    indents = [len(line) - len(line.lstrip()) for line in figure.lines]
    placed = zip(indents, figure.lines, strict=True)
    return "".join(_text(x + MONO * 11 * k, y + 15 * i, line.strip(), 11, "m") for i, (k, line) in enumerate(placed))


def _legend(picture: Picture, frame: Frame, width: float, y: float) -> tuple[list[str], float]:
    """What the shapes and colours mean, in as many rows as it takes, and where it ends."""
    kinds = {figure.kind for figure in picture.figures.values()}
    rows = [[(_chip(0, 0, chip), _chip_width(chip[0]), made) for chip, made in frame.networks]]
    rows += [[(_glyph(kind), 30.0, word) for kind, word in WORDS.items() if kind in kinds]]
    parts = []
    for row in rows:
        x = MARGIN
        for glyph, glyph_width, word in row:
            space = glyph_width + 8 + _sans_width(word, 13) + 22
            if x > MARGIN and x + space > width - MARGIN + 22:
                x, y = MARGIN, y + 28
            label = _text(glyph_width + 8, 14.5, word, 13, "soft")
            parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{glyph}{label}</g>')
            x += space
        y += 28
    return parts, y + 6


def _glyph(kind: str) -> str:
    match kind:
        case "call":
            return _rect(0, 2, 30, 16, 4, f"t{UNKNOWN}") + _rect(0, 2, 15, 16, 4, f"h{UNKNOWN}")
        case "loss":
            return '<path class="loss" stroke-width="1.3" d="M0 2H20L28 10L20 18H0Z"/>'
        case "random":
            return _rect(0, 2, 28, 16, 8, kind) + _dice(8.5, 4.5, 11)
    return _rect(0, 2, 28, 16, 4 if kind == "update" else 8, kind)


def _sans_width(text: str, size: float) -> float:
    return size * sum(0.34 if c in "fijlrtI.,;:|()' " else 0.92 if c in "mwMW" else 0.62 for c in text)


def _chip_width(name: str) -> float:
    return len(name) * MONO * 12 + 14


def _chip(x: float, y: float, chip: Chip) -> str:
    name, hue = chip
    return _rect(x, y, _chip_width(name), 20, 5, f"h{hue}") + _text(x + 7, y + 14, name, 12, "m b on")


def _dice(x: float, y: float, size: float = 16) -> str:
    pips = "".join(f'<circle class="pip" cx="{x + size * a:.1f}" cy="{y + size * b:.1f}" r="{size * 0.09:.1f}"/>'
                   for a, b in ((0.27, 0.27), (0.73, 0.27), (0.5, 0.5), (0.27, 0.73), (0.73, 0.73)))  # fmt: skip
    return _rect(x, y, size, size, size / 5, "random") + pips


def _stack(x: float, y: float) -> str:
    return "".join(_rect(x + 4 - 4 * i, y + 4 * i, 12, 8, 1.5, "stream") for i in range(3))


def _rect(x: float, y: float, width: float, height: float, radius: float, style: str) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}"/>'
    )


def _text(x: float, y: float, text: str, size: float, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" font-size="{size:g}">{escape(text)}</text>' if text else ""
