"""Shapes, types and value ranges of every value, found by running the graph on tensors without storage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gangraph.build.variables import sizes
from gangraph.check.instantiate import (
    ANY,
    Interval,
    MisfitError,
    NetworkModel,
    first_line,
    instantiate,
    op_range,
    ranges,
    require_same_layers,
    variable_model,
)
from gangraph.check.meta_runs import run_op
from gangraph.check.misfits import misfit_of
from gangraph.check.naming import said
from gangraph.check.parameter_values import names_at, require_reached, type_of_parameters
from gangraph.data.random import RandomSource
from gangraph.errors import ArgumentError, Problem
from gangraph.graph.differentiability import passed
from gangraph.graph.kind import NodeKind, kinds
from gangraph.graph.kinds import SIGNS
from gangraph.graph.model import Graph, NetworkGraph, Node, Ref, with_arguments
from gangraph.graph.types import TensorType
from gangraph.registry import vocabulary
from gangraph.vocabulary.causal import levels_per_colour
from gangraph.vocabulary.layers import RandomLayer

_FORMULA = "a distance from a number is a formula, such as mean((value - 1) ** 2)"


@dataclass(frozen=True, slots=True)
class Types:
    """The result of inference. A node that is missing depends on one that has a problem.

    `calls` are networks as each call runs them, by node. `varying` are the shapes of values that have several, since
    sources give batches of several lengths (`check.lengths`); the longest stands in `nodes`. `batched` are the values
    whose first axis is the batch (`check.batch_axis`).
    """

    nodes: Mapping[str, TensorType]
    networks: Mapping[str, NetworkModel]
    problems: tuple[Problem, ...]
    calls: Mapping[str, NetworkModel] = field(default_factory=dict)
    varying: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    batched: frozenset[str] = frozenset()


def infer(
    graph: Graph, networks: Mapping[str, NetworkModel] | None = None, samples: Mapping[str, int] | None = None
) -> Types:
    """Run every node on tensors without storage.

    `networks` are those already instantiated by another graph, `samples` says how many a metric will see.
    """
    inference = _Inference(graph, dict(networks or {}), samples or {})
    late = _above_vectors(graph)
    for first in (True, False):  # the calls of networks come before the vectors of their parameters
        for node in graph.nodes.values():
            if (node.id not in late) is first:
                inference.add(node)
    for name in graph.starts:
        inference.begin(name)
    return Types(inference.types, inference.models, tuple(inference.problems), inference.called)


def _above_vectors(graph: Graph) -> set[str]:
    """What is about the parameters of networks, as their vectors and gradients are, and all computed from that."""
    found: set[str] = set()
    for node in graph.nodes.values():
        begins = graph.begun.get(graph.owner(node.target)) if node.is_call else None
        if node.of_parameters or node.by_parameters or not found.isdisjoint(node.needs) or begins in found:
            found.add(node.id)
    return found


class _Inference:
    """The nodes of a graph, inferred one after the other; the kinds of nodes ask for what is public."""

    def __init__(self, graph: Graph, models: dict[str, NetworkModel], samples: Mapping[str, int]) -> None:
        self.graph, self.models, self.samples = graph, models, samples
        self.types: dict[str, TensorType] = {}
        self.calls: dict[str, dict[str, TensorType]] = {}
        self.called: dict[str, NetworkModel] = {}
        self.instantiated: dict[object, NetworkModel] = {}
        self.spans: dict[tuple[int, tuple[Interval, ...]], Mapping[str, Interval]] = {}
        self.refused: set[tuple[str, tuple[tuple[int, ...], ...]]] = set()
        self.problems: list[Problem] = []

    def add(self, node: Node) -> None:
        """Infer one node, unless something beneath it, or what it stands for, has a problem."""
        beneath = (*node.inputs, node.origin) if node.origin else node.inputs
        if any(name not in self.types and name not in self.calls for name in beneath):
            return
        if node.kind != "output" and any(name not in self.types for name in node.inputs):
            self._needs_output(node)
            return
        made = self._made(kinds.of(node), node)
        if made is not None:
            self.types[node.id] = made

    def _made(self, kind: NodeKind, node: Node) -> TensorType | None:
        """The type that a kind of node infers; None, with a problem reported, where a plug-in fails."""
        try:
            made = kind.infer(self, node)
            if made is not None and not isinstance(made, TensorType):
                raise TypeError(f"it gives {made!r}, expected a TensorType")
        except (Exception, SystemExit) as error:  # a plug-in can raise anything
            self.problems.append(kind.fault(error, kind.infer, "the type of a value is inferred", node.span))
            return None
        return made

    def source(self, node: Node) -> TensorType:
        source = self.graph.sources[node.target]
        field = source.value if isinstance(source, RandomSource) else source.fields[node.field]
        return TensorType((self.graph.spec.batch, *field.shape), field.dtype, field.low, field.high)

    def gradient(self, node: Node) -> TensorType | None:
        output, at = node.inputs
        if output not in {at, *passed(self.graph, node)}:
            below = ", or only through what stops gradients" if at in self.graph.below(output) else ""
            self.report(
                "GG503",
                "the gradient is zero: the output does not depend on the input",
                node,
                found=f"{self._said(output)} is not computed from {self._said(at)}{below}",
            )
            return None
        return TensorType(self.types[at].shape, self.types[at].dtype)

    def parameter_gradient(self, node: Node) -> TensorType | None:
        owner = self.graph.owner(node.target)
        model = self.models.get(owner)
        if model is None or not names_at(node.place, model):  # of which the vector of the parameters tells
            return None
        reached = require_reached(self, self.graph, node, self.models)
        return type_of_parameters(self, node, model) if reached else None

    def operation(self, node: Node) -> TensorType | None:
        examples = {name: self.types[name].example() for name in node.inputs}
        traits = vocabulary[node.target].traits
        if traits.expects is not None:
            examples = {name: self._as_set(example, node) for name, example in examples.items()}
        arguments = [with_arguments(argument, examples) for argument in node.arguments]
        keywords = {key: with_arguments(value, examples) for key, value in node.keywords}
        try:
            if traits.expects is not None:
                traits.expects(*arguments, **keywords)
                return TensorType((), torch.float32)
            made = run_op(vocabulary[node.target], arguments, keywords)
        except (Exception, SystemExit) as error:  # torch raises many types; every one means that the inputs do not fit
            self._refused(node, error)
            return None
        known = {name: (self.types[name].low, self.types[name].high) for name in node.inputs}
        low, high = op_range(node, known, {name: self.types[name].shape for name in node.inputs})
        return TensorType(made.shape, made.dtype, low, high)

    def _refused(self, node: Node, error: BaseException) -> None:
        """Report that an op cannot take its values."""
        found = " and ".join(f"{self._said(name)} {self.types[name]}" for name in node.inputs) or "constants only"
        reason = (number := _number_for_a_value(node)) or first_line(error)
        expected, fix = "", _FORMULA if number and vocabulary[node.target].traits.compares else ""
        if isinstance(error, ArgumentError):
            reason, expected, fix = f"'{error.argument}' is {error.found}", error.expected, error.fix
        message = f"'{SIGNS.get(node.target, node.target)}' cannot take these values"
        self.report("GG403", message, node, found, reason=reason, expected=expected, fix=fix)

    def _as_set(self, example: Tensor, node: Node) -> Tensor:
        """An example of as many samples as a metric will see, if that is known."""
        count, batch = self.samples.get(node.id), self.graph.spec.batch
        if count is None or not example.dim() or example.shape[0] % batch:
            return example
        return torch.empty(
            (example.shape[0] // batch * count, *example.shape[1:]), dtype=example.dtype, device=example.device
        )

    def _needs_output(self, node: Node) -> None:
        call = self.graph.nodes[next(name for name in node.inputs if name in self.calls)]
        outputs = ", ".join(f".{name}" for name in self.calls[call.id])
        self.report(
            "GG316",
            f"network '{call.target}' has several outputs",
            node,
            found=call.target,
            expected=f"one of {outputs}",
        )

    def output(self, node: Node) -> TensorType | None:
        return self.calls.get(node.inputs[0], {}).get(node.field)

    def call(self, node: Node) -> TensorType | None:
        given = tuple(self.types[name] for name in node.inputs)
        graph = self._definition(node)
        if graph.spec.start is not None and not self.begin(self.graph.owner(node.target)):
            return None
        inputs = tuple(value.example() for value in given)
        try:
            self.called[node.id] = self._run(node.target, graph, inputs)
        except MisfitError as misfit:
            self._misfit(node, graph, given, misfit)
            return None
        made = self.called[node.id].made
        spans = self._spans(self.called[node.id], tuple((value.low, value.high) for value in given))
        outputs = {
            name: TensorType(tuple(made[name].shape), made[name].dtype, *spans.get(name, ANY)) for name in graph.outputs
        }
        if "" in outputs:
            return outputs[""]
        self.calls[node.id] = outputs
        return None

    def _spans(self, model: NetworkModel, given: tuple[Interval, ...]) -> Mapping[str, Interval]:
        """The range of each output of a network for inputs of these ranges; computed once for all such calls."""
        key = (id(model), given)
        if key not in self.spans:
            self.spans[key] = ranges(model, given)
        return self.spans[key]

    def parameters(self, node: Node) -> TensorType | None:
        owner = self.graph.owner(node.target)
        if owner in self.models or self.begin(owner):
            return type_of_parameters(self, node, self.models[owner])
        calls = [call for name in self.graph.networks for call in self.graph.calls(name)]
        if not any(self.graph.owner(call.target) == owner for call in calls) or not self.problems:
            self.report(
                "GG543",
                f"the parameters of '{owner}' are not known: nothing calls it before they are used",
                node,
                found=self._said(node.id),
                expected=f"a value with {owner}(...) that does not depend on them",
            )
        return None

    def autoregressive(self, node: Node) -> TensorType | None:
        """The image's type, if the call gives as many numbers for each of its pixels as a distribution has."""
        logits, image = (self.types[name] for name in node.inputs)
        try:
            self._require_drawable(node, logits, image)
        except ValueError as error:
            found = f"{self._said(node.inputs[0])} {logits} for {self._said(node.inputs[1])} {image}"
            self.report("GG572", "this network does not tell the pixels of this image", node, found, reason=str(error))
            return None
        return image

    def _require_drawable(self, node: Node, logits: TensorType, image: TensorType) -> None:
        """Refuse logits and an image of which no pixel can be drawn. Raises ValueError."""
        levels_per_colour(logits.example(), image.example())
        rows, model = dict(node.keywords).get("rows", 0), self.models[self.graph.owner(node.target)]
        if isinstance(rows, int) and rows > image.shape[2]:
            raise ValueError(f"rows is {rows}, and the image has {image.shape[2]}")
        if -math.inf < image.low < 0 or 1 < image.high < math.inf:
            raise ValueError(f"the image is in [{image.low:g}, {image.high:g}], and pixels are drawn in [0, 1]")
        if image.shape[0] != self.graph.spec.batch:
            raise ValueError(f"the image has {image.shape[0]} samples, and a batch {self.graph.spec.batch}")
        layers = (model.module.get_submodule(draw.path) for draw in model.draws)
        if any(isinstance(layer, RandomLayer) and not layer.only_in_training for layer in layers):
            raise ValueError(f"layers of {node.target} draw numbers of their own in evaluation mode")

    def _definition(self, node: Node) -> NetworkGraph:
        average = self.graph.averages.get(node.target)
        return self.graph.networks[average.of if average else node.target]

    def _run(self, name: str, graph: NetworkGraph, inputs: tuple[Tensor, ...]) -> NetworkModel:
        """The network of a call. The first call of a network makes its layers; later ones have to fit them."""
        average = self.graph.averages.get(name)
        owner = average.of if average else name
        if owner not in self.models:
            self.models[owner] = instantiate(graph, inputs)
        model = self.models[owner]
        shapes, types = tuple(tuple(x.shape) for x in inputs), tuple(x.dtype for x in inputs)
        if (shapes, types) == (model.input_shapes, model.input_types):
            return model
        if (owner, shapes, types) not in self.instantiated:
            other = instantiate(graph, inputs)
            require_same_layers(model, other)
            self.instantiated[owner, shapes, types] = other
        return self.instantiated[owner, shapes, types]

    def begin(self, name: str) -> bool:
        """Give a variable the shape of its first value, which is inferred before; returns whether that has a type."""
        start = self.graph.starts.get(name)
        known = self.types.get(start.id) if isinstance(start, Ref) else None
        shape = known.shape if known is not None else None if isinstance(start, Ref) else sizes(start)
        if name not in self.models and shape is not None:
            self.models[name] = variable_model(self.graph.networks[name], shape)
        return name in self.models

    def _said(self, node: str) -> str:
        return said(self.graph, node)

    def _misfit(self, node: Node, network: NetworkGraph, given: tuple[TensorType, ...], misfit: MisfitError) -> None:
        """Keep the problem that a network does not take what a call gives it, once for the same shapes."""
        refusal = (node.target, tuple(value.shape for value in given))
        if refusal not in self.refused:
            self.refused.add(refusal)
            model = self.models.get(self.graph.owner(node.target))
            self.problems.append(misfit_of(self.graph, node, network, given, misfit, model))

    def report(self, code: str, message: str, node: Node, found: str = "", **more: Any) -> None:
        self.problems.append(Problem(code=code, message=message, span=node.span, found=found, **more))


def _number_for_a_value(node: Node) -> str:
    """Which argument of an op that takes values is a number, if one is."""
    signature = vocabulary[node.target].signature
    given = signature.bind(*node.arguments, **dict(node.keywords)).arguments
    numbers = [n for n, value in given.items() if signature.parameters[n].annotation is Tensor and _is_number(value)]
    return f"'{numbers[0]}' is a value here, and {given[numbers[0]]} is a number" if numbers else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
