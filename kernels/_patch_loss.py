"""The Triton kernels and the operators of `patch_loss` in `patchgan.py`, which says what they compute.

Names: `p_` pointer, `b_` block, `o_` offsets, `i_` index of a program, capitals for constants.
"""

from typing import Any

import torch
from torch import Tensor

from ._kernel import differentiable_once
from ._triton import accumulator, statistics_type, tl, triton, tuned

# A program takes one block of a map: as many scores as leave some 256 programs for each map (two for each
# multiprocessor of an H100), within these limits. Below, the launch takes longer than the work; above, a thread has
# no more registers for loads in flight.
SMALLEST_BLOCK, LARGEST_BLOCK, PROGRAMS = 1024, 8192, 256
BLOCKS = [
    triton.Config({}, num_warps=8),  # 32 scores a thread in the largest block, four loads of 16 bytes in bfloat16
    triton.Config({}, num_warps=4),  # 8 scores a thread in the smallest, one load of 16 bytes in bfloat16
    triton.Config({}, num_warps=16),  # the largest blocks in float32, four loads of 16 bytes a thread
]


@triton.jit
def _offsets(i_block, BLOCK: tl.constexpr):
    """Where the elements of a block are: [BLOCK], int64."""
    return i_block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def _log1p(b_x):
    """log(1 + x) for x in [0, 1], exact for small x: the part that 1 + x rounds away is added afterwards."""
    b_sum = 1 + b_x
    return tl.log(b_sum) + (b_x - (b_sum - 1))


@triton.jit
def _loss_and_slope(b_s, LABEL: tl.constexpr, SIGN: tl.constexpr, LOSS: tl.constexpr):
    """f(s) and f'(s), without differences of nearly equal numbers, and without a maximum, which would hide NaN."""
    if LOSS == "logistic":
        b_small = tl.exp(-tl.abs(b_s))
        b_far = 1 / (1 + b_small)  # sigmoid(|s|)
        b_near = b_small * b_far  # sigmoid(-|s|)
        b_loss = tl.where(b_s < 0, LABEL * -b_s, (1 - LABEL) * b_s) + _log1p(b_small)
        b_slope = tl.where(b_s < 0, (1 - LABEL) * b_near - LABEL * b_far, (1 - LABEL) * b_far - LABEL * b_near)
    elif LOSS == "least_squares":
        b_slope = b_s - LABEL
        b_loss = b_slope * b_slope
        b_slope *= 2
    elif LOSS == "hinge":
        b_margin = 1 - SIGN * b_s
        b_loss = tl.where(b_margin <= 0, 0, b_margin)
        b_slope = tl.where(b_margin <= 0, 0, tl.full(b_s.shape, -SIGN, b_s.dtype))
    else:
        b_loss = -SIGN * b_s
        b_slope = tl.full(b_s.shape, -SIGN, b_s.dtype)
    return b_loss, b_slope


@triton.jit
def _loss_of_block(
    p_s, p_unit, p_part,  # [n], [n] or None, []
    n, i_block,
    LABEL: tl.constexpr, SIGN: tl.constexpr, LOSS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One block of one map: its part of the mean, and f'(s) / n where p_unit is given."""
    o_s = _offsets(i_block, BLOCK)
    mask = o_s < n
    b_s = tl.load(p_s + o_s, mask=mask, other=0).to(ACC)
    b_loss, b_slope = _loss_and_slope(b_s, LABEL, SIGN, LOSS)
    share = tl.full([], 1, ACC) / n
    tl.store(p_part, tl.sum(tl.where(mask, b_loss, 0)) * share)
    if p_unit is not None:
        tl.store(p_unit + o_s, b_slope * share, mask=mask)


@triton.jit
def _scaled_block(p_gradient, p_unit, p_d, n, i_block, BLOCK: tl.constexpr):
    """One block of one map: its gradient."""
    o_s = _offsets(i_block, BLOCK)
    mask = o_s < n
    tl.store(p_d + o_s, tl.load(p_gradient) * tl.load(p_unit + o_s, mask=mask, other=0), mask=mask)


@tuned(BLOCKS, key=["BLOCK"])
@triton.jit(do_not_specialize=["programs_real"])
def _patch_loss_forward_kernel(
    p_real, p_fake,  # [n_real], [n_fake] or None
    p_real_unit, p_fake_unit,  # likewise, or None where no gradient is wanted
    p_parts,  # [programs]
    n_real, n_fake, programs_real,
    REAL_LABEL: tl.constexpr, FAKE_LABEL: tl.constexpr, LOSS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first programs_real programs take the real map, the others the fake one."""
    i_program = tl.program_id(0)
    p_part = p_parts + i_program
    if i_program < programs_real:
        _loss_of_block(p_real, p_real_unit, p_part, n_real, i_program, REAL_LABEL, 1, LOSS, ACC, BLOCK)
    elif p_fake is not None:
        i_block = i_program - programs_real
        _loss_of_block(p_fake, p_fake_unit, p_part, n_fake, i_block, FAKE_LABEL, -1, LOSS, ACC, BLOCK)


@tuned(BLOCKS, key=["BLOCK"])
@triton.jit(do_not_specialize=["programs_real"])
def _patch_loss_backward_kernel(
    p_gradient,  # []
    p_real_unit, p_fake_unit,  # [n_real], [n_fake]; no elements where no gradient is wanted
    p_d_real, p_d_fake,  # likewise
    n_real, n_fake, programs_real,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The first programs_real programs take the real map, the others the fake one."""
    i_program = tl.program_id(0)
    if i_program < programs_real:
        _scaled_block(p_gradient, p_real_unit, p_d_real, n_real, i_program, BLOCK)
    else:
        _scaled_block(p_gradient, p_fake_unit, p_d_fake, n_fake, i_program - programs_real, BLOCK)


def _blocks(n_real: int, n_fake: int) -> tuple[int, int, int]:
    """The size of a block, and the number of programs for real and for both."""
    wanted = triton.next_power_of_2(max(n_real, n_fake) // PROGRAMS)
    block = min(max(wanted, SMALLEST_BLOCK), LARGEST_BLOCK)
    for_real = triton.cdiv(n_real, block)
    return block, for_real, for_real + triton.cdiv(n_fake, block)


@torch.library.custom_op("gangraph::patch_loss", mutates_args=())
def _patch_loss(
    real: Tensor,
    fake: Tensor | None,
    loss: str,
    real_label: float,
    fake_label: float,
    want_real: bool,
    want_fake: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradient by real and by fake in the loss's dtype, without elements where it is not wanted."""
    real, fake = _dense(real), None if fake is None else _dense(fake)
    total, real_unit, fake_unit = _patch_loss_empty(real, fake, loss, real_label, fake_label, want_real, want_fake)
    n_real, n_fake = real.numel(), 0 if fake is None else fake.numel()
    block, for_real, programs = _blocks(n_real, n_fake)
    parts = total.new_empty(programs)
    with torch.cuda.device_of(real):
        _patch_loss_forward_kernel[(programs,)](
            real,
            fake,
            real_unit if want_real else None,
            fake_unit if want_fake else None,
            parts,
            n_real,
            n_fake,
            for_real,
            REAL_LABEL=real_label,
            FAKE_LABEL=fake_label,
            LOSS=loss,
            ACC=accumulator(total),
            BLOCK=block,
        )
    return parts.sum() if programs > 1 else parts.reshape(()), real_unit, fake_unit


@_patch_loss.register_fake
def _patch_loss_empty(
    real: Tensor,
    fake: Tensor | None,
    loss: str,
    real_label: float,
    fake_label: float,
    want_real: bool,
    want_fake: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = statistics_type(_widest(real, fake))
    return (
        real.new_empty((), dtype=dtype),
        torch.empty_like(real, dtype=dtype) if want_real else real.new_empty(0, dtype=dtype),
        torch.empty_like(fake, dtype=dtype) if want_fake and fake is not None else real.new_empty(0, dtype=dtype),
    )


@torch.library.custom_op("gangraph::patch_loss_backward", mutates_args=())
def _patch_loss_backward(
    gradient: Tensor, real_unit: Tensor, fake_unit: Tensor, real: Tensor, fake: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The gradients in the maps' dtypes.

    The maps are arguments so that autograd knows what a second derivative would flow into.
    """
    d_real, d_fake = _patch_loss_backward_empty(gradient, real_unit, fake_unit, real, fake)
    n_real, n_fake = d_real.numel(), d_fake.numel()
    block, for_real, programs = _blocks(n_real, n_fake)
    with torch.cuda.device_of(real):
        _patch_loss_backward_kernel[(programs,)](
            gradient, real_unit, fake_unit, d_real, d_fake, n_real, n_fake, for_real, BLOCK=block
        )
    return d_real, d_fake


@_patch_loss_backward.register_fake
def _patch_loss_backward_empty(
    gradient: Tensor, real_unit: Tensor, fake_unit: Tensor, real: Tensor, fake: Tensor | None
) -> tuple[Tensor, Tensor]:
    fake_dtype = real.dtype if fake is None else fake.dtype
    return torch.empty_like(real_unit, dtype=real.dtype), torch.empty_like(fake_unit, dtype=fake_dtype)


differentiable_once(_patch_loss_backward, "patch_loss")


def _save_patch_loss(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    real, fake, *_, ctx.want_real, ctx.want_fake = inputs
    _, real_unit, fake_unit = output
    ctx.save_for_backward(real_unit, fake_unit, real, fake)
    ctx.mark_non_differentiable(real_unit, fake_unit)
    ctx.set_materialize_grads(False)  # else zeros are made for the other two outputs


def _through_patch_loss(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 7
    d_real, d_fake = _patch_loss_backward(gradient, *ctx.saved_tensors)
    return d_real if ctx.want_real else None, d_fake if ctx.want_fake else None, *(None,) * 5


_patch_loss.register_autograd(_through_patch_loss, setup_context=_save_patch_loss)


def _widest(real: Tensor, fake: Tensor | None) -> Tensor:
    """The map whose type decides in which type sums are kept."""
    return real if fake is None or real.dtype is torch.float64 else fake


def _dense(x: Tensor) -> Tensor:
    """The map itself where its elements fill memory in some order, which a mean does not mind; else a copy that does.

    Either way its elements lie in memory as those of `torch.empty_like` of the map.
    """
    return x if torch.ops.aten.is_non_overlapping_and_dense(x) else x.clone()


def patch_loss_operator(real: Tensor, fake: Tensor | None, loss: str, real_label: float, fake_label: float) -> Tensor:
    """The loss as a differentiable operator; gradients are computed with it where they are wanted."""
    want_real, want_fake = (torch.is_grad_enabled() and x is not None and x.requires_grad for x in (real, fake))
    total: Tensor = _patch_loss(real, fake, loss, real_label, fake_label, want_real, want_fake)[0]
    return total
