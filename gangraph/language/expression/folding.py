"""Folding: operations and calls whose operands are known before a run become their values."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

from gangraph.errors import Span, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import (
    LARGEST_FAMILY,
    constant,
    is_constant,
    literal,
    members,
    refuse_length,
)
from gangraph.language.expression.model import Expression
from gangraph.language.expression.numbers import ARITHMETIC, FUNCTIONS, NUMBERS_ONLY, exact, is_number, is_whole

_LARGEST_NUMBER = 1e30


def fold_call(name: str, arguments: tuple[Expression, ...], span: Span) -> Expression | None:
    """The value of a function of numbers such as `log2(8)`; None where it is none, or an argument is not known.

    Raises:
        SpecError: the function has no value there, or one that is too large.
    """
    if name not in FUNCTIONS or not arguments or not all(map(is_constant, arguments)):
        return None
    values = [constant(argument) for argument in arguments]
    return _computed(FUNCTIONS[name], values, f"{name}({', '.join(map(str, values))})", span)


def fold_unary(node: ast.Unary, operand: Expression) -> Expression:
    """The operation on its reduced operand, or its value where that is known."""
    if isinstance(operand, ast.Literal) and node.operator == "not":
        return ast.Literal(not operand.value, node.span)
    if isinstance(operand, ast.Literal | ast.Quantity) and is_number(operand.value):
        sign = -1 if node.operator == "-" else 1
        return replace(operand, value=sign * operand.value, span=node.span)  # type: ignore[operator, arg-type]  # a number
    return replace(node, operand=operand)


def fold_binary(node: ast.Binary, left: Expression, right: Expression) -> Expression:
    """The operation between its reduced sides, or its value where both are known.

    Raises:
        SpecError: arithmetic with what is no number, or without a value, or with one that is too large.
    """
    if node.operator == "in" and is_constant(left) and is_constant(right):
        return ast.Literal(constant(left) in members(right), node.span)
    length = _length(node.operator, left, right)
    if length is not None:
        return replace(length, span=node.span)
    if node.operator in ("==", "!=") and (left, right) != (node.left, node.right) and _are_names(left, right):
        return ast.Literal((left == right) == (node.operator == "=="), node.span)
    if isinstance(left, ast.Literal) and isinstance(right, ast.Literal) and node.operator != "in":
        if node.operator in NUMBERS_ONLY and not (is_number(left.value) and is_number(right.value)):
            found = f"{ast.unparse(left)} {node.operator} {ast.unparse(right)}"
            refuse("GG301", "arithmetic needs numbers", node.span, found=found)
        text = f"{left.value} {node.operator} {right.value}"
        return _computed(ARITHMETIC[node.operator], [left.value, right.value], text, node.span)
    return replace(node, left=left, right=right)


def fold_range(first: Expression, last: Expression, span: Span) -> ast.Sequence:
    """`1..3` as `[1, 2, 3]`, and `3..1` backwards.

    Raises:
        SpecError: an end is no whole number, or there are more than `LARGEST_FAMILY` between them.
    """
    start, stop = constant(first), constant(last)
    if not (is_whole(start) and is_whole(stop)):
        refuse("GG306", "a range runs between whole numbers", span, found=f"{start}..{stop}")
    begin, end = int(start), int(stop)  # type: ignore[call-overload]  # whole numbers, as was verified
    if abs(end - begin) >= LARGEST_FAMILY:
        refuse_length(abs(end - begin) + 1, span)
    step = 1 if end >= begin else -1
    return ast.Sequence(tuple(ast.Literal(i, span) for i in range(begin, end + step, step)), span)


def total_of(terms: tuple[Expression, ...], span: Span) -> Expression:
    """The sum from left to right."""
    return reduce(lambda left, right: ast.Binary("+", left, right, span), terms)


def _computed(function: Callable[..., object], values: list[object], text: str, span: Span) -> Expression:
    try:
        value = function(*values)
    except (ArithmeticError, ValueError, TypeError) as error:
        refuse("GG301", f"{text} has no value", span, found=str(error))
    if is_number(value) and not abs(value) < _LARGEST_NUMBER:  # type: ignore[arg-type]  # a number
        refuse("GG301", f"{text} is too large", span, expected="a number below 1e30")
    return literal(value, span)


def _are_names(*sides: Expression) -> bool:
    """Whether these are names, as of layers, or `none` in place of one."""
    return all(isinstance(side, ast.Name) or side == ast.Literal(None, side.span) for side in sides)


def _length(operator: str, left: Expression, right: Expression) -> ast.Quantity | None:
    """A number of lengths, or a part of one: `3 * 5 steps`, `r steps`, `10 epochs / 4`."""
    match operator, left, right:
        case ("*", ast.Literal(value=int() | float() as number), ast.Quantity() as length):
            return replace(length, value=length.value * number)
        case ("*", ast.Quantity() as length, ast.Literal(value=int() | float() as number)):
            return replace(length, value=length.value * number)
        case ("/", ast.Quantity() as length, ast.Literal(value=int() | float() as number)) if number:
            return replace(length, value=exact(length.value / number))
    return None
