"""The states of a run: tensors that a step leaves to the next."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from gangraph.graph.model import Graph
from gangraph.run.settings import Settings


class States:
    """The present values of the states of a phase, by name, in the precision of the run."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        self.tensors: dict[str, Tensor] = {
            name: torch.full(spec.shape, spec.value, dtype=settings.dtype, device=settings.device)
            for name, spec in graph.spec.states.items()
        }
        self._nodes = [node for node in graph.nodes.values() if node.is_state]

    def values(self) -> Iterator[tuple[str, Tensor]]:
        """The nodes that read a state, each with its present value."""
        return ((node.id, self.tensors[node.target]) for node in self._nodes)

    def move(self, after: Mapping[str, Tensor]) -> None:
        """Set states to their new values, all at once, without gradients."""
        self.tensors |= {
            name: torch.empty_like(self.tensors[name]).copy_(value.detach()) for name, value in after.items()
        }

    @property
    def numbers(self) -> dict[str, Tensor]:
        """The states that are one number, which a run reports beside its losses."""
        return {name: tensor for name, tensor in self.tensors.items() if not tensor.dim()}

    def take_over(self, before: Mapping[str, Tensor]) -> Iterable[str]:
        """Take over states of the same name and shape; returns the names of those that begin anew."""
        kept = {n: t for n, t in before.items() if n in self.tensors and self.tensors[n].shape == t.shape}
        self.move(kept)
        return [name for name in self.tensors if name not in kept]
