"""Metrics: functions from evaluated values to one number. Higher or lower is better as each says."""

import torch
from torch import Tensor

from gangraph.registry import metric


@metric()
def psnr(x: Tensor, y: Tensor, span: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio in dB, mean over the images of a batch; higher is better.

    `span` is the width of the value range: 2 for images in [-1, 1].
    """
    error = (x - y).flatten(1).square().mean(1)
    return (10 * torch.log10(span**2 / error.clamp_min(1e-12))).mean()


@metric()
def mean_absolute_error(x: Tensor, y: Tensor) -> Tensor:
    """mean |x - y| over all elements; lower is better."""
    return (x - y).abs().mean()


@metric()
def covered_modes(samples: Tensor, centres: Tensor, radius: float) -> Tensor:
    """How many of the centres [K, D] have at least one of the samples [N, D] within `radius`; higher is better."""
    return (torch.cdist(samples, centres).amin(0) <= radius).sum().float()
