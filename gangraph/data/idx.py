"""The source `idx`: grey images and their labels in the format of MNIST."""

import io
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gangraph.data.arguments import Size, require_count, require_stretch, stretch
from gangraph.data.files import existing_file, require_equal_lengths, require_file
from gangraph.data.imageset import ImageSet, Loaded
from gangraph.data.reading import Unpacked, fill, require_density, require_size_of
from gangraph.data.source import Field
from gangraph.data.transform import ImageOptions, Interpolation, Range
from gangraph.errors import DataError
from gangraph.registry import source

Array = NDArray[Any]

# The third byte of an idx header: what the elements are, the highest byte first.
IDX_IMAGES = {8: "u1"}
IDX_LABELS = IDX_IMAGES | {9: "i1", 11: ">i2", 12: ">i4"}


@source("idx")
@dataclass(frozen=True, kw_only=True)
class Idx:
    """Grey images, and their labels, in the idx files of MNIST; gzip-compressed or not.

    Args:
        images: path of the idx3-ubyte file.
        labels: path of the idx1-ubyte file.
        size: height and width of the images, or one number for both; others are resized to it.
        classes: number of classes; the label's range is 0 to 255 without it.
        first, count: take `count` images, beginning with image `first`; by default all.
        flip, range, interpolation, augment, cache: see `ImageOptions`.
        largest: how much memory a file may take, in MiB.

    Raises:
        ValueError: an argument is wrong.
    """

    images: str = field(kw_only=False)
    labels: str | None = None
    size: Size = 28
    classes: int | None = None
    first: int = 0
    count: int | None = None
    flip: bool = False
    range: Range = "tanh"
    interpolation: Interpolation = "bilinear"
    augment: bool = True
    cache: int = 512
    largest: int = 4096
    paths: ClassVar = ("images", "labels")

    def __post_init__(self) -> None:
        require_count("largest", self.largest)
        require_file("images", self.images)
        if self.labels is not None:
            require_file("labels", self.labels)
        if self.classes is not None:
            require_count("classes", self.classes)
        require_stretch(self.first, self.count)
        self._options()  # checks the others

    def _options(self) -> ImageOptions:
        return ImageOptions(
            size=self.size,
            channels=1,
            flip=self.flip,
            range=self.range,
            interpolation=self.interpolation,
            augment=self.augment,
            cache=self.cache,
        )

    @property
    def fields(self) -> Mapping[str, Field]:
        """`image`, and `label` (int64, no shape) if `labels` is given."""
        label = Field((), low=0, high=self.classes - 1 if self.classes else float("inf"), dtype=torch.int64)
        return {"image": self._options().pixels} | ({"label": label} if self.labels else {})

    def open(self) -> ImageSet:
        """Read the files into memory.

        Raises:
            DataError: a file is missing, not in idx format, or holds too few images; or the numbers of images and
            labels differ.
        """
        arrays = {"images": _read_idx(self.images, 3, IDX_IMAGES, self.largest)}
        if self.labels:
            arrays["labels"] = _read_idx(self.labels, 1, IDX_LABELS, self.largest).astype(np.int64)
        require_equal_lengths(self.images, arrays)
        self._require_known_classes(arrays)

        chosen = stretch(self.images, len(arrays["images"]), self.first, self.count)

        def load(index: int) -> Loaded:
            image = (Image.fromarray(arrays["images"][chosen[index]]),)
            label = {"label": torch.tensor(arrays["labels"][chosen[index]])} if self.labels else {}
            return {"image": image, **label}

        names = [f"{self.images}, image {index}" for index in chosen]
        return ImageSet(names, load, self._options())

    def _require_known_classes(self, arrays: Mapping[str, Array]) -> None:
        if not self.labels:
            return
        wrong = [label for label in np.unique(arrays["labels"]).tolist() if not 0 <= label < (self.classes or 256)]
        if wrong:
            why = f", as classes={self.classes} declares" if self.classes else "; give classes= if there are more"
            raise DataError(
                f"'{self.labels}' holds the label {wrong[0]}; expected 0 to {(self.classes or 256) - 1}{why}"
            )


def _read_idx(name: str, dimensions: int, kinds: Mapping[int, str], most: int) -> Array:
    """The array of an idx file: two zero bytes, type, number of dimensions, sizes (big-endian), elements."""
    path = existing_file(name)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            opened = io.BufferedReader(Unpacked(file)) if packed else file
            return _read_elements(opened, name, packed, path.stat().st_size, dimensions, kinds, most)
    except (OSError, EOFError, zlib.error) as error:
        kind = "gzip file" if packed else "file"
        raise DataError(f"'{name}' is not a readable {kind}: {error}") from error


def _read_elements(
    file: IO[bytes] | io.BufferedReader,
    name: str,
    packed: bool,
    stored: int,
    dimensions: int,
    kinds: Mapping[int, str],
    most: int,
) -> Array:
    magic, sizes = file.read(4), file.read(4 * dimensions)
    if magic not in [bytes((0, 0, kind, dimensions)) for kind in kinds]:
        begin = f"starts with {magic.hex(' ')}" if magic else "is empty"
        expected = bytes((0, 0, min(kinds), dimensions)).hex(" ")
        raise DataError(f"'{name}' {begin}; expected {expected} (idx{dimensions}-ubyte)")
    shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist()
    dtype = np.dtype(kinds[magic[2]])
    size = math.prod(shape) * dtype.itemsize if len(shape) == dimensions else 0
    left = stored - 4 - len(sizes)
    if packed:
        require_density(f"'{name}'", size, stored)
    found = left
    if size and (packed or left == size):
        require_size_of(f"'{name}'", size, most)
        array = np.empty(shape, dtype)
        found = fill(array, file)
        if found == size:
            return array
    more = "more than " if packed and found > size else ""
    raise DataError(f"'{name}' holds {more}{found - bool(more)} bytes of data; its header announces shape {shape}")
