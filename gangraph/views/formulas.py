"""Formulas: what an objective or a loss says, folded back from its nodes into mathematics."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gangraph.graph.model import Argument, Graph, ObjectiveGraph, Ref
from gangraph.language.expression.model import Call, Expression, Literal, show
from gangraph.views.picture import FORMULA, UNKNOWN, Figure

INFIX = {"add": ("+", 1), "sub": ("-", 1), "mul": ("·", 2), "truediv": ("/", 2)}
FENCES = {"norm": "‖{}‖", "abs": "|{}|"}
POWERS = {2: "²", 3: "³"}
ATOM = 4
_OPENING, _CLOSING = (*"([{", r"\lV", r"\lv"), (*")]}", r"\rV", r"\rv")
STOPS = ("held", "detach", "history")


class Reading:
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
                return Figure(kind="loss", name=self.losses[name], lines=wrapped(self.formula(name)[0]), tip=tip)
        kind = "stop" if node.kind in STOPS else "op"
        return Figure(kind=kind, head=self.pill(name), name=label, tip=tip)

    def pill(self, name: str) -> str:
        """An op in few letters: the values that it reads are left to the wires."""
        node = self.nodes[name]
        if node.kind == "grad":
            return "∇ grad"
        if node.kind == "output":
            return ""
        if node.kind == "parameters":
            return self.formula(name)[0]
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
        return constant_text(argument)

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
            case "parameters":
                return f"parameters({node.target})", ATOM
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
        return constant_text(argument), ATOM

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


def constant_text(value: object) -> str:
    """A constant as a spec writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(constant_text, value))}]"
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


def wrapped(text: str, first: str = "", width: int = FORMULA) -> tuple[str, ...]:
    """A formula on lines: one where it fits, else one a term, else as many as it takes."""
    if len(first + text) <= width:
        return (first + text,)
    lines: list[str] = []
    for term in summands(text):
        lines += filled(term, width - len(first), "   ")
    return tuple((" " * len(first) if i else first) + line for i, line in enumerate(lines))


def filled(text: str, width: int, indent: str) -> list[str]:
    """Text in lines of a width, later ones indented."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def summands(text: str) -> Iterator[str]:
    """The terms of a sum in text or in LaTeX, each with its sign."""
    depth, start = 0, 0
    for i in range(len(text)):
        depth += text.startswith(_OPENING, i) - text.startswith(_CLOSING, i)
        if depth == 0 and text[i : i + 3] in (" + ", " - "):
            yield text[start:i]
            start = i + 1
    yield text[start:]
