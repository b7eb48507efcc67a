"""Why a network does not take what a call gives it, and which sizes or batches it would take."""

from collections.abc import Iterator

from gangraph.check.instantiate import MisfitError, NetworkModel
from gangraph.check.naming import said
from gangraph.check.nearest_sizes import batches_that_work, pixels, sizes_that_work
from gangraph.errors import Problem
from gangraph.graph.kinds import SIGNS
from gangraph.graph.model import Graph, NetworkGraph, Node
from gangraph.graph.types import TensorType


def misfit_of(
    graph: Graph,
    call: Node,
    network: NetworkGraph,
    given: tuple[TensorType, ...],
    misfit: MisfitError,
    model: NetworkModel | None,
) -> Problem:
    """The problem of a call whose inputs are of the types `given`; `model` is the network where it is instantiated."""
    if misfit.state:
        name = network.layers[misfit.node.target].name
        return Problem(
            code="GG440",
            message=f"layer '{name}' keeps state that nothing knows of",
            span=misfit.node.span,
            found=misfit.reason,
            expected="state in buffers (register_buffer), of a layer that is registered with moves_state=True",
        )
    told = [(said(graph, name), kind) for name, kind in zip(call.inputs, given, strict=True)]
    found = " and ".join(f"{name} {kind}" for name, kind in told)
    if misfit.batch:
        works = [str(count) for count in batches_that_work(network, given)]
        return Problem(
            code="GG541",
            message=f"network '{call.target}' cannot take a batch of {given[0].shape[0]}",
            span=call.span,
            found=found,
            reason=misfit.reason,
            fix=f"the nearest batches that work: {' and '.join(works)}" if works else "",
        )
    sizes = sorted(sizes_that_work(network, given, model))
    numbers = (f"{name} is one number, and the network takes a batch there" for name, kind in told if not kind.shape)
    return Problem(
        code="GG402",
        message=f"network '{call.target}' does not fit its input",
        span=call.span,
        found=found,
        inside=tuple(_met(network, misfit)),
        reason=next(numbers, misfit.reason),
        fix=f"the nearest sizes that work: {' and '.join(map(pixels, sizes))}" if sizes else "",
    )


def _met(graph: NetworkGraph, misfit: MisfitError) -> Iterator[str]:
    """Which values, made where, met at the layer or op that could not take them."""
    at = misfit.node
    what = at.target.rpartition(".")[2] if at.kind == "layer" else SIGNS.get(at.target, at.target)
    yield f"{what} at {at.span} cannot take"
    for name, shape in misfit.inputs:
        maker = graph.nodes[name]
        own = (
            name
            if name in graph.spec.values or maker.kind == "input"
            else f"the result of {maker.target.rpartition('.')[2]}"
        )
        written = graph.spec.values[name].span if name in graph.spec.values else maker.span
        place = "the input" if maker.kind == "input" else f"made at {written}"
        yield f"    {own} [{', '.join(map(str, shape))}], {place}"
