"""Expressions as formulas in drawings: `10 mean((‖∇D(mix)‖ - 1)²)`."""

import textwrap
from collections.abc import Iterator

from gangraph.language.expression import model as ast
from gangraph.language.expression.model import PRECEDENCE, Expression, binding, unparse
from gangraph.views.calls import accent_of, called
from gangraph.views.printers.precedence import ATOM, POWER, PRODUCT, SUM
from gangraph.views.printers.words import constant_text

SIGNS = {"*": "·"}  # of operators that a formula writes in another way than a spec
FENCES = {"norm": "‖{}‖", "abs": "|{}|"}
POWERS = {2: "²", 3: "³"}
LINE = 38  # letters
_OPENING, _CLOSING = (*"([{", r"\lV", r"\lv"), (*")]}", r"\rV", r"\rv")


def formula(expression: Expression) -> str:
    """An expression as a formula over names."""
    return _formula(expression)[0]


def _formula(expression: Expression) -> tuple[str, int]:
    """A formula, and how tightly its outermost operation binds."""
    match expression:
        case ast.Literal(value=value):
            return constant_text(value), ATOM
        case ast.Attribute(base=base, name=name):
            return f"{_guarded(base, ATOM)}.{name}", ATOM
        case ast.Sequence(items=items):
            return f"[{', '.join(map(formula, items))}]", ATOM
        case ast.Unary(operator="-", operand=operand):
            return f"-{_guarded(operand, PRODUCT)}", SUM
        case ast.Binary(operator="**", left=left, right=ast.Literal(value=int(exponent))) if exponent in POWERS:
            return _guarded(left, ATOM) + POWERS[exponent], POWER
        case ast.Binary(operator="**", left=left, right=right):
            return f"{_guarded(left, ATOM)}^{_guarded(right, ATOM)}", POWER
        case ast.Binary(operator="+" | "-"):
            return _sum(expression), SUM
        case ast.Binary():
            return _binary(expression)
        case ast.Call():
            return _call(expression)
    return unparse(expression), binding(expression)


def _sum(expression: ast.Binary) -> str:
    first, sums = ast.summands(expression)
    terms = (f" {each.operator} {_guarded(each.right, SUM + (each.operator == '-'))}" for each in sums)
    return "".join((_guarded(first, SUM), *terms))


def _binary(expression: ast.Binary) -> tuple[str, int]:
    """An operation between two formulas; a number before something else that is no sum stands before it as it is."""
    operator, level = expression.operator, PRECEDENCE[expression.operator]
    left = _guarded(expression.left, level)
    right = _guarded(expression.right, level + (operator != "*"))
    scales = operator == "*" and _is_number(left) and not _is_number(right)
    if scales and _formula(expression.right)[1] >= POWER:
        return f"{left} {right}", level
    return f"{left} {SIGNS.get(operator, operator)} {right}", level


def _call(call: ast.Call) -> tuple[str, int]:
    match called(call), call.arguments:
        case "grad", (output, at) if not (isinstance(at, ast.Call) and called(at) == "parameters"):
            return f"∇{_guarded(output, ATOM)}", ATOM
        case name, (value, *_) if accent := accent_of(call):
            return _formula(value) if accent == "overline" else (f"{name}({formula(value)})", ATOM)
        case name, (value,) if name in FENCES and not call.keywords:
            return FENCES[name].format(formula(value)), ATOM
    inside = [*map(formula, call.arguments), *(f"{key}={formula(value)}" for key, value in call.keywords)]
    return f"{unparse(call.function)}({', '.join(inside)})", ATOM


def _guarded(expression: Expression, least: int) -> str:
    text, level = _formula(expression)
    return f"({text})" if level < least else text


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e-", "", 1).isdigit()


def wrapped(text: str, first: str = "", width: int = LINE) -> tuple[str, ...]:
    """A formula on lines: one where it fits, else one a term, else as many as it takes."""
    if len(first + text) <= width:
        return (first + text,)
    lines: list[str] = []
    for term in signed_terms(text):
        lines += lines_of(term, width - len(first), "   ")
    return tuple((" " * len(first) if i else first) + line for i, line in enumerate(lines))


def lines_of(text: str, width: int, indent: str) -> list[str]:
    """Text in lines of a width, later ones indented."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def signed_terms(text: str) -> Iterator[str]:
    """The terms of a sum in text or in LaTeX, each with its sign."""
    depth, start = 0, 0
    for i in range(len(text)):
        depth += text.startswith(_OPENING, i) - text.startswith(_CLOSING, i)
        if depth == 0 and text[i : i + 3] in (" + ", " - "):
            yield text[start:i]
            start = i + 1
    yield text[start:]
