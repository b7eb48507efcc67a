"""Whether the numbers in a checkpoint's tensors are such as a run could have saved."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from gangraph.folder.checkpoint import Checkpoint, part
from gangraph.registry import optimizers
from gangraph.run.engine import Engine
from gangraph.run.plugin_calls import telling
from gangraph.traits import Range


def verify_numbers(engine: Engine, checkpoint: Checkpoint) -> None:
    """Look at every number, after names, shapes and types of the tensors were found to be those of a program.

    Raises:
        CheckpointError: one is NaN, a state is infinite, or an optimizer keeps what its steps cannot have left.
        RunError: an optimizer of a plug-in fails as it is asked for that.
    """
    for name, tensor in checkpoint.tensors.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise checkpoint.misfit(f"'{name}': found NaN, expected numbers")
        if name.startswith("state/") and not tensor.isfinite().all():
            raise checkpoint.misfit(f"'{name}': found infinity, expected numbers")
    for group in engine.parameters:
        for name, found, expected in _odd(engine, group, part(checkpoint.tensors, f"optimizer/{group}/")):
            raise checkpoint.misfit(f"'optimizer/{group}/{name}': found {found}, expected {expected}")


def _odd(engine: Engine, group: str, kept: Mapping[str, Tensor]) -> Iterator[tuple[str, str, str]]:
    """What the optimizer of a group cannot have kept: the name of a tensor, what was found, and what was expected."""
    spec = engine.graph.spec.optimizers[group]
    traits = optimizers[spec.kind].traits
    for name, tensor in kept.items():
        if (within := (traits.keeps or {}).get(name.partition(".")[2])) is not None:
            yield from ((name, found, expected) for found, expected in _beyond(tensor, within))
    if traits.refuses_state is not None:
        states = [part(kept, f"{index}.") for index in range(len(engine.parameters[group]))]
        with telling(f"the optimizer '{spec.kind}'", spec.span, traits.refuses_state):
            odd = [(f"{index}.{key}", found, expected) for index, key, found, expected in traits.refuses_state(states)]
        yield from odd


def _beyond(tensor: Tensor, within: Range | range) -> Iterator[tuple[str, str]]:
    """The first number of a tensor that does not lie within bounds, and what was expected."""
    least, greatest = (within.start, within.stop - 1) if isinstance(within, range) else within
    bad = (tensor < least) | (tensor > greatest)
    if greatest < float("inf"):  # which a shorter type than float64 may round to infinity
        bad |= ~tensor.isfinite()
    if isinstance(within, range):
        bad |= tensor != tensor.round()
    if bad.any():
        yield f"{tensor[bad][0].item():g}", _said(within)


def _said(within: Range | range) -> str:
    if isinstance(within, range):
        return f"a count up to {within.stop - 1:,}" if within.start == 0 else f"a count in {within}"
    least, greatest = within
    if greatest == float("inf"):
        return "no negative number" if least == 0 else f"{least:g} or more"
    return "finite numbers" if least == -greatest else f"numbers from {least:g} to {greatest:g}"
