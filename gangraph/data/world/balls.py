"""Bouncing balls in a box: the clips of Sutskever et al. (2009), on which models of sequences are compared.

The box is 10 x 10, a ball has radius 1.2 and mass 1, and one frame is two steps of half a unit of time. Numbers are
sums, products, quotients and square roots alone, as in `render`. So a normal number is the sum of twelve uniform ones,
and exp(-u) is (1 - u / 4096)^4096, which differs by less than 1e-4.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BOX, RADIUS = 10.0, 1.2
MOST = 4  # balls: more would hardly find a place
LONGEST = 0.5  # the length of all velocities together, a unit of time

_TRIES = 16  # beginnings that are drawn at a time
_SUMMED = range(12)
_SQUARINGS = 12

Draws = Callable[[Sequence[str]], Tensor]  # names -> [B, len(names)], each uniform in [0, 1)


def courses(draws: Draws, balls: int, frames: int, stride: int) -> Tensor:
    """Where balls are in each frame and how fast: [B, frames, balls, 4], x, y and their change a frame, float64."""
    place, speed = _placed(draws, balls), _thrown(draws, balls)
    seen = []
    for number in range((frames - 1) * stride + 1):
        if number % stride == 0:
            seen.append(torch.cat([place, speed], dim=2))
        for _ in range(2):
            place = place + speed / 2
            speed = _bounced(place, speed)
    return torch.stack(seen, dim=1)


def pictures(course: Tensor, size: tuple[int, int]) -> Tensor:
    """Balls with soft edges as white on black: [B, frames, balls, 4] to [B, frames, height, width] in [-1, 1].

    The box has the shorter side and stands in the middle of the longer one.
    """
    down, across = (_pixels(side, min(size)) for side in size)
    x, y = course[..., 0, None, None], course[..., 1, None, None]
    square = ((across - x) ** 2 + (down[:, None] - y) ** 2) / RADIUS**2
    drop = 1 - (square**4).clamp(max=30) / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        drop = drop * drop
    picture: Tensor = drop.sum(2).clamp(max=1) * 2 - 1
    return picture.float()


def _pixels(side: int, box: int) -> Tensor:
    """The middles of a side's pixels in the units of a box of so many pixels in its middle."""
    return (torch.arange(side, dtype=torch.float64) + 0.5 - (side - box) / 2) / box * BOX


def shares(course: Tensor) -> Tensor:
    """Courses with places as shares of the picture and speeds as shares of the highest: all in [-1, 1], float32."""
    return torch.cat([course[..., :2] * (2 / BOX) - 1, course[..., 2:] / LONGEST], dim=-1).float()


def _placed(draws: Draws, balls: int) -> Tensor:
    """Beginnings [B, balls, 2]: the first that is drawn in which no ball touches a wall or another."""
    found, there, number = None, None, 0
    while there is None or not there.all():
        names = [f"ball {n} {axis} {t}" for t in range(number, number + _TRIES) for n in range(balls) for axis in "xy"]
        drawn = (2 + 8 * draws(names)).view(-1, _TRIES, balls, 2)
        inside = ((drawn > RADIUS) & (drawn < BOX - RADIUS)).flatten(2).all(2)
        apart = (drawn[:, :, :, None] - drawn[:, :, None]).square().sum(4) + 4 * BOX**2 * torch.eye(balls)
        good = inside & (apart >= 4 * RADIUS**2).flatten(2).all(2)
        first = drawn[torch.arange(len(drawn)), good.long().argmax(1)]
        found = first if found is None or there is None else torch.where(there[:, None, None], found, first)
        there = good.any(1) if there is None else there | good.any(1)
        number += _TRIES
    assert found is not None
    return found


def _thrown(draws: Draws, balls: int) -> Tensor:
    """Velocities [B, balls, 2] in a direction of all their numbers together that is uniform, and of one length."""
    names = [f"ball {n} throw {axis} {k}" for n in range(balls) for axis in "xy" for k in _SUMMED]
    normal = draws(names).view(-1, balls, 2, len(_SUMMED)).sum(3) - len(_SUMMED) / 2
    return normal * (LONGEST / normal.square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-6))


def _bounced(place: Tensor, speed: Tensor) -> Tensor:
    """The velocities after walls and then every pair of balls that touch, which exchange those along their line."""
    speed = torch.where(place < RADIUS, speed.abs(), torch.where(place > BOX - RADIUS, -speed.abs(), speed))
    for first in range(place.shape[1]):
        for second in range(first):
            line = place[:, first] - place[:, second]
            length = line.square().sum(1, keepdim=True).sqrt()
            line = line / length.clamp_min(1e-6)
            given = ((speed[:, first] - speed[:, second]) * line).sum(1, keepdim=True) * line
            given = torch.where(length < 2 * RADIUS, given, 0)
            speed = speed.clone()
            speed[:, first] -= given
            speed[:, second] += given
    return speed
