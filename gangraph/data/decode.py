"""The bytes of an image file to pixels that mean what the file says, or the reason why not.

Pillow reads the files and keeps 8 bits of most. Here what it would reduce, reinterpret or leave out is read at its
full depth, or refused: 16 bits a channel, transparency, further pages, numbers without a stated range. Orientation
(EXIF) is applied. Colour profiles and gamma are not.
"""

import re
import sys
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Array = NDArray[Any]
# One image in mode L or RGB; or, where 8 bits are too few, an image in mode F for each channel, from 0 to 1.
Picture = tuple[Image.Image, ...]
Pages = Literal["one", "first"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as in Pillow

_MIB = 2**20
_MOST_SCANNED = 2_000_000_000  # pixels over all scans of a JPEG: some seconds
_SLOW = 4_000_000  # pixels that Pillow's decoders in Python take seconds for
# How much memory decoding takes, in bytes a pixel: with one copy, and as numbers of 32 bits with alpha.
_COST, _COST_DEEP = 8, 40
# Pillow keeps the upper byte of each channel. Read in the other byte order, it keeps the lower one.
_OTHER_ORDER = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
_GREY_ALPHA = "LA;16B"
_EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Pillow reads the comments in the header of a PPM byte by byte.
_LONGEST_HEADER = 2**16
_PPM = re.compile(rb"P[1-6fF]")
_PPM_HEADER = re.compile(
    rb"P(?:[14]\s(?:\s|#[^\r\n]*[\r\n])*[^\s#]+|[2356fF](?:(?:\s|#[^\r\n]*[\r\n])+[^\s#]+){2})(?:\s|#[^\r\n]*[\r\n])+[^\s#]+\s"
)
_STATE_VALUES = "give values=[low, high], the stored numbers that mean black and white"

# Whatever Pillow warns about is refused here, or does not change the pixels.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a user states about the pixels; see `ImageOptions`."""

    channels: int = 3
    ground: tuple[int, int, int] | None = None
    values: tuple[float, float] | None = None
    pages: Pages = "one"
    largest: int = 512


@dataclass(frozen=True, slots=True)
class _Stored:
    """How a file stores its pixels. `peak` is the number that means white; None if the file does not say."""

    rawmode: str = ""
    peak: int | None = 255
    in_words: bool = False  # 16 bits for each channel of a colour
    maxval: int | None = None  # of a PPM that Pillow stretches to 255 or 65535
    white_is_zero: bool = False
    unsigned: bool = False

    @property
    def in_bytes(self) -> bool:
        """Whether 8 bits hold every number of the file."""
        return self.peak == 255 and self.maxval is None


def decode(data: bytes, rules: Rules) -> Picture:
    """The upright image in a file's bytes, grey or colour.

    Raises:
        ValueError: the pixels are not known, or too many, or there are several pages.
        Exception: the file is corrupt; Pillow's decoders raise nearly anything.
    """
    if _PPM.match(data[:2]) and not _PPM_HEADER.match(data[:_LONGEST_HEADER]):
        raise ValueError("is a PPM without a header, or with one of more than 64 KiB")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(f"has more pixels than Pillow reads: {error}") from error
    except UnidentifiedImageError:
        raise ValueError(_unidentified(data)) from None
    _mend_byte_order(image)
    if rules.pages == "one" and _has_more_pages(image):
        raise ValueError('has several pages or frames; give pages="first" to take the first of each file')
    # A scan of few bytes costs as much as a whole image: Pillow's decoder sets no limit.
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 1
    if scans * image.width * image.height > _MOST_SCANNED:
        raise ValueError(f"has {scans} scans of {image.width} x {image.height} pixels, which take long to decode")
    return decoded(image, rules, data)


def decoded(image: Image.Image, rules: Rules, data: bytes = b"") -> Picture:
    """An image as Pillow opened it, in the channels asked for; `data` are the bytes of its file.

    Raises:
        ValueError: the pixels are not known, or too many.
    """
    require_room(image, rules)
    stored = _stored(image)
    if stored.in_bytes and rules.values is None:
        image, mode = _upright(image), "L" if rules.channels == 1 else "RGB"
        if not _may_be_transparent(image):
            return (image if image.mode == mode else image.convert(mode),)
    require_room(image, rules, _COST_DEEP)
    return _bands(*_levels(image, data, stored), stored, rules)


def _unidentified(data: bytes) -> str:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "is a TIFF that cannot be read: damaged, or with pixels of a kind that Pillow does not know"
    return "not an image" if data else "is empty"


def _mend_byte_order(image: Image.Image) -> None:
    """Let big-endian numbers of a compressed TIFF be read right: libtiff hands them over in the machine's order."""
    native = {"I;16BS": "I;16S", "I;32BS": "I;32S", "F;32BF": "F;32F"} if sys.byteorder == "little" else {}
    for index, tile in enumerate(getattr(image, "tile", ())):
        if tile.codec_name == "libtiff" and tile.args[0] in native:
            image.tile[index] = tile._replace(args=(native[tile.args[0]], *tile.args[1:]))  # type: ignore[attr-defined]


def require_room(image: Image.Image, rules: Rules, cost: int = _COST) -> None:
    """Raise ValueError if an image that is not loaded yet would take more memory to decode than `largest` says.

    `cost` are the bytes that a pixel takes.
    """
    needed = image.width * image.height * cost / _MIB
    if needed > rules.largest:
        found = f"has {image.width} x {image.height} pixels, which take {needed:,.0f} MiB to decode"
        raise ValueError(f"{found}, more than largest={rules.largest}")


def _has_more_pages(image: Image.Image) -> bool:
    if image.format == "MPO":  # previews of the same image, as some cameras add, are no pages
        entries = image.mpinfo[0xB002][1:]  # type: ignore[attr-defined]
        return not all("Thumbnail" in entry["Attribute"]["MPType"] for entry in entries)
    if image.format != "TIFF":
        return getattr(image, "is_animated", False)
    try:  # to count the pages would walk through all of them
        image.seek(1)
    except EOFError:
        return False
    except Exception:  # decoders raise nearly anything
        return True  # there is one, if damaged
    return True


# How the pixels are stored


def _stored(image: Image.Image) -> _Stored:
    """How the file of an image that is not loaded yet stores its pixels. Raises ValueError."""
    codec, _, _, args = image.tile[0] if getattr(image, "tile", ()) else ("", None, 0, "")  # type: ignore[attr-defined]
    args = args if isinstance(args, tuple) else (args,)
    rawmode = args[0] if args and isinstance(args[0], str) else ""
    in_words = rawmode in _OTHER_ORDER or rawmode == _GREY_ALPHA
    stored = _Stored(rawmode, 65535 if in_words else _peak(image.mode), in_words)
    if image.format == "TIFF":
        return _stored_in_tiff(image, stored)
    _require_depth(image, stored)
    if image.format == "PPM":
        return _stored_in_ppm(image, stored, args[-1] if codec.startswith("ppm") and args else 0)
    if image.format == "GIF" and image.tile[0][1] != (0, 0, *image.size):  # type: ignore[attr-defined]
        raise ValueError("has a frame that does not cover it")
    if image.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in image.info:
        raise ValueError("has inks (CMYK) without Adobe's mark of how they are stored; convert it to RGB")
    return stored


def _peak(mode: str) -> int | None:
    if mode in _EIGHT_BITS or mode == "RGBa":
        return 255
    if mode.startswith("I;16"):
        return 65535
    if mode in ("I", "F"):
        return None
    raise ValueError(f"has pixels of the kind {mode}; convert it to RGB")


def _require_depth(image: Image.Image, stored: _Stored) -> None:
    """Refuse colours that Pillow would bring to 8 bits and that cannot be read otherwise."""
    deep = "16" in stored.rawmode and image.mode in _EIGHT_BITS
    if (deep and not stored.in_words) or stored.rawmode == "BGR;15":
        raise ValueError(f"has colours of more or less than 8 bits ({stored.rawmode}); convert it to PNG")


def _stored_in_ppm(image: Image.Image, stored: _Stored, maxval: int | str) -> _Stored:
    if maxval == 0 or isinstance(maxval, str):
        return replace(stored, peak=65535 if image.mode == "I" else stored.peak)
    if maxval > 255 and image.mode == "RGB":
        raise ValueError("has colours of more than 8 bits in a PPM; convert it to PNG")
    if image.width * image.height > _SLOW:
        raise ValueError(f"has more than {_SLOW:,} pixels as text or with maxval {maxval}; convert it to PNG")
    return replace(stored, peak=maxval, maxval=maxval)


def _stored_in_tiff(image: Image.Image, stored: _Stored) -> _Stored:
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, signs = tags.get(258, (1,)), tags.get(339, (1,))
    if tags.get(284, 1) == 2 and max(bits) > 8:
        raise ValueError("has a plane for each channel, of more than 8 bits; store it with the channels together")
    if 0 in tags.get(338, ()):
        raise ValueError("has a channel that is neither colour nor alpha")
    if image.mode == "L" and 2 in signs:
        raise ValueError("has signed bytes; convert them to unsigned ones, or to 16 bits")
    if image.mode in ("P", "PA") and any(level % 256 and level % 257 for level in tags.get(320, ())):
        raise ValueError("has a palette of 16 bits a colour; convert it to RGB")
    if image.mode == "F" and tags.get(262) == 0:
        raise ValueError("has numbers of which the lowest mean white; convert it")
    _require_depth(image, stored)
    peak = 2 ** bits[0] - 1 if image.mode.startswith("I;16") else stored.peak
    white_is_zero = image.mode.startswith("I;16") and tags.get(262) == 0
    return replace(stored, peak=peak, white_is_zero=white_is_zero, unsigned=1 in signs)


# Pixels as stored


def _upright(image: Image.Image) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _may_be_transparent(image: Image.Image) -> bool:
    if image.mode in ("LA", "RGBA"):
        return image.getchannel("A").getextrema() != (255, 255)
    return image.mode in _WITH_ALPHA or "transparency" in image.info


def _levels(image: Image.Image, data: bytes, stored: _Stored) -> tuple[Array, Array | None]:
    """The colours [H, W, 1 or 3] and the alpha [H, W], as numbers up to `stored.peak`."""
    if stored.rawmode == _GREY_ALPHA:
        halves = np.asarray(_read_as(data, "RGBA")).astype(np.uint16)
        levels = halves[..., 0::2] << 8 | halves[..., 1::2]
    elif stored.in_words:
        low = np.asarray(_read_as(data, _OTHER_ORDER[stored.rawmode]))
        levels = np.asarray(_upright(image)).astype(np.uint16) << 8 | low
    elif stored.rawmode.startswith("RGBa"):
        levels = np.asarray(_read_as(data, stored.rawmode.replace("a", "A")))
    else:
        levels = _as_numbers(_upright(image), stored)
    if stored.white_is_zero:
        levels = np.subtract(stored.peak or 0, levels)
    if levels.shape[-1] in (2, 4):
        return levels[..., :-1], levels[..., -1]
    return levels, _alpha_of_key(image, levels, stored)


def _read_as(data: bytes, rawmode: str) -> Image.Image:
    """The image once more, with its bytes unpacked in another way."""
    image = Image.open(BytesIO(data), formats=FORMATS)
    image.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile
    ]
    return _upright(image)


def _as_numbers(image: Image.Image, stored: _Stored) -> Array:
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if _may_be_transparent(image) else "RGB")
    elif image.mode in ("1", "CMYK", "RGBX"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    levels = np.asarray(image)
    if stored.maxval is not None:
        stretched = 65535 if image.mode == "I" else 255
        levels = np.rint(levels * (stored.maxval / stretched))
    elif image.mode == "I" and stored.unsigned:
        levels = levels.view(np.uint32)
    return levels[..., None] if levels.ndim == 2 else levels


def _alpha_of_key(image: Image.Image, levels: Array, stored: _Stored) -> Array | None:
    """Alpha where a PNG names one colour that is transparent."""
    key = image.info.get("transparency")
    if key is None or image.mode in ("P", "PA"):
        return None
    # A grey of few bits is named as it is stored, and read as 8 bits; for one bit, Pillow tells 0 or 255.
    widened = {"L;2": 85, "L;4": 17}.get(stored.rawmode, 1)
    transparent = (levels == np.array(key) * widened).all(-1)
    return np.where(transparent, 0, stored.peak or 1)


# From stored numbers to the range from 0 to 1


def _bands(colour: Array, alpha: Array | None, stored: _Stored, rules: Rules) -> Picture:
    """Colours and alpha to images: scaled, laid on the ground, in the channels asked for."""
    unit = _scaled(colour, stored, rules)
    if alpha is not None and alpha.min() < (stored.peak or 1):
        unit = _laid(unit, alpha / np.float32(stored.peak or 1), stored, rules)
    if stored.in_bytes and rules.values is None:
        whole = np.rint(unit * 255)
        if np.array_equal(whole / np.float32(255), unit):
            image = Image.fromarray(
                whole.astype(np.uint8).squeeze(-1) if whole.shape[-1] == 1 else whole.astype(np.uint8)
            )
            return (image.convert("L" if rules.channels == 1 else "RGB"),)
    if rules.channels == 1 and unit.shape[-1] == 3:
        unit = (unit @ np.array(LUMA, np.float32))[..., None]
    bands = [Image.fromarray(np.ascontiguousarray(unit[..., index])) for index in range(unit.shape[-1])]
    return tuple(bands * (rules.channels // len(bands)))


def _scaled(levels: Array, stored: _Stored, rules: Rules) -> Array:
    """Stored numbers to float32 from 0 to 1."""
    if rules.values is None:
        if stored.peak is None:
            raise ValueError(f"has numbers whose range it does not state; {_STATE_VALUES}")
        return levels.astype(np.float32) / np.float32(stored.peak)
    if not np.isfinite(levels).all():
        raise ValueError("has numbers that are not finite")
    low, high = rules.values
    unit = ((levels.astype(np.float64) - low) / (high - low)).astype(np.float32)
    if unit.min() < 0 or unit.max() > 1:
        raise ValueError(
            f"has numbers from {levels.min():g} to {levels.max():g}, outside of values=[{low:g}, {high:g}]"
        )
    return unit


def _laid(unit: Array, alpha: Array, stored: _Stored, rules: Rules) -> Array:
    """Colours on the ground, by their alpha from 0 to 1."""
    if rules.ground is None:
        fix = 'give ground=, the colour to lay it on, such as ground="white"'
        raise ValueError(f"is transparent in part; {fix}")
    ground = np.array(rules.ground, np.float32) / np.float32(255)
    ground = ground[:1] if len(set(rules.ground)) == 1 else ground
    share = alpha.astype(np.float32)[..., None]
    multiplied = stored.rawmode.startswith(("RGBa", "La"))
    if multiplied and (rules.values is not None or (unit > share).any()):
        raise ValueError("has colours multiplied by their alpha that are brighter than it")
    return (unit if multiplied else unit * share) + (1 - share) * ground
