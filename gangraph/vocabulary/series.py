"""Ops of series and sentences: their spectra, their last steps, their lengths."""

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


@op(stops_gradient=True, range=lambda *_: (0.0, math.inf), words="the lengths of the sentences $tokens")
def lengths(tokens: Tensor) -> Tensor:
    """How many tokens of each sentence come before its padding, whose number is 0: int64 [B, L] to int64 [B]."""
    if tokens.dim() != 2 or tokens.is_floating_point():
        raise ValueError(f"expected tokens, whole numbers [B, L], but got {tokens.dtype} {list(tokens.shape)}")
    return (tokens != 0).sum(1)


@op(range=lambda x, *_: x, words="the last step of $x")
def last(x: Tensor, length: Tensor | None = None) -> Tensor:
    """The last step of each sample: [B, T, ...] to [B, ...]; step length - 1 where lengths, int64 [B], are given.

    A length of 0 counts as 1, and one beyond T as T.
    """
    if x.dim() < 2:
        raise ValueError(f"expected steps [B, T, ...], but got {list(x.shape)}")
    if length is None:
        return x[:, -1]
    if not isinstance(length, Tensor) or length.dim() != 1 or length.is_floating_point():
        raise ValueError("a length is a whole number for each sample, int64 [B], such as lengths(tokens)")
    step = (length.clamp(1, x.shape[1]) - 1).reshape(-1, *[1] * (x.dim() - 1))
    return x.gather(1, step.expand(-1, 1, *x.shape[2:])).squeeze(1)


@op(range=lambda x, *_: x, words="some steps of $x")
def steps(x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
    """Some steps of each sample, from `start` up to and without `stop`, from the end if negative: [B, T, ...]."""
    if x.dim() < 2:
        raise ValueError(f"expected steps [B, T, ...], but got {list(x.shape)}")
    found = x[:, start:stop]
    if not found.shape[1]:
        raise ValueError(f"none of the {x.shape[1]} steps is from {start} up to {'the end' if stop is None else stop}")
    return found
