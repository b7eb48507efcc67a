"""The arguments of nodes: other nodes and constants, and tuples of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument that is another node's value."""

    id: str


Argument = Ref | int | float | str | bool | None | tuple["Argument", ...]


def references(arguments: tuple[Argument, ...]) -> Iterator[str]:
    """The nodes that some arguments refer to, in order."""
    for argument in arguments:
        if isinstance(argument, Ref):
            yield argument.id
        elif isinstance(argument, tuple):
            yield from references(argument)


def distinct(argument: object) -> object:
    """An argument as a key. 1, 1.0 and true are equal, and give values of other types: their keys are not."""
    if isinstance(argument, tuple):
        return tuple(map(distinct, argument))
    return type(argument), repr(argument) if isinstance(argument, float) else argument


def with_arguments(argument: Argument, replace: Mapping[str, object]) -> object:
    """An argument with every reference replaced."""
    if isinstance(argument, Ref):
        return replace[argument.id]
    if isinstance(argument, tuple):
        return tuple(with_arguments(item, replace) for item in argument)
    return argument
