"""An image file's bytes to a tensor: decode, resize, crop, flip, scale; alike for aligned images.

Work is split where randomness starts. `decode` and `prepare` depend on the file alone, so their uint8
result can be kept; `arrange` (crop, flip) is driven by three numbers in [0, 1); `scale` gives floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gangraph.data.arguments import require, require_count, require_one_of
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
        size: side of the square images; the same as `resize` alone.
        resize: resize both sides to this many pixels (286 before `crop=256`, say).
        crop: then cut a square: at random, or from the centre if `augment` is false.
        flip: mirror left to right every other time, by chance.
        channels: 3 for colour, 1 for grey.
        range: `tanh` gives values in [-1, 1], `unit` in [0, 1].
        interpolation: `bilinear` or `bicubic` (both antialiased), or `nearest`, for label maps.
        fit: `stretch` ignores the aspect ratio; `cover` first cuts the largest centred square.
        augment: false turns the random crop and flip off, for evaluation.
        skip_corrupt: take the next good image where one cannot be read, instead of stopping.
        cache: memory for decoded images, in MiB; 0 decodes again at every use.
    """

    size: int | None = None
    resize: int | None = None
    crop: int | None = None
    flip: bool = False
    channels: int = 3
    range: Range = "tanh"
    interpolation: Interpolation = "bilinear"
    fit: Fit = "stretch"
    augment: bool = True
    skip_corrupt: bool = False
    cache: int = 512

    def __post_init__(self) -> None:
        given = {"size": self.size, "resize": self.resize, "crop": self.crop}
        sides = {name: side for name, side in given.items() if side is not None}
        require(bool(sides), "size", None, "the side of the images in pixels: size=, resize= or crop=")
        for name, side in sides.items():
            require_count(name, side)
        alone = self.size is None or len(sides) == 1
        require(alone, "size", self.size, "size= alone, or resize= with crop=: size= already is a resize=")
        inside = self.resize is None or self.crop is None or self.crop <= self.resize
        require(inside, "crop", self.crop, f"at most resize={self.resize}")
        require_one_of("channels", self.channels, (1, 3))
        require_one_of("range", self.range, LOWEST)
        require_one_of("interpolation", self.interpolation, FILTERS)
        require_one_of("fit", self.fit, ("stretch", "cover"))
        require_count("cache", self.cache, least=0)
        for name in ("flip", "augment", "skip_corrupt"):
            require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")

    @property
    def pixels(self) -> Field:
        """One image, [channels, side, side]."""
        side = self.crop or self.resize or self.size
        assert side is not None
        return Field((self.channels, side, side), low=LOWEST[self.range], high=1.0)

    def decode(self, data: bytes) -> Image.Image:
        """The upright image, grey or colour."""
        with Image.open(BytesIO(data)) as image:
            return ImageOps.exif_transpose(image).convert("L" if self.channels == 1 else "RGB")

    def prepare(self, image: Image.Image) -> Tensor:
        """Resize: uint8 [channels, height, width], ready to be cropped.

        Raises:
            ValueError: the image is smaller than the crop.
        """
        image = image.convert("L" if self.channels == 1 else "RGB")
        side = self.resize or self.size
        if side is not None and image.size != (side, side):
            box = _centred_square(image) if self.fit == "cover" else None
            image = image.resize((side, side), FILTERS[self.interpolation], box=box)
        if self.crop and min(image.size) < self.crop:
            raise ValueError(f"{image.width}x{image.height} is smaller than crop={self.crop}; give resize=")
        pixels = torch.from_numpy(np.array(image))
        return pixels.reshape(image.height, image.width, self.channels).permute(2, 0, 1).contiguous()

    def arrange(self, image: Tensor, chances: Sequence[float]) -> Tensor:
        """Crop and flip [..., height, width] by three numbers in [0, 1): equal numbers, equal places."""
        row, column, mirror = chances if self.augment else (0.5, 0.5, 1.0)
        if self.crop:
            height, width = image.shape[-2:]
            top, left = int(row * (height - self.crop + 1)), int(column * (width - self.crop + 1))
            image = image[..., top : top + self.crop, left : left + self.crop]
        return image.flip(-1) if self.flip and mirror < 0.5 else image

    def scale(self, images: Tensor) -> Tensor:
        """uint8 to float32 in the declared range."""
        return scale(images, self.range)


def scale(images: Tensor, values: Range) -> Tensor:
    """uint8 to float32: 0 to 255 becomes -1 to 1 (`tanh`) or 0 to 1 (`unit`)."""
    return images.float() / 127.5 - 1 if values == "tanh" else images.float() / 255


def _centred_square(image: Image.Image) -> tuple[float, float, float, float]:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side
