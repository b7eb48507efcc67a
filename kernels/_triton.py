"""The one place where Triton is imported, and what its kernels need to run."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Impl = Literal["auto", "reference", "triton"]


class _Missing:
    """Stands for Triton where there is none (it has no wheels for some systems): decorates, and does nothing."""

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


def tuned(configs: Sequence[Any], key: Sequence[str]) -> Callable[[Any], Any]:
    """`triton.autotune` over a short list: the best configuration by time, once for each value of the key.

    The choice is kept in Triton's cache on disk, since another configuration may sum in another order. The first
    entry is taken without timing by the interpreter, and where `torch.use_deterministic_algorithms` is on.
    """
    if INTERPRETED or isinstance(triton, _Missing):
        return triton.autotune(list(configs[:1]), list(key))  # type: ignore[no-any-return]
    first_if_asked = {"early_config_prune": _first_if_deterministic}
    return triton.autotune(list(configs), list(key), prune_configs_by=first_if_asked, cache_results=True)  # type: ignore[no-any-return]


def _first_if_deterministic(configs: list[Any], *_: Any, **__: Any) -> list[Any]:
    return configs[:1] if torch.are_deterministic_algorithms_enabled() else configs


def why_not(*tensors: Tensor | None) -> str:
    """Why a Triton kernel cannot run on these tensors; empty if it can."""
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
    """What sums over x are kept in: float32, and float64 for float64."""
    return torch.float64 if x.dtype is torch.float64 else torch.float32


def accumulator(x: Tensor) -> Any:
    """`statistics_type` in Triton's words."""
    return tl.float64 if x.dtype is torch.float64 else tl.float32
