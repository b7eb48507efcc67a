"""The graph of named values: the one formalism of the training step and of every network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import networkx as nx

from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.errors import Problem, Span
from gangraph.language.expression import Expression
from gangraph.language.sharing import kin
from gangraph.language.spec import AverageSpec, EvaluatorSpec, NetworkSpec, PhaseSpec

Kind = Literal[
    "stream",   # a field of a batch of data                 target: stream, field
    "random",   # a batch of random numbers                  target: source
    "scalar",   # a number over time                         expression
    "network",  # a call of a network                        target: network
    "output",   # one named output of a call                 field
    "op",       # a call of an op, loss or metric            target: its name
    "grad",     # gradient of the first input's sum with respect to the second
    "detach",   # the value, its gradient stopped
    "held",     # the value as it was when first computed in this step
    "history",  # past values mixed with the present one     target: buffer, arguments: size
    "input",    # an input of a network
    "layer",    # a layer of a network                       target: path of its module
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument that is another node's value."""

    id: str


Argument = Ref | int | float | str | bool | None | tuple["Argument", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value: what computes it, and from what."""

    id: str
    kind: Kind
    target: str = ""
    field: str = ""
    arguments: tuple[Argument, ...] = ()
    keywords: tuple[tuple[str, Argument], ...] = ()
    expression: Expression | None = None
    span: Span

    @property
    def over_time(self) -> Expression:
        """What a number over time is computed from."""
        assert self.expression is not None
        return self.expression

    @property
    def inputs(self) -> tuple[str, ...]:
        """The nodes this one is computed from, in order."""
        return tuple(_references((*self.arguments, *(value for _, value in self.keywords))))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """A layer of a network before its input is known: a registered name and its constant arguments."""

    name: str
    arguments: tuple[object, ...]
    keywords: tuple[tuple[str, object], ...]
    wrapped: "LayerUse | None" = None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGraph:
    """A network as a graph of layers, in topological order; `layers` maps module paths to what stands there."""

    spec: NetworkSpec
    nodes: Mapping[str, Node]
    layers: Mapping[str, LayerUse]
    outputs: Mapping[str, Argument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveGraph:
    """What one optimizer group minimises in an update: a node, with the sign already applied.

    `kin` are networks outside of the group that have a part in common with it, which moves with the group.
    """

    group: str
    networks: tuple[str, ...]
    loss: str
    span: Span
    kin: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[str, ...]:
        """Every network of which a parameter changes."""
        return (*self.networks, *self.kin)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGraph:
    """One entry of the step. `draws` is None where the update shares the draws of the one before it."""

    name: str
    objectives: tuple[ObjectiveGraph, ...]
    draws: tuple[str, ...] | None
    times: Expression | None
    every: Expression | None
    when: Expression | None
    then: tuple[tuple[str, str, tuple[object, ...]], ...]
    accumulate: int
    clip_grad_norm: Expression | None
    clip_grad_value: Expression | None
    span: Span

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network of which this update changes parameters: those of its groups and their kin."""
        named = (name for objective in self.objectives for name in objective.networks)
        return tuple(dict.fromkeys((*named, *(name for objective in self.objectives for name in objective.kin))))

    @property
    def kin(self) -> tuple[str, ...]:
        """The networks outside of its groups that share a part with one of them."""
        named = {name for objective in self.objectives for name in objective.networks}
        return tuple(name for name in self.networks if name not in named)

    @property
    def conditional(self) -> bool:
        """Whether a step may pass without this update."""
        return any(part is not None for part in (self.times, self.every, self.when))


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One phase of a spec as a graph. Nodes stand in topological order."""

    spec: PhaseSpec
    nodes: Mapping[str, Node]
    sources: Mapping[str, Source | RandomSource]
    networks: Mapping[str, NetworkGraph]
    averages: Mapping[str, AverageSpec]
    values: Mapping[str, str]
    losses: Mapping[str, str]
    updates: tuple[UpdateGraph, ...]
    evaluation: "Evaluation | None"
    problems: tuple[Problem, ...]

    @cached_property
    def digraph(self) -> nx.DiGraph:
        """Nodes and the edges between them."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from((source, node.id) for node in self.nodes.values() for source in node.inputs)
        return graph

    def below(self, *ids: str) -> set[str]:
        """The nodes and everything they are computed from."""
        return set(ids).union(*(nx.ancestors(self.digraph, name) for name in ids))

    def owner(self, network: str) -> str:
        """The network whose layers a call runs: itself, or for an average the one that is averaged."""
        average = self.averages.get(network)
        return average.of if average else network

    @cached_property
    def kin(self) -> Mapping[str, tuple[str, ...]]:
        """For each network the others that have a part in common with it."""
        return kin(self.spec.networks)

    def calls(self, network: str) -> Iterator[Node]:
        """The calls of a network."""
        return (node for node in self.nodes.values() if node.kind == "network" and node.target == network)

    def label(self, node: str) -> str:
        """What a person calls a node: the value or loss that it is, else its own id."""
        for names in (self.values, self.losses):
            for name, target in names.items():
                if target == node:
                    return name
        return node


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is looked at and measured: grid columns by grid, metrics and results, each by name, and their graph.

    `evaluators` are the networks of the graph that other specs train.
    """

    graph: Graph
    grids: Mapping[str, tuple[tuple[str, str], ...]]
    metrics: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]
    evaluators: Mapping[str, EvaluatorSpec]

    @property
    def looks(self) -> tuple[str, ...]:
        """The nodes that are computed at every look."""
        columns = (node for grid in self.grids.values() for _, node in grid)
        return tuple(dict.fromkeys((*columns, *(node for _, node in self.metrics))))

    @property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """Everything that is measured over many samples."""
        return (*self.results, *self.metrics)


def _references(arguments: tuple[Argument, ...]) -> Iterator[str]:
    for argument in arguments:
        if isinstance(argument, Ref):
            yield argument.id
        elif isinstance(argument, tuple):
            yield from _references(argument)


def with_arguments(argument: Argument, replace: Mapping[str, object]) -> object:
    """An argument with every reference replaced."""
    if isinstance(argument, Ref):
        return replace[argument.id]
    if isinstance(argument, tuple):
        return tuple(with_arguments(item, replace) for item in argument)
    return argument
