"""A network as a graph of layers, and which inputs and layers a gradient comes to from each of its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gangraph.data.random import RandomSource
from gangraph.errors import Span
from gangraph.graph import kinds as _kinds  # noqa: F401  (registers the kinds of nodes)
from gangraph.graph.arguments import Argument, Ref
from gangraph.graph.node import Node
from gangraph.language.spec import NetworkSpec
from gangraph.registry import vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """A layer of a network before its input is known: a registered name and its constant arguments."""

    name: str
    arguments: tuple[object, ...]
    keywords: tuple[tuple[str, object], ...]
    wrapped: "LayerUse | None" = None
    span: Span

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the values that the layer, or the layer that it wraps, takes in a run."""
        return self.wrapped.inputs if self.wrapped is not None else vocabulary[self.name].inputs


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a gradient comes to from one output of a network: inputs by name, and layers by the paths of modules."""

    inputs: frozenset[str]
    layers: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class NetworkGraph:
    """A network as a graph of layers, in topological order; `layers` maps module paths to what stands there.

    `draws` are what the inputs of that name are drawn from where a call does not give them.
    """

    spec: NetworkSpec
    nodes: Mapping[str, Node]
    layers: Mapping[str, LayerUse]
    outputs: Mapping[str, Argument]
    draws: Mapping[str, RandomSource] = field(default_factory=dict)

    @property
    def is_function(self) -> bool:
        """Whether it has no layers and is no variable, so that it has no parameters and no state."""
        return not self.layers and self.spec.start is None

    @cached_property
    def flows(self) -> Mapping[str, Flow]:
        """For each output by name where a gradient comes to from it."""
        return {name: self._flow(output) for name, output in self.outputs.items()}

    def _flow(self, output: Argument) -> Flow:
        waiting = [output.id] if isinstance(output, Ref) else []
        known, inputs, layers = set(waiting), set[str](), set[str]()
        while waiting:
            node = self.nodes[waiting.pop()]
            if node.kind == "input":
                inputs.add(node.target)
            elif node.kind == "variable":
                layers.add(node.target)
            elif not self._stops(node):
                layers |= {node.target} if node.kind == "layer" else set()
                fresh = {*node.inputs} - known
                waiting += fresh
                known |= fresh
        return Flow(frozenset(inputs), frozenset(layers))

    def _stops(self, node: Node) -> bool:
        """Whether no gradient passes through a layer or an op."""
        name = self.layers[node.target].name if node.kind == "layer" else node.target
        return vocabulary[name].traits.stops_gradient
