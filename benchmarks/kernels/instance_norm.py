"""Instance norm with leaky ReLU, as after the convolutions of a PatchGAN and of CycleGAN's generator.

`PLANES` serves all kernels over `gangraph.kernels._plane_norm`: it has a row for each way in which that core divides
its work.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from gangraph.kernels._plane_norm import ON_CHIP, _layout
from gangraph.kernels.patchgan import INSTANCE_NORM_LEAKY_RELU

from .agreement import laid_out
from .entry import Entry, Row

BF16, FP16, FP64 = torch.bfloat16, torch.float16, torch.float64

PLANES = (
    Row("one element", (1, 1, 1, 1)),
    Row("planes of one position", (2, 5, 1, 1)),
    Row("planes of three positions", (2, 5, 1, 3)),
    Row("no samples", (0, 3, 4, 4)),
    Row("no channels", (2, 0, 4, 4)),
    Row("no positions", (2, 3, 0, 4)),
    Row("odd sizes", (2, 3, 7, 11)),
    Row("one channel", (2, 1, 7, 11)),
    Row("sequences", (2, 3, 17)),
    Row("clips", (1, 3, 2, 5, 7)),
    Row("four dimensions of positions", (1, 2, 2, 3, 2, 3)),
    Row("many channels in one program", (2, 64, 4, 4)),
    Row("one channel more than a program takes", (2, 65, 4, 4)),
    Row("several planes a program, the last ones absent", (1, 11, 9, 13)),
    Row("one position less than a tile", (1, 2, 31, 33)),
    Row("one plane fills a tile", (2, 2, 32, 32)),
    Row("one position more than a tile", (1, 2, 25, 41)),
    Row("just below 64 x 64", (1, 2, 63, 65)),
    Row("64 x 64", (2, 2, 64, 64)),
    Row("just above 64 x 64", (1, 2, 17, 241)),
    Row("a tile that is half empty", (1, 1, 96, 96)),
    Row("the largest plane that a program holds", (1, 1, 128, 128)),
    Row("one position too many: a chunk of one", (1, 1, 113, 145)),
    Row("two chunks exactly", (1, 1, 128, 256)),
    Row("a third chunk of one position", (2, 1, 3, 10923)),
    Row("chunks, the last one part full", (1, 2, 190, 211)),
    Row("bfloat16", (2, 3, 17, 20), BF16),
    Row("bfloat16, 64 x 64", (1, 2, 64, 64), BF16),
    Row("bfloat16, a large plane", (1, 1, 100, 120), BF16),
    Row("bfloat16, chunks", (1, 1, 190, 211), BF16),
    Row("float16", (2, 3, 17, 20), FP16),
    Row("float16, chunks", (1, 1, 190, 211), FP16),
    Row("float64, whose digits no constant may cut", (2, 3, 17, 20), FP64),
    Row("float64, sequences", (3, 70, 5), FP64),
    Row("float64, chunks", (1, 1, 190, 211), FP64),
    Row("channels last, fewer than neighbours in memory", (2, 3, 9, 12), layout="channels_last"),
    Row("channels last, several blocks of them", (2, 21, 9, 12), layout="channels_last"),
    Row("channels last, one channel", (2, 1, 9, 12), layout="channels_last"),
    Row("channels last, chunks of one block of them", (1, 9, 64, 64), layout="channels_last"),
    Row("channels last, 32 x 32", (1, 9, 32, 32), layout="channels_last"),
    Row("channels last, chunks of several channels", (1, 11, 65, 67), layout="channels_last"),
    Row("channels last, clips", (2, 5, 2, 5, 6), layout="channels_last"),
    Row("channels last, bfloat16", (2, 21, 9, 12), BF16, "channels_last"),
    Row("channels last, bfloat16, chunks", (1, 5, 64, 65), BF16, "channels_last"),
    Row("channels last, float64", (2, 5, 9, 12), FP64, "channels_last"),
    Row("every second image and column", (2, 3, 9, 11), layout="strided"),
    Row("strided chunks", (1, 1, 190, 211), layout="strided"),
    Row("strided sequences", (3, 5, 19), layout="strided"),
    Row("strided, float16", (2, 3, 9, 11), FP16, "strided"),
    Row("strided, float64", (2, 3, 9, 11), FP64, "strided"),
)


def normalised(row: Row, backward: bool) -> int:
    """The least bytes to normalise planes: x read and y written, and backward x and g read and dx written.

    A plane of more than `ON_CHIP` elements is held by no program: its sums take a pass of their own, and everything
    that is read is read twice. What there is of each plane and each channel is nothing beside the planes, and not
    counted.
    """
    size = torch.Size(row.shape).numel() * row.dtype.itemsize
    return size * (3 * reads(row) + 2 if backward else reads(row) + 1)


def reads(row: Row) -> int:
    """How often a plane is read: once if a program holds it, else twice."""
    x = laid_out(torch.empty(row.shape, dtype=row.dtype, device="meta"), row.layout, len(row.shape))
    return 1 if _layout(x.flatten(2), ON_CHIP).chunks == 1 else 2


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers of a standard normal distribution."""
    return torch.randn(shape, generator=generator, dtype=FP64)


def clear_of_zero(v: Tensor, margin: float = 0.05) -> Tensor:
    """Farther from zero by the margin: where a leaky ReLU bends, rounding would decide about its gradient."""
    return v + margin * torch.where(v < 0, -1, 1)


def _inputs(affine: bool) -> Callable[[Row, torch.Generator], dict[str, Tensor | None]]:
    """Planes about 0.3. Weights are about 1, and some negative; each sign gives the activation another half."""

    def draw(row: Row, generator: torch.Generator) -> dict[str, Tensor | None]:
        x, channels = normal(generator, *row.shape), row.shape[1]
        if not affine:
            return {"x": 0.3 + 2 * clear_of_zero(_standard(x)), "weight": None, "bias": None}
        weight = (1 + 0.2 * normal(generator, channels)) * torch.where(torch.arange(channels) % 3 == 1, -1, 1)
        bias = 0.3 * normal(generator, channels)
        across = (bias / weight).reshape(-1, *(1,) * (x.dim() - 2))
        x = 0.3 + 2 * (clear_of_zero(_standard(x) + across) - across)
        return {"x": x, "weight": weight, "bias": bias}

    return draw


def _standard(x: Tensor) -> Tensor:
    """Planes of mean 0 and variance 1, if they have several positions."""
    return functional.instance_norm(x) if x.numel() and x[0, 0].numel() > 1 else x


def _far(row: Row, generator: torch.Generator) -> dict[str, Tensor | None]:
    """Planes of variance 1 about 1000: their squares differ from the square of the mean in the seventh digit."""
    return {"x": 1000 + normal(generator, *row.shape), "weight": None, "bias": None}


RELU, NONE, LEAKY = {"slope": 0.0}, {"slope": 1.0}, {"slope": 0.2}

ENTRIES = (
    Entry(
        kernel=INSTANCE_NORM_LEAKY_RELU,
        inputs=_inputs(affine=False),
        rows=(
            *(replace(row, options=LEAKY) for row in PLANES),
            Row("ReLU", (2, 3, 17, 20), options=RELU),
            Row("ReLU, chunks", (1, 1, 190, 211), options=RELU),
            Row("no activation", (2, 3, 17, 20), options=NONE),
            Row("no activation, chunks", (1, 1, 190, 211), options=NONE),
            Row("a large eps", (2, 3, 17, 20), options={"eps": 0.5}),
            Row("a slope that binary cannot hold, float64", (2, 3, 17, 20), FP64, options={"slope": 0.01}),
        ),
        timed=(
            Row("70x70 PatchGAN, 256 px, one image, 2nd layer", (1, 128, 64, 64), options=LEAKY),
            Row("70x70 PatchGAN, 256 px, one image, 3rd layer", (1, 256, 32, 32), options=LEAKY),
            Row("70x70 PatchGAN, 256 px, one image, 4th layer", (1, 512, 31, 31), options=LEAKY),
            Row("70x70 PatchGAN, 256 px, 64 images, 2nd layer", (64, 128, 64, 64), options=LEAKY),
            Row("70x70 PatchGAN, 256 px, 64 images, 3rd layer", (64, 256, 32, 32), options=LEAKY),
            Row("70x70 PatchGAN, 256 px, 64 images, 4th layer", (64, 512, 31, 31), options=LEAKY),
            Row("CycleGAN's generator, 256 px", (1, 64, 256, 256), options=RELU),
            Row("CycleGAN's generator, 128 px", (1, 128, 128, 128), options=RELU),
            Row("CycleGAN's generator, 64 px", (1, 256, 64, 64), options=RELU),
            Row("CycleGAN's generator, 256 px, 16 images", (16, 64, 256, 256), options=RELU),
        ),
        traffic=normalised,
    ),
    Entry(
        kernel=INSTANCE_NORM_LEAKY_RELU,
        inputs=_inputs(affine=True),
        rows=(
            Row("affine", (2, 3, 7, 11), options=LEAKY),
            Row("affine, one element", (1, 1, 1, 1), options=LEAKY),
            Row("affine, one channel more than a program takes", (2, 65, 4, 4), options=LEAKY),
            Row("affine, a large plane", (1, 2, 100, 120), options=LEAKY),
            Row("affine, chunks", (1, 2, 190, 211), options=LEAKY),
            Row("affine, ReLU", (2, 3, 17, 20), options=RELU),
            Row("affine, no activation", (2, 3, 17, 20), options=NONE),
            Row("affine, bfloat16", (2, 3, 17, 20), BF16, options=LEAKY),
            Row("affine, float16", (2, 3, 17, 20), FP16, options=LEAKY),
            Row("affine, float64", (2, 3, 17, 20), FP64, options=LEAKY),
            Row("affine, channels last", (2, 21, 9, 12), layout="channels_last", options=LEAKY),
            Row("affine, channels last, chunks", (1, 33, 40, 40), BF16, "channels_last", LEAKY),
            Row("affine, strided", (2, 3, 9, 11), layout="strided", options=LEAKY),
        ),
        timed=(Row("affine, 128 px, 16 images", (16, 128, 128, 128), options=LEAKY),),
        traffic=normalised,
    ),
    Entry(
        kernel=INSTANCE_NORM_LEAKY_RELU,
        inputs=_far,
        rows=(
            Row("far from 0, float16", (2, 3, 17, 20), FP16, options=NONE),
            Row("far from 0, bfloat16, whose neighbours are 4 apart", (2, 3, 17, 20), BF16, options=NONE),
            Row("far from 0, float16, chunks", (1, 1, 190, 211), FP16, options=NONE),
        ),
        timed=(),
        traffic=normalised,
    ),
)
