"""Values as pictures: grids of images with a title over each column, and scatter plots of points."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

_GAP, _SMALLEST = 2, 96


def picture(columns: Mapping[str, Tensor], *, above: Tensor | None = None, first: int = 0) -> Image.Image | None:
    """Columns of images [B, C, H, W] side by side, one sample in each row; or points [B, 2] as scatter plots.

    Images with negative values are taken to be in [-1, 1], others in [0, 1]. Beside larger ones, images are enlarged to
    their width. One or two columns of many samples are shown as squares instead. The samples of `above` stand over the
    columns from `first` on, one each. None if nothing can be shown.
    """
    images = {name: value for name, value in columns.items() if value.dim() == 4 and value.shape[1] in (1, 3)}
    if images:
        return _image_grid(images, above, first)
    points = {name: value for name, value in columns.items() if value.dim() == 2 and value.shape[1] == 2}
    return _scatter(points) if points else None


def frames(moments: Sequence[Tensor]) -> list[Image.Image]:
    """One picture for each of some batches of images [B, C, H, W], each with its samples in a square."""
    if any(moment.dim() != 4 or moment.shape[1] not in (1, 3) for moment in moments):
        return []
    whole = _enlarged(unit(torch.cat(list(moments))), moments[0].shape[-1])  # together, so that all have one range
    per_row = math.ceil(len(moments[0]) ** 0.5)
    each = whole.reshape(len(moments), -1, *whole.shape[1:])
    return [_image(make_grid(moment, nrow=per_row, padding=_GAP, pad_value=1.0)) for moment in each]


def save(shown: Sequence[Image.Image], target: Path, *, rate: int | None) -> None:
    """Write a picture, or an animation that repeats, with `rate` frames a second."""
    if rate is None:
        shown[0].save(target)
    else:
        shown[0].save(target, save_all=True, append_images=shown[1:], duration=round(1000 / rate), loop=0)


def unit(image: Tensor) -> Tensor:
    """An image, or a batch, with values in [0, 1] and three channels on the CPU."""
    image = image.detach().float().cpu()
    image = (image + 1) / 2 if image.min() < 0 else image
    return image.clamp(0, 1).expand(*image.shape[:-3], 3, *image.shape[-2:])


def _image_grid(columns: Mapping[str, Tensor], above: Tensor | None, first: int) -> Image.Image:
    count = len(next(iter(columns.values())))
    per_row = 1 if len(columns) > 2 or count < 16 or above is not None else round(count**0.5)
    width = max(value.shape[-1] for value in columns.values())
    shown = {name: _enlarged(unit(value), width) if per_row == 1 else unit(value) for name, value in columns.items()}
    if above is not None:
        shown = _with_heads(shown, _enlarged(unit(above), width), first)
    tiles = [make_grid(value, nrow=per_row, padding=_GAP, pad_value=1.0) for value in shown.values()]
    height = max(tile.shape[1] for tile in tiles)
    padded = [torch.nn.functional.pad(tile, (0, 0, 0, height - tile.shape[1]), value=1.0) for tile in tiles]
    return _titled(_image(torch.cat(padded, 2)), list(columns), [tile.shape[2] for tile in tiles])


def _with_heads(columns: Mapping[str, Tensor], above: Tensor, first: int) -> dict[str, Tensor]:
    """Each column from `first` on with its sample of `above`; where there is none, a column begins with white."""
    return {
        name: torch.cat([above[i : i + 1] if 0 <= i < len(above) else torch.ones_like(value[:1]), value])
        for i, (name, value) in enumerate(columns.items(), -first)
    }


def _enlarged(images: Tensor, width: int) -> Tensor:
    """Small images at a size that can be seen, each pixel a square.

    They come out as large as images of `width` would, so that columns of different sizes stay in rows.
    """
    wide = width * max(1, -(-_SMALLEST // width))
    high = round(images.shape[-2] * wide / images.shape[-1])
    return torch.nn.functional.interpolate(images, (high, wide), mode="nearest-exact")


def _image(pixels: Tensor) -> Image.Image:
    """[3, H, W] in [0, 1] as a picture."""
    return Image.fromarray((pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _titled(grid: Image.Image, names: list[str], widths: list[int]) -> Image.Image:
    font = ImageFont.load_default(14)
    canvas = Image.new("RGB", (grid.width, grid.height + 22), "white")
    canvas.paste(grid, (0, 22))
    draw, left = ImageDraw.Draw(canvas), 0
    for name, width in zip(names, widths, strict=True):
        draw.text((left + width / 2, 11), _fitting(name, font, width), fill="black", font=font, anchor="mm")
        left += width
    return canvas


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The title of a column, cut where it would run into the next."""
    kept = len(name)
    while kept and font.getlength(name if kept == len(name) else f"{name[:kept]}...") > width:
        kept -= 1
    return name if kept == len(name) else f"{name[:kept]}..." if kept else ""


def _scatter(columns: Mapping[str, Tensor]) -> Image.Image:
    figure = Figure(figsize=(3.2 * len(columns), 3.4), dpi=100, layout="constrained")
    limit = max(float(value.float().abs().quantile(0.99)) for value in columns.values()) * 1.2 + 1e-6
    for axes, (name, value) in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns.items(), strict=True):
        axes.scatter(*value.detach().float().cpu().T, s=4, alpha=0.5, linewidths=0)
        axes.set(title=name, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
