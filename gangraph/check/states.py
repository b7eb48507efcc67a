"""Checks that what a state becomes has the type of the state."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.errors import Problem
from gangraph.graph.model import Graph
from gangraph.graph.types import TensorType
from gangraph.language.spec import StateSpec


def states_change_type(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG551: states that become a value of another shape, or of whole numbers, such as labels."""
    moved = [pair for entry in graph.moves for pair in entry.states]
    for name, node in moved:
        made, spec = types.nodes.get(node), graph.spec.states[name]
        if made is None:
            continue
        shape, message = list(spec.shape), ""
        if spec.shape and node in types.batched:
            message = f"the {spec.called} '{name}' would hold one entry for each sample, and each step has others"
        elif made.shape != spec.shape:
            message = f"the {spec.called} '{name}' begins as {shape or 'one number'}, and becomes {list(made.shape)}"
        elif not made.dtype.is_floating_point:
            message = f"the {spec.called} '{name}' becomes {_whole(made)}, and states are real numbers"
        if message:
            found = TensorType(made.shape, made.dtype)
            yield Problem(
                code="GG551",
                message=message,
                span=spec.next.span,
                found=str(found),
                expected=f"{shape}, as {_started(spec, spec.shape)} has it",
                fix=_fix(spec, made, graph.spec.batch),
            )


def _whole(made: TensorType) -> str:
    return f"whole numbers ({str(made.dtype).removeprefix('torch.')})"


def _started(spec: StateSpec, shape: tuple[int, ...]) -> str:
    """How a state of some shape begins, under the key where its section says so."""
    key = next((f"{key}:" for key, written in spec.written.items() if written == spec.start), "a start of")
    return f"{key} zeros({', '.join(map(str, shape))})" if shape else f"{key} 0"


def _fix(spec: StateSpec, made: TensorType, batch: int) -> str:
    """The nearest way to what is expected: a mean, or a start of another shape."""
    shape = spec.shape
    if not made.dtype.is_floating_point:
        return ""
    if made.shape and not shape:
        return "mean(...) of it"
    if made.shape and made.shape[0] == batch:
        mean = (1, *made.shape[1:])
        return "batch_mean(...) of it" + (f", and {_started(spec, mean)}" if shape != mean else "")
    return _started(spec, made.shape)
