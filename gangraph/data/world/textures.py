"""The textures: the share of the darker tone at each place, in [0, 1].

`u` and `v` [B, S, S] count periods, `phase` [B, 1, 1] shifts them, `blur` [B, 1, 1] is the width of a pixel
in periods: marks finer than a pixel fade to their mean.
"""

from functools import cache

import torch
from torch import Tensor

from gangraph.data.world.chance import uniforms
from gangraph.data.world.shapes import coverage

_GRAINS = 6  # per period
_TILE = 64  # grains after which grain repeats


def _plain(u: Tensor, v: Tensor, phase: Tensor, blur: Tensor) -> Tensor:
    return torch.zeros_like(u)


def _stripes(u: Tensor, v: Tensor, phase: Tensor, blur: Tensor) -> Tensor:
    return _bands(u + phase, blur)


def _dots(u: Tensor, v: Tensor, phase: Tensor, blur: Tensor) -> Tensor:
    u, v = _wrapped(u + phase), _wrapped(v)
    return coverage((u * u + v * v).sqrt_() - 0.3, blur)


def _checks(u: Tensor, v: Tensor, phase: Tensor, blur: Tensor) -> Tensor:
    first, second = _bands(u + phase, blur), _bands(v, blur)
    return first + second - 2 * first * second


def _grain(u: Tensor, v: Tensor, phase: Tensor, blur: Tensor) -> Tensor:
    tile = _grain_tile()
    u, v = u * _GRAINS + phase * _TILE, v * _GRAINS + phase * (7 * _TILE)
    column, row = u.floor(), v.floor()
    right, below = u - column, v - row
    left, top = column.long() & (_TILE - 1), row.long() & (_TILE - 1)
    corner = top * _TILE + left
    upper = tile[0][corner] + right * tile[1][corner]
    lower = tile[2][corner] + right * tile[3][corner]
    noise = upper + below * (lower - upper)
    # Grains smaller than a pixel average out.
    return 0.5 + (noise - 0.5) * (1 / (_GRAINS * blur)).clamp(max=1)


@cache
def _grain_tile() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noise that tiles, flat: the grain at each cell, the step to its right, and both one row below."""
    noise = uniforms(0, "train", range(_TILE * _TILE), ["grain"]).float().view(_TILE, _TILE)
    step, below = noise.roll(-1, 1) - noise, noise.roll(-1, 0)
    return noise.flatten(), step.flatten(), below.flatten(), (below.roll(-1, 1) - below).flatten()


def _bands(position: Tensor, blur: Tensor) -> Tensor:
    return coverage(_wrapped(position).abs_() - 0.25, blur)


def _wrapped(position: Tensor) -> Tensor:
    """The offset from the centre of the period that a position lies in, in [-0.5, 0.5)."""
    return position - position.floor() - 0.5


MARKS = (_plain, _stripes, _dots, _checks, _grain)
