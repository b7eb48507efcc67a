"""The fields of the dataclasses that a spec consists of: which count for its fingerprints, and their expressions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_args

from gangraph.errors import Span, Text
from gangraph.language.expression.model import Expression

Names = Mapping[str, Expression]

ASIDE: Mapping[str, bool] = {"aside": True}  # marks a field that changes nothing of what is trained or measured


def counts(each: Field[Any]) -> bool:
    """Whether a field of a spec is part of its fingerprints."""
    return "aside" not in each.metadata


def expressions(value: object, chosen: Callable[[Field[Any]], bool] = counts) -> Iterator[Expression]:
    """Every expression within a part of a spec, in the fields of dataclasses that are chosen."""
    if isinstance(value, get_args(Expression)):
        yield value
    elif isinstance(value, tuple):
        yield from (found for each in value for found in expressions(each, chosen))
    elif isinstance(value, Mapping):
        yield from (found for each in value.values() for found in expressions(each, chosen))
    elif is_dataclass(value) and not isinstance(value, Span | Text):
        within = (getattr(value, each.name) for each in fields(value) if chosen(each))
        yield from (found for each in within for found in expressions(each, chosen))
