"""Expressions in sentences: as a spec writes them, and in the words that ops and losses are registered with."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from string import Template
from typing import TYPE_CHECKING

from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.expression.schedule import RAMPS
from gangraph.views.printers.registered import Given, bound, definition_of

if TYPE_CHECKING:
    from gangraph.graph.model import LayerUse


def constant_text(value: object) -> str:
    """A constant as a spec writes it, a number with six digits that count at most."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(constant_text, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def call_text(name: str, arguments: Iterable[object], keywords: Mapping[str, object]) -> str:
    """A call with constants as a spec writes it; the name alone where there are none."""
    given = [*map(constant_text, arguments), *(f"{key}={constant_text(value)}" for key, value in keywords.items())]
    return f"{name}({', '.join(given)})" if given else name


def layer_text(use: LayerUse) -> str:
    """A layer with its constant arguments, as a spec writes it."""
    wrapped = [layer_text(use.wrapped)] if use.wrapped is not None else []
    return call_text(use.name, [*wrapped, *use.arguments], dict(use.keywords))


def written(expression: Expression) -> str:
    """An expression as a spec writes it, but for `1 epoch` and numbers, which have six digits that count at most."""
    if isinstance(expression, ast.Literal) and not isinstance(expression.value, str):
        return constant_text(expression.value)
    if isinstance(expression, ast.Quantity) and expression.value == 1:
        return f"1 {expression.unit.removesuffix('s')}"
    return re.sub(r"\d+\.\d{7,}", lambda match: f"{float(match[0]):g}", unparse(expression))


def in_words(expression: Expression, networks: Collection[str]) -> str:
    """A call in words, if what it calls was registered with some; anything else as it is written.

    `networks` are those of the spec, of which a call is never one of an op.
    """
    definition = definition_of(expression, networks)
    if definition is None or not definition.traits.words or not isinstance(expression, ast.Call):
        return written(expression)
    texts = {name: _given(value, expression) for name, value in bound(definition, expression).items()}
    return Template(definition.traits.words).substitute(texts)


def _given(value: Given, call: ast.Call) -> str:
    return written(ast.Sequence(value, call.span) if isinstance(value, tuple) else value)


def defined(name: str, expression: Expression) -> str:
    """`name = expression`; the name alone where that is all there is to say."""
    return name if written(expression) == name else f"{name} = {written(expression)}"


def taken_away(value: object) -> bool:
    """Whether a value is null, which removes what the document has under that name."""
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
        return unparse(expression)
    if expression.unit == "kimg":
        return f"{expression.value:g} kimg"
    return f"{expression.unit.removesuffix('s')} {expression.value:,}"
