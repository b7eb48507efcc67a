"""The gradient difference loss of video prediction: a predicted frame or clip against the true one."""

import torch
from torch import Tensor

from gangraph.kernels.gdl import KERNELS

from .entry import Entry, Row

SQUARED = {"alpha": 2.0}
BETWEEN = {"alpha": 1.5}  # neither |x| nor x^2, so exp2 and log2
WITH_L1 = {"alpha": 1.0, "p": 1.0, "weight": 0.5}
WITH_L2 = {"alpha": 1.0, "p": 2.0}  # as Mathieu et al. train
SQUARED_WITH_L1 = {"alpha": 2.0, "p": 1.0}
SQUARED_WITH_L2 = {"alpha": 2.0, "p": 2.0, "weight": 0.1}
ALL_BETWEEN = {"alpha": 1.3, "p": 1.7, "weight": 0.7}  # numbers that float32 rounds

_STEP = 32  # of a grid, which is exact in every dtype as far as 4


def _inputs(row: Row, generator: torch.Generator) -> dict[str, Tensor | None]:
    """Noise, and a target near it.

    Where a derivative jumps the numbers are on a grid: then differences are exact in every dtype, and ties, which
    abound, are ties in each.
    """
    prediction, other = torch.randn(2, *row.shape, generator=generator, dtype=torch.float64).unbind()
    target = 0.7 * prediction + 0.6 * other
    if 1.0 in (row.options.get("alpha", 1.0), row.options.get("p")):
        prediction, target = ((x * _STEP).round().clamp(-4 * _STEP, 4 * _STEP) / _STEP for x in (prediction, target))
    return {"prediction": prediction, "target": target}


def _traffic(row: Row, backward: bool) -> int:
    """Prediction and target are read once by each launch; both take gradients, which are written once."""
    return torch.Size(row.shape).numel() * row.dtype.itemsize * (6 if backward else 2)


ENTRIES = (
    Entry(
        kernel=KERNELS[0],
        inputs=_inputs,
        rows=(
            Row("one element has no pairs", (1, 1, 1, 1)),
            Row("one element, and the term with p", (1, 1, 1, 1), options=WITH_L2),
            Row("one row has only horizontal pairs", (1, 3, 1, 9)),
            Row("one column has only vertical pairs", (1, 3, 9, 1), options=SQUARED),
            Row("one pair", (1, 1, 1, 2), options=SQUARED),
            Row("a matrix without batch or channels", (6, 5)),
            Row("one leading dimension", (3, 6, 5), options=SQUARED),
            Row("six dimensions", (2, 1, 1, 2, 4, 5), options=WITH_L1),
            Row("the smallest scale of Mathieu et al.", (2, 3, 4, 4), options=WITH_L2),
            Row("their training patches", (1, 3, 32, 32)),
            Row("odd sizes", (2, 2, 7, 11)),
            Row("odd sizes, squared", (2, 2, 7, 11), options=SQUARED),
            Row("odd sizes, any exponent", (2, 2, 7, 11), options=BETWEEN),
            Row("with L1", (1, 2, 7, 11), options=WITH_L1),
            Row("with L2", (1, 2, 7, 11), options=WITH_L2),
            Row("squared with L1", (1, 2, 7, 11), options=SQUARED_WITH_L1),
            Row("squared with L2", (1, 2, 7, 11), options=SQUARED_WITH_L2),
            Row("no exponent is special", (1, 2, 7, 11), options=ALL_BETWEEN),
            Row("alpha 3", (1, 2, 7, 11), options={"alpha": 3.0}),
            Row("a row longer than a tile", (1, 1, 3, 300)),
            Row("a column longer than a tile", (1, 1, 1100, 1), options=SQUARED),
            Row("longer than a tile in both", (1, 1, 37, 259), options=WITH_L1),
            Row("a row that just fills a tile", (1, 2, 5, 256), options=SQUARED),
            Row("many small planes", (5, 3, 2, 3)),
            Row("clips", (1, 2, 3, 8, 8)),
            Row("clips of odd sizes", (1, 2, 3, 9, 7), options=SQUARED_WITH_L1),
            Row("bfloat16", (1, 3, 17, 20), torch.bfloat16),
            Row("bfloat16, squared", (1, 3, 17, 20), torch.bfloat16, options=SQUARED),
            Row("bfloat16, any exponent", (1, 3, 17, 20), torch.bfloat16, options=BETWEEN),
            Row("bfloat16 clips with L2", (1, 2, 2, 9, 16), torch.bfloat16, options=WITH_L2),
            Row("float16", (1, 3, 17, 20), torch.float16),
            Row("float16, squared", (1, 3, 17, 20), torch.float16, options=SQUARED),
            Row("float16, no exponent is special", (1, 3, 17, 20), torch.float16, options=ALL_BETWEEN),
            Row("float64", (1, 3, 17, 20), torch.float64),
            Row("float64, squared with L2", (1, 3, 17, 20), torch.float64, options=SQUARED_WITH_L2),
            Row("float64, no exponent is special", (1, 3, 17, 20), torch.float64, options=ALL_BETWEEN),
            Row("float64, longer than a tile", (1, 1, 5, 300), torch.float64, options=WITH_L1),
            Row("channels last", (2, 3, 9, 12), layout="channels_last"),
            Row("channels last, a row longer than a tile", (1, 3, 5, 100), layout="channels_last", options=WITH_L1),
            Row("channels last, one column", (2, 3, 9, 1), layout="channels_last", options=SQUARED),
            Row("channels last, more channels than columns", (2, 40, 3, 5), layout="channels_last", options=BETWEEN),
            Row("channels last, bfloat16", (2, 3, 9, 12), torch.bfloat16, "channels_last", SQUARED),
            Row("channels last, clips", (2, 3, 2, 5, 6), layout="channels_last", options=WITH_L2),
            Row("every second image and column", (2, 2, 9, 11), layout="strided"),
            Row("strided, with L1", (2, 2, 9, 11), layout="strided", options=SQUARED_WITH_L1),
            Row("strided clips", (2, 1, 3, 5, 7), layout="strided", options=SQUARED),
            Row("strided, float16", (2, 2, 9, 11), torch.float16, "strided"),
            Row("strided, float64", (2, 2, 9, 11), torch.float64, "strided", BETWEEN),
        ),
        timed=(
            Row("4 frames of 64 px", (8, 3, 4, 64, 64)),
            Row("4 frames of 64 px, squared", (8, 3, 4, 64, 64), options=SQUARED),
            Row("1 frame of 128 px", (8, 3, 1, 128, 128)),
            Row("1 frame of 256 px", (1, 3, 1, 256, 256)),
            Row("4 frames of 256 px", (16, 3, 4, 256, 256)),
            Row("4 frames of 256 px, squared", (16, 3, 4, 256, 256), options=SQUARED),
            Row("4 frames of 256 px, with L2", (16, 3, 4, 256, 256), options=WITH_L2),
            Row("large: 64 clips of 256 px", (64, 3, 4, 256, 256)),
            Row("large: 64 clips of 256 px, squared", (64, 3, 4, 256, 256), options=SQUARED),
            Row("large: 256 images of 256 px, channels last", (256, 3, 256, 256), layout="channels_last"),
            Row("large: 512 clips of 64 px", (512, 3, 4, 64, 64)),
        ),
        traffic=_traffic,
    ),
)
