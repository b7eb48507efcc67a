"""What is known of a value before a run."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TensorType:
    """The shape of a value with the batch, its dtype, and the range of its numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    low: float = float("-inf")
    high: float = float("inf")

    def __str__(self) -> str:
        dtype = "" if self.dtype == torch.float32 else f" {str(self.dtype).removeprefix('torch.')}"
        bounded = self.low != float("-inf") or self.high != float("inf")
        return f"[{', '.join(map(str, self.shape))}]{dtype}" + (f" in [{self.low:g}, {self.high:g}]" if bounded else "")

    def example(self) -> Tensor:
        """A tensor of this type without storage."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")
