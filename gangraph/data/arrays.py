"""The source `npz`: arrays of one NumPy file."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from gangraph.data.arguments import require, require_count, require_counts, require_one_of
from gangraph.data.files import existing_file, require_equal_lengths, require_file
from gangraph.data.lengths import Frames, most_frames, require_frames, varying
from gangraph.data.reading import fill, open_member, require_density, require_size_of
from gangraph.data.source import Field
from gangraph.data.transform import LOWEST, scale
from gangraph.errors import DataError, nearest
from gangraph.registry import source

Array = NDArray[Any]
Scale = Literal["tanh", "unit", "raw"]

LONGEST_HEADER = 10_000  # of an array in an .npz file, in bytes
DTYPES = {"float32": torch.float32, "int64": torch.int64}


@source("npz")
@dataclass(frozen=True, kw_only=True)
class Npz:
    """Arrays of a NumPy .npz file: images, clips of video frames, series, or plain numbers.

    Args:
        file: path of the .npz file.
        key: name of the array in it, whose first dimension counts the samples; or a list of such names, and then
            `shape`, and where they differ `range` and `dtype`, are lists too, with one entry for each name.
        shape: shape of one sample, without the batch: [C, H, W] for images (stored so, or as [H, W, C],
            or as [H, W] if C is 1), [C, T, H, W] for clips.
        frames: T, for clips: the array is a video, and each run of T consecutive frames is a sample; or the fewest
            and the most, of which each batch of a run has as many as is drawn, and T is the most.
        labels: name of an array of whole numbers, one for each sample.
        range: `tanh` or `unit` scale a uint8 or uint16 array, whose largest number is the upper end; `raw` gives the
            numbers as they are.
        dtype: type of a `raw` array's tensor, `float32` or `int64`.
        largest: how much memory an array may take, in MiB.

    Raises:
        ValueError: an argument is wrong.
    """

    file: str = field(kw_only=False)
    key: str | Sequence[str]
    shape: Sequence[int] | Sequence[Sequence[int]]
    frames: Frames | None = None
    labels: str | None = None
    range: Scale | Sequence[Scale] = "tanh"
    dtype: Literal["float32", "int64"] | Sequence[str] = "float32"
    largest: int = 4096
    paths: ClassVar = ("file",)

    def __post_init__(self) -> None:
        require_file("file", self.file)
        require_count("largest", self.largest)
        if not isinstance(self.key, str):
            names = isinstance(self.key, Sequence) and all(isinstance(name, str) for name in self.key)
            require(names and bool(self.key), "key", self.key, "the name of an array, or a list of names")
            for name in self.key:
                taken = self.labels is not None and name in (self.labels, "label")
                fits = name.isidentifier() and not taken and list(self.key).count(name) == 1
                others = f"; {self.labels} becomes the field 'label'" if taken else ""
                expected = "names that differ, of letters, digits and _, since they name the fields"
                require(fits, "key", name, expected + others)
            require(self.frames is None, "frames", self.frames, "one key, since frames= makes clips of one array")
        for _ in self.arrays:
            pass  # each checks its arguments when it is made

    @property
    def arrays(self) -> "Iterator[Stored]":
        """The arrays that are read, in the order of `key`."""
        if isinstance(self.key, str):
            yield Stored("value", self.key, self.shape, self.range, self.dtype, self.frames, self.labels)  # type: ignore[arg-type]  # checked there
            return
        told = {name: self._each(name) for name in ("shape", "range", "dtype")}
        for index, key in enumerate(self.key):
            yield Stored(key, key, told["shape"][index], told["range"][index], told["dtype"][index], None, self.labels)

    def _each(self, name: str) -> Sequence[Any]:
        """An argument for each array: its entries if it is a list, else the same for all."""
        found, count = getattr(self, name), len(self.key)
        if isinstance(found, str):
            return [found] * count
        right = isinstance(found, Sequence) and len(found) == count
        require(right, name, found, f"a list with an entry for each of the {count} names in key")
        return list(found)

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value`, or a field for each of several keys; and `label` (int64, no shape) if `labels` is given."""
        fields = {array.name: array.field for array in self.arrays}
        return fields | ({"label": Field((), low=0, dtype=torch.int64)} if self.labels else {})

    def open(self) -> "ArraySet":
        """Read the arrays into memory.

        Raises:
            DataError: the file or an array is missing, corrupt or too large, its shape or type is not the declared one,
                or a number in it is not finite.
        """
        stored = tuple(self.arrays)
        arrays = {each.name: each.values(self.file, self._array(each.key)) for each in stored}
        labels = torch.from_numpy(self._labels(self.labels)) if self.labels else None
        require_equal_lengths(self.file, arrays if labels is None else arrays | {"label": labels})
        return ArraySet(stored, arrays, labels)

    def _array(self, key: str) -> Array:
        path = existing_file(self.file)
        with _reading(self.file):
            with path.open("rb") as file:
                single = file.read(6) == b"\x93NUMPY"
            if single:
                fix = f'numpy.savez("{path.with_suffix(".npz").name}", {key}=array) makes one'
                raise DataError(f"'{self.file}' is one array without a name (.npy); expected an .npz file; {fix}")
            with ZipFile(path) as opened:
                members = {info.filename.removesuffix(".npy"): info for info in opened.infolist()}
                if key in members:
                    return _read_member(opened, members[key], f"array '{key}' of '{self.file}'", self.largest)
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


@dataclass(frozen=True, slots=True)
class Stored:
    """One array as it is declared: the field that it becomes, and the arguments of `Npz` that are about it."""

    name: str
    key: str
    shape: Sequence[int]
    range: Scale
    dtype: str
    frames: Frames | None
    labels: str | None

    def __post_init__(self) -> None:
        require(isinstance(self.shape, Sequence), "shape", self.shape, "a list such as [3, 64, 64]")
        require_counts("shape", self.shape)
        require_one_of("range", self.range, (*LOWEST, "raw"))
        require_one_of("dtype", self.dtype, DTYPES)
        require(self.range == "raw" or self.dtype == "float32", "dtype", self.dtype, "float32 or range='raw'")
        if self.frames is not None:
            require_frames("frames", self.frames)
            is_clip = len(self.shape) == 4 and self.shape[1] == self.longest
            expected = f"[C, {self.longest}, H, W], since frames={self.frames}"
            require(is_clip, "shape", list(self.shape), expected)
            require(self.labels is None, "labels", self.labels, "none, since frames= makes clips")

    @property
    def field(self) -> Field:
        """The tensor of one sample."""
        varies = None if self.frames is None else varying(self.frames, 1)
        if self.range == "raw":
            return Field(tuple(self.shape), dtype=DTYPES[self.dtype], varies=varies)
        return Field(tuple(self.shape), low=LOWEST[self.range], high=1.0, varies=varies)

    @property
    def longest(self) -> int:
        """How many numbers along the first axis of the array a sample has: the frames of a clip, else 1."""
        return 1 if self.frames is None else most_frames(self.frames)

    def finish(self, values: Tensor) -> Tensor:
        """Stored numbers to the declared range and type."""
        return values.to(DTYPES[self.dtype]) if self.range == "raw" else scale(values, self.range)

    def values(self, file: str, array: Array) -> Tensor:
        """The numbers as a tensor, in a type that holds each of them exactly. Raises DataError."""
        array = self._channels_first(file, array)
        what = f"array '{self.key}' of '{file}' holds {array.dtype}"
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
        self._require_in_bounds(file, array, kept)
        return torch.from_numpy(kept)

    def _require_in_bounds(self, file: str, array: Array, kept: Array) -> None:
        good = np.isfinite(kept) if kept.dtype.kind == "f" else (kept >= 0) == (array >= 0)
        if not good.all():
            sample = int(np.argmin(good.reshape(len(good), -1).all(1)))
            raise DataError(f"'{file}': sample {sample} of '{self.key}' is not finite as {self.dtype}")

    def _channels_first(self, file: str, array: Array) -> Array:
        """The array as [N, *shape], or for clips the frames as [N, C, H, W]."""
        shape = tuple(self.shape)
        item = shape if self.frames is None else (shape[0], *shape[2:])
        found, enough = array.shape[1:], len(array) >= self.longest
        if found == item and enough:
            return array
        if found == (*item[1:], item[0]) and enough:
            return np.ascontiguousarray(np.moveaxis(array, -1, 1))
        if (1, *found) == item and enough:
            return array[:, None]
        what = f"array '{self.key}' of '{file}' has shape {list(array.shape)}"
        expected = f"[{self.longest} or more, {', '.join(map(str, item))}], channels first or last"
        raise DataError(f"{what}; expected {expected}, as shape={list(shape)} declares")

    def taken(self, array: Tensor, indices: Sequence[int]) -> Tensor:
        """The samples at `indices`, stacked."""
        if self.frames is None:
            return array[torch.tensor(indices, dtype=torch.int64)]
        return torch.stack([array[i : i + self.longest].transpose(0, 1) for i in indices])


class ArraySet:
    """The opened form of `Npz`: arrays in memory, and labels of the samples if it has any."""

    def __init__(self, declared: Sequence[Stored], arrays: Mapping[str, Tensor], labels: Tensor | None) -> None:
        self.skipped: list[str] = []
        self._declared = declared
        self._arrays, self._labels = arrays, labels

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values()))) - self._declared[0].longest + 1

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The samples at `indices`, stacked; nothing is random."""
        made = {each.name: each.finish(each.taken(self._arrays[each.name], indices)) for each in self._declared}
        if self._labels is None:
            return made
        return made | {"label": self._labels[torch.tensor(indices, dtype=torch.int64)]}


def read_arrays(path: Path, largest: int) -> dict[str, Array]:
    """All arrays of an .npz file, none of them of more than `largest` MiB.

    Raises:
        DataError: the file is corrupt, an array is too large, or there is none.
    """
    with _reading(str(path)), ZipFile(path) as opened:
        members = {info.filename.removesuffix(".npy"): info for info in opened.infolist()}
        arrays = {n: _read_member(opened, info, f"array '{n}' of '{path}'", largest) for n, info in members.items()}
    if not arrays:
        raise DataError(f"'{path}' holds no array")
    return arrays


@contextmanager
def _reading(file: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # the parsers of zip files and of NumPy's headers raise nearly anything
        raise DataError(f"'{file}' is not a readable .npz file of plain arrays: {error}") from error


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
