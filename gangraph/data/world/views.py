"""Every field that a scene can be seen as: its shape and range, and how it is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gangraph.data.source import Field
from gangraph.data.world import figure
from gangraph.data.world.balls import Draws, courses, pictures, shares
from gangraph.data.world.caption import LENGTH, LETTERS, MOST_LETTERS, VOCABULARY, letters, tokens
from gangraph.data.world.render import Raster, coloured, palette, polygon, shade_of
from gangraph.data.world.scene import FACTORS, HUES, SHAPES, TEXTURES, Scene, moving

LABELS = tuple(name for name, factor in FACTORS.items() if factor.names)
ATTRIBUTES = (
    "round", "hollow", "pointed", "warm", "warm_ground", "textured", "textured_ground",
    "large", "left", "top", "lit",
)  # fmt: skip

_WARM = [HUES.index(hue) for hue in ("red", "orange", "yellow", "pink")]
_ROUND = [SHAPES.index(shape) for shape in ("disc", "ring")]
_POINTED = [SHAPES.index(shape) for shape in ("triangle", "star")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How scenes are seen; see `World` for what each number means."""

    size: tuple[int, int]  # height and width
    channels: int
    label: str
    factor: int
    frames: int
    stride: int
    motion: tuple[str, ...]
    points: int
    balls: int
    build: str
    tremor: float
    twin: str


@dataclass(frozen=True)
class Shot:
    """Some scenes before a camera: as they are, with factors replaced, and another scene for each.

    `draws` are numbers of the same samples by their names, for what is no scene.
    """

    camera: Camera
    scene: Scene
    under: Scene
    rival: Scene
    draws: Draws

    def rows(self, start: int, stop: int) -> "Shot":
        """The scenes from `start` up to `stop`."""
        scene, other, rival = (part.rows(start, stop) for part in (self.scene, self.under, self.rival))
        return Shot(self.camera, scene, other, rival, lambda names: self.draws(names)[start:stop])

    @cached_property
    def course(self) -> Tensor:
        """How the balls of each sample fly: [B, frames, balls, 4]."""
        return courses(self.draws, self.camera.balls, self.camera.frames, self.camera.stride)

    @cached_property
    def joints(self) -> Tensor:
        """Where the joints of each sample's figure are: [B, frames, joints, 2], in half pictures."""
        return self.dancing(self.camera.build)

    @cached_property
    def twin_joints(self) -> Tensor:
        """Those of the twin, who dances likewise."""
        return self.dancing(self.camera.twin)

    def dancing(self, build: str) -> Tensor:
        """The joints of a figure of that build."""
        return figure.joints(self.draws, build, self.camera.frames, self.camera.stride)

    @cached_property
    def raster(self) -> Raster:
        """The scenes on the pixel grid."""
        return Raster(self.scene, self.camera.size)

    @cached_property
    def image(self) -> Tensor:
        """The scenes in colour: [B, C, H, W]."""
        return self.raster.image(palette(self.camera.channels))


@dataclass(frozen=True, slots=True)
class View:
    """One field: what a camera makes of its shape and range, and how a shot becomes the tensor."""

    field: Callable[[Camera], Field]
    take: Callable[[Shot], Tensor]


def _low(shot: Shot) -> Tensor:
    return avg_pool2d(shot.image, shot.camera.factor)


def _clip(shot: Shot) -> Tensor:
    camera = shot.camera
    film = Raster(moving(shot.scene, camera.frames, camera.stride, camera.motion), camera.size)
    picture = film.image(palette(camera.channels))
    return picture.view(-1, camera.frames, *picture.shape[1:])


def _balls(shot: Shot) -> Tensor:
    return pictures(shot.course, shot.camera.size)[:, :, None].repeat(1, 1, shot.camera.channels, 1, 1)


def _figure(shot: Shot) -> Tensor:
    return _danced(shot, shot.scene, shot.joints, shot.camera.build)


def _twin(shot: Shot) -> Tensor:
    return _danced(shot, shot.under, shot.twin_joints, shot.camera.twin)


def _danced(shot: Shot, scene: Scene, joints: Tensor, build: str) -> Tensor:
    camera, colours = shot.camera, palette(shot.camera.channels)
    others = (scene["hue"] + 3) % len(HUES)  # the trousers
    trousers = torch.where(others == scene["ground_hue"], (others + 1) % len(HUES), others)
    ground, shirt, legs = (
        part.repeat_interleave(camera.frames, dim=0)
        for part in (Raster(scene, camera.size).ground(colours), colours[scene["hue"]], colours[trousers])
    )
    skin, dark = (shade_of(colour, camera.channels) for colour in (figure.SKIN, figure.DARK))
    return _filmed(shot, figure.picture(joints.flatten(0, 1), build, ground, shirt, legs, skin, dark))


def _pose(shot: Shot) -> Tensor:
    camera = shot.camera
    found = figure.trembled(shot.joints, shot.draws, camera.tremor, camera.stride)
    return _filmed(shot, figure.sticks(found.flatten(0, 1), camera.size, palette(camera.channels)))


def _silhouette(shot: Shot, joints: Tensor, build: str) -> Tensor:
    return _filmed(shot, figure.silhouette(joints.flatten(0, 1), build, shot.camera.size))


def _filmed(shot: Shot, picture: Tensor) -> Tensor:
    """Pictures [B * frames, ...] as clips [B, frames, ...]."""
    return picture.view(-1, shot.camera.frames, *picture.shape[1:])


def _under(shot: Shot) -> Tensor:
    return Raster(shot.under, shot.camera.size).image(palette(shot.camera.channels))


def _factors(shot: Shot) -> Tensor:
    """Every factor in the order of FACTORS; the k-th of n names becomes k / (n - 1)."""
    spans = {name: max(1, len(factor.names) - 1) for name, factor in FACTORS.items()}
    return torch.stack([shot.scene[name] / span for name, span in spans.items()], dim=1).float()


def _attributes(shot: Shot) -> Tensor:
    scene = shot.scene
    plain, ring = TEXTURES.index("plain"), SHAPES.index("ring")
    return torch.stack(
        [
            _among(scene["shape"], _ROUND),
            scene["shape"] == ring,
            _among(scene["shape"], _POINTED),
            _among(scene["hue"], _WARM),
            _among(scene["ground_hue"], _WARM),
            scene["texture"] != plain,
            scene["ground_texture"] != plain,
            scene["scale"] > 0.5,
            scene["x"] < 0.5,
            scene["y"] < 0.5,
            scene["light"] > 0.5,
        ],
        dim=1,
    ).float()


def _among(kinds: Tensor, chosen: list[int]) -> Tensor:
    return torch.isin(kinds, torch.tensor(chosen))


def _factor(name: str) -> View:
    """One factor by itself: its class, or a number in [0, 1]."""
    names = FACTORS[name].names
    if names:
        return View(lambda _: Field((), 0, len(names) - 1, torch.int64), lambda shot: shot.scene[name])
    return View(lambda _: Field((), 0, 1), lambda shot: shot.scene[name].float())


def _picture(channels: int, camera: Camera) -> Field:
    return Field((channels, *camera.size), -1, 1)


def _sentence(_: Camera) -> Field:
    return Field((LENGTH,), 0, len(VOCABULARY) - 1, torch.int64, padded=True, text="words")


def _spelled(_: Camera) -> Field:
    return Field((MOST_LETTERS,), 0, len(LETTERS) - 1, torch.int64, padded=True, text="characters")


def _pictures(camera: Camera) -> Field:
    return Field((camera.frames, camera.channels, *camera.size), -1, 1)


def _masks(camera: Camera) -> Field:
    return Field((camera.frames, 1, *camera.size), 0, 1)


def _places(camera: Camera) -> Field:
    return Field((camera.frames, len(figure.JOINTS), 2), -1, 1)


# The views whose first axis is time.
FILMS = (
    "clip", "balls", "courses", "figure", "pose", "joints", "silhouette", "twin", "twin_joints", "twin_silhouette",
)  # fmt: skip
VIEWS: Mapping[str, View] = {
    "image": View(lambda c: _picture(c.channels, c), lambda shot: shot.image),
    "under": View(lambda c: _picture(c.channels, c), _under),
    "low": View(lambda c: Field((c.channels, *(side // c.factor for side in c.size)), -1, 1), _low),
    "clip": View(_pictures, _clip),
    "balls": View(_pictures, _balls),
    "courses": View(lambda c: Field((c.frames, c.balls, 4), -1, 1), lambda shot: shares(shot.course)),
    "figure": View(_pictures, _figure),
    "pose": View(_pictures, _pose),
    "joints": View(_places, lambda shot: figure.shares(shot.joints, shot.camera.size)),
    "silhouette": View(_masks, lambda shot: _silhouette(shot, shot.joints, shot.camera.build)),
    "twin": View(_pictures, _twin),
    "twin_joints": View(_places, lambda shot: figure.shares(shot.twin_joints, shot.camera.size)),
    "twin_silhouette": View(_masks, lambda shot: _silhouette(shot, shot.twin_joints, shot.camera.twin)),
    "segmentation": View(
        lambda c: Field(c.size, 0, len(SHAPES), torch.int64),
        lambda shot: shot.raster.segmentation(),
    ),
    "segmap": View(lambda c: _picture(3, c), lambda shot: coloured(shot.raster.segmentation())),
    "outline": View(lambda c: _picture(1, c), lambda shot: shot.raster.outline()),
    "shade": View(lambda c: _picture(1, c), lambda shot: shot.raster.shade()),
    "polygon": View(
        lambda c: Field((2, c.points), -1, 1),
        lambda shot: polygon(shot.scene, shot.camera.points, shot.camera.size),
    ),
    "label": View(
        lambda c: Field((), 0, len(FACTORS[c.label].names) - 1, torch.int64),
        lambda shot: shot.scene[shot.camera.label],
    ),
    "factors": View(lambda _: Field((len(FACTORS),), 0, 1), _factors),
    "attributes": View(lambda _: Field((len(ATTRIBUTES),), 0, 1), _attributes),
    "tokens": View(_sentence, lambda shot: tokens(shot.scene)),
    "mismatch": View(_sentence, lambda shot: tokens(shot.rival)),
    "letters": View(_spelled, lambda shot: letters(shot.scene)),
    "mismatch_letters": View(_spelled, lambda shot: letters(shot.rival)),
    **{name: _factor(name) for name in FACTORS},
}

# What the numbers of sentences stand for, by view.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "tokens": VOCABULARY,
    "mismatch": VOCABULARY,
    "letters": LETTERS,
    "mismatch_letters": LETTERS,
}
