"""Metrics of pairs of images, and of images one by one. Clips [N, C, T, H, W] are measured frame by frame."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph.registry import metric
from gangraph.vocabulary import pretrained
from gangraph.vocabulary.metrics import checks
from gangraph.vocabulary.pretrained import slices

_CHUNK = 32  # images that run through a network, or a filter, at a time
_LUMINANCE = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # ITU-R BT.601 with 8 bits, of which Y takes 16 to 235
_BLACK = 16 / 255
_WINDOW = 11  # pixels of the Gaussian window of Wang et al. 2004
# Of each network: its name in the catalogue, its layers up to each tap, and the smallest image that reaches the last.
_TAPS = {
    "alex": ("alexnet", (2, 5, 8, 10, 12), 31),
    "vgg": ("vgg16", (4, 9, 16, 23, 30), 16),
    "squeeze": ("squeezenet", (2, 5, 8, 10, 11, 12, 13), 17),
}


def _psnr_checks(
    x: Tensor,
    y: Tensor,
    span: float = 2.0,
    luminance: bool = False,
    border: int = 0,
    mask: Tensor | None = None,
) -> None:
    checks.alike(x=x, y=y)
    checks.samples(1, x=x)
    checks.positive(span=span)
    checks.images(border=border, x=x)
    _mask_checks(mask, x)
    if luminance:
        checks.colours(x=x)


def _mask_checks(mask: Tensor | None, x: Tensor) -> None:
    expected = [x.shape[0], *x.shape[2:]]
    if mask is not None and [*checks.shape("mask", mask)] != expected:
        raise ValueError(f"mask is {list(mask.shape)}, expected {expected}: a number for each pixel, without channels")


def _luminance_protocol(*, luminance: bool, **_: Any) -> dict[str, Any]:
    return {"luminance": "Y of BT.601 in [16, 235], not rounded" if luminance else "no"}


@metric(expects=_psnr_checks, protocol=_luminance_protocol)
def psnr(
    x: Tensor,
    y: Tensor,
    span: float = 2.0,
    luminance: bool = False,
    border: int = 0,
    mask: Tensor | None = None,
) -> Tensor:
    """Peak signal-to-noise ratio in dB, mean over images; higher is better, 0 to infinity.

    `span` is the width of the value range: 2 for images in [-1, 1]. `luminance` compares the Y of colour images
    (ITU-R BT.601, against a peak of 255 of 8 bits) and `border` cuts pixels from each side, as papers on
    super-resolution do with 4. Errors below 1e-12 count as 1e-12. With a `mask` [N, H, W], or [N, T, H, W] for clips,
    only pixels where it is not 0 count, and only images that have any.

    Raises:
        ValueError: the mask chooses no pixel.
    """
    _psnr_checks(x, y, span, luminance, border, mask)
    checks.finite(x=x, y=y)
    difference = _measured(_frames(x) - _frames(y), luminance, border)
    error = _averages(difference.square(), mask, border, border)
    return (10 * torch.log10(span**2 / error.clamp_min(1e-12))).mean()


def _error_checks(x: Tensor, y: Tensor) -> None:
    checks.alike(x=x, y=y)
    checks.samples(1, x=x)


@metric(expects=_error_checks)
def mean_absolute_error(x: Tensor, y: Tensor) -> Tensor:
    """mean |x - y| over all elements; lower is better."""
    _error_checks(x, y)
    checks.finite(x=x, y=y)
    return (x - y).abs().mean()


def _ssim_checks(x: Tensor, y: Tensor, luminance: bool = False, border: int = 0, mask: Tensor | None = None) -> None:
    checks.alike(x=x, y=y)
    checks.samples(1, x=x)
    checks.images(least=_WINDOW, border=border, x=x)
    _mask_checks(mask, x)
    if luminance:
        checks.colours(x=x)


def _ssim_protocol(**constants: Any) -> dict[str, Any]:
    window = f"Gaussian {_WINDOW} x {_WINDOW}, sigma 1.5, whole windows only"
    return {**_luminance_protocol(**constants), "window": window, "k1": 0.01, "k2": 0.03, "range": "[0, 1]"}


@metric(expects=_ssim_checks, protocol=_ssim_protocol)
def ssim(x: Tensor, y: Tensor, luminance: bool = False, border: int = 0, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of images in [-1, 1], mean over windows, channels and images; 1 is best, -1 the least.

    Wang et al. 2004 with their constants: images are moved to [0, 1] and compared in Gaussian windows of 11 pixels
    that lie inside the image. `luminance` and `border` as for psnr; of a `mask` the middles of the windows count.

    Raises:
        ValueError: the mask chooses no middle of a window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _ssim_checks(x, y, luminance, border, mask)
    checks.inside(-1, 1, x=x, y=y)
    pairs = zip(slices(_frames(x), _CHUNK), slices(_frames(y), _CHUNK), strict=True)
    similar = []
    for pair in pairs:
        a, b = (_measured((each + 1) / 2, luminance, border) + (_BLACK if luminance else 0) for each in pair)
        _, windows = structural_similarity_index_measure(a, b, data_range=1.0, return_full_image=True)
        similar.append(_cut(windows, _WINDOW // 2))
    edge = border + _WINDOW // 2
    return _averages(torch.cat(similar), mask, edge, edge).mean()


def _lpips_checks(x: Tensor, y: Tensor, net: str = "alex") -> None:
    checks.one_of(_TAPS, net=net)
    checks.alike(x=x, y=y)
    checks.samples(1, x=x)
    checks.images(least=_TAPS[net][2], x=x)
    checks.colours(x=x)


def _lpips_protocol(*, net: str) -> dict[str, str]:
    heads = _heads_file(net)
    return {
        "version": "0.1",
        "net": net,
        **pretrained.weights_facts(_TAPS[net][0]),
        "heads": f"torchmetrics {heads.name}, {pretrained.digest(heads)[:12]}",
    }


@metric(expects=_lpips_checks, protocol=_lpips_protocol)
def lpips(x: Tensor, y: Tensor, net: str = "alex") -> Tensor:
    """Learned perceptual distance of colour images in [-1, 1], mean over images; lower is better, 0 for equal images.

    Version 0.1 of Zhang et al. 2018 with its fitted heads; `net` is "alex", "vgg" or "squeeze".

    Raises:
        WeightsError: the network's weights are missing.
    """
    _lpips_checks(x, y, net)
    checks.inside(-1, 1, x=x, y=y)
    pairs = zip(slices(_frames(x), _CHUNK), slices(_frames(y), _CHUNK), strict=True)
    return torch.cat([_perceptual(*pair, net) for pair in pairs]).mean()


@torch.no_grad()
def _perceptual(x: Tensor, y: Tensor, net: str) -> Tensor:
    """sum over taps of mean over space of head * (x / |x| - y / |y|)^2 for features x and y, of each image."""
    name, taps, _ = _TAPS[net]
    layers = pretrained.network(name).get_submodule("features")
    assert isinstance(layers, nn.Sequential)
    count = len(x)
    found = pretrained.normalised(torch.cat((x, y)))
    distance = x.new_zeros(count)
    for head, start, end in zip(_heads(net), (0, *taps), taps, strict=False):
        found = layers[start:end](found)
        unit = found / (found.norm(dim=1, keepdim=True) + 1e-10)
        distance += functional.conv2d((unit[:count] - unit[count:]).square(), head).mean((1, 2, 3))
    return distance


def _heads_file(net: str) -> Path:
    """The file of the fitted heads, which torchmetrics brings."""
    package = find_spec("torchmetrics")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "functional" / "image" / "lpips_models" / f"{net}.pth"


@cache
def _heads(net: str) -> tuple[Tensor, ...]:
    """For each tap the weight [1, C, 1, 1] of a 1 x 1 convolution."""
    heads = torch.load(_heads_file(net), map_location="cpu", weights_only=True)
    return tuple(heads[f"lin{index}.model.1.weight"] for index in range(len(_TAPS[net][1])))


def _sharpness_checks(x: Tensor, span: float = 2.0) -> None:
    checks.images(least=2, x=x)
    checks.samples(1, x=x)
    checks.positive(span=span)


@metric(expects=_sharpness_checks)
def sharpness(x: Tensor, span: float = 2.0) -> Tensor:
    """mean |dx| + |dy| between neighbours, of values scaled to a range of 1; between 0 and 2, blur lowers it.

    The sum of absolute differences in Mathieu et al. 2016, section 4; `span` is the width of the value range.
    """
    _sharpness_checks(x, span)
    checks.finite(x=x)
    return _slopes(_frames(x) / span).mean()


def _sharpness_difference_checks(x: Tensor, y: Tensor, span: float = 2.0, mask: Tensor | None = None) -> None:
    checks.alike(x=x, y=y)
    _sharpness_checks(x, span)
    _mask_checks(mask, x)


@metric(expects=_sharpness_difference_checks)
def sharpness_difference(x: Tensor, y: Tensor, span: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """10 log10(1 / mean |g(x) - g(y)|) in dB with g = |dx| + |dy|, mean over images; higher is better.

    Mathieu et al. 2016, section 4, for values scaled to a range of 1, of which `span` was the width. Means below 1e-12
    count as 1e-12. A `mask` as for psnr; the first row and column, which have no neighbours, never count.

    Raises:
        ValueError: the mask chooses no pixel.
    """
    _sharpness_difference_checks(x, y, span, mask)
    checks.finite(x=x, y=y)
    error = _averages((_slopes(_frames(x) / span) - _slopes(_frames(y) / span)).abs(), mask, 1, 0)
    return (-10 * torch.log10(error.clamp_min(1e-12))).mean()


def _slopes(x: Tensor) -> Tensor:
    """|x[i, j] - x[i - 1, j]| + |x[i, j] - x[i, j - 1]| where both neighbours are inside."""
    return x[..., 1:, :].diff(dim=-1).abs() + x[..., 1:].diff(dim=-2).abs()


def _averages(x: Tensor, mask: Tensor | None, before: int, after: int) -> Tensor:
    """The mean of each image [N, C, H, W] over what a mask chooses; images in which it chooses nothing are left out.

    `before` and `after` say how many rows and columns of the mask have no number in x, at the beginning and the end.
    """
    if mask is None:
        return x.flatten(1).mean(1)
    checks.finite(mask=mask)
    whole = mask.flatten(0, 1) if mask.dim() == 4 else mask
    inner = whole[:, before : whole.shape[1] - after, before : whole.shape[2] - after]
    chosen = (inner != 0).flatten(1)
    count = chosen.sum(1)
    if not count.any():
        raise ValueError("the mask is 0 at every pixel that is measured, expected some that count")
    return ((x.mean(1).flatten(1) * chosen).sum(1) / count)[count > 0]


def _frames(x: Tensor) -> Tensor:
    """Clips [N, C, T, H, W] as images [N * T, C, H, W]; anything else as it is."""
    return x.transpose(1, 2).flatten(0, 1) if x.dim() == 5 else x


def _cut(x: Tensor, border: int) -> Tensor:
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border] if border else x


def _measured(x: Tensor, luminance: bool, border: int) -> Tensor:
    """The part of images that is compared: without a border, and with `luminance` only Y, without its offset."""
    weights = x.new_tensor(_LUMINANCE)
    return _cut((x * weights[:, None, None]).sum(1, keepdim=True) if luminance else x, border)
