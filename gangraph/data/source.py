"""What a data source is: fields known before anything is read, items that are pure functions of their index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Field:
    """One tensor of a sample: its shape without the batch, its type, and the values it can take."""

    shape: tuple[int, ...]
    low: float = float("-inf")
    high: float = float("inf")
    dtype: torch.dtype = torch.float32


class Dataset(Protocol):
    """An opened source: random access to samples."""

    def __len__(self) -> int:
        """Number of samples; an epoch is that many draws."""
        ...

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The samples at `indices`, stacked: field name -> [len(indices), *field.shape].

        `generator` drives augmentation (crop, flip) and nothing else may be random: the same indices and
        the same generator state give the same tensors.

        Raises:
            DataError: a file is missing or corrupt; the message names it.
        """
        ...


class Source(Protocol):
    """A data source as a spec declares it. Constructing one touches no disk; wrong arguments raise ValueError."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """The tensors of one sample. A source with one field is used as that tensor, others as `name.field`."""
        ...

    def open(self) -> Dataset:
        """Find the files.

        Raises:
            DataError: a folder or file is missing; the message names it and what was expected there.
        """
        ...
