"""Two folders of images of any size, compared image by image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from gangraph.data.archive import Archive, is_image_file, open_images
from gangraph.data.folders import decode_from, matched_names
from gangraph.data.transform import ImageOptions
from gangraph.errors import DataError, UsageError, WeightsError
from gangraph.registry import vocabulary
from gangraph.vocabulary.metrics.images import lpips, psnr, ssim

METRICS: Mapping[str, Callable[..., Tensor]] = {"psnr": psnr, "ssim": ssim, "lpips": lpips}
Enlargement = Literal["nearest", "bilinear", "bicubic"]
# Whole files as they are: nothing is resized, and a crop of one pixel, which is not made here, fits into every image.
_WHOLE = ImageOptions(crop=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageComparison:
    """What two folders differ by.

    Attributes:
        each: by image, its numbers by metric.
        means: over the images, by metric.
        missing: by metric, why it has no number.
        protocol: by metric, how it was measured.
    """

    each: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    missing: Mapping[str, str]
    protocol: Mapping[str, Mapping[str, Any]]


def compare(
    images: Path,
    references: Path,
    *,
    luminance: bool = False,
    border: int = 0,
    enlarge: Enlargement | None = None,
    say: Callable[[str], None] = print,
) -> ImageComparison:
    """Compare every image with the one of the same name, both with 8 bits, by PSNR, SSIM and LPIPS.

    Args:
        images, references: folders, zip files, folders in one, or two single images, which alone may differ in name.
        luminance, border: what PSNR and SSIM compare, as the metrics of these names say.
        enlarge: how an image is brought to the size of its reference; without, both have one size.
        say: is called with each line of text about files that are passed over.

    Raises:
        UsageError: an option is wrong.
        DataError: a file has no partner, cannot be read, or differs from its partner in size.
    """
    if enlarge not in (None, *get_args(Enlargement)):
        raise UsageError(f"--enlarge is one of {', '.join(get_args(Enlargement))}; found '{enlarge}'")
    one, other = open_images(str(images)), open_images(str(references))
    for note in (*one.notes, *other.notes):
        say(note)
    constants = {"psnr": {"luminance": luminance, "border": border}}
    constants |= {"ssim": constants["psnr"], "lpips": {}}
    each, missing = {}, dict[str, str]()
    alone = is_image_file(images) and is_image_file(references)
    for name, partner in [(one.names[0], other.names[0])] if alone else matched_names(one, other):
        x, y = _pair(one, name, other, partner, enlarge)
        each[name] = _measured(one.where(name), x, y, constants, missing)
    means = {
        metric: sum(numbers[metric] for numbers in each.values()) / len(each)
        for metric in METRICS
        if metric not in missing
    }
    protocol = {metric: _protocol(metric, constants[metric]) for metric in means}
    return ImageComparison(each=each, means=means, missing=missing, protocol=protocol)


def _pair(one: Archive, name: str, other: Archive, partner: str, enlarge: Enlargement | None) -> tuple[Tensor, Tensor]:
    """An image and its reference: [1, 3, H, W] in [-1, 1]."""
    x, y = (_read(*each) for each in ((one, name), (other, partner)))
    if x.shape == y.shape:
        return x, y
    (height, width), (rows, columns) = x.shape[2:], y.shape[2:]
    found = f"{one.where(name)} has {width}x{height} pixels, and {other.where(partner)} {columns}x{rows}"
    if enlarge is None:
        raise DataError(f"{found}; expected one size, or give --enlarge, such as --enlarge bicubic")
    if height > rows or width > columns:
        raise DataError(f"{found}; expected an image that is not larger than its reference")
    return enlarged(x, (rows, columns), enlarge), y


def _read(archive: Archive, name: str) -> Tensor:
    return _WHOLE.scale(_WHOLE.prepare(decode_from(archive, name, _WHOLE)))[None]


def enlarged(x: Tensor, size: tuple[int, int], how: Enlargement) -> Tensor:
    """Images in [-1, 1] at a larger size, rounded to 8 bits; bicubic with a = -1/2, as MATLAB has it."""
    smooth = how != "nearest"
    made = functional.interpolate(x, size=size, mode=how, antialias=smooth)
    return ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@torch.no_grad()
def _measured(
    where: str, x: Tensor, y: Tensor, constants: Mapping[str, Mapping[str, Any]], missing: dict[str, str]
) -> dict[str, float]:
    """The numbers of one image; a metric whose weights are missing is left out, and `missing` says why."""
    found = {}
    for metric, function in METRICS.items():
        if metric in missing:
            continue
        try:
            found[metric] = float(function(x, y, **constants[metric]))
        except WeightsError as error:
            missing[metric] = str(error)
        except ValueError as error:
            raise DataError(f"{where}: {metric} cannot measure it: {error}") from None
    return found


def _protocol(metric: str, constants: Mapping[str, Any]) -> Mapping[str, Any]:
    definition = vocabulary[metric]
    bound = definition.signature.bind_partial(**constants)
    bound.apply_defaults()
    tensors = {name for name, parameter in definition.signature.parameters.items() if parameter.annotation is Tensor}
    chosen = {name: value for name, value in bound.arguments.items() if name not in tensors}
    stated = definition.traits.protocol
    return {**chosen, **(stated(**chosen) if stated is not None else {})}
