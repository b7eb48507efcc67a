"""Sources that are whole arrays in one file: `npz` (NumPy) and `idx` (the format of MNIST)."""

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Literal
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gangraph.data.archive import missing
from gangraph.data.arguments import (
    Size,
    require,
    require_count,
    require_counts,
    require_one_of,
    require_stretch,
    stretch,
)
from gangraph.data.imageset import ImageSet, Loaded
from gangraph.data.reading import (
    Unpacked,
    fill,
    open_member,
    require_density,
    require_regular,
    require_size_of,
)
from gangraph.data.source import Field
from gangraph.data.transform import LOWEST, ImageOptions, Interpolation, Range, scale
from gangraph.errors import DataError, nearest
from gangraph.registry import source

Array = NDArray[Any]

# The third byte of an idx header: what the elements are, the highest byte first.
IDX_IMAGES = {8: "u1"}
IDX_LABELS = IDX_IMAGES | {9: "i1", 11: ">i2", 12: ">i4"}
LONGEST_HEADER = 10_000  # of an array in an .npz file, in bytes
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
        range: `tanh` or `unit` scale a uint8 or uint16 array, whose largest number is the upper end; `raw` gives the
            numbers as they are.
        dtype: type of a `raw` array's tensor, `float32` or `int64`.
        largest: how much memory an array may take, in MiB.

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
    largest: int = 4096
    paths: ClassVar = ("file",)

    def __post_init__(self) -> None:
        _require_file("file", self.file)
        require(isinstance(self.shape, Sequence), "shape", self.shape, "a list such as [3, 64, 64]")
        require_counts("shape", self.shape)
        require_one_of("range", self.range, (*LOWEST, "raw"))
        require_one_of("dtype", self.dtype, DTYPES)
        require(self.range == "raw" or self.dtype == "float32", "dtype", self.dtype, "float32 or range='raw'")
        require_count("largest", self.largest)
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
            DataError: the file or an array is missing, corrupt or too large, its shape or type is not the declared one,
                or a number in it is not finite.
        """
        arrays = {"value": self._values(self._channels_first(self._array(self.key)))}
        if self.labels:
            arrays["label"] = torch.from_numpy(self._labels(self.labels))
        _require_equal_lengths(self.file, arrays)
        return ArraySet(self, arrays)

    def finish(self, name: str, values: Tensor) -> Tensor:
        """Stored numbers to the declared range and type."""
        if name == "label" or self.range == "raw":
            return values.to(self.fields[name].dtype)
        return scale(values, self.range)

    def _values(self, array: Array) -> Tensor:
        """The numbers as a tensor, in a type that holds each of them exactly."""
        what = f"array '{self.key}' of '{self.file}' holds {array.dtype}"
        if self.range != "raw":
            if array.dtype not in (np.uint8, np.uint16):
                raise DataError(f"{what}; expected uint8 or uint16 for range='{self.range}'; or give range='raw'")
            # Torch computes little with uint16; see `scale`.
            return torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.float32) / np.float32(65535))
        if array.dtype.kind not in ("biu" if self.dtype == "int64" else "biuf"):
            raise DataError(f"{what}; expected numbers for dtype='{self.dtype}'")
        small = array.dtype.itemsize == 1 or array.dtype in (np.int16, np.float16)
        with np.errstate(over="ignore"):
            kept = array if small else array.astype(self.dtype, copy=False)
        self._require_in_bounds(array, kept)
        return torch.from_numpy(kept)

    def _require_in_bounds(self, array: Array, kept: Array) -> None:
        good = np.isfinite(kept) if kept.dtype.kind == "f" else (kept >= 0) == (array >= 0)
        if not good.all():
            sample = int(np.argmin(good.reshape(len(good), -1).all(1)))
            raise DataError(f"'{self.file}': sample {sample} of '{self.key}' is not finite as {self.dtype}")

    def _array(self, key: str) -> Array:
        path = _existing(self.file)
        try:
            with path.open("rb") as file:
                single = file.read(6) == b"\x93NUMPY"
            if single:
                fix = f'numpy.savez("{path.with_suffix(".npz").name}", {key}=array) makes one'
                raise DataError(f"'{self.file}' is one array without a name (.npy); expected an .npz file; {fix}")
            with ZipFile(path) as opened:
                members = {info.filename.removesuffix(".npy"): info for info in opened.infolist()}
                if key in members:
                    return _read_member(opened, members[key], f"array '{key}' of '{self.file}'", self.largest)
        except DataError:
            raise
        except Exception as error:  # the parsers of zip files and of NumPy's headers raise nearly anything
            raise DataError(f"'{self.file}' is not a readable .npz file of plain arrays: {error}") from error
        hint = nearest(key, members)
        there = f"there are {', '.join(members)}" + (f"; {hint}" if hint else "")
        raise DataError(f"no array '{key}' in '{self.file}'; {there}")

    def _labels(self, key: str) -> Array:
        array = self._array(key)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            found = f"array '{key}' of '{self.file}' holds {array.dtype} of shape {list(array.shape)}"
            raise DataError(f"{found}; expected labels: whole numbers of shape [N]")
        labels = array.astype(np.int64)
        if (labels < 0).any():
            raise DataError(f"array '{key}' of '{self.file}' holds the label {labels.min()}; expected 0 or more")
        return labels

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
        if not self.labels:
            return
        wrong = [label for label in np.unique(arrays["labels"]).tolist() if not 0 <= label < (self.classes or 256)]
        if wrong:
            why = f", as classes={self.classes} declares" if self.classes else "; give classes= if there are more"
            raise DataError(
                f"'{self.labels}' holds the label {wrong[0]}; expected 0 to {(self.classes or 256) - 1}{why}"
            )


def _read_member(opened: ZipFile, info: ZipInfo, what: str, most: int) -> Array:
    """One array of an .npz file. No memory is taken before the file is known to be as long as its header says."""
    with open_member(opened, info, what) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"{what} has a header of version {version}; expected 1.0 or 2.0, as plain numbers have")
        length = file.read(2 if version == (1, 0) else 4)
        if int.from_bytes(length, "little") > LONGEST_HEADER:
            raise DataError(f"{what} has a header of more than {LONGEST_HEADER} bytes")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read_header(io.BytesIO(length + file.read(int.from_bytes(length, "little"))))
        if dtype.hasobject:
            raise DataError(f"{what} holds Python objects, which are never unpickled; expected numbers")
        size, there = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if size != there or any(side < 0 for side in shape):
            raise DataError(f"{what} holds {there} bytes of data; its header announces shape {list(shape)} of {dtype}")
        require_size_of(what, size, most)
        require_density(what, size, info.compress_size)
        array = np.empty(shape[::-1] if by_columns else shape, dtype)
        if size and fill(array, file) != size:
            raise DataError(f"{what} ends before its {size} bytes")
    native = array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return np.ascontiguousarray(native.T if by_columns else native)


def _read_idx(name: str, dimensions: int, kinds: Mapping[int, str], most: int) -> Array:
    """The array of an idx file: two zero bytes, type, number of dimensions, sizes (big-endian), elements."""
    path = _existing(name)
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


def _existing(file: str) -> Path:
    try:
        path = Path(file).expanduser()
        if not path.exists():
            raise missing("file", path)
        require_regular(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home of the user in ~user
        raise DataError(f"'{file}' cannot be read: {error}") from error
    return path


def _require_file(name: str, path: object) -> None:
    require(isinstance(path, str) and bool(path) and "\0" not in path, name, path, "a path to a file")


def _require_equal_lengths(file: str, arrays: Mapping[str, Array] | Mapping[str, Tensor]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} in {name}" for name, length in lengths.items())
        raise DataError(f"numbers of samples of '{file}' differ: {found}; expected as many of each")
