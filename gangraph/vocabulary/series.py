"""Ops of series: samples over time [B, C, T], and what they consist of."""

import math
from typing import Literal

import torch
from torch import Tensor

from gangraph.registry import op


@op(
    range=lambda *_: (0.0, math.inf),
    latex=r"\lvert \mathrm{STFT}_{${n_fft}, ${hop}}(${x}) \rvert",
    words="the magnitudes of the short-time Fourier transform of $x",
)
def stft(x: Tensor, n_fft: int, hop: int, window: Literal["hann", "none"] = "hann") -> Tensor:
    """Magnitudes of the short-time Fourier transform: [B, T] to [B, F, frames], [B, C, T] to [B, C, F, frames].

    |sum_k w_k x_(m hop + k) exp(-2 pi i f k / n_fft)| with F = n_fft / 2 + 1 frequencies and 1 + T / hop frames; x is
    padded by reflection, so that frame m is centred on x_(m hop). The gradient of a magnitude of 0 is 0.
    """
    if n_fft < 2 or hop < 1:
        raise ValueError(f"n_fft is at least 2 and hop at least 1, but got {n_fft} and {hop}")
    if x.dim() not in (2, 3) or not x.is_floating_point():
        raise ValueError(f"expected series [B, T] or [B, C, T], but got {list(x.shape)}")
    if x.shape[-1] <= n_fft // 2:
        raise ValueError(f"a series of {x.shape[-1]} steps is too short for n_fft={n_fft}: {n_fft // 2 + 1} are needed")
    shape = torch.hann_window if window == "hann" else torch.ones
    weights = shape(n_fft, dtype=x.dtype, device=x.device)
    made = torch.stft(x.flatten(0, -2), n_fft, hop, n_fft, weights, return_complex=True).abs()
    return made.reshape(*x.shape[:-1], *made.shape[1:])
