"""Ops: pure functions of tensors, used in values, in losses and between the layers of a network.

In a chain of layers, the running value is an op's first argument. The trait `range` tells the checker which values an
op can give, as a function of its inputs' ranges. Ops that follow a pattern of axes are in `patterns`, those that choose
and order in `choosing`, and those that operators stand for in `arithmetic`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from gangraph.errors import ArgumentError
from gangraph.kernels import adain as _adain
from gangraph.registry import op
from gangraph.vocabulary.axes import in_type_of, own_axis, per_sample
from gangraph.vocabulary.intervals import (
    POSITIVE,
    TANH,
    UNIT,
    clamped,
    constant_interval,
    hull,
    monotone,
    same,
    with_zero,
)


@op(range=monotone(lambda v: max(v, 0.0)), latex=r"\max(0, ${x})")
def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return functional.relu(x)


@op()
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, else negative_slope * x."""
    return functional.leaky_relu(x, negative_slope)


@op()
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    return functional.elu(x, alpha)


@op()
def selu(x: Tensor) -> Tensor:
    """1.0507 x where positive, else 1.0507 * 1.6733 * (exp(x) - 1) (Klambauer et al. 2017)."""
    return functional.selu(x)


@op()
def gelu(x: Tensor) -> Tensor:
    """x times the Gaussian distribution function of x."""
    return functional.gelu(x)


@op()
def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return functional.silu(x)


@op(range=constant_interval(TANH), latex=r"\tanh(${x})")
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent, in [-1, 1]."""
    return torch.tanh(x)


@op(range=constant_interval(UNIT), latex=r"\sigma(${x})")
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), in [0, 1]."""
    return torch.sigmoid(x)


@op(range=constant_interval(POSITIVE), latex=r"\log(1 + e^{${x}})")
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), computed stably."""
    return functional.softplus(x)


@op(range=constant_interval((-math.inf, 0.0)), latex=r"\log \sigma(${x})")
def log_sigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), computed stably."""
    return functional.logsigmoid(x)


@op(range=constant_interval(UNIT))
def softmax(x: Tensor, dim: int = 1) -> Tensor:
    """Normalised exponentials along `dim`."""
    return torch.softmax(x, own_axis(x, dim))


@op(range=hull, latex="(${tensors})")
def cat(*tensors: Tensor, dim: int = 1) -> Tensor:
    """Concatenate along `dim`; 1 is the channel or feature dimension."""
    return torch.cat(tensors, dim)


@op(range=lambda a, b, *_: hull(a, b), latex=r"(1 - $weight) \, $start + $weight \, $end")
def lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """start + weight * (end - start); a weight of [B] or [B, 1] is one number per sample."""
    return start + per_sample(weight, start, end) * (end - start)


@op()
def adain(x: Tensor, scale: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """scale * (x - mean(x)) / std(x) + bias per sample and channel: x [B, C, ...], scale and bias [B, C].

    Huang and Belongie (2017), equation 8; eps is added to the variance.
    """
    y: Tensor = _adain.adain(x, scale, bias, eps, impl="reference")
    return y


@op()
def adain_image(x: Tensor, style: Tensor, eps: float = 1e-5) -> Tensor:
    """AdaIN by the statistics of a style's features: std(style) * (x - mean(x)) / std(x) + mean(style).

    x [B, C, ...], style [B, C, ...] of any size (Huang and Belongie 2017); the style's standard deviation has no eps.
    """
    y: Tensor = _adain.adain_image(x, style, eps, impl="reference")
    return y


@op(range=same, latex="${x}")
def reshape(x: Tensor, *sizes: int) -> Tensor:
    """Each sample in another shape with the same number of elements."""
    return x.reshape(x.shape[0], *sizes)


@op(range=same, latex="${x}")
def flatten(x: Tensor) -> Tensor:
    """Each sample as one vector: [B, ...] to [B, N]."""
    return x.flatten(1)


@op()
def put(x: Tensor, index: int, value: Tensor) -> Tensor:
    """Vectors [B, N] with the number at `index`, from 0, replaced by a number or by values [B] or [B, 1]."""
    if x.dim() != 2 or not 0 <= index < x.shape[1]:
        raise ValueError(f"x is {list(x.shape)}, expected vectors with a number at {index}")
    given = value if isinstance(value, Tensor) else in_type_of(value, x, "value")
    if given.dim() and (given.shape[1:].numel() != 1 or len(given) not in (1, len(x))):
        raise ArgumentError("value", list(given.shape), f"a number, or one for each sample, [{len(x)}]")
    place = torch.arange(x.shape[1], device=x.device) == index
    return torch.where(place, per_sample(given, x), x)


@op(range=same)
def crop(x: Tensor, height: int, width: int) -> Tensor:
    """The upper left corner of each image."""
    return x[..., :height, :width]


@op(range=same)
def resize(x: Tensor, size: int | tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Images [B, C, H, W] at another size, one number or [height, width]; bilinear and bicubic are antialiased."""
    smooth = mode in ("bilinear", "bicubic")
    both = (size, size) if isinstance(size, int) else tuple(size)
    return functional.interpolate(x, size=both, mode=mode, antialias=smooth)


@op(range=same)
def upsample(x: Tensor, scale: int = 2, mode: str = "nearest") -> Tensor:
    """Images enlarged by a whole factor."""
    return functional.interpolate(x, scale_factor=float(scale), mode=mode)


@op(range=same)
def avg_pool2d(x: Tensor, kernel_size: int | tuple[int, int], stride: int | None = None, padding: int = 0) -> Tensor:
    """Mean over windows."""
    return functional.avg_pool2d(x, kernel_size, stride, padding)


@op(range=same)
def max_pool2d(x: Tensor, kernel_size: int | tuple[int, int], stride: int | None = None, padding: int = 0) -> Tensor:
    """Maximum over windows."""
    return functional.max_pool2d(x, kernel_size, stride, padding)


@op(range=same)
def patches(x: Tensor, size: int, stride: int) -> Tensor:
    """Squares of images or maps, row by row, one each `stride` places: [B, C, H, W] to [B, N, C, size, size].

    What is left over to the right and below is in no patch. The gradient of the sum counts the patches at each place.

    Raises:
        ArgumentError: the size or the stride is below 1, or no patch fits.
    """
    if stride < 1:
        raise ArgumentError("stride", stride, "1 or more")
    if x.dim() != 4 or not 1 <= size <= min(x.shape[2:]):
        raise ArgumentError("size", size, f"a side that fits into [B, C, H, W], here {list(x.shape)}")
    return x.unfold(2, size, stride).unfold(3, size, stride).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


@op(range=hull)
def pooled(*features: Tensor, size: int = 4) -> Tensor:
    """Maps [B, C, H, W] of several layers, each pooled by its maxima to size x size, as one vector [B, N] a sample.

    The features of Radford et al. (2015), section 5.1.
    """
    return torch.cat([functional.adaptive_max_pool2d(maps, size).flatten(1) for maps in features], dim=1)


@op(range=same)
def reflection_pad2d(x: Tensor, padding: int) -> Tensor:
    """Pad all four sides by reflection, without repeating the border pixel."""
    return functional.pad(x, (padding,) * 4, mode="reflect")


@op(range=lambda x, *_: hull(x, (0.0, 0.0)))
def zero_pad2d(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad with zeros."""
    return functional.pad(x, (left, right, top, bottom))


@op(mixes_samples=True, range=same, latex="E[${x}]", words="the mean of $x")
def mean(x: Tensor) -> Tensor:
    """Mean over all elements, batch included: one number."""
    return x.mean()


@op(mixes_samples=True, range=with_zero, words="the mean of $x over the samples that $mask chooses")
def mean_where(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of the samples that a mask [B] of 0 and 1 chooses: [B, ...] to [1, ...]; 0 if it chooses none."""
    if not mask.dim() or mask.numel() != len(x) or len(mask) != len(x):
        raise ArgumentError("mask", list(mask.shape), f"one number for each sample, [{len(x)}]")
    weights = mask.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))
    return (x * weights).sum(0, keepdim=True) / weights.sum().clamp_min(1)


@op(range=same)
def column(x: Tensor, index: int) -> Tensor:
    """One feature, class or channel of each sample, counted from 0: [B, N, ...] to [B, ...]."""
    return x.select(1, index)


@op(mixes_samples=True, latex=r"\textstyle\sum ${x}", words="the sum of the elements of $x")
def total(x: Tensor) -> Tensor:
    """Sum over all elements, batch included: one number. `sum` adds up a comprehension."""
    return x.sum()


@op(latex=r"\log \textstyle\sum e^{${x}}")
def logsumexp(x: Tensor, dim: int = 1) -> Tensor:
    """log(sum(exp(x))) along `dim`, computed stably: [B, K] to [B]."""
    return torch.logsumexp(x, own_axis(x, dim))


@op(range=same)
def mean_pool(x: Tensor) -> Tensor:
    """Mean over all positions: [B, C, ...] to [B, C]."""
    return x.flatten(2).mean(2)


@op(range=constant_interval(POSITIVE), latex=r"\lVert ${x} \rVert_2", words="the length of $x")
def norm(x: Tensor) -> Tensor:
    """Euclidean length of each sample over all its elements: [B, ...] to [B]."""
    if x.dim() < 2:
        raise ValueError("norm is the length of each sample; total_norm is the length of all elements")
    length: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return length


@op(
    mixes_samples=True,
    range=constant_interval(POSITIVE),
    latex=r"\lVert ${x} \rVert_2",
    words="the length of all of $x",
)
def total_norm(x: Tensor) -> Tensor:
    """sqrt(sum(x ** 2)) over all elements, batch included: one number. `norm` is the length of each sample.

    Its gradient is 0 at x = 0. It is what `parameters(G)`, which has no batch axis, has for a length.
    """
    length: Tensor = torch.linalg.vector_norm(x)
    return length


@op(range=constant_interval(POSITIVE), latex=r"\lvert ${x} \rvert", words="the absolute value of $x")
def abs(x: Tensor) -> Tensor:
    """Absolute value."""
    return x.abs()


@op(range=constant_interval(POSITIVE), latex="e^{${x}}")
def exp(x: Tensor) -> Tensor:
    """Exponential."""
    return x.exp()


@op(latex=r"\log(${x})")
def log(x: Tensor) -> Tensor:
    """Natural logarithm."""
    return x.log()


@op(range=constant_interval(POSITIVE), latex=r"\sqrt{${x}}")
def sqrt(x: Tensor) -> Tensor:
    """Square root."""
    return x.sqrt()


@op(range=clamped, ordered=("low", "high"), latex=r"\min(\max(${x}, ${low}), ${high})")
def clamp(x: Tensor, low: float, high: float) -> Tensor:
    """x limited to [low, high]."""
    return x.clamp(low, high)


@op(range=constant_interval(UNIT), stops_gradient=True, labels={"labels": "classes"})
def one_hot(labels: Tensor, classes: int) -> Tensor:
    """int64 [B] to float [B, classes]."""
    return functional.one_hot(labels, classes).to(torch.get_default_dtype())


@op(range=lambda _, value: value)
def filled(x: Tensor, value: Tensor) -> Tensor:
    """A tensor of the shape of x with one number everywhere, such as a code that stays while others vary."""
    return torch.zeros_like(x) + value


@op(range=same)
def planes(x: Tensor, like: Tensor) -> Tensor:
    """A vector [B, N] as N constant planes of the height and width of `like`: [B, N, H, W]."""
    return x[:, :, None, None].expand(-1, -1, *like.shape[2:])
