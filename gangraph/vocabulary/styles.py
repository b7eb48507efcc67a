"""Layers and ops of generators that grow or are controlled by styles (Karras et al. 2018, 2019)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from gangraph.registry import layer, op
from gangraph.vocabulary.intervals import hull, with_zero
from gangraph.vocabulary.layers import outputs_dim, weighted


class Scaled(nn.Module):
    """A parameter that is used `scale` times as large as it is stored.

    It is stored as N(0, std) at the start, or without `std` as what gives the layer's own start.
    """

    def __init__(self, scale: float, std: float | None) -> None:
        super().__init__()
        self.scale, self.std = scale, std

    def start(self, stored: Tensor) -> None:
        """Initialize the stored tensor, which holds the layer's own start."""
        if self.std is None:
            stored.div_(self.scale)
        else:
            nn.init.normal_(stored, 0.0, self.std)

    def forward(self, stored: Tensor) -> Tensor:
        """The same shape."""
        return stored * self.scale

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"scale={self.scale:.4g}, std={self.std if self.std is None else format(self.std, '.4g')}"


@layer(wraps=True, moves_state=False)
def equalized(module: nn.Module, gain: float = 1.0, rate: float = 1.0) -> nn.Module:
    """Learn all layers at one speed, whatever their size: equalized(conv2d(64, 3)) (Karras et al. 2018, section 4.1).

    The weight is w * rate * gain / sqrt(inputs of a unit), where w is stored and starts as N(0, 1 / rate); the bias is
    stored as b, starts at 0 and is used as b * rate. So weights start with a deviation of gain / sqrt(inputs), and Adam
    moves them in proportion to it, `rate` times as fast. `init:` sets what is stored. A number for each channel, as of
    a norm or of noise, has one input and keeps the layer's own start, as does an embedding, which chooses a row.

    Raises:
        ValueError: the layer has no weight, or `gain` or `rate` is not above 0.
    """
    if not (parts := weighted(module)):
        raise ValueError("equalized wraps a layer with a weight, such as linear or a convolution")
    if gain <= 0 or rate <= 0:
        raise ValueError(f"gain and rate are above 0, but got {gain} and {rate}")
    for part in parts:
        _equalize(part, gain, rate)
    return module


def _equalize(part: nn.Module, gain: float, rate: float) -> None:
    """Scale the weight of one layer, and its bias if it has one. They keep their shapes: there is nothing to try."""
    inputs = _inputs_of_a_unit(part)
    scale = Scaled(rate * gain / math.sqrt(inputs or 1), 1 / rate if inputs else None)
    parametrize.register_parametrization(part, "weight", scale, unsafe=True)
    if isinstance(getattr(part, "bias", None), nn.Parameter):
        parametrize.register_parametrization(part, "bias", Scaled(rate, 0.0), unsafe=True)


def _inputs_of_a_unit(part: nn.Module) -> int:
    """How many numbers each output is a weighted sum of; 0 where it is no such sum."""
    weight = part.get_parameter("weight")
    if weight.dim() < 2 or isinstance(part, nn.Embedding):
        return 0
    if outputs_dim(part):  # whose weight is [inputs, outputs / groups, ...]
        return weight.numel() // weight.shape[1] // int(part.groups)  # type: ignore[arg-type]  # of a convolution
    return weight.numel() // weight.shape[0]


class LearnedConstant(nn.Module):
    """A learned tensor in place of the input, the same for every sample, that starts at 1: [B, ...] to [B, *shape].

    The first layer of a generator that is controlled by its styles alone (Karras et al. 2019, section 2). With `std`
    it starts as N(0, std), as in Karras et al. (2020).
    """

    def __init__(self, *shape: int, std: float | None = None) -> None:
        super().__init__()
        if not shape or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
            raise ValueError(f"sizes are whole numbers of at least 1, but got {list(shape)}")
        if std is not None and std < 0:
            raise ValueError(f"a standard deviation is at least 0, but got {std}")
        self.std = std
        self.value = nn.Parameter(torch.ones(shape))

    def reset_parameters(self) -> None:
        """Ones, or normal numbers."""
        if self.std is None:
            nn.init.ones_(self.value)
        else:
            nn.init.normal_(self.value, 0, self.std)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] to [B, *shape]; only the number of samples of the input is used."""
        return self.value.repeat(len(x), *(1,) * self.value.dim())

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return ", ".join(map(str, self.value.shape))


layer("learned_constant")(LearnedConstant)


class RunningMean(nn.Module):
    """The mean of its input over many batches, in place of the input: [B, ...] to [B, ...], without gradient.

    In training every call first moves the mean: mean = decay * mean + (1 - decay) * (mean of the batch), from 0 on.
    In evaluation it stays. With the mean of a latent, truncation is a formula: lerp(mean, w, 0.7) (Karras et al. 2019,
    appendix B).
    """

    mean: Tensor

    def __init__(self, example: Tensor, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"a decay is in [0, 1), but got {decay}")
        self.decay = decay
        self.register_buffer("mean", torch.zeros(example.shape[1:]))

    def reset_parameters(self) -> None:
        """A mean of 0."""
        self.mean.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """The mean for every sample, in the shape of `x`."""
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.detach().mean(0).to(self.mean.dtype), 1 - self.decay)
        return self.mean.clone().to(x.dtype).expand_as(x)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{', '.join(map(str, self.mean.shape))}, decay={self.decay}"


@layer(mixes_samples=True, only_in_training=True, moves_state=True, stops_gradient=True)
def running_mean(x: Tensor, decay: float = 0.995) -> nn.Module:
    """The mean of its input over many batches: [B, ...] to [B, ...], the same for every sample, without gradient.

    In training every call first moves it, mean = decay * mean + (1 - decay) * (mean of the batch), from 0 on; in
    evaluation it stays. With the mean of a latent, truncation is a formula: lerp(mean, w, 0.7) (Karras et al. 2019,
    appendix B).
    """
    return RunningMean(x, decay)


@op()
def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Divide each position by the root mean square of its channels (Karras et al. 2018, section 4.2)."""
    return x * torch.rsqrt((x * x).mean(1, keepdim=True) + eps)


@op(range=with_zero)
def blur(x: Tensor) -> Tensor:
    """Images [B, C, H, W] through the filter [1, 2, 1] / 4 in both directions, with zeros around them.

    Karras et al. (2019), section 2. It is a sum of shifted images and no convolution for each channel, so that a
    penalty which differentiates it twice consists of sums again.
    """
    if x.dim() != 4:
        raise ValueError(f"expected images [B, C, H, W], but got {x.dim()} dimensions")
    padded = functional.pad(x, (1, 1, 1, 1))
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    blurred: Tensor = (rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 16
    return blurred


@op(range=lambda first, second, *_: hull(first, second))
def crossover(first: Tensor, second: Tensor, at: Tensor, layers: int) -> Tensor:
    """One style for each layer: those below `at`, counted from 0, are `first`, the others `second`.

    [B, F] and [B, F] to [B, layers, F]; `at` is one number, or one for each sample, [B] or [B, 1] (Karras et al. 2019,
    section 3.1). `column(styles, k)` is the style of layer k.
    """
    if first.dim() != 2 or first.shape != second.shape:
        raise ValueError(f"expected two styles [B, F], but got {list(first.shape)} and {list(second.shape)}")
    number = torch.arange(layers, device=first.device)
    early = number < (at.reshape(-1, 1) if isinstance(at, Tensor) else at)
    return torch.where(early.reshape(-1, layers, 1), first[:, None], second[:, None])
