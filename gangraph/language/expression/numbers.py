"""Arithmetic on numbers that are known before a run: the operators and functions, exact where they can be."""

import math
from collections.abc import Callable

ARITHMETIC: dict[str, Callable[..., object]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: exact(a / b),
    "//": lambda a, b: a // b, "%": lambda a, b: a % b, "**": lambda a, b: power(a, b),
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b,
}  # fmt: skip
NUMBERS_ONLY = {"+", "-", "*", "/", "//", "%", "**"}
FUNCTIONS: dict[str, Callable[..., object]] = {
    "min": min, "max": max, "abs": abs, "round": round, "floor": math.floor, "ceil": math.ceil,
    "sqrt": math.sqrt, "log": math.log, "exp": math.exp, "log2": lambda x: exact(math.log2(x)),
    "sin": math.sin, "cos": math.cos,
    "height": lambda size: _side(size, 0), "width": lambda size: _side(size, 1),
}  # fmt: skip


def _side(size: object, index: int) -> object:
    """One side of a size that is one number for both, or [height, width]."""
    if is_number(size):
        return size
    if not isinstance(size, tuple) or len(size) != 2:
        raise ValueError("a size is one number for both sides, or [height, width]")
    return size[index]


def is_number(value: object) -> bool:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether a value is a number without a fraction, such as 2 or 2.0."""
    return is_number(value) and float(value).is_integer()  # type: ignore[arg-type]  # a number by then


def exact(value: float) -> int | float:
    """A quotient that is a whole number is a whole number: sizes stay integers."""
    return int(value) if value.is_integer() else value


def power(base: int | float, exponent: int | float) -> int | float:
    """base ** exponent. Raises ValueError where it is no real number, or larger than any use."""
    if abs(exponent) > 256 or abs(base) > 1e9:
        raise ValueError("base or exponent too large")
    result: int | float | complex = base**exponent
    if isinstance(result, complex):
        raise ValueError("a negative number has no such power")
    return result
