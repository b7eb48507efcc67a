"""Numbers and conditions over time as printed code has them."""

import ast as python
from collections.abc import Callable, Sequence

from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import (
    Binary,
    Conditional,
    Expression,
    Literal,
    Name,
    Quantity,
    Unary,
    unparse,
    walk,
)
from gangraph.language.expression.schedule import is_dynamic
from gangraph.update_schedule import ScheduleKey

_LOOSE = python.BoolOp | python.IfExp | python.Lambda
_TIGHT = python.Constant | python.Name | python.Call


def now(expression: Expression) -> str:
    """A number over time in Python: as it is written if that means the same, else as a call of `now`."""
    text = unparse(expression)
    foreign = any(
        isinstance(n, Quantity) or (isinstance(n, Literal) and not isinstance(n.value, int | float))
        for n in walk(expression)
    )
    called = any(isinstance(node, python.Call) for node in python.walk(python.parse(text))) if not foreign else True
    return f'now("{text}")' if called else text


def condition(key: ScheduleKey, value: Expression, named: Callable[[object], str]) -> str:
    """Whether an update runs in this step, as far as one key of its schedule decides that.

    `named` imports a function, and says by which name. A short form of it is right for whole constants alone, since
    the function rounds and limits its number.
    """
    if not key.code or (key.code != "$value" and not _is_whole(value)):
        return f"{named(key.function)}(step, {now(value)})"
    return key.told(key.code, now(value) if key.code == "$value" else _operand(now(value)))


def repetitions_text(times: Expression) -> str:
    """How often an update runs, rounded as the run does unless it is whole at any time."""
    return now(times) if _is_always_whole(times) else f"round({now(times)})"


def all_of(conditions: Sequence[str]) -> str:
    """Conditions joined by `and`; a single one as it is."""
    if len(conditions) == 1:
        return conditions[0]
    return " and ".join(f"({each})" if isinstance(_parsed(each), _LOOSE) else each for each in conditions)


def _is_whole(value: Expression) -> bool:
    """Whether a value is a whole number from 1 on, and the same at any time."""
    return not is_dynamic(value) and isinstance(number := constant(value), int) and number >= 1


def _is_always_whole(value: Expression) -> bool:
    """Whether an expression is whole at any time, as far as that can be read off."""
    match value:
        case Literal(value=int()) | Name(id="step" | "seen"):
            return True
        case Unary(operator="+" | "-", operand=operand):
            return _is_always_whole(operand)
        case Binary(operator="+" | "-" | "*" | "//" | "%", left=left, right=right):
            return _is_always_whole(left) and _is_always_whole(right)
        case Conditional(then=then, otherwise=otherwise) if otherwise is not None:
            return _is_always_whole(then) and _is_always_whole(otherwise)
    return False


def _operand(text: str) -> str:
    """A number as an operand: in parentheses unless it is one word or call."""
    return text if isinstance(_parsed(text), _TIGHT) else f"({text})"


def _parsed(text: str) -> python.expr:
    return python.parse(text, mode="eval").body
