"""An image file's bytes to a tensor: decode, resize, crop, flip, scale; alike for aligned images.

Work is split where randomness starts. `decode` and `prepare` depend on the file alone, so their result can be
kept: uint8, or float32 from 0 to 1 where 8 bits are too few. `arrange` (crop, flip) is driven by three numbers in
[0, 1); `scale` gives the declared range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from gangraph.data.arguments import Size, height_and_width, require, require_count, require_one_of, require_size
from gangraph.data.decode import Pages, Picture, Rules, decode
from gangraph.data.source import Field

Range = Literal["tanh", "unit"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
Fit = Literal["stretch", "cover"]

LOWEST = {"tanh": -1.0, "unit": 0.0}
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
CHANCES = 3  # numbers that place one sample: crop row, crop column, flip


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """The arguments that image sources share, and what they do to one image.

    Args:
        size: height and width of the images in pixels, as [120, 160], or one number for both; the same as
            `resize` alone.
        resize: resize to this many pixels (286 before `crop=256`, say); one number or two.
        crop: then cut so much out: at random, or from the centre if `augment` is false; one number or two.
        flip: mirror left to right every other time, by chance.
        channels: 3 for colour, 1 for grey. A grey image has three equal channels as colour; a colour image
            becomes 0.299 R + 0.587 G + 0.114 B as grey, rounded to 8 bits if the file has 8.
        range: `tanh` gives values in [-1, 1], `unit` in [0, 1]; the largest number that a file's depth can hold
            is the upper end, for 8 bits as for 16.
        interpolation: `bilinear` or `bicubic` (both antialiased), or `nearest`, for label maps.
        fit: `stretch` ignores the aspect ratio; `cover` first cuts the largest centred rectangle of that shape.
        augment: false turns the random crop and flip off, for evaluation.
        skip_corrupt: take the next good image where one cannot be read, instead of stopping.
        cache: memory for decoded images, in MiB; 0 decodes again at every use.
        ground: the colour that transparent images are laid on, such as `white` or `#808080`. Without it, an image
            that is transparent anywhere cannot be read.
        values: [low, high], the stored numbers that mean black and white. Files of floats or of 32-bit integers
            need it, others may have it, such as 12 bits that lie in 16; a number outside is an error.
        pages: `one`, or `first` to take the first page or frame of files that have several.
        largest: how much memory decoding one file may take, in MiB; the file itself may have a quarter of that.
    """

    size: Size | None = None
    resize: Size | None = None
    crop: Size | None = None
    flip: bool = False
    channels: int = 3
    range: Range = "tanh"
    interpolation: Interpolation = "bilinear"
    fit: Fit = "stretch"
    augment: bool = True
    skip_corrupt: bool = False
    cache: int = 512
    ground: str | None = None
    values: tuple[float, float] | None = None
    pages: Pages = "one"
    largest: int = 512

    def __post_init__(self) -> None:
        given = {"size": self.size, "resize": self.resize, "crop": self.crop}
        asked = {name: side for name, side in given.items() if side is not None}
        require(
            bool(asked), "size", None, "the side of the images in pixels, or [height, width]: size=, resize= or crop="
        )
        for name, side in asked.items():
            require_size(name, side)
        alone = self.size is None or len(asked) == 1
        require(alone, "size", self.size, "size= alone, or resize= with crop=: size= already is a resize=")
        if self.resize is not None and self.crop is not None:
            inside = all(
                cut <= side
                for cut, side in zip(height_and_width(self.crop), height_and_width(self.resize), strict=True)
            )
            require(inside, "crop", self.crop, f"at most resize={self.resize}")
        require_one_of("channels", self.channels, (1, 3))
        require_one_of("range", self.range, LOWEST)
        require_one_of("interpolation", self.interpolation, FILTERS)
        require_one_of("fit", self.fit, ("stretch", "cover"))
        require_one_of("pages", self.pages, ("one", "first"))
        require_count("cache", self.cache, least=0)
        require_count("largest", self.largest, least=4)
        _require_values(self.values)
        _colour(self.ground)
        for name in ("flip", "augment", "skip_corrupt"):
            require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")

    @property
    def pixels(self) -> Field:
        """One image, [channels, height, width]."""
        return Field((self.channels, *self.shape), low=LOWEST[self.range], high=1.0)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of one image."""
        size = self.crop or self.resize or self.size
        assert size is not None
        return height_and_width(size)

    @property
    def rules(self) -> Rules:
        """What the arguments state about the pixels of the files."""
        return Rules(self.channels, _colour(self.ground), self.values, self.pages, self.largest)

    def decode(self, data: bytes) -> Picture:
        """The upright image, grey or colour. Raises ValueError, or whatever Pillow does at a corrupt file."""
        return decode(data, self.rules)

    def prepare(self, picture: Picture) -> Tensor:
        """Resize: [channels, height, width], ready to be cropped; uint8, or float32 from 0 to 1.

        Raises:
            ValueError: the image is smaller than the crop.
        """
        picture = tuple(self._resized(band) for band in picture)
        first = picture[0]
        if self.crop and not _fits(first, height_and_width(self.crop)):
            raise ValueError(f"{first.width}x{first.height} is smaller than crop={self.crop}; give resize=")
        bands = [torch.from_numpy(np.array(band)).reshape(first.height, first.width, -1) for band in picture]
        return torch.cat(bands, dim=2).permute(2, 0, 1).contiguous()

    def _resized(self, band: Image.Image) -> Image.Image:
        size = self.resize or self.size
        if size is None or band.size == height_and_width(size)[::-1]:
            return band
        height, width = height_and_width(size)
        box = _centred(band, height, width) if self.fit == "cover" else None
        resized = band.resize((width, height), FILTERS[self.interpolation], box=box)
        # Bicubic interpolation overshoots at edges; Pillow cuts that off at 8 bits, but not from floats.
        return Image.fromarray(np.asarray(resized).clip(0, 1)) if band.mode == "F" else resized

    def arrange(self, image: Tensor, chances: Sequence[float]) -> Tensor:
        """Crop and flip [..., height, width] by three numbers in [0, 1); equal numbers give the same crop and flip."""
        row, column, mirror = chances if self.augment else (0.5, 0.5, 1.0)
        if self.crop:
            rows, columns = height_and_width(self.crop)
            height, width = image.shape[-2:]
            top, left = int(row * (height - rows + 1)), int(column * (width - columns + 1))
            image = image[..., top : top + rows, left : left + columns]
        return image.flip(-1) if self.flip and mirror < 0.5 else image

    def scale(self, images: Tensor) -> Tensor:
        """The result of `prepare` as float32 in the declared range."""
        return scale(images, self.range)


def scale(images: Tensor, values: Range) -> Tensor:
    """Uint8, or float32 from 0 to 1, to float32 from -1 to 1 (`tanh`) or 0 to 1 (`unit`)."""
    unit = images if images.is_floating_point() else images.float() / 255
    return unit * 2 - 1 if values == "tanh" else unit


def _fits(image: Image.Image, size: tuple[int, int]) -> bool:
    return image.height >= size[0] and image.width >= size[1]


def _centred(image: Image.Image, height: int, width: int) -> tuple[float, float, float, float]:
    """The largest centred box of this aspect ratio."""
    zoom = min(image.height / height, image.width / width)
    left, top = (image.width - zoom * width) / 2, (image.height - zoom * height) / 2
    return left, top, image.width - left, image.height - top


def _colour(ground: str | None) -> tuple[int, int, int] | None:
    if ground is None:
        return None
    try:
        levels = list(ImageColor.getrgb(ground))
    except (ValueError, TypeError, AttributeError):
        levels = []
    # A fourth number would be an alpha of the ground's own.
    require(len(levels) == 3, "ground", ground, 'a colour such as "white" or "#808080"')
    return levels[0], levels[1], levels[2]


def _require_values(values: object) -> None:
    if values is None:
        return
    pair = list(values) if isinstance(values, list | tuple) else []
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) and isfinite(n) for n in pair)
    ordered = len(pair) == 2 and numbers and pair[0] < pair[1]
    require(ordered, "values", values, "[low, high], two numbers, the lower one first")
