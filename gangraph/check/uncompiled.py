"""Shapes without torch's compiler.

Torch marks many of the functions that it finds shapes by as not to be compiled. The first call of such a function
imports the compiler, to ask it for a form of the function that it leaves alone, and keeps that form. The import takes a
second, a third of a check. Inside `without_compiler` such a question is answered by the function itself.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_MARK = "__dynamo_disable"  # where a marked function keeps the compiler's answer


class _StandIn(ModuleType):
    """Takes the place of torch's compiler; for all but torch's own question it imports the compiler and asks it."""

    def __init__(self) -> None:
        super().__init__(_COMPILER)
        self.__spec__ = importlib.util.find_spec(_COMPILER)
        self.stands = True
        self.asked: list[FunctionType] = []

    def disable(self, function: Any = None, *arguments: Any, wrapping: bool = True, **keywords: Any) -> Any:
        """The function itself if torch asks, which alone passes `wrapping=False`; else the compiler's answer."""
        if self.stands and not wrapping and isinstance(function, FunctionType):
            self.asked.append(function)
            return function
        return self.compiler().disable(function, *arguments, wrapping=wrapping, **keywords)

    def graph_break(self, *arguments: Any, **keywords: Any) -> Any:
        """Do nothing, as outside of compiled code; optimizers call it at every step."""
        return None if self.stands else self.compiler().graph_break(*arguments, **keywords)

    def compiler(self) -> ModuleType:
        """Torch's compiler, imported now if it was not before."""
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return importlib.import_module(_COMPILER)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(self.compiler(), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """A context in which torch finds shapes without importing its compiler.

    Afterwards no function keeps what was answered inside.
    """
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = sys.modules[_COMPILER] = _StandIn()
    try:
        yield
    finally:
        stand_in.stands = False
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]
        for function in stand_in.asked:
            vars(function).pop(_MARK, None)
