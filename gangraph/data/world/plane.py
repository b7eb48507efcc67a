"""`plane(...)`: mixtures of Gaussians in two dimensions, with known modes and density."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, log, pi

import torch
from torch import Tensor

from gangraph.data.arguments import require_count, require_one_of, require_positive
from gangraph.data.source import Field
from gangraph.data.world.chance import SPLITS, uniforms
from gangraph.data.world.scene import cosine, sine
from gangraph.errors import ArgumentError
from gangraph.registry import op, source

KINDS = {"ring": 8, "grid": 25, "spiral": 20}  # and how many modes each has by default

_TURNS = 2  # of a spiral
_FARTHEST = 9  # standard deviations; Box-Muller reaches 8.6 with 53 bits


@source("plane")
@dataclass(frozen=True, kw_only=True)
class Plane:
    """Points of a mixture of equal, round Gaussians: the field `value` [2].

    Point i is a pure function of (seed, split, i).

    Args:
        kind: ring (on a circle), grid (a square of modes), or spiral (two turns, evenly spaced in angle).
        modes: how many Gaussians; by default 8 on a ring, 25 in a grid (a square number), 20 on a spiral.
        radius: of the ring; half the side of the grid; of the outer end of the spiral.
        std: standard deviation of each Gaussian.
        scale: what everything is multiplied by in the end.
        count: samples of an epoch; indices beyond it are valid too.
        split: train, val or test; no point is in two of them.
        seed: another seed draws other points of the same mixture.

    Raises:
        ValueError: an argument is wrong; the message says what was expected, and the nearest name.
    """

    kind: str = "ring"
    modes: int | None = None
    radius: float = 2.0
    std: float = 0.02
    scale: float = 1.0
    count: int = 10000
    split: str = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        require_one_of("kind", self.kind, KINDS)
        _counted(self.kind, self.modes)
        for name in ("radius", "std", "scale"):
            require_positive(name, getattr(self, name))
        require_count("count", self.count, least=1)
        require_one_of("split", self.split, SPLITS)
        require_count("seed", self.seed, least=0, most=2**63 - 1)

    @property
    def fields(self) -> Mapping[str, Field]:
        """One point [2]; no draw lies farther than nine standard deviations from its mode."""
        reach = self.scale * (self.radius + _FARTHEST * self.std)
        return {"value": Field((2,), -reach, reach)}

    @property
    def centres(self) -> Tensor:
        """The modes: [modes, 2], as the points are scaled."""
        return centres(self.kind, self.modes, self.radius) * self.scale

    def log_density(self, points: Tensor) -> Tensor:
        """The true log density at points [..., 2]: [...]."""
        return log_density(points, self.centres.to(points), self.std * self.scale)

    def open(self) -> "PlaneDataset":
        """The points, ready to be drawn; there is nothing to find."""
        return PlaneDataset(self)


@dataclass(frozen=True, slots=True)
class PlaneDataset:
    """The opened plane: random access to its points."""

    plane: Plane

    def __len__(self) -> int:
        return self.plane.count

    def batch(self, indices: Sequence[int], generator: torch.Generator | None = None) -> Mapping[str, Tensor]:
        """The points at `indices`: value -> [len(indices), 2]. Nothing is random, so `generator` is not used.

        Raises:
            IndexError: an index is negative.
        """
        plane = self.plane
        numbers = uniforms(plane.seed, plane.split, indices, ("mode", "radius", "angle"))
        modes = plane.centres
        # Box and Muller; 1 - u lies in (0, 1].
        reach = (-2 * torch.log(1 - numbers[:, 1])).sqrt() * (plane.std * plane.scale)
        offsets = torch.stack([reach * cosine(numbers[:, 2]), reach * sine(numbers[:, 2])], dim=1)
        return {"value": (modes[(numbers[:, 0] * len(modes)).long()] + offsets).float()}


def centres(kind: str, modes: int | None = None, radius: float = 2.0) -> Tensor:
    """The modes of a mixture before scaling: [modes, 2], float64.

    Raises:
        ValueError: the kind is unknown, or a grid's number of modes is not a square.
    """
    require_one_of("kind", kind, KINDS)
    count = _counted(kind, modes)
    steps = torch.arange(count, dtype=torch.float64)
    if kind == "grid":
        line = torch.linspace(-radius, radius, isqrt(count), dtype=torch.float64)
        return torch.cartesian_prod(line, line)
    share = torch.ones_like(steps) if kind == "ring" else (steps + 1) / count
    turns = steps / count if kind == "ring" else share * _TURNS
    return torch.stack([cosine(turns), sine(turns)], dim=1) * (radius * share)[:, None]


@op("modes")
def modes_of_plane(kind: str = "ring", modes: int | None = None, radius: float = 2.0, scale: float = 1.0) -> Tensor:
    """The centres [modes, 2] of the mixture that `plane` with these arguments draws from."""
    return (centres(kind, modes, radius) * scale).float()


def log_density(points: Tensor, modes: Tensor, std: float) -> Tensor:
    """The log density of an even mixture of round Gaussians at `modes` [K, 2]: points [..., 2] to [...]."""
    squares = (points[..., None, :] - modes).square().sum(-1)
    return torch.logsumexp(-squares / (2 * std**2), dim=-1) - log(2 * pi * std**2 * len(modes))


def _counted(kind: str, modes: int | None) -> int:
    """The number of modes, checked."""
    if modes is not None:
        require_count("modes", modes, least=2)
    count = KINDS[kind] if modes is None else modes
    side = round(count**0.5)
    if kind == "grid" and side**2 != count:
        raise ArgumentError("modes", modes, "a square number for a grid", f"the nearest is {side**2}")
    return count
