"""What things lead to."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def closure(starts: Iterable[T], following: Callable[[T], Iterable[T]]) -> set[T]:
    """Some things, and all that they lead to by way of what is `following` each; every thing is looked at once."""
    found = set(starts)
    waiting = list(found)
    while waiting:
        fresh = [each for each in following(waiting.pop()) if each not in found]
        found.update(fresh)
        waiting += fresh
    return found
