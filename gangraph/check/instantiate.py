"""A network's graph and the shapes of its inputs to a `torch.fx` module without storage.

Layers are made as the example input reaches them, so every number of input channels is inferred by the very
modules that will run.
"""

import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from gangraph.build.network import INFERRED
from gangraph.check.layer_state import layers_within, misplaced, moves_state
from gangraph.check.meta_runs import MetaRun, run_layer, run_op
from gangraph.check.mixing import mixing_ops
from gangraph.graph.code_names import value_name
from gangraph.graph.model import Argument, LayerUse, NetworkGraph, Node, Ref, with_arguments
from gangraph.language.spec import VARIABLE
from gangraph.registry import vocabulary
from gangraph.vocabulary.coupled import BatchError
from gangraph.vocabulary.layers import RandomLayer

Interval = tuple[float, float]
ANY: Interval = (float("-inf"), float("inf"))

# Arithmetic prints as operators in generated code.
OPERATORS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv, "pow": operator.pow,
    "neg": operator.neg,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers that one layer takes: its input's shape without the batch."""

    name: str
    path: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkModel:
    """A network whose layers are known. `module` is on the meta device until a run gives it storage.

    `made` holds its outputs for inputs of `input_shapes` and `input_types`, by name, without storage; `shapes` and
    `types` are those of every value inside. `state` names the layers whose buffers every call in training moves, and
    `coupling` those by which samples depend on each other: of a network that is frozen for good, in evaluation mode.
    """

    graph: NetworkGraph
    module: fx.GraphModule
    input_shapes: tuple[tuple[int, ...], ...]
    input_types: tuple[torch.dtype, ...]
    made: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, torch.dtype]
    draws: tuple[Draw, ...]
    parameters: int
    flops: int
    coupling: tuple[str, ...]
    state: tuple[str, ...]
    last_ops: Mapping[str, str]

    @property
    def mixes_samples(self) -> bool:
        """Whether a sample's output depends on the other samples of its batch, by one of the layers in `coupling`."""
        return bool(self.coupling)

    @property
    def couples_always(self) -> bool:
        """Whether samples depend on each other in evaluation mode too."""
        return any(not vocabulary[name].traits.only_in_training for name in self.coupling)

    @property
    def single(self) -> bool:
        """Whether a call gives one tensor, not a dictionary of named ones."""
        return tuple(self.graph.outputs) == ("",)


class MisfitError(Exception):
    """A layer or op cannot take its input, if `batch` so many samples; or, if `state`, keeps state that it may not."""

    def __init__(
        self,
        node: Node,
        inputs: tuple[tuple[str, tuple[int, ...]], ...],
        reason: str,
        *,
        batch: bool = False,
        state: bool = False,
    ) -> None:
        self.node, self.inputs, self.reason, self.batch, self.state = node, inputs, reason, batch, state
        super().__init__(reason)


def instantiate(graph: NetworkGraph, inputs: tuple[Tensor, ...]) -> NetworkModel:
    """Instantiate the network's layers for inputs of these shapes (tensors on the meta device).

    Raises:
        MisfitError: a layer or op cannot take its input.
    """
    instantiation = _Instantiation(graph, inputs)
    for node in graph.nodes.values():
        instantiation.add(node)
    module = instantiation.finish()
    layers = [vocabulary[each.name] for use in graph.layers.values() for each in layers_within(use)]
    frozen = graph.spec.frozen
    mixing = [d.name for d in layers if d.mixes_samples() and not (frozen and d.traits.only_in_training)]
    mixing += [graph.nodes[name].target for name in mixing_ops(graph.nodes.values(), instantiation.examples)]
    return NetworkModel(
        graph=graph,
        module=module,
        input_shapes=tuple(tuple(x.shape) for x in inputs),
        input_types=tuple(x.dtype for x in inputs),
        made=instantiation.outputs(),
        shapes={name: tuple(value.shape) for name, value in instantiation.examples.items()},
        types={name: value.dtype for name, value in instantiation.examples.items()},
        draws=tuple(instantiation.draws),
        parameters=sum(p.numel() for p in module.parameters()),
        flops=instantiation.flops,
        coupling=tuple(dict.fromkeys(mixing)),
        state=() if frozen else tuple(dict.fromkeys(instantiation.state())),
        last_ops={name: graph.nodes[ref.id].target for name, ref in graph.outputs.items() if isinstance(ref, Ref)},
    )


def variable_model(graph: NetworkGraph, shape: tuple[int, ...]) -> NetworkModel:
    """The model of a variable: a network with one parameter of this shape."""
    example = torch.empty(shape, device="meta")
    root, code = nn.Module(), fx.Graph()
    root.register_parameter(VARIABLE, nn.Parameter(example))
    code.output(code.get_attr(VARIABLE))
    return NetworkModel(
        graph=graph,
        module=fx.GraphModule(root, code, class_name=graph.spec.template),
        input_shapes=(),
        input_types=(),
        made={"": example},
        shapes={VARIABLE: tuple(example.shape)},
        types={VARIABLE: example.dtype},
        draws=(),
        parameters=example.numel(),
        flops=0,
        coupling=(),
        state=(),
        last_ops={},
    )


class _Instantiation:
    """Runs the example through the graph while writing the fx graph."""

    def __init__(self, graph: NetworkGraph, inputs: tuple[Tensor, ...]) -> None:
        self.graph = graph
        self.fx = fx.Graph()
        self.root = nn.Module()
        self.modules: dict[str, nn.Module] = {}
        self.written: dict[str, Any] = {}
        self.examples: dict[str, Tensor] = {}
        self.draws: list[Draw] = []
        self.flops = 0
        for name, example in zip(graph.spec.inputs, inputs, strict=True):
            self.written[name] = written = self.fx.placeholder(value_name(name))
            written.target = written.name  # fx makes this a free Python name, which the target need not be
            self.examples[name] = example
        self.last_input = self.written[graph.spec.inputs[-1]]

    def add(self, node: Node) -> None:
        if node.kind == "input":
            return
        try:
            run = (self._layer if node.kind == "layer" else self._op)(node)
        except MisfitError:
            raise
        except Exception as error:  # torch's layers raise many types; every one means that the input does not fit
            shapes = tuple((name, tuple(self.examples[name].shape)) for name in node.inputs)
            raise MisfitError(node, shapes, first_line(error), batch=isinstance(error, BatchError)) from None
        self.examples[node.id], self.flops = run.example(), self.flops + run.flops

    def _layer(self, node: Node) -> MetaRun:
        examples = [self.examples[source] for source in node.inputs]
        use = self.graph.layers[node.target]
        module = self._module(node.target, use, examples)
        arguments = [self.written[source] for source in node.inputs]
        if isinstance(module, RandomLayer) and (module.training or not module.only_in_training):
            arguments.append(self._draw(node, tuple(examples[0].shape[1:])))
        self.written[node.id] = self.fx.create_node(
            "call_module", node.target, tuple(arguments), name=value_name(node.id)
        )
        run = run_layer(use, module, examples)
        if wrong := misplaced(use, module, run.moved):
            shapes = tuple((name, tuple(self.examples[name].shape)) for name in node.inputs)
            raise MisfitError(node, shapes, wrong, state=True)
        return run

    def _draw(self, node: Node, shape: tuple[int, ...]) -> Any:
        name = f"{value_name(node.id)}_draw"
        with self.fx.inserting_after(self.last_input):
            self.last_input = self.fx.placeholder(name, default_value=None)
        self.draws.append(Draw(name, node.target, shape))
        return self.last_input

    def _module(self, path: str, use: LayerUse, examples: Sequence[Tensor]) -> nn.Module:
        if path in self.modules:
            return self.modules[path]
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # what such a layer gives is refused
            module = make_layer(use, examples).train(not self.graph.spec.frozen)
        _require_padding(module)
        parent, _, leaf = path.rpartition(".")
        if parent not in self.modules:
            self.modules[parent] = nn.Module()
            self.root.add_module(parent, self.modules[parent])
        self.modules[parent].add_module(leaf, module)
        self.modules[path] = module
        return module

    def _op(self, node: Node) -> MetaRun:
        examples = [with_arguments(argument, self.examples) for argument in node.arguments]
        keywords = {key: with_arguments(value, self.examples) for key, value in node.keywords}
        self.written[node.id] = write_op(self.fx, node, self.written, value_name(node.id))
        return run_op(vocabulary[node.target], examples, keywords)

    def state(self) -> Iterator[str]:
        """The layers whose buffers a call in training moves."""
        return (use.name for path, use in self.graph.layers.items() if moves_state(use, self.modules[path]))

    def outputs(self) -> dict[str, Tensor]:
        """The network's outputs for the example."""
        return {name: self.examples[ref.id] for name, ref in self.graph.outputs.items() if isinstance(ref, Ref)}

    def finish(self) -> fx.GraphModule:
        outputs: dict[str, Any] = {name: with_arguments(ref, self.written) for name, ref in self.graph.outputs.items()}
        self.fx.output(outputs[""] if tuple(outputs) == ("",) else outputs)
        return fx.GraphModule(self.root, self.fx, class_name=self.graph.spec.template)


def _require_padding(module: nn.Module) -> None:
    """Refuse the padding of an output that torch itself refuses only where there is storage. Raises ValueError."""
    for part in module.modules():
        if isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            largest = map(max, part.stride, part.dilation)
            if any(pad >= most for pad, most in zip(part.output_padding, largest, strict=True)):
                raise ValueError("output_padding is smaller than the stride or the dilation")


def write_op(graph: fx.Graph, node: Node, written: Mapping[str, Any], name: str) -> fx.Node:
    """Write a call of an op; arithmetic becomes an operator."""
    function = OPERATORS.get(node.target, vocabulary[node.target].function)
    arguments = tuple(with_arguments(argument, written) for argument in node.arguments)
    keywords = {key: with_arguments(value, written) for key, value in node.keywords}
    return graph.create_node("call_function", function, arguments, keywords, name=name)  # type: ignore[arg-type]  # what fx takes


def make_layer(use: LayerUse, examples: Sequence[Tensor]) -> nn.Module:
    """A layer for inputs like the examples. Raises whatever the layer raises for arguments that it cannot take."""
    definition = vocabulary[use.name]
    make: Callable[..., nn.Module] = definition.function
    keywords: dict[str, Any] = dict(use.keywords)
    if use.wrapped is not None:
        return make(make_layer(use.wrapped, examples), *use.arguments, **keywords)
    if not isinstance(definition.function, type):
        return make(*examples, *use.arguments, **keywords)
    inferred = next((name for name in definition.signature.parameters if name in INFERRED), None)
    if inferred is None:
        return make(*use.arguments, **keywords)
    keywords[inferred] = examples[0].shape[-1 if inferred in ("in_features", "input_size") else 1]
    positions = [p for p in definition.signature.parameters if p != inferred]
    keywords.update(zip(positions, use.arguments, strict=False))
    return make(**keywords)


Shapes = Mapping[str, tuple[int, ...]]


def ranges(model: NetworkModel, inputs: tuple[Interval, ...]) -> dict[str, Interval]:
    """The range of each named output, given the ranges of the inputs."""
    known = known_ranges(model, inputs)
    return {name: known.get(getattr(ref, "id", ""), ANY) for name, ref in model.graph.outputs.items()}


def known_ranges(model: NetworkModel, inputs: tuple[Interval, ...]) -> dict[str, Interval]:
    """The range of every value inside a network, given the ranges of the inputs."""
    known: dict[str, Interval] = dict(zip(model.graph.spec.inputs, inputs, strict=True))
    for node in model.graph.nodes.values():
        if node.kind == "op":
            known[node.id] = op_range(node, known, model.shapes)
        elif node.kind == "layer":
            known[node.id] = ANY
    return known


def op_range(node: Node, known: Mapping[str, Interval], shapes: Shapes) -> Interval:
    """The range of an op's result; unbounded if the op does not declare one."""
    traits, signature = vocabulary[node.target].traits, vocabulary[node.target].signature
    bound = signature.bind(*node.arguments, **dict(node.keywords))
    if traits.places:
        dim, shape = bound.arguments.get("dim", 1), shapes.get(node.inputs[0], ())
        return 0.0, float(shape[dim] - 1) if isinstance(dim, int) and -len(shape) <= dim < len(shape) else math.inf
    return ANY if traits.range is None else traits.range(*(_interval(argument, known) for argument in bound.args))


def _interval(argument: Argument, known: Mapping[str, Interval]) -> Interval:
    if isinstance(argument, Ref):
        return known.get(argument.id, ANY)
    if isinstance(argument, tuple) and argument:
        spans = [_interval(item, known) for item in argument]
        return min(low for low, _ in spans), max(high for _, high in spans)
    return (float(argument), float(argument)) if isinstance(argument, int | float) else ANY


def first_line(error: BaseException) -> str:
    """The first line of an error's text; with its type if it is an error of Python itself."""
    line = str(error).strip().partition("\n")[0]
    if isinstance(error, (TypeError, AttributeError, LookupError)):
        return f"Python says: {type(error).__name__}: {line}"
    return line or type(error).__name__


def require_same_layers(first: NetworkModel, second: NetworkModel) -> None:
    """Refuse a call whose input would need other layers than the first call made. Raises MisfitError."""
    mine, other = dict(first.module.named_parameters()), dict(second.module.named_parameters())
    for name, parameter in mine.items():
        if other[name].shape != parameter.shape:
            node = next(n for n in first.graph.nodes.values() if n.kind == "layer" and name.startswith(f"{n.target}."))
            inputs = tuple((source, second.shapes[source]) for source in node.inputs)
            raise MisfitError(node, inputs, f"an earlier call gave {list(first.shapes[node.inputs[0]])}")
