"""`world(...)`: the embedded scenes as a data source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from functools import partial
from math import prod

import torch
from torch import Tensor

from gangraph.data.arguments import Size, height_and_width, require_count, require_one_of, require_size, require_some_of
from gangraph.data.lengths import Frames, most_frames, require_frames, varying
from gangraph.data.source import Field, Meanings
from gangraph.data.world.balls import MOST, Draws
from gangraph.data.world.caption import sentences
from gangraph.data.world.chance import SPLITS, uniforms
from gangraph.data.world.figure import BUILDS
from gangraph.data.world.scene import (
    COMBINATIONS,
    FACTORS,
    MOTIONS,
    Scene,
    among,
    checked_change,
    draw_scenes,
    under,
    unlike,
)
from gangraph.data.world.views import FILMS, LABELS, SENTENCES, VIEWS, Camera, Shot
from gangraph.errors import ArgumentError
from gangraph.registry import source

_FORCED = ("shape", "hue", "ground_hue", "texture", "ground_texture", "light")
_CHANGES = 'changes such as {"texture": "stripes"} or ["texture=stripes"]'
_PIXELS = 2**16  # drawn at a time, so that a plane of float32 stays in the cache


@source("world")
@dataclass(frozen=True, kw_only=True)
class World:
    """Procedural scenes, one object on a ground, with every factor known.

    Scene i is a pure function of (seed, split, i): the same for any batch, worker, machine and size.
    With one view the field is called `value`; with several, each is called by its view:

        image         [channels, height, width] in [-1, 1]
        under         the same scene as `image`, with the factors of the argument `under` replaced
        low           [channels, height / factor, width / factor] in [-1, 1]: the mean of each block
        clip          [frames, channels, height, width] in [-1, 1]: the scene in motion, frame 0 is the image
        balls         [frames, channels, height, width] in [-1, 1]: white balls that bounce in a black box, see `balls`
        courses       [frames, balls, 4] in [-1, 1]: of each ball x and y, as shares of the box, and its speed along
                      both, as shares of the greatest
        figure        [frames, channels, height, width] in [-1, 1]: a figure that dances on the ground of the scene; its
                      shirt has the hue
        pose          [frames, channels, height, width] in [-1, 1]: its limbs as coloured sticks on black
        joints        [frames, 15, 2] in [-1, 1]: x and y of its `figure.JOINTS`, as shares of the picture, y down
        silhouette    [frames, 1, height, width] of 0 or 1: 1 on the figure
        twin, twin_joints, twin_silhouette
                      the same dance by a figure of the build `twin`, on the scene of `under`
        segmentation  [height, width] int64: 0 for the ground, 1 + shape for the object
        segmap        [3, height, width] in [-1, 1]: the segmentation in colours
        outline       [1, height, width] in [-1, 1]: a line of 1 on -1
        shade         [1, height, width] in [-1, 1]: a relief, ground at -1, rim at 0, innermost points at 1
        polygon       [2, points] in [-1, 1]: (x, y) of places along the outline, as shares of the picture, y down
        label         [] int64: the class of the factor `label`
        factors       [16] in [0, 1]: every factor in the order of `scene.FACTORS`
        attributes    [11] of 0 or 1: see `views.ATTRIBUTES`
        tokens        [20] int64: a sentence about the scene, as indices into `caption.VOCABULARY`
        mismatch      [20] int64: a sentence about another scene, whose shape and hue differ where they vary
        letters       [129] int64: the sentence of `tokens`, as indices into `caption.LETTERS`
        mismatch_letters
                      [129] int64: the sentence of `mismatch`, likewise
        shape, hue, ground_hue, texture, ground_texture
                      [] int64: the class of that factor, in the order of its names
        scale, x, y, rotation, phase, light, light_angle, speed, heading, spin, growth
                      [] in [0, 1]: that factor

    Args:
        size: height and width in pixels, or one number for both, from 8 to 1024.
        view: the name of a view, or several.
        split: train, val or test; no scene is in two of them.
        seed: another seed is another world.
        count: samples of an epoch; indices beyond it are valid too.
        offset: sample i is scene i + offset.
        vary: the factors that vary, or "all"; the others keep their defaults in `scene.FACTORS`.
        shape, hue, ground_hue, texture, ground_texture: force that factor to a name.
        light: force the strength of the light, in [0, 1].
        combinations: of shape and hue: all 48, the 36 that are seen, or the 12 that are unseen, so that sentences of
            the one are none of the other.
        under: the factors that the view `under` replaces, as {"texture": "stripes"} or ["texture=stripes"];
            names, or numbers in [0, 1] as in the view `factors`.
        channels: 3 for colour, 1 for luminance.
        label: the factor with names whose class the view `label` gives.
        factor: by how much `low` is smaller; a divisor of both sides.
        frames: frames of a clip; or the fewest and the most, of which each batch of a run has as many as is drawn.
        stride: steps of time between the frames of a clip.
        motion: what the object of a clip does: some of flight, spin and growth, or "all".
        points: vertices of a polygon.
        balls: how many balls bounce, from 1 to 4.
        build: of the figure: slim or stout.
        twin: the build of the figure's twin.
        tremor: by how much the sticks of `pose` are off, up to 0.2 half pictures, in each frame anew.

    Raises:
        ValueError: an argument is wrong; the message says what was expected, and the nearest name.
    """

    size: Size = 64
    view: str | Sequence[str] = "image"
    split: str = "train"
    seed: int = 0
    count: int = 10000
    offset: int = 0
    vary: str | Sequence[str] = "all"
    shape: str | None = None
    hue: str | None = None
    ground_hue: str | None = None
    texture: str | None = None
    ground_texture: str | None = None
    light: float | None = None
    combinations: str = "all"
    under: Mapping[str, str | float] | Sequence[str] = ()
    channels: int = 3
    label: str = "shape"
    factor: int = 4
    frames: Frames = 8
    stride: int = 1
    motion: str | Sequence[str] = "all"
    points: int = 32
    balls: int = 3
    build: str = "slim"
    tremor: float = 0.0
    twin: str = "stout"

    def __post_init__(self) -> None:
        # Lists and mappings become tuples: equal worlds are equal values, and hash alike.
        for name, value in _checked(self).items():
            object.__setattr__(self, name, value)

    @property
    def fields(self) -> Mapping[str, Field]:
        """The tensors of one sample: `value`, or one for each view."""
        fields = {name: VIEWS[view].field(self.camera) for name, view in self.named_views.items()}
        moving = varying(self.frames, 0)
        return {n: replace(f, varies=moving) if self.named_views[n] in FILMS else f for n, f in fields.items()}

    def open(self) -> "WorldDataset":
        """The scenes, ready to be drawn; there is nothing to find."""
        return WorldDataset(self)

    def scenes(self, indices: Sequence[int]) -> Scene:
        """The scenes of some samples."""
        return self._drawn(indices, self.seed)

    def rivals(self, indices: Sequence[int]) -> Scene:
        """The scenes that the view `mismatch` describes."""
        free = [name for name in self._varying if name not in self._forced]
        # The complement is a seed that nobody can ask for.
        return unlike(self._drawn(indices, ~self.seed), self.scenes(indices), free, self.combinations)

    def captions(self, indices: Sequence[int]) -> list[str]:
        """What the view `tokens` says, in words."""
        return sentences(self.scenes(indices))

    def shot(self, indices: Sequence[int]) -> Shot:
        """What every view of some samples is computed from."""
        scene = self.scenes(indices)
        rival = self.rivals(indices) if {"mismatch", "mismatch_letters"} & {*self.view} else scene
        return Shot(self.camera, scene, under(scene, self._changes), rival, self._draws(indices))

    @property
    def camera(self) -> Camera:
        """How the scenes are seen."""
        given = {field.name: getattr(self, field.name) for field in fields_of(Camera)}
        known = {"size": height_and_width(self.size), "frames": most_frames(self.frames), "motion": tuple(self.motion)}
        return Camera(**given | known)

    @property
    def named_views(self) -> Mapping[str, str]:
        """Field name -> view."""
        return {"value": self.view[0]} if len(self.view) == 1 else {view: view for view in self.view}

    @property
    def _varying(self) -> Sequence[str]:
        return tuple(FACTORS) if self.vary == ("all",) else self.vary

    @property
    def _forced(self) -> Mapping[str, str | float]:
        return {name: value for name in _FORCED if (value := getattr(self, name)) is not None}

    @property
    def _changes(self) -> Mapping[str, str | float]:
        return dict(_change(text) for text in self.under)

    def _drawn(self, indices: Sequence[int], seed: int) -> Scene:
        scene = under(draw_scenes(seed, self.split, self._shifted(indices), self._varying), self._forced)
        if self.combinations == "all":
            return scene
        dice = uniforms(seed, self.split, self._shifted(indices), ("combination",))[:, 0]
        return among(scene, self.combinations, dice)

    def _draws(self, indices: Sequence[int]) -> Draws:
        return partial(uniforms, self.seed, self.split, self._shifted(indices))

    def _shifted(self, indices: Sequence[int]) -> list[int]:
        return [int(index) + self.offset for index in indices]


@dataclass(frozen=True, slots=True)
class WorldDataset:
    """The opened world: random access to its samples."""

    world: World

    def __len__(self) -> int:
        return self.world.count

    @property
    def meanings(self) -> Meanings:
        """The words, or letters, of sentences."""
        views = self.world.named_views.items()
        return {name: SENTENCES[view] for name, view in views if view in SENTENCES}

    def batch(self, indices: Sequence[int], generator: torch.Generator | None = None) -> Mapping[str, Tensor]:
        """The samples at `indices`, stacked: field name -> [len(indices), *field.shape].

        Nothing is random here, so `generator` is not used.

        Raises:
            IndexError: an index is negative.
        """
        parts = [self._taken(shot) for shot in self._shots(indices)]
        return {name: torch.cat([part[name] for part in parts]) for name in self.world.named_views}

    def _taken(self, shot: Shot) -> dict[str, Tensor]:
        return {name: VIEWS[view].take(shot) for name, view in self.world.named_views.items()}

    def _shots(self, indices: Sequence[int]) -> Iterator[Shot]:
        """The samples, a few at a time."""
        whole_shot = self.world.shot(indices)
        pixels = prod(height_and_width(self.world.size)) * (
            self.world.camera.frames if {*FILMS} & {*self.world.view} else 1
        )
        step = max(1, _PIXELS // pixels)
        for start in range(0, max(1, len(indices)), step):
            yield whole_shot.rows(start, start + step)


def _checked(world: World) -> dict[str, object]:
    """The arguments in their canonical form."""
    require_count("seed", world.seed, least=0, most=2**63 - 1)
    require_count("count", world.count, least=1)
    require_count("offset", world.offset, least=0)
    require_one_of("split", world.split, SPLITS)
    require_one_of("label", world.label, LABELS)
    for name, value in world._forced.items():
        checked_change(name, name, value)
    _check_hues(world._forced, "hue and ground_hue")
    views = require_some_of("view", world.view, VIEWS)
    if not views:
        raise ArgumentError("view", world.view, f"one or more of {', '.join(VIEWS)}")
    vary = ("all",) if world.vary == "all" else require_some_of("vary", world.vary, FACTORS)
    require_one_of("combinations", world.combinations, COMBINATIONS)
    if world.combinations != "all" and not _both_free(world, vary):
        raise ArgumentError("combinations", world.combinations, "all, unless both shape and hue vary")
    changes = _changes_of(world.under)
    if "under" in views and not changes:
        raise ArgumentError("under", world.under, 'what to replace, such as ["texture=stripes"]')
    _check_camera(world, views)
    motion = MOTIONS if world.motion == "all" else require_some_of("motion", world.motion, MOTIONS)
    size = world.size if isinstance(world.size, int) else height_and_width(world.size)
    frames = world.frames if isinstance(world.frames, int) else tuple(world.frames)
    return {"size": size, "view": views, "vary": vary, "under": changes, "frames": frames, "motion": motion}


def _both_free(world: World, vary: Sequence[str]) -> bool:
    return all((name in vary or "all" in vary) and name not in world._forced for name in ("shape", "hue"))


def _check_camera(world: World, views: Sequence[str]) -> None:
    require_size("size", world.size)
    for side in height_and_width(world.size):
        require_count("size", side, least=8, most=1024)
    require_frames("frames", world.frames)
    require_count("stride", world.stride, least=1)
    require_count("points", world.points, least=3)
    require_count("balls", world.balls, most=MOST)
    for name, build in (("build", world.build), ("twin", world.twin)):
        require_one_of(name, build, tuple(BUILDS))
    if not 0 <= world.tremor <= 0.2:
        raise ArgumentError("tremor", world.tremor, "a number from 0 to 0.2")
    require_count("factor", world.factor, least=1, most=min(height_and_width(world.size)))
    if world.channels not in (1, 3):
        raise ArgumentError("channels", world.channels, "1 (luminance) or 3 (colour)")
    if "low" in views and any(side % world.factor for side in height_and_width(world.size)):
        raise ArgumentError("factor", world.factor, f"a divisor of size, which is {world.size}")


def _check_hues(changes: Mapping[str, object], argument: str) -> None:
    hue = changes.get("hue")
    if hue is not None and hue == changes.get("ground_hue"):
        raise ArgumentError(argument, hue, "two hues, since an object never has the colour of its ground")


def _changes_of(found: object) -> tuple[str, ...]:
    """The argument `under` as texts "factor=value", in the order of the factors."""
    if isinstance(found, Mapping):
        found = [f"{name}={value}" for name, value in found.items()]
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list | tuple) or any(not isinstance(text, str) for text in texts):
        raise ArgumentError("under", found, _CHANGES)
    changes = dict(_change(text) for text in texts)
    _check_hues(changes, "under")
    return tuple(f"{name}={changes[name]}" for name in FACTORS if name in changes)


def _change(text: str) -> tuple[str, str | float]:
    left, equals, right = (part.strip() for part in text.partition("="))
    if not equals:
        raise ArgumentError("under", text, _CHANGES)
    name = require_one_of("under", left, FACTORS)
    return name, checked_change(f"under {name}", name, right if FACTORS[name].names else _as_number(right))


def _as_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
