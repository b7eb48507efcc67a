"""The random numbers of a step that come from no source: those of random layers, and the choices of histories.

Like batches they can be given to a step, so that the step can be compared with other code that draws its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gangraph.errors import UsageError
from gangraph.lower.given_names import noise_name
from gangraph.lower.model import Program
from gangraph.plan.model import UpdatePlan
from gangraph.run.given import Given, kind_text
from gangraph.run.noise import samples_of
from gangraph.views.plan import phrase
from gangraph.vocabulary.layers import RandomLayer


@dataclass(frozen=True, slots=True)
class Chance:
    """A tensor of random numbers that is drawn within a step, by a layer in a call of a network or by a history.

    `node` is the call or the history, `key` the name of the draw in the engine. `path` is the layer's path in its
    network; `size` is the number of places in the history's buffer.
    """

    key: str
    node: str
    path: str = ""
    shape: tuple[int, ...] = ()
    size: int = 0


def chances_of(program: Program) -> dict[str, Chance]:
    """All draws that can be given beside sources, by the names under which they are given.

    These are `fake:layers.noise_2` for a layer in a call and `fake:history` for a history. A call without a name stands
    as the spec writes it, `D(fake):layers.dropout`. A name that is taken gets a number, `fake:layers.dropout#2`.
    """
    found: dict[str, Chance] = {}
    counts = Counter[str]()
    for name, chance in _every(program):
        counts[name] += 1
        found[name if counts[name] == 1 else f"{name}#{counts[name]}"] = chance
    return found


def _every(program: Program) -> Iterator[tuple[str, Chance]]:
    graph, types = program.plan.checked.graph, program.plan.checked.types
    calls = {call for update in program.plan.step for call in update.noise}
    pasts = {name for update in program.plan.step for segment in update.segments for name in segment.histories}
    for node in graph.nodes.values():
        if node.id in calls:
            for draw in types.calls[node.id].draws:
                key = noise_name(node.id, draw.name)
                yield f"{phrase(graph, node.id)}:{draw.path}", Chance(key, node.id, draw.path, draw.shape)
        elif node.id in pasts and isinstance(size := node.arguments[1], int) and size:
            yield f"{phrase(graph, node.inputs[0])}:{node.kind}", Chance(node.id, node.id, size=size)


def times_of(chance: Chance, update: UpdatePlan, passes: int) -> int:
    """How often an update draws it, if it computes its values `passes` times."""
    if chance.path:
        return passes * (chance.node in update.noise)
    once = sum(chance.node in segment.histories for segment in update.before)
    return (once if passes else 0) + passes * sum(chance.node in segment.histories for segment in update.body)


class Chances:
    """The random draws of a program beside its sources, and those that are given to the present step.

    `like` is a tensor of the type, and on the device, of the random numbers of layers.
    """

    def __init__(self, program: Program, networks: Mapping[str, nn.Module], like: Tensor) -> None:
        self.program, self.networks, self.like = program, networks, like
        self.known = chances_of(program)
        self.batch = program.plan.checked.graph.spec.batch
        self._given: dict[str, list[Tensor]] = {}

    def parted(self, given: Given) -> tuple[dict[str, object], Given]:
        """What is given for these draws, and what is given for sources."""
        if not isinstance(given, Mapping) or self.known.keys().isdisjoint(given):
            return {}, given
        inside: dict[str, object] = {name: value for name, value in given.items() if name in self.known}
        return inside, {name: value for name, value in given.items() if name not in self.known}

    def begin(self, given: Mapping[str, object], passes: Sequence[int], batch: int) -> None:
        """Begin a step of `batch` samples, in which each update computes its values as often as `passes` says.

        Raises:
            UsageError: there are not as many tensors as draws, or one has another shape or kind of numbers than the
                engine would draw, or lies outside.
        """
        self.batch, self._given = batch, {}
        updates, found = self.program.plan.step, dict[str, list[Tensor]]()
        for name, value in given.items():
            chance = self.known[name]
            times = sum(times_of(chance, update, each) for update, each in zip(updates, passes, strict=True))
            found[chance.key] = [*_each(name, value, times, chance, self._example(chance))]
        self._given = found

    def taken(self, key: str) -> Tensor | None:
        """The next tensor that was given for a draw; None if it is to be drawn."""
        return self._given[key].pop(0) if key in self._given else None

    def shape(self, call: str, sample: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a value in a call of a network, of which a sample has the shape `sample`."""
        checked = self.program.plan.checked
        return (samples_of(checked.graph, checked.types, call, self.batch), *sample)

    def layer(self, network: str, path: str) -> RandomLayer:
        """A random layer of a network."""
        layer = self.networks[network].get_submodule(path)
        assert isinstance(layer, RandomLayer)
        return layer

    def _example(self, chance: Chance) -> Tensor:
        """A tensor of the shape and type that would be drawn."""
        graph = self.program.plan.checked.graph
        shape = self.shape(chance.node, chance.shape)
        if chance.size:
            return torch.empty(shape, dtype=torch.int64)
        layer = self.layer(graph.owner(graph.nodes[chance.node].target), chance.path)
        return layer.draw(shape, torch.Generator(), self.like)


def _each(name: str, value: object, times: int, chance: Chance, example: Tensor) -> Iterator[Tensor]:
    tensors: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    if len(tensors) != times:
        often = {0: "not drawn", 1: "drawn once"}.get(times, f"drawn {times} times")
        raise UsageError(f"'{name}' is {often} in this step, and {len(tensors)} tensors were given")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise UsageError(f"'{name}' is a tensor, not {kind_text(tensor)}")
        if tensor.shape != example.shape:
            raise UsageError(f"'{name}' is {list(example.shape)}; {list(tensor.shape)} was given")
        if tensor.is_floating_point() != example.is_floating_point() or tensor.is_complex():
            numbers = "floating-point numbers" if example.is_floating_point() else "whole numbers, torch.int64"
            raise UsageError(f"'{name}' holds {numbers}; {tensor.dtype} was given")
        if chance.size:
            low, high = (int(number) for number in torch.aminmax(tensor))
            if low < -1 or high >= chance.size:
                places = f"places from 0 to {chance.size - 1}, and -1 for none"
                raise UsageError(f"'{name}' holds {places}; {low} to {high} was given")
        yield tensor.to(example.device, example.dtype)
