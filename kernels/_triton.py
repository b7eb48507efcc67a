"""The one place where Triton is imported, and what its kernels need to run."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["INTERPRETED", "Impl", "accumulator", "statistics_type", "tl", "triton", "tuned", "use_triton", "why_not"]

Impl = Literal["auto", "reference", "triton"]


class _Missing:
    """Stands in for Triton where it is not installed (some systems have no wheels): its decorators do nothing."""

    constexpr = int

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = _Missing()

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def tuned(
    configs: Sequence[Any],
    key: Sequence[str],
    keep: Callable[[Any, dict[str, Any]], bool] = lambda config, constants: True,
) -> Callable[[Any], Any]:
    """`triton.autotune` over a short list: the best configuration by time, once for each value of the key.

    `keep` says whether a configuration suits a launch's constants. The choice is kept in Triton's cache on disk, since
    another configuration may sum in another order. The interpreter takes the first.
    """

    def prune(every: list[Any], _: Any, **constants: Any) -> list[Any]:
        return [config for config in every if keep(config, constants)] or every[:1]

    if INTERPRETED:
        return triton.autotune(list(configs[:1]), list(key))
    return triton.autotune(list(configs), list(key), prune_configs_by={"early_config_prune": prune}, cache_results=True)


def why_not(*tensors: Tensor | None) -> str:
    """Why a Triton kernel cannot run on these tensors; an empty text if it can."""
    if isinstance(triton, _Missing):
        return "Triton is not installed"
    for x in tensors:
        if x is not None and x.dtype not in DTYPES:
            return f"the kernels take floating point numbers, not {x.dtype}"
        if x is not None and not x.is_cuda and not INTERPRETED:
            return f"the tensors are on '{x.device.type}', and Triton runs on CUDA (elsewhere with TRITON_INTERPRET=1)"
    return ""


def use_triton(impl: Impl, *tensors: Tensor | None) -> bool:
    """Whether the kernel runs, or the reference: `auto` takes the kernel on CUDA.

    Raises:
        ValueError: there is no such implementation.
        RuntimeError: `triton` was asked for, and cannot run here.
    """
    if impl not in ("auto", "reference", "triton"):
        raise ValueError(f"impl is 'auto', 'reference' or 'triton', not {impl!r}")
    if impl == "reference":
        return False
    if impl == "auto":
        return all(x is None or x.is_cuda for x in tensors) and not why_not(*tensors)
    if reason := why_not(*tensors):
        raise RuntimeError(f"impl='triton' cannot be used: {reason}")
    return True


def statistics_type(x: Tensor) -> torch.dtype:
    """The type in which sums over x are kept: float32, and float64 for float64."""
    return torch.float64 if x.dtype is torch.float64 else torch.float32


def accumulator(x: Tensor) -> Any:
    """`statistics_type` as a type of Triton."""
    return tl.float64 if x.dtype is torch.float64 else tl.float32
