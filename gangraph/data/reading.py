"""Bytes of the user's files, within bounds: regular files only, and no more than was said."""

import io
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from gangraph.errors import DataError

MIB = 2**20

_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DENSE, _DENSE_FROM = 160, 64 * MIB  # a larger file that is packed more densely is refused; dSprites has 119
_CHUNK = 16 * MIB
_PACKED_CHUNK = 2**14  # unpacks to at most a thousand times as much
_LONGEST = 1000  # characters of a name that a message shows

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def require_regular(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        OSError: it is not there.
        DataError: it is a folder, a device or a pipe, which may never end.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "no regular file")
        raise DataError(f"{readable(str(path))} is {kind}; expected a file")
    return found.st_size


def read_file(path: Path, most: int) -> bytes:
    """What a regular file of at most `most` MiB holds. Raises OSError, DataError."""
    size = require_regular(path)
    require_size_of(readable(str(path)), size, most)
    # A pipe that took the file's place in the meantime does not block, and a file that grows is cut off.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read(size)


def require_size_of(name: str, size: int, most: int) -> None:
    """Raise DataError if a file of `size` bytes is larger than `most` MiB."""
    if size > most * MIB:
        raise DataError(f"{name}: is {size / MIB:,.0f} MiB large; give largest= to read more than {most}")


def require_density(name: str, size: int, packed: int) -> None:
    """Raise DataError if `packed` bytes claim to unpack to far more than real data would."""
    if size > _DENSE_FROM and size > _DENSE * packed:
        found = f"{packed:,} bytes are said to unpack to {size:,}, more than {_DENSE} for each"
        raise DataError(f"{name}: {found}; store it uncompressed if it is meant so")


def open_member(opened: ZipFile, info: ZipInfo, where: str) -> IO[bytes]:
    """A file inside a zip file. Raises DataError if it is encrypted, or packed by an unknown method."""
    if info.flag_bits & 1:
        raise DataError(f"{where}: is encrypted; unpack the zip file with its password")
    if info.compress_type not in _PACKED:
        raise DataError(f"{where}: is packed by method {info.compress_type}; expected stored, deflate, bzip2 or LZMA")
    return opened.open(info)


class Unpacked(io.RawIOBase):
    """What a gzip file holds. Unlike Python's own reader, it is quick with a header that never ends."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj(wbits=31)
        self._packed = self._ready = b""

    def readable(self) -> bool:
        """True, as `io` asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; returns the number of bytes.

        Raises EOFError if the file is cut off, zlib.error if it is corrupt.
        """
        while not self._ready:
            packed = self._packed or self._file.read(_PACKED_CHUNK)
            if not packed and not self._unpacker.eof:
                raise EOFError("it ends too early")
            if not packed:
                return 0
            if self._unpacker.eof:  # several may follow one another
                self._unpacker = zlib.decompressobj(wbits=31)
            self._ready = self._unpacker.decompress(packed)
            self._packed = self._unpacker.unused_data
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


def fill(array: NDArray[Any], file: io.BufferedIOBase | IO[bytes]) -> int:
    """Fill an array with the bytes of a file. Returns their number, and one more if the file holds more."""
    target = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(target) and (chunk := file.read(min(_CHUNK, len(target) - filled))):
        target[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return filled + len(file.read(1))


def readable(name: str) -> str:
    """A file's name as messages show it: bytes that are no text, or that move a terminal's cursor, are escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]}...{shown[-_LONGEST // 2 :]}"
