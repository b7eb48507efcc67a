"""The graph of named values: the one formalism of the training step and of every network."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.errors import Problem
from gangraph.graph.arguments import Argument, Ref, with_arguments
from gangraph.graph.closure import closure
from gangraph.graph.network import LayerUse, NetworkGraph
from gangraph.graph.node import Node
from gangraph.graph.update import Lookahead, ObjectiveGraph, UpdateGraph
from gangraph.language.spec import AverageSpec, EvaluatorSpec, PhaseSpec, SamplerSpec
from gangraph.language.tied import tied


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One phase of a spec as a graph. Nodes stand in topological order.

    A step runs the `updates` and then the `moves`, which move states and no parameter. `starts` are what variables
    begin as: nodes of the graph, or constants.
    """

    spec: PhaseSpec
    nodes: Mapping[str, Node]
    sources: Mapping[str, Source | RandomSource]
    networks: Mapping[str, NetworkGraph]
    averages: Mapping[str, AverageSpec]
    values: Mapping[str, str]
    losses: Mapping[str, str]
    updates: tuple[UpdateGraph, ...]
    evaluation: "Evaluation | None"
    starts: Mapping[str, Argument] = field(default_factory=dict)
    problems: tuple[Problem, ...]
    moves: tuple[UpdateGraph, ...] = ()

    @cached_property
    def step(self) -> tuple[UpdateGraph, ...]:
        """Every entry of the step in order."""
        return (*self.updates, *self.moves)

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """For each node those that are computed from it, in order."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for source in dict.fromkeys(node.needs):
                found[source].append(node.id)
        return {name: tuple(readers) for name, readers in found.items()}

    @cached_property
    def lookaheads(self) -> Mapping[str, Lookahead]:
        """Every way in which an objective looks ahead, by its node."""
        return {ahead.id: ahead for update in self.updates for ahead in update.lookaheads}

    @cached_property
    def as_written(self) -> "Graph":
        """The graph with the values that the spec writes alone: every objective at the networks as they are."""
        if not self.lookaheads:
            return self
        nodes = {name: node for name, node in self.nodes.items() if node.kind != "lookahead" and not node.origin}
        updates = [
            replace(update, objectives=tuple(replace(each, loss=each.written) for each in update.objectives))
            for update in self.updates
        ]
        return replace(self, nodes=nodes, updates=tuple(updates))

    @cached_property
    def begun(self) -> Mapping[str, str]:
        """The node of the first value of each variable; those that begin as constants are left out."""
        return {name: start.id for name, start in self.starts.items() if isinstance(start, Ref)}

    def surely(self, index: int, others: Iterable[int]) -> bool:
        """Whether an entry of the step runs exactly once in every step in which one of some others runs."""
        return all(self.step[index].timing.once_with(self.step[other].timing) for other in others)

    def below(self, *ids: str) -> set[str]:
        """The nodes and everything they are computed from."""
        return closure(ids, lambda name: self.nodes[name].needs)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """The place of each node in the order of the graph."""
        return {name: place for place, name in enumerate(self.nodes)}

    @cached_property
    def ancestors(self) -> Mapping[str, int]:
        """Each node and everything it is computed from as a set of bits: the bit number i is the i-th node.

        A table for all nodes takes as many bits as the square of their number: 3 MB for 5,000.
        """
        found: dict[str, int] = {}
        for place, (name, node) in enumerate(self.nodes.items()):
            bits = 1 << place
            for source in node.needs:
                bits |= found[source]
            found[name] = bits
        return found

    def named(self, bits: int) -> Iterator[str]:
        """The nodes of a set of bits, in order."""
        names = list(self.nodes)
        while bits:
            yield names[(bits & -bits).bit_length() - 1]
            bits &= bits - 1

    def depends(self, name: str, on: str) -> bool:
        """Whether a node is another one, or computed from it."""
        return bool(self.ancestors[name] >> self.positions[on] & 1)

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Some nodes in the order of the graph."""
        return sorted(names, key=self.positions.__getitem__)

    def title(self, index: int) -> str:
        """What messages call an update: its name, or its number (from 1) as well where others have the same name.

        States move at the end of the step, which has no name and no number; they stand beside it.
        """
        if self.step[index].states:
            return f"the end of the step ({', '.join(name for name, _ in self.step[index].states)})"
        names = [update.name for update in self.step]
        return f"'{names[index]}'" if names.count(names[index]) == 1 else f"update {index + 1} ({names[index]})"

    def owner(self, network: str) -> str:
        """The network whose layers a call runs: itself, or for an average the one that is averaged."""
        average = self.averages.get(network)
        return average.of if average else network

    @cached_property
    def tied(self) -> Mapping[str, tuple[str, ...]]:
        """For each network the others that have a part in common with it."""
        return tied(self.spec.networks)

    def is_data(self, node: Node) -> bool:
        """Whether a node is a field of data, and no random draw."""
        return node.is_source and not isinstance(self.sources[node.target], RandomSource)

    def drawn_from(self, node: Node) -> Node:
        """The call of a network that an image drawn pixel by pixel repeats."""
        made = self.nodes[node.inputs[0]]
        return self.nodes[made.inputs[0]] if made.kind == "output" else made

    def unwrapped(self, name: str) -> Node:
        """The value beneath forms such as `detach` and `at_first`, which leave its numbers as they are."""
        node = self.nodes[name]
        while node.is_same:
            node = self.nodes[node.inputs[0]]
        return node

    def read_for(self, name: str) -> tuple[str, ...]:
        """What is computed before a node: what it needs, or in place of a call that it repeats the inputs of that."""
        node = self.nodes[name]
        return self.drawn_from(node).inputs if node.kind == "autoregressive" else node.needs

    def draws_at(self, call: Node) -> dict[str, str]:
        """The nodes of what a network draws in a call, by the names of its inputs."""
        each = ((key, value.id) for key, value in call.keywords if isinstance(value, Ref))
        return {key: name for key, name in each if self.nodes[name].is_unwritten}

    def drawn_at(self, name: str) -> Node:
        """The first call for which a draw that the spec does not write is made."""
        return next(node for reader in self.readers[name] if (node := self.nodes[reader]).is_call)

    def trained(self, *objectives: ObjectiveGraph) -> tuple[str, ...]:
        """What the groups of some objectives train: networks, or parts of them as the spec writes them."""
        each = (name for objective in objectives for name in self.spec.optimizers[objective.group].trained)
        return tuple(dict.fromkeys(each))

    def calls(self, network: str) -> Iterator[Node]:
        """The calls of a network."""
        return (node for node in self.nodes.values() if node.is_call and node.target == network)

    @cached_property
    def value_names(self) -> Mapping[str, str]:
        """The nodes that the spec names as values; the first name where there are several."""
        return {node: name for name, node in reversed([*self.values.items()])}

    @cached_property
    def loss_names(self) -> Mapping[str, str]:
        """The nodes that the spec names as losses; the first name where there are several."""
        return {node: name for name, node in reversed([*self.losses.items()])}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What a person calls the nodes that have names: values, losses, and the objectives of updates by their ids."""
        objectives = {each.loss: each.loss for update in self.updates for each in update.objectives}
        return {**objectives, **self.loss_names, **self.value_names}

    def label(self, node: str) -> str:
        """What a person calls a node: the value or loss that it is, else its own id."""
        return self.names.get(node, node)

    @cached_property
    def differentiated_by(self) -> frozenset[str]:
        """The values with respect to which gradients are taken."""
        return frozenset(node.inputs[1] for node in self.nodes.values() if node.kind == "grad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A picture that is drawn on request: nodes by column or frame, and the node that stands above them."""

    spec: SamplerSpec
    columns: tuple[tuple[str, str], ...]
    above: str | None

    @property
    def shown(self) -> tuple[str, ...]:
        """The nodes that it shows."""
        return (*(node for _, node in self.columns), *((self.above,) if self.above is not None else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation shows and measures: grid columns by grid, metrics and results, each by name, and their graph.

    `evaluators` are the networks of the graph that other specs train.
    """

    graph: Graph
    grids: Mapping[str, tuple[tuple[str, str], ...]]
    metrics: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]
    evaluators: Mapping[str, EvaluatorSpec]
    samplers: Mapping[str, "Sampler"] = field(default_factory=dict)

    @property
    def every_time(self) -> tuple[str, ...]:
        """The nodes that are computed in every evaluation during training."""
        columns = (node for grid in self.grids.values() for _, node in grid)
        return tuple(dict.fromkeys((*columns, *(node for _, node in self.metrics))))

    @property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """Everything that is measured over many samples."""
        return (*self.results, *self.metrics)


__all__ = [
    "Argument", "Evaluation", "Graph", "LayerUse", "NetworkGraph", "Node",
    "Ref", "Sampler", "with_arguments",
]  # fmt: skip
