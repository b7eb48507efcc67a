"""Scenes: the factors of a picture, how they are drawn, replaced and set in motion.

A scene holds each factor as a tensor [B]: a class index (int64) for a factor with names, otherwise a float64 in [0, 1]
that `measure` maps to the factor's own range. All factors are independent and uniform, with one exception: the object
never has the colour of the ground.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gangraph.data.arguments import require_one_of
from gangraph.data.world.chance import uniforms
from gangraph.errors import ArgumentError

SHAPES = ("disc", "square", "triangle", "star", "cross", "ring")
TEXTURES = ("plain", "stripes", "dots", "checks", "grain")
HUES = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")

MOTIONS = ("flight", "spin", "growth")
COMBINATIONS = ("all", "seen", "unseen")  # of shape and hue: 12 of the 48 are unseen, two of each shape
BREATH = 16  # frames in which an object shrinks and grows back
WORDING = tuple(f"wording {number}" for number in range(12))  # the draws that a caption may use


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor: its names, or the range of its measure; and the value it has when it does not vary."""

    default: str | float
    names: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0


# Lengths are in half pictures (a picture spans [-1, 1] both ways, y points down), angles in turns. Since
# scale + |x| < 0.97, an object lies inside the picture. Speed and spin are per frame; growth is relative, and
# negative, so that a moving object stays inside.
FACTORS: Mapping[str, Factor] = {
    "shape": Factor("disc", SHAPES),
    "hue": Factor("red", HUES),
    "ground_hue": Factor("blue", HUES),
    "texture": Factor("plain", TEXTURES),
    "ground_texture": Factor("plain", TEXTURES),
    "scale": Factor(0.7, low=0.32, high=0.6),
    "x": Factor(0.5, low=-0.36, high=0.36),
    "y": Factor(0.5, low=-0.36, high=0.36),
    "rotation": Factor(0.0),
    "phase": Factor(0.0),
    "light": Factor(0.0),
    "light_angle": Factor(0.625),
    "speed": Factor(0.5, low=0.04, high=0.12),
    "heading": Factor(0.1),
    "spin": Factor(0.5, low=-0.03, high=0.03),
    "growth": Factor(1.0, low=-0.4, high=0.0),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A batch of scenes: every factor as [B], and the draws of their captions as [B, len(WORDING)]."""

    factors: Mapping[str, Tensor]
    wording: Tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.factors[name]

    def __len__(self) -> int:
        return len(self.wording)

    def rows(self, start: int, stop: int) -> "Scene":
        """The scenes from `start` up to `stop`."""
        cut = {name: values[start:stop] for name, values in self.factors.items()}
        return Scene(cut, self.wording[start:stop])

    def measure(self, name: str) -> Tensor:
        """A continuous factor in its own range: [B], float64."""
        factor = FACTORS[name]
        return self.factors[name] * (factor.high - factor.low) + factor.low


def draw_scenes(seed: int, split: str, indices: Sequence[int], vary: Sequence[str] = tuple(FACTORS)) -> Scene:
    """The scenes at `indices`; the factors that are not in `vary` have their defaults."""
    numbers = uniforms(seed, split, indices, (*FACTORS, *WORDING))
    columns = dict(zip(FACTORS, numbers.unbind(1), strict=False))
    factors = {
        name: (values * len(FACTORS[name].names)).long() if FACTORS[name].names else values
        for name, values in columns.items()
    }
    # One of the seven hues that are not the ground's.
    others = len(HUES) - 1
    factors["hue"] = (factors["ground_hue"] + 1 + (columns["hue"] * others).long()) % len(HUES)
    fixed = {name: factor.default for name, factor in FACTORS.items() if name not in vary}
    return under(Scene(factors, numbers[:, len(FACTORS) :]), fixed)


def under(scene: Scene, changes: Mapping[str, str | float]) -> Scene:
    """The same scenes with some factors replaced and every other factor as it was.

    Where the object would get the colour of the ground, the two trade places: the ground takes the colour
    that the object had (or the object that of the ground, if the ground's is replaced).
    """
    factors = dict(scene.factors)
    for name, value in changes.items():
        factors[name] = torch.full_like(factors[name], _number(name, value))
    same = factors["hue"] == factors["ground_hue"]
    kept, given = ("ground_hue", "hue") if "hue" in changes else ("hue", "ground_hue")
    factors[kept] = torch.where(same, scene[given], factors[kept])
    return replace(scene, factors=factors)


def among(scene: Scene, combinations: str, dice: Tensor) -> Scene:
    """The same scenes with shapes that go with their hues: one that does not is exchanged as dice [B] choose."""
    fits = _fits(combinations)[scene["hue"]]  # [B, shapes]
    place = (dice * fits.sum(1)).long() + 1  # the k-th that fits
    chosen = ((fits.cumsum(1) == place[:, None]) & fits).long().argmax(1)
    shape = torch.where(fits.gather(1, scene["shape"][:, None])[:, 0], scene["shape"], chosen)
    return replace(scene, factors={**scene.factors, "shape": shape})


def _fits(combinations: str) -> Tensor:
    """Which hue may have which shape: [hues, shapes], bool."""
    hue, shape = torch.arange(len(HUES))[:, None], torch.arange(len(SHAPES))
    unseen = (hue - shape) % 4 == 0
    return {"all": unseen | ~unseen, "seen": ~unseen, "unseen": unseen}[combinations]


def unlike(scene: Scene, other: Scene, free: Sequence[str], combinations: str = "all") -> Scene:
    """`scene` with another shape and another hue than `other`'s, as far as these are `free` to change.

    If not all `combinations` of the two may be, both are free, and go on to the next that may.
    """
    factors = dict(scene.factors)
    if "shape" in free:
        same = factors["shape"] == other["shape"]
        factors["shape"] = (factors["shape"] + same) % len(SHAPES)
    if "hue" in free:
        for _ in range(2):  # two steps suffice: two hues are barred, the other object's and the own ground's
            barred = (factors["hue"] == other["hue"]) | (factors["hue"] == factors["ground_hue"])
            factors["hue"] = (factors["hue"] + barred) % len(HUES)
    fits = _fits(combinations)
    for step in range(1, len(HUES) * len(SHAPES) if combinations != "all" else 1):
        barred = ~fits[factors["hue"], factors["shape"]] | (factors["shape"] == other["shape"])
        barred |= (factors["hue"] == other["hue"]) | (factors["hue"] == factors["ground_hue"])
        factors["shape"] = (factors["shape"] + barred) % len(SHAPES)
        if step % len(SHAPES) == 0:
            factors["hue"] = (factors["hue"] + barred) % len(HUES)
    return replace(scene, factors=factors)


def moving(scene: Scene, frames: int, stride: int, motion: Sequence[str] = MOTIONS) -> Scene:
    """The scenes at the times 0, stride, 2 stride, ...: [B * frames], the frames of a scene together.

    An object flies straight and bounces where its rim would leave the picture, turns evenly, and breathes, as far as
    `motion` names these.
    """
    time = torch.arange(frames, dtype=torch.float64).repeat(len(scene)) * stride
    still = Scene(
        {name: values.repeat_interleave(frames) for name, values in scene.factors.items()},
        scene.wording.repeat_interleave(frames, dim=0),
    )
    growth, radius = still.measure("growth"), still.measure("scale")
    reach = still.measure("speed") * time * ("flight" in motion)
    breath = _there_and_back(2 * time / BREATH) * ("growth" in motion)
    moved = {
        "scale": radius * (1 + growth * breath),
        "x": _bounced(still.measure("x") + reach * cosine(still["heading"]), 1 - radius),
        "y": _bounced(still.measure("y") + reach * sine(still["heading"]), 1 - radius),
    }
    turned = still["rotation"] + still.measure("spin") * time * ("spin" in motion)
    factors = dict(still.factors) | {name: _share(name, values) for name, values in moved.items()}
    return replace(still, factors=factors | {"rotation": turned - turned.floor()})


def cosine(turns: Tensor) -> Tensor:
    """The cosine of an angle in turns, float64, to 1e-11.

    A series of sums and products, since only these are rounded alike by every machine and vector width.
    """
    quarter = 0.25 - (turns - (turns + 0.5).floor()).abs()
    angle = quarter * 6.283185307179586
    square, total = angle * angle, torch.ones_like(angle)
    for order in range(16, 0, -2):
        total = 1 - total * square / (order * (order + 1))
    return angle * total


def sine(turns: Tensor) -> Tensor:
    """The sine of an angle in turns; see `cosine`."""
    return cosine(turns - 0.25)


def checked_change(argument: str, name: str, value: object) -> str | float:
    """The value that a factor is forced to: a name, or a number in [0, 1] as in the view `factors`.

    Raises:
        ValueError: the factor cannot have that value.
    """
    if FACTORS[name].names:
        return str(require_one_of(argument, value, FACTORS[name].names))
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ArgumentError(argument, value, "a number from 0 to 1")


def _number(name: str, value: str | float) -> float:
    return FACTORS[name].names.index(value) if isinstance(value, str) else value


def _there_and_back(time: Tensor) -> Tensor:
    """The triangle wave 0, 1, 0, 1 at 0, 1, 2, 3."""
    phase = time / 2
    return 1 - (2 * (phase - phase.floor()) - 1).abs()


def _bounced(place: Tensor, room: Tensor) -> Tensor:
    """A straight path folded back into [-room, room]."""
    return room * (2 * _there_and_back((place / room + 1) / 2) - 1)


def _share(name: str, measure: Tensor) -> Tensor:
    # A moving object may leave the range that first frames are drawn from: this can be below 0 or above 1.
    factor = FACTORS[name]
    return (measure - factor.low) / (factor.high - factor.low)
