"""Numbers and conditions over time as printed code has them."""

import ast as python
from collections.abc import Callable, Sequence

from gangraph.language.expression.model import Expression, Literal, Quantity, show, walk
from gangraph.update_schedule import ScheduleKey

_LOOSE = python.BoolOp | python.IfExp | python.Lambda


def now(expression: Expression) -> str:
    """A number over time in Python: as it is written if that means the same, else as a call of `now`."""
    text = show(expression)
    foreign = any(
        isinstance(n, Quantity) or (isinstance(n, Literal) and not isinstance(n.value, int | float))
        for n in walk(expression)
    )
    called = any(isinstance(node, python.Call) for node in python.walk(python.parse(text))) if not foreign else True
    return f'now("{text}")' if called else text


def condition(key: ScheduleKey, value: Expression, named: Callable[[object], str]) -> str:
    """Whether an update runs in this step, as far as one key of its schedule decides that.

    `named` imports a function, and says by which name. What is short for the function is so for a number as it is
    written: one over time need not be whole, and the function says what it means then.
    """
    if key.code == "$value" or (key.code and isinstance(value, Literal)):
        return key.told(key.code, now(value))
    return f"{named(key.function)}(step, {now(value)})"


def all_of(conditions: Sequence[str]) -> str:
    """Conditions joined by `and`; a single one as it is."""
    if len(conditions) == 1:
        return conditions[0]
    return " and ".join(f"({each})" if isinstance(_parsed(each), _LOOSE) else each for each in conditions)


def _parsed(text: str) -> python.expr:
    return python.parse(text, mode="eval").body
