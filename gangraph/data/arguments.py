"""Checks of the arguments of sources: a wrong one is a ValueError that says what was found and expected."""

from collections.abc import Iterable

from gangraph.errors import DataError, nearest

Size = int | tuple[int, int]  # pixels: both sides, or height and width


def require(holds: bool, name: str, found: object, expected: str) -> None:
    """Raise ValueError, with what was found and expected, unless `holds`."""
    if not holds:
        shown = list(found) if isinstance(found, tuple) else found  # as specs write it
        raise ValueError(f"{name}: found {shown!r}, expected {expected}")


def require_count(name: str, found: object, *, least: int = 1) -> None:
    """Raise ValueError unless `found` is a whole number of at least `least`."""
    whole = isinstance(found, int) and not isinstance(found, bool)
    require(whole and found >= least, name, found, f"a whole number of at least {least}")  # type: ignore[operator]


def require_counts(name: str, found: Iterable[object]) -> None:
    """Raise ValueError unless every number in `found` is a whole number of at least 1."""
    for size in found:
        require_count(name, size)


def require_size(name: str, found: object) -> None:
    """Raise ValueError unless `found` is a whole number of at least 1, or [height, width]."""
    both = found if isinstance(found, list | tuple) else (found, found)
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in both)
    require(whole and len(both) == 2, name, found, "a whole number of at least 1, or [height, width]")


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def require_one_of(name: str, found: object, known: Iterable[object]) -> None:
    """Raise ValueError unless `found` is one of `known`; proposes the closest name."""
    known = list(known)
    if found not in known:
        hint = nearest(str(found), map(str, known))
        expected = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}" if known[1:] else repr(known[0])
        require(False, name, found, expected + (f"; {hint}" if hint else ""))


def require_stretch(first: object, count: object) -> None:
    """Raise ValueError unless `first` and `count` can name a stretch of samples; `count` may be None for the rest."""
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
