"""The adversarial loss over maps of patch logits: a critic's on two maps, a generator's on one, and far-off scores."""

from collections.abc import Callable

import torch
from torch import Tensor

from gangraph.kernels.patchgan import PATCH_LOSS

from .entry import Entry, Row

Inputs = Callable[[Row, torch.Generator], dict[str, Tensor | None]]

LOGISTIC = {"loss": "logistic"}
SMOOTHED = {"loss": "logistic", "real_label": 0.9}
LEAST_SQUARES = {"loss": "least_squares"}
HINGE = {"loss": "hinge"}
WASSERSTEIN = {"loss": "wasserstein"}


def _scores(spread: float, fakes: bool) -> Inputs:
    """Normal scores with this standard deviation, about 1 for real and, if there are any, about -1 for fake.

    Were both about 0, the linear loss would be the rounding errors of its sums.
    """

    def draw(row: Row, generator: torch.Generator) -> dict[str, Tensor | None]:
        real, fake = (spread * torch.randn(2, *row.shape, generator=generator, dtype=torch.float64)).unbind()
        return {"real": real + 1, "fake": fake - 1 if fakes else None}

    return draw


def _traffic(maps: int) -> Callable[[Row, bool], int]:
    """Every score is read once; with backward, every gradient is written once.

    The kernel moves more: forward does not know the incoming gradient, so it writes the gradient of the mean, which
    backward reads, scales and writes.
    """

    def least(row: Row, backward: bool) -> int:
        return maps * torch.Size(row.shape).numel() * row.dtype.itemsize * (1 + backward)

    return least


CRITIC = Entry(
    kernel=PATCH_LOSS,
    inputs=_scores(spread=3, fakes=True),
    rows=(
        Row("one score in each map", (1, 1, 1, 1), options=LOGISTIC),
        Row("one score in each map, squares", (1, 1, 1, 1), options=LEAST_SQUARES),
        Row("one score in each map, hinge", (1, 1, 1, 1), options=HINGE),
        Row("one score in each map, linear", (1, 1, 1, 1), options=WASSERSTEIN),
        Row("a map without dimensions", (), options=LOGISTIC),
        Row("scores of whole images", (16,), options=HINGE),
        Row("the 70x70 critic at 256 px", (1, 1, 30, 30), options=LOGISTIC),
        Row("the 70x70 critic, squares as CycleGAN", (1, 1, 30, 30), options=LEAST_SQUARES),
        Row("the 70x70 critic, hinge as GauGAN", (1, 1, 30, 30), options=HINGE),
        Row("the 70x70 critic, linear", (1, 1, 30, 30), options=WASSERSTEIN),
        Row("odd sizes", (3, 1, 7, 11), options=LOGISTIC),
        Row("odd sizes, squares", (3, 1, 7, 11), options=LEAST_SQUARES),
        Row("one block exactly", (1, 1, 32, 32), options=LOGISTIC),
        Row("one score more than a block", (1, 1, 25, 41), options=LOGISTIC),
        Row("one score more than a block, squares", (1, 1, 25, 41), options=LEAST_SQUARES),
        Row("several blocks, the last one part full", (5, 1, 30, 30), options=LOGISTIC),
        Row("several blocks, hinge", (5, 1, 30, 30), options=HINGE),
        Row("several blocks, linear", (5, 1, 30, 30), options=WASSERSTEIN),
        Row("several scores a patch", (2, 5, 13, 9), options=LEAST_SQUARES),
        Row("clips", (2, 1, 4, 7, 7), options=HINGE),
        Row("labels smoothed on one side", (2, 1, 30, 30), options=SMOOTHED),
        Row("labels smoothed on both sides", (2, 1, 30, 30), options={**SMOOTHED, "fake_label": 0.1}),
        Row("labels in the middle", (2, 1, 30, 30), options={**LOGISTIC, "real_label": 0.5, "fake_label": 0.5}),
        Row("labels exchanged", (2, 1, 30, 30), options={**LOGISTIC, "real_label": 0.0, "fake_label": 1.0}),
        Row("squares to 1 and -1", (2, 1, 30, 30), options={**LEAST_SQUARES, "fake_label": -1.0}),
        Row("squares to smoothed labels", (2, 1, 30, 30), options={**LEAST_SQUARES, "real_label": 0.9}),
        Row("float64, whose digits no constant may cut", (2, 1, 30, 30), torch.float64, options=LOGISTIC),
        Row("float64, a label that binary cannot hold", (2, 1, 30, 30), torch.float64, options=SMOOTHED),
        Row("float64, squares", (2, 1, 30, 30), torch.float64, options={**LEAST_SQUARES, "real_label": 0.9}),
        Row("float64, hinge", (2, 1, 30, 30), torch.float64, options=HINGE),
        Row("float64, linear", (2, 1, 30, 30), torch.float64, options=WASSERSTEIN),
        Row("bfloat16", (2, 1, 30, 30), torch.bfloat16, options=LOGISTIC),
        Row("bfloat16, squares", (2, 1, 30, 30), torch.bfloat16, options=LEAST_SQUARES),
        Row("bfloat16, hinge", (2, 1, 30, 30), torch.bfloat16, options=HINGE),
        Row("bfloat16, linear", (2, 1, 30, 30), torch.bfloat16, options=WASSERSTEIN),
        Row("float16", (2, 1, 30, 30), torch.float16, options=LOGISTIC),
        Row("float16, squares", (2, 1, 30, 30), torch.float16, options=LEAST_SQUARES),
        Row("float16, hinge", (2, 1, 30, 30), torch.float16, options=HINGE),
        Row("float16, linear", (2, 1, 30, 30), torch.float16, options=WASSERSTEIN),
        Row("one channel last", (4, 1, 30, 30), layout="channels_last", options=LOGISTIC),
        Row("channels last", (2, 5, 13, 9), layout="channels_last", options=LOGISTIC),
        Row("channels last, bfloat16", (2, 5, 13, 9), torch.bfloat16, "channels_last", HINGE),
        Row("gaps between elements", (3, 1, 30, 30), layout="strided", options=LOGISTIC),
        Row("gaps between elements, float16", (3, 1, 7, 11), torch.float16, "strided", LEAST_SQUARES),
        Row("gaps between elements, float64", (3, 1, 7, 11), torch.float64, "strided", HINGE),
    ),
    timed=(
        Row("70x70 PatchGAN, 256 px, one image", (1, 1, 30, 30), options=LOGISTIC),
        Row("70x70 PatchGAN, 256 px, 64 images", (64, 1, 30, 30), options=LEAST_SQUARES),
        Row("per-pixel critic, 256 px, 64 images", (64, 1, 256, 256), options=LOGISTIC),
        Row("per-pixel critic, 256 px, 256 images", (256, 1, 256, 256), options=LOGISTIC),
        Row("per-pixel critic, hinge, 256 images", (256, 1, 256, 256), options=HINGE),
        Row("per-pixel critic, 512 px, 256 images", (256, 1, 512, 512), options=LOGISTIC),
    ),
    traffic=_traffic(maps=2),
)

GENERATOR = Entry(
    kernel=PATCH_LOSS,
    inputs=_scores(spread=3, fakes=False),
    rows=(
        Row("generator: one score", (1, 1, 1, 1), options=LOGISTIC),
        Row("generator: the 70x70 critic at 256 px", (1, 1, 30, 30), options=LOGISTIC),
        Row("generator: the 70x70 critic, squares", (1, 1, 30, 30), options=LEAST_SQUARES),
        Row("generator: the 70x70 critic, linear as its hinge loss", (1, 1, 30, 30), options=WASSERSTEIN),
        Row("generator: several blocks", (5, 1, 30, 30), options=LOGISTIC),
        Row("generator: larger blocks, the last one part full", (1, 1, 520, 509), options=LOGISTIC),
        Row("generator: any label", (2, 1, 7, 11), options={**LOGISTIC, "real_label": 0.3}),
        Row("generator: bfloat16", (2, 1, 30, 30), torch.bfloat16, options=LOGISTIC),
        Row("generator: float16", (2, 1, 30, 30), torch.float16, options=WASSERSTEIN),
        Row("generator: float64", (2, 1, 30, 30), torch.float64, options=LOGISTIC),
        Row("generator: channels last", (2, 5, 13, 9), layout="channels_last", options=LEAST_SQUARES),
        Row("generator: gaps between elements", (3, 1, 30, 30), layout="strided", options=HINGE),
    ),
    timed=(Row("generator of a per-pixel critic, 256 images", (256, 1, 256, 256), options=LOGISTIC),),
    traffic=_traffic(maps=1),
)

SATURATED = Entry(
    kernel=PATCH_LOSS,
    inputs=_scores(spread=300, fakes=True),
    rows=(
        Row("saturated: exp underflows on most scores", (2, 1, 30, 30), options=LOGISTIC),
        Row("saturated: exp underflows, smoothed", (2, 1, 30, 30), options=SMOOTHED),
        Row("saturated: float64", (2, 1, 30, 30), torch.float64, options=LOGISTIC),
        Row("saturated: bfloat16", (2, 1, 30, 30), torch.bfloat16, options=LOGISTIC),
        Row("saturated: float16", (2, 1, 30, 30), torch.float16, options=LOGISTIC),
        Row("saturated: squares beyond float16", (2, 1, 30, 30), torch.float16, options=LEAST_SQUARES),
        Row("saturated: hinge", (2, 1, 30, 30), options=HINGE),
    ),
    timed=(),
    traffic=_traffic(maps=2),
)

ENTRIES = (CRITIC, GENERATOR, SATURATED)
