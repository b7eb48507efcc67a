"""Checks of the arguments of `world` and `plane`: a message says what was found and expected, and the nearest name."""

from collections.abc import Collection
from math import isfinite

from gangraph.errors import nearest


def one_of(argument: str, found: object, known: Collection[str]) -> str:
    """`found`, which must be one of the known names.

    Raises:
        ValueError: it is not; the message lists the names and proposes the closest.
    """
    if isinstance(found, str) and found in known:
        return found
    guess = nearest(found, known) if isinstance(found, str) else ""
    raise refusal(argument, found, f"one of {', '.join(known)}", guess)


def some_of(argument: str, found: object, known: Collection[str]) -> tuple[str, ...]:
    """`found` as a tuple of distinct known names; a lone string is a tuple of one.

    Raises:
        ValueError: something in it is not a known name, or occurs twice.
    """
    names = (found,) if isinstance(found, str) else found
    if not isinstance(names, list | tuple):
        raise refusal(argument, found, f"names out of {', '.join(known)}")
    chosen = tuple(one_of(argument, name, known) for name in names)
    if len(set(chosen)) < len(chosen):
        raise refusal(argument, list(chosen), "each name once")
    return chosen


def whole(argument: str, found: object, low: int, high: int | None = None) -> int:
    """`found`, which must be an integer from `low` to `high`, both included.

    Raises:
        ValueError: it is not.
    """
    if isinstance(found, int) and not isinstance(found, bool) and low <= found <= (found if high is None else high):
        return found
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise refusal(argument, found, f"a whole number {bounds}")


def positive(argument: str, found: object) -> float:
    """`found`, which must be a finite number above zero.

    Raises:
        ValueError: it is not.
    """
    if isinstance(found, int | float) and not isinstance(found, bool) and isfinite(found) and found > 0:
        return float(found)
    raise refusal(argument, found, "a finite number above 0")


def refusal(argument: str, found: object, expected: str, fix: str = "") -> ValueError:
    """The error for one argument, to be raised by the caller."""
    return ValueError(f"{argument}: found {found!r}, expected {expected}" + (f"; {fix}" if fix else ""))
