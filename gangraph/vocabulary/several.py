"""Layers with several inputs, which a network's values call: `mix(h, w)` for the part `mix: modulated_conv2d(64, 3)`.

The inputs of a layer are what its `forward` takes, or the leading tensors of the function that makes it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph.registry import layer
from gangraph.vocabulary.geometry import resampled


class ModulatedConv2d(nn.Module):
    """A convolution whose weights are scaled by a style, sample by sample (Karras et al. 2020, section 2.2).

    With `up` the convolution is transposed and followed by the filter `taps`, with `down` the filter comes first.
    """

    def __init__(
        self, channels: int, out: int, size: int, *, demodulate: bool, up: int, down: int, taps: tuple[float, ...]
    ) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"the kernel has an odd size, so that its result is as large as the image, but got {size}")
        if min(up, down) != 1:
            raise ValueError("one of up and down is above 1, not both")
        self.demodulate, self.up, self.down, self.taps = demodulate, up, down, taps
        self.weight = nn.Parameter(torch.empty(out, channels, size, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As a plain convolution starts."""
        nn.init.kaiming_uniform_(self.weight, math.sqrt(5))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B, C, H, W] and [B, C] to [B, out, up H / down, up W / down]; the input and the output are scaled."""
        if style.shape != x.shape[:2]:
            raise ValueError(f"a style is {list(x.shape[:2])} here, but got {list(style.shape)}")
        weight = self.weight  # which a wrapper may compute at each access
        made = self._convolved(x * style[:, :, None, None], weight)
        if not self.demodulate:
            return made
        squares = style.square() @ weight.square().sum((2, 3)).t()
        return made * torch.rsqrt(squares + 1e-8)[:, :, None, None]

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        half = weight.shape[2] // 2
        if self.up > 1:
            spread = functional.conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=self.up)
            return resampled(spread, self.taps, gain=self.up, around=self._around_spread(weight.shape[2]))
        if self.down > 1:
            taps = len(self.taps)
            around = half + (taps - self.down + 1) // 2, half + (taps - self.down) // 2
            return functional.conv2d(resampled(x, self.taps, around=around), weight, stride=self.down)
        return functional.conv2d(x, weight, padding=half)

    def _around_spread(self, size: int) -> tuple[int, int]:
        """The zeros before and after what the transposed convolution gives; fewer than none are cut off."""
        taps, half = len(self.taps), size // 2
        before = half + (taps + self.up - 1) // 2
        return before - (size - 1), self.up + taps - 2 - before

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        out, channels, size, _ = self.weight.shape
        return f"{channels}, {out}, {size}, demodulate={self.demodulate}, up={self.up}, down={self.down}"


@layer(init="conv")
def modulated_conv2d(
    x: Tensor,
    style: Tensor,
    out_channels: int,
    kernel_size: int,
    demodulate: bool = True,
    up: int = 1,
    down: int = 1,
    taps: tuple[float, ...] = (1, 3, 3, 1),
) -> nn.Module:
    """conv(x; w'), w'_oik = s_i w_oik / sqrt(sum_ik (s_i w_oik)^2 + 1e-8) (Karras et al. 2020, section 2.2).

    Images [B, C, H, W] and a style [B, C] that scales their channels. Without `demodulate` nothing is divided. There is
    no bias; `bias` adds one, after any noise. `up` and `down` resample with the filter `taps`.
    """
    if x.dim() != 4:
        raise ValueError(f"expected images [B, C, H, W], but got {x.dim()} dimensions")
    channels = x.shape[1]
    return ModulatedConv2d(channels, out_channels, kernel_size, demodulate=demodulate, up=up, down=down, taps=taps)


class Attention(nn.Module):
    """Scaled dot-product attention over positions, with linear maps before and after."""

    def __init__(self, sizes: tuple[int, int, int], heads: int, bias: bool) -> None:
        super().__init__()
        features = sizes[0]
        if heads < 1 or features % heads:
            raise ValueError(f"{features} features cannot be divided among {heads} heads")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(size, features, bias) for size in sizes)
        self.out = nn.Linear(features, features, bias)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[B, N, C], [B, M, D] and [B, M, E] to [B, N, C]."""
        query, key, value = (self._split(each) for each in (self.query(q), self.key(k), self.value(v)))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        together: Tensor = self.out((scores.softmax(3) @ value).transpose(1, 2).flatten(2))
        return together

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, C] to [B, heads, N, C / heads]."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"heads={self.heads}"


@layer(init="linear")
def attention(q: Tensor, k: Tensor, v: Tensor, heads: int = 1, bias: bool = True) -> nn.Module:
    """softmax(Q K' / sqrt(C / heads)) V by heads, with linear maps to Q, K, V and of the result (Vaswani et al. 2017).

    Queries [B, N, C], keys [B, M, D] and values [B, M, E] to [B, N, C], as torch.nn.MultiheadAttention without dropout;
    self-attention is `att(h, h, h)`. A map of an image is a row of positions by `rearrange(h, "c h w -> (h w) c")`.
    """
    if any(each.dim() != 3 for each in (q, k, v)):
        raise ValueError("expected queries, keys and values [B, N, C]")
    return Attention((q.shape[2], k.shape[2], v.shape[2]), heads, bias)


class _Rows(nn.Embedding):
    """An embedding that starts as N(0, 0.02)."""

    def reset_parameters(self) -> None:
        """Normal numbers of deviation 0.02, so that a norm of the weight never divides by 0."""
        nn.init.normal_(self.weight, 0.0, 0.02)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation with a gain and a shift for each sample, which follow from its condition."""

    def __init__(self, norm: nn.Module, gain: nn.Module, shift: nn.Module) -> None:
        super().__init__()
        self.norm, self.gain, self.shift = norm, gain, shift

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """[B, C, ...] and labels [B] or vectors [B, E] to [B, C, ...]."""
        shape = (*x.shape[:2], *(1,) * (x.dim() - 2))
        made: Tensor = self.norm(x) * (1 + self.gain(y).reshape(shape)) + self.shift(y).reshape(shape)
        return made


@layer(init="norm", mixes_samples=True, only_in_training=True, moves_state=True, labels={"y": "classes"})
def conditional_batch_norm(
    x: Tensor, y: Tensor, classes: int | None = None, eps: float = 1e-5, momentum: float = 0.1
) -> nn.Module:
    """Batch normalisation, (1 + gain(y)) * normed(x) + shift(y) (Dumoulin et al. 2017; de Vries et al. 2017).

    For labels y, int64 [B] of `classes`, gain and shift are embeddings, which start as N(0, 0.02); for vectors [B, E]
    linear maps without bias, as in BigGAN (Brock et al. 2019). `init: {norm: ...}` sets them.
    """
    norms: dict[int, type[nn.Module]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    if x.dim() not in norms:
        raise ValueError(f"expected 2 to 5 dimensions, but got {x.dim()}")
    channels = x.shape[1]
    maps: list[nn.Module]
    if y.dim() == 1 and not y.is_floating_point():
        if classes is None:
            raise ValueError("y are labels: it takes how many classes there are, conditional_batch_norm(classes=10)")
        maps = [_Rows(classes, channels) for _ in range(2)]
    elif y.dim() == 2 and classes is None:
        maps = [nn.Linear(y.shape[1], channels, bias=False) for _ in range(2)]
    else:
        raise ValueError("y are labels [B] of so many classes, or vectors [B, E] without classes")
    return ConditionalBatchNorm(norms[x.dim()](channels, eps, momentum, affine=False), *maps)
