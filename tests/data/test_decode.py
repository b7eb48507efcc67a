"""Every kind of pixel that Pillow reads means what its file says, or the file is refused by its name."""

import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gangraph.data.imageset import ImageSet
from gangraph.data.transform import ImageOptions
from tests.data.files import png, tiff

Array = NDArray[Any]

DRAWN = np.random.default_rng(0)
WORDS = DRAWN.integers(0, 2**16, (4, 6, 4), dtype=np.uint16)
BYTES = (WORDS >> 8).astype(np.uint8)
GREY, COLOUR, ALPHA = slice(0, 1), slice(0, 3), slice(3, 4)
ORDERS = [{"order": order, "deflate": packed} for order, packed in product("<>", (False, True))]


def read(data: bytes, **options: Any) -> Array:
    """The pixels of a file, [H, W, C] from 0 to 1, as a batch would hold them."""
    asked = ImageOptions(**{"size": (4, 6), "range": "unit"} | options)
    opened = ImageSet(["x"], lambda _: {"image": asked.decode(data)}, asked)
    pixels = opened.batch([0], torch.Generator())["image"][0]
    assert pixels.shape == asked.pixels.shape
    assert pixels.dtype == torch.float32
    return pixels.permute(1, 2, 0).numpy()


def refused(data: bytes, **options: Any) -> str:
    """Why a file is not read."""
    with pytest.raises(ValueError) as caught:
        read_raw(data, **options)
    return str(caught.value)


def read_raw(data: bytes, **options: Any) -> None:
    asked = ImageOptions(**{"size": (4, 6)} | options)
    asked.prepare(asked.decode(data))


def unit(levels: Array) -> Array:
    """Stored levels to what they mean, correctly rounded."""
    peak = np.float32(np.iinfo(levels.dtype).max)
    return levels.astype(np.float32) / peak


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def same(found: Array, expected: Array) -> None:
    assert np.array_equal(found, np.broadcast_to(expected.astype(np.float32), found.shape))


def turned(pixels: Array, orientation: int) -> Array:
    """What EXIF's orientations mean."""
    turns: list[Callable[[Array], Array]] = [
        lambda x: x,
        lambda x: x[:, ::-1],
        lambda x: x[::-1, ::-1],
        lambda x: x[::-1],
        lambda x: x.swapaxes(0, 1),
        lambda x: np.rot90(x, -1),
        lambda x: x[::-1, ::-1].swapaxes(0, 1),
        lambda x: np.rot90(x),
    ]
    return turns[orientation - 1](pixels)


# Depth


def test_every_level_of_8_and_16_bits_becomes_the_nearest_float() -> None:
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256, 1)
    for values, low in (("unit", 0.0), ("tanh", -1.0)):
        deep = read(png(levels, 0), size=256, range=values, channels=1)
        exact = low + (1 - low) * levels.astype(np.float64) / 65535
        assert np.abs(deep - exact).max() <= 2**-24
        flat = read(png(levels[:1], 0, bits=8), size=(1, 256), range=values, channels=1)
        assert np.abs(flat - (low + (1 - low) * levels[:1] / 255)).max() <= 2**-24


@pytest.mark.parametrize(("kind", "channels"), [(0, GREY), (2, COLOUR)])
def test_a_png_of_16_bits_keeps_them(kind: int, channels: slice) -> None:
    same(read(png(WORDS[..., channels], kind)), unit(WORDS[..., channels]))


@pytest.mark.parametrize("how", ORDERS)
@pytest.mark.parametrize("channels", [GREY, COLOUR])
def test_a_tiff_of_8_or_16_bits_keeps_them(how: Mapping[str, Any], channels: slice) -> None:
    for levels in (BYTES, WORDS):
        same(read(tiff(levels[..., channels], **how)), unit(levels[..., channels]))


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_in_which_zero_is_white_is_turned_round(order: str) -> None:
    same(read(tiff(BYTES[..., GREY], order=order, photometric=0)), unit(255 - BYTES[..., GREY]))
    if order == "<":  # Pillow does not open the others
        same(read(tiff(WORDS[..., GREY], photometric=0)), unit(65535 - WORDS[..., GREY]))


@pytest.mark.parametrize("how", ORDERS)
def test_numbers_without_a_stated_range_are_refused_until_it_is_stated(how: Mapping[str, Any]) -> None:
    floats = DRAWN.random((4, 6, 1), dtype=np.float32)
    whole = DRAWN.integers(-(2**31), 2**31, (4, 6, 1), dtype=np.int32)
    short = WORDS[..., GREY].view(np.int16)
    for stored in (floats, whole, short):
        assert "whose range it does not state; give values=[low, high]" in refused(tiff(stored, **how))
    same(read(tiff(floats, **how), values=(0, 1)), floats)
    same(read(tiff(floats, **how), values=(-1, 1)), (floats.astype(np.float64) + 1) / 2)
    same(read(tiff(whole, **how), values=(-(2**31), 2**31 - 1)), (whole.astype(np.float64) + 2**31) / (2**32 - 1))
    same(read(tiff(short, **how), values=(-32768, 32767)), (short.astype(np.float64) + 32768) / 65535)


def test_whole_numbers_of_32_bits_have_no_sign_if_the_file_says_so() -> None:
    stored = DRAWN.integers(0, 2**32, (4, 6, 1), dtype=np.uint32)
    same(read(tiff(stored), values=(0, 2**32 - 1)), stored.astype(np.float64) / (2**32 - 1))


def test_stated_values_hold_for_files_of_8_and_16_bits_too() -> None:
    twelve = WORDS[..., GREY] >> 4
    same(read(png(twelve, 0), values=(0, 4095)), twelve / 4095)
    same(read(png(BYTES[..., COLOUR], 2, bits=8), values=(0, 255)), unit(BYTES[..., COLOUR]))


def test_a_number_outside_of_the_stated_values_is_refused_not_cut() -> None:
    floats = np.linspace(0, 2, 24, dtype=np.float32).reshape(4, 6, 1)
    assert refused(tiff(floats), values=(0, 1)) == "has numbers from 0 to 2, outside of values=[0, 1]"
    floats[1, 1] = np.nan
    assert refused(tiff(floats), values=(0, 2)) == "has numbers that are not finite"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(BYTES[..., GREY].view(np.int8)), "has signed bytes"),
        (tiff(WORDS[..., COLOUR], t284=2), "has a plane for each channel, of more than 8 bits"),
        (tiff(BYTES, t338=0), "has a channel that is neither colour nor alpha"),
        (tiff(WORDS, photometric=5), "has colours of more or less than 8 bits (CMYK;16L)"),
        (tiff(WORDS, t338=1), "has colours of more or less than 8 bits (RGBa;16L)"),
        (tiff(BYTES[..., COLOUR], photometric=8), "has pixels of the kind LAB; convert it to RGB"),
        (tiff(BYTES[..., COLOUR], photometric=6), "has pixels of the kind YCbCr; convert it to RGB"),
        (tiff(BYTES[..., GREY].astype(np.float64)), "is a TIFF that cannot be read"),
        (tiff(BYTES[..., GREY].astype(np.float32), photometric=0), "has numbers of which the lowest mean white"),
        (b"P6 6 4 1023\n" + bytes(144), "has colours of more than 8 bits in a PPM"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n", "not an image"),
        (b"", "is empty"),
    ],
)
def test_what_pillow_would_reduce_or_reinterpret_is_refused(data: bytes, reason: str) -> None:
    assert refused(data).startswith(reason)


def test_a_ppm_means_a_share_of_its_largest_value() -> None:
    for peak in (100, 255, 1023, 65535):
        levels = (DRAWN.random((4, 6)) * (peak + 1)).astype(">u2" if peak > 255 else "u1")
        binary = b"P5 6 4 %d\n" % peak + levels.tobytes()
        text = b"P2 6 4 %d\n" % peak + b" ".join(b"%d" % level for level in levels.flat)
        for data in (binary, text):
            same(read(data), levels[..., None].astype(np.float32) / np.float32(peak))


def test_few_bits_become_equal_steps() -> None:
    packed = np.array([[0b00011011], [0b11100100]], np.uint8)
    levels = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.float32)[..., None] / 3
    same(read(png(packed, 0, bits=2), size=(2, 4)), levels)
    bits = np.unpackbits(packed, axis=1)[..., None]
    same(read(png(packed, 0, bits=1), size=(2, 8)), bits)
    same(read(saved(Image.fromarray(bits[..., 0] * 255).convert("1"), "tiff", compression="group4"), size=(2, 8)), bits)


# Channels


def test_grey_becomes_three_equal_channels_and_colour_its_luma() -> None:
    same(read(png(BYTES[..., GREY], 0, bits=8), channels=3), unit(BYTES[..., GREY]))
    weights = np.array([0.299, 0.587, 0.114])
    flat = read(png(BYTES[..., COLOUR], 2, bits=8), channels=1)
    assert np.abs(flat[..., 0] - (unit(BYTES[..., COLOUR]) @ weights)).max() < 0.51 / 255
    deep = read(png(WORDS[..., COLOUR], 2), channels=1)
    assert np.abs(deep[..., 0] - (unit(WORDS[..., COLOUR]) @ weights)).max() < 1e-6


def test_a_palette_gives_its_colours() -> None:
    image = Image.fromarray(BYTES[..., COLOUR]).quantize(12)
    expected = unit(np.array(image.convert("RGB")))
    for kind in ("png", "gif", "tiff", "bmp"):
        same(read(saved(image, kind)), expected)


def test_inks_become_colours_by_their_complements() -> None:
    inks = unit(BYTES)
    expected = (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(read(tiff(BYTES, photometric=5)) - expected).max() < 0.51 / 255
    flat = Image.new("CMYK", (6, 4), (200, 100, 50, 25))
    photograph = read(saved(flat, "jpeg", quality=100))
    assert np.abs(photograph - np.array([55, 155, 205]) * 230 / 255**2).max() < 3 / 255
    stripped = saved(flat, "jpeg").replace(b"Adobe", b"Other")
    assert refused(stripped).startswith("has inks (CMYK) without Adobe's mark")


# Transparency

SPRITE = BYTES.copy()
SPRITE[..., 3] = np.where(BYTES[..., 3] > 127, 255, 0)
SHARE = unit(BYTES[..., ALPHA])


def laid(colour: Array, share: Array, ground: Any) -> Array:
    return colour * share + (1 - share) * np.array(ground, np.float32)


def transparent_files() -> dict[str, bytes]:
    """One image of each kind that is transparent in part."""
    image = Image.fromarray(SPRITE)
    keyed = SPRITE[..., COLOUR]
    files = {
        kind: saved(image, kind, **({"lossless": True} if kind == "webp" else {})) for kind in ("png", "webp", "tiff")
    }
    return files | {
        "grey with alpha": saved(image.convert("LA"), "png"),
        "palette with alpha": saved(image.quantize(12), "png"),
        "gif": saved(image, "gif"),
        "key of a colour": png(keyed, 2, bits=8, key=keyed[1, 2].tolist()),
        "key of a grey": png(keyed[..., GREY], 0, bits=8, key=keyed[1, 2, :1].tolist()),
        "key of a deep colour": png(WORDS[..., COLOUR], 2, key=WORDS[1, 2, :3].tolist()),
        "key of a deep grey": png(WORDS[..., GREY], 0, key=WORDS[1, 2, :1].tolist()),
        "key of two bits": png(np.full((4, 2), 0b01011011, np.uint8), 0, bits=2, key=[1]),
        "key of one bit": png(np.full((4, 1), 0b01011011, np.uint8), 0, bits=1, key=[1]),
        "deep grey with alpha": png(WORDS[..., :2], 4),
        "deep colour with alpha": png(WORDS, 6),
        "colours multiplied by alpha": tiff(np.minimum(BYTES, BYTES[..., ALPHA]), t338=1),
    }


@pytest.mark.parametrize("kind", transparent_files())
def test_an_image_that_is_transparent_anywhere_wants_a_ground(kind: str) -> None:
    data = transparent_files()[kind]
    assert refused(data) == 'is transparent in part; give ground=, the colour to lay it on, such as ground="white"'
    read_raw(data, ground="white")


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(BYTES[..., COLOUR]).convert("RGBA"), "png"),
        saved(Image.fromarray(BYTES[..., COLOUR]).convert("RGBA"), "tiff"),
        png(np.dstack([BYTES[..., COLOUR], np.full((4, 6), 255)]), 6, bits=8),
        png(BYTES[..., COLOUR], 2, bits=8, key=[0, 0, 300]),
        tiff(np.dstack([BYTES[..., COLOUR], np.full((4, 6), 255, np.uint8)]), t338=1),
    ],
)
def test_alpha_that_hides_nothing_needs_no_ground(data: bytes) -> None:
    same(read(data), unit(BYTES[..., COLOUR]))


def test_deep_alpha_that_hides_nothing_needs_no_ground() -> None:
    opaque = np.dstack([WORDS[..., COLOUR], np.full((4, 6), 65535, np.uint16)])
    same(read(png(opaque, 6)), unit(WORDS[..., COLOUR]))


@pytest.mark.parametrize(("ground", "colour"), [("white", [1]), ("black", [0]), ("#ff0000", [1, 0, 0])])
def test_the_ground_shows_by_what_the_alpha_leaves(ground: str, colour: list[int]) -> None:
    same(read(png(BYTES, 6, bits=8), ground=ground), laid(unit(BYTES[..., COLOUR]), SHARE, colour))
    same(read(png(WORDS, 6), ground=ground), laid(unit(WORDS[..., COLOUR]), unit(WORDS[..., ALPHA]), colour))
    same(read(png(WORDS[..., :2], 4), ground=ground), laid(unit(WORDS[..., :1]), unit(WORDS[..., 1:2]), colour))
    sprite = read(saved(Image.fromarray(SPRITE), "png"), ground=ground)
    same(sprite, np.where(SPRITE[..., ALPHA] == 255, unit(SPRITE[..., COLOUR]), np.array(colour)))


def test_colours_multiplied_by_their_alpha_are_laid_as_they_are() -> None:
    multiplied = np.minimum(BYTES, BYTES[..., ALPHA])
    same(read(tiff(multiplied, t338=1), ground="white"), unit(multiplied[..., COLOUR]) + (1 - SHARE))
    grey = multiplied[..., [0, 3]]
    same(read(tiff(grey, t338=1, photometric=1), ground="white"), unit(grey[..., :1]) + (1 - SHARE))
    assert "brighter than it" in refused(tiff(BYTES, t338=1), ground="white")


def test_a_colour_that_is_named_transparent_becomes_the_ground() -> None:
    for levels, bits in ((BYTES, 8), (WORDS, 16)):
        for kind, channels in ((0, GREY), (2, COLOUR)):
            stored = levels[..., channels]
            expected = unit(stored)
            expected[(stored == stored[1, 2]).all(-1)] = 1
            same(read(png(stored, kind, bits=bits, key=stored[1, 2].tolist()), ground="white"), expected)
    packed = np.array([[0b00011011], [0b11100100]], np.uint8)
    levels = np.array([[0, 3, 2, 3], [3, 2, 3, 0]], np.float32)[..., None] / 3
    same(read(png(packed, 0, bits=2, key=[1]), size=(2, 4), ground="white"), levels)


def test_a_palette_with_alpha_is_laid_on_the_ground() -> None:
    image = Image.fromarray(BYTES).quantize(12)
    rgba = np.array(image.convert("RGBA"))
    found = read(saved(image, "png"), ground="white")
    assert np.abs(found - laid(unit(rgba[..., COLOUR]), unit(rgba[..., ALPHA]), 1)).max() < 1e-6


# Orientation and pages


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_as_its_orientation_says(orientation: int) -> None:
    size = turned(BYTES, orientation).shape[:2]
    exif = Image.Exif()
    exif[274] = orientation
    colour = turned(BYTES[..., COLOUR], orientation)
    for kind in ("png", "webp"):
        data = saved(Image.fromarray(BYTES[..., COLOUR]), kind, exif=exif, lossless=True)
        same(read(data, size=size), unit(colour))
    same(
        read(png(WORDS[..., COLOUR], 2, orientation=orientation), size=size),
        unit(turned(WORDS[..., COLOUR], orientation)),
    )
    for how in ORDERS:
        same(read(tiff(BYTES[..., COLOUR], t274=orientation, **how), size=size), unit(colour))
        deep = tiff(WORDS, t338=2, t274=orientation, **how)
        expected = laid(unit(WORDS[..., COLOUR]), unit(WORDS[..., ALPHA]), 0)
        same(read(deep, size=size, ground="black"), turned(expected, orientation))


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff", "mpo"])
def test_a_file_of_several_pages_is_refused_or_its_first_is_taken_when_asked(kind: str) -> None:
    first, second = (Image.new("RGB", (6, 4), colour) for colour in ("white", "black"))
    data = saved(first, kind, save_all=True, append_images=[second])
    assert refused(data) == 'has several pages or frames; give pages="first" to take the first of each file'
    same(read(data, pages="first"), np.ones((4, 6, 3)))
    same(read(saved(first, kind, save_all=True)), np.ones((4, 6, 3)))


def test_a_gif_whose_frame_leaves_parts_open_is_refused() -> None:
    data = bytearray(saved(Image.new("P", (6, 4)), "gif"))
    data[6] = 7  # the canvas is a pixel wider than its frame
    assert refused(bytes(data)) == "has a frame that does not cover it"


# Resizing


def test_deep_images_are_resized_at_their_depth() -> None:
    deep = np.zeros((8, 8, 3), np.uint16)
    deep[:, ::2] = 65535
    found = read(png(deep, 2), size=(8, 4))
    assert np.abs(found[:, 1:-1] - 0.5).max() < 1e-6  # 8 bits would give 127 or 128 of 255
    smooth = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8, 1)
    flat = read(saved(Image.fromarray(smooth[..., 0].astype(np.float32)), "tiff"), size=5, values=(0, 65535))
    same(read(png(smooth, 0), size=5), flat)


def test_interpolation_does_not_leave_the_range() -> None:
    edge = np.zeros((8, 8, 1), np.uint16)
    edge[:, 4:] = 65535
    found = read(png(edge, 0), size=20, interpolation="bicubic", range="tanh")
    assert (found.min(), found.max()) == (-1, 1)


def test_a_set_may_mix_depths() -> None:
    asked = ImageOptions(size=(4, 6), range="unit")
    files = [png(BYTES[..., COLOUR], 2, bits=8), png(WORDS[..., COLOUR], 2)]
    opened = ImageSet(["a", "b"], lambda index: {"image": asked.decode(files[index])}, asked)
    batch = opened.batch([1, 0], torch.Generator())["image"].permute(0, 2, 3, 1).numpy()
    same(batch[0], unit(WORDS[..., COLOUR]))
    same(batch[1], unit(BYTES[..., COLOUR]))


# Arguments and bounds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ground": "blank"}, "ground: found 'blank', expected a colour"),
        ({"ground": "#ffffff80"}, "ground: found '#ffffff80', expected a colour"),
        ({"values": (1, 0)}, r"values: found \[1, 0\], expected \[low, high\], two numbers, the lower one first"),
        ({"values": (0, float("nan"))}, "values: found"),
        ({"values": (0,)}, "values: found"),
        ({"pages": "all"}, "pages: found 'all', expected 'one' or 'first'"),
        ({"largest": 0}, "largest: found 0, expected a whole number"),
        ({"size": (4, 6, 3)}, "size: found .4, 6, 3., expected a whole number of at least 1, or .height, width."),
        ({"size": (4, 0)}, "size: found .4, 0., expected"),
        ({"size": (4, True)}, "size: found .4, true., expected"),
    ],
)
def test_a_wrong_option_says_what_was_found(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageOptions(**{"size": 8} | options)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    header = png(np.zeros((1, 1, 3), np.uint8), 2, bits=8)
    wide = bytearray(header)
    wide[16:24] = (9000).to_bytes(4) + (9000).to_bytes(4)
    wide[29:33] = zlib.crc32(wide[12:29]).to_bytes(4)
    expected = "has 9000 x 9000 pixels, which take 618 MiB to decode, more than largest=512"
    assert refused(bytes(wide)) == expected
    wide[16:24] = (90000).to_bytes(4) + (90000).to_bytes(4)
    wide[29:33] = zlib.crc32(wide[12:29]).to_bytes(4)
    assert refused(bytes(wide)).startswith("has more pixels than Pillow reads")
    same(read(png(BYTES[..., COLOUR], 2, bits=8), largest=4), unit(BYTES[..., COLOUR]))
