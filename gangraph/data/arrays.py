"""Sources that are whole arrays in one file: `npz` (NumPy) and `idx` (the format of MNIST)."""

import gzip
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gangraph.data.archive import missing
from gangraph.data.arguments import (
    require,
    require_count,
    require_counts,
    require_one_of,
    require_stretch,
    stretch,
)
from gangraph.data.imageset import ImageSet, Loaded
from gangraph.data.source import Field
from gangraph.data.transform import LOWEST, ImageOptions, Interpolation, Range, scale
from gangraph.errors import DataError, nearest
from gangraph.registry import source

Array = NDArray[Any]

IDX_UBYTE = 0x08  # the third byte of an idx header: elements are unsigned bytes
DTYPES = {"float32": torch.float32, "int64": torch.int64}


@source("npz")
@dataclass(frozen=True, kw_only=True)
class Npz:
    """One array of a NumPy .npz file: images, clips of video frames, or plain numbers.

    Args:
        file: path of the .npz file.
        key: name of the array in it; its first dimension counts the samples.
        shape: shape of one sample, without the batch: [C, H, W] for images (stored so, or as [H, W, C],
            or as [H, W] if C is 1), [C, T, H, W] for clips.
        frames: T, for clips: the array is a video, and each run of T consecutive frames is a sample.
        labels: name of an array of whole numbers, one for each sample.
        range: `tanh` or `unit` scale a uint8 array; `raw` takes the numbers as they are.
        dtype: type of a `raw` array's tensor, `float32` or `int64`.

    Raises:
        ValueError: an argument is wrong.
    """

    file: str = field(kw_only=False)
    key: str
    shape: Sequence[int]
    frames: int | None = None
    labels: str | None = None
    range: Literal["tanh", "unit", "raw"] = "tanh"
    dtype: Literal["float32", "int64"] = "float32"

    def __post_init__(self) -> None:
        _require_file("file", self.file)
        require(isinstance(self.shape, Sequence), "shape", self.shape, "a list such as [3, 64, 64]")
        require_counts("shape", self.shape)
        require_one_of("range", self.range, (*LOWEST, "raw"))
        require_one_of("dtype", self.dtype, DTYPES)
        require(self.range == "raw" or self.dtype == "float32", "dtype", self.dtype, "float32 or range='raw'")
        if self.frames is not None:
            require_count("frames", self.frames)
            is_clip = len(self.shape) == 4 and self.shape[1] == self.frames
            expected = f"[C, {self.frames}, H, W], since frames={self.frames}"
            require(is_clip, "shape", list(self.shape), expected)
            require(self.labels is None, "labels", self.labels, "none, since frames= makes clips")

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value`, and `label` (int64, no shape) if `labels` is given."""
        shape, low = tuple(self.shape), LOWEST.get(self.range)
        raw = Field(shape, dtype=DTYPES[self.dtype])
        fields = {"value": raw if low is None else Field(shape, low=low, high=1.0)}
        return fields | ({"label": Field((), low=0, dtype=torch.int64)} if self.labels else {})

    def open(self) -> "ArraySet":
        """Read the arrays into memory.

        Raises:
            DataError: the file or an array is missing or corrupt, or its shape or type is not the declared.
        """
        value = self._channels_first(self._array(self.key))
        if self.range != "raw" and value.dtype != np.uint8:
            found = f"array '{self.key}' of '{self.file}' holds {value.dtype}"
            raise DataError(f"{found}; expected uint8 for range='{self.range}'; or give range='raw'")
        arrays = {"value": torch.from_numpy(value)}
        if self.labels:
            arrays["label"] = torch.from_numpy(self._labels(self.labels))
        _require_equal_lengths(self.file, arrays)
        return ArraySet(self, arrays)

    def finish(self, name: str, values: Tensor) -> Tensor:
        """Stored numbers to the declared range and type."""
        if name == "label" or self.range == "raw":
            return values.to(self.fields[name].dtype)
        return scale(values, self.range)

    def _array(self, key: str) -> Array:
        path = _existing(self.file)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if key in arrays:
                    return np.ascontiguousarray(arrays[key])
                known = list(arrays)
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error, TypeError) as error:
            raise DataError(f"'{self.file}' is not a readable .npz file of plain arrays: {error}") from error
        hint = nearest(key, known)
        there = f"there are {', '.join(known)}" + (f"; {hint}" if hint else "")
        raise DataError(f"no array '{key}' in '{self.file}'; {there}")

    def _labels(self, key: str) -> Array:
        array = self._array(key)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            found = f"array '{key}' of '{self.file}' holds {array.dtype} of shape {list(array.shape)}"
            raise DataError(f"{found}; expected labels: whole numbers of shape [N]")
        return array.astype(np.int64)

    def _channels_first(self, array: Array) -> Array:
        """The array as [N, *shape], or for clips the frames as [N, C, H, W]."""
        shape = tuple(self.shape)
        item = shape if self.frames is None else (shape[0], *shape[2:])
        found, enough = array.shape[1:], len(array) >= (self.frames or 1)
        if found == item and enough:
            return array
        if found == (*item[1:], item[0]) and enough:
            return np.ascontiguousarray(np.moveaxis(array, -1, 1))
        if (1, *found) == item and enough:
            return array[:, None]
        what = f"array '{self.key}' of '{self.file}' has shape {list(array.shape)}"
        expected = f"[{self.frames or 1} or more, {', '.join(map(str, item))}], channels first or last"
        raise DataError(f"{what}; expected {expected}, as shape={list(shape)} declares")


class ArraySet:
    """The opened form of `Npz`: arrays in memory."""

    def __init__(self, declared: Npz, arrays: Mapping[str, Tensor]) -> None:
        self.skipped: list[str] = []
        self._declared = declared
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays["value"]) - (self._declared.frames or 1) + 1

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The samples at `indices`, stacked; nothing is random."""
        taken = {name: self._taken(array, indices) for name, array in self._arrays.items()}
        return {name: self._declared.finish(name, values) for name, values in taken.items()}

    def verify(self) -> list[str]:
        """One `file: reason` for each sample that is not finite."""
        value = self._arrays["value"]
        bad = (~value.isfinite()).flatten(1).any(1).nonzero() if value.is_floating_point() else ()
        file, key = self._declared.file, self._declared.key
        return [f"{file}: sample {int(index)} of '{key}' is not finite" for index in bad]

    def _taken(self, array: Tensor, indices: Sequence[int]) -> Tensor:
        if self._declared.frames is None:
            return array[torch.tensor(indices, dtype=torch.int64)]
        return torch.stack([array[i : i + self._declared.frames].transpose(0, 1) for i in indices])


@source("idx")
@dataclass(frozen=True, kw_only=True)
class Idx:
    """Grey images, and their labels, in the idx files of MNIST; gzip-compressed or not.

    Args:
        images: path of the idx3-ubyte file.
        labels: path of the idx1-ubyte file.
        size: side of the images; others are resized to it.
        classes: number of classes; the label's range is 0 to 255 without it.
        first, count: take `count` images, beginning with image `first`; by default all.
        flip, range, interpolation, augment, cache: see `ImageOptions`.

    Raises:
        ValueError: an argument is wrong.
    """

    images: str = field(kw_only=False)
    labels: str | None = None
    size: int = 28
    classes: int | None = None
    first: int = 0
    count: int | None = None
    flip: bool = False
    range: Range = "tanh"
    interpolation: Interpolation = "bilinear"
    augment: bool = True
    cache: int = 512

    def __post_init__(self) -> None:
        _require_file("images", self.images)
        if self.labels is not None:
            _require_file("labels", self.labels)
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
        label = Field((), low=0, high=(self.classes or 256) - 1, dtype=torch.int64)
        return {"image": self._options().pixels} | ({"label": label} if self.labels else {})

    def open(self) -> ImageSet:
        """Read the files into memory.

        Raises:
            DataError: a file is missing, not in idx format, or holds too few images; or the numbers of images and
            labels differ.
        """
        arrays = {"images": _read_idx(self.images, dimensions=3)}
        if self.labels:
            arrays["labels"] = _read_idx(self.labels, dimensions=1).astype(np.int64)
        _require_equal_lengths(self.images, arrays)
        self._require_known_classes(arrays)

        chosen = stretch(self.images, len(arrays["images"]), self.first, self.count)

        def load(index: int) -> Loaded:
            image = (Image.fromarray(arrays["images"][chosen[index]]),)
            label = {"label": torch.tensor(arrays["labels"][chosen[index]])} if self.labels else {}
            return {"image": image, **label}

        names = [f"{self.images}, image {index}" for index in chosen]
        return ImageSet(names, load, self._options())

    def _require_known_classes(self, arrays: Mapping[str, Array]) -> None:
        highest = int(arrays["labels"].max()) if self.labels else 0
        if self.classes is not None and highest >= self.classes:
            expected = f"expected 0 to {self.classes - 1}, as classes={self.classes} declares"
            raise DataError(f"'{self.labels}' holds the label {highest}; {expected}")


def _read_idx(file: str, dimensions: int) -> Array:
    """The array of an idx file: two zero bytes, type, number of dimensions, sizes (big-endian), elements."""
    data = _existing(file).read_bytes()
    try:
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{file}' is not a readable gzip file: {error}") from error
    header = bytes((0, 0, IDX_UBYTE, dimensions))
    if not data.startswith(header):
        expected = f"expected {header.hex(' ')} (idx{dimensions}-ubyte)"
        raise DataError(f"'{file}' starts with {data[:4].hex(' ')}; {expected}")
    shape = np.frombuffer(data[4 : 4 + 4 * dimensions], ">u4").tolist()
    elements = np.frombuffer(data, np.uint8, offset=min(len(data), 4 + 4 * dimensions))
    if len(shape) != dimensions or len(elements) != math.prod(shape) or not len(elements):
        raise DataError(f"'{file}' holds {len(elements)} bytes of data; its header announces shape {shape}")
    return elements.reshape(shape)


def _existing(file: str) -> Path:
    path = Path(file).expanduser()
    if not path.is_file():
        raise missing("file", path)
    return path


def _require_file(name: str, path: object) -> None:
    require(isinstance(path, str) and bool(path), name, path, "a path to a file")


def _require_equal_lengths(file: str, arrays: Mapping[str, Array] | Mapping[str, Tensor]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} in {name}" for name, length in lengths.items())
        raise DataError(f"numbers of samples of '{file}' differ: {found}; expected as many of each")
