"""The shape and type of a tensor, which is compared before anything of the tensor is used."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TensorKind:
    """The shape and type of a tensor. As text: `[2, 3] float32`."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorKind":
        """Those of a tensor."""
        return cls(tuple(tensor.shape), tensor.dtype)

    def under(self, own: torch.dtype, saved: torch.dtype) -> "TensorKind":
        """The same in a run of another precision."""
        return replace(self, dtype=saved) if self.dtype == own else self

    def __str__(self) -> str:
        return f"{list(self.shape)} {str(self.dtype).removeprefix('torch.')}"
