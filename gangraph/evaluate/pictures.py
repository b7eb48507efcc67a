"""Values as pictures: grids of images with a title over each column, and scatter plots of points."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

from gangraph.saved.files import whole

_GAP, _SMALLEST, _HEAD, _LINE = 2, 96, 22, 15
_SCREEN = 1080  # pixels in height that a grid may take
MANY = 0.01  # the share of clipped values that is told

Interval = tuple[float, float]
Ranges = Mapping[str, Interval | None]

_FONT, _SMALL = ImageFont.load_default(14), ImageFont.load_default(11)
_NAME = re.compile(r"\w+(\[\w+(, ?\w+)*\]|\.\w+)*")  # a value's name, a member of a family, or a field


def picture(
    columns: Mapping[str, Tensor],
    ranges: Ranges,
    *,
    name: str = "",
    above: Tensor | None = None,
    above_range: Interval | None = None,
    first: int = 0,
) -> Image.Image | None:
    """Columns of images [B, C, H, W] side by side, one sample in each row; or points [B, 2] as scatter plots.

    Each column is shown in its range in `ranges`; one without a range from its lowest to its highest value, which its
    heading says. So do headings say which channels are shown of more than three, that more than 1 % of the values were
    clipped, and below the grid stands what is left out: rows beyond a screenful, and columns that are no images. Beside
    larger ones, images are enlarged to their width. One or two columns of many samples are shown as squares instead.
    The samples of `above` stand over the columns from `first` on, one each. A grid is called `name` in the headings
    of what has none. None if nothing can be shown.
    """
    images = {label: _image_like(value) for label, value in columns.items() if is_image(value)}
    if images:
        shown = [_shown(label, value, ranges[label]) for label, value in images.items()]
        over = _shown("", above, above_range) if above is not None else None
        absent = [f"{label} {list(value.shape[1:])}" for label, value in columns.items() if label not in images]
        return _image_grid(_headed(shown, list(columns), name), over, first, absent)
    points = {label: value for label, value in columns.items() if value.dim() == 2 and value.shape[1] == 2}
    return (
        _scatter({_heading(label, 240, list(columns), name): value for label, value in points.items()})
        if points
        else None
    )


def frames(moments: Sequence[Tensor], ranges: Sequence[Interval | None]) -> list[Image.Image]:
    """One picture for each of some batches of images [B, C, H, W], each with its samples in a square.

    Frames without a range are shown from the lowest to the highest value of all of them together.
    """
    if not all(is_image(moment) for moment in moments):
        return []
    moments = [_image_like(moment) for moment in moments]
    loose = [moment for moment, its in zip(moments, ranges, strict=True) if its is None]
    whole = _extremes(torch.cat(loose)) if loose else None
    each = [_shown("", moment, its or whole) for moment, its in zip(moments, ranges, strict=True)]
    notes = list(dict.fromkeys(note for moment in each for note in moment.notes))
    said = [f"from {whole[0]:.3g} to {whole[1]:.3g}", *notes] if whole is not None else notes
    tiles = [_enlarged(moment.pixels, moment.pixels.shape[-1]) for moment in each]
    per_row, kept = _screenful(tiles, math.ceil(len(tiles[0]) ** 0.5))
    said += _fewer(kept, len(tiles[0]))
    grids = [make_grid(tile[:kept], nrow=per_row, padding=_GAP, pad_value=1.0) for tile in tiles]
    return [_noted(_image(grid), said) for grid in grids]


def save_image(image: Image.Image, path: Path, **options: Any) -> None:
    """Write an image in the format of its name, beside its place, and put it there by renaming. Raises OSError."""
    with whole(path) as unfinished:
        image.save(unfinished, format=Image.registered_extensions()[path.suffix.lower()], **options)


def is_image(value: Tensor) -> bool:
    """Whether a batch can be shown as images: [B, C, H, W], or a map of classes [B, H, W]."""
    return value.dim() == 4 or (value.dim() == 3 and not value.is_floating_point())


def image_of(value: Tensor, interval: Interval) -> Image.Image:
    """One image [C, H, W] with 8 bits a channel: the range's low end is 0, its high end 255. One channel is grey."""
    return image_of_levels(levels_of(_colours(value.detach().float().cpu(), interval[0]), interval))


def levels_of(value: Tensor, interval: Interval) -> Tensor:
    """Values of a range as whole numbers from 0 to 255, uint8; all are 128 where the range is a point."""
    low, high = interval
    unit = ((value.float() - low) / (high - low)).clamp_(0, 1) if high > low else torch.full_like(value, 0.5)
    return unit.mul_(255).round_().to(torch.uint8)


def image_of_levels(levels: Tensor) -> Image.Image:
    """An image of uint8 [C, H, W] with 1 or 3 channels."""
    pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def channels_note(channels: int) -> str:
    """What there is to say about the channels that are shown of so many; nothing of grey and colour."""
    if channels in (1, 3):
        return ""
    return f"channels 1-3 of {channels}" if channels > 3 else "2 channels: red, green"


def _colours(value: Tensor, low: float) -> Tensor:
    """The channels of [..., C, H, W] that are shown: 1 or 3; of two, a third that is at the low end is black."""
    if value.shape[-3] == 2:
        return torch.cat([value, torch.full_like(value[..., :1, :, :], low)], -3)
    return value[..., :3, :, :]


def clipped(value: Tensor, interval: Interval) -> float:
    """The share of the values that lie outside of a range by more than half a step of 8 bits."""
    slack = (interval[1] - interval[0]) / 510
    outside = (value < interval[0] - slack) | (value > interval[1] + slack)
    return float(outside.float().mean()) if value.numel() else 0.0


@dataclass(frozen=True)
class _Shown:
    """A column that can be drawn: [B, 3, H, W] in [0, 1], and what its heading has to say about it."""

    label: str
    pixels: Tensor
    notes: tuple[str, ...]


def _image_like(value: Tensor) -> Tensor:
    return value[:, None] if value.dim() == 3 else value


def _shown(label: str, value: Tensor, interval: Interval | None) -> _Shown:
    """A batch of images as colours."""
    value, notes = _image_like(value).detach().float().cpu(), list[str]()
    notes += filter(None, [channels_note(value.shape[1])])
    value = value[:, :3]
    extremes = _extremes(value) if interval is None else (0.0, 0.0)
    if not value.isfinite().all():
        notes.append("not finite")
        value = value.nan_to_num(0.0, 0.0, 0.0)
    if interval is None:
        interval = extremes
        notes.append(f"from {interval[0]:.3g} to {interval[1]:.3g}")
    elif (share := clipped(value, interval)) > MANY:
        notes.append(f"{share:.0%} clipped")
    return _Shown(label, _unit(_colours(value, interval[0]), interval), tuple(notes))


def _extremes(value: Tensor) -> Interval:
    """The lowest and the highest of the finite values; 0 if there are none."""
    finite = value[value.isfinite()]
    return (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)


def _unit(value: Tensor, interval: Interval) -> Tensor:
    """Values of a range as [0, 1], with three channels; all are grey where the range is a point."""
    low, high = interval
    value = ((value - low) / (high - low)).clamp(0, 1) if high > low else torch.full_like(value, 0.5)
    return value.expand(*value.shape[:-3], 3, *value.shape[-2:])


def _headed(shown: Sequence[_Shown], labels: list[str], name: str) -> list[_Shown]:
    """Columns with headings that fit."""
    widest = max(column.pixels.shape[-1] for column in shown)
    room = widest * max(1, -(-_SMALLEST // widest))
    return [replace(column, label=_heading(column.label, room, labels, name)) for column in shown]


def _heading(label: str, room: int, labels: list[str], name: str) -> str:
    """What a column is called: an expression that is too long is called by its grid and its place instead."""
    if _NAME.fullmatch(label) or _FONT.getlength(label) <= room:
        return label
    return f"{name or 'column'} {labels.index(label) + 1}"


def _image_grid(columns: Sequence[_Shown], above: _Shown | None, first: int, absent: Sequence[str]) -> Image.Image:
    count = max(len(column.pixels) for column in columns)
    per_row = 1 if len(columns) > 2 or count < 16 or above is not None else round(count**0.5)
    width = max(column.pixels.shape[-1] for column in columns)
    tiles = [_enlarged(column.pixels, width) if per_row == 1 else column.pixels for column in columns]
    if above is not None:
        tiles = _with_heads(tiles, _enlarged(above.pixels, width), first)
    per_row, kept = _screenful(tiles, per_row)
    grids = [make_grid(tile[:kept], nrow=per_row, padding=_GAP, pad_value=1.0) for tile in tiles]
    height = max(grid.shape[1] for grid in grids)
    padded = [torch.nn.functional.pad(grid, (0, 0, 0, height - grid.shape[1]), value=1.0) for grid in grids]
    heads = above is not None
    left = _fewer(kept - heads, max(map(len, tiles)) - heads) + [f"no image: {label}" for label in absent]
    titled = _titled(_image(torch.cat(padded, 2)), columns, [grid.shape[2] for grid in grids])
    return _noted(titled, [*left, *(above.notes if above is not None else ())])


def _screenful(tiles: Sequence[Tensor], per_row: int) -> tuple[int, int]:
    """How many images stand in a row of a column, and how many of them are shown, so that a screen holds the rows."""
    rows = max(1, (_SCREEN - _HEAD) // (max(tile.shape[-2] for tile in tiles) + _GAP))
    per_row = min(per_row, rows)
    return per_row, min(max(map(len, tiles)), rows * per_row)


def _fewer(kept: int, count: int) -> list[str]:
    return [f"the first {kept} of {count} samples"] if kept < count else []


def _with_heads(tiles: Sequence[Tensor], above: Tensor, first: int) -> list[Tensor]:
    """Each column from `first` on with its sample of `above`; where there is none, a column begins with white."""
    return [
        torch.cat([above[i : i + 1] if 0 <= i < len(above) else torch.ones_like(value[:1]), value])
        for i, value in enumerate(tiles, -first)
    ]


def _enlarged(images: Tensor, width: int) -> Tensor:
    """Small images enlarged, each pixel to a square.

    They come out as large as images of `width` would, so that columns of different sizes stay in rows.
    """
    wide = width * max(1, -(-_SMALLEST // width))
    high = round(images.shape[-2] * wide / images.shape[-1])
    return torch.nn.functional.interpolate(images, (high, wide), mode="nearest-exact")


def _image(pixels: Tensor) -> Image.Image:
    """[3, H, W] in [0, 1] as a picture."""
    return Image.fromarray((pixels * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def _titled(grid: Image.Image, columns: Sequence[_Shown], widths: Sequence[int]) -> Image.Image:
    """A grid under the headings of its columns."""
    notes = [_wrapped(column.notes, width) for column, width in zip(columns, widths, strict=True)]
    head = _HEAD + _LINE * max(map(len, notes))
    canvas = Image.new("RGB", (grid.width, grid.height + head), "white")
    canvas.paste(grid, (0, head))
    draw, left = ImageDraw.Draw(canvas), 0.0
    for column, said, width in zip(columns, notes, widths, strict=True):
        middle = left + width / 2
        draw.text((middle, 11), _fitting(column.label, _FONT, width), fill="black", font=_FONT, anchor="mm")
        for line, note in enumerate(said):
            draw.text((middle, _HEAD + _LINE * line + 4), note, fill="dimgrey", font=_SMALL, anchor="mm")
        left += width
    return canvas


def _noted(picture: Image.Image, notes: Sequence[str]) -> Image.Image:
    """A picture above lines of notes about all of it."""
    lines = _wrapped(notes, picture.width)
    canvas = Image.new("RGB", (picture.width, picture.height + _LINE * len(lines)), "white")
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for line, note in enumerate(lines):
        draw.text((_GAP, picture.height + _LINE * line), note, fill="dimgrey", font=_SMALL)
    return canvas


def _wrapped(notes: Iterable[str], width: int) -> list[str]:
    """Notes in lines of a width; a word that is wider by itself stands alone."""
    lines: list[str] = []
    for note in notes:
        line = ""
        for word in note.split():
            longer = f"{line} {word}".strip()
            if line and _SMALL.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The title of a column, cut where it would run into the next."""
    kept = len(name)
    while kept and font.getlength(name if kept == len(name) else f"{name[:kept]}...") > width:
        kept -= 1
    return name if kept == len(name) else f"{name[:kept]}..." if kept else ""


def _scatter(columns: Mapping[str, Tensor]) -> Image.Image:
    """Points [B, 2] by heading; below stands how many are not drawn, since they are not finite."""
    given = {name: value.detach().float().cpu() for name, value in columns.items()}
    points = {name: value[value.isfinite().all(1)] for name, value in given.items()}
    counts = {name: (len(given[name]) - len(value), len(given[name])) for name, value in points.items()}
    notes = [f"{name}: {lost} of {of} points are not finite" for name, (lost, of) in counts.items() if lost]
    drawn = _drawn(points)
    return _noted(drawn, notes) if notes else drawn


def _drawn(columns: Mapping[str, Tensor]) -> Image.Image:
    """Finite points [B, 2], float32 on the CPU; 99 % of the numbers of each column lie inside of its frame."""
    figure = Figure(figsize=(3.2 * len(columns), 3.4), dpi=100, layout="constrained")
    limit = max((float(value.abs().quantile(0.99)) for value in columns.values() if len(value)), default=1.0)
    limit = min(limit * 1.2 + 1e-6, 1e30)  # beyond which the axes overflow
    for axes, (name, value) in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns.items(), strict=True):
        axes.scatter(*value.T, s=4, alpha=0.5, linewidths=0)
        axes.set(title=name, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
