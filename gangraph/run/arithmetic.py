"""The arithmetic that a run asks for: mixed precision, or another type of numbers than torch's default."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from gangraph.errors import UsageError
from gangraph.graph.model import Graph
from gangraph.run.settings import Settings


def arithmetic(settings: Settings) -> AbstractContextManager[object]:
    """The context in which segments run: autocast to bfloat16, or floats of the run's type as the default."""
    if settings.autocast:
        return torch.autocast(settings.device.type, dtype=torch.bfloat16)
    return nullcontext() if settings.dtype == torch.get_default_dtype() else _made_in(settings.dtype)


def require_precision(graph: Graph, settings: Settings) -> None:
    """Refuse mixed precision with an optimizer that compares losses at nearby points. Raises UsageError."""
    for update in graph.updates:
        if update.closure and settings.autocast:
            kind = graph.spec.optimizers[update.objectives[0].group].kind
            raise UsageError(f"{kind} compares losses that bf16 does not tell apart: use --precision fp32 or fp64")


@contextmanager
def _made_in(dtype: torch.dtype) -> Iterator[None]:
    """Ops that turn whole numbers into floating-point ones, such as one_hot, use this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
