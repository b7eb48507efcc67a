"""Clips of a different number of frames in each batch: which numbers a source allows, and how one is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gangraph.data.arguments import require, require_count
from gangraph.data.random import RandomSource
from gangraph.data.source import Field, Source, Varying

Frames = int | Sequence[int]

MOST = 64  # lengths of one axis: a spec is checked for each of them


def require_frames(name: str, found: object) -> None:
    """Raise ArgumentError unless `found` is a number of frames, or the fewest and the most."""
    if isinstance(found, int):
        require_count(name, found)
        return
    whole = isinstance(found, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in found)
    holds = whole and len(found) == 2 and 1 <= found[0] < found[1]  # type: ignore[arg-type, index]  # a list, as said
    require(holds, name, found, "a number of frames, or the fewest and the most, such as [5, 15]")
    few = found[1] - found[0] < MOST  # type: ignore[index]  # likewise
    require(few, name, found, f"at most {MOST} different numbers, since a spec is checked for each of them")


def most_frames(frames: Frames) -> int:
    """The most frames that a batch can have."""
    return frames if isinstance(frames, int) else frames[1]


def varying(frames: Frames, axis: int) -> Varying | None:
    """What a field says of its frames, which are an axis of its shape."""
    return None if isinstance(frames, int) else Varying(axis, frames[0])


def shorter_lengths(source: Source | RandomSource) -> Sequence[int]:
    """The lengths that the fields of a source can have in a batch, the longest left out; none if they do not differ."""
    fewest = [field.varies.least for field in source.fields.values() if field.varies is not None]
    most = [field.shape[field.varies.axis] for field in source.fields.values() if field.varies is not None]
    return range(min(fewest), max(most)) if fewest else ()


def at_length(fields: Mapping[str, Field], length: int) -> dict[str, Field]:
    """Fields as they are in a batch of one length."""
    return {name: replace(field, shape=_shape(field, length), varies=None) for name, field in fields.items()}


def _shape(field: Field, length: int) -> tuple[int, ...]:
    if field.varies is None:
        return field.shape
    axis, most = field.varies.axis, field.shape[field.varies.axis]
    return (*field.shape[:axis], max(field.varies.least, min(length, most)), *field.shape[axis + 1 :])


def sizes_said(field: Field) -> tuple[str, ...]:
    """The sizes of a field's axes in words: `5 to 15` for one along which batches differ."""
    sizes = [*map(str, field.shape)]
    if field.varies is not None:
        sizes[field.varies.axis] = f"{field.varies.least} to {sizes[field.varies.axis]}"
    return tuple(sizes)


def shortened(batch: Mapping[str, Tensor], fields: Mapping[str, Field], seed: int) -> Mapping[str, Tensor]:
    """A batch of samples of which the first few frames are kept: how many is drawn, all numbers being equally likely.

    Args:
        batch: field name -> [B, *field.shape].
        seed: decides the number.
    """
    return dict(_shortened(batch, fields, seed))


def _shortened(batch: Mapping[str, Tensor], fields: Mapping[str, Field], seed: int) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in batch.items():
        varies = fields[name].varies
        if varies is not None:
            numbers = range(varies.least, fields[name].shape[varies.axis] + 1)
            drawn = torch.randint(len(numbers), (), generator=torch.Generator().manual_seed(seed))
            tensor = tensor.narrow(1 + varies.axis, 0, numbers[int(drawn)]).contiguous()
        yield name, tensor
