"""Ops that choose, order and move: by a mask, by rank, by places, and along an axis.

Axis 0 is the batch. Ops that take `dim` refuse it, apart from those that a batch is ordered or moved by: these mix
samples where `dim` is 0, and refuse the batch when it is counted from the end, since only the value's shape tells.
"""

from typing import Any

import torch
from torch import Tensor

from gangraph.registry import op
from gangraph.vocabulary.axes import in_type_of, named_axis, own_axis, per_sample
from gangraph.vocabulary.intervals import TANH, UNIT, Interval, constant_interval, hull, same


def _along_batch(x: Tensor | None, dim: int = 1, *_: object, **__: object) -> bool:
    return x is not None and dim == 0


def _second_along_batch(x: Tensor | None, _: object, dim: int = 1, *__: object, **___: object) -> bool:
    return _along_batch(x, dim)


# By rank.


@op(mixes_samples=_along_batch, range=same)
def sort(x: Tensor, dim: int = 1, descending: bool = False) -> Tensor:
    """x in order along `dim`; 0 orders the samples, each number apart."""
    return x.sort(dim=named_axis(x, dim), descending=descending, stable=True).values


@op(mixes_samples=_along_batch, places=True, stops_gradient=True)
def argsort(x: Tensor, dim: int = 1, descending: bool = False) -> Tensor:
    """The places, from 0, of the numbers of x in order: int64 of the shape of x.

    `argsort(uniform(), dim=0)` is a random permutation of the batch, for `take`.
    """
    return x.argsort(dim=named_axis(x, dim), descending=descending, stable=True)


@op(mixes_samples=_second_along_batch, range=same)
def topk(x: Tensor, k: int, dim: int = 1, largest: bool = True) -> Tensor:
    """The k largest numbers along `dim` from the largest on, or the smallest; the gradient goes to these alone."""
    size = x.shape[named_axis(x, dim)]
    if not 1 <= k <= size:
        raise ValueError(f"k is {k}, expected 1 to {size}, the size of dimension {dim} of {list(x.shape)}")
    return x.topk(k, dim=dim, largest=largest).values


@op(places=True, stops_gradient=True)
def argmax(scores: Tensor) -> Tensor:
    """The class with the highest score, the first of several: [B, K, ...] to int64 [B, ...]."""
    return scores.argmax(1)


@op(places=True, stops_gradient=True)
def argmin(scores: Tensor) -> Tensor:
    """The class with the lowest score, the first of several: [B, K, ...] to int64 [B, ...]."""
    return scores.argmin(1)


# By mask and by place.


@op(range=lambda _, x, y: hull(x, y), words="$x where $condition and $y elsewhere")
def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where the condition is not 0, else y; a condition of [B] or [B, 1] is one number per sample."""
    chosen = per_sample(condition, x, y, name="condition")
    numbers = not any(isinstance(each, Tensor) and each.dim() for each in (x, y))
    first = float(x) if numbers and not isinstance(x, Tensor) else x  # of two numbers, as of masks, a float
    return torch.where(torch.as_tensor(chosen) != 0, first, y)


@op(range=same, labels={"index": "x"}, words="$x at $index")
def gather(x: Tensor, index: Tensor) -> Tensor:
    """Of each sample what stands at its places, counted from 0: [B, N, ...] at int64 [B, S] gives [B, S, ...].

    Places may be a map, [B, H, W], which gives [B, H, W, ...], or one a sample, [B], which gives [B, ...].
    """
    if x.dim() < 2 or not index.dim() or index.dtype != torch.int64:
        raise ValueError(f"{list(x.shape)} at {_typed(index)}, expected [B, N, ...] at places, int64 [B, ...]")
    if len(index) != len(x):
        raise ValueError(f"the places are those of {len(index)} samples, and there are {len(x)}")
    several = index.reshape(len(index), -1, *[1] * (x.dim() - 2))
    chosen = x.gather(1, several.expand(*several.shape[:2], *x.shape[2:]))
    return chosen.reshape(*index.shape, *x.shape[2:])


@op(mixes_samples=lambda x, _: x is not None, range=same, labels={"index": "x[0]"}, words="the samples $index of $x")
def take(x: Tensor, index: Tensor) -> Tensor:
    """The samples of x at some places in its batch, counted from 0: [B, ...] at int64 [M] gives [M, ...].

    Of a literal tensor [K, ...] it takes rows: a table of what stands for each class.
    """
    if not x.dim() or index.dim() != 1 or index.dtype != torch.int64:
        raise ValueError(f"{list(x.shape)} at {_typed(index)}, expected [B, ...] at places, int64 [M]")
    return x.index_select(0, index)


def _typed(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"


# Along an axis.


@op(mixes_samples=_along_batch, range=same)
def flip(x: Tensor, dim: int = -1) -> Tensor:
    """x in reverse along `dim`; an image [B, C, H, W] is mirrored."""
    return x.flip(named_axis(x, dim))


@op(mixes_samples=_second_along_batch, range=same)
def roll(x: Tensor, shift: int, dim: int = 1) -> Tensor:
    """x moved along `dim` by `shift` places, what leaves at the end coming in at the start.

    `roll(x, 1, dim=0)` gives each sample another one of its batch.
    """
    return x.roll(shift, named_axis(x, dim))


@op(range=hull, latex="(${tensors})")
def stack(*tensors: Tensor, dim: int = 1) -> Tensor:
    """Values of one shape along a new axis: two of [B, C] give [B, 2, C]."""
    if dim % (tensors[0].dim() + 1) == 0:
        raise ValueError(f"dimension {dim} of the result is the batch; cat(..., dim=0) makes one batch of several")
    return torch.stack(tensors, dim)


@op()
def cumsum(x: Tensor, dim: int = 1) -> Tensor:
    """Sums of the numbers up to each one, along `dim`."""
    return x.cumsum(own_axis(x, dim))


@op(range=constant_interval((-float("inf"), 0.0)), latex=r"\log \mathrm{softmax}(${x})")
def log_softmax(x: Tensor, dim: int = 1) -> Tensor:
    """log(softmax(x)) along `dim`, computed stably."""
    return torch.log_softmax(x, own_axis(x, dim))


# Steps, whose gradient is zero: `x + detach(round(x) - x)` lets it pass as if they were not there.


@op(range=constant_interval(TANH), stops_gradient=True, latex=r"\operatorname{sgn}(${x})")
def sign(x: Tensor) -> Tensor:
    """-1 where x is below 0, 1 where it is above, and 0 where it is 0."""
    return x.sign()


def _rounded(x: Interval, *_: Interval) -> Interval:
    low, high = (each if abs(each) == float("inf") else float(round(each)) for each in x)
    return low, high


@op("round", range=_rounded, stops_gradient=True)
def round_(x: Tensor) -> Tensor:
    """The nearest whole number; halves go to the even one."""
    return x.round()


# Literal tensors.


@op(range=constant_interval(UNIT), stops_gradient=True)
def eye(x: Tensor) -> Tensor:
    """1 where the last two indices are equal, else 0, in the shape of x: [..., N, M]."""
    if x.dim() < 2:
        raise ValueError(f"x is {list(x.shape)}, expected at least two dimensions")
    return torch.eye(*x.shape[-2:], dtype=x.dtype, device=x.device).expand(x.shape)


@op(range=same, stops_gradient=True, has_samples=False)
def tensor(values: tuple[Any, ...], like: Tensor) -> Tensor:
    """A literal tensor, without a batch, in the type of `like`: tensor([[1, 0], [0, 1]], like=x)."""
    return in_type_of(values, like, "values")
