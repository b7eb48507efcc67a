"""Words that several readings of a spec share: numbers, moments, and numbers that change over time."""

import re
from collections.abc import Mapping
from string import Template

from gangraph.build.expressions import OPERATORS
from gangraph.errors import Span
from gangraph.graph.model import Argument, Graph, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, show
from gangraph.language.expression.schedule import RAMPS
from gangraph.language.expression.static import literal
from gangraph.language.spec import OUTPUT
from gangraph.registry import vocabulary
from gangraph.views.formulas import constant_text

_SIGNS = {name: sign for sign, name in OPERATORS.items()}
_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def counted(count: int, noun: str, plural: str = "") -> str:
    """`one update`, `two updates`, `13 updates`."""
    return f"{spelled(count)} {noun if count == 1 else plural or f'{noun}s'}"


def spelled(count: int) -> str:
    """`two`, `1,300`: a count as a word up to twelve."""
    return _COUNTS[count] if count < len(_COUNTS) else f"{count:,}"


def ordinal(place: int) -> str:
    """`second`, `7th`: a place in an order, from 1, as a word up to six."""
    if place <= len(_PLACES):
        return _PLACES[place - 1]
    ends = {1: "st", 2: "nd", 3: "rd"} if place % 100 not in (11, 12, 13) else {}
    return f"{place}{ends.get(place % 10, 'th')}"


def sized(count: int) -> str:
    """A large number as people say it: `2.77 million`, `318,947`."""
    return f"{count / 1e6:.3g} million" if count >= 1_000_000 else f"{count:,}"


def written(expression: Expression) -> str:
    """An expression as a spec writes it, but for `1 epoch` and numbers, which have six digits that count at most."""
    if isinstance(expression, ast.Literal) and not isinstance(expression.value, str):
        return constant_text(expression.value)
    if isinstance(expression, ast.Quantity) and expression.value == 1:
        return f"1 {expression.unit.removesuffix('s')}"
    return re.sub(r"\d+\.\d{7,}", lambda match: f"{float(match[0]):g}", show(expression))


def defined(name: str, expression: Expression) -> str:
    """`name = expression`; the name alone where that is all there is to say."""
    return name if written(expression) == name else f"{name} = {written(expression)}"


def taken_away(value: object) -> bool:
    """Whether a spec says null, which leaves out what a base has."""
    return isinstance(value, ast.Literal) and value.value is None


def over_time(expression: Expression) -> str:
    """A number that may change over time, in words: `0.0004 until step 300, then linearly to 0 at step 600`."""
    match expression:
        case ast.Call(function=ast.Name(id=name), arguments=(first, last), keywords=keywords) if name in RAMPS:
            ends = dict(keywords)
            if first == last:
                return written(first)
            start, end = ends.get("start"), ends.get("end")
            how = "on half a cosine" if name == "cosine" else "linearly"
            until = f"at {_moment(end)}" if end is not None else "at the end"
            if isinstance(start, ast.Quantity) and start.value > 0:
                return f"{written(first)} until {_moment(start)}, then {how} to {written(last)} {until}"
            return f"{written(first)} at first, then {how} to {written(last)} {until}"
    return written(expression)


def _moment(expression: Expression) -> str:
    if not isinstance(expression, ast.Quantity):
        return show(expression)
    if expression.unit == "kimg":
        return f"{expression.value:g} kimg"
    return f"{expression.unit.removesuffix('s')} {expression.value:,}"


def as_written(graph: Graph, name: str, names: Mapping[str, str]) -> str:
    """What a node is computed as, in the language of specs; `names` are the nodes that are called by name."""
    return written(_expression(graph, name, names, top=True))


def _expression(graph: Graph, name: str, names: Mapping[str, str], *, top: bool = False) -> Expression:
    node = graph.nodes[name]
    span = node.span
    if name in names and not top:
        return ast.Name(names[name], span)
    inside = [_argument(graph, argument, names, span) for argument in node.arguments]
    keywords = tuple((key, _argument(graph, value, names, span)) for key, value in node.keywords)
    match node.kind:
        case "scalar":
            return node.over_time
        case "stream" | "random":
            return ast.Name(name, span)
        case "output":
            return inside[0] if node.field == OUTPUT else ast.Attribute(inside[0], node.field, span)
        case "alias":
            return inside[0]
        case "op" if node.target in _SIGNS:
            return ast.Binary(_SIGNS[node.target], inside[0], inside[1], span)
        case "op" if node.target == "neg":
            return ast.Unary("-", inside[0], span)
    if node.kind == "parameters":
        return ast.Call(ast.Name("parameters", span), (ast.Name(node.target, span),), (), span)
    called = node.target if node.kind in ("op", "network") else node.kind
    return ast.Call(ast.Name(called, span), tuple(inside), keywords, span)


def _argument(graph: Graph, argument: Argument, names: Mapping[str, str], span: Span) -> Expression:
    if isinstance(argument, Ref):
        return _expression(graph, argument.id, names)
    if isinstance(argument, tuple):
        return ast.Sequence(tuple(_argument(graph, each, names, span) for each in argument), span)
    whole = isinstance(argument, float) and argument.is_integer()
    return literal(int(argument) if whole else argument, span)  # type: ignore[arg-type]  # a constant of the graph


def value_names(graph: Graph) -> dict[str, str]:
    """The nodes that a spec names as values; the first name where there are several."""
    return {node: name for name, node in reversed(list(graph.values.items()))}


def in_words(graph: Graph, name: str, losses: Mapping[str, str]) -> str:
    """A node in words, if what it calls was registered with some; else as it is written over values and `losses`."""
    node, names = graph.nodes[name], {**value_names(graph), **losses}
    definition = vocabulary[node.target] if node.kind == "op" else None
    if definition is None or not definition.traits.words:
        return as_written(graph, name, names)
    given = definition.signature.bind(*node.arguments, **dict(node.keywords))
    given.apply_defaults()
    texts = {
        key: written(_argument(graph, value, names, node.span))
        for key, value in given.arguments.items()
        if not isinstance(value, dict)
    }
    return Template(definition.traits.words).substitute(texts)


def times(count: int) -> str:
    """`twice`, `3 times`."""
    return "twice" if count == 2 else f"{count} times"
