"""Adaptive instance normalisation: AdaIN, AdaIN from a style image, and the epilogue of StyleGAN's layers."""

from collections.abc import Callable
from dataclasses import replace

import torch
from gangraph.kernels._plane_norm import ON_CHIP, ON_CHIP_BACKWARD
from gangraph.kernels.adain import KERNELS
from torch import Tensor

from .entry import Entry, Row
from .instance_norm import BF16, FP16, FP64, PLANES, clear_of_zero, normal, normalised, reads

Inputs = dict[str, Tensor | None]

EPILOGUE, ADAIN, IMAGE = sorted(KERNELS, key=lambda each: ["style_epilogue", "adain", "adain_image"].index(each.name))

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}  # Karras et al. 2019
STYLEGAN = tuple(Row(f"StyleGAN, {size} px, 4 images", (4, CHANNELS[size], size, size)) for size in CHANNELS)


def _style(generator: torch.Generator, row: Row) -> Inputs:
    """Scales about 1, as StyleGAN's are at the start, and some negative."""
    scale, bias = normal(generator, 2, *row.shape[:2]).unbind()
    return {"scale": 1 + 0.7 * scale, "bias": bias}


def _adain(row: Row, generator: torch.Generator) -> Inputs:
    return {"x": 0.5 + 2 * normal(generator, *row.shape), **_style(generator, row)}


def _far(row: Row, generator: torch.Generator) -> Inputs:
    """Planes of variance 1 about 1000."""
    return {"x": 1000 + normal(generator, *row.shape), **_style(generator, row)}


def _image(size: Callable[[Row], tuple[int, ...]], mean: float = 0.0) -> Callable[[Row, torch.Generator], Inputs]:
    """Planes of the content, and of a style whose positions have this size."""

    def draw(row: Row, generator: torch.Generator) -> Inputs:
        style = normal(generator, *row.shape[:2], *size(row))
        return {"x": 0.5 + 2 * normal(generator, *row.shape), "style": mean + 0.7 * style}

    return draw


def _epilogue(*, noise: bool = True, bias: bool = True, one_noise: bool = False, mean: float = 0.0):  # type: ignore[no-untyped-def]
    def draw(row: Row, generator: torch.Generator) -> Inputs:
        samples, channels, *positions = row.shape
        across = (channels, *(1,) * len(positions))
        return {}

    return draw
