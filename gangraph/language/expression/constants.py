"""Constants: between expressions without names and the Python values that they stand for."""

import re
from collections.abc import Iterable
from typing import NoReturn

from gangraph.errors import Span, nearest, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression

LARGEST_FAMILY = 1024


def literal(value: object, span: Span) -> Expression:
    """A constant as an expression."""
    if isinstance(value, tuple | list):
        return ast.Sequence(tuple(literal(item, span) for item in value), span)
    assert value is None or isinstance(value, (int, float, str, bool))
    return ast.Literal(value, span)


def constant(expression: Expression, known: Iterable[str] = ()) -> object:
    """The Python value of a reduced expression: a number, string, truth value, None or tuple of these.

    A name that is left over may be a misspelt one of the static names `known`.

    Raises:
        SpecError: something in it is not static.
    """
    if isinstance(expression, ast.Literal):
        return expression.value
    if isinstance(expression, ast.Sequence):
        return tuple(constant(item, known) for item in expression.items)
    names = [node for node in ast.walk(expression) if isinstance(node, ast.Name)]
    first = names[0] if isinstance(expression, ast.Name | ast.Unary | ast.Binary) and names else expression
    fix = nearest(first.id, known) if isinstance(first, ast.Name) else ""
    return refuse(
        "GG305",
        "this has to be known before the run starts",
        first.span,
        found=ast.unparse(first),
        expected="a constant: numbers, strings, params and arithmetic over them",
        fix=fix,
    )


def is_constant(expression: Expression) -> bool:
    """Whether `constant` gives a value."""
    if isinstance(expression, ast.Sequence):
        return all(map(is_constant, expression.items))
    return isinstance(expression, ast.Literal)


def members(expression: Expression, known: Iterable[str] = ()) -> tuple[int | str, ...]:
    """The members that a reduced range or list stands for; `known` as in `constant`. Raises SpecError."""
    value = constant(expression, known)
    if isinstance(value, tuple) and len(value) > LARGEST_FAMILY:
        refuse_length(len(value), expression.span)
    if isinstance(value, tuple) and all(isinstance(i, int | str) and not isinstance(i, bool) for i in value):
        return value
    return refuse(
        "GG306",
        "a family runs over whole numbers or names",
        expression.span,
        found=ast.unparse(expression),
        expected="a range such as 1..4, or a list",
    )


def member_name(name: str, index: object, span: Span) -> str:
    """What a member of a family is called, such as `critic[2]`. Raises SpecError if no name can be."""
    if isinstance(index, str) and not re.fullmatch(rf"\w{{1,{ast.LONGEST_NAME}}}", index, re.ASCII):
        expected = f"up to {ast.LONGEST_NAME} letters, digits and _"
    elif isinstance(index, bool) or not isinstance(index, int | str):
        expected = "a whole number, or a string that is a name"
    else:
        return f"{name}[{index}]"
    return refuse("GG410", f"'{name}' can have no such member", span, ast.unparse(literal(index, span)), expected)


def refuse_length(members: int, span: Span) -> NoReturn:
    """Refuse a range that is too long. Raises SpecError."""
    refuse("GG306", "the range is too long", span, f"{members} members", f"at most {LARGEST_FAMILY}")
