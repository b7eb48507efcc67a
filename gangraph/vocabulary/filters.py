"""Images at twice or half their size through a filter, without the aliasing of plain strides."""

from collections.abc import Sequence
from functools import reduce
from operator import add

from torch import Tensor, stack, zeros_like
from torch.nn import functional

from gangraph.registry import op

_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate"}


@op()
def resample(
    x: Tensor, taps: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0), up: int = 1, down: int = 1, padding: str = "zeros"
) -> Tensor:
    """Images [B, C, H, W] made `up` times larger or `down` times smaller through a filter in both directions.

    The taps are divided by their sum. An image is enlarged by zeros between its pixels, and the filter is `up` times
    as strong, so that brightness stays; it is made smaller by keeping every `down`-th pixel of the filtered image. The
    result is H * up / down, centred as in Karras et al. (2020, StyleGAN2, appendix B) and Zhang (2019). `padding` says
    what lies beyond the border: "zeros", "reflect" or "replicate". A filter is a sum of shifted images and no
    convolution, so that a penalty which differentiates it twice consists of sums again.

    Raises:
        ValueError: x is no batch of images, the taps have no sum to divide by, both factors are above 1, or a size
            is no multiple of `down`.
    """
    _verify(x, taps, up, down, padding)
    weights = tuple(tap / sum(taps) * up for tap in taps)
    for dim in (2, 3):
        x = _along(x.transpose(dim, 3), weights, up, down, _MODES[padding]).transpose(dim, 3)
    return x


def _verify(x: Tensor, taps: Sequence[float], up: int, down: int, padding: str) -> None:
    """Refuse what has no meaning. Raises ValueError."""
    if x.dim() != 4:
        raise ValueError(f"expected images [B, C, H, W], but got {x.dim()} dimensions")
    if not taps or sum(taps) == 0:
        raise ValueError("the sum of the taps is 0, and they are divided by it")
    if up < 1 or down < 1 or (up > 1 and down > 1):
        raise ValueError(f"up={up} and down={down}: one of them is 1, the other a whole number from 1 on")
    if padding not in _MODES:
        raise ValueError(f"padding is {padding!r}, expected one of " + ", ".join(map(repr, _MODES)))
    if any(size % down for size in x.shape[2:]):
        raise ValueError(f"images of {x.shape[2]} x {x.shape[3]} cannot be made {down} times smaller")


def _along(x: Tensor, taps: Sequence[float], up: int, down: int, mode: str) -> Tensor:
    """A filter along the last axis, centred by `before`.

    Pixel j of the result is the sum over k of taps[k] times the zero-filled pixel at j * down + before - k.
    """
    count, size = len(taps), x.shape[3]
    before = count - 1 - (count + up - down) // 2
    left, right = -(-(count - 1 - before) // up), -(-(before + up - 1) // up) + down - 1
    padded = functional.pad(x, (left, right, 0, 0), mode=mode)
    phases = []
    for phase in range(up):
        terms = [
            tap * padded[..., start : start + size : down]
            for k, tap in enumerate(taps)
            if (phase + before - k) % up == 0
            for start in [left + (phase + before - k) // up]
        ]
        phases.append(reduce(add, terms) if terms else zeros_like(x))
    return stack(phases, -1).flatten(-2) if up > 1 else phases[0]


__all__ = ["resample"]
