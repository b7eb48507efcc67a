"""Layers and ops on tensors without storage. The result for given shapes is computed once and remembered."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gangraph.check.layer_state import changed_paths, marks
from gangraph.graph.arguments import distinct
from gangraph.graph.model import LayerUse
from gangraph.registry import Definition


@dataclass(frozen=True, slots=True)
class MetaRun:
    """The result of a layer or an op, without storage, and the floating-point operations that it takes.

    `moved` are the paths of what the call changed in a layer, `steps` the shapes of an op's intermediate results, in
    order.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    flops: int
    moved: frozenset[str] = frozenset()
    steps: tuple[tuple[int, ...], ...] = ()

    def example(self) -> Tensor:
        """A tensor like the result."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


# Networks that grow have the same layers in every phase, and running one takes a millisecond even without storage.
_runs: dict[object, MetaRun] = {}


def run_op(definition: Definition, arguments: list[Any], keywords: dict[str, Any]) -> MetaRun:
    """An op on examples. Raises whatever the op raises for inputs that do not fit, ValueError for an empty result."""
    key = ("op", definition.function, _described(tuple(arguments)), _described(tuple(keywords.items())))
    given = [value for value in (*arguments, *keywords.values()) if isinstance(value, Tensor)]
    return _remembered(key, lambda: definition.function(*arguments, **keywords), given)


def run_layer(use: LayerUse, module: nn.Module, examples: Sequence[Tensor]) -> MetaRun:
    """A layer on examples. Raises whatever it raises for inputs that do not fit, ValueError for no result."""
    sizes = tuple(tuple(value.shape) for value in (*module.parameters(), *module.buffers()))
    key = ("layer", _written(use), sizes, _described(tuple(examples)), module.training)
    return _remembered(key, lambda: module(*examples), list(examples), module)


def layer_key(use: LayerUse, examples: Sequence[Tensor]) -> object:
    """A key of everything that a new layer and its result for examples depend on."""
    return _written(use), _described(tuple(examples))


def _remembered(
    key: object, run: Callable[[], Tensor], given: list[Tensor], module: nn.Module | None = None
) -> MetaRun:
    if key not in _runs:
        before = marks(module) if module is not None else {}
        steps = _Steps() if module is None else None
        with torch.no_grad(), FlopCounterMode(display=False) as counter, steps or nullcontext():
            made = run()
        if not made.numel() and all(value.numel() for value in given):  # the parameters of a network may be none
            raise ValueError(f"the result is empty: its shape would be {list(made.shape)}")
        changed = changed_paths(before, marks(module)) if module is not None else frozenset[str]()
        shapes = tuple(steps.shapes) if steps is not None else ()
        _runs[key] = MetaRun(tuple(made.shape), made.stride(), made.dtype, counter.get_total_flops(), changed, shapes)
    return _runs[key]


class _Steps(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Notes the shape of every tensor that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.shapes.append(tuple(made.shape))
        return made


def _written(use: LayerUse) -> object:
    wrapped = _written(use.wrapped) if use.wrapped is not None else None
    return use.name, _described(use.arguments), _described(use.keywords), wrapped


def _described(argument: Any) -> object:
    """An argument as a key: a tensor by its shape and type."""
    if isinstance(argument, Tensor):
        return Tensor, tuple(argument.shape), argument.stride(), argument.dtype
    if isinstance(argument, tuple):
        return tuple(map(_described, argument))
    return distinct(argument)
