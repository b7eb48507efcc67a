"""The core of AdaIN and of instance norm: every plane (one channel of one sample) made zero-mean and unit-variance.

    v = x + noise_weight * noise + bias            (both optional)
    u = leaky_relu(v, before)
    n = (u - mean(u)) / sqrt(var(u) + eps)
    y = leaky_relu(scale * n + shift, after)       (both optional)

A plane that fits a program stays on chip: it is read once forward, and once with its gradient backward. A larger one
takes two passes, each shared by many programs: sums of chunks, then the result. Saved are mean and 1/std of each
plane; everything else is computed again from x.

Shapes: x [N, C, P] with any strides, noise [N, P], noise_weight and bias [C], scale and shift [N, C] or [C].
A slope of 1, for `before` or `after`, is no activation.
Order: 1.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _plane_kernels as kernels
from ._kernel import differentiable_once
from ._triton import accumulator, statistics_type, triton

# A program holds at most this many elements of each tensor, a plane of 128 x 128. Twice as many would spill registers
# forward, twice over backward, and leave room for one program on a multiprocessor, which then cannot read while it
# writes; the planes between, unlike those above and below, are rare.
ON_CHIP = 16384
# A large plane is cut into at most this many chunks, of at least this many elements for one program.
CHUNKS, CHUNK_ELEMENTS = 64, 16384


@dataclass(frozen=True, slots=True)
class _Layout:
    """How programs divide [N, C, P]: whole planes, or chunks of them."""

    samples: int
    channels: int
    positions: int
    block_c: int
    chunk: int

    @property
    def blocks(self) -> int:
        """Programs along samples and channels."""
        return self.samples * triton.cdiv(self.channels, self.block_c)

    @property
    def chunks(self) -> int:
        """Chunks of a plane; one where it is empty."""
        return max(1, triton.cdiv(self.positions, self.chunk))


def _layout(x: Tensor, limit: int) -> _Layout:
    """Whole planes if a tile of them has at most `limit` elements, else chunks; a small plane is one chunk."""
    n, c, p = x.shape
    channels, positions = triton.next_power_of_2(max(c, 1)), triton.next_power_of_2(max(p, 1))
    sector = 32 // x.element_size()  # channels that one memory transaction brings where channels are neighbours
    neighbours = sector if x.stride(1) == 1 and x.stride(2) != 1 else 1
    few = 1024 // positions  # small planes make a tile together
    block_c = min(channels, max(neighbours, few))
    if block_c * positions <= limit:
        return _Layout(n, c, p, block_c, positions)
    block_c = min(channels, max(32 if neighbours > 1 else 1, few))
    return _Layout(n, c, p, block_c, min(positions, max(CHUNK_ELEMENTS // block_c, positions // CHUNKS)))


def _over_samples(scale: Tensor | None) -> int:
    """The stride over samples of numbers per plane: 0 for [C], which all samples share."""
    return scale.stride(0) if scale is not None and scale.dim() == 2 else 0


def _per_plane_empty(x: Tensor, *more: int) -> Tensor:
    return x.new_empty((*x.shape[:2], *more), dtype=statistics_type(x))


def _launch(kernel: Any, layout: _Layout, *arguments: Any, **constants: Any) -> None:
    """Run a kernel over the chunks of planes, or over whole planes, which are one chunk each."""
    if layout.blocks and layout.positions:
        grid = layout.blocks, layout.chunks
        with torch.cuda.device_of(arguments[0]):
            kernel[grid](*arguments, CHUNK=layout.chunk, BLOCK_C=layout.block_c, **constants)


@torch.library.custom_op("gangraph::plane_norm", mutates_args=())
def _plane_norm(
    x: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    eps: float,
    before: float,
    after: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """y [N, C, P] in the type of x, and mean and 1/std [N, C] in float32 (float64 for float64)."""
    layout = _layout(x, ON_CHIP)
    y, mean, rstd = torch.empty_like(x), _per_plane_empty(x), _per_plane_empty(x)
    source = (x, noise, noise_weight, bias)
    style = (scale, shift)
    sizes = (layout.channels, layout.positions, *x.stride())
    strides = (*y.stride(), _over_samples(scale), _over_samples(shift))
    constants = {"EPS": eps, "BEFORE": before, "AFTER": after, "ACC": accumulator(x)}
    if layout.chunks <= 1:
        _launch(kernels.plane_forward_kernel, layout, *source, *style, y, mean, rstd, *sizes, *strides, **constants)
        return y, mean, rstd
    parts = _per_plane_empty(x, layout.chunks), _per_plane_empty(x, layout.chunks)
    _launch(kernels.plane_moments_kernel, layout, *source, *parts, *sizes, BEFORE=before, ACC=accumulator(x))
    constants["BLOCK_K"] = triton.next_power_of_2(layout.chunks)
    _launch(
        kernels.plane_normalise_kernel, layout, *source, *style, *parts, y, mean, rstd, *sizes, *strides, **constants
    )
    return y, mean, rstd


@_plane_norm.register_fake
def _(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), _per_plane_empty(x), _per_plane_empty(x)


@torch.library.custom_op("gangraph::plane_norm_backward", mutates_args=())
def _plane_norm_backward(
    g: Tensor,
    x: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    before: float,
    after: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """dx [N, C, P]; the gradients of scale and shift, and of bias and noise_weight, of each plane: [2, N, C] twice."""
    layout = _layout(x, ON_CHIP)
    dx = torch.empty_like(x)
    affine, added = (x.new_zeros((2, *x.shape[:2], layout.chunks), dtype=mean.dtype) for _ in range(2))
    given = (g, x, noise, noise_weight, bias, scale, shift, mean, rstd)
    sizes = (layout.channels, layout.positions, *g.stride(), *x.stride())
    shared = (_over_samples(scale), _over_samples(shift))
    written = (*dx.stride(), *shared)
    constants = {"BEFORE": before, "AFTER": after, "ACC": accumulator(x)}
    if layout.chunks <= 1:
        _launch(kernels.plane_backward_kernel, layout, *given, dx, *affine, *added, *sizes, *written, **constants)
        return dx, affine.squeeze(-1), added.squeeze(-1)
    _launch(kernels.plane_gradient_sums_kernel, layout, *given, *affine, *sizes, *shared, **constants)
    affine = affine.sum(-1)
    _launch(kernels.plane_gradient_kernel, layout, *given, *affine, dx, *added, *sizes, *written, **constants)
    return dx, affine, added.sum(-1)


@_plane_norm_backward.register_fake
def _(g: Tensor, x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    sums = x.new_empty((2, *x.shape[:2]), dtype=statistics_type(x))
    return torch.empty_like(x), sums, torch.empty_like(sums)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, _, before, after = inputs
    _, mean, rstd = output
    ctx.save_for_backward(*tensors, mean, rstd)
    ctx.mark_non_differentiable(mean, rstd)
    ctx.set_materialize_grads(False)
    ctx.slopes = before, after


def _backward(ctx: Any, g: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if g is None:
        return (None,) * 9
    x, noise, noise_weight, bias, scale, shift, mean, rstd = ctx.saved_tensors
    dx, affine, added = _plane_norm_backward(g, x, noise, noise_weight, bias, scale, shift, mean, rstd, *ctx.slopes)
    dnoise = None
    if noise is not None and ctx.needs_input_grad[1]:
        dnoise = (dx * noise_weight.to(mean.dtype)[:, None]).sum(1).to(noise.dtype)
    totals = (
        _reduced(added[1], noise_weight),
        _reduced(added[0], bias),
        _reduced(affine[0], scale),
        _reduced(affine[1], shift),
    )
    return dx, dnoise, *totals, None, None, None


def _reduced(sums: Tensor, parameter: Tensor | None) -> Tensor | None:
    """Sums over planes [N, C] as the gradient of a parameter [N, C], or [C] that all samples share."""
    if parameter is None:
        return None
    return (sums if parameter.dim() == 2 else sums.sum(0)).to(parameter.dtype)


_plane_norm.register_autograd(_backward, setup_context=_save)
differentiable_once(_plane_norm_backward, "AdaIN or instance norm")


@torch.library.custom_op("gangraph::plane_moments", mutates_args=())
def _plane_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased standard deviation [N, C] of each plane, in float32 (float64 for float64)."""
    layout = _layout(x, 0)
    mean_k, m2_k = _per_plane_empty(x, layout.chunks), _per_plane_empty(x, layout.chunks)
    sizes = (layout.channels, layout.positions, *x.stride())
    _launch(
        kernels.plane_moments_kernel, layout, x, None, None, None, mean_k, m2_k, *sizes, BEFORE=1.0, ACC=accumulator(x)
    )
    starts = torch.arange(layout.chunks, device=x.device) * layout.chunk
    count = (layout.positions - starts).clamp(max=layout.chunk)
    first = mean_k[..., 0]  # from which the others are near, so that equal ones have exactly that mean
    mean = first + ((mean_k - first[..., None]) * count).sum(-1) / layout.positions
    m2 = (m2_k + count * (mean_k - mean[..., None]).square()).sum(-1)
    return mean, (m2 / layout.positions).sqrt()


@_plane_moments.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return _per_plane_empty(x), _per_plane_empty(x)


@torch.library.custom_op("gangraph::plane_moments_backward", mutates_args=())
def _plane_moments_backward(x: Tensor, mean: Tensor, std: Tensor, dmean: Tensor, dstd: Tensor) -> Tensor:
    """dx [N, C, P]."""
    layout, dx = _layout(x, 0), torch.empty_like(x)
    sizes = (layout.channels, layout.positions, *x.stride(), *dx.stride())
    gradients = (dmean.contiguous(), dstd.contiguous())
    _launch(kernels.plane_moments_gradient_kernel, layout, x, mean, std, *gradients, dx, *sizes, ACC=accumulator(x))
    return dx


@_plane_moments_backward.register_fake
def _(x: Tensor, *_: Tensor) -> Tensor:
    return torch.empty_like(x)


def _save_moments(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _moments_backward(ctx: Any, dmean: Tensor, dstd: Tensor) -> Tensor:
    x, mean, std = ctx.saved_tensors
    dx: Tensor = _plane_moments_backward(x, mean, std, dmean, dstd)
    return dx


_plane_moments.register_autograd(_moments_backward, setup_context=_save_moments)
differentiable_once(_plane_moments_backward, "AdaIN from a style image")


def plane_norm(
    x: Tensor,
    *,
    noise: Tensor | None = None,
    noise_weight: Tensor | None = None,
    bias: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    eps: float,
    before: float = 1.0,
    after: float = 1.0,
) -> Tensor:
    """The formula above for x [N, C, ...] and noise [N, 1, ...]; the result has the shape and type of x."""
    added = None if noise is None else noise.expand(x.shape[0], 1, *x.shape[2:]).flatten(1).contiguous()
    parameters = (_consecutive(each) for each in (noise_weight, bias, scale, shift))
    y, _, _ = _plane_norm(x.flatten(2), added, *parameters, eps, before, after)
    return y.view(x.shape)


def _consecutive(parameter: Tensor | None) -> Tensor | None:
    """With its channels side by side, as the kernels read it; half of a style [N, 2 C] already is."""
    return parameter if parameter is None or parameter.stride(-1) == 1 else parameter.contiguous()


def plane_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased standard deviation [N, C] of x [N, C, ...]."""
    mean, std = _plane_moments(x.flatten(2))
    return mean, std


def normalised_reference(x: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(var + eps) of each plane of x [N, C, ...], in float32 (float64 for float64)."""
    positions = tuple(range(2, x.dim()))
    u = x.to(statistics_type(x))
    centred = u - u.mean(positions, keepdim=True)
    return centred / (centred.square().mean(positions, keepdim=True) + eps).sqrt()


def per_plane(value: Tensor, x: Tensor) -> Tensor:
    """[N, C], or [C] for all samples, beside x [N, C, ...]."""
    return value.reshape(*value.shape, *(1,) * (x.dim() - 2))


def check_planes(x: Tensor, **parameters: Tensor | None) -> None:
    """Raises ValueError if x is not [N, C, ...], or a parameter not [C]."""
    if x.dim() < 3:
        raise ValueError(f"x is {list(x.shape)}, but [N, C, ...] with one or more dimensions of positions is needed")
    for name, value in parameters.items():
        if value is not None and value.shape != x.shape[1:2]:
            raise ValueError(f"{name} is {list(value.shape)}, but one number per channel is needed: [{x.shape[1]}]")
