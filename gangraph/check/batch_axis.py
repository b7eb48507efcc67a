"""Where the batch of one value meets a feature axis of another.

Shapes alone do not tell a batch of eight from eight features, so every value is followed for another batch as well: the
axes that differ are the batch's. It is the first axis of a value and no other, and no layer's size follows from it. Ops
and layers that are made to compare the samples of a batch (the trait `mixes_samples`) may do as they like. They can
make values of pairs of samples, [B, B]; what is computed of these may have the second batch where they have it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gangraph.check.infer import Types
from gangraph.check.instantiate import NetworkModel, make_layer
from gangraph.check.meta_runs import MetaRun, layer_key, run_layer, run_op
from gangraph.check.mixing import mixes
from gangraph.check.naming import said
from gangraph.errors import Problem
from gangraph.graph.kinds import SIGNS, kinds
from gangraph.graph.model import Graph, LayerUse, Node, Ref, with_arguments
from gangraph.registry import vocabulary
from gangraph.vocabulary.coupled import BatchError

_TIMES = 3  # the other batch is this many times the spec's: ops that need a multiple of something can take both
_IMAGES = 4  # axes of a value whose first axis no layer takes for anything but the batch

Pair = tuple[Tensor, Tensor]  # one value in the spec's batch and in the other, without storage


def follow_batch(
    graph: Graph, seen: Types, batched: Collection[str] = ()
) -> tuple[frozenset[str], tuple[Problem, ...]]:
    """The values whose first axis is the batch, and GG412: every place where the batch does not stay the first axis.

    `batched` are variables with a batch that are defined outside of the graph.
    """
    follower, problems = _Follower(graph, seen, batched), list[Problem]()
    for node in graph.nodes.values():
        problems += follower.follow(node)
    return frozenset(name for name, pair in follower.pairs.items() if _has_samples(pair)), tuple(problems)


def variables_per_sample(graph: Graph, seen: Types) -> frozenset[str]:
    """The variables that have one tensor for each sample of a batch: those whose first value has the batch axis."""
    return frozenset(name for name, node in graph.begun.items() if node in seen.batched)


class _StrayError(Exception):
    """The batch does not stay the first axis; `inside` says where in a network, if it is one."""

    def __init__(self, reason: str = "", *inside: str) -> None:
        self.reason, self.inside = reason, inside
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class _Follower:
    """Follows the values of a graph; one that has a problem, or comes from such a one, is left out."""

    graph: Graph
    seen: Types
    batched: Collection[str] = ()
    pairs: dict[str, Pair] = field(default_factory=dict)
    outputs: dict[str, Mapping[str, Pair]] = field(default_factory=dict)
    told: dict[object, Mapping[str, Pair] | None] = field(default_factory=dict)

    def follow(self, node: Node) -> Iterator[Problem]:
        """The problem of a node whose inputs have none."""
        if any(name not in self.pairs and name not in self.outputs for name in node.inputs):
            return
        try:
            if node.is_call and node.id in self.seen.calls:
                self._network(node)
            elif node.kind == "output":
                self.pairs[node.id] = self.outputs[node.inputs[0]][node.field]
            elif node.id in self.seen.nodes:
                self.pairs[node.id] = self._value(node)
        except _StrayError as stray:
            yield self._problem(node, stray)

    def _value(self, node: Node) -> Pair:
        made, kind = self.seen.nodes[node.id], kinds.of(node)
        if node.kind == "op" and vocabulary[node.target].traits.expects is None:
            try:
                return _op(node, self.pairs)
            except BatchError:  # the other batch is none that it can take
                return _as_inputs(made.example(), self._given(node))
        if node.is_source:
            return made.example(), _scaled(made.example())
        if kind.like is not None:
            return self.pairs[node.inputs[kind.like]]
        given = self._given(node) if kind.target != "network" else ()  # parameters and gradients at them have no batch
        return _as_inputs(made.example(), given)  # numbers over time, states, what sees whole sets, kinds of plug-ins

    def _given(self, node: Node) -> list[Pair]:
        return [self.pairs[name] for name in node.inputs]

    def _network(self, node: Node) -> None:
        model = self.seen.calls[node.id]
        if model.graph.spec.start is not None:
            self.pairs[node.id] = self._variable(self.graph.owner(node.target), model)
            return
        given = self._given(node)
        key = (id(model), tuple(tuple(other.shape) for _, other in given))
        if key not in self.told:
            self.told[key] = None
            try:
                self.told[key] = _Network(model, dict(zip(model.graph.spec.inputs, given, strict=True))).outputs()
            except BatchError:  # the other batch is none that it can take
                self.told[key] = {name: _as_inputs(made, given) for name, made in model.made.items()}
        outputs = self.told[key]
        if outputs is not None and "" in outputs:
            self.pairs[node.id] = outputs[""]
        elif outputs is not None:
            self.outputs[node.id] = outputs

    def _variable(self, name: str, model: NetworkModel) -> Pair:
        """The shapes of a variable, which has a batch if its first value has one."""
        start, made = self.graph.begun.get(name), model.made[""]
        if start is not None:
            return self.pairs[start]
        return made, _scaled(made) if name in self.batched else made

    def _problem(self, node: Node, stray: _StrayError) -> Problem:
        given = [(name, self.seen.nodes[name]) for name in node.inputs]
        found = " and ".join(f"{said(self.graph, name)} {made}" for name, made in given)
        message = f"'{SIGNS.get(node.target, node.target)}' lines up the batch with another axis"
        if node.is_call:
            message = f"network '{node.target}' takes the batch as features"
        return Problem(
            code="GG412",
            message=message,
            span=node.span,
            found=f"{found}, in a batch of {self.graph.spec.batch}",
            inside=stray.inside,
            reason=stray.reason,
            expected="values that have the batch as their first axis, and equally many axes",
            fix=self._fix(node, max(2 * node.is_call, *(len(made.shape) for _, made in given))),
        )

    def _fix(self, node: Node, axes: int) -> str:
        """How a value of one axis would get as many as the others, if that makes it fit."""
        short = next((name for name in node.inputs if len(self.seen.nodes[name].shape) == 1 < axes), None)
        if short is None:
            return ""
        if node.is_call or _has_samples(self.pairs[short]):
            return f"reshape({said(self.graph, short)}, {', '.join(['1'] * (axes - 1))})"
        row = self.pairs[short][0].reshape(*[1] * (axes - 1), -1)
        try:
            _op(node, {**self.pairs, short: (row, row)})
        except (_StrayError, BatchError):
            return ""
        return f'rearrange({said(self.graph, short)}, "n -> {"1 " * (axes - 1)}n")'


_layers: dict[object, tuple[list[torch.Size], MetaRun]] = {}  # sizes of parameters, and what the layer gives


@dataclass(frozen=True, slots=True)
class _Network:
    """One call of a network, whose layers are known."""

    model: NetworkModel
    pairs: dict[str, Pair]

    def outputs(self) -> Mapping[str, Pair]:
        """What the call gives. Raises _StrayError, BatchError."""
        graph = self.model.graph
        for node in graph.nodes.values():
            if node.kind != "input":
                self.pairs[node.id] = self._inner(node)
        return {name: self.pairs[ref.id] for name, ref in graph.outputs.items() if isinstance(ref, Ref)}

    def _inner(self, node: Node) -> Pair:
        use = self.model.graph.layers[node.target] if node.kind == "layer" else None
        try:
            return self._layer(node, use) if use is not None else _op(node, self.pairs)
        except _StrayError as stray:
            name = use.name if use is not None else SIGNS.get(node.target, node.target)
            shapes = " and ".join(str(list(self.pairs[each][0].shape)) for each in node.inputs)
            raise _StrayError(stray.reason, f"{name} at {node.span}", f"    takes {shapes}") from None

    def _layer(self, node: Node, use: LayerUse) -> Pair:
        """A layer is run again where its input is no image: those are costly, and their first axis is the batch."""
        pairs = [self.pairs[name] for name in node.inputs]
        given, other = pairs[0]
        made = torch.empty(self.model.shapes[node.id], dtype=self.model.types[node.id], device="meta")
        if len(pairs) == 1 and given.dim() >= _IMAGES and made.shape[:1] == given.shape[:1]:
            return made, torch.empty((other.shape[0], *made.shape[1:]), dtype=made.dtype, device="meta")
        others = [each for _, each in pairs]
        key = layer_key(use, others)
        if key not in _layers:
            with torch.device("meta"):
                layer = make_layer(use, others)
            _layers[key] = [p.shape for p in layer.parameters()], run_layer(use, layer, others)
        sizes, run = _layers[key]
        if [p.shape for p in self.model.module.get_submodule(node.target).parameters()] != sizes:
            raise _StrayError("the size of this layer would follow from the batch")
        again = run.example()
        if not vocabulary[use.name].mixes_samples():
            _require_in_place(made, again, pairs)
        return made, again


def _op(node: Node, pairs: Mapping[str, Pair]) -> Pair:
    """What an op gives. Raises _StrayError, BatchError."""
    definition = vocabulary[node.target]
    runs = []
    for index in (0, 1):
        known = {name: pairs[name][index] for name in node.inputs}
        arguments = [with_arguments(argument, known) for argument in node.arguments]
        try:
            runs.append(
                run_op(definition, arguments, {key: with_arguments(value, known) for key, value in node.keywords})
            )
        except BatchError:
            raise
        except Exception:  # torch raises many types; every one means that it fits the one batch and not the other
            raise _StrayError(f"it fits because the batch is {_batch(node, pairs)}, and no other") from None
    inputs = [pairs[name] for name in node.inputs]
    batched = {name: pairs[name][0] if _is_batched(pairs[name]) else None for name in node.inputs}
    if definition.traits.has_samples and not mixes(node, batched):
        _require_in_place(runs[0].example(), runs[1].example(), inputs)
        most = max((value.dim() for value, _ in inputs), default=0)
        unlike = any(value.dim() < most and _has_samples((value, other)) for value, other in inputs)
        if unlike and any(one[1:] != two[1:] for one, two in zip(runs[0].steps, runs[1].steps, strict=False)):
            raise _StrayError
    return runs[0].example(), runs[1].example()


def _is_batched(pair: Pair) -> bool:
    """Whether any axis of a value follows the batch."""
    return pair[0].shape != pair[1].shape


def _has_samples(pair: Pair) -> bool:
    """Whether the first axis of a value is the batch."""
    return pair[0].shape[:1] != pair[1].shape[:1]


def _batch(node: Node, pairs: Mapping[str, Pair]) -> int:
    shapes = [(pairs[name][0].shape, pairs[name][1].shape) for name in node.inputs]
    return next((one[0] for one, two in shapes if one and one[0] != two[0]), 0)


def _require_in_place(made: Tensor, again: Tensor, inputs: Sequence[Pair]) -> None:
    """Refuse a value whose first axis is not exactly the batch, or in which the batch has become another axis."""
    batched = any(map(_has_samples, inputs))
    of_pairs = any(value.shape[1:] != other.shape[1:] for value, other in inputs)
    follows = not made.dim() or again.shape[0] == (_TIMES if batched else 1) * made.shape[0]
    if made.dim() != again.dim() or (made.shape[1:] != again.shape[1:] and not of_pairs) or not follows:
        raise _StrayError


def _as_inputs(made: Tensor, inputs: Sequence[Pair]) -> Pair:
    """A value that cannot be made in the other batch: it has the batch if it begins with the same axis as an input."""
    along = any(_has_samples(pair) and pair[0].shape[:1] == made.shape[:1] for pair in inputs)
    return made, _scaled(made) if along else made


def _scaled(made: Tensor) -> Tensor:
    return torch.empty((_TIMES * made.shape[0], *made.shape[1:]), dtype=made.dtype, device="meta")
