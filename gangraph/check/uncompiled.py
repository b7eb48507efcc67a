"""Shapes without torch's compiler.

Many functions by which torch finds shapes on the meta device are marked as not to be compiled. The first call of such a
function imports the compiler to be told what to call in its stead, which takes a second: a third of what a check takes.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_MARK = "__dynamo_disable"  # where a marked function keeps what the compiler said


class _StandIn(ModuleType):
    """Says to call each function as it is. Whoever asks it anything else gets the compiler."""

    def __init__(self) -> None:
        super().__init__(_COMPILER)
        self.asked: list[Callable[..., Any]] = []

    def disable(self, function: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        """The function itself."""
        self.asked.append(function)
        return function

    def graph_break(self, *_: object, **__: object) -> None:
        """Nothing, as outside of what is compiled; optimizers say it at every step."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return getattr(importlib.import_module(_COMPILER), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Nothing inside imports torch's compiler for that. Afterwards torch is as it was: compiled code is the same."""
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = sys.modules[_COMPILER] = _StandIn()
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]
        for function in stand_in.asked:
            vars(function).pop(_MARK, None)
