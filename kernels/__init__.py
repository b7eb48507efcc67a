"""Fused Triton kernels for GAN training. A library by itself, which imports nothing else of gangraph.

One file holds one family of operations: `from gangraph.kernels.adain import adain`. Every public function takes
`impl`: `auto` (the kernel on CUDA, else the reference), `reference` (plain PyTorch, of every order) or `triton`.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ._kernel import Kernel, OrderError, Pattern, Step
from ._triton import why_not

__all__ = ["Kernel", "OrderError", "Pattern", "Step", "catalogue", "why_not"]


@cache
def catalogue() -> tuple[Kernel, ...]:
    """Every kernel of this library: the `KERNELS` of its modules."""
    modules = (import_module(f"{__name__}.{each.name}") for each in iter_modules(__path__) if each.name[0] != "_")
    return tuple(kernel for module in modules for kernel in module.KERNELS)
