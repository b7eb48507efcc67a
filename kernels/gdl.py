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

from ._kernel import Kernel, Pattern, Step, differentiable_once
from ._triton import Impl, accumulator, statistics_type, tl, triton, tuned, use_triton

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


# ---------------------------------------------------------------------------------------------------- kernels

# A program walks down the rows of its tile, STEPS rows for each of BLOCK_G groups of columns: a row is loaded once and
# then known as the one above the next. BLOCK_G * BLOCK_R elements are in hand, in bytes of the type they are summed in:
# 8 a thread where there are 128 threads and float32.
IN_HAND = 4096
# The longest part of a row: 8 elements for each thread of a warp, which is one 16-byte load in bfloat16.
ROW = 256
# The most steps (from then on one or two rows more to read are little), and how many programs are needed for that many:
# on some 130 multiprocessors, 8 each.
STEPS, PROGRAMS = 16, 1024

CONFIGS = [
    triton.Config({}, num_warps=4),  # 16-byte loads, also of 16 bits
    triton.Config({}, num_warps=8),  # more programs on a multiprocessor that holds few
    triton.Config({}, num_warps=2),  # small planes
]
CONFIGS_BACKWARD = [
    triton.Config({}, num_warps=8),  # about 75 registers a thread in float32
    triton.Config({}, num_warps=4),  # 16-byte loads, also of 16 bits; about 150 registers
]


@triton.jit
def _tile(B, C, H, R, BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr):
    """Where the first rows of a program's tile are: (a, b, c, row, column)."""
    i_tile = tl.program_id(0)
    blocks_r, blocks_h = tl.cdiv(R, BLOCK_R), tl.cdiv(H, BLOCK_G * STEPS)
    i_r, i_tile = i_tile % blocks_r, i_tile // blocks_r
    i_h, i_plane = i_tile % blocks_h, i_tile // blocks_h
    o_h = (i_h * BLOCK_G + tl.arange(0, BLOCK_G)) * STEPS
    o_r = i_r * BLOCK_R + tl.arange(0, BLOCK_R)
    return i_plane // C // B, i_plane // C % B, i_plane % C, o_h[:, None], o_r[None, :]


@triton.jit
def _at(p_x, s_x, at):
    """The addresses of a tile's first rows; int64, since a stride times an index may pass 2^31."""
    i_a, i_b, i_c, o_h, o_r = at
    p_plane = p_x + i_a.to(tl.int64) * s_x[0] + i_b.to(tl.int64) * s_x[1] + i_c.to(tl.int64) * s_x[2]
    return p_plane + o_h.to(tl.int64) * s_x[3] + o_r.to(tl.int64) * s_x[4]


@triton.jit
def _load(p_p, p_y, mask, ACC: tl.constexpr):
    return tl.load(p_p, mask=mask, other=0).to(ACC), tl.load(p_y, mask=mask, other=0).to(ACC)


@triton.jit
def _power(x, EXPONENT: tl.constexpr):
    """x^EXPONENT for x >= 0."""
    if EXPONENT == 1:
        return x
    elif EXPONENT == 2:
        return x * x
    else:
        return tl.where(x == 0, x, tl.exp2(EXPONENT * tl.log2(tl.where(x == 0, 1, x))))


@triton.jit
def _sign(x):
    """-1, 0 or 1; 0 for NaN, as torch.sign."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def _slope(x, EXPONENT: tl.constexpr):
    """The derivative of |x|^EXPONENT."""
    if EXPONENT == 1:
        return _sign(x)
    elif EXPONENT == 2:
        return 2 * x
    else:
        return EXPONENT * _power(tl.abs(x), EXPONENT - 1) * _sign(x)


@triton.jit
def _pair(p, y, near_p, near_y, mask, ALPHA: tl.constexpr):
    """What elements and their neighbours add to the loss; 0 where there is no such pair."""
    excess = tl.abs(y - near_y) - tl.abs(p - near_p)
    return tl.where(mask, _power(tl.abs(excess), ALPHA), 0)


@triton.jit
def _pair_slopes(p, y, near_p, near_y, mask, ALPHA: tl.constexpr):
    """The derivatives of `_pair` by p and y; by near_p and near_y they are the same with the other sign."""
    slope = tl.where(mask, _slope(tl.abs(y - near_y) - tl.abs(p - near_p), ALPHA), 0)
    return slope * _sign(near_p - p), slope * _sign(y - near_y)


@tuned(CONFIGS, key=["BLOCK_G", "BLOCK_R", "STEPS"])
@triton.jit
def _gdl_forward_kernel(
    p_p, p_y,  # prediction and target [A, B, C, H, R]
    p_loss,  # [programs]: what each tile adds to the loss
    B, C, H, R, NEAR,  # NEAR: how far apart in R horizontal neighbours are
    n_vertical, n_horizontal, n_all,  # numbers of pairs, and of elements
    s_p, s_y,  # five strides each
    ALPHA: tl.constexpr, P: tl.constexpr, WEIGHT: tl.constexpr, ACC: tl.constexpr,
    BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Each element, paired with the one above and the one on its left."""
    at = _tile(B, C, H, R, BLOCK_G, BLOCK_R, STEPS)
    p_p, p_y = _at(p_p, s_p, at), _at(p_y, s_y, at)
    o_h, o_r = at[3], at[4]
    m_above = (o_h >= 1) & (o_h < H) & (o_r < R)
    above_p, above_y = _load(p_p - s_p[3], p_y - s_y[3], m_above, ACC)
    b_vertical = tl.zeros([BLOCK_G, BLOCK_R], ACC)
    b_horizontal = tl.zeros([BLOCK_G, BLOCK_R], ACC)
    b_all = tl.zeros([BLOCK_G, BLOCK_R], ACC)
    for step in range(STEPS):
        m_here = (o_h + step < H) & (o_r < R)
        m_left = m_here & (o_r >= NEAR)
        b_p, b_y = _load(p_p, p_y, m_here, ACC)
        left_p, left_y = _load(p_p - NEAR * s_p[4], p_y - NEAR * s_y[4], m_left, ACC)
        b_vertical += _pair(b_p, b_y, above_p, above_y, m_here & (o_h + step >= 1), ALPHA)
        b_horizontal += _pair(b_p, b_y, left_p, left_y, m_left, ALPHA)
        if P is not None:
            b_all += _power(tl.abs(b_p - b_y), P)
        above_p, above_y = b_p, b_y
        p_p, p_y = p_p + s_p[3], p_y + s_y[3]
    loss = tl.sum(b_vertical) / n_vertical + tl.sum(b_horizontal) / n_horizontal
    if P is not None:
        loss += WEIGHT * (tl.sum(b_all) / n_all)
    tl.store(p_loss + tl.program_id(0), loss)


@tuned(CONFIGS_BACKWARD, key=["BLOCK_G", "BLOCK_R", "STEPS"])
@triton.jit
def _gdl_backward_kernel(
    p_g,  # []: the gradient of the loss
    p_p, p_y,  # [A, B, C, H, R]
    p_dp, p_dy,  # [A, B, C, H, R], or None where no gradient is needed
    B, C, H, R, NEAR,
    n_vertical, n_horizontal, n_all,
    s_p, s_y, s_dp, s_dy,
    ALPHA: tl.constexpr, P: tl.constexpr, WEIGHT: tl.constexpr, ACC: tl.constexpr,
    BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Each element, paired with its four neighbours."""
    at = _tile(B, C, H, R, BLOCK_G, BLOCK_R, STEPS)
    p_p, p_y = _at(p_p, s_p, at), _at(p_y, s_y, at)
    if p_dp is not None:
        p_dp = _at(p_dp, s_dp, at)
    if p_dy is not None:
        p_dy = _at(p_dy, s_dy, at)
    o_h, o_r = at[3], at[4]
    g = tl.load(p_g)
    vertical, horizontal = g / n_vertical, g / n_horizontal
    m_here = (o_h < H) & (o_r < R)
    m_above = m_here & (o_h >= 1)
    b_p, b_y = _load(p_p, p_y, m_here, ACC)
    above_p, above_y = _load(p_p - s_p[3], p_y - s_y[3], m_above, ACC)
    above_p, above_y = _pair_slopes(b_p, b_y, above_p, above_y, m_above, ALPHA)
    for step in range(STEPS):
        m_here = (o_h + step < H) & (o_r < R)
        m_below = (o_h + step < H - 1) & (o_r < R)
        m_left, m_right = m_here & (o_r >= NEAR), m_here & (o_r < R - NEAR)
        below_p, below_y = _load(p_p + s_p[3], p_y + s_y[3], m_below, ACC)
        left_p, left_y = _load(p_p - NEAR * s_p[4], p_y - NEAR * s_y[4], m_left, ACC)
        right_p, right_y = _load(p_p + NEAR * s_p[4], p_y + NEAR * s_y[4], m_right, ACC)
        left_p, left_y = _pair_slopes(b_p, b_y, left_p, left_y, m_left, ALPHA)
        right_p, right_y = _pair_slopes(b_p, b_y, right_p, right_y, m_right, ALPHA)
        next_p, next_y = _pair_slopes(below_p, below_y, b_p, b_y, m_below, ALPHA)
        b_dp = (above_p - next_p) * vertical + (left_p + right_p) * horizontal
        b_dy = (above_y - next_y) * vertical + (left_y + right_y) * horizontal
        if P is not None:
            slope = _slope(b_p - b_y, P) * (WEIGHT * (g / n_all))
            b_dp += slope
            b_dy -= slope
        if p_dp is not None:
            tl.store(p_dp, b_dp, mask=m_here)
            p_dp += s_dp[3]
        if p_dy is not None:
            tl.store(p_dy, b_dy, mask=m_here)
            p_dy += s_dy[3]
        b_p, b_y, above_p, above_y = below_p, below_y, next_p, next_y
        p_p, p_y = p_p + s_p[3], p_y + s_y[3]


# ----------------------------------------------------------------------------------------------- registration


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


@torch.library.custom_op("gangraph::gdl", mutates_args=())
def _gdl(prediction: Tensor, target: Tensor, alpha: float, p: float | None, weight: float) -> Tensor:
    """The loss of tensors of 2 to 5 dimensions."""
    dtype = _statistics(prediction, target)
    if not prediction.numel():
        return prediction.new_zeros((), dtype=dtype)
    rows, near = _rows(prediction, target)
    tiling = _Tiling.of(rows[0], near, dtype)
    loss = prediction.new_empty(tiling.programs, dtype=dtype)
    _launch(_gdl_forward_kernel, tiling, (*rows, loss), rows, accumulator(loss), alpha, p, weight)
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
        _launch(_gdl_backward_kernel, tiling, (gradient, *strided), strided, acc, alpha, p, weight)
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
