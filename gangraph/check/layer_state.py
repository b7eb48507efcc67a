"""Which layers keep state that a call changes, and layers that change what they may not."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from gangraph.graph.model import LayerUse
from gangraph.registry import vocabulary


def layers_within(use: LayerUse) -> Iterator[LayerUse]:
    """A layer and those inside of it, the outermost first."""
    yield use
    if use.wrapped is not None:
        yield from layers_within(use.wrapped)


def moves_state(use: LayerUse, module: nn.Module) -> bool:
    """Whether a call in training changes buffers of a layer: as the layer declares, or else whether it has any."""
    told = [vocabulary[each.name].traits.moves_state for each in layers_within(use)]
    if next(module.buffers(), None) is None or all(each is False for each in told):
        return False
    return any(told) or None in told


def marks(module: nn.Module) -> dict[str, object]:
    """A mark of everything that a module keeps, by path; a call that changes something changes its mark."""
    kept: dict[str, object] = {}
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        own = ("_parameters", "_buffers", "_modules")
        for name, value in (*vars(part).items(), *part._parameters.items(), *part._buffers.items()):
            if name not in own:
                kept[prefix + name] = _mark(value)
    return kept


def _mark(value: Any) -> object:
    """A mark that differs between objects, and for a tensor or container before and after its contents change."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), tuple(map(_mark, value))
    if isinstance(value, dict):
        return tuple((key, _mark(each)) for key, each in value.items())
    return repr(value) if isinstance(value, int | float | str | None) else id(value)


def changed_paths(before: dict[str, object], after: dict[str, object]) -> frozenset[str]:
    """The paths at which something was changed, added or taken away."""
    return frozenset(
        path for path in before.keys() | after.keys() if before.get(path, before) != after.get(path, after)
    )


def misplaced(use: LayerUse, module: nn.Module, changed: frozenset[str]) -> str:
    """What is wrong with what a call changed in a layer; empty if the layer declares that it changes it."""
    buffers = {path for path, _ in module.named_buffers()}
    outside = sorted(changed - buffers)
    if outside:
        return f"a call changes '{outside[0]}', which is no buffer: no checkpoint would hold it"
    if changed and not moves_state(use, module):
        return f"a call changes the buffer '{min(changed)}', although the layer says moves_state=False"
    return ""
