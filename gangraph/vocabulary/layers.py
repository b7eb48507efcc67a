"""Layers: what has parameters, state or randomness. Most are PyTorch's own, under PyTorch's names.

The number of input channels or features is never written: it is inferred from the layer's input. A layer is a
class whose `in_channels`, `in_features` or `num_features` is inferred, or a function from an example input (a
tensor without storage) to a module.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

from gangraph.registry import layer

for _name, _class in {
    "conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d,
    "conv_transpose1d": nn.ConvTranspose1d, "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}.items():  # fmt: skip
    layer(_name, init="conv")(_class)

layer("linear", init="linear")(nn.Linear)


@layer(init="norm", mixes_samples=True, only_in_training=True, moves_state=True)
def batch_norm(
    x: Tensor, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, track: bool = True
) -> nn.Module:
    """Batch normalisation over [B, C], [B, C, L], [B, C, H, W] or [B, C, T, H, W] (Ioffe and Szegedy 2015).

    `track` keeps running statistics, which evaluation mode uses.
    """
    kinds: dict[int, type[nn.Module]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    return kinds[_rank(x, kinds)](x.shape[1], eps, momentum, affine, track)


@layer(init="norm")
def instance_norm(x: Tensor, eps: float = 1e-5, affine: bool = False) -> nn.Module:
    """Instance normalisation, each sample and channel by itself (Ulyanov et al. 2016); no running statistics."""
    kinds: dict[int, type[nn.Module]] = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}
    return kinds[_rank(x, kinds)](x.shape[1], eps, affine=affine)


@layer(init="norm")
def layer_norm(x: Tensor, eps: float = 1e-5, affine: bool = True) -> nn.Module:
    """Layer normalisation over everything but the batch, gain and shift per channel (Ba et al. 2016)."""
    return nn.GroupNorm(1, x.shape[1], eps, affine)


@layer(init="norm")
def group_norm(x: Tensor, groups: int, eps: float = 1e-5, affine: bool = True) -> nn.Module:
    """Group normalisation (Wu and He 2018)."""
    return nn.GroupNorm(groups, x.shape[1], eps, affine)


@layer(init="embedding", labels="classes")
def embedding(x: Tensor, classes: int, features: int) -> nn.Module:
    """A learned vector per class or word: int64 [B] to [B, features], [B, L] to [B, L, features]."""
    return nn.Embedding(classes, features)


class Codebook(nn.Embedding):
    """Learned vectors, as long as the input has channels, the same for every sample: [B, C, ...] to [B, codes, C].

    The vectors among which vector quantisation chooses (van den Oord et al. 2017). They start as N(0, 1).
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to [B, codes, C]; only the number of samples of the input is used."""
        return self.weight.repeat(len(x), 1, 1)


@layer(init="embedding")
def codebook(x: Tensor, codes: int) -> nn.Module:
    """Learned vectors, as long as x has channels, the same for every sample: [B, C, ...] to [B, codes, C]."""
    return Codebook(codes, x.shape[1])


@layer()
def prelu(x: Tensor, init: float = 0.25, per_channel: bool = True) -> nn.Module:
    """Leaky ReLU with a learned slope per channel, or one for all (He et al. 2015)."""
    return nn.PReLU(x.shape[1] if per_channel else 1, init)


class Maxout(nn.Linear):
    """The largest of several linear maps per unit (Goodfellow et al. 2013): [B, in] to [B, units].

    The weight of piece p of unit u is row u * pieces + p.
    """

    def __init__(self, in_features: int, units: int, pieces: int, bias: bool = True) -> None:
        super().__init__(in_features, units * pieces, bias)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_features] to [B, units]."""
        return super().forward(x).reshape(len(x), -1, self.pieces).amax(2)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        units = self.out_features // self.pieces
        return f"{self.in_features}, {units}, pieces={self.pieces}, bias={self.bias is not None}"


layer("maxout", init="linear")(Maxout)


class RandomLayer(nn.Module):
    """A layer that uses random numbers. `draw` makes them; `forward` takes them, or draws when given none.

    So random numbers are an input like any other: a value that is computed again with the same draws is the same. A
    layer that is random `only_in_training` gets no random numbers in evaluation.
    """

    only_in_training = True

    def draw(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Random numbers for an input of `shape`, with the type and device of `like`."""
        raise NotImplementedError("a random layer says how it draws")


class Dropout(RandomLayer):
    """Zero each element (or each channel) with probability p and divide the rest by 1 - p (Srivastava et al. 2014)."""

    def __init__(self, p: float = 0.5, per_channel: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability has to be in [0, 1), but got {p}")
        self.p, self.per_channel = p, per_channel

    def draw(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """The keep-mask, already divided by 1 - p."""
        drawn = shape[:2] + (1,) * (len(shape) - 2) if self.per_channel else shape
        mask = torch.empty(drawn, dtype=like.dtype, device=generator.device)
        return mask.bernoulli_(1 - self.p, generator=generator).div_(1 - self.p).to(like.device)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Same shape as `x`; unchanged in evaluation mode."""
        if mask is not None:
            return x * mask
        drop = functional.dropout2d if self.per_channel else functional.dropout
        return drop(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"p={self.p}, per_channel={self.per_channel}"


layer("dropout")(Dropout)


class Noise(RandomLayer):
    """Add normal noise, one plane for each sample, times a learned weight per channel that starts at 0.

    [B, C, ...] to [B, C, ...]; drawn in training and in evaluation (Karras et al. 2019, section 2). Without
    `per_channel` all channels have one weight (Karras et al. 2020).
    """

    only_in_training = False

    def __init__(self, num_features: int, per_channel: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_features if per_channel else 1))

    def reset_parameters(self) -> None:
        """Weights of 0: no noise at the start."""
        nn.init.zeros_(self.weight)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Normal numbers [B, 1, ...]."""
        noise = torch.empty(shape[0], 1, *shape[2:], dtype=like.dtype, device=generator.device)
        return noise.normal_(generator=generator).to(like.device)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Same shape as `x`."""
        if noise is None:
            noise = torch.randn_like(x[:, :1])
        return x + _per_channel(self.weight, x) * noise

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{len(self.weight)}"


layer("noise")(Noise)


class GaussianNoise(RandomLayer):
    """Add normal noise of standard deviation `std` to every element in training: [B, ...] to [B, ...]."""

    def __init__(self, std: float) -> None:
        super().__init__()
        if std < 0:
            raise ValueError(f"a standard deviation is at least 0, but got {std}")
        self.std = std

    def draw(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Normal numbers, already times `std`."""
        noise = torch.empty(shape, dtype=like.dtype, device=generator.device)
        return noise.normal_(0.0, self.std, generator=generator).to(like.device)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Same shape as `x`; unchanged in evaluation mode."""
        if noise is None:
            noise = self.std * torch.randn_like(x) if self.training else torch.zeros_like(x)
        return x + noise

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"std={self.std}"


layer("gaussian_noise")(GaussianNoise)


class Bias(nn.Module):
    """Add a learned number per channel that starts at 0: [B, C, ...] to [B, C, ...]."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_features))

    def reset_parameters(self) -> None:
        """Zeros."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return x + _per_channel(self.bias, x)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{len(self.bias)}"


layer("bias")(Bias)


class SpectralNorm(_SpectralNorm):
    """Torch's spectral norm, which estimates nothing while the weight has no storage."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if not weight.is_meta or n_power_iterations < 1:
            super().__init__(weight, n_power_iterations, dim, eps)
            return
        nn.Module.__init__(self)
        self.dim, self.n_power_iterations, self.eps = dim, n_power_iterations, eps
        for name, size in zip(("_u", "_v"), self._reshape_weight_to_matrix(weight).shape, strict=True):
            self.register_buffer(name, weight.new_empty(size))

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        if not weight_mat.is_meta:
            super()._power_method(weight_mat, n_power_iterations)


def weighted(module: nn.Module, least: int = 1) -> list[nn.Module]:
    """A layer, or the layers that it consists of, as far as they have a weight of so many dimensions or more."""
    found = [(part, getattr(part, "weight", None)) for part in module.modules()]
    return [part for part, weight in found if isinstance(weight, Tensor) and weight.dim() >= least]


def outputs_dim(module: nn.Module) -> int:
    """The dimension of a weight that counts outputs: the first, but of a transposed convolution the second."""
    return int(isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d))


def _require_matrices(module: nn.Module, wrapper: str) -> list[nn.Module]:
    """The parts of a layer whose weights are matrices or more. Raises ValueError if there are none."""
    if not (parts := weighted(module, 2)):
        raise ValueError(f"{wrapper} wraps a layer with a weight for each output and input, such as a convolution")
    return parts


@layer(wraps=True, moves_state=True)
def spectral_norm(module: nn.Module, iterations: int = 1) -> nn.Module:
    """Divide a layer's weight by its largest singular value: spectral_norm(conv2d(64, 3)) (Miyato et al. 2018).

    In training every call first takes `iterations` steps of the power method, from the vectors that the last call left.
    Of a layer with several weights, such as `attention`, each is divided by its own.
    """
    for part in _require_matrices(module, "spectral_norm"):
        norm = SpectralNorm(part.get_parameter("weight"), iterations, outputs_dim(part))
        parametrize.register_parametrization(part, "weight", norm)
    return module


class WeightNorm(nn.Module):
    """The weight gain * v / ||v|| of a direction v, with one length for each output unit (dimension `dim`)."""

    def __init__(self, weight: Tensor, dim: int, gain: float, scale: bool) -> None:
        super().__init__()
        self.dim, self.first = dim, gain
        self.gain: nn.Parameter | float = nn.Parameter(weight.new_empty(weight.shape[dim])) if scale else gain
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The gain that every unit starts with."""
        if isinstance(self.gain, nn.Parameter):
            nn.init.constant_(self.gain, self.first)

    def forward(self, direction: Tensor) -> Tensor:
        """The weight, of the shape of the direction."""
        others = [dim for dim in range(direction.dim()) if dim != self.dim]
        unit: Tensor = direction / torch.linalg.vector_norm(direction, dim=others, keepdim=True)
        if not isinstance(self.gain, Tensor):
            return unit * self.gain
        return unit * self.gain.reshape([-1 if dim == self.dim else 1 for dim in range(direction.dim())])

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"dim={self.dim}, gain={self.first}, scale={isinstance(self.gain, Tensor)}"


@layer(wraps=True, moves_state=False)
def weight_norm(module: nn.Module, scale: bool = True, gain: float = 1.0) -> nn.Module:
    """Give every output unit's weights a direction and a length: weight_norm(conv2d(64, 3)) (Salimans and Kingma 2016).

    The weight is g * v / ||v||: v starts as the layer's weight would, g at `gain` for every unit, where it stays
    without `scale`. The data-dependent initialization of the paper is left out.
    """
    for part in _require_matrices(module, "weight_norm"):
        norm = WeightNorm(part.get_parameter("weight"), outputs_dim(part), gain, scale)
        parametrize.register_parametrization(part, "weight", norm)
    return module


def _per_channel(value: Tensor, x: Tensor) -> Tensor:
    return value.reshape(-1, *(1,) * (x.dim() - 2))


def _rank(x: Tensor, kinds: dict[int, type[nn.Module]]) -> int:
    if x.dim() not in kinds:
        raise ValueError(f"expected {' or '.join(map(str, kinds))} dimensions, but got {x.dim()}")
    return x.dim()
