"""The networks of the six classic systems, written by hand from their papers and the authors' code.

Parameters are registered in the order in which forward uses them. Networks with dropout take keep-masks:
tensors of 0 and 1/(1-p), one per dropout, in forward order; without masks they draw their own.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Masks = Sequence[Tensor] | None


# ---------------------------------------------------------------------------
# GAN (Goodfellow et al. 2014) and plain multilayer perceptrons


class GanGenerator(nn.Module):
    """Noise to pixels in [0, 1]: two ReLU layers and a sigmoid."""

    def __init__(self, nz: int = 100, hidden: int = 1200, out_features: int = 784) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(nz, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, out_features),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.net(z)
        return out


class MaxoutDiscriminator(nn.Module):
    """Maxout layers, then one logit per sample of shape [B, 1]; dropout acts on the input of every layer."""

    def __init__(
        self,
        in_features: int = 784,
        widths: Sequence[int] = (240, 240),
        pieces: int = 5,
        drops: Sequence[float] = (0.2, 0.5, 0.5),
    ) -> None:
        super().__init__()
        assert len(drops) == len(widths) + 1
        self.pieces = pieces
        self.drops = tuple(drops)
        self.hidden = nn.ModuleList(nn.Linear(i, o * pieces) for i, o in pairwise([in_features, *widths]))
        self.logit = nn.Linear([in_features, *widths][-1], 1)

    def forward(self, x: Tensor, masks: Masks = None) -> Tensor:
        h = x.flatten(1)
        for k, layer in enumerate(self.hidden):
            # Output feature unit * pieces + piece.
            h = layer(self._drop(h, k, masks)).unflatten(1, (-1, self.pieces)).amax(2)
        out: Tensor = self.logit(self._drop(h, len(self.hidden), masks))
        return out

    def _drop(self, h: Tensor, k: int, masks: Masks) -> Tensor:
        return F.dropout(h, self.drops[k], self.training) if masks is None else h * masks[k]


class Mlp(nn.Module):
    """Linear layers of the given widths, with the activation between them and none after the last."""

    def __init__(self, widths: Sequence[int], activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.layers[0](x)
        for layer in self.layers[1:]:
            h = layer(self.activation(h))
        return h


# ---------------------------------------------------------------------------
# DCGAN (Radford et al. 2015), as in pytorch/examples


class DcganGenerator(nn.Module):
    """Noise [B, nz] or [B, nz, 1, 1] to an image in [-1, 1], from 4 px up by doublings; no biases."""

    def __init__(self, nz: int = 100, ngf: int = 64, channels: int = 3, size: int = 64) -> None:
        super().__init__()
        widths = _dcgan_widths(ngf, size)[::-1]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(nz, widths[0], 4, 1, 0, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for i, o in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False),
                nn.BatchNorm2d(o),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.net(z.view(z.shape[0], -1, 1, 1))
        return out


class DcganDiscriminator(nn.Module):
    """Image to one logit per sample of shape [B]; no biases, no sigmoid."""

    def __init__(self, ndf: int = 64, channels: int = 3, size: int = 64) -> None:
        super().__init__()
        widths = _dcgan_widths(ndf, size)
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for i, o in pairwise(widths):
            layers += [
                nn.Conv2d(i, o, 4, 2, 1, bias=False),
                nn.BatchNorm2d(o),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x).flatten()
        return out


def _dcgan_widths(base: int, size: int) -> list[int]:
    """Widths from size / 2 px down to 4 px: [64, 128, 256, 512] for 64 px."""
    doublings = size.bit_length() - 3
    assert size == 4 << doublings, "size must be a power of two, at least 8"
    return [base << k for k in range(doublings)]


# ---------------------------------------------------------------------------
# pix2pix (Isola et al. 2017), as in junyanz/pytorch-CycleGAN-and-pix2pix


class Patchgan(nn.Module):
    """Image to a map of logits; `layers` is 3 for the 70 px field, 0 for the 1 px PixelGAN.

    A convolution followed by batch norm has no bias. With batch norm the authors' PixelGAN has none in its
    last convolution either, although no norm follows it: its count of 9,024 says so.
    """

    def __init__(
        self,
        in_channels: int,
        ndf: int = 64,
        layers: int = 3,
        norm: Literal["batch", "instance"] = "batch",
    ) -> None:
        super().__init__()
        make_norm = nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d
        bias = norm != "batch"
        widths = [ndf * min(2**k, 8) for k in range(max(layers, 1) + 1)]
        # Every layer halves the image, but for the last two; the PixelGAN keeps its size.
        kernel, pad = (4, 1) if layers else (1, 0)
        strides = [2] * layers + [1] * (len(widths) - layers)

        net: list[nn.Module] = [
            nn.Conv2d(in_channels, widths[0], kernel, strides[0], pad),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for (i, o), stride in zip(pairwise(widths), strides[1:], strict=True):
            net += [
                nn.Conv2d(i, o, kernel, stride, pad, bias=bias),
                make_norm(o),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        net += [nn.Conv2d(widths[-1], 1, kernel, 1, pad, bias=bias or layers > 0)]
        self.net = nn.Sequential(*net)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Unet(nn.Module):
    """Encoder and decoder with skips; halves the image `levels` times; batch norm.

    Down stage k makes d[k] (k = 1 .. levels); up stage k makes u[k] (k = levels .. 1), as large as d[k - 1].
    Dropout 0.5 acts on u[k] for k in drop_levels, by default the authors' 5 .. levels - 1; masks come in
    forward order, so from the deepest level up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ngf: int = 64,
        levels: int = 8,
        drop_levels: Collection[int] | None = None,
    ) -> None:
        super().__init__()
        assert levels >= 2
        self.drop_levels = frozenset(range(5, levels) if drop_levels is None else drop_levels)
        assert self.drop_levels <= set(range(2, levels + 1))
        width = [in_channels, *(ngf * min(2**k, 8) for k in range(levels))]

        self.down = nn.ModuleList()
        for k in range(1, levels + 1):
            stage = nn.Sequential(nn.Conv2d(width[k - 1], width[k], 4, 2, 1, bias=False))
            if 1 < k < levels:
                stage.append(nn.BatchNorm2d(width[k]))
            self.down.append(stage)

        self.up = nn.ModuleList()
        for k in range(levels, 1, -1):
            i = width[k] if k == levels else 2 * width[k]
            self.up.append(
                nn.Sequential(nn.ConvTranspose2d(i, width[k - 1], 4, 2, 1, bias=False), nn.BatchNorm2d(width[k - 1]))
            )
        self.up.append(nn.Sequential(nn.ConvTranspose2d(2 * width[1], out_channels, 4, 2, 1)))

    def forward(self, x: Tensor, masks: Masks = None) -> Tensor:
        # Encoder. The leaky ReLU rectifies the skips in place, which the decoder's ReLU cannot tell.
        skips = [self.down[0](x)]
        for stage in self.down[1:]:
            skips.append(stage(F.leaky_relu(skips[-1], 0.2, inplace=True)))

        # Decoder.
        remaining = None if masks is None else iter(masks)
        h: Tensor = skips.pop()
        for k, stage in zip(range(len(self.up), 0, -1), self.up, strict=True):
            h = stage(F.relu(h, inplace=True))
            if k in self.drop_levels:
                h = F.dropout(h, 0.5, self.training) if remaining is None else h * next(remaining)
            if k > 1:
                h = torch.cat([skips.pop(), h], 1)
        return h.tanh()


# ---------------------------------------------------------------------------
# CycleGAN (Zhu et al. 2017), as in junyanz/pytorch-CycleGAN-and-pix2pix


class ResnetBlock(nn.Module):
    """Two reflected 3x3 convolutions around an identity; no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.net(x)
        return out


class ResnetGenerator(nn.Module):
    """Image to image of the same size: two halvings, residual blocks, two doublings; instance norm."""

    def __init__(self, channels: int = 3, ngf: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, ngf, 7),
            *_normed(ngf),
            nn.Conv2d(ngf, 2 * ngf, 3, 2, 1),
            *_normed(2 * ngf),
            nn.Conv2d(2 * ngf, 4 * ngf, 3, 2, 1),
            *_normed(4 * ngf),
            *(ResnetBlock(4 * ngf) for _ in range(blocks)),
            nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, output_padding=1),
            *_normed(2 * ngf),
            nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, output_padding=1),
            *_normed(ngf),
            nn.ReflectionPad2d(3),
            nn.Conv2d(ngf, channels, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def _normed(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)
