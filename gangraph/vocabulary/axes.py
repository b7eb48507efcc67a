"""The first axis of a value is the batch: what ops ask of the others."""

from torch import Tensor


def own_axis(x: Tensor, dim: int) -> int:
    """`dim`, if it is not the batch dimension of x. Raises ValueError if it is."""
    if x.dim() and dim % x.dim() == 0:
        raise ValueError(
            f"dimension {dim} of {list(x.shape)} is the batch, and samples do not depend on each other here"
        )
    return dim


def per_sample(weight: Tensor | float, like: Tensor) -> Tensor | float:
    """A tensor of one number per sample with as many dimensions as `like`; a constant stays one."""
    if not isinstance(weight, Tensor):
        return weight
    return weight.reshape(-1, *[1] * (like.dim() - 1)) if weight.dim() and weight.numel() == like.shape[0] else weight


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
