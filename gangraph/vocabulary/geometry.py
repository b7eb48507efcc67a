"""Ops that move, turn, resample and colour images, and the matrices that say how. All are differentiable in the image.

Places in an image are in pixels: x to the right and y downwards, from the centre of the image in matrices.
"""

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from gangraph.registry import op
from gangraph.vocabulary.intervals import same, with_zero

_PADDINGS = ("zeros", "border", "reflection")


# -------------------------------------------------------------------------------------------------------- numbers


@op(stops_gradient=True, range=lambda x: (_floor(x[0]), _floor(x[1])), latex=r"\lfloor ${x} \rfloor")
def floor(x: Tensor) -> Tensor:
    """The largest whole number that is not above x."""
    return x.floor()


def _floor(value: float) -> float:
    return value if math.isinf(value) else float(math.floor(value))


@op(range=lambda *_: (-1.0, 1.0), latex=r"\sin(${x})")
def sin(x: Tensor) -> Tensor:
    """Sine of an angle in radians."""
    return x.sin()


@op(range=lambda *_: (-1.0, 1.0), latex=r"\cos(${x})")
def cos(x: Tensor) -> Tensor:
    """Cosine of an angle in radians."""
    return x.cos()


@op(stops_gradient=True, range=lambda *_: (1.0, math.inf))
def height(x: Tensor) -> Tensor:
    """How many rows images [B, C, H, W] have: one number."""
    return x.new_full((), float(_of_images(x)[0]))


@op(stops_gradient=True, range=lambda *_: (1.0, math.inf))
def width(x: Tensor) -> Tensor:
    """How many columns images [B, C, H, W] have: one number."""
    return x.new_full((), float(_of_images(x)[1]))


@op(stops_gradient=True, range=lambda *_: (0.0, math.inf))
def coordinates(like: Tensor) -> Tensor:
    """Where each pixel of images [B, C, H, W] is: [B, 2, H, W], its column and its row, both counted from 0."""
    rows, columns = _of_images(like)
    y, x = torch.meshgrid(_count(rows, like), _count(columns, like), indexing="ij")
    return torch.stack((x, y)).expand(len(like), 2, rows, columns)


# ------------------------------------------------------------------------------------------------------- matrices


@op()
def matrix(*entries: Tensor, rows: int) -> Tensor:
    """A matrix for each sample, written row by row: numbers and values [B] to [B, rows, columns].

    `matrix(cos(a), -sin(a), 0, sin(a), cos(a), 0, rows=2)` turns by an angle.

    Raises:
        ValueError: the entries are not as many in each row, or none is a value.
    """
    values = [entry for entry in entries if isinstance(entry, Tensor) and entry.dim()]
    if rows < 1 or not entries or len(entries) % rows:
        raise ValueError(f"{len(entries)} entries do not make {rows} rows of one length")
    if not values or any(value.dim() != 1 for value in values):
        raise ValueError("an entry is a number or a value [B], and at least one is a value")
    filled = [torch.zeros_like(values[0]) + entry for entry in entries]
    return torch.stack(filled, 1).reshape(len(filled[0]), rows, -1)


# --------------------------------------------------------------------------------------------------------- images


@op(range=with_zero)
def translate(x: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Images [B, C, H, W] moved by whole pixels, [B] or a number in each direction; what is left behind is 0."""
    rows, columns = _of_images(x)
    made = _moved(x, _count(columns, x), right, 3)
    return _moved(made, _count(rows, x), down, 2)


def _moved(x: Tensor, places: Tensor, by: Tensor | float, dim: int) -> Tensor:
    """Images moved along one axis. Each place reads the one that is so many pixels before it."""
    shift = by.reshape(-1, 1).round() if isinstance(by, Tensor) else round(by)
    read = (places - shift).expand(len(x), -1)
    inside = (read >= 0) & (read <= len(places) - 1)
    shape = (len(x), 1, -1, 1) if dim == 2 else (len(x), 1, 1, -1)
    index = read.clamp(0, len(places) - 1).long().reshape(shape).expand_as(x)
    return x.gather(dim, index) * inside.to(x.dtype).reshape(shape)


@op(range=with_zero)
def affine(x: Tensor, matrix: Tensor, like: Tensor | None = None, padding: str = "zeros") -> Tensor:
    """Images seen through an affine map, by bilinear sampling: [B, C, H, W] and [B, 2, 3] to [B, C, H, W].

    A pixel of the result at (x, y) is what the image has at matrix * (x, y, 1). Both places are in pixels from the
    centres of the images. A matrix [B, 3, 3] may stand for its first two rows. The result is as large as `like`, or as
    the image. Outside of the image there is `padding`: zeros, the border's pixel, or the image reflected at the centres
    of its border pixels. Gradients of any order flow to the image and to the matrix.

    Raises:
        ValueError: the shapes or the padding are others.
    """
    if padding not in _PADDINGS:
        raise ValueError(f"padding is one of {', '.join(_PADDINGS)}, but got {padding}")
    if matrix.dim() != 3 or matrix.shape[1] not in (2, 3) or matrix.shape[2] != 3:
        raise ValueError(f"expected a matrix [B, 2, 3] or [B, 3, 3], but got {list(matrix.shape)}")
    size, made = _of_images(x), _of_images(x if like is None else like)
    y, columns = torch.meshgrid(_centred(made[0], x), _centred(made[1], x), indexing="ij")
    places = torch.stack((columns.flatten(), y.flatten(), torch.ones_like(y).flatten()))
    found = matrix[:, :2].to(x.dtype) @ places
    sampled = _bilinear(x, found[:, 0] + (size[1] - 1) / 2, found[:, 1] + (size[0] - 1) / 2, padding)
    return sampled.reshape(*sampled.shape[:2], *made)


@op(range=with_zero)
def warp(x: Tensor, at: Tensor, padding: str = "zeros") -> Tensor:
    """Images seen through a grid, by bilinear sampling: [B, C, H, W] at places [B, 2, M, N] gives [B, C, M, N].

    A place is a column and a row of the image, as `coordinates` counts them: at integers the pixel itself is seen, and
    `warp(x, coordinates(x))` is x. Outside of the image there is `padding`, as in `affine`. Gradients of any order
    flow to the image and to the places.

    Raises:
        ValueError: the shapes or the padding are others.
    """
    if padding not in _PADDINGS:
        raise ValueError(f"padding is one of {', '.join(_PADDINGS)}, but got {padding}")
    _of_images(x)
    if at.dim() != 4 or at.shape[1] != 2 or len(at) != len(x):
        raise ValueError(f"expected places [{len(x)}, 2, H, W], but got {list(at.shape)}")
    column, row = at.to(x.dtype).flatten(2).unbind(1)
    sampled = _bilinear(x, column, row, padding)
    return sampled.reshape(*sampled.shape[:2], *at.shape[2:])


def _bilinear(x: Tensor, column: Tensor, row: Tensor, padding: str) -> Tensor:
    """Images [B, C, H, W] at places [B, N]: [B, C, N], a weighted sum of the four pixels around each."""
    rows, columns = _of_images(x)
    column, row = _inside(column, columns, padding), _inside(row, rows, padding)
    left, above = column.detach().floor(), row.detach().floor()
    right, down = column - left, row - above
    flat, made = x.flatten(2), x.new_zeros(())
    for dx in (0, 1):
        for dy in (0, 1):
            at_x, at_y = left + dx, above + dy
            weight = (right if dx else 1 - right) * (down if dy else 1 - down)
            there = (at_x >= 0) & (at_x < columns) & (at_y >= 0) & (at_y < rows)
            index = at_y.clamp(0, rows - 1) * columns + at_x.clamp(0, columns - 1)
            pixel = flat.gather(2, index.long()[:, None].expand(-1, x.shape[1], -1))
            made = made + pixel * (weight * there.to(x.dtype))[:, None]
    return made


def _inside(place: Tensor, count: int, padding: str) -> Tensor:
    """A place along an axis of `count` pixels, brought inside as the padding says; with zeros it stays."""
    if padding == "zeros":
        return place
    if padding == "reflection" and count > 1:
        period = 2 * (count - 1)
        place = (place - period * (place.detach() / period).floor()).abs()
        place = torch.where(place > count - 1, period - place, place)
    return place.clamp(0, count - 1)


@op()
def color(x: Tensor, matrix: Tensor) -> Tensor:
    """Colours through an affine map: images [B, 3, H, W], and [B, 3, 4] or [B, 4, 4]; the last column is added.

    An image of one channel is taken for a grey one, and the mean of the three colours is kept.

    Raises:
        ValueError: the images have neither one nor three channels, or the matrix has another shape.
    """
    _of_images(x)
    if x.shape[1] not in (1, 3):
        raise ValueError(f"expected images of 1 or 3 channels, but got {x.shape[1]}")
    if matrix.dim() != 3 or matrix.shape[1] not in (3, 4) or matrix.shape[2] != 4:
        raise ValueError(f"expected a matrix [B, 3, 4] or [B, 4, 4], but got {list(matrix.shape)}")
    mixed, added = matrix[:, :3, :3].to(x.dtype), matrix[:, :3, 3:].to(x.dtype)
    if x.shape[1] == 1:
        mixed, added = mixed.sum(2, keepdim=True).mean(1, keepdim=True), added.mean(1, keepdim=True)
    return (mixed @ x.flatten(2) + added).reshape(x.shape)


@op(range=same)
def channel_mean(x: Tensor) -> Tensor:
    """The mean over the channels at each position: [B, C, ...] to [B, 1, ...]."""
    return x.mean(1, keepdim=True)


@op(range=same)
def reflected(x: Tensor) -> Tensor:
    """Images with their reflections on all sides, border pixels once: [B, C, H, W] to [B, C, 3 H - 2, 3 W - 2]."""
    rows, columns = _of_images(x)
    return functional.pad(x, (columns - 1, columns - 1, rows - 1, rows - 1), mode="reflect")


@op()
def fir(
    x: Tensor,
    taps: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0),
    up: int = 1,
    down: int = 1,
    flip: bool = False,
    padding: Literal["zeros", "reflect", "replicate"] = "zeros",
) -> Tensor:
    """Images [B, C, H, W] through a filter in both directions: up, [B, C, up H, up W], or down, [B, C, H/down, W/down].

    `up` puts zeros between pixels and keeps the brightness, `down` keeps every so many-th pixel from the first on, so
    that 255 pixels become 128. The taps are divided by their sum, as in Karras et al. (2020). `padding` says what is
    outside of the image; Zhang (2019) reflects it. It is a convolution; with `flip` a correlation, which runs through
    the taps from the other end.

    Raises:
        ValueError: there are no taps, they add up to 0, or both `up` and `down` are above 1.
    """
    _of_images(x)
    if not taps or not sum(taps) or min(up, down) != 1:
        raise ValueError("expected taps that do not add up to 0, and at most one of up and down above 1")
    weights = [tap / sum(taps) * up for tap in (reversed(taps) if flip else taps)]
    for dim in (2, 3):
        x = _along(x.transpose(dim, 3), weights, up, down, "constant" if padding == "zeros" else padding).transpose(
            dim, 3
        )
    return x


def _along(x: Tensor, taps: Sequence[float], up: int, down: int, mode: str) -> Tensor:
    """A filter along the last axis, as a sum of shifted images, which a penalty differentiates twice at little cost.

    Pixel j of the result is the sum over k of taps[k] times the zero-filled pixel at j * down + before - k.
    """
    count, size = len(taps), x.shape[3]
    before = count - 1 - (count + up - down) // 2
    left, right = -(-(count - 1 - before) // up), -(-(before + up - 1) // up) + down - 1
    padded = functional.pad(x, (left, right, 0, 0), mode=mode)
    phases = []
    for phase in range(up):
        terms = [
            tap * padded[..., start : start + size : down]
            for k, tap in enumerate(taps)
            if (phase + before - k) % up == 0
            for start in [left + (phase + before - k) // up]
        ]
        phases.append(reduce(add, terms) if terms else torch.zeros_like(x))
    return torch.stack(phases, -1).flatten(-2) if up > 1 else phases[0]


def resampled(
    x: Tensor, taps: tuple[float, ...], *, down: int = 1, gain: float = 1.0, around: tuple[int, int]
) -> Tensor:
    """Images through a filter in both directions, of which every `down`-th pixel stays.

    Args:
        gain: what the sum of the taps becomes, for each direction.
        around: how many zeros stand before and after each axis; if it is negative, so many pixels are cut off.
    """
    kernel = torch.tensor(taps[::-1], dtype=x.dtype, device=x.device) * (gain / sum(taps))
    channels, made = x.shape[1], functional.pad(x, (*around, *around))
    for shape, stride in (((-1, 1), (down, 1)), ((1, -1), (1, down))):
        weight = kernel.reshape(1, 1, *shape).repeat(channels, 1, 1, 1)
        made = functional.conv2d(made, weight, stride=stride, groups=channels)
    return made


# --------------------------------------------------------------------------------------------------------- places


def _of_images(x: Tensor) -> tuple[int, int]:
    """Height and width of images. Raises ValueError for anything else."""
    if x.dim() != 4:
        raise ValueError(f"expected images [B, C, H, W], but got {x.dim()} dimensions")
    return x.shape[2], x.shape[3]


def _count(size: int, like: Tensor) -> Tensor:
    """0, 1, 2, ... as many as there are pixels."""
    return torch.arange(size, dtype=like.dtype, device=like.device)


def _centred(size: int, like: Tensor) -> Tensor:
    """The places of pixels along an axis, from its centre."""
    return _count(size, like) - (size - 1) / 2
