"""Image files of kinds that Pillow does not write, made byte by byte."""

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Tags = Mapping[int, int | Sequence[int]]


def png(
    pixels: NDArray[np.generic], kind: int, *, bits: int = 16, key: Sequence[int] = (), orientation: int = 1
) -> bytes:
    """A PNG of big-endian pixels [H, W, C]; `kind` is the colour type, `key` the colour that is transparent.

    Pixels of less than 8 bits are given packed, as the bytes of each row.
    """
    stored = pixels.astype(">u2") if bits == 16 else pixels.astype("u1")
    height = len(stored)
    width = stored.shape[1] * (8 // bits if bits < 8 else 1)
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 274, 3, 1, orientation) + b"\0\0\0\0"
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)),
        *([(b"eXIf", exif)] if orientation != 1 else []),
        *([(b"tRNS", struct.pack(f">{len(key)}H", *key))] if len(key) else []),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def tiff(
    pixels: NDArray[np.generic], *, order: str = "<", photometric: int | None = None, deflate: bool = False, **tags: int
) -> bytes:
    """A TIFF of one strip, [H, W, C] in their own type; `tags` are such as `t274=6`, and 0 leaves one out."""
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    stored = zlib.compress(stored) if deflate else stored
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [8 * pixels.itemsize] * channels,
        259: [8 if deflate else 1],
        262: [photometric if photometric is not None else 2 if channels > 2 else 1],
        273: [8],
        277: [channels],
        278: [height],
        279: [len(stored)],
        339: [kind] * channels,
        **{int(name[1:]): [value] for name, value in tags.items()},
    }
    after = 8 + len(stored) + len(stored) % 2
    lists, directory = b"", b""
    for tag, values in sorted(entries.items()):
        body = struct.pack(f"{order}{len(values)}{'I' if tag == 279 or tag == 273 else 'H'}", *values)
        size = 4 if tag in (273, 279) else 3
        if len(body) > 4:
            place = after + 2 + 12 * len(entries) + 4 + len(lists)
            lists += body
            body = struct.pack(f"{order}I", place)
        directory += struct.pack(f"{order}HHI", tag, size, len(values)) + body.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", after)
    count = struct.pack(f"{order}H", len(entries))
    return head + stored.ljust(after - 8, b"\0") + count + directory + b"\0\0\0\0" + lists
