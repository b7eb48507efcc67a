"""Stage 3, build: a phase of a resolved spec to the graph of its values, losses and updates."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from gangraph.compiler.build_network import build_network
from gangraph.compiler.expressions import (
    BuildError,
    ExpressionBuilder,
    NodeTable,
    argument_span,
    bind,
    fits,
    refuse,
    shown,
    type_name,
)
from gangraph.compiler.graph import Argument, Evaluation, Graph, NetworkGraph, ObjectiveGraph, Ref, UpdateGraph
from gangraph.data import sources as _sources  # noqa: F401  (registers the sources)
from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.errors import Problem, Span, called_by, nearest
from gangraph.language import expression as ast
from gangraph.language.expression import Expression
from gangraph.language.schedule import TIME, is_dynamic, verify
from gangraph.language.spec import (
    AverageSpec,
    EvaluateSpec,
    NetworkSpec,
    Objective,
    OptimizerSpec,
    PhaseSpec,
    UpdateSpec,
)
from gangraph.language.static import StaticError, constant
from gangraph.registry import Definition, load_plugins, vocabulary
from gangraph.vocabulary import layers as _layers  # noqa: F401  (registers the vocabulary)

# Operations on a network's parameters that `then:` may name, and how many numbers each takes.
PARAMETER_OPERATIONS = {"clip": ("low", "high"), "max_norm": ("limit",)}

_LARGEST_BATCH = 2**40  # numbers; more is a mistake


def build(spec: PhaseSpec, broken: frozenset[str] = frozenset()) -> Graph:
    """Bind every name, check every call's arguments, and connect the nodes.

    Problems are kept in the result; what depends on a broken definition is left out without another message.
    """
    load_plugins()
    problems: list[Problem] = []
    networks = dict(_networks(spec, broken, problems))
    broken |= {name for name in spec.networks if isinstance(spec.networks[name], NetworkSpec) and name not in networks}
    sources = dict(_build_sources(spec, spec.data, problems))
    broken |= {name for name in spec.data if name not in sources}
    builder = _GraphBuilder(spec, sources, networks, set(broken), problems)
    builder.define_all()
    updates = tuple(builder.updates())
    _check_schedules(spec, problems)
    return Graph(
        spec=spec,
        nodes=builder.table.nodes,
        sources=builder.sources,
        networks=networks,
        averages={name: made for name, made in spec.networks.items() if isinstance(made, AverageSpec)},
        values=builder.values,
        losses=builder.losses,
        updates=updates,
        evaluation=_evaluation(spec, spec.evaluate, networks, set(broken), problems) if spec.evaluate else None,
        problems=tuple(problems),
    )


def _networks(spec: PhaseSpec, broken: frozenset[str], problems: list[Problem]) -> Iterator[tuple[str, NetworkGraph]]:
    for name, network in spec.networks.items():
        if isinstance(network, NetworkSpec):
            graph, found = build_network(network)
            problems.extend(called_by(problem, name, network.span) for problem in found)
            if graph is not None and name not in broken:
                yield name, graph
        elif network.of not in broken and not isinstance(spec.networks.get(network.of), NetworkSpec):
            known = [other for other, made in spec.networks.items() if isinstance(made, NetworkSpec)]
            problems.append(
                Problem(
                    code="GG310",
                    message=f"there is no network '{network.of}' to average",
                    span=network.span,
                    found=network.of,
                    expected="one of " + ", ".join(known),
                    fix=nearest(network.of, known),
                )
            )


def _build_sources(
    spec: PhaseSpec, data: Mapping[str, Expression], problems: list[Problem]
) -> Iterator[tuple[str, Source | RandomSource]]:
    for name, expression in data.items():
        try:
            yield name, _source(expression, spec.static_names, spec.batch)
        except BuildError as error:
            problems += [error.problem] if error.problem else []


def _source(expression: Expression, static_names: Iterable[str], batch: int) -> Source | RandomSource:
    call = expression if isinstance(expression, ast.Call) else ast.Call(expression, (), (), expression.span)
    name = ast.show(call.function)
    definition = vocabulary.get(name)
    known = vocabulary.of_kind("source")
    if definition is None or definition.kind != "source":
        refuse(
            "GG314",
            f"there is no data source '{name}'",
            call.function.span,
            name,
            "one of " + ", ".join(known),
            nearest(name, known),
        )
    try:
        arguments = tuple(constant(argument, static_names) for argument in call.arguments)
        keywords = tuple((key, constant(value, static_names)) for key, value in call.keywords)
    except StaticError as error:
        raise BuildError(error.problem) from None
    _check_source(definition, arguments, keywords, call)
    try:
        made: Source | RandomSource = definition.function(*arguments, **dict(keywords))
        sizes = [batch * prod(field.shape) for field in made.fields.values()]
    except (ValueError, TypeError, ArithmeticError, KeyError) as error:
        raise BuildError(_refused_source(name, call, definition, str(error))) from None
    if max(sizes, default=0) > _LARGEST_BATCH:
        refuse(
            "GG315",
            f"one batch of '{name}' is too large",
            call.span,
            f"{max(sizes):,} numbers",
            f"at most {_LARGEST_BATCH:,}",
        )
    return made


def _refused_source(name: str, call: ast.Call, definition: Definition, said: str) -> Problem:
    """What the check of a source said, at the argument that it speaks of: `argument: found this, expected that`."""
    argument, _, rest = said.partition(": found ")
    found, _, expected = rest.partition(", expected ")
    if argument not in definition.signature.parameters or not expected:
        return Problem(code="GG315", message=f"'{name}' refuses its arguments", span=call.span, reason=said)
    span = argument_span(definition.signature, argument, call)
    return Problem(
        code="GG315", message=f"'{name}' does not take this {argument}", span=span, found=found, expected=expected
    )


def _check_source(
    definition: Definition, arguments: tuple[Any, ...], keywords: tuple[tuple[str, Any], ...], call: ast.Call
) -> None:
    for name, value in bind(definition.signature, definition.name, arguments, keywords, call).items():
        parameter = definition.signature.parameters[name]
        for each in value if parameter.kind is parameter.VAR_POSITIONAL else (value,):
            if not fits(each, parameter.annotation):
                span = argument_span(definition.signature, name, call)
                refuse(
                    "GG313",
                    f"'{name}' of '{definition.name}' has the wrong type",
                    span,
                    shown(each),
                    type_name(parameter.annotation),
                )


class _GraphBuilder(ExpressionBuilder):
    """Names are streams, values and losses; calls are networks, ops, losses and the special forms."""

    def __init__(
        self,
        spec: PhaseSpec,
        sources: Mapping[str, Source | RandomSource],
        networks: Mapping[str, NetworkGraph],
        broken: set[str],
        problems: list[Problem],
    ) -> None:
        super().__init__(NodeTable())
        self.spec, self.networks, self.broken, self.problems = spec, networks, broken, problems
        self.sources = dict(sources)
        self.values: dict[str, str] = {}
        self.losses: dict[str, str] = {}
        self.active: list[str] = []
        self.owner = ""

    def define_all(self) -> None:
        """Build every value and loss, so that each gets its check even where nothing uses it."""
        for name in (*self.spec.values, *self.spec.losses):
            self.attempt(lambda n=name: self._defined(n))

    def attempt(self, action: Any) -> Any:
        """Run `action`; keep the problem it finds and give None."""
        try:
            return action()
        except BuildError as error:
            self.problems += [error.problem] if error.problem and error.problem not in self.problems else []
        except RecursionError:
            self.problems.append(
                Problem(
                    code="GG301",
                    message="the values lean on each other too many levels deep",
                    span=self.spec.span,
                    expected="values in the order in which they are computed",
                )
            )
        return None

    def known_names(self) -> Iterable[str]:
        return (*self.spec.data, *self.spec.networks, *self.spec.values, *self.spec.losses, *TIME)

    def callables(self) -> Iterable[str]:
        return (*self.spec.networks, *(name.removeprefix("_form_") for name in dir(self) if name.startswith("_form_")))

    def visit(self, node: Expression, hint: str | None = None) -> Argument:
        if is_dynamic(node):
            self._verified(node)
            return self.table.add("scalar", hint or "ramp", span=node.span, expression=node)
        return super().visit(node, hint)

    def _verified(self, node: Expression) -> None:
        try:
            verify(node)
        except StaticError as error:
            raise BuildError(error.problem) from None

    def _defined(self, name: str) -> Argument:
        """The node of a value or loss."""
        table, section = (
            (self.values, self.spec.values) if name in self.spec.values else (self.losses, self.spec.losses)
        )
        if name in table:
            return Ref(table[name])
        if name in self.active:
            refuse(
                "GG303",
                "values depend on each other in a circle",
                section[name].span,
                " -> ".join([*self.active, name]),
            )
        self.active.append(name)
        owner, self.owner = self.owner, name
        try:
            value = self.visit(section[name], name)
        except (BuildError, RecursionError):
            self.broken.add(name)
            raise
        finally:
            self.active.pop()
            self.owner = owner
        if isinstance(value, Ref):
            table[name] = value.id
        return value

    def name(self, node: ast.Name) -> Argument:
        name = node.id
        if name in self.sources:
            fields = list(self.sources[name].fields)
            if len(fields) > 1:
                refuse(
                    "GG316",
                    f"'{name}' has several fields",
                    node.span,
                    name,
                    " or ".join(f"{name}.{field}" for field in fields),
                )
            return self._source_node(name, fields[0], node.span)
        if name in self.spec.values or name in self.spec.losses:
            if name in self.broken:
                raise BuildError(None)
            return self._defined(name)
        if name in self.broken:
            raise BuildError(None)
        if name in self.spec.networks:
            refuse("GG316", f"'{name}' is a network and stands here without an input", node.span, name, f"{name}(...)")
        known = list(self.known_names())
        return refuse(
            "GG310",
            f"there is nothing called '{name}'",
            node.span,
            name,
            "one of " + ", ".join(known),
            nearest(name, known),
        )

    def _source_node(self, name: str, field: str, span: Span) -> Ref:
        source = self.sources[name]
        kind = "random" if isinstance(source, RandomSource) else "stream"
        single = len(source.fields) == 1
        return self.table.add(kind, name if single else f"{name}.{field}", span=span, target=name, field=field)  # type: ignore[arg-type]

    def attribute(self, node: ast.Attribute, base: Expression, name: str) -> Argument:
        if isinstance(base, ast.Name) and base.id in self.broken:
            raise BuildError(None)
        if isinstance(base, ast.Name) and base.id in self.sources:
            fields = list(self.sources[base.id].fields)
            if name not in fields:
                expected = (
                    "one of " + ", ".join(fields) if fields[1:] else f"{base.id} without a field: it is one tensor"
                )
                refuse("GG316", f"'{base.id}' has no field '{name}'", node.span, name, expected, nearest(name, fields))
            return self._source_node(base.id, name, node.span)
        value = super().attribute(node, base, name)
        assert isinstance(value, Ref)
        call = self.table.nodes[self.table.nodes[value.id].inputs[0]]
        outputs = list(self.networks[call.target].outputs) if call.target in self.networks else []
        if call.kind != "network" or name not in outputs:
            expected = "one of " + ", ".join(outputs) if any(outputs) else "a network with named outputs before '.'"
            refuse("GG316", f"this has no part '{name}'", node.span, name, expected, nearest(name, outputs))
        return value

    def call(self, name: str, node: ast.Call) -> Argument | None:
        if name in self.broken:
            raise BuildError(None)
        if name in self.spec.networks:
            return self._network_call(name, node)
        form = getattr(self, f"_form_{name}", None)
        if form is not None:
            result: Argument = form(node)
            return result
        definition = vocabulary.get(name)
        if definition is not None and definition.traits.get("random"):
            return self._anonymous_source(node)
        return None

    def _network_call(self, name: str, node: ast.Call) -> Argument:
        hint = self._take_hint(f"{name}_out")
        network = self.spec.networks[name]
        of = self.networks.get(network.of) if isinstance(network, AverageSpec) else self.networks.get(name)
        arguments = [self.visit(argument) for argument in node.arguments]
        keywords = {key: self.visit(value) for key, value in node.keywords}
        if of is None:
            raise BuildError(None)
        inputs = of.spec.inputs
        unknown = [key for key in keywords if key not in inputs]
        missing = [key for key in inputs[len(arguments) :] if key not in keywords]
        if unknown or missing or len(arguments) + len(keywords) != len(inputs):
            refuse(
                "GG317",
                f"network '{name}' takes {len(inputs)} input{'s' * (len(inputs) != 1)}",
                node.span,
                ast.show(node),
                f"{name}({', '.join(inputs)})",
            )
        bound = (*arguments, *(keywords[key] for key in inputs[len(arguments) :]))
        for value, written in zip(bound, (*node.arguments, *(v for _, v in node.keywords)), strict=True):
            if not isinstance(value, Ref):
                refuse(
                    "GG317",
                    "a network's input is a value",
                    written.span,
                    ast.show(written),
                    "data, a random draw or another value",
                )
        return self.table.add("network", hint, span=node.span, target=name, arguments=bound)

    def _anonymous_source(self, node: ast.Call) -> Ref:
        """A random source inside a value: each place where one is written is a source of its own."""
        name = self._take_hint(f"{self.owner}.{ast.show(node.function)}" if self.owner else ast.show(node.function))
        made = _source(node, self.spec.static_names, self.spec.batch)
        assert isinstance(made, RandomSource)
        ref = self.table.add("random", name, span=node.span, unique=(self.owner, node.span), target="", field="value")
        if ref.id not in self.sources:
            self.sources[ref.id] = made
            self.table.nodes[ref.id] = replace(self.table.nodes[ref.id], target=ref.id)
        return ref

    def _single(self, node: ast.Call, count: int, usage: str, *, tensors: bool = False) -> list[Argument]:
        if len(node.arguments) != count or node.keywords:
            refuse("GG312", f"'{ast.show(node.function)}' is called wrongly", node.span, ast.show(node), usage)
        made = [self.visit(argument) for argument in node.arguments]
        if tensors and not all(isinstance(value, Ref) for value in made):
            refuse(
                "GG313",
                f"'{ast.show(node.function)}' takes a value, not a constant",
                node.arguments[0].span,
                ast.show(node.arguments[0]),
                usage,
            )
        return made

    def _form_grad(self, node: ast.Call) -> Argument:
        hint = self._take_hint("grad")
        output, at = self._single(
            node, 2, "grad(output, input): the gradient of the output's sum with respect to the input"
        )
        if not isinstance(output, Ref) or not isinstance(at, Ref):
            refuse(
                "GG313", "grad is taken of a value with respect to a value", node.span, ast.show(node), "grad(D(v), v)"
            )
        return self.table.add("grad", hint, span=node.span, arguments=(output, at))

    def _form_detach(self, node: ast.Call) -> Argument:
        hint = self._take_hint("detached")
        (value,) = self._single(node, 1, "detach(value)", tensors=True)
        return self.table.add("detach", hint, span=node.span, arguments=(value,))

    def _form_held(self, node: ast.Call) -> Argument:
        hint = self._take_hint("held")
        (value,) = self._single(node, 1, "held(value)", tensors=True)
        return self.table.add("held", hint, span=node.span, arguments=(value,))

    def _form_history(self, node: ast.Call) -> Argument:
        hint = self._take_hint("history")
        value, size = self._single(node, 2, "history(value, size)")
        if not isinstance(value, Ref) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
            refuse(
                "GG313",
                "history mixes a value with its past",
                node.span,
                ast.show(node),
                "history(value, 50), the size at least 0",
            )
        return self.table.add("history", hint, span=node.span, target=f"{value.id}.history", arguments=(value, size))

    def _operation(self, target: str, operands: tuple[Expression, ...], span: Span) -> Argument:
        """Arithmetic; a term of weight 0 is left out, a weight of 1 is not multiplied."""
        name = self._take_hint(target)
        values = [self.visit(operand) for operand in operands]
        zeros = [value == 0 and isinstance(value, int | float) and not isinstance(value, bool) for value in values]
        if target == "mul" and any(zeros):
            self._warn_zero(operands[zeros.index(False)] if False in zeros else operands[0], span)
            return 0
        if target == "mul" and 1 in values:
            return values[1 - values.index(1)]
        if target in ("add", "sub") and zeros[-1]:
            return values[0]
        if target == "add" and zeros[0]:
            return values[1]
        return self.table.add("op", name, span=span, target=target, arguments=tuple(values))

    def _warn_zero(self, term: Expression, span: Span) -> None:
        problem = Problem(
            code="GG609",
            severity="warning",
            message="a term of weight 0 is left out",
            span=span,
            found=ast.show(term),
            fix="give it a weight, or remove it",
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def updates(self) -> Iterator[UpdateGraph]:
        """The step's entries, their objectives as nodes."""
        for index, spec in enumerate(self.spec.updates):
            made = self.attempt(lambda s=spec, i=index: self._update(s, i))
            if made is not None:
                yield made

    def _update(self, spec: UpdateSpec, index: int) -> UpdateGraph:
        made = [self.attempt(lambda o=objective: self._objective(o)) for objective in spec.objectives]
        then = tuple(self._parameter_operation(item) for item in spec.then)
        for expression in (spec.times, spec.every, spec.when, spec.clip_grad_norm, spec.clip_grad_value):
            if expression is not None:
                self._verified(expression)
        for count, least in ((spec.times, 0), (spec.every, 1)):
            if isinstance(count, ast.Literal) and not _is_count(count.value, least):
                refuse("GG225", f"a whole number of at least {least} belongs here", count.span, shown(count.value))
        if any(objective is None for objective in made):
            raise BuildError(None)
        return UpdateGraph(
            name=spec.name,
            objectives=tuple(made),
            draws=self._draws(spec),
            times=spec.times,
            every=spec.every,
            when=spec.when,
            then=then,
            accumulate=spec.accumulate,
            clip_grad_norm=spec.clip_grad_norm,
            clip_grad_value=spec.clip_grad_value,
            span=spec.span,
        )

    def _draws(self, spec: UpdateSpec) -> tuple[str, ...] | None:
        if spec.draw is None:
            return None
        drawn: list[str] = []
        for name, span in spec.draw:
            if name != "all" and name not in self.spec.data:
                known = ["all", *self.spec.data]
                refuse(
                    "GG314",
                    f"there is no source '{name}' to draw",
                    span,
                    name,
                    "one of " + ", ".join(known),
                    nearest(name, known),
                )
            drawn += self.sources if name == "all" else [name]
        anonymous = [name for name in self.sources if name not in self.spec.data]
        return tuple(dict.fromkeys([*drawn, *anonymous]))

    def _objective(self, objective: Objective) -> ObjectiveGraph:
        group = self.spec.optimizers.get(objective.group)
        if group is None:
            known = list(self.spec.optimizers)
            if f"{objective.group}" in self.broken:
                raise BuildError(None)
            refuse(
                "GG318",
                f"there is no optimizer group '{objective.group}'",
                objective.span,
                objective.group,
                "one of " + ", ".join(known),
                nearest(objective.group, known),
            )
        value = self.visit(objective.expression, f"{objective.group}_objective")
        if not isinstance(value, Ref):
            refuse(
                "GG501",
                f"the objective of '{objective.group}' is a constant",
                objective.expression.span,
                shown(value),
                "a loss that depends on " + ", ".join(n for n, _ in group.networks),
            )
        if objective.sign < 0:
            value = self.table.add(
                "op", f"{objective.group}_objective", span=objective.expression.span, target="neg", arguments=(value,)
            )
        return ObjectiveGraph(
            group=objective.group, networks=self._group_networks(group), loss=value.id, span=objective.expression.span
        )

    def _group_networks(self, group: OptimizerSpec) -> tuple[str, ...]:
        for name, span in group.networks:
            if name in self.broken:
                raise BuildError(None)
            if not isinstance(self.spec.networks.get(name), NetworkSpec):
                known = [n for n, made in self.spec.networks.items() if isinstance(made, NetworkSpec)]
                refuse(
                    "GG319",
                    f"'{name}' is no network with parameters to train",
                    span,
                    name,
                    "one of " + ", ".join(known),
                    nearest(name, known),
                )
        return tuple(name for name, _ in group.networks)

    def _parameter_operation(self, expression: Expression) -> tuple[str, str, tuple[object, ...]]:
        usage = " or ".join(f"{name}({', '.join(['NETWORK', *names])})" for name, names in PARAMETER_OPERATIONS.items())
        match expression:
            case ast.Call(function=ast.Name(id=name), arguments=(ast.Name(id=network), *numbers), keywords=()) if (
                name in PARAMETER_OPERATIONS and len(numbers) == len(PARAMETER_OPERATIONS[name])
            ):
                if network not in self.networks:
                    known = list(self.networks)
                    refuse(
                        "GG310",
                        f"there is no network '{network}'",
                        expression.span,
                        network,
                        "one of " + ", ".join(known),
                        nearest(network, known),
                    )
                try:
                    return name, network, tuple(constant(number) for number in numbers)
                except StaticError as error:
                    raise BuildError(error.problem) from None
        return refuse("GG321", "there is no such operation on parameters", expression.span, ast.show(expression), usage)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least and value % 1 == 0


def _check_schedules(spec: PhaseSpec, problems: list[Problem]) -> None:
    """Optimizer options and decays are constants or numbers over time."""
    options = [value for group in spec.optimizers.values() for value in group.options.values() if is_dynamic(value)]
    decays = [network.decay for network in spec.networks.values() if isinstance(network, AverageSpec)]
    for expression in (*options, *decays):
        try:
            verify(expression)
        except StaticError as error:
            problems += [error.problem] if error.problem else []


def _evaluation(
    spec: PhaseSpec,
    evaluate: EvaluateSpec,
    networks: Mapping[str, NetworkGraph],
    broken: set[str],
    problems: list[Problem],
) -> Evaluation:
    """The graph of grids and metrics: the training graph's values over the evaluation's own streams."""
    found: list[Problem] = []
    data = {**spec.data, **evaluate.data}
    fresh = replace(spec, data=data, values={**spec.values, **evaluate.values}, losses=spec.losses)
    builder = _GraphBuilder(fresh, dict(_build_sources(spec, data, found)), networks, broken, found)
    grid = [
        (ast.show(column), builder.attempt(lambda c=column: builder.visit(c, ast.show(c)))) for column in evaluate.grid
    ]
    metrics = [
        (name, builder.attempt(lambda m=metric, n=name: builder.visit(m, n)))
        for name, metric in evaluate.metrics.items()
    ]
    for problem in found:
        if problem not in problems:
            problems.append(problem)
    graph = Graph(
        spec=fresh,
        nodes=builder.table.nodes,
        sources=builder.sources,
        networks=networks,
        averages={n: a for n, a in spec.networks.items() if isinstance(a, AverageSpec)},
        values=builder.values,
        losses=builder.losses,
        updates=(),
        evaluation=None,
        problems=(),
    )
    return Evaluation(graph=graph, grid=_present(grid), metrics=_present(metrics))


def _present(pairs: list[tuple[str, Argument]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value.id) for name, value in pairs if isinstance(value, Ref))
