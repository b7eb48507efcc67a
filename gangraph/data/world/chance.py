"""Counter-based random numbers: a draw is a pure function of (seed, split, index, name).

No generator's state can depend on the order of the draws, on the batch or on a worker. Integers are hashed
with the finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64 bits that is exact everywhere.

Splits are disjoint by construction: index i of split s is the counter `i * len(SPLITS) + s`, so no counter
belongs to two splits, and different counters never share a hash.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPLITS = ("train", "val", "test")

_WORD = 2**64
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def uniforms(seed: int, split: str, indices: Sequence[int], names: Sequence[str]) -> Tensor:
    """One number for each index and name: [len(indices), len(names)], float64, uniform in [0, 1).

    Raises:
        IndexError: an index is negative.
    """
    if any(index < 0 for index in indices):
        raise IndexError(f"the index of a sample is at least 0, found {min(indices)}")
    counters = [(int(index) * len(SPLITS) + SPLITS.index(split)) % _WORD for index in indices]
    keys = [_key(seed, name) for name in names]
    hashed = _mix(np.array(counters, dtype=np.uint64))[:, None] ^ np.array(keys, dtype=np.uint64)[None, :]
    # The upper 53 bits are what a float64 holds exactly.
    return torch.from_numpy((_mix(hashed) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _key(seed: int, name: str) -> int:
    # By name, not by position: a new factor leaves the draws of the others as they are.
    start = np.array([seed % _WORD], dtype=np.uint64)
    named = _mix(start) ^ np.array([zlib.crc32(name.encode())], dtype=np.uint64)
    return int(_mix(named)[0])


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words + _STEP
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
