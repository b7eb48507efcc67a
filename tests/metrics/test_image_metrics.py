"""Metrics of images against closed forms, other implementations and the values that authors publish."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gangraph.vocabulary.metrics.images import (
    lpips,
    mean_absolute_error,
    psnr,
    sharpness,
    sharpness_difference,
    ssim,
)
from tests.metrics.shared import WEIGHTS, enlarged, needs_shared, patch, photos, signed, uniform


def near(found: Tensor, expected: float, within: float = 1e-5) -> bool:
    return abs(float(found) - expected) <= within * max(1.0, abs(expected))


def luminance(levels: Tensor) -> Tensor:
    """Y of BT.601 by its definition on levels of 8 bits: [N, 1, H, W] in [16, 235]."""
    red, green, blue = (levels.double() / 255).unbind(1)
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue)[:, None]


def windows(x: Tensor, y: Tensor, span: float) -> Tensor:
    """SSIM of Wang et al. 2004 by its formula, of one image [1, 1, H, W], in float64."""
    line = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line)[None, None] / line.sum() ** 2

    def blurred(image: Tensor) -> Tensor:
        return functional.conv2d(image, window)

    mx, my = blurred(x), blurred(y)
    vx, vy, vxy = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    a, b = (0.01 * span) ** 2, (0.03 * span) ** 2
    return (2 * mx * my + a) * (2 * vxy + b) / ((mx**2 + my**2 + a) * (vx + vy + b))


def test_psnr_of_a_known_error() -> None:
    x = uniform(3, 3, 8, 8) * 0.5
    assert near(psnr(x, x + 0.1), 10 * math.log10(4 / 0.01))
    assert near(psnr(x, x + 0.1, span=1.0), 20)


def test_psnr_is_the_mean_over_images_and_frames() -> None:
    x = torch.zeros(1, 3, 2, 4, 4)
    y = torch.stack((torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), 0.02)), 1)[None]
    assert near(psnr(x, y), (20 + 40) / 2)


def test_psnr_of_luminance_without_a_border() -> None:
    x, y = ((uniform(2, 3, 12, 12, seed=seed) + 1).mul(127.5).round() for seed in (0, 1))
    error = (luminance(x) - luminance(y))[..., 4:-4, 4:-4].flatten(1).square().mean(1)
    expected = float((10 * torch.log10(255**2 / error)).mean())
    assert near(psnr(signed(x), signed(y), luminance=True, border=4), expected)


def test_mean_absolute_error_of_a_known_error() -> None:
    assert near(mean_absolute_error(torch.zeros(2, 3), torch.tensor([[0.0, 1, 2], [-3, 0, 0]])), 1)


def test_ssim_is_the_formula() -> None:
    x, y = uniform(1, 1, 20, 24), (uniform(1, 1, 20, 24) + 0.3 * uniform(1, 1, 20, 24, seed=1)).clamp(-1, 1)
    expected = windows((x.double() + 1) / 2, (y.double() + 1) / 2, 1.0).mean()
    assert near(ssim(x, y), float(expected), 1e-4)
    assert near(ssim(x, x), 1)


def test_ssim_of_luminance_is_that_of_its_levels() -> None:
    x, y = ((uniform(1, 3, 24, 24, seed=seed) + 1).mul(127.5).round() for seed in (0, 1))
    cut_x, cut_y = (luminance(levels)[..., 4:-4, 4:-4] for levels in (x, y))
    assert near(ssim(signed(x), signed(y), luminance=True, border=4), float(windows(cut_x, cut_y, 255.0).mean()), 1e-4)


def test_ssim_of_clips_is_the_mean_over_frames() -> None:
    x, y = uniform(2, 3, 2, 16, 16), uniform(2, 3, 2, 16, 16, seed=1)
    frames = [float(ssim(x[:, :, t], y[:, :, t])) for t in range(2)]
    assert near(ssim(x, y), sum(frames) / 2)


def test_sharpness_of_a_ramp_and_of_a_constant() -> None:
    ramp = torch.linspace(-1, 1, 5).expand(1, 1, 5, 5)
    assert near(sharpness(ramp), 0.25)
    assert near(sharpness(ramp + ramp.transpose(2, 3), span=4.0), 0.25)
    assert float(sharpness(torch.ones(1, 3, 4, 4))) == 0


def test_sharpness_difference_by_loops() -> None:
    x, y = uniform(1, 1, 4, 5), uniform(1, 1, 4, 5, seed=1)
    total = 0.0
    for i in range(1, 4):
        for j in range(1, 5):
            gx, gy = (
                abs(float(z[0, 0, i, j] - z[0, 0, i - 1, j])) + abs(float(z[0, 0, i, j] - z[0, 0, i, j - 1]))
                for z in ((x + 1) / 2, (y + 1) / 2)
            )
            total += abs(gx - gy)
    assert near(sharpness_difference(x, y), 10 * math.log10(12 / total))


def test_a_mask_chooses_pixels_and_the_images_that_have_any() -> None:
    target, mask = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4)
    mask[0, 0, 1] = 1
    prediction = target + 0.7
    prediction[0, :, 0, 1] = 0.2
    assert near(psnr(prediction, target, mask=mask), 20)
    assert near(psnr(prediction, target, mask=torch.ones(2, 4, 4)), float(psnr(prediction, target)))


def test_a_mask_loses_the_border_that_is_cut() -> None:
    x, y, mask = uniform(2, 3, 6, 6), uniform(2, 3, 6, 6, seed=1), torch.zeros(2, 6, 6)
    mask[:, 1, 2] = 1
    mask[:, 0, 0] = 1  # in the border
    error = (x - y)[:, :, 1, 2].square().mean(1)
    assert near(psnr(x, y, border=1, mask=mask), float((10 * torch.log10(4 / error)).mean()))


def test_ssim_under_a_mask_is_that_of_the_windows_around_its_pixels() -> None:
    x, y = uniform(1, 1, 20, 24), (uniform(1, 1, 20, 24) + 0.3 * uniform(1, 1, 20, 24, seed=1)).clamp(-1, 1)
    mask = torch.zeros(1, 20, 24)
    mask[0, 7, 9] = 1
    mask[0, 0, 0] = 1  # no window has its middle there
    found = windows((x.double() + 1) / 2, (y.double() + 1) / 2, 1.0)
    assert near(ssim(x, y, mask=mask), float(found.reshape(10, 14)[2, 4]), 1e-4)


def test_sharpness_difference_under_a_mask_is_that_of_its_pixels() -> None:
    x, y, mask = uniform(1, 1, 4, 5), uniform(1, 1, 4, 5, seed=1), torch.zeros(1, 4, 5)
    mask[0, 2, 3] = 1
    mask[0, 0] = 1  # without a neighbour above
    gx, gy = (
        abs(float(z[0, 0, 2, 3] - z[0, 0, 1, 3])) + abs(float(z[0, 0, 2, 3] - z[0, 0, 2, 2]))
        for z in ((x + 1) / 2, (y + 1) / 2)
    )
    assert near(sharpness_difference(x, y, mask=mask), -10 * math.log10(abs(gx - gy)))


def test_a_mask_of_clips_has_a_plane_for_each_frame() -> None:
    x, y, mask = uniform(2, 3, 4, 5, 5), uniform(2, 3, 4, 5, 5, seed=1), torch.zeros(2, 4, 5, 5)
    mask[1, 2] = 1
    assert near(psnr(x, y, mask=mask), float(psnr(x[1:, :, 2], y[1:, :, 2])))


@needs_shared
def test_bicubic_interpolation_of_set5_has_its_published_numbers() -> None:
    """28.42 dB and 0.8104 for a factor of 4 in papers, with another implementation of the interpolation."""
    pairs = [enlarged(index) for index in range(1, 6)]
    decibels = [float(psnr(*pair, luminance=True, border=4)) for pair in pairs]
    similar = [float(ssim(*pair, luminance=True, border=4)) for pair in pairs]
    assert sum(decibels) / 5 == pytest.approx(28.42, abs=0.02)
    assert sum(similar) / 5 == pytest.approx(0.8104, abs=1e-3)


@needs_shared
@pytest.mark.parametrize(
    ("net", "name", "expected"),
    [
        ("alex", "ex_p0", 0.72190),
        ("alex", "ex_p1", 0.13756),
        ("vgg", "ex_p0", 0.56860),
        ("vgg", "ex_p1", 0.42165),
    ],
)
def test_lpips_gives_the_values_of_its_authors(
    monkeypatch: pytest.MonkeyPatch, net: str, name: str, expected: float
) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    assert abs(float(lpips(patch("ex_ref"), patch(name), net)) - expected) < 1e-4


@needs_shared
def test_lpips_is_a_mean_over_images_and_zero_for_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    real = signed(photos(3))
    other = real.flip(3)
    alone = [float(lpips(real[i : i + 1], other[i : i + 1], "squeeze")) for i in range(3)]
    assert near(lpips(real, other, "squeeze"), sum(alone) / 3)
    assert min(alone) > 0.05
    assert float(lpips(real, real)) == 0


@needs_shared
def test_heads_of_lpips_are_those_of_its_authors() -> None:
    from safetensors.torch import load_file

    from gangraph.vocabulary.metrics.images import _TAPS, _heads

    theirs = load_file(WEIGHTS / "lpips_v0.1_linear_heads.safetensors")
    for net, (_, taps, _) in _TAPS.items():
        ours = _heads(net)
        assert len(ours) == len(taps)
        assert all(torch.equal(head, theirs[f"{net}.lin{i}.model.1.weight"]) for i, head in enumerate(ours))
