"""A labelled picture of the world: a row for every view, a column for every scene.

The view `factors` stands for the views of single factors.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from textwrap import wrap

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gangraph.data.world.caption import sentence, spelled
from gangraph.data.world.figure import JOINTS, STICKS
from gangraph.data.world.scene import FACTORS
from gangraph.data.world.source import World
from gangraph.data.world.views import ATTRIBUTES, VIEWS

_SHOWN = tuple(view for view in VIEWS if view not in FACTORS)
_UNDER: Mapping[str, str | float] = {"texture": "stripes", "light": 0.9}
_PAPER, _INK, _FAINT = (250, 250, 248), (30, 30, 34), (120, 120, 126)
_CELL = 96  # the narrowest column that holds the names of the factors
_GAP, _LEGEND, _LINE, _LETTER = 6, 130, 11, 6  # pixels

_Paint = Callable[[Tensor, int], Image.Image]


def contact_sheet(size: int = 64, count: int = 8, seed: int = 0) -> Image.Image:
    """Every view of the first `count` scenes, in labelled rows; small ones are enlarged by whole pixels.

    Raises:
        ValueError: `size` or `count` is out of range.
    """
    world = World(size=size, seed=seed, count=count, view=_SHOWN, under=_UNDER)
    samples = world.open().batch(range(count))
    cell = size * ceil(_CELL / size)
    rows = [(name, [_PAINTERS[name](value, cell) for value in samples[name]]) for name in _SHOWN]
    height = _GAP + sum(_row_height(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (_LEGEND + count * (cell + _GAP), height), _PAPER)
    pen, top = ImageDraw.Draw(sheet), _GAP
    for name, pictures in rows:
        pen.text((_GAP, top), name, fill=_INK)
        pen.multiline_text((_GAP, top + _LINE + 2), _note(name, world), fill=_FAINT, spacing=1)
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (_LEGEND + column * (cell + _GAP), top))
        top += _row_height(pictures)
    return sheet


def _row_height(pictures: Sequence[Image.Image]) -> int:
    # The legend has two lines.
    return max(pictures[0].height, 2 * _LINE + 4) + _GAP


def _note(name: str, world: World) -> str:
    """What a legend adds to the name: the shape, and what was replaced."""
    field = world.fields[name]
    kind = " int64" if field.dtype is torch.int64 else ""
    changes = "\n".join(world.under) if name == "under" else ""
    return f"{list(field.shape)}{kind}\n{changes}".rstrip()


def _picture(value: Tensor, cell: int) -> Image.Image:
    """[1 or 3, H, W] in [-1, 1], at the size of the cell."""
    pixels = ((value + 1) * 127.5).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0)
    picture = Image.fromarray(pixels.contiguous().numpy())
    return picture.resize((cell, cell), Image.Resampling.NEAREST)


def _film(value: Tensor, cell: int) -> Image.Image:
    """The frames of a clip, two to a row, at half size."""
    frames = [_picture(frame, cell // 2 - 1) for frame in value]
    strip = Image.new("RGB", (cell, (len(frames) + 1) // 2 * (cell // 2)), _PAPER)
    for number, frame in enumerate(frames):
        strip.paste(frame, (number % 2 * (cell // 2), number // 2 * (cell // 2)))
    return strip


def _paths(value: Tensor, cell: int) -> Image.Image:
    """The way of each ball, with a point where it begins."""
    picture = Image.new("RGB", (cell, cell), "white")
    pen = ImageDraw.Draw(picture)
    for ball in value.transpose(0, 1):
        places = [((x + 1) / 2 * cell, (y + 1) / 2 * cell) for x, y in ball[:, :2].tolist()]
        pen.line(places, fill=_FAINT)
        x, y = places[0]
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=_INK)
    return picture


def _bones(value: Tensor, cell: int) -> Image.Image:
    """The sticks of the first frame."""
    picture = Image.new("RGB", (cell, cell), "white")
    pen = ImageDraw.Draw(picture)
    places = {
        name: ((x + 1) / 2 * cell, (y + 1) / 2 * cell) for name, (x, y) in zip(JOINTS, value[0].tolist(), strict=True)
    }
    for first, second, _ in STICKS:
        pen.line([places[first], places[second]], fill=_INK)
    return picture


def _classes(value: Tensor, cell: int) -> Image.Image:
    return _picture(value[None] / 3 - 1, cell)


def _vertices(value: Tensor, cell: int) -> Image.Image:
    picture = Image.new("RGB", (cell, cell), "white")
    pen = ImageDraw.Draw(picture)
    places = [((x + 1) / 2 * cell, (y + 1) / 2 * cell) for x, y in value.T.tolist()]
    pen.polygon(places, outline=_FAINT)
    for x, y in places:
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=_INK)
    return picture


def _bars(value: Tensor, cell: int) -> Image.Image:
    """The factors: a name and a bar each."""
    picture = Image.new("RGB", (cell, len(FACTORS) * _LINE), "white")
    pen = ImageDraw.Draw(picture)
    for row, (name, share) in enumerate(zip(FACTORS, value.tolist(), strict=True)):
        pen.rectangle((0, row * _LINE + 1, share * (cell - 1), (row + 1) * _LINE - 1), fill=(206, 220, 240))
        pen.text((2, row * _LINE - 1), name, fill=_INK)
    return picture


def _traits(value: Tensor, cell: int) -> Image.Image:
    """The attributes: those that hold in ink, the others faint."""
    picture = Image.new("RGB", (cell, len(ATTRIBUTES) * _LINE + 2), "white")
    pen = ImageDraw.Draw(picture)
    for row, (name, holds) in enumerate(zip(ATTRIBUTES, value.tolist(), strict=True)):
        pen.text((2, row * _LINE), name, fill=_INK if holds else (200, 200, 204))
    return picture


def _sentence(value: Tensor, cell: int) -> Image.Image:
    return _written(sentence(value), cell)


def _letters(value: Tensor, cell: int) -> Image.Image:
    return _written(spelled(value), cell)


def _written(text: str, cell: int) -> Image.Image:
    picture = Image.new("RGB", (cell, 8 * _LINE), "white")
    lines = wrap(text, cell // _LETTER)
    ImageDraw.Draw(picture).multiline_text((2, 0), "\n".join(lines), fill=_INK, spacing=1)
    return picture


def _class(value: Tensor, cell: int) -> Image.Image:
    number = int(value)
    picture = Image.new("RGB", (cell, 2 * _LINE - 4), "white")
    ImageDraw.Draw(picture).text((2, 2), f"{number} {FACTORS['shape'].names[number]}", fill=_INK)
    return picture


_PAINTERS: Mapping[str, _Paint] = {
    **dict.fromkeys(_SHOWN, _picture),
    "clip": _film,
    "balls": _film,
    "courses": _paths,
    "figure": _film,
    "pose": _film,
    "joints": _bones,
    "silhouette": lambda value, cell: _film(value * 2 - 1, cell),
    "twin": _film,
    "twin_joints": _bones,
    "twin_silhouette": lambda value, cell: _film(value * 2 - 1, cell),
    "segmentation": _classes,
    "polygon": _vertices,
    "label": _class,
    "factors": _bars,
    "attributes": _traits,
    "tokens": _sentence,
    "mismatch": _sentence,
    "letters": _letters,
    "mismatch_letters": _letters,
}
