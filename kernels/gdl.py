"""Gradient difference loss of Mathieu et al. (2016, section 3.3): the edges of a prediction P against a target Y.

    GDL(P, Y) = mean over vertical pairs   of | |Y[i, j] - Y[i-1, j]| - |P[i, j] - P[i-1, j]| |^alpha
              + mean over horizontal pairs of | |Y[i, j] - Y[i, j-1]| - |P[i, j] - P[i, j-1]| |^alpha
              + weight * mean over elements of |P - Y|^p                                            (if p is given)

Shapes: P and Y [..., H, W], the pairs neighbours in H and W. Plain PyTorch writes and saves about ten tensors of that
size. The forward kernel reads P and Y once from device memory (the row above is still in registers, and the neighbour
on the left in a cache) and writes one number for each tile; the backward kernel reads them once again and writes the
gradients, each pair of rows worked out once.
Order: 1.
"""

from dataclasses import dataclass
from math import inf, prod
from typing import Any

import torch
from torch import Tensor

from . import _gdl_kernels as kernels
from ._kernel import Kernel, Pattern, Step, differentiable_once
from ._triton import Impl, accumulator, statistics_type, triton, use_triton

Tensors = tuple[Tensor | None, ...]


def gdl(
    prediction: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    p: float | None = None,
    weight: float = 1.0,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """How much the edges of a prediction differ from those of its target (Mathieu et al. 2016, section 3.3).

    One number, in float32, and in float64 if an input is. It is the mean of each direction, as the authors' released
    criterion takes it; the sum that the paper writes is, for square images, this times the number of pairs in one
    direction, `prediction[..., 1:, :].numel()`. A mean over nothing (H or W is 1, or the batch is empty) is 0.
    Derivatives are PyTorch's: that of |x| is 0 at 0.

    Args:
        prediction: images [B, C, H, W], clips [B, C, T, H, W], or any [..., H, W].
        target: the same shape; it takes gradients too.
        alpha: the exponent, at least 1.
        p: adds weight * mean |prediction - target|^p, p at least 1.
        weight: the weight of the term with p.
        impl: `auto`, `reference` or `triton`.

    Raises:
        ValueError: other shapes, alpha or p below 1.
        OrderError: the kernel is differentiated twice.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"gdl takes a prediction and a target of one shape, not {_of(prediction)} and {_of(target)}")
    if prediction.dim() < 2:
        raise ValueError(f"gdl takes images [..., H, W], not a tensor of shape {_of(prediction)}")
    for name, exponent in (("alpha", alpha), ("p", p)):
        if exponent is not None and not 1 <= exponent < inf:
            raise ValueError(f"{name} is at least 1 (below, the gradient at 0 is infinite), not {exponent:g}")
    if not use_triton(impl, prediction, target):
        return _gdl_reference(prediction, target, alpha, p, weight)
    if prediction.dim() > 5:
        prediction, target = prediction.flatten(0, -5), target.flatten(0, -5)
    loss: Tensor = _gdl(prediction, target, alpha, p, weight)
    return loss


def _of(x: Tensor) -> str:
    return str([*x.shape])


# -------------------------------------------------------------------------------------------------- reference


def _gdl_reference(prediction: Tensor, target: Tensor, alpha: float, p: float | None, weight: float) -> Tensor:
    dtype = _statistics(prediction, target)
    prediction, target = prediction.to(dtype), target.to(dtype)
    vertical, horizontal = (target.diff(dim=dim).abs() - prediction.diff(dim=dim).abs() for dim in (-2, -1))
    loss = _mean_power(vertical, alpha) + _mean_power(horizontal, alpha)
    return loss if p is None else loss + weight * _mean_power(prediction - target, p)


def _mean_power(x: Tensor, exponent: float) -> Tensor:
    """Mean |x|^exponent, and 0 for an empty x; the second derivative of a square is 2 at 0 as well."""
    powers = x.abs() if exponent == 1 else x.square() if exponent == 2 else x.abs().pow(exponent)
    return powers.sum() / max(powers.numel(), 1)


def _statistics(prediction: Tensor, target: Tensor) -> torch.dtype:
    return torch.promote_types(statistics_type(prediction), statistics_type(target))


# ------------------------------------------------------------------------------------------------------ tiles

# A program walks down the rows of its tile, STEPS rows for each of BLOCK_G groups of columns: a row is loaded once and
# then known as the one above the next. BLOCK_G * BLOCK_R elements are in hand, in bytes of the type they are summed in:
# 8 a thread where there are 128 threads and float32.
IN_HAND = 4096
# The longest part of a row: 8 elements for each thread of a warp, which is one 16-byte load in bfloat16.
ROW = 256
# The most steps (from then on one or two rows more to read are little), and how many programs are needed for that many:
# on some 130 multiprocessors, 8 each.
STEPS, PROGRAMS = 16, 1024


@dataclass(frozen=True, slots=True)
class _Tiling:
    """How tensors [A, B, C, H, R] are cut into tiles, of `steps` rows for each of `block_g` groups of columns."""

    shape: torch.Size
    near: int
    block_g: int
    block_r: int
    steps: int

    @classmethod
    def of(cls, x: Tensor, near: int, dtype: torch.dtype) -> "_Tiling":
        height, row = (triton.next_power_of_2(size) for size in x.shape[-2:])
        block_r = min(row, ROW)
        block_g = min(height, IN_HAND // dtype.itemsize // block_r)
        spare = cls(x.shape, near, block_g, block_r, 1).programs // PROGRAMS
        steps = min(STEPS, height // block_g, triton.next_power_of_2(spare + 1) // 2)
        return cls(x.shape, near, block_g, block_r, max(steps, 1))

    @property
    def programs(self) -> int:
        *planes, height, row = self.shape
        return prod(planes) * triton.cdiv(height, self.block_g * self.steps) * triton.cdiv(row, self.block_r)

    @property
    def scalars(self) -> tuple[int, ...]:
        """Sizes and counts, as the kernels take them; a direction without pairs divides its 0 by 1."""
        *planes, height, row = self.shape
        counts = (height - 1) * row, height * (row - self.near), height * row
        return (*self.shape[1:], self.near, *(max(prod(planes) * count, 1) for count in counts))


def _rows(*tensors: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """Tensors [..., H, W] as views [A, B, C, H, R], and how far apart in R horizontal neighbours are.

    R is W, and they are 1 apart. In channels_last R is W * channels: so a row is still consecutive in memory, and
    neighbours are `channels` apart.
    """
    views = tuple(x[(None,) * (5 - x.dim())] for x in tensors)
    for dim, channels in enumerate(views[0].shape[:3]):
        if channels > 1 and all(x.stride(dim) == 1 and x.stride(4) == channels for x in views):
            return tuple(x.movedim(dim, 4).flatten(3)[None] for x in views), channels
    return views, 1


# ----------------------------------------------------------------------------------------------- registration


@torch.library.custom_op("gangraph::gdl", mutates_args=())
def _gdl(prediction: Tensor, target: Tensor, alpha: float, p: float | None, weight: float) -> Tensor:
    """The loss of tensors of 2 to 5 dimensions."""
    dtype = _statistics(prediction, target)
    if not prediction.numel():
        return prediction.new_zeros((), dtype=dtype)
    rows, near = _rows(prediction, target)
    tiling = _Tiling.of(rows[0], near, dtype)
    loss = prediction.new_empty(tiling.programs, dtype=dtype)
    _launch(kernels.gdl_forward_kernel, tiling, (*rows, loss), rows, accumulator(loss), alpha, p, weight)
    return loss.sum()


@_gdl.register_fake
def _(prediction: Tensor, target: Tensor, alpha: float, p: float | None, weight: float) -> Tensor:
    return prediction.new_empty((), dtype=_statistics(prediction, target))


@torch.library.custom_op("gangraph::gdl_backward", mutates_args=())
def _gdl_backward(
    gradient: Tensor,
    prediction: Tensor,
    target: Tensor,
    alpha: float,
    p: float | None,
    weight: float,
    for_prediction: bool,
    for_target: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of prediction and target; an empty tensor for one that is not needed."""
    d_prediction, d_target = _gradients(prediction, target, for_prediction, for_target)
    if prediction.numel():
        outputs = [d for d in (d_prediction, d_target) if d.numel()]
        (*rows,), near = _rows(prediction, target, *outputs)
        strided = (*rows[:2], rows[2] if for_prediction else None, rows[-1] if for_target else None)
        tiling = _Tiling.of(rows[0], near, gradient.dtype)
        acc = accumulator(gradient)
        _launch(kernels.gdl_backward_kernel, tiling, (gradient, *strided), strided, acc, alpha, p, weight)
    return d_prediction, d_target


@_gdl_backward.register_fake
def _(
    gradient: Tensor, prediction: Tensor, target: Tensor, alpha: float, p: float | None, weight: float, *needed: bool
) -> tuple[Tensor, Tensor]:
    return _gradients(prediction, target, *needed)


def _gradients(prediction: Tensor, target: Tensor, *needed: bool) -> tuple[Tensor, Tensor]:
    """Memory for the gradients, in the layout of their inputs."""
    d_prediction, d_target = (
        torch.empty_like(x) if need else x.new_empty(0) for x, need in zip((prediction, target), needed, strict=True)
    )
    return d_prediction, d_target


def _launch(
    kernel: Any, tiling: _Tiling, pointers: Tensors, strided: Tensors, acc: Any, *options: float | None
) -> None:
    strides = (None if x is None else x.stride() for x in strided)
    constants = dict(zip(("ALPHA", "P", "WEIGHT"), options, strict=True), ACC=acc)
    blocks = {"BLOCK_G": tiling.block_g, "BLOCK_R": tiling.block_r, "STEPS": tiling.steps}
    with torch.cuda.device_of(pointers[0]):
        kernel[tiling.programs,](*pointers, *tiling.scalars, *strides, **constants, **blocks)


def _gdl_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    prediction, target, *ctx.options = inputs
    ctx.save_for_backward(prediction, target)


def _gdl_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    needed = ctx.needs_input_grad[:2]
    gradients = _gdl_backward(gradient, *ctx.saved_tensors, *ctx.options, *needed)
    return *(d if need else None for d, need in zip(gradients, needed, strict=True)), None, None, None


_gdl.register_autograd(_gdl_gradients, setup_context=_gdl_setup)
differentiable_once(_gdl_backward, "gdl")

_NUMBERS = {"target": "target", "alpha": "alpha", "p": "p", "weight": "weight"}
KERNELS = (Kernel(function=gdl, order=1, patterns=(Pattern((Step("gdl", _NUMBERS),)),)),)
