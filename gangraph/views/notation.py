"""Symbols and formulas in LaTeX: how a value of the training graph is written in mathematics."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from gangraph.data.random import Bernoulli, Categorical, Normal, RandomSource, Uniform
from gangraph.graph.model import Argument, Graph, Node, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, show
from gangraph.language.expression.schedule import RAMPS
from gangraph.language.spec import OUTPUT
from gangraph.registry import Definition, vocabulary
from gangraph.views.formulas import constant_text, summands
from gangraph.views.wording import over_time

SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4
GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
)  # fmt: skip
_LETTERS = {Uniform: "u", Normal: "n", Categorical: "c", Bernoulli: "b"}
_PLACE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_COMPARISONS = {"==": "=", "!=": r"\neq", "<=": r"\leq", ">=": r"\geq", "%": r"\bmod", "*": r"\cdot",
                "and": r"\text{ and }", "or": r"\text{ or }"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formula:
    """LaTeX, how tightly its outermost operation binds, and the nodes that it is computed from.

    A number is `weight` times nothing, a product with one `weight` times `base`: numbers that meet are multiplied.
    """

    text: str
    level: int = ATOM
    nodes: tuple[str, ...] = ()
    weight: float | None = None
    base: "Formula | None" = None

    @property
    def factors(self) -> tuple[float, "Formula | None"]:
        """The number in front, and what it multiplies."""
        return (1, self) if self.weight is None else (self.weight, self.base)

    def guarded(self, level: int) -> str:
        r"""The text, in parentheses where its outermost operation binds less than `level`.

        Parentheses stretch around what contains large fences: \left( ... \right).
        """
        if self.level >= level:
            return self.text
        return rf"\left({self.text}\right)" if r"\left" in self.text else f"({self.text})"


def symbol(name: str) -> str:
    r"""A name of a spec in LaTeX: `D_x` is D_{x}, `fake_y` is \mathrm{fake}_{y}, `z2` is z_{2}, `lambda` is \lambda."""
    parts = re.sub(r"(?<=[a-zA-Z])(?=\d)|[^\w]+", "_", name).strip("_").split("_")
    first, *rest = filter(None, parts)
    below = ", ".join(map(_upright, rest))
    return _upright(first) + (f"_{{{below}}}" if rest else "")


def _apart(names: Iterable[str]) -> dict[str, str]:
    """A symbol for each name; a name whose symbol another has already is written in its own letters."""
    made: dict[str, str] = {}
    for name in names:
        short, letters = symbol(name), name.replace("_", r"\_")
        made[name] = short if short not in made.values() else rf"\mathrm{{{letters}}}"
    return made


def _upright(word: str) -> str:
    if word.lower() in GREEK:
        return f"\\{word.lower()}"
    return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"


def number(value: object) -> str:
    r"""A constant in LaTeX: 5e-05 is 5 \cdot 10^{-5}."""
    text = constant_text(value)
    if isinstance(value, str):
        return symbol(value) if re.search(r"\w", value) else r"\text{?}"
    mantissa, exponent, power = text.partition("e")
    if not exponent or isinstance(value, tuple | bool) or value is None:
        return text
    return (f"{mantissa} \\cdot " if mantissa != "1" else "") + f"10^{{{int(power)}}}"


def moment(expression: Expression) -> str:
    r"""A number or condition over time: `step % 2 == 0` is \mathrm{step} \bmod 2 = 0."""
    match expression:
        case ast.Literal(value=value):
            return number(value)
        case ast.Quantity(value=value, unit=unit):
            return rf"{value}\text{{ {unit}}}"
        case ast.Name(id=name):
            return symbol(name)
        case ast.Call(function=ast.Name(id=name), arguments=(first, last)) if name in RAMPS and first == last:
            return moment(first)
        case ast.Unary(operator=operator, operand=operand):
            return (r"\text{not }" if operator == "not" else operator) + _bracketed(operand)
        case ast.Binary(operator="**", left=left, right=right):
            return f"{_bracketed(left)}^{{{moment(right)}}}"
        case ast.Binary(operator="//", left=left, right=right):
            return rf"\lfloor {_bracketed(left)} / {_bracketed(right)} \rfloor"
        case ast.Binary(operator=operator, left=left, right=right):
            sides = _bracketed(left, operator), _bracketed(right, operator, right=True)
            return f"{sides[0]} {_COMPARISONS.get(operator, operator)} {sides[1]}"
        case ast.Conditional(then=then, test=test, otherwise=otherwise):
            rest = rf"\text{{, else }} {moment(otherwise)}" if otherwise is not None else ""
            return rf"{moment(then)} \text{{ if }} {moment(test)}{rest}"
        case ast.Call(function=function, arguments=arguments, keywords=keywords):
            inside = [moment(each) for each in arguments]
            inside += [rf"\text{{{key} }} {moment(value)}" for key, value in keywords]
            return rf"\mathrm{{{show(function)}}}({', '.join(inside)})"
    return _words(show(expression))


def _words(text: str) -> str:
    plain = re.sub(r"[^\w .,()+-]|_", " ", text)
    return rf"\text{{{plain}}}"


def _bracketed(expression: Expression, operator: str = "**", *, right: bool = False) -> str:
    """A part of an operation, in parentheses where it binds less tightly or would be read in another order."""
    match expression:
        case ast.Conditional():
            return f"({moment(expression)})"
        case ast.Binary(operator=own):
            alike = own == operator and (own in ("+", "*", "and", "or") or (own != "**" and not right))
            if not alike and ast.PRECEDENCE[own] <= ast.PRECEDENCE[operator]:
                return f"({moment(expression)})"
    return moment(expression)


class Notation:
    """The formulas of one graph. What they name is kept in `used`, since a reader has to be told what it is."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.used: set[str] = set()
        self.networks = _apart(graph.spec.networks)
        self.names: dict[str, str] = {}
        for name, node in graph.values.items():
            self.names.setdefault(node, symbol(name))
        self._name_sources()
        self._name_scalars()

    def _name_sources(self) -> None:
        """Streams and draws by their own names; draws written inside a value by a letter for their law."""
        taken = {*map(symbol, self.graph.spec.data), *self.networks.values(), *self.names.values()}
        for node in self._of_kind("stream", "random"):
            if node.id in self.names:
                continue
            source = self.graph.sources[node.target]
            anonymous = node.target not in self.graph.spec.data
            letter = _LETTERS.get(type(source), "r") if anonymous and isinstance(source, RandomSource) else ""
            fresh = (f"{letter}_{{{i}}}" if i > 1 else letter for i in range(1, len(self.graph.nodes) + 2))
            self.names[node.id] = next(name for name in fresh if name not in taken) if letter else symbol(node.id)
            taken.add(self.names[node.id])

    def _name_scalars(self) -> None:
        """Numbers over time are functions of the step t."""
        scalars = [node for node in self._of_kind("scalar") if node.id not in self.names]
        for i, node in enumerate(scalars, 1):
            self.names[node.id] = r"\lambda" + (f"_{{{i}}}" if len(scalars) > 1 else "") + "(t)"

    @contextmanager
    def after(self, networks: Iterable[str], steps: str) -> Iterator[None]:
        """Write some networks, and the values that they give, with a number of steps for a while."""
        moved, usual = set(networks), (self.networks, self.names)
        calls = {node.id for node in self._of_kind("network") if node.target in moved}
        above = {name for name in self.names if calls & self.graph.below(name)}
        tables = ((self.networks, moved), (self.names, above))
        self.networks, self.names = (
            {name: f"{text}^{{({steps})}}" if name in chosen else text for name, text in table.items()}
            for table, chosen in tables
        )
        yield
        self.networks, self.names = usual

    def _of_kind(self, *kinds: str) -> Iterable[Node]:
        return [node for node in self.graph.nodes.values() if node.kind in kinds]

    def of(self, argument: Argument) -> Formula:
        """An argument as it stands inside a formula: by its name, if the spec gives it one."""
        if isinstance(argument, tuple):
            inside = [self.of(each) for each in argument]
            return Formula(f"[{', '.join(each.text for each in inside)}]", nodes=_nodes(inside))
        if not isinstance(argument, Ref):
            if isinstance(argument, bool) or not isinstance(argument, int | float):
                return Formula(number(argument))
            return Formula(number(argument), SUM if argument < 0 else ATOM, weight=argument)
        if argument.id in self.names:
            self.used.add(argument.id)
            return Formula(self.names[argument.id], nodes=(argument.id,))
        return self.definition(argument.id)

    def definition(self, name: str) -> Formula:
        """What a node is computed as."""
        node = self.graph.nodes[name]
        arguments = [self.of(argument) for argument in node.arguments]
        match node.kind:
            case "scalar":
                told = over_time(node.over_time)
                ramp = show(node.over_time).partition("(")[0] in RAMPS and " " in told
                return Formula(_words(told) if ramp else moment(node.over_time), SUM, (name,))
            case "stream" | "random":
                self.used.add(name)
                return Formula(self.names[name], nodes=(name,))
            case "network":
                text = f"{self.networks[node.target]}({', '.join(each.text for each in arguments)})"
            case "parameters":
                text = rf"\theta_{{{self.networks[node.target]}}}"
            case "output":
                text = arguments[0].text + ("" if node.field == OUTPUT else f"_{{{_upright(node.field)}}}")
            case "grad":
                text = rf"\nabla_{{{arguments[1].text}}} {arguments[0].guarded(ATOM)}"
                return Formula(text, POWER, (name,))
            case "held" | "detach" | "history":
                return self._stopped(node, arguments[0])
            case _:
                return self._operation(node, arguments)
        return Formula(text, ATOM, (name,))

    def _stopped(self, node: Node, inside: Formula) -> Formula:
        r"""\overline for a value without its gradient, \widetilde for one that is mixed with its past."""
        accent = "widetilde" if node.kind == "history" else "overline"
        if node.kind == "history" and self.graph.nodes[node.inputs[0]].kind in ("held", "detach"):
            inside = self.of(self.graph.nodes[node.inputs[0]].arguments[0])
        return Formula(rf"\{accent}{{{inside.text}}}", ATOM, (node.id,))

    def _operation(self, node: Node, arguments: list[Formula]) -> Formula:
        nodes = _nodes(arguments)
        match node.target, arguments:
            case (("add" | "sub"), [left, right]):
                sign, weight = "+" if node.target == "add" else "-", right.factors[0]
                if weight < 0 and right.base is not None:  # a - (-2 b) is a + 2 b
                    sign, right = "-" if node.target == "add" else "+", scaled(-weight, right.base)
                least = SUM if sign == "+" and not right.text.startswith("-") else PRODUCT
                return Formula(f"{left.text} {sign} {right.guarded(least)}", SUM, nodes)
            case "mul", [left, right]:
                (one, first), (other, second) = left.factors, right.factors
                bases = [base for base in (first, second) if base is not None]
                return (
                    scaled(one * other, reduce(_product, bases))
                    if bases
                    else Formula(number(one * other), weight=one * other)
                )
            case "truediv", [left, right]:
                return Formula(rf"\frac{{{left.text}}}{{{right.text}}}", PRODUCT, nodes)
            case "pow", [left, right]:
                return Formula(f"{left.guarded(ATOM)}^{{{right.text}}}", POWER, nodes)
            case "neg", [inside]:
                weight, base = inside.factors
                return scaled(-weight, base) if base is not None else Formula(number(-weight), SUM, weight=-weight)
        definition = vocabulary[node.target]
        if definition.traits.latex:
            return self._filled(definition, node)
        given = [each.text for each in arguments]
        given += [f"{symbol(key)} = {self.of(value).text}" for key, value in node.keywords]
        return Formula(f"{_called(node.target)}({', '.join(given)})", ATOM, nodes)

    def _filled(self, definition: Definition, node: Node) -> Formula:
        """A registered formula with the arguments in it."""
        given = {name: self._argument(value) for name, value in bound(definition, node).items()}
        template = definition.traits.latex
        if re.fullmatch(r"\$\{\w+\}", template):
            return given[template[2:-1]]
        nodes = tuple(dict.fromkeys(n for place in given.values() for n in place.nodes))
        return Formula(self._expanded(template, given), level_of(template), nodes)

    def _argument(self, value: object) -> Formula:
        if isinstance(value, tuple):
            parts = [self._argument(each) for each in value]
            return Formula(", ".join(part.text for part in parts), nodes=_nodes(parts))
        return self.of(value)  # type: ignore[arg-type]  # what a node holds

    def _expanded(self, template: str, given: Mapping[str, Formula]) -> str:
        start = template.find("E[")
        if start < 0:
            return _PLACE.sub(lambda m: given[m[1]].text if m[1] else given[m[2]].guarded(ATOM), template)
        end = _closing(template, start + 1)
        inside = _folded(template[start + 2 : end], given)
        nodes = [node for m in _PLACE.finditer(inside) for node in given[m[1] or m[2]].nodes]
        return (
            self._expanded(template[:start], given)
            + self.mean(self._expanded(inside, given), nodes)
            + self._expanded(template[end + 1 :], given)
        )

    def mean(self, inside: str, nodes: Iterable[str]) -> str:
        """The expectation over the sources beneath some nodes."""
        beneath = self.graph.below(*nodes)
        order = {name: i for i, name in enumerate(self.graph.sources)}
        over = [node.id for node in self._of_kind("stream", "random") if node.id in beneath]
        over.sort(key=lambda name: order[self.graph.nodes[name].target])
        self.used.update(over)
        below = f"_{{{', '.join(self.names[name] for name in over)}}}" if over else ""
        return rf"\mathbb{{E}}{below}\left[{inside}\right]"

    def law(self, target: str) -> str:
        r"""What a source follows: `x \sim p_{x}`; the fields of one stream are drawn together."""
        source = self.graph.sources[target]
        fields = [n.id for n in self._of_kind("stream", "random") if n.target == target and n.id in self.used]
        drawn = ", ".join(self.names[name] for name in fields)
        whole = f"({drawn})" if len(fields) > 1 else drawn
        return rf"{whole} \sim {_law(source) if isinstance(source, RandomSource) else f'p_{{{symbol(target)}}}'}"


def _law(source: RandomSource) -> str:
    sizes = r" \times ".join(map(str, source.shape))
    size = f"^{{{sizes}}}" if sizes not in ("", "1") else ""
    match source:
        case Normal(mean=mean, std=std):
            return rf"\mathcal{{N}}({number(mean)}, {number(std)}{'^{2}' if std != 1 else ''}){size}"
        case Uniform(low=low, high=high):
            return rf"\mathcal{{U}}[{number(low)}, {number(high)}){size}"
        case Categorical(classes=classes):
            return rf"\mathrm{{Categorical}}({classes})"
        case Bernoulli(p=p):
            return rf"\mathrm{{Bernoulli}}({number(p)}){size}"
    return rf"\mathrm{{{type(source).__name__}}}"


def bound(definition: Definition, node: Node) -> dict[str, object]:
    """A node's arguments by parameter, defaults included; keywords and positions are the same mathematics."""
    given = definition.signature.bind(*node.arguments, **dict(node.keywords))
    given.apply_defaults()
    return dict(given.arguments)


def level_of(template: str) -> int:
    """How tightly the outermost operation of a registered formula binds."""
    bare = re.sub(r"\$\{\w+\}", "$x", template)
    for fence in ("Vert", "vert"):
        bare = bare.replace(rf"\l{fence}", "(").replace(rf"\r{fence}", ")")
    depth, outside = 0, ""
    for letter in bare:
        depth += letter in "([{"
        outside += letter if depth == 0 else "."
        depth -= letter in ")]}"
    if "+" in outside or "-" in outside:
        return SUM
    return ATOM if re.fullmatch(r"\\?\w*\.+(_\w)?", outside) else PRODUCT


def _closing(text: str, start: int) -> int:
    """Where the bracket at `start` is closed."""
    depth = 0
    for i, letter in enumerate(text[start:], start):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return i
    raise ValueError(f"the formula '{text}' does not close a bracket")


def _folded(template: str, given: Mapping[str, Formula]) -> str:
    """A sum with the numbers among its arguments in it: 1 - c is worked out, and coefficients 0 and 1 are not shown."""
    numbers = {name: each.text for name, each in given.items() if re.fullmatch(r"[\d.]+", each.text)}
    filled = _PLACE.sub(lambda match: numbers.get(match[1] or match[2], match[0]), template)
    worked = re.sub(r"\(1 - ([\d.]+)\)", lambda match: number(1 - float(match[1])), filled)
    kept = [re.sub(r"^([+-] ?)?1 ", r"\1", term) for term in summands(worked) if not re.match(r"([+-] ?)?0 ", term)]
    return re.sub(r"^\+ |(?<=^-) ", "", " ".join(kept)) or "0"


def _called(name: str) -> str:
    spaced = name.replace("_", r"\ ")
    return rf"\mathrm{{{spaced}}}"


def scaled(weight: float, base: Formula) -> Formula:
    """A number times a formula that has none in front."""
    inside = base.guarded(PRODUCT)
    match weight:
        case 1:
            return base
        case -1:
            text = f"-{inside}"
        case _:
            text = f"{number(weight)} {_between(inside)} {inside}"
    return Formula(text, SUM if weight < 0 else PRODUCT, base.nodes, weight, base)


def _product(left: Formula, right: Formula) -> Formula:
    inside = right.guarded(PRODUCT)
    return Formula(f"{left.guarded(PRODUCT)} {_between(inside)} {inside}", PRODUCT, _nodes((left, right)))


def _between(right: str) -> str:
    """What stands between factors: a dot before digits, which would seem to belong to those before them."""
    return r"\cdot" if right[:1].isdigit() else r"\,"


def _nodes(formulas: Iterable[Formula]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node for formula in formulas for node in formula.nodes))
