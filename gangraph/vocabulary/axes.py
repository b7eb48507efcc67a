"""The first axis of a value is the batch: what ops ask of the others."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gangraph.errors import ArgumentError


def own_axis(x: Tensor, dim: int) -> int:
    """`dim`, if it is not the batch dimension of x. Raises ValueError if it is."""
    if x.dim() and dim % x.dim() == 0:
        raise ValueError(
            f"dimension {dim} of {list(x.shape)} is the batch, and samples do not depend on each other here"
        )
    return dim


def per_sample(weight: Tensor | float, *values: Tensor | float, name: str = "weight") -> Tensor | float:
    """A weight as it meets some values: one number for each sample, [B] or [B, 1, ...], gets as many axes as these.

    What has as many axes as the values lines up with them as it is, and so does a constant. A weight [K] is never one
    number for each of K features, which is written [1, K]: lengths that happen to be equal decide nothing.

    Raises:
        ArgumentError: the weight has one number for each sample, and there are not as many samples.
    """
    tensors = [value for value in values if isinstance(value, Tensor)]
    axes = max((value.dim() for value in tensors), default=0)
    if not isinstance(weight, Tensor) or not weight.dim() or weight.dim() >= axes or weight.shape[1:].numel() != 1:
        return weight
    samples = max(value.shape[0] for value in tensors if value.dim() == axes)
    if len(weight) not in (1, samples):
        ones = [1] * (axes - weight.dim())
        expected = f"one number for each sample, [{samples}], or as many axes as the values, {axes}"
        raise ArgumentError(
            name, list(weight.shape), expected, f"{[*ones, *weight.shape]}, which is the same in all samples"
        )
    return weight.reshape(-1, *[1] * (axes - 1))


def in_type_of(values: object, like: Tensor, name: str) -> Tensor:
    """A tensor of literal numbers, which may be nested, in the type and on the device of another value.

    Raises:
        ArgumentError: a number is no whole one, and `like` holds whole numbers.
    """
    if not like.is_floating_point() and (lost := next(_fractions(values), None)) is not None:
        kind = str(like.dtype).removeprefix("torch.")
        raise ArgumentError(
            name, lost, f"whole numbers, since they get the type {kind}", "a value of real numbers to be like"
        )
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _fractions(values: object) -> Iterator[float]:
    """The numbers in a nested literal that are not whole."""
    if isinstance(values, tuple | list):
        for each in values:
            yield from _fractions(each)
    elif isinstance(values, float) and not values.is_integer():
        yield values


def named_axis(x: Tensor, dim: int) -> int:
    """`dim`, if it is an axis of x; the batch has to be written as 0, for its mixing of samples to be known.

    Raises:
        ValueError: x has no such axis, or it is the batch and is counted from the end.
    """
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"{list(x.shape)} has no dimension {dim}")
    if dim < 0 and dim + x.dim() == 0:
        raise ValueError(f"dimension {dim} of {list(x.shape)} is the batch, which is written dim=0")
    return dim
