"""The nearest sizes of images and batches that a network can take, for who gave it another."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gangraph.check.instantiate import MisfitError, NetworkModel, instantiate, require_same_layers
from gangraph.graph.model import NetworkGraph
from gangraph.graph.types import TensorType

Size = tuple[int, int]  # height and width
_POWERS = [2**k for k in range(10)]


def pixels(size: Size) -> str:
    """A size as messages write it: `64 px`, `64 x 96 px`."""
    return f"{size[0]} px" if size[0] == size[1] else f"{size[0]} x {size[1]} px"


def sizes_that_work(graph: NetworkGraph, given: tuple[TensorType, ...], known: NetworkModel | None) -> Iterator[Size]:
    """The nearest smaller and larger images that the network can take, with the layers that it has by now.

    Of images that differ in size, the size of the first where that works; none where no size mends a misfit.
    """
    if not given or any(len(value.shape) != 4 for value in given):
        return
    height, width = given[0].shape[2:]
    size = (height, width)
    if any(tuple(value.shape[2:]) != size for value in given) and _fits(graph, given, size, known):
        yield size
        return
    for side in (_smaller(size), _larger(size)):
        works = next((candidate for candidate in side if _fits(graph, given, candidate, known)), None)
        if works is not None:
            yield works


def _smaller(size: Size) -> list[Size]:
    """Sizes of which both sides are multiples of a power of two, the nearest first; square ones of a square."""
    found = {(size[0] // power * power, size[1] // power * power) for power in _POWERS}
    return sorted((each for each in found if min(each) > 0 and each != size), reverse=True)


def _larger(size: Size) -> list[Size]:
    found = {((size[0] // power + 1) * power, (size[1] // power + 1) * power) for power in _POWERS}
    found |= {(-(-size[0] // power) * power, -(-size[1] // power) * power) for power in _POWERS}
    return sorted(found - {size})


def batches_that_work(graph: NetworkGraph, given: tuple[TensorType, ...]) -> Iterator[int]:
    """The nearest smaller and larger batches that the network can take."""
    batch = given[0].shape[0]
    for side in (range(batch - 1, 1, -1), range(batch + 1, 2 * batch + 2)):
        works = next((count for count in side if _instantiates(graph, resized(given, count))), None)
        if works is not None:
            yield works


def resized(given: tuple[TensorType, ...], batch: int) -> tuple[Tensor, ...]:
    """Examples of another number of samples; one number for all of them stays one."""
    shapes = ((batch, *value.shape[1:]) if value.shape else () for value in given)
    return tuple(torch.empty(shape, dtype=v.dtype, device="meta") for shape, v in zip(shapes, given, strict=True))


def _fits(graph: NetworkGraph, given: tuple[TensorType, ...], size: Size, known: NetworkModel | None) -> bool:
    inputs = (torch.empty((*v.shape[:2], *size), dtype=v.dtype, device="meta") for v in given)
    return _instantiates(graph, tuple(inputs), known)


def _instantiates(graph: NetworkGraph, inputs: tuple[Tensor, ...], known: NetworkModel | None = None) -> bool:
    """Whether a network can take inputs, as the same layers that it is `known` to have."""
    try:
        made = instantiate(graph, inputs)
        if known is not None:
            require_same_layers(known, made)
    except MisfitError:
        return False
    return True
