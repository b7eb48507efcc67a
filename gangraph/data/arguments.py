"""Checks of the arguments of sources: a wrong one is a ValueError that says what was found and expected."""

from collections.abc import Iterable

from gangraph.errors import nearest


def require(holds: bool, name: str, found: object, expected: str) -> None:
    """Raise ValueError, with what was found and expected, unless `holds`."""
    if not holds:
        raise ValueError(f"{name}: found {found!r}, expected {expected}")


def require_count(name: str, found: object, *, least: int = 1) -> None:
    """Raise ValueError unless `found` is a whole number of at least `least`."""
    whole = isinstance(found, int) and not isinstance(found, bool)
    require(whole and found >= least, name, found, f"a whole number of at least {least}")  # type: ignore[operator]


def require_counts(name: str, found: Iterable[object]) -> None:
    """Raise ValueError unless every number in `found` is a whole number of at least 1."""
    for size in found:
        require_count(name, size)


def require_one_of(name: str, found: object, known: Iterable[object]) -> None:
    """Raise ValueError unless `found` is one of `known`; proposes the closest name."""
    known = list(known)
    if found not in known:
        hint = nearest(str(found), map(str, known))
        expected = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}" if known[1:] else repr(known[0])
        require(False, name, found, expected + (f"; {hint}" if hint else ""))
