"""The source `videos`: clips of consecutive frames, from arrays, folders of frames, and files of several frames."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from itertools import accumulate, islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor

from gangraph.data.archive import IMAGE_SUFFIXES, missing, natural
from gangraph.data.arguments import require, require_count
from gangraph.data.arrays import read_arrays
from gangraph.data.decode import Picture, Rules, decode, decoded, require_room
from gangraph.data.imageset import corrupt
from gangraph.data.lengths import Frames, most_frames, require_frames, varying
from gangraph.data.reading import MIB, read_file, readable, require_regular, require_size_of
from gangraph.data.source import Field
from gangraph.data.transform import CHANCES, ImageOptions
from gangraph.data.walking import files_below, is_hidden
from gangraph.errors import DataError
from gangraph.registry import source

ANIMATED = (".gif", ".apng")  # which Pillow reads
FILMED = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")  # which PyAV reads


@source("videos")
@dataclass(frozen=True, kw_only=True)
class Videos(ImageOptions):
    """Clips of consecutive frames: each run of so many frames of a video is a sample, [frames, channels, H, W].

    Args:
        folder: a folder of videos, each of them a folder of frames in the order of their names, or a file (.gif,
            .apng; .mp4 and others with the package av); or one such folder or file; or an .npz file, each uint8
            array of which, [T, H, W, 3] or [T, H, W], is a video.
        frames: frames of a clip; or the fewest and the most, of which each batch of a run has as many as is drawn.
        stride: how many frames of the video are from one frame of a clip to the next.
        part: [from, to], the share of each video that is used: [0, 0.8] for training and [0.8, 1] for tests.
        size, resize, crop, ...: see `ImageOptions`; one of these three is needed. All frames of a clip have the same
            crop and flip. `skip_corrupt` is refused, and `cache` holds decoded videos; one is kept in any case.

    Raises:
        ValueError: an argument is wrong, or none states the size.
    """

    folder: str = field(kw_only=False)
    frames: Frames
    stride: int = 1
    part: tuple[float, float] = (0.0, 1.0)
    paths: ClassVar = ("folder",)

    def __post_init__(self) -> None:
        super().__post_init__()
        path, part = self.folder, self.part
        require(isinstance(path, str) and bool(path) and "\0" not in path, "folder", path, "a path")
        require_frames("frames", self.frames)
        require_count("stride", self.stride)
        pair = list(part) if isinstance(part, list | tuple) else []
        numbers = len(pair) == 2 and all(isinstance(n, int | float) and not isinstance(n, bool) for n in pair)
        require(numbers and 0 <= pair[0] < pair[1] <= 1, "part", part, "[from, to], two shares from 0 to 1")
        require(not self.skip_corrupt, "skip_corrupt", True, "false: a video without a frame would jump")

    @property
    def span(self) -> int:
        """From the first frame of the longest clip to its last, both included."""
        return (most_frames(self.frames) - 1) * self.stride + 1

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value`, the clip."""
        shape = (most_frames(self.frames), *self.pixels.shape)
        return {"value": replace(self.pixels, shape=shape, varies=varying(self.frames, 0))}

    def open(self) -> "VideoSet":
        """Find the videos, and count their frames.

        Raises:
            DataError: nothing is there, or every video is shorter than a clip.
        """
        place = Path(self.folder).expanduser()
        try:
            found = list(_found(place, self))
            if not found:
                raise DataError(
                    f"no video in '{readable(self.folder)}': neither images nor {' '.join(ANIMATED + FILMED)}"
                )
        except OSError as error:
            raise DataError(f"'{readable(self.folder)}' cannot be read: {error}") from error
        return VideoSet(self, found)


@dataclass(frozen=True, slots=True)
class Video:
    """One video: what messages call it, how many frames it has, and how these are decoded."""

    name: str
    count: int
    read: Callable[[], Iterator[Picture]]


class VideoSet:
    """The opened form of `Videos`.

    Attributes:
        notes: which videos are too short.
    """

    def __init__(self, options: Videos, videos: Sequence[Video]) -> None:
        self._options, self._kept = options, dict[int, Tensor]()
        self._room = options.cache * MIB
        self._last: tuple[int, Tensor] | None = None
        parts = [tuple(round(share * video.count) for share in options.part) for video in videos]
        starts = [max(0, end - begin - options.span + 1) for begin, end in parts]
        short = [video.name for video, count in zip(videos, starts, strict=True) if not count]
        what = f"than the {options.span} frames that a clip spans"
        if len(short) == len(videos):
            raise DataError(f"each of the {len(videos)} videos in '{readable(options.folder)}' is shorter {what}")
        self.notes = (f"not read, since they are shorter {what}: {', '.join(short[:8])}",) if short else ()
        self._videos, self._begins = videos, [begin for begin, _ in parts]
        self._ends = list(accumulate(starts))

    def __len__(self) -> int:
        return self._ends[-1]

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The clips at `indices`, stacked: `value` [len(indices), frames, channels, H, W].

        Raises:
            DataError: a frame is missing or corrupt.
        """
        chances = torch.rand(len(indices), CHANCES, generator=generator, device=generator.device).tolist()
        clips = [self._options.arrange(self._clip(i), chance) for i, chance in zip(indices, chances, strict=True)]
        return {"value": self._options.scale(torch.stack(clips))}

    def verify(self) -> list[str]:
        """Decode everything; one `file: reason` for each video that cannot be read."""
        return [problem for index in range(len(self._videos)) if (problem := self._problem(index))]

    def _problem(self, index: int) -> str:
        try:
            self._frames(index)
        except DataError as error:
            return str(error)
        return ""

    def _clip(self, index: int) -> Tensor:
        video = bisect_right(self._ends, index)
        before = self._ends[video - 1] if video else 0
        start = self._begins[video] + index - before
        return self._frames(video)[start : start + self._options.span : self._options.stride]

    def _frames(self, index: int) -> Tensor:
        """A whole video as [T, channels, H, W], ready to be cropped."""
        if index in self._kept:
            return self._kept[index]
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        frames = self._decoded(self._videos[index])
        self._last = (index, frames)
        if frames.nbytes <= self._room:
            self._room -= frames.nbytes
            self._kept[index] = frames
        return frames

    def _decoded(self, video: Video) -> Tensor:
        frames: list[Tensor] = []
        try:
            for picture in video.read():
                frames.append(self._options.prepare(picture))
                require_size_of(video.name, len(frames) * frames[0].nbytes, self._options.largest)
            if len(frames) != video.count:
                raise ValueError(f"has {len(frames)} frames, and {video.count} when it was opened")
            return torch.stack(frames)
        except DataError:
            raise
        except Exception as error:  # see ImageSet: decoders raise nearly anything
            raise corrupt(video.name, error) from error


def _found(place: Path, options: Videos) -> Iterator[Video]:
    """The videos of a place. Raises OSError, DataError."""
    if not place.exists():
        raise missing("folder", place)
    if place.is_file():
        yield from _arrays(place, options) if place.suffix.lower() == ".npz" else [_file(place, options)]
        return
    folders: dict[Path, list[str]] = {}
    for name in sorted((name for name in files_below(place).files if not is_hidden(name)), key=natural):
        path = place / name
        if path.suffix.lower() in ANIMATED + FILMED:
            yield _file(path, options)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            folders.setdefault(path.parent, []).append(path.name)
    yield from (_folder(folder, names, options) for folder, names in folders.items())


def _arrays(path: Path, options: Videos) -> Iterator[Video]:
    for name, array in read_arrays(path, options.largest).items():
        frames = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == 3)
        if array.dtype != np.uint8 or not frames:
            found = f"array '{name}' of '{path}' holds {array.dtype} of shape {list(array.shape)}"
            raise DataError(f"{found}; expected a video: uint8 of shape [T, H, W, 3] or [T, H, W]")
        yield Video(f"{path}/{name}", len(array), partial(_pictures, array, options.rules))


def _pictures(array: NDArray[np.uint8], rules: Rules) -> Iterator[Picture]:
    return (decoded(Image.fromarray(frame), rules) for frame in array)


def _folder(folder: Path, names: Sequence[str], options: Videos) -> Video:
    def read() -> Iterator[Picture]:
        return (decode(read_file(folder / name, options.largest), options.rules) for name in names)

    return Video(readable(str(folder)), len(names), read)


def _file(path: Path, options: Videos) -> Video:
    if path.suffix.lower() in FILMED:
        return _film(path, options)
    if path.suffix.lower() not in ANIMATED:
        raise DataError(f"'{path}' is no video; expected a folder, .npz, {' '.join(ANIMATED + FILMED)}")
    require_size_of(readable(str(path)), require_regular(path), options.largest // 4)

    def read() -> Iterator[Picture]:
        with Image.open(path) as film:
            require_room(film, options.rules)
            for frame in ImageSequence.Iterator(film):
                yield decoded(frame.convert("RGB"), options.rules)

    try:
        with Image.open(path) as film:
            return Video(readable(str(path)), getattr(film, "n_frames", 1), read)
    except Exception as error:  # see ImageSet: decoders raise nearly anything
        raise corrupt(readable(str(path)), error) from error


def _film(path: Path, options: Videos) -> Video:
    """A film, whose frames are counted where its header does not say how many there are."""
    require_regular(path)
    try:
        av = import_module("av")
    except ImportError as error:
        raise DataError(f"'{path}' needs the package av: pip install 'gangraph[video]'") from error

    def read() -> Iterator[Picture]:
        with av.open(str(path)) as film:
            for frame in film.decode(video=0):
                if frame.width * frame.height * 3 > options.largest * MIB:  # each frame may have a size of its own
                    raise ValueError(f"has a frame of {frame.width} x {frame.height} pixels")
                yield decoded(frame.to_image(), options.rules)

    try:
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            most = options.largest * MIB // max(1, 3 * stream.width * stream.height)
            count = stream.frames or sum(1 for _ in islice(film.decode(video=0), most + 1))
    except Exception as error:  # of FFmpeg, or no stream of images
        raise corrupt(readable(str(path)), error) from error
    if count > most:
        found = f"{readable(str(path))}: has more than {most} frames of {stream.width} x {stream.height} pixels"
        raise DataError(f"{found}; give largest= to read more than {options.largest} MiB")
    return Video(readable(str(path)), count, read)
