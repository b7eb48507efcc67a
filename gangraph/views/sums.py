"""Sums in which the members of a family are written once: `sum(nce(q[k], p[k]) for k in 0..4)`."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import reduce
from typing import Any

from gangraph.errors import Span
from gangraph.language.expression.model import (
    Attribute,
    Binary,
    Call,
    Comprehension,
    Expression,
    Index,
    Literal,
    Name,
    Range,
    Sequence,
    summands,
    unparse,
)
from gangraph.views.families import IndexedTexts, families


def with_sums(expression: Expression) -> Expression:
    """An expression of which each sum has terms that differ in an index alone as one term, as a spec writes them."""
    first, sums = summands(expression)
    if not sums:
        return _changed(expression, with_sums)
    terms = [with_sums(first), *(with_sums(each.right) for each in sums)]
    signs = ["+", *(each.operator for each in sums)]
    found = families([f"{sign} {unparse(term)}" for sign, term in zip(signs, terms, strict=True)])
    made = [(signs[each.places[0]], _total(each, terms, expression.span)) for each in found]
    return reduce(lambda left, right: Binary(right[0], left, right[1], expression.span), made[1:], made[0][1])


def _total(family: IndexedTexts, terms: list[Expression], span: Span) -> Expression:
    """The sum over a family; a term by itself as it is."""
    term = terms[family.places[0]]
    if not family.letter:
        return term
    item = _with_index(term, family.indices[0], family.letter)
    return Call(Name("sum", span), (Comprehension(item, family.letter, _domain(family, span), span),), (), span)


def _domain(family: IndexedTexts, span: Span) -> Expression:
    if family.ends is not None:
        first, last = (Literal(int(end), span) for end in family.ends)
        return Range(first, last, span)
    return Sequence(tuple(Name(index, span) for index in family.indices), span)


def _with_index(expression: Expression, index: str, letter: str) -> Expression:
    """An expression with a letter in each place of one index of its names."""
    made = _changed(expression, lambda inside: _with_index(inside, index, letter))
    match made:
        case Name(id=name):
            return replace(made, id=name.replace(f"[{index}]", f"[{letter}]"))
        case Attribute(name=name):
            return replace(made, name=name.replace(f"[{index}]", f"[{letter}]"))
        case Index(index=inside) if unparse(inside) == index:
            return replace(made, index=Name(letter, inside.span))
    return made


def _changed(expression: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """An expression with each of its direct parts changed."""

    def inside(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(inside, part))
        return change(part) if isinstance(part, Expression) else part

    named = (each.name for each in fields(expression) if each.name != "span")
    return replace(expression, **{name: inside(getattr(expression, name)) for name in named})
