"""Values and losses: from expressions to the nodes of the training graph."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import ParamSpec, TypeVar

from gangraph.build.calls import bind
from gangraph.build.expressions import SHALLOW, are_numbers, bottomless, circle, too_deep
from gangraph.build.form_builder import FormBuilder
from gangraph.build.matrices import written_out
from gangraph.build.sources import build_source
from gangraph.build.written import refuse_uncalled
from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.errors import Problem, Span, SpecError, give_up, nearest, refuse
from gangraph.graph.kind import Form, NodeKind, kinds
from gangraph.graph.model import Argument, NetworkGraph, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.gates import outside
from gangraph.language.expression.model import Expression
from gangraph.language.expression.schedule import TIME, dynamic_start, is_dynamic, require_over_time
from gangraph.language.expression.size import depths
from gangraph.language.spec import OUTPUT, AverageSpec, NetworkSpec, PhaseSpec
from gangraph.registry import vocabulary

T = TypeVar("T")
P = ParamSpec("P")


class ValueBuilder(FormBuilder):
    """Names are streams, values and losses; calls are networks, ops, losses and the special forms."""

    def __init__(
        self,
        spec: PhaseSpec,
        sources: Mapping[str, Source | RandomSource],
        networks: Mapping[str, NetworkGraph],
        broken: set[str],
        problems: list[Problem],
        *,
        evaluating: bool = False,
    ) -> None:
        super().__init__(spec, networks, broken, evaluating=evaluating)
        self.problems = problems
        self.sources = dict(sources)
        self.values: dict[str, str] = {}
        self.losses: dict[str, str] = {}
        self.starts: dict[str, Argument] = {}  # the first values of variables
        self.active: list[str] = []
        self.written = {**spec.values, **spec.losses}
        self.made: dict[str, Argument] = {}
        self.levels = depths(self.written)
        self.places = {name: place for place, name in enumerate(self.levels)}  # after what they depend on
        deep = dict(too_deep(self.written, self.levels, spec.spans))
        self.broken |= deep.keys()
        problems += [problem for problem in deep.values() if problem is not None]

    def define_all(self) -> None:
        """Build every value and loss, so that each gets its check even where nothing uses it."""
        for name in self.spec.variables:
            if name not in self.broken:
                self.attempt(self.begin, name)
        for name in (*self.spec.values, *self.spec.losses):
            if name not in self.broken:
                self.attempt(self._defined, name)

    def attempt(self, action: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T | None:
        """Run `action`; keep the problem it finds and give None."""
        try:
            return action(*arguments, **keywords)
        except SpecError as error:
            self.problems += [problem for problem in error.problems if problem not in self.problems]
        except RecursionError:
            if not any(problem.code == "GG415" for problem in self.problems):
                self.problems.append(bottomless(self._place()))
        return None

    def _place(self) -> Span:
        """Where the first value stands that is as deep as any."""
        return self.written[max(self.levels, key=self.levels.__getitem__)].span if self.levels else self.spec.span

    def known_names(self) -> Iterable[str]:
        """Everything that an expression may name."""
        return (*self.spec.data, *self.spec.networks, *self.spec.values, *self.spec.losses, *self.spec.states, *TIME)

    def callables(self) -> Iterable[str]:
        """Everything that an expression may call."""
        return (*self.spec.networks, *kinds.forms)

    def visit(self, node: Expression, hint: str | None = None) -> Argument:
        """The argument that an expression stands for; numbers over time are nodes of their own."""
        node = written_out(node, self.matrices_of)
        if is_dynamic(node):
            self.verified(node)
            return self.table.add("scalar", hint or "ramp", span=node.span, expression=node)
        return super().visit(node, hint)

    def verified(self, node: Expression) -> None:
        """Refuse an expression that is no number over time. Raises SpecError."""
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and (problem := outside(call)):
                raise SpecError([problem])
        require_over_time(node, self.spec.states)

    def _defined(self, name: str) -> Argument:
        """What a value or loss stands for: a node, or a constant."""
        if name in self.made:
            return self.made[name]
        section = self.spec.values if name in self.spec.values else self.spec.losses
        if name in self.active:
            refuse("GG303", "values depend on each other in a circle", section[name].span, circle(self.active, name))
        self.active.append(name)
        owner, self.owner = self.owner, name
        try:
            self._define_beneath(section[name], self.levels[name])
            made = self.visit(section[name], name)
        except SpecError:
            self.broken.add(name)
            raise
        finally:
            self.active.pop()
            self.owner = owner
        self.made[name] = made
        if isinstance(made, Ref):
            (self.values if section is self.spec.values else self.losses)[name] = made.id
        return made

    def _define_beneath(self, written: Expression, levels: int) -> None:
        """Define first what an expression depends on where that is deep, the deepest first: so the stack stays low."""
        if levels <= SHALLOW:
            return
        waiting, found = [written], set[str]()
        while waiting:
            names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - found
            fresh = [name for name in names if name in self.levels and self._is_open(name)]
            waiting += [self.written[name] for name in fresh]
            found.update(fresh)
        self.active.append("...")
        try:
            for name in sorted(found, key=self.places.__getitem__):
                if self._is_open(name):
                    self._defined(name)
        finally:
            self.active.pop()

    def _is_open(self, name: str) -> bool:
        """Whether a value or loss has still to be defined, and nothing is at it."""
        return name not in self.made and name not in self.broken and name not in self.active

    def name(self, node: ast.Name) -> Argument:
        """A stream, a value or a loss."""
        name = node.id
        if name in self.sources and name not in self.spec.values and name not in self.spec.losses:
            fields = list(self.sources[name].fields)
            if len(fields) > 1:
                expected = " or ".join(f"{name}.{field}" for field in fields)
                refuse("GG316", f"'{name}' has several fields", node.span, name, expected)
            return self._source_node(name, fields[0], node.span)
        if name in self.broken:
            give_up()
        if name in self.spec.values or name in self.spec.losses:
            return self._defined(name)
        if name in self.spec.states:
            return self.state(name, node.span)
        if self.spec.is_variable(name):
            return self._variable(name, node)
        if name in self.spec.networks:
            refuse("GG316", f"'{name}' is a network and stands here without an input", node.span, name, f"{name}(...)")
        known = list(self.known_names())
        expected = "one of " + ", ".join(known)
        return refuse("GG310", f"there is nothing called '{name}'", node.span, name, expected, nearest(name, known))

    def state(self, name: str, span: Span) -> Ref:
        """The value of a state in this step."""
        spec = self.spec.states[name]
        return self.table.add("state", name, span=span, target=name, arguments=(spec.value, *spec.shape))

    def _variable(self, name: str, node: ast.Name) -> Argument:
        """The value of a variable, or of the average of one: a call of a network without inputs."""
        hint, network = self.take_hint(name), self.spec.networks[name]
        if not self.evaluating:
            self.begin(network.of if isinstance(network, AverageSpec) else name)
        return self.table.add("network", hint, span=node.span, target=name)

    def begin(self, name: str) -> None:
        """Define the first value of a variable, whose unnamed draws belong to it alone. Raises SpecError."""
        start = self.spec.variables[name]
        if name in self.starts:
            return
        if name in self.broken:
            give_up()
        if name in self.active:
            refuse("GG303", f"'{name}' would begin as itself", start.span, circle(self.active, name))
        self.active.append(name)
        owner, self.owner = self.owner, name
        try:
            self.starts[name] = self.visit(start, f"{name}_start")
        except SpecError:
            self.broken.add(name)
            raise
        finally:
            self.active.pop()
            self.owner = owner

    def _source_node(self, name: str, field: str, span: Span) -> Ref:
        single = len(self.sources[name].fields) == 1
        return self.table.add("source", name if single else f"{name}.{field}", span=span, target=name, field=field)

    def attribute(self, node: ast.Attribute, base: Expression, name: str) -> Argument:
        """A field of a stream, or an output of a network."""
        if isinstance(base, ast.Name) and base.id in self.broken:
            give_up()
        if isinstance(base, ast.Name) and base.id in self.sources:
            fields = list(self.sources[base.id].fields)
            if name not in fields:
                expected = (
                    "one of " + ", ".join(fields) if fields[1:] else f"{base.id} without a field: it is one tensor"
                )
                refuse("GG316", f"'{base.id}' has no field '{name}'", node.span, name, expected, nearest(name, fields))
            return self._source_node(base.id, name, node.span)
        if isinstance(base, ast.Name) and base.id in self.networks and base.id not in self.spec.values:
            refuse_uncalled(self.spec, base.id, name, node, evaluating=self.evaluating)
        hint = self.take_hint(name)
        value = self.visit(base)
        if not isinstance(value, Ref):
            refuse("GG308", "a constant has no parts", node.span, ast.unparse(node))
        call = self.table.nodes[value.id]
        if call.kind == "output" and call.field == OUTPUT:
            call = self.table.nodes[call.inputs[0]]
        called = self.spec.networks.get(call.target)
        owner = called.of if isinstance(called, AverageSpec) else call.target
        network = self.networks.get(owner)
        outputs = list((network.spec if network.spec.frozen else network).outputs) if network is not None else []
        if not call.is_call or name not in outputs:
            written = self.spec.networks.get(owner)  # with the outputs that nothing reads
            known = list(written.outputs) if call.is_call and isinstance(written, NetworkSpec) else []
            expected = "one of " + ", ".join(known) if any(known) else "a network with named outputs before '.'"
            refuse("GG316", f"this has no part '{name}'", node.span, name, expected, nearest(name, known))
        return self.table.add("output", hint, span=node.span, field=name, arguments=(Ref(call.id),))

    def call(self, name: str, node: ast.Call) -> Argument | None:
        """A network, a special form or a random source."""
        if name in self.broken:
            give_up()
        if self.spec.is_variable(name):
            refuse("GG317", f"'{name}' is a variable, whose name is its value", node.span, ast.unparse(node), name)
        if name in self.spec.networks:
            return self._network_call(name, node)
        kind = kinds.get(name)
        if kind is not None and kind.form is not None:
            return self._called(kind, kind.form, node)
        definition = vocabulary.get(name)
        if definition is not None and definition.traits.random:
            return self._anonymous_source(node)
        return None

    def _called(self, kind: NodeKind, form: Form, call: ast.Call) -> Argument:
        """The value of a call that is spelled by a kind of node, such as `detach(v)`. Raises SpecError."""
        try:
            return form.build(self, kind, call)
        except (Exception, SystemExit) as error:  # a plug-in can raise anything
            raise SpecError([kind.fault(error, form.build, "a call of it is built", call.span)]) from error

    def _network_call(self, name: str, node: ast.Call) -> Argument:
        hint = self.take_hint(f"{name}_out")
        network = self.spec.networks[name]
        owner = network.of if isinstance(network, AverageSpec) else name
        arguments = [self.visit(argument) for argument in node.arguments]
        keywords = {key: self.visit(value) for key, value in node.keywords}
        if (of := self.networks.get(owner)) is None:
            give_up()
        given = bind(name, of.spec, node, arguments, keywords)
        draws = {draw: given[draw] if draw in given else self._draw(name, owner, draw, node) for draw in of.spec.draws}
        bound = tuple(given[each] for each in of.spec.given)
        parts = {"arguments": bound, "keywords": tuple(draws.items())}
        call = self.table.add("network", hint, span=node.span, target=name, **parts)
        if OUTPUT not in of.outputs:
            return call
        return self.table.add("output", f"{hint}.{OUTPUT}", span=node.span, field=OUTPUT, arguments=(call,))

    def _draw(self, name: str, owner: str, draw: str, node: ast.Call) -> Ref:
        """A draw of a network: one for this place of a call, or one for all calls if the network draws once."""
        network = self.networks[owner]
        once = network.spec.draws_once
        label = f"{name}.{draw}" if once or not self.owner else f"{self.owner}.{name}.{draw}"
        unique = (owner, draw) if once else (self.owner, node.span, draw)
        return self._source_of_its_own("draw", label, node.span, unique, network.draws[draw])

    def _anonymous_source(self, node: ast.Call) -> Ref:
        """A random source inside a value: each place where one is written is a source of its own."""
        name = self.take_hint(
            f"{self.owner}.{ast.unparse(node.function)}" if self.owner else ast.unparse(node.function)
        )
        made = build_source(node, self.spec.static_names, self.spec.batch)
        assert isinstance(made, RandomSource)
        return self._source_of_its_own("source", name, node.span, (self.owner, node.span), made)

    def _source_of_its_own(self, kind: str, name: str, span: Span, unique: object, made: RandomSource) -> Ref:
        """A draw from a source that has no name under `data:`; the source gets the name of the node."""
        ref = self.table.add(kind, name, span=span, unique=unique, target="", field="value")
        if ref.id not in self.sources:
            self.sources[ref.id] = made
            self.table.nodes[ref.id] = replace(self.table.nodes[ref.id], target=ref.id)
        return ref

    def dynamic_start(self, terms: Iterable[Expression]) -> int:
        """How many terms of a sum, from the first on, are together one number over time."""
        return dynamic_start(terms)

    def operate(self, target: str, node: ast.Unary | ast.Binary, values: tuple[Argument, ...], name: str) -> Argument:
        """Arithmetic; a term of weight 0 is left out, a weight of 1 is not multiplied.

        What is written as 1.0 or 0.0 stays: with it whole numbers become others.
        """
        if are_numbers(values):
            return self.number(node, values)
        zeros = [value == 0 and isinstance(value, int | float) and not isinstance(value, bool) for value in values]
        if target == "mul" and any(zeros):
            operands = [*ast.children(node)]
            terms = [operand for operand, value in zip(operands, values, strict=True) if isinstance(value, Ref)]
            self._warn_zero((terms or [operands[zeros.index(True)]])[0], node.span)
            return 0
        neutral = [type(value) is int and value == (target == "mul") for value in values]
        if target in ("mul", "add", "sub") and neutral[-1]:
            return values[0]
        if target in ("mul", "add") and neutral[0]:
            return values[1]
        return self.table.add("op", name, span=node.span, target=target, arguments=values)

    def _warn_zero(self, term: Expression, span: Span) -> None:
        problem = Problem(
            code="GG609",
            severity="warning",
            message="a term of weight 0 is left out",
            span=span,
            found=ast.unparse(term),
            fix="give it a weight, or remove it",
        )
        if problem not in self.problems:
            self.problems.append(problem)
