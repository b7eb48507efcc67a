"""Filters that make images larger or smaller against convolutions of zero-filled images, in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gangraph.vocabulary.geometry import fir
from tests.support import normals

FACTORS = pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])
TAPS = pytest.mark.parametrize(
    "taps", [(1, 3, 3, 1), (1, 2, 1), (1, 2, 5, 3), (-0.2, 0.7, 0.7, -0.1, 0.3), (2,)], ids=str
)


def by_convolution(x: Tensor, taps: tuple[float, ...], up: int, down: int) -> Tensor:
    """Zeros between the pixels, zeros around them, a convolution, and every `down`-th pixel of its result."""
    row = torch.tensor(taps, dtype=x.dtype)
    kernel = torch.outer(row, row) / row.sum() ** 2 * up**2
    before = (len(taps) + up - down) // 2
    after = len(taps) - 1 - before
    filled = x.new_zeros(*x.shape[:2], x.shape[2] * up, x.shape[3] * up)
    filled[..., ::up, ::up] = x
    padded = functional.pad(filled, (before, after, before, after))
    weight = kernel.flip(0, 1).expand(x.shape[1], 1, *kernel.shape)
    return functional.conv2d(padded, weight, groups=x.shape[1])[..., ::down, ::down]


@TAPS
@FACTORS
def test_it_is_a_convolution_of_the_zero_filled_image(taps: tuple[float, ...], up: int, down: int) -> None:
    (x,) = normals(1, 2, 3, 7, 12)
    torch.testing.assert_close(fir(x, taps, up, down), by_convolution(x, taps, up, down), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
def test_what_lies_beyond_the_border_is_chosen(padding: str, up: int, down: int) -> None:
    (x,) = normals(1, 2, 3, 6, 8)
    wide = functional.pad(x, (2, 2, 2, 2), mode=padding)
    inside = by_convolution(wide, (1, 3, 3, 1), up, down)
    cut = 2 * up // down
    expected = inside[..., cut : inside.shape[2] - cut, cut : inside.shape[3] - cut]
    found = fir(x, (1, 3, 3, 1), up, down, padding=padding)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_brightness_stays() -> None:
    flat = torch.full((1, 1, 8, 8), 0.7, dtype=torch.float64)
    for factors in ({"up": 2}, {"down": 2}, {}):
        torch.testing.assert_close(fir(flat, padding="replicate", **factors).mean(), flat.mean())


@FACTORS
def test_it_can_be_differentiated_twice(up: int, down: int) -> None:
    (x,) = normals(1, 1, 2, 6, 6)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fir(x, (1, 3, 2), up, down), (x,))
    assert torch.autograd.gradgradcheck(lambda x: fir(x, (1, 3, 2), up, down), (x,))
