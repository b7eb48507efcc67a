"""A network's spec to its graph of layers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter

from gangraph.build.arguments import check_arguments
from gangraph.build.expressions import (
    LARGEST_NETWORK,
    ExpressionBuilder,
    NodeTable,
    bottomless,
    circle,
    definition_order,
)
from gangraph.build.part_names import part_names
from gangraph.build.sources import network_draws
from gangraph.errors import Problem, Span, SpecError, give_up, listed, nearest, refuse, shown
from gangraph.graph.closure import closure
from gangraph.graph.code_names import module_name
from gangraph.graph.model import Argument, LayerUse, NetworkGraph, Node, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import Expression
from gangraph.language.named_parts import ANONYMOUS
from gangraph.language.spec import VARIABLE, NetworkSpec
from gangraph.registry import Definition, vocabulary

INFERRED = ("in_channels", "in_features", "num_features", "input_size")


def build_network(spec: NetworkSpec) -> tuple[NetworkGraph | None, list[Problem]]:
    """The graph of a network, and what is wrong with it; no graph if anything is."""
    if spec.start is not None:
        return _variable(spec), []
    builder = _NetworkBuilder(spec)
    builder.problems += part_names(spec)
    needed = _needed(spec)
    for name in definition_order(spec.values):
        if name in needed:
            builder.attempt(ast.Name(name, spec.values[name].span))
    outputs = {name: builder.attempt(expression) for name, expression in spec.outputs.items()}
    for name, output in outputs.items():
        if not builder.problems and not isinstance(output, Ref):
            builder.problems.append(
                Problem(
                    code="GG213",
                    message="the output of a network is computed from its inputs",
                    span=spec.outputs[name].span,
                    found=ast.unparse(spec.outputs[name]),
                    expected="a value",
                )
            )
    if builder.problems:
        return None, builder.problems
    return _with_draws(spec, builder, outputs), []


def _with_draws(spec: NetworkSpec, builder: "_NetworkBuilder", outputs: Mapping[str, Argument]) -> NetworkGraph:
    """The graph of a network with only those draws that an output depends on."""
    nodes = builder.table.nodes
    read = closure([output.id for output in outputs.values() if isinstance(output, Ref)], lambda n: nodes[n].inputs)
    idle = {name for name in spec.draws if name not in read}
    used = {name: node for name, node in nodes.items() if name not in idle}
    less = replace(
        spec,
        inputs=tuple(name for name in spec.inputs if name not in idle),
        draws={name: drawn for name, drawn in spec.draws.items() if name not in idle},
    )
    draws = {name: source for name, source in builder.draws.items() if name not in idle}
    return NetworkGraph(spec=less, nodes=used, layers=builder.layers, outputs=outputs, draws=draws)


def _variable(spec: NetworkSpec) -> NetworkGraph:
    """The graph of a variable: its parameter alone."""
    node = Node(id=VARIABLE, kind="variable", target=VARIABLE, span=spec.span)
    return NetworkGraph(spec=spec, nodes={VARIABLE: node}, layers={}, outputs={"": Ref(VARIABLE)})


def _needed(spec: NetworkSpec) -> set[str]:
    """The names of values and parts that the outputs depend on."""
    waiting, found = list(spec.outputs.values()), set[str]()
    while waiting:
        names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - found
        found |= names
        for name in names:
            waiting += [*spec.parts.get(name, ()), *([spec.values[name]] if name in spec.values else [])]
    return found


class _NetworkBuilder(ExpressionBuilder):
    """Names are inputs and values, calls are parts, layers and ops."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(NodeTable(LARGEST_NETWORK))
        self.spec = spec
        self.layers: dict[str, LayerUse] = {}
        self.problems: list[Problem] = []
        self.active: list[str] = []
        self.anonymous: dict[Span, int] = {}
        self.paths: dict[str, tuple[str | None, ...]] = {}
        self.inputs = {name: self.table.add("input", name, span=spec.span, target=name) for name in spec.inputs}
        self.known: dict[str, Argument] = dict(self.inputs)
        self.failed: set[str] = set()
        self.draws = dict(network_draws(spec, self.problems))

    def attempt(self, expression: Expression) -> Argument:
        """What an expression stands for; None where it has a problem, which is kept."""
        try:
            return self.visit(expression)
        except SpecError as error:
            self.report(error)
        except RecursionError:
            self.problems.append(bottomless(expression.span))
        return None

    def known_names(self) -> Iterable[str]:
        return (*self.inputs, *self.spec.values, *self.spec.parts)

    def callables(self) -> Iterable[str]:
        return self.spec.parts

    def name(self, node: ast.Name) -> Argument:
        if node.id in self.known:
            return self.known[node.id]
        if node.id in self.active:
            refuse("GG303", "values depend on each other in a circle", node.span, circle(self.active, node.id))
        if node.id in self.spec.values:
            if node.id in self.failed:
                give_up()
            self.active.append(node.id)
            try:
                self.known[node.id] = self.visit(self.spec.values[node.id], node.id)
            except SpecError:
                self.failed.add(node.id)
                raise
            finally:
                self.active.pop()
            return self.known[node.id]
        known = list(self.known_names())
        return refuse(
            "GG310",
            f"the network has no value '{node.id}'",
            node.span,
            node.id,
            "one of " + ", ".join(known),
            nearest(node.id, known),
        )

    def call(self, name: str, node: ast.Call) -> Argument | None:
        if name in self.spec.parts:
            hint = self.take_hint(name)
            self._require_inputs(f"part '{name}'", node, self._inputs_of(name))
            return self._apply(name, [self.visit(argument) for argument in node.arguments], hint)
        definition = vocabulary.get(name)
        if definition is not None and definition.kind == "layer":
            refuse(
                "GG311",
                f"'{name}' is a layer: it is applied in parts:, in layers:, or as {name}(...)(x)",
                node.span,
                ast.unparse(node),
            )
        return None

    def attribute(self, node: ast.Attribute, base: Expression, name: str) -> Argument:
        """Refuse what follows a dot: only calls of networks have named outputs, and none stand in a network."""
        self.visit(base)
        expected = "a value of the network, by a name of its own in values:"
        refuse("GG316", f"nothing in a network has a part '{name}'", node.span, ast.unparse(node), expected)

    def curried(self, node: ast.Call) -> Argument:
        """`layer(...)(x)`: a layer of its own, without a name."""
        hint = self.take_hint("")
        use = self._layer_use(node.function)
        self._require_inputs("a layer" if len(use.inputs) == 1 else f"'{use.name}'", node, use.inputs)
        flow = [self.visit(argument) for argument in node.arguments]
        number = self.anonymous.setdefault(node.span, len(self.anonymous) + 1)
        self.hint = hint or None
        return self._add_layer(f"{ANONYMOUS}.{use.name}_{number}", use, flow)

    def _require_inputs(self, what: str, node: ast.Call, inputs: Sequence[str]) -> None:
        """Refuse a call of a part or layer with another number of values. Raises SpecError."""
        if len(node.arguments) == len(inputs) and not node.keywords:
            return
        takes = "one value" if len(inputs) == 1 else f"{len(inputs)} values"
        names = ", ".join(inputs) if len(inputs) > 1 else "value"
        refuse("GG312", f"{what} takes {takes}", node.span, ast.unparse(node), f"{ast.unparse(node.function)}({names})")

    def _inputs_of(self, part: str) -> tuple[str, ...]:
        """The inputs of a part: those of its first layer, or a single value."""
        seen = set[str]()
        while part in self.spec.parts and part not in seen and self.spec.parts[part]:
            seen.add(part)
            part, item = _called(self.spec.parts[part][0]), self.spec.parts[part][0]
            definition = vocabulary.get(part)
            if part not in self.spec.parts and definition is not None and definition.kind == "layer":
                return self._layer_use(item).inputs
        return ("value",)

    def _apply(self, part: str, values: Sequence[Argument], hint: str) -> Argument:
        """Run values through a part's chain, all into its first layer. Every use of a part shares its layers."""
        if part in self.active:
            refuse("GG303", "parts contain each other in a circle", self.spec.span, circle(self.active, part))
        self.active.append(part)
        chain = self.spec.parts[part]
        flow = tuple(values)
        for index, (item, path) in enumerate(zip(chain, self._paths(part), strict=True)):
            self.hint = hint if index == len(chain) - 1 else None
            try:
                flow = (self._item(item, path, flow),)
            except SpecError as error:
                self.report(error)
                flow = flow[:1]
        self.active.pop()
        return flow[0]

    def report(self, error: SpecError) -> None:
        self.problems += [problem for problem in error.problems if problem not in self.problems]

    def _paths(self, part: str) -> tuple[str | None, ...]:
        """Where each layer of a part stands in the module tree: `down_3.conv2d`, then `down_3.conv2d_2`."""
        if part not in self.paths:
            counts: Counter[str] = Counter()
            paths: list[str | None] = []
            for item in self.spec.parts[part]:
                name = _called(item)
                definition = vocabulary.get(name)
                if definition is None or definition.kind != "layer":
                    paths.append(None)
                    continue
                counts[name] += 1
                suffix = f"_{counts[name]}" if counts[name] > 1 else ""
                paths.append(f"{module_name(part)}.{name}{suffix}")
            self.paths[part] = tuple(paths)
        return self.paths[part]

    def _item(self, item: Expression, path: str | None, flow: Sequence[Argument]) -> Argument:
        if isinstance(item, ast.Broken):
            give_up()
        if path is not None:
            use = self._layer_use(item)
            self._require_first(use.name, item, use.inputs, flow)
            return self._add_layer(path, use, flow)
        call = item if isinstance(item, ast.Call) else ast.Call(item, (), (), item.span)
        name = _called(item)
        if name in self.spec.parts:
            self._require_first(name, item, self._inputs_of(name), flow)
            return self._apply(name, flow, self.take_hint(name))
        definition = vocabulary.get(name)
        if definition is None:
            known = [*vocabulary.of_kind("layer", "op"), *self.spec.parts]
            near = nearest(name, known)
            refuse(
                "GG310",
                f"there is no layer '{name}'",
                call.function.span,
                name,
                "a layer, an op or a part" if near else "one of " + ", ".join(vocabulary.of_kind("layer")),
                near,
            )
        return self.operation(definition, call, first=(flow[0],))

    def _require_first(self, name: str, item: Expression, inputs: Sequence[str], flow: Sequence[Argument]) -> None:
        """Refuse a layer with several inputs that does not stand first in its chain. Raises SpecError."""
        if len(inputs) == len(flow):
            return
        refuse(
            "GG594",
            f"'{name}' takes {listed(inputs)}, and a chain has one value to give here",
            item.span,
            ast.unparse(item),
            f"it as the first layer of a part, which is called with {len(inputs)} values: PART({', '.join(inputs)})",
        )

    def _add_layer(self, path: str, use: LayerUse, flow: Sequence[Argument]) -> Argument:
        for value in flow:
            if not isinstance(value, Ref):
                takes = "one value" if len(flow) == 1 else "values"
                expected = "what the network computes from its inputs"
                refuse("GG312", f"a layer takes {takes}", use.span, shown(value), expected)
        self.layers.setdefault(path, use)
        hint = self.take_hint(path.replace(".", "_"))
        return self.table.add("layer", hint, span=use.span, target=path, arguments=tuple(flow))

    def _layer_use(self, item: Expression) -> LayerUse:
        call = item if isinstance(item, ast.Call) else ast.Call(item, (), (), item.span)
        name = _called(call)
        definition = vocabulary.get(name)
        if definition is None or definition.kind != "layer":
            known = vocabulary.of_kind("layer")
            refuse(
                "GG310",
                f"there is no layer '{name}'",
                call.function.span,
                name,
                "one of " + ", ".join(known),
                nearest(name, known),
            )
        inner = None
        written = call.arguments
        if definition.traits.wraps:
            if not written:
                refuse("GG312", f"'{name}' wraps a layer", call.span, ast.unparse(call), f"{name}(conv2d(64, 3))")
            inner, written = self._layer_use(written[0]), written[1:]
        arguments = tuple(constant(argument, self.spec.static_names) for argument in written)
        keywords = tuple((key, constant(value, self.spec.static_names)) for key, value in call.keywords)
        signature = definition.signature.replace(parameters=layer_parameters(definition))
        skipped = len(written) - len(call.arguments)
        check_arguments(name, signature, arguments, keywords, call, skipped, definition.traits.ordered)
        return LayerUse(name=name, arguments=arguments, keywords=keywords, wrapped=inner, span=call.span)


def layer_parameters(definition: Definition) -> list[Parameter]:
    """The parameters of a layer that a spec writes: all but the inferred ones, the example input and the device."""
    parameters = list(definition.signature.parameters.values())
    if not isinstance(definition.function, type):
        return parameters[1 if definition.traits.wraps else len(definition.inputs) :]
    return [p for p in parameters if p.name not in (*INFERRED, "self", "device", "dtype")]


def _called(item: Expression) -> str:
    function = item.function if isinstance(item, ast.Call) else item
    return function.id if isinstance(function, ast.Name) else ast.unparse(function)
