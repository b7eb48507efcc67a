"""The shapes: signed distances and outlines, in the object's frame.

The frame is in radii of the object, v points down, and a shape touches or nearly touches the unit circle.
"""

from functools import cache

import torch
from torch import Tensor

from gangraph.data.world.scene import cosine, sine

_DISC = 0.86  # radius
_SQUARE = 0.73  # half a side
_INNER = 0.5  # from the centre of the triangle to a side
_STAR, _WAIST = 0.30901699437494745, 0.3819660112501051  # from the centre to a line, to a crossing of two
_ARM, _LENGTH = 0.32, 0.94  # half the width of the cross's arms, and how far they reach
_RING, _BAND = 0.68, 0.24  # radius, half the width


def coverage(distance: Tensor, pixel: float | Tensor) -> Tensor:
    """How much of a pixel lies inside: a smoothstep over a pixel and a half."""
    share = (0.5 - distance / (1.5 * pixel)).clamp_(0, 1)
    return share * share * (3 - 2 * share)


def _disc(u: Tensor, v: Tensor) -> Tensor:
    return (u * u + v * v).sqrt_() - _DISC


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - _SQUARE


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    sides = [_along(u, v, 0.25 + k / 3) for k in range(3)]
    return torch.maximum(torch.maximum(sides[0], sides[1]), sides[2]) - _INNER


def _star(u: Tensor, v: Tensor) -> Tensor:
    # A pentagram is where at most one of five half planes is left: the second largest distance counts.
    first = _along(u, v, -0.25)
    second = torch.full_like(first, -torch.inf)
    for k in range(1, 5):
        side = _along(u, v, k / 5 - 0.25)
        second = torch.maximum(second, torch.minimum(first, side))
        first = torch.maximum(first, side)
    return second - _STAR


def _cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    return torch.maximum(torch.maximum(u, v) - _LENGTH, torch.minimum(u, v) - _ARM)


def _ring(u: Tensor, v: Tensor) -> Tensor:
    return ((u * u + v * v).sqrt_() - _RING).abs_() - _BAND


def _along(u: Tensor, v: Tensor, turns: float) -> Tensor:
    cos, sin = _direction(turns)
    return cos * u + sin * v


@cache
def _direction(turns: float) -> tuple[float, float]:
    angle = torch.tensor(turns, dtype=torch.float64)
    return cosine(angle).item(), sine(angle).item()


def _corners(shape: str) -> Tensor:
    """The corners of a shape's (outer) outline, clockwise on the screen: [corners, 2], float64."""
    a, b, side = _ARM, _LENGTH, _SQUARE
    corners = {
        "disc": _spokes(720, _DISC),
        "ring": _spokes(720, _RING + _BAND),
        "triangle": _spokes(3, 1.0),
        "star": _spokes(10, 1.0, _WAIST),
        "square": [(-side, -side), (side, -side), (side, side), (-side, side)],
        "cross": [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a),
                  (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)],
    }  # fmt: skip
    return torch.as_tensor(corners[shape], dtype=torch.float64)


def _spokes(count: int, *radii: float) -> Tensor:
    """Points at even angles from the top, at these radii in turn: [count, 2]."""
    turns = torch.arange(count, dtype=torch.float64) / count - 0.25
    lengths = torch.tensor(radii, dtype=torch.float64).repeat(count // len(radii))
    return torch.stack([cosine(turns), sine(turns)], dim=1) * lengths[:, None]


@cache
def outline(shape: str, points: int) -> Tensor:
    """`points` evenly spaced places along the outline: [2, points], float64."""
    corners = _corners(shape)
    edges = corners.roll(-1, 0) - corners
    lengths = edges.square().sum(1).sqrt()
    ends = lengths.cumsum(0)
    places = torch.arange(points, dtype=torch.float64) / points * ends[-1]
    edge = torch.searchsorted(ends, places, right=True)
    share = (places - (ends - lengths)[edge]) / lengths[edge]
    return (corners[edge] + share[:, None] * edges[edge]).T


# In the order of SHAPES: the signed distance, and how deep the innermost point lies.
DISTANCES = (_disc, _square, _triangle, _star, _cross, _ring)
DEPTHS = (_DISC, _SQUARE, _INNER, _STAR, _ARM, _BAND)
