"""The range of values in which a picture shows an image: what is declared, never what the data look like.

A value whose own type is bounded is shown in that range: a source declares one, and `tanh` and `sigmoid` have one. A
network without a bounded last layer is shown in the range of the data that the training compares its images with: what
else is fed to the same input of a network, or stands beside it in a loss of two images. A network that is only
evaluated is shown as the one whose parts it has. Where nothing is known, or where such data disagree, there is no
range, and a picture has to say how it shows the value.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gangraph.check.infer import Types
from gangraph.check.instantiate import ANY, Interval, op_range
from gangraph.check.phase import Checked
from gangraph.graph.closure import closure
from gangraph.graph.model import Graph, Node
from gangraph.graph.types import TensorType
from gangraph.registry import vocabulary

Place = tuple[str, str, str]  # a node, or an input or output of a network

_PROBE: Interval = (-3.0, 7.0)


@dataclass(frozen=True)
class Relations:
    """Which images of a training are of one kind, by where they meet."""

    checked: Checked

    @cached_property
    def places(self) -> Mapping[Place, set[Place]]:
        """Images, and the inputs and outputs of networks, each with those that it is or meets."""
        graph, types = self.checked.graph.as_written, self.checked.types
        places: defaultdict[Place, set[Place]] = defaultdict(set)
        for node in graph.nodes.values():
            for one, other in _meetings(graph, types, node):
                places[one].add(other)
                places[other].add(one)
        return dict(places)

    def relatives(self, place: Place) -> set[Place]:
        """The places of one kind with this one."""
        return closure((place,), self.places.__getitem__) if place in self.places else set()

    def sources(self, place: Place) -> tuple[str, ...]:
        """The nodes of data of that kind, in the order of the graph."""
        found = self.relatives(place)
        graph = self.checked.graph
        return tuple(n.id for n in graph.nodes.values() if graph.is_data(n) and node_at(n.id) in found)

    def output(self, owner: str, field: str = "") -> Interval | None:
        """The range of a network's output, or where training does not use it, of those that share parts with it."""
        place = output_at(owner, field)
        if place in self.places:
            return self.range(place)
        ranges = {self.range(output_at(other, field)) for other in self.checked.graph.tied.get(owner, ())} - {None}
        return ranges.pop() if len(ranges) == 1 else None

    def range(self, place: Place) -> Interval | None:
        """The one range that the data of this kind have, or without data the other bounded values of it."""
        known, found = self.checked.types.nodes, self.relatives(place)
        nodes = [name for kind, name, _ in sorted(found) if kind == "node"]
        for among in (self.sources(place), nodes):
            ranges = {each for name in among if (each := bounds(known.get(name))) is not None}
            if ranges:
                return ranges.pop() if len(ranges) == 1 else None
        return None


def node_at(name: str) -> Place:
    """The place of a node."""
    return ("node", name, "")


def output_at(owner: str, field: str = "") -> Place:
    """The place of a network's output."""
    return ("output", owner, field)


def input_at(owner: str, position: int) -> Place:
    """The place of a network's input."""
    return ("input", owner, str(position))


def bounds(made: TensorType | None) -> Interval | None:
    """The range of a type, if both its ends are known."""
    return _finite((made.low, made.high)) if made is not None else None


def picture_ranges(checked: Checked) -> dict[str, Interval]:
    """The range of every value of the evaluation that has one, by node."""
    evaluation, types = checked.graph.evaluation, checked.evaluation
    if evaluation is None or types is None:
        return {}
    graph, relations = evaluation.graph, Relations(checked)
    known: dict[str, Interval] = {}
    for node in graph.nodes.values():
        found = bounds(types.nodes.get(node.id)) or _of_node(graph, relations, node, known)
        if found is not None:
            known[node.id] = found
    return known


def _of_node(graph: Graph, relations: Relations, node: Node, known: Mapping[str, Interval]) -> Interval | None:
    """What relations, or the ranges of what it is computed from, tell of a value without bounds of its own."""
    match node.kind:
        case "network":
            return relations.output(graph.owner(node.target))
        case "output":
            return relations.output(graph.owner(graph.nodes[node.inputs[0]].target), node.field)
        case "op":
            return _finite(op_range(node, {name: known.get(name, ANY) for name in node.inputs}, {}))
    return known.get(node.inputs[0]) if node.is_same else None


def _finite(interval: Interval) -> Interval | None:
    low, high = interval
    return interval if float("-inf") < low < high < float("inf") else None


def _meetings(graph: Graph, types: Types, node: Node) -> Iterator[tuple[Place, Place]]:
    images = [name for name in node.inputs if _is_image(types.nodes.get(name))]
    match node.kind:
        case "network":
            owner = graph.owner(node.target)
            yield from ((node_at(name), input_at(owner, i)) for i, name in enumerate(node.inputs) if name in images)
            yield node_at(node.id), output_at(owner)
        case "output":
            yield node_at(node.id), output_at(graph.owner(graph.nodes[node.inputs[0]].target), node.field)
        case _ if node.is_same:
            yield node_at(node.id), node_at(node.inputs[0])
        case "op" if vocabulary[node.target].traits.compares:
            yield from ((node_at(images[0]), node_at(other)) for other in images[1:])
        case "op" if images and _is_image(types.nodes.get(node.id)) and _keeps_range(node, images):
            yield from ((node_at(node.id), node_at(name)) for name in images)


def _keeps_range(node: Node, images: list[str]) -> bool:
    """Whether an op of images of one range gives an image in that range: it resizes, crops or mixes them."""
    return op_range(node, {name: _PROBE if name in images else ANY for name in node.inputs}, {}) == _PROBE


def _is_image(made: TensorType | None) -> bool:
    return made is not None and len(made.shape) == 4


__all__ = ["Relations", "bounds", "input_at", "node_at", "output_at", "picture_ranges"]
