"""What is missing of an image: in float64 against a loop that is written here by hand."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    move,
    normals,
    parameter_deviations,
    resumes_to_the_bit,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, OVERLAP, NEAR = 6, 4, 16, 1, 10
WIDTH, CODE = 2, 5
LIKENESS, REALNESS = 0.98, 0.02
GREY = torch.tensor([117, 104, 123], dtype=torch.float64)[:, None, None] / 255 * 2 - 1


class Filler(nn.Module):
    """16 pixels to a code of one place, and from there to 8 pixels, or 16."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        w = WIDTH
        self.down = nn.Sequential(
            nn.Conv2d(3, w, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(w, 2 * w, 4, stride=2, padding=1), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * w, CODE, 4), nn.BatchNorm2d(CODE), nn.LeakyReLU(0.2),
        )  # fmt: skip
        middle = [nn.ConvTranspose2d(2 * w, w, 4, stride=2, padding=1), nn.BatchNorm2d(w), nn.ReLU()]
        self.up = nn.Sequential(
            nn.ConvTranspose2d(CODE, 2 * w, 4), nn.BatchNorm2d(2 * w), nn.ReLU(), *(middle if whole else []),
            nn.ConvTranspose2d(w if whole else 2 * w, 3, 4, stride=2, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        image: Tensor = self.up(self.down(x))
        return image


def critic(*, whole: bool) -> nn.Sequential:
    """Halves what it sees to 4 pixels."""
    w = WIDTH
    more = [nn.Conv2d(w, 2 * w, 4, stride=2, padding=1), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2)]
    first = [nn.Conv2d(3, w, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    last = nn.Conv2d(2 * w if whole else w, 1, 4)
    return nn.Sequential(*first, *(more if whole else []), last).double()


def middle_mask() -> Tensor:
    """6 pixels in the middle of 16: a hole of 8, but for one around it that is shown."""
    mask = torch.zeros(BATCH, 1, SIZE, SIZE, dtype=torch.float64)
    mask[:, :, 4 + OVERLAP : 12 - OVERLAP, 4 + OVERLAP : 12 - OVERLAP] = 1
    return mask


def blocks(corners: Tensor) -> Tensor:
    """Four squares of 4 pixels for each image; a pixel belongs to one where its place lies in it."""
    mask = torch.zeros(BATCH, 1, SIZE, SIZE, dtype=torch.float64)
    for sample in range(BATCH):
        for number in range(4):
            for row in range(SIZE):
                for column in range(SIZE):
                    right, down = (place / SIZE - float(c) for place, c in
                                   zip((column, row), corners[sample, :, number], strict=True))  # fmt: skip
                    if 0 <= right < 0.25 and 0 <= down < 0.25:
                        mask[sample, 0, row, column] = 1
    return mask


def regions(cells: Tensor) -> Tensor:
    grown = functional.interpolate(cells, size=SIZE, mode="bicubic", antialias=True)
    return (grown < 0.25).double()


def drawn(variant: str, number: int) -> tuple[dict[str, Tensor], Tensor]:
    """What a step is given beside its image, and the mask that follows."""
    generator = torch.Generator().manual_seed(number)
    if variant == "regions":
        cells = torch.rand(BATCH, 1, 4, 4, generator=generator, dtype=torch.float64)
        return {"mask.uniform": cells}, regions(cells)
    if variant == "blocks":
        corner = torch.rand(BATCH, 2, 4, generator=generator, dtype=torch.float64) * 0.75
        return {"corner": corner}, blocks(corner)
    if variant == "objects":
        other = torch.randint(0, 7, (BATCH, SIZE, SIZE), generator=generator)
        return {"other": other}, (other > 0).double()[:, None]
    return {}, middle_mask()


@PLANS
@pytest.mark.parametrize("variant", ["", "regions", "blocks", "objects"])
def test_holes_are_filled_as_by_a_loop_by_hand(share: bool, merge: bool, variant: str) -> None:
    whole = bool(variant)
    more = {"params.up": [WIDTH], "params.down_d": [2 * WIDTH]} if whole else {}
    engine = trainer(load("inpainting", variant=variant or None, **more), share=share, merge=merge)
    g, d = Filler(whole=whole).double(), critic(whole=whole)
    networks: dict[str, nn.Module] = {"G": g, "D": d}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started = snapshot(networks)
    painter = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.5, 0.999))
    judge = torch.optim.Adam(d.parameters(), lr=4e-4, betas=(0.5, 0.999))
    for number in range(STEPS):
        image = normals(1, BATCH, 3, SIZE, SIZE, seed=number)[0].clamp(-1, 1)
        given, mask = drawn(variant, number)
        assert 0 < float(mask.mean()) < 1
        found = engine.step({"image": image, **given})
        shown = torch.where(mask.bool(), GREY, image)
        target, band = (
            (image, torch.ones_like(mask)) if whole else (image[:, :, 4:12, 4:12], middle_mask()[:, :, 4:12, 4:12])
        )
        rec = g(shown)
        judged = functional.softplus(-d(target)).mean() + functional.softplus(d(rec.detach())).mean()
        move(judged, judge)
        weight = 1 + (NEAR - 1) * (1 - band)
        context = (weight * (rec - target).square()).mean()
        fool = functional.softplus(-d(rec)).mean()
        move(LIKENESS * context + REALNESS * fool, painter)
        for name, loss in (("judge", judged), ("context", context), ("fool", fool)):
            assert deviation(found[name], loss.detach()) < 1e-8
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-7)) < 1e-8


def test_a_hole_in_the_middle_leaves_the_band_and_is_grey() -> None:
    engine = trainer(load("inpainting"))
    evaluated = engine.evaluate(4)
    assert evaluated is not None
    given, image = evaluated.grid["given"].double(), evaluated.grid["image"].double()
    hidden = middle_mask()[:1].expand(4, 3, -1, -1).bool()
    assert torch.equal(given[~hidden], image[~hidden])
    assert torch.allclose(given[hidden], GREY.expand(4, 3, SIZE, SIZE)[hidden])
    filled = evaluated.grid["filled"].double()
    assert torch.equal(filled[~hidden], image[~hidden])
    assert not torch.allclose(filled[hidden], given[hidden])


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("inpainting"), tmp_path)
