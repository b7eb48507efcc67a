"""Files that a source must not trust: made one by one, and read under limits of time.

`python -m tests.data.hostile FOLDER` makes and reads them all, and prints what became of each as JSON.
"""

import gzip
import io
import json
import os
import pickle
import signal
import socket
import struct
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from PIL import Image

from gangraph.data.arrays import Npz
from gangraph.data.folders import Classes, Images, Pairs
from gangraph.data.idx import Idx
from gangraph.data.source import Source
from gangraph.errors import DataError
from tests.data.files import tiff

LIMIT = 10  # seconds for each
Make = Callable[[Path], Source]
MADE: dict[str, Make] = {}

PLAIN = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
LARGE = 80 * 2**20


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def hostile(make: Make) -> Make:
    MADE[make.__name__] = make
    return make


def image_file(name: str, data: Callable[[], bytes], suffix: str = "png") -> None:
    """A folder that holds one such file."""

    def make(folder: Path) -> Source:
        (folder / f"x.{suffix}").write_bytes(data())
        return Images(str(folder), size=8)

    make.__name__ = name
    hostile(make)


def chunked(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def png_of(width: int, height: int, kind: int = 2, body: bytes = b"", *more: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return chunked((b"IHDR", header), *more, (b"IDAT", body or zlib.compress(b"\0" * 100)), (b"IEND", b""))


def zeros(count: int) -> bytes:
    """So many zeros, deflated, without holding them."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(count >> 20)) + packer.flush()


def scans(count: int) -> bytes:
    """A progressive JPEG with its last scan over and over."""
    data = saved(Image.new("L", (4000, 4000), 128), "jpeg", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def directories(count: int, cycle: bool = False) -> bytes:
    """A TIFF of that many pages, or of two that follow each other for ever."""
    page = tiff(np.zeros((4, 4, 3), np.uint8))
    place = struct.unpack("<I", page[4:8])[0]
    entries = struct.unpack("<H", page[place : place + 2])[0]
    next_at = place + 2 + 12 * entries
    if cycle:
        return page[:next_at] + struct.pack("<I", place) + page[next_at + 4 :]
    tail = b"".join(struct.pack("<HI", 0, len(page) + 6 * (index + 1)) for index in range(count))
    return page[:next_at] + struct.pack("<I", len(page)) + page[next_at + 4 :] + tail


image_file("postscript", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n")
image_file("pdf", lambda: b"%PDF-1.4\n1 0 obj\n", "jpg")
image_file("nothing", lambda: b"")
for kind in ("png", "jpeg", "gif", "webp", "tiff", "bmp", "ppm"):
    image_file(f"truncated_{kind}", lambda kind=kind: saved(PLAIN, kind)[: len(saved(PLAIN, kind)) // 2], kind)  # type: ignore[misc]
image_file("png_too_wide", lambda: png_of(2**31 - 1, 2**31 - 1))
image_file("png_of_billions", lambda: png_of(90_000, 90_000, body=zeros(LARGE)))
image_file("png_of_many", lambda: png_of(20_000, 20_000, body=zeros(LARGE)))
image_file("png_as_large_as_allowed", lambda: png_of(8100, 8100, body=zeros(8100 * 24301 + 2**20)))
image_file("png_with_alpha_of_many", lambda: png_of(8000, 8000, 6, zeros(8000 * 32001 + 2**20)))
image_file("png_of_no_width", lambda: png_of(0, 4))
image_file(
    "png_without_pixels", lambda: chunked((b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)), (b"IEND", b""))
)
image_file("png_of_garbage", lambda: png_of(40, 40, body=os.urandom(500)))
image_file("png_of_wrong_sum", lambda: saved(PLAIN, "png").replace(b"IDAT", b"IDAU"))
image_file("png_text_bomb", lambda: png_of(4, 4, 2, b"", (b"zTXt", b"a\0\0" + zeros(LARGE))))
image_file("png_profile_bomb", lambda: png_of(4, 4, 2, b"", (b"iCCP", b"a\0\0" + zeros(LARGE))))
image_file("jpeg_header_lies", lambda: saved(PLAIN, "jpeg").replace(b"\0\x28\0\x28", b"\xff\xdc\xff\xdc"), "jpg")
image_file("jpeg_of_many_scans", lambda: scans(3000), "jpg")
image_file("gif_of_billions", lambda: saved(PLAIN, "gif").replace(b"\x28\0\x28\0", b"\xff\xff\xff\xff"), "gif")
image_file("webp_header_lies", lambda: saved(PLAIN, "webp", lossless=True).replace(b"VP8L", b"VP8X"), "webp")
image_file("tiff_in_a_circle", lambda: directories(1, cycle=True), "tif")
image_file("tiff_of_a_million_pages", lambda: directories(1_000_000), "tif")
image_file(
    "tiff_counts_lie",
    lambda: tiff(np.zeros((4, 4, 3), np.uint8)).replace(b"\x02\x01\x03\0\x03\0\0\0", b"\x02\x01\x03\0\xff\xff\xff\xff"),
    "tif",
)
image_file("tiff_offset_beyond", lambda: tiff(np.zeros((4, 4, 3), np.uint8), t273=60_000), "tif")
image_file("tiff_bomb", lambda: tiff(np.zeros((6000, 6000, 3), np.uint8), deflate=True)[:40_000], "tif")
image_file(
    "tiff_larger_than_said", lambda: tiff(np.zeros((4, 4, 3), np.uint8), deflate=True, t256=60_000, t257=60_000), "tif"
)
image_file(
    "bmp_header_lies",
    lambda: saved(PLAIN, "bmp").replace(b"\x28\0\0\0\x28\0\0\0\x28\0\0\0", b"\x28\0\0\0" + b"\xff\xff\xff\x7f" * 2),
    "bmp",
)
image_file("ppm_numbers_too_long", lambda: b"P6 " + b"9" * 10_000_000, "ppm")
image_file("ppm_endless_comment", lambda: b"P5\n#" + b"a" * 20_000_000, "ppm")
image_file("ppm_endless_comments", lambda: b"P5\n9 9\n" + b"#a\n" * 7_000_000, "ppm")
image_file("ppm_of_many_in_text", lambda: b"P2 20000 3000 254\n" + b"1 " * 60_000_000, "ppm")
image_file("ppm_of_odd_maximum", lambda: b"P6 5000 4000 254\n" + bytes(60_000_000), "ppm")
image_file("random_bytes", lambda: os.urandom(100_000))
image_file("a_zip_as_an_image", lambda: b"PK\5\6" + bytes(18))
image_file("deep_tiff_of_nan", lambda: tiff(np.full((4, 4, 1), np.nan, np.float32)), "tif")


@hostile
def pipe_as_an_image(folder: Path) -> Source:
    os.mkfifo(folder / "x.png")
    return Images(str(folder), size=8)


@hostile
def socket_as_an_image(folder: Path) -> Source:
    before = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    socket.socket(socket.AF_UNIX).bind("x.png")
    os.chdir(before)
    return Images(str(folder), size=8)


@hostile
def device_as_an_image(folder: Path) -> Source:
    (folder / "x.png").symlink_to("/dev/zero")
    return Images(str(folder), size=8)


@hostile
def link_to_nothing(folder: Path) -> Source:
    (folder / "x.png").symlink_to(folder / "nothing.png")
    return Images(str(folder), size=8)


@hostile
def link_to_itself(folder: Path) -> Source:
    (folder / "x.png").symlink_to(folder / "x.png")
    return Images(str(folder), size=8)


@hostile
def folder_named_as_an_image(folder: Path) -> Source:
    (folder / "x.png").mkdir()
    return Images(str(folder), size=8)


@hostile
def folders_in_a_circle(folder: Path) -> Source:
    (folder / "a").mkdir()
    (folder / "a" / "b").symlink_to(folder)
    (folder / "a" / "c").symlink_to(folder / "a")
    return Classes(str(folder), size=8)


@hostile
def links_that_multiply(folder: Path) -> Source:
    for depth in range(20):
        (folder / str(depth)).mkdir()
        for name in "abcdefgh":
            (folder / str(depth) / name).symlink_to(folder / str(depth + 1))
    return Images(str(folder), size=8)


@hostile
def file_of_ten_gigabytes(folder: Path) -> Source:
    with (folder / "x.png").open("wb") as file:
        file.truncate(10 * 2**30)
    return Images(str(folder), size=8)


@hostile
def name_that_is_no_text(folder: Path) -> Source:
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"no image")
    return Images(str(folder), size=8)


@hostile
def name_that_moves_the_cursor(folder: Path) -> Source:
    (folder / "\x1b[2J\n.png").write_bytes(b"no image")
    return Images(str(folder), size=8)


@hostile
def device_as_a_folder(folder: Path) -> Source:
    return Images("/dev/zero", size=8)


@hostile
def pipe_as_a_folder(folder: Path) -> Source:
    os.mkfifo(folder / "x")
    return Pairs(a=str(folder / "x"), b=str(folder / "x"), size=8)


@hostile
def path_that_is_too_long(folder: Path) -> Source:
    return Images("x/" * 5000, size=8)


@hostile
def home_of_nobody(folder: Path) -> Source:
    return Npz("~nobody-of-this-name/x.npz", key="a", shape=[1])


# Zip files


def zip_file(name: str, data: Callable[[], bytes]) -> None:
    def make(folder: Path) -> Source:
        (folder / "x.zip").write_bytes(data())
        return Images(str(folder / "x.zip"), size=8)

    make.__name__ = name
    hostile(make)


def zip_of(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return made.getvalue()


def altered(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """A zip file of one entry with a field of both of its headers replaced."""
    made = bytearray(data)
    start = made.index(b"PK\1\2")
    made[local : local + len(value)] = value
    made[start + central : start + central + len(value)] = value
    return bytes(made)


def many(count: int) -> bytes:
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0)
    listed = b"".join(entry + b"%06d.png" % index for index in range(count))
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(listed), 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(listed), 1)
    return (
        listed + wide + locator + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )


ONE = zip_of(("x.png", saved(PLAIN, "png")))
zip_file("zip_of_nothing", lambda: b"")
zip_file("zip_of_text", lambda: b"not a zip file" * 100)
zip_file("zip_truncated", lambda: ONE[:-30])
zip_file("zip_bomb", lambda: zip_of(("x.png", bytes(LARGE))))
zip_file("zip_bomb_of_bzip2", lambda: zip_of(("x.png", bytes(LARGE)), method=zipfile.ZIP_BZIP2))
zip_file("zip_bomb_of_lzma", lambda: zip_of(("x.png", bytes(LARGE)), method=zipfile.ZIP_LZMA))
zip_file("zip_says_it_is_huge", lambda: altered(ONE, 22, 24, b"\xfe\xff\xff\xff"))
zip_file("zip_says_it_is_small", lambda: altered(ONE, 22, 24, b"\x05\0\0\0"))
zip_file("zip_encrypted", lambda: altered(ONE, 6, 8, b"\x01\0"))
zip_file("zip_of_unknown_method", lambda: altered(ONE, 8, 10, b"\x63\0"))
zip_file("zip_of_wrong_sum", lambda: altered(ONE, 14, 16, b"abcd"))
zip_file("zip_of_wrong_offset", lambda: ONE[:-6] + b"\xff\xff\xff\x00\0\0")
zip_file("zip_of_a_million", lambda: many(1_000_000))
zip_file("zip_of_one_name_twice", lambda: zip_of(("x.png", b""), ("x.png", b"")))
zip_file("zip_that_leads_out", lambda: zip_of(("../../../x.png", saved(PLAIN, "png"))))
zip_file("zip_in_a_zip", lambda: zip_of(("x.zip", ONE)))
zip_file("zip_of_a_long_name", lambda: zip_of(("9" * 60_000 + ".png", b"")))
zip_file("zip_of_folders_only", lambda: zip_of(("a/", b""), ("b/", b"")))


@hostile
def pipe_as_a_zip(folder: Path) -> Source:
    os.mkfifo(folder / "x.zip")
    return Images(str(folder / "x.zip"), size=8)


# Arrays


def array_file(name: str, data: Callable[[], bytes]) -> None:
    def make(folder: Path) -> Source:
        (folder / "x.npz").write_bytes(data())
        return Npz(str(folder / "x.npz"), key="a", shape=[4], range="raw")

    make.__name__ = name
    hostile(make)


def header(text: str, version: int = 1) -> bytes:
    body = text.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(body)) + body


def npz_of(text: str, data: bytes = b"", version: int = 1) -> bytes:
    return zip_of(("a.npy", header(text, version) + data))


def saved_array(array: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.asarray(array))
    return file.getvalue()


def layout(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


array_file("npz_of_nothing", lambda: b"")
array_file("npz_of_text", lambda: b"no array")
array_file("npz_that_is_npy", lambda: header(layout("(1, 4)")) + bytes(16))
array_file("npz_truncated", lambda: saved_array(np.zeros((100, 4)))[:200])
array_file("npz_of_objects", lambda: saved_array(np.array([[print] * 4])))
array_file("npz_that_pickles", lambda: npz_of(layout("(1,)", "'|O'"), b"cos\nsystem\n(S'touch /tmp/x'\ntR."))
array_file("npz_header_lies", lambda: npz_of(layout("(1000000000000, 4)"), bytes(16)))
array_file("npz_header_overflows", lambda: npz_of(layout("(9223372036854775807, 9223372036854775807)"), bytes(16)))
array_file("npz_header_is_negative", lambda: npz_of(layout("(-1, -4)"), bytes(16)))
array_file("npz_header_nests", lambda: npz_of("(" * 9_000))
array_file("npz_header_is_long", lambda: zip_of(("a.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff" + b" " * 1000)))
array_file("npz_header_is_huge", lambda: npz_of(layout("(1, 4)") + " " * LARGE, bytes(16), version=2))
array_file("npz_header_is_code", lambda: npz_of("__import__('os').abort()"))
array_file("npz_of_records", lambda: saved_array(np.zeros(3, [("x", "f4"), ("y", "O")])))
array_file("npz_of_text_values", lambda: saved_array([["a", "b", "c", "d"]]))
array_file("npz_of_complex", lambda: saved_array([[1j, 0, 0, 0]]))
array_file("npz_of_nan", lambda: saved_array([[0, 0, np.nan, 0]]))
array_file("npz_of_no_samples", lambda: saved_array(np.zeros((0, 4))))
array_file("npz_of_no_dimensions", lambda: saved_array(1.0))
array_file("npz_bomb", lambda: npz_of(layout(f"({LARGE // 16}, 4)"), bytes(LARGE)))
array_file("npz_encrypted", lambda: altered(saved_array(np.zeros((1, 4))), 6, 8, b"\x01\0"))
array_file("npz_big_endian", lambda: saved_array(np.zeros((2, 4), ">f4")))


@hostile
def device_as_npz(folder: Path) -> Source:
    return Npz("/dev/zero", key="a", shape=[1])


@hostile
def pipe_as_npz(folder: Path) -> Source:
    os.mkfifo(folder / "x.npz")
    return Npz(str(folder / "x.npz"), key="a", shape=[1])


@hostile
def folder_as_npz(folder: Path) -> Source:
    return Npz(str(folder), key="a", shape=[1])


def idx_file(name: str, data: Callable[[], bytes]) -> None:
    def make(folder: Path) -> Source:
        (folder / "x").write_bytes(data())
        return Idx(str(folder / "x"))

    make.__name__ = name
    hostile(make)


def idx(*sizes: int, data: bytes = b"", kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes) + data


def gzip_bomb(count: int) -> bytes:
    """So many black images, with a header that says so."""
    packer = zlib.compressobj(1, wbits=31)
    body = packer.compress(idx(count, 1024, 1024))
    return body + b"".join(packer.compress(bytes(2**20)) for _ in range(count)) + packer.flush()


idx_file("idx_of_nothing", lambda: b"")
idx_file("idx_of_text", lambda: b"no array")
idx_file("idx_of_floats", lambda: idx(1, 2, 2, data=bytes(16), kind=13))
idx_file("idx_header_lies", lambda: idx(2**32 - 1, 2**32 - 1, 2**32 - 1, data=bytes(16)))
idx_file("idx_header_ends", lambda: idx(1, 2, 2)[:9])
idx_file("idx_of_no_images", lambda: idx(0, 28, 28))
idx_file("idx_of_no_pixels", lambda: idx(10, 0, 28))
idx_file("idx_packed_header_lies", lambda: gzip.compress(idx(60_000, 2**16, 2**16, data=bytes(16))))
idx_file("idx_packed_is_longer", lambda: gzip.compress(idx(1, 2, 2, data=bytes(LARGE))))
idx_file("idx_packed_truncated", lambda: gzip.compress(idx(1, 28, 28, data=os.urandom(784)))[:-100])
idx_file("idx_packed_with_a_tail", lambda: gzip.compress(idx(1, 2, 2, data=bytes(4))) + b"and more")
idx_file("idx_packed_of_wrong_sum", lambda: gzip.compress(idx(1, 2, 2, data=bytes(4)))[:-8] + bytes(8))
idx_file("idx_packed_without_an_end_of_name", lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\0" + b"a" * LARGE)
idx_file("idx_bomb", lambda: gzip_bomb(80))


@hostile
def device_as_idx(folder: Path) -> Source:
    return Idx("/dev/zero")


@hostile
def pipe_as_idx(folder: Path) -> Source:
    os.mkfifo(folder / "x")
    return Idx(str(folder / "x"))


def read(source: Source) -> str:
    """What became of reading a source twice: with `check --data`, and as a run does."""
    try:
        opened = source.open()
        problems = opened.verify() if hasattr(opened, "verify") else []
        opened.batch([0], torch.Generator())
    except DataError as error:
        return f"DataError: {error}"
    return f"verify: {problems}" if problems else "read"


def _give_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def made(place: Path) -> dict[str, Source]:
    """Every file, made in a child, so that its memory is not the reader's."""
    for name in MADE:
        (place / name).mkdir()
    child = os.fork()
    if not child:
        (place / "sources").write_bytes(pickle.dumps({name: make(place / name) for name, make in MADE.items()}))
        os._exit(0)
    os.waitpid(child, 0)
    sources: dict[str, Source] = pickle.loads((place / "sources").read_bytes())
    return sources


def highest() -> float:
    """The most MiB that this process had so far. `getrusage` would count what its parent had when it began."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


def main(place: Path) -> None:
    """Make and read everything: outcome, seconds, and the most MiB that the process had so far."""
    signal.signal(signal.SIGALRM, _give_up)
    found: dict[str, tuple[str, float, float]] = {}
    for name, source in made(place).items():
        begun = time.monotonic()
        signal.alarm(3 * LIMIT)
        try:
            outcome = read(source)
        except BaseException as error:  # a crash is what is looked for
            outcome = f"internal: {type(error).__name__}: {error}"
        signal.alarm(0)
        memory = highest()
        found[name] = outcome, time.monotonic() - begun, memory
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
