"""Draws the random numbers that layers take in calls of their networks."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from gangraph.check.infer import Types
from gangraph.check.phase import Checked
from gangraph.graph.model import Graph
from gangraph.lower.given_names import noise_name
from gangraph.run.draws import Draws
from gangraph.run.networks import Networks
from gangraph.run.settings import Settings
from gangraph.vocabulary.layers import RandomLayer


def _nothing(_: str) -> None:
    """Nothing is given."""


def drawn_noise(
    checked: Checked,
    networks: Networks,
    draws: Draws,
    settings: Settings,
    calls: Iterable[str],
    step: int,
    given: Callable[[str], Tensor | None] = _nothing,
) -> Iterator[tuple[str, Tensor]]:
    """The random numbers of the layers in some calls, by the names under which code reads them: given, or drawn."""
    graph, like = checked.graph, torch.empty(0, dtype=settings.dtype, device=settings.device)
    for call in calls:
        network = graph.owner(graph.nodes[call].target)
        batch = samples_of(graph, checked.types, call, draws.batch_now)
        for draw in checked.types.calls[call].draws:
            layer = networks.live[network].get_submodule(draw.path)
            assert isinstance(layer, RandomLayer)
            key = noise_name(call, draw.name)
            if (noise := given(key)) is None:
                noise = draws.noise(call, layer, draw.name, (batch, *draw.shape), step, like)
            yield key, noise


def samples_of(graph: Graph, types: Types, call: str, batch: int) -> int:
    """How many samples a call of a network has where a source has `batch`: as many, or those of several batches.

    Where none of its inputs has the batch as its first axis, as states and means over batches, it has as many as ever.
    """
    inputs = graph.nodes[call].inputs
    along = next((name for name in inputs if name in types.batched), None)
    if along is None:
        return types.nodes[inputs[0]].shape[0]
    return types.nodes[along].shape[0] * batch // graph.spec.batch
