"""Checks of the arguments of sources. A wrong one is an ArgumentError: what was found, what was expected."""

from collections.abc import Collection, Iterable
from math import isfinite
from typing import TypeVar

from gangraph.errors import ArgumentError, DataError, nearest

Size = int | tuple[int, int]  # pixels: both sides, or height and width
Value = TypeVar("Value")


def require(holds: bool, name: str, found: object, expected: str, fix: str = "") -> None:
    """Raise ArgumentError, with what was found and expected, unless `holds`."""
    if not holds:
        raise ArgumentError(name, found, expected, fix)


def require_count(name: str, found: object, *, least: int = 1, most: int | None = None) -> None:
    """Raise ArgumentError unless `found` is a whole number from `least` to `most`, both included."""
    whole = isinstance(found, int) and not isinstance(found, bool)
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    holds = whole and least <= found and (most is None or found <= most)  # type: ignore[operator]  # a number where it is compared
    require(holds, name, found, f"a whole number {bounds}")


def require_positive(name: str, found: object) -> None:
    """Raise ArgumentError unless `found` is a finite number above 0."""
    number = isinstance(found, int | float) and not isinstance(found, bool)
    holds = number and isfinite(found) and found > 0  # type: ignore[operator, arg-type]  # likewise
    require(holds, name, found, "a finite number above 0")


def require_counts(name: str, found: Iterable[object]) -> None:
    """Raise ArgumentError unless every number in `found` is a whole number of at least 1."""
    for size in found:
        require_count(name, size)


def require_size(name: str, found: object) -> None:
    """Raise ArgumentError unless `found` is a whole number of at least 1, or [height, width]."""
    both = found if isinstance(found, list | tuple) else (found, found)
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in both)
    require(whole and len(both) == 2, name, found, "a whole number of at least 1, or [height, width]")


def height_and_width(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def require_one_of(name: str, found: Value, known: Iterable[object]) -> Value:
    """`found`, which is one of `known`. Raises ArgumentError, which proposes the closest name, if it is not."""
    known = list(known)
    if not any(found == each for each in known):
        expected = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}" if known[1:] else repr(known[0])
        require(False, name, found, expected, nearest(str(found), map(str, known)))
    return found


def require_some_of(name: str, found: object, known: Collection[str]) -> tuple[str, ...]:
    """`found` as a tuple of distinct known names; a lone string is a tuple of one. Raises ArgumentError."""
    names = (found,) if isinstance(found, str) else found
    if not isinstance(names, list | tuple):
        raise ArgumentError(name, found, f"names out of {', '.join(known)}")
    chosen = tuple(require_one_of(name, each, known) for each in names)
    require(len(set(chosen)) == len(chosen), name, chosen, "each name once")
    return chosen


def require_stretch(first: object, count: object) -> None:
    """Raise ArgumentError unless `first` and `count` name a stretch of samples; `count` may be None for the rest."""
    require_count("first", first, least=0)
    if count is not None:
        require_count("count", count)


def stretch(name: str, size: int, first: int, count: int | None) -> range:
    """The indices of a stretch of a set of `size` samples. Raises DataError if it has not so many."""
    stop = size if count is None else first + count
    if not first < stop <= size:
        asked = f"first={first}" + (f", count={count}" if count is not None else "")
        raise DataError(f"'{name}' holds {size} samples, too few for {asked}")
    return range(first, stop)
