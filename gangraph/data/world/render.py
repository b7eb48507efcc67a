"""Scenes to pixels: signed distances, textures and light, vectorised over the batch.

The shorter side of the picture spans [-1, 1], the longer one more; y points down, and edges are softened over about a
pixel: a scene is the same scene at every size. On a longer side its places lie farther apart, and nothing is distorted.
Pixels are made with sums, products, quotients and square roots alone, which
IEEE 754 rounds exactly: the same bits whatever the machine and the batch around a scene.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from gangraph.data.world.scene import HUES, SHAPES, Scene, cosine, sine
from gangraph.data.world.shapes import DEPTHS, DISTANCES, coverage, outline
from gangraph.data.world.textures import MARKS

PALETTE: Mapping[str, tuple[float, float, float]] = {
    "red": (0.87, 0.19, 0.22),
    "orange": (0.97, 0.54, 0.13),
    "yellow": (0.98, 0.84, 0.27),
    "green": (0.27, 0.68, 0.32),
    "teal": (0.16, 0.74, 0.74),
    "blue": (0.19, 0.37, 0.83),
    "purple": (0.54, 0.29, 0.76),
    "pink": (0.96, 0.55, 0.75),
}
# The picture of a segmentation: one colour for the ground, one for each shape.
CLASS_COLOURS = (
    (0.16, 0.17, 0.20),
    (0.90, 0.30, 0.26),
    (0.20, 0.60, 0.86),
    (0.95, 0.77, 0.06),
    (0.61, 0.35, 0.71),
    (0.18, 0.80, 0.44),
    (0.93, 0.94, 0.95),
)
LUMINANCE = (0.299, 0.587, 0.114)

_OBJECT_PERIOD = 0.62  # of a texture, in radii of the object
_GROUND_PERIOD = 0.36  # in half pictures
_MARK = 0.42  # how much darker the marks of a texture are
_SHADOW = 0.6  # how much darker the far corner is under the strongest light


class Raster:
    """Scenes on a grid of pixels, height by width. What several views need is computed once, on demand."""

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self.scene = scene
        self.pixel = 2 / min(size)
        # Shares of the picture, from -1 to 1; and lengths, in which the shorter side spans as much.
        self._down, self._across = _shares(size[0])[None, :, None], _shares(size[1])[None, None, :]
        self._reach_down, self._reach_across = reach(size)
        self._x, self._y = self._across * self._reach_across, self._down * self._reach_down

    @cached_property
    def distance(self) -> Tensor:
        """Signed distance to the outline of the object: [B, H, W], negative inside."""
        distance = _sorted_out(self.scene["shape"], DISTANCES, *self._object)
        return distance * _spread(self.scene.measure("scale"))

    def image(self, palette: Tensor) -> Tensor:
        """The scenes in the colours [len(HUES), C], each in [0, 1]: [B, C, H, W] in [-1, 1]."""
        front = coverage(self.distance, self.pixel)
        gain = self._light()
        ground = (1 - front) * gain * (1 - _MARK * self._ground_marks())
        front = front.mul_(gain).mul_(1 - _MARK * self._object_marks())
        object_colour, ground_colour = palette[self.scene["hue"]], palette[self.scene["ground_hue"]]
        image = front[:, None] * object_colour[:, :, None, None]
        image += ground[:, None] * ground_colour[:, :, None, None]
        return image.mul_(2).sub_(1)

    def ground(self, palette: Tensor) -> Tensor:
        """The scenes without their objects, in the colours [len(HUES), C]: [B, C, H, W] in [0, 1]."""
        gain = self._light() * (1 - _MARK * self._ground_marks())
        return gain[:, None] * palette[self.scene["ground_hue"]][:, :, None, None]

    def segmentation(self) -> Tensor:
        """The class of each pixel, 0 for the ground, 1 + shape for the object: [B, H, W], int64."""
        return torch.where(self.distance < 0, _column(self.scene["shape"] + 1), 0)

    def outline(self) -> Tensor:
        """The outline as a line of 1 on -1: [B, 1, H, W]."""
        width = max(0.02, 0.6 * self.pixel)
        line = coverage(self.distance.abs() - width, self.pixel)
        return line.mul_(2).sub_(1)[:, None]

    def shade(self) -> Tensor:
        """A relief: ground at -1, the rim of the object at 0, its innermost points at 1: [B, 1, H, W]."""
        depth = torch.tensor(DEPTHS, dtype=torch.float64)[self.scene["shape"]] * self.scene.measure("scale")
        height = (-self.distance / _spread(depth)).clamp_(0, 1)
        dome = height * (2 - height)
        return (coverage(self.distance, self.pixel) * (1 + dome)).sub_(1)[:, None]

    @cached_property
    def _object(self) -> tuple[Tensor, Tensor]:
        """Where each pixel lies in the object's frame, in radii: two [B, H, W]."""
        scene = self.scene
        radius, turn = _spread(scene.measure("scale")), scene["rotation"]
        across = (self._x - _spread(scene.measure("x")) * self._reach_across) / radius
        down = (self._y - _spread(scene.measure("y")) * self._reach_down) / radius
        cos, sin = _spread(cosine(turn)), _spread(sine(turn))
        return cos * across + sin * down, cos * down - sin * across

    def _object_marks(self) -> Tensor:
        u, v = self._object
        period = _spread(self.scene.measure("scale")) * _OBJECT_PERIOD
        return self._marks(self.scene["texture"], u / _OBJECT_PERIOD, v / _OBJECT_PERIOD, period)

    def _ground_marks(self) -> Tensor:
        # Along the diagonals, so that an upright object does not line up with its ground.
        slant = 0.7071067811865476 / _GROUND_PERIOD
        u, v = (self._x + self._y) * slant, (self._y - self._x) * slant
        count = len(self.scene)
        u, v = u.expand(count, -1, -1), v.expand(count, -1, -1)
        return self._marks(self.scene["ground_texture"], u, v, torch.full((count, 1, 1), _GROUND_PERIOD))

    def _marks(self, kinds: Tensor, u: Tensor, v: Tensor, period: Tensor) -> Tensor:
        """The share of a texture's darker tone: [B, H, W] in [0, 1]. `u` and `v` count periods."""
        return _sorted_out(kinds, MARKS, u, v, _spread(self.scene["phase"]), self.pixel / period)

    def _light(self) -> Tensor:
        """The gain of the light: [B, H, W], 1 in the brightest corner."""
        angle, half = self.scene["light_angle"], _SHADOW / 2 * self.scene["light"]
        across, down = _spread(half * cosine(angle)), _spread(half * sine(angle))
        # A corner lies sqrt(2) away from the centre.
        slope = (across * self._across + down * self._down) * 0.7071067811865476
        return slope + _spread(1 - half)


def reach(size: tuple[int, int]) -> tuple[float, float]:
    """How far the picture spans from its middle, down and across: 1 along the shorter side."""
    return size[0] / min(size), size[1] / min(size)


def _shares(pixels: int) -> Tensor:
    """The middles of so many pixels, from -1 to 1."""
    return (2 * torch.arange(pixels, dtype=torch.float32) + 1) / pixels - 1


def palette(channels: int) -> Tensor:
    """The palette: [len(HUES), channels]; one channel is its luminance."""
    return _channelled(torch.tensor([PALETTE[hue] for hue in HUES]), channels)


def shade_of(rgb: tuple[float, float, float], channels: int) -> Tensor:
    """One colour: [1, channels]."""
    return _channelled(torch.tensor([rgb]), channels)


def coloured(segmentation: Tensor) -> Tensor:
    """A class map [B, H, W] as a picture [B, 3, H, W] in [-1, 1]."""
    return (torch.tensor(CLASS_COLOURS) * 2 - 1)[segmentation].permute(0, 3, 1, 2).contiguous()


def polygon(scene: Scene, points: int, size: tuple[int, int]) -> Tensor:
    """`points` vertices along the outline, evenly spaced and clockwise: [B, 2, points] (x, y), in shares."""
    outlines = torch.stack([outline(shape, points) for shape in SHAPES])[scene["shape"]]
    u, v = outlines.unbind(1)
    cos, sin = cosine(scene["rotation"])[:, None], sine(scene["rotation"])[:, None]
    radius = scene.measure("scale")[:, None]
    down, across = reach(size)
    x = scene.measure("x")[:, None] + radius * (cos * u - sin * v) / across
    y = scene.measure("y")[:, None] + radius * (sin * u + cos * v) / down
    return torch.stack([x, y], dim=1).float()


def _channelled(rgb: Tensor, channels: int) -> Tensor:
    return rgb if channels == 3 else (rgb * torch.tensor(LUMINANCE)).sum(1, keepdim=True)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _spread(values: Tensor) -> Tensor:
    """One number for each scene, in a shape that broadcasts over pixels: [B] to [B, 1, 1], float32."""
    return _column(values).float()


def _sorted_out(kinds: Tensor, functions: Sequence[Callable[..., Tensor]], *inputs: Tensor) -> Tensor:
    """Apply to each row of the inputs the function of its kind."""
    output = torch.empty(inputs[0].shape)
    for kind in set(kinds.tolist()):
        rows = (kinds == kind).nonzero()[:, 0]
        output[rows] = functions[kind](*(values[rows] for values in inputs))
    return output
