"""Values as pictures: grids of images with a title over each column, and scatter plots of points."""

from collections.abc import Mapping
from io import BytesIO

import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

_GAP, _SMALLEST = 2, 96


def picture(columns: Mapping[str, Tensor]) -> Image.Image | None:
    """Columns of images [B, C, H, W] side by side, one sample in each row; or points [B, 2] as scatter plots.

    Images with negative values are taken to be in [-1, 1], others in [0, 1]. One or two columns of many samples
    are shown as squares instead. None if nothing can be shown.
    """
    images = {name: value for name, value in columns.items() if value.dim() == 4 and value.shape[1] in (1, 3)}
    if images:
        return _image_grid(images)
    points = {name: value for name, value in columns.items() if value.dim() == 2 and value.shape[1] == 2}
    return _scatter(points) if points else None


def unit(image: Tensor) -> Tensor:
    """An image, or a batch, with values in [0, 1] and three channels on the CPU."""
    image = image.detach().float().cpu()
    image = (image + 1) / 2 if image.min() < 0 else image
    return image.clamp(0, 1).expand(*image.shape[:-3], 3, *image.shape[-2:])


def _image_grid(columns: Mapping[str, Tensor]) -> Image.Image:
    per_row = (
        1
        if len(columns) > 2 or len(next(iter(columns.values()))) < 16
        else round(len(next(iter(columns.values()))) ** 0.5)
    )
    tiles = []
    for value in columns.values():
        scale = max(1, -(-_SMALLEST // value.shape[-1])) if per_row == 1 else 1
        enlarged = unit(value).repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        tiles.append(make_grid(enlarged, nrow=per_row, padding=_GAP, pad_value=1.0))
    height = max(tile.shape[1] for tile in tiles)
    padded = [torch.nn.functional.pad(tile, (0, 0, 0, height - tile.shape[1]), value=1.0) for tile in tiles]
    pixels = (torch.cat(padded, 2) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return _titled(Image.fromarray(pixels), list(columns), [tile.shape[2] for tile in tiles])


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
