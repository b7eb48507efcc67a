"""The source `wav`: stretches of sound, with as many numbers a second as a spec states."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from gangraph.data.archive import missing, natural, passed_over
from gangraph.data.arguments import require_count, require_one_of, require_stretch, stretch
from gangraph.data.files import existing_file, require_file
from gangraph.data.reading import readable, require_regular
from gangraph.data.source import Field
from gangraph.data.walking import files_below, link_notes
from gangraph.errors import DataError
from gangraph.registry import source

_WHOLE, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # what a format chunk says that its numbers are
_CODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM", 85: "MP3"}
_READ = {(_WHOLE, bits) for bits in (8, 16, 24, 32)} | {(_FLOAT, bits) for bits in (32, 64)}
_LONGEST_FORMAT = 1024  # bytes of a format chunk; the longest that is known has 40


@source("wav")
@dataclass(frozen=True, kw_only=True)
class Wav:
    """Series of sound, of one .wav file or of all those below a folder: [channels, length] in [-1, 1].

    Whole numbers of 8, 16, 24 and 32 bits are divided by the largest; floats of 32 and 64 bits are as they are. Nothing
    is resampled, and no channels are mixed.

    Args:
        folder: path of a folder, or of one file.
        length: numbers of a sample in each channel.
        rate: numbers a second, as every file has to have.
        channels: channels, as every file has to have.
        longer: what becomes of a file with more numbers: an `error`, `cut` for its beginning, or `random` for a
            stretch that is drawn each time.
        shorter: what becomes of a file with fewer: an `error`, or `pad` for zeros at its end.
        first, count: take `count` files, beginning with file `first`; by default all.

    Raises:
        ValueError: an argument is wrong.
    """

    folder: str = field(kw_only=False)
    length: int
    rate: int
    channels: int = 1
    longer: Literal["error", "cut", "random"] = "error"
    shorter: Literal["error", "pad"] = "error"
    first: int = 0
    count: int | None = None
    paths: ClassVar = ("folder",)

    def __post_init__(self) -> None:
        require_file("folder", self.folder)
        for name in ("length", "rate", "channels"):
            require_count(name, getattr(self, name))
        require_one_of("longer", self.longer, ("error", "cut", "random"))
        require_one_of("shorter", self.shorter, ("error", "pad"))
        require_stretch(self.first, self.count)

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value` alone; padded if files may be shorter."""
        return {"value": Field((self.channels, self.length), -1, 1, padded=self.shorter == "pad")}

    def open(self) -> "SoundSet":
        """Read what every file says of itself.

        Raises:
            DataError: there are no files, or one is corrupt, or has another rate, other channels, an unknown coding, or
                a length that `longer` or `shorter` refuses.
        """
        paths, notes = _files(self.folder)
        chosen = stretch(self.folder, len(paths), self.first, self.count)
        sounds = tuple(_sound(path) for path in paths[chosen.start : chosen.stop])
        for sound in sounds:
            self._require(sound)
        return SoundSet(self, sounds, notes)

    def _require(self, sound: "Sound") -> None:
        where = readable(str(sound.path))
        if sound.rate != self.rate:
            told = f"expected {self.rate:,}, as rate= declares; nothing is resampled"
            raise DataError(f"'{where}' has {sound.rate:,} numbers a second; {told}")
        if sound.channels != self.channels:
            told = f"expected {self.channels}, as channels= declares; channels are not mixed"
            raise DataError(f"'{where}' has {sound.channels} channel{'s' * (sound.channels > 1)}; {told}")
        long = f"'{where}' has {sound.length:,} numbers in each channel; expected {self.length:,}, as length= declares"
        if sound.length > self.length and self.longer == "error":
            raise DataError(f'{long}; longer="cut" takes the beginning, longer="random" another stretch each time')
        if sound.length < self.length and self.shorter == "error":
            raise DataError(f'{long}; shorter="pad" adds zeros')


@dataclass(frozen=True, slots=True)
class Sound:
    """What a file says of itself: where its numbers begin, and what they are.

    `kind` is whole or float as in a format chunk, `bits` are those of one number, `length` are those of each channel.
    """

    path: Path
    begin: int
    kind: int
    bits: int
    channels: int
    rate: int
    length: int

    def numbers(self, first: int, count: int) -> Tensor:
        """`count` numbers of each channel, beginning with number `first`: float32 [channels, count] in [-1, 1].

        Raises:
            DataError: the file is no longer as long as it was, or a float is not in [-1, 1].
        """
        width = self.bits // 8 * self.channels
        try:
            with _opened(self.path) as file:
                file.seek(self.begin + first * width)
                packed = file.read(count * width)
        except OSError as error:
            raise DataError(f"'{readable(str(self.path))}' cannot be read: {error}") from error
        if len(packed) != count * width:
            raise DataError(f"'{readable(str(self.path))}' is shorter than when it was opened")
        values = self._scaled(packed).reshape(count, self.channels).T.contiguous()
        if not bool((values.abs() <= 1).all()):  # NaN is not
            worst = int((~(values.abs() <= 1)).any(0).nonzero()[0])
            found = f"number {first + worst} of '{readable(str(self.path))}' is {float(values[:, worst].abs().max()):g}"
            raise DataError(f"{found}; expected floats in [-1, 1]")
        return values

    def _scaled(self, packed: bytes) -> Tensor:
        """The numbers as float32; whole ones from their range to [-1, 1)."""
        if self.kind == _FLOAT:
            return torch.from_numpy(np.frombuffer(packed, f"<f{self.bits // 8}").copy()).float()
        if self.bits == 8:  # without a sign, as no other width
            return (torch.from_numpy(np.frombuffer(packed, np.uint8).copy()).float() - 128) / 128
        bits, numbers = self.bits, np.frombuffer(packed, np.uint8)
        if bits == 24:  # as the upper bytes of 32 bits
            bits, wide = 32, np.zeros((len(packed) // 3, 4), np.uint8)
            wide[:, 1:] = numbers.reshape(-1, 3)
            numbers = wide.reshape(-1)
        whole: Tensor = torch.from_numpy(numbers.view(f"<i{bits // 8}").copy())
        return (whole.double() / (1 << bits - 1)).float()


class SoundSet:
    """The opened form of `Wav`: files of which stretches are read; `notes` are lines on those that are not."""

    def __init__(self, declared: Wav, sounds: Sequence[Sound], notes: Sequence[str]) -> None:
        self.skipped: list[str] = []
        self.notes = notes
        self._declared, self._sounds = declared, sounds

    def __len__(self) -> int:
        return len(self._sounds)

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The samples at `indices`, stacked; the generator draws where a stretch of a longer file begins."""
        return {"value": torch.stack([self._taken(self._sounds[index], generator) for index in indices])}

    def _taken(self, sound: Sound, generator: torch.Generator) -> Tensor:
        length, first = self._declared.length, 0
        if sound.length > length and self._declared.longer == "random":
            first = int(torch.randint(sound.length - length + 1, (), generator=generator))
        values = sound.numbers(first, min(length, sound.length))
        return torch.nn.functional.pad(values, (0, length - values.shape[1]))


def _files(folder: str) -> tuple[list[Path], tuple[str, ...]]:
    """The .wav files below a folder in natural order, or the one that is named; and lines on what is not read.

    Raises:
        DataError: there are none, or a folder cannot be read.
    """
    try:
        place = Path(folder).expanduser()
        if not place.exists():
            raise missing("folder", place)
        if not place.is_dir():
            return [existing_file(folder)], ()
        below = files_below(place)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home of the user in ~user
        raise DataError(f"'{readable(folder)}' cannot be read: {error}") from error
    found = [name for name in below.files if name.lower().endswith(".wav")]
    if not found:
        raise DataError(f"'{readable(folder)}' has no .wav files in it or below")
    others = [name for name in below.files if not name.lower().endswith(".wav")]
    notes = [passed_over(readable(str(place)), others, "the suffix .wav")] if others else []
    return [place / name for name in sorted(found, key=natural)], (*notes, *link_notes(place, below.back))


def _opened(path: Path) -> IO[bytes]:
    """A regular file. A pipe that took its place in the meantime does not block. Raises OSError, DataError."""
    require_regular(path)
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")


def _sound(path: Path) -> Sound:
    """What a file says of itself. Raises DataError."""
    where = readable(str(path))
    try:
        with _opened(path) as file:
            return _described(path, file, require_regular(path))
    except OSError as error:
        raise DataError(f"'{where}' cannot be read: {error}") from error
    except _NoSoundError as error:
        raise DataError(f"'{where}' {error}") from error


class _NoSoundError(Exception):
    """Why a file is not read, to stand after its name."""


def _described(path: Path, file: IO[bytes], size: int) -> Sound:
    """The format of a file, and where its numbers are. Raises _NoSoundError."""
    head = file.read(12)
    if head[:4] in (b"RIFX", b"RF64", b"BW64"):
        raise _NoSoundError(f"is in the form {head[:4].decode()}; expected RIFF, as .wav files up to 4 GB have it")
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise _NoSoundError("is no .wav file: it does not begin with RIFF and WAVE")
    told = b""
    for name, length in _chunks(file):
        if name == b"fmt ":
            if not 16 <= length <= _LONGEST_FORMAT:
                raise _NoSoundError(f"has a format chunk of {length} bytes; expected 16 to {_LONGEST_FORMAT}")
            told = file.read(length)
            if len(told) != length:
                raise _NoSoundError("is cut off")
        if name == b"data":
            if not told:
                raise _NoSoundError("has numbers before it says what they are")
            if file.tell() + length > size:
                missing = file.tell() + length - size
                raise _NoSoundError(f"is cut off: {missing:,} of {length:,} bytes of its numbers are missing")
            return _told(path, told, file.tell(), length)
    raise _NoSoundError("has no numbers in it" if told else "does not say what its numbers are")


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The names and lengths of the parts of a file, which stands at the beginning of each as it is given."""
    while len(head := file.read(8)) == 8:
        begin, length = file.tell(), int.from_bytes(head[4:], "little")
        yield head[:4], length
        file.seek(begin + length + length % 2)  # parts begin at even places


def _told(path: Path, told: bytes, begin: int, size: int) -> Sound:
    """A sound from its format chunk and the place of its numbers. Raises _NoSoundError."""
    parts = {"kind": 0, "channels": 2, "rate": 4, "width": 12, "bits": 14}  # where each stands
    kind, channels, rate, width, bits = (
        int.from_bytes(told[at : at + (4 if name == "rate" else 2)], "little") for name, at in parts.items()
    )
    if kind == _EXTENSIBLE and len(told) >= 40:
        valid, kind = (int.from_bytes(told[at : at + 2], "little") for at in (18, 24))
        bits = bits if valid in (0, bits) else valid
    if (kind, bits) not in _READ:
        coding = {_WHOLE: f"whole numbers of {bits} bits", _FLOAT: f"floats of {bits} bits"}.get(kind)
        coding = coding or _CODINGS.get(kind, f"the coding {kind}")
        raise _NoSoundError(f"has {coding}; expected whole numbers of 8, 16, 24 or 32 bits, or floats of 32 or 64")
    if not channels or width != channels * bits // 8 or size % width:
        raise _NoSoundError(f"contradicts itself: {channels} channels of {bits} bits, {width} bytes each, {size} bytes")
    if not size:
        raise _NoSoundError("has no numbers in it")
    return Sound(path, begin, kind, bits, channels, rate, size // width)
