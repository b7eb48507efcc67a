"""Batches that are given to a step in place of drawn ones; they are checked before anything changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from gangraph.data.lengths import at_length, sizes_said
from gangraph.data.random import RandomSource
from gangraph.data.source import Field, Source
from gangraph.errors import UsageError, nearest

Batch = Tensor | Mapping[str, Tensor]
# Batches for sources that are not to be drawn; a list of them for a source that a step draws several times.
Given = Mapping[str, Batch | Sequence[Batch]]
Batches = Mapping[str, Sequence[Mapping[str, Tensor]]]  # by source: for each draw, field to tensor


def batches_of(
    given: Given,
    sources: Mapping[str, Source | RandomSource],
    draws: Mapping[str, int],
    others: Iterable[str] = (),
) -> dict[str, list[dict[str, Tensor]]]:
    """What was given, as one batch for each draw of each source.

    Args:
        given: a batch by the name of its source, or a list of batches.
        sources: the sources of the program.
        draws: how often this step draws each source.
        others: what else can be given, for a message.

    Raises:
        UsageError: a name is no source; there are not as many batches as draws; a batch lacks a field, or has
            another shape, type or number of samples than the source declares.
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"batches are given by the names of their sources: a mapping, not {kind_text(given)}")
    unknown = next((name for name in given if name not in sources), None)
    if unknown is not None:
        known = [*others]
        more = f"; within the step there are {', '.join(known)}" if known else ""
        near = nearest(unknown, [*sources, *known])
        told = f"there is no source '{unknown}' to give; the sources are {', '.join(sources)}{more}"
        raise UsageError(told + (f": {near}" if near else ""))
    found = {name: [*_each(name, value, sources[name], draws.get(name, 0))] for name, value in given.items()}
    counts = {(name, len(next(iter(batch.values())))) for name, batches in found.items() for batch in batches}
    if len({count for _, count in counts}) > 1:
        said = " and ".join(f"{count} samples of '{name}'" for name, count in sorted(counts))
        raise UsageError(f"the batches of one step have one size; {said} were given")
    return found


def _each(name: str, value: object, source: Source | RandomSource, draws: int) -> Iterator[dict[str, Tensor]]:
    batches = value if isinstance(value, list | tuple) else [value]
    if len(batches) != draws:
        one = "one batch was" if len(batches) == 1 else f"{len(batches)} batches were"
        what = {0: "nothing of it", 1: "one batch"}.get(draws, f"a list of {draws} batches")
        often = {0: "not drawn", 1: "drawn once"}.get(draws, f"drawn {draws} times")
        raise UsageError(f"source '{name}' is {often} in this step, and {one} given: give {what}")
    for index, batch in enumerate(batches):
        called = f"'{name}'" if len(batches) == 1 else f"batch {index + 1} of '{name}'"
        yield _checked(called, batch, source.fields)


def _checked(called: str, batch: object, fields: Mapping[str, Field]) -> dict[str, Tensor]:
    """One batch as tensors by field, each as its field is declared. Raises UsageError."""
    if not isinstance(batch, Mapping):
        if len(fields) > 1:
            raise UsageError(
                f"{called} has the fields {', '.join(fields)}: give a mapping of them, not {kind_text(batch)}"
            )
        batch = {next(iter(fields)): batch}
    if set(batch) != set(fields):
        raise UsageError(f"{called} has the fields {', '.join(fields)}, but {_fields(batch)} given")
    counts = set()
    for field, tensor in batch.items():
        what = f"{called}.{field}" if len(fields) > 1 else called
        if not isinstance(tensor, Tensor):
            raise UsageError(f"{what} is a tensor, not {kind_text(tensor)}")
        _require(what, tensor, fields[field])
        counts.add(len(tensor))
    if len(counts) > 1:
        raise UsageError(f"the fields of {called} have different numbers of samples: {_listed(counts)}")
    return dict(batch)


def _require(what: str, tensor: Tensor, field: Field) -> None:
    """A tensor has the shape, the kind of numbers and, where they are classes, the range of its field."""
    wanted = f"[B{''.join(f', {size}' for size in sizes_said(field))}]"
    if not _fits(tuple(tensor.shape[1:]), field) or not tensor.dim() or not len(tensor):
        raise UsageError(f"{what} is {wanted} with at least one sample; {list(tensor.shape)} was given")
    if tensor.dtype.is_floating_point != field.dtype.is_floating_point or tensor.dtype.is_complex:
        kinds = ("whole numbers, torch.int64", "floating-point numbers")
        wanted = kinds[field.dtype.is_floating_point]
        raise UsageError(f"{what} holds {wanted}; {tensor.dtype} was given")
    if not field.dtype.is_floating_point and field.high < float("inf"):
        low, high = (int(number) for number in torch.aminmax(tensor))
        if low < field.low or high > field.high:
            raise UsageError(f"{what} is from {field.low:g} to {field.high:g}; {low} to {high} was given")


def _fits(shape: tuple[int, ...], field: Field) -> bool:
    """Whether samples of this shape can be those of a field."""
    if field.varies is None or len(shape) != len(field.shape):
        return shape == field.shape
    return shape == at_length({"": field}, shape[field.varies.axis])[""].shape


def _fields(batch: Mapping[str, object]) -> str:
    return f"{', '.join(map(str, batch))} were" if batch else "nothing was"


def _listed(counts: set[int]) -> str:
    return " and ".join(map(str, sorted(counts)))


def kind_text(value: object) -> str:
    """What something that was given is, in words."""
    return f"a {type(value).__name__}" if value is not None else "nothing"
