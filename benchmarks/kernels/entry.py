"""What is checked and timed of a kernel: one `Entry` in the file that bears the kernel's name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

import torch
from torch import Tensor

from gangraph.kernels import Kernel

Layout = Literal["contiguous", "channels_last", "strided"]


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what is special about it, the shape of the main input, and the kernel's options.

    `strided` is every second element of a larger tensor, along the batch and the last dimension.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    layout: Layout = "contiguous"
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A kernel with its cases.

    Args:
        kernel: what `gangraph.kernels.catalogue` lists.
        inputs: tensors by parameter for a row: float64, contiguous, on the CPU. All are differentiated; None is passed
            as it is.
        rows: cases for correctness, small enough for the Triton interpreter.
        timed: cases from real specs, each timed in float32 and bfloat16.
        traffic: the least number of bytes that a row has to move, forward or (True) forward and backward.
        data: inputs that are data in training: where the kernel is timed, no gradient of them is taken.
    """

    kernel: Kernel
    inputs: Callable[[Row, torch.Generator], dict[str, Tensor | None]]
    rows: tuple[Row, ...]
    timed: tuple[Row, ...]
    traffic: Callable[[Row, bool], int]
    data: frozenset[str] = frozenset()


def entries() -> Iterator[Entry]:
    """The entry of every kernel, by name."""
    for module in sorted(iter_modules(import_module("gangraph.benchmarks").__path__), key=lambda each: each.name):
        yield from getattr(import_module(f"gangraph.benchmarks.{module.name}"), "ENTRIES", ())
