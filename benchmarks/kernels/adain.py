"""Adaptive instance normalisation: AdaIN, AdaIN from a style image, and the epilogue of StyleGAN's layers."""

from collections.abc import Callable

import torch
from torch import Tensor

from gangraph.kernels import catalogue

from .entry import Entry, Row
from .instance_norm import BF16, FP16, FP64, PLANES, clear_of_zero, normal, normalised, reads

Inputs = dict[str, Tensor | None]
Draw = Callable[[Row, torch.Generator], Inputs]

KERNELS = {kernel.name: kernel for kernel in catalogue()}
CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}  # Karras et al. 2019
STYLEGAN = tuple(Row(f"StyleGAN, {size} px, 4 images", (4, CHANNELS[size], size, size)) for size in CHANNELS)


def _style(row: Row, generator: torch.Generator) -> Inputs:
    """Scales about 1, as StyleGAN's are at the start, and a few negative ones."""
    scale, bias = normal(generator, 2, *row.shape[:2]).unbind()
    return {"scale": 1 + 0.7 * scale, "bias": bias}


def _adain(mean: float) -> Draw:
    def draw(row: Row, generator: torch.Generator) -> Inputs:
        return {"x": mean + normal(generator, *row.shape), **_style(row, generator)}

    return draw


def _with_noise(row: Row, generator: torch.Generator, samples: int | None = None) -> Inputs:
    """What the leaky ReLU receives is clear of zero."""
    batch, channels, *positions = row.shape
    noise = normal(generator, batch if samples is None else samples, 1, *positions)
    weight, bias = 0.5 * normal(generator, channels), 0.3 * normal(generator, channels)
    across = (channels, *(1,) * len(positions))
    x = clear_of_zero(1.5 * normal(generator, *row.shape)) - weight.view(across) * noise - bias.view(across)
    return {"x": x, "noise": noise, "noise_weight": weight, "channel_bias": bias, **_style(row, generator)}


def _one_noise(row: Row, generator: torch.Generator) -> Inputs:
    return _with_noise(row, generator, samples=1)


def _noise_alone(row: Row, generator: torch.Generator) -> Inputs:
    made = _with_noise(row, generator)
    x, bias = made["x"], made["channel_bias"]
    assert x is not None
    assert bias is not None
    return {**made, "x": x + bias.view(-1, *(1,) * (x.dim() - 2)), "channel_bias": None}


def _without_noise(row: Row, generator: torch.Generator) -> Inputs:
    x = clear_of_zero(1.5 * normal(generator, *row.shape))
    return {"x": x, "noise": None, "noise_weight": None, "channel_bias": None, **_style(row, generator)}


def _far_noise(row: Row, generator: torch.Generator) -> Inputs:
    """Planes of variance about 1 about 1000, where the leaky ReLU does nothing."""
    made = _with_noise(row, generator)
    return {**made, "channel_bias": torch.full(row.shape[1:2], 1000.0, dtype=FP64)}


def _epilogue_traffic(noise: bool) -> Callable[[Row, bool], int]:
    """That of the planes, and of one plane of noise a sample, which is data: read as often as x."""

    def least(row: Row, backward: bool) -> int:
        if not noise:
            return normalised(row, backward)
        batch, _, *positions = row.shape
        passes = 2 * reads(row) if backward else reads(row)
        return normalised(row, backward) + passes * batch * torch.Size(positions).numel() * row.dtype.itemsize

    return least


def _image(positions: tuple[int, ...] | None = None, mean: float = 0.5) -> Draw:
    """Content, and a style with planes of this size; else of the content's."""

    def draw(row: Row, generator: torch.Generator) -> Inputs:
        style = mean + 0.7 * normal(generator, *row.shape[:2], *(row.shape[2:] if positions is None else positions))
        return {"x": mean + 2 * normal(generator, *row.shape), "style": style}

    return draw


def _image_traffic(row: Row, backward: bool) -> int:
    """That of the content, and a style of its size read once forward, and read and its gradient written backward."""
    return normalised(row, backward) + torch.Size(row.shape).numel() * row.dtype.itemsize * (3 if backward else 1)


FAR = (
    Row("far from 0, float16", (2, 3, 17, 20), FP16),
    Row("far from 0, bfloat16, whose neighbours are 4 apart", (2, 3, 17, 20), BF16),
    Row("far from 0, float16, chunks", (1, 1, 190, 211), FP16),
)

ENTRIES = (
    Entry(
        kernel=KERNELS["style_epilogue"],
        inputs=_with_noise,
        rows=(
            *(row for row in PLANES if 0 not in row.shape),  # else the gradient of a parameter compares with nothing
            Row("ReLU", (2, 3, 17, 20), options={"slope": 0.0}),
            Row("no activation", (2, 3, 17, 20), options={"slope": 1.0}),
            Row("ReLU, chunks", (1, 1, 190, 211), options={"slope": 0.0}),
            Row("another slope and eps, float64", (2, 3, 17, 20), FP64, options={"slope": 0.01, "eps": 1e-3}),
        ),
        timed=(*STYLEGAN, Row("StyleGAN, 256 px, 32 images", (32, 64, 256, 256))),
        traffic=_epilogue_traffic(noise=True),
        data=frozenset({"noise"}),
    ),
    Entry(
        kernel=KERNELS["style_epilogue"],
        inputs=_one_noise,
        rows=(
            Row("one noise for all samples", (3, 5, 7, 11)),
            Row("one noise for all samples, bfloat16", (3, 5, 7, 11), BF16),
            Row("one noise for all samples, channels last", (3, 5, 7, 11), layout="channels_last"),
            Row("one noise for all samples, strided", (3, 5, 7, 11), layout="strided"),
        ),
        timed=(),
        traffic=_epilogue_traffic(noise=True),
    ),
    Entry(
        kernel=KERNELS["style_epilogue"],
        inputs=_noise_alone,
        rows=(Row("noise without bias", (2, 3, 17, 20)), Row("noise without bias, chunks", (1, 1, 190, 211))),
        timed=(),
        traffic=_epilogue_traffic(noise=True),
    ),
    Entry(
        kernel=KERNELS["style_epilogue"],
        inputs=_without_noise,
        rows=(
            Row("neither noise nor bias", (2, 3, 17, 20)),
            Row("neither noise nor bias, no samples", (0, 3, 4, 4)),
            Row("neither noise nor bias, a large plane", (1, 1, 100, 120)),
            Row("neither noise nor bias, chunks", (1, 1, 190, 211)),
            Row("neither noise nor bias, bfloat16", (2, 3, 17, 20), BF16),
        ),
        timed=(Row("StyleGAN without noise, 256 px, 4 images", (4, 64, 256, 256)),),
        traffic=_epilogue_traffic(noise=False),
    ),
    Entry(
        kernel=KERNELS["style_epilogue"],
        inputs=_far_noise,
        rows=FAR,
        timed=(),
        traffic=_epilogue_traffic(noise=True),
    ),
    Entry(
        kernel=KERNELS["adain"],
        inputs=_adain(0.5),
        rows=(
            *(row for row in PLANES if 0 not in row.shape[2:]),  # the same
            Row("a large eps", (2, 3, 17, 20), options={"eps": 0.5}),
        ),
        timed=(*STYLEGAN, Row("StyleGAN, 256 px, 32 images", (32, 64, 256, 256))),
        traffic=normalised,
    ),
    Entry(kernel=KERNELS["adain"], inputs=_adain(1000.0), rows=FAR, timed=(), traffic=normalised),
    Entry(
        kernel=KERNELS["adain_image"],
        inputs=_image(),
        rows=(
            *(row for row in PLANES if 0 not in row.shape),  # of nothing PyTorch's std warns
            Row("a large eps", (2, 3, 17, 20), options={"eps": 0.5}),
        ),
        timed=(
            Row("style transfer, 256 px, 8 images", (8, 512, 32, 32)),
            Row("style transfer, 512 px, 8 images", (8, 512, 64, 64)),
            Row("style transfer, 1024 px, 8 images", (8, 512, 128, 128)),
            Row("style transfer, 2048 px, one image", (1, 512, 256, 256)),
        ),
        traffic=_image_traffic,
    ),
    Entry(
        kernel=KERNELS["adain_image"],
        inputs=_image((5, 9)),
        rows=(
            Row("a smaller style", (2, 3, 17, 20)),
            Row("a larger style", (2, 3, 2, 3)),
            Row("a smaller style, bfloat16", (2, 3, 17, 20), BF16),
            Row("a smaller style, channels last", (2, 21, 9, 12), layout="channels_last"),
            Row("a smaller style, strided", (2, 3, 9, 11), layout="strided"),
        ),
        timed=(),
        traffic=_image_traffic,
    ),
    Entry(
        kernel=KERNELS["adain_image"],
        inputs=_image((3, 10923)),
        rows=(Row("a style in chunks", (1, 1, 8, 8)), Row("a style in chunks, float16", (1, 1, 8, 8), FP16)),
        timed=(),
        traffic=_image_traffic,
    ),
    Entry(kernel=KERNELS["adain_image"], inputs=_image(mean=1000.0), rows=FAR, timed=(), traffic=_image_traffic),
)
