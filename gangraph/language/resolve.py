"""Stage 2, resolve: a document, a profile, a variant and settings to a spec with everything static evaluated.

Problems do not stop this stage: a definition that has one is left out, its name is remembered as broken, and
everything else goes on, so that `check` can report all problems of a spec at once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Literal, TypeVar

from gangraph.errors import Problem, Span, SpecError, called_by, nearest
from gangraph.language import expression as ast
from gangraph.language import schema
from gangraph.language.expression import Expression
from gangraph.language.library import find_network, network_names
from gangraph.language.overlay import lay_over
from gangraph.language.parse import Choice, Document, chosen_tree
from gangraph.language.spec import (
    AverageSpec,
    Claim,
    EvaluateSpec,
    NetworkSpec,
    Objective,
    OptimizerSpec,
    Paper,
    PhaseSpec,
    Spec,
    UpdateSpec,
)
from gangraph.language.static import Family, Scope, StaticError, constant, is_absent, is_constant, literal, members
from gangraph.language.syntax import ExpressionError, parse_header, parse_loop
from gangraph.language.tree import Mapping as TreeMapping
from gangraph.language.tree import Scalar
from gangraph.language.tree import Sequence as TreeSequence

T = TypeVar("T")
DYNAMIC_TIME = ("step", "epoch", "seen", "progress")


def resolve(document: Document, choice: Choice | None = None) -> Spec:
    """Evaluate everything static in one form of a document.

    Raises:
        SpecError: the chosen profile, variant or setting does not exist, or breaks the document's syntax.
            Other problems are kept in the result's `problems`.
    """
    choice = choice or Choice()
    problems = list(document.problems)
    try:
        tree, profile = chosen_tree(document, choice)
        model = schema.read_document(tree, problems)
        phase_models = [(name, schema.read_document(phase, problems)) for name, phase in _phase_trees(tree, model)]
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from None
    phases, broken = [], set()
    place = next(key.span for key in tree if key == "train")
    for name, phase_model in phase_models:
        resolver = _Resolver(phase_model, document.origin, place, problems)
        phases.append(resolver.phase(name))
        broken |= resolver.broken
    train = _Resolver(model, document.origin, place, problems)
    return Spec(
        name=model.name,
        about=str(model.about or ""),
        paper=_paper(model.paper),
        profile=profile,
        variant=choice.variant or "",
        default_profile=str(model.default_profile or "paper"),
        profiles=tuple(document.overlays("profiles")),
        variants=tuple(document.overlays("variants")),
        phases=tuple(phases),
        claims=tuple(Claim(say=c.say, source=str(c.source or ""), check=c.check) for c in model.claims),
        save=train.guarded("save", lambda: train.duration(model.train.save)),
        keep=train.guarded("keep", lambda: train.whole(model.train.keep, 3)) or 3,
        text=document.text.content,
        origin=str(document.origin or ""),
        settings=tuple((str(path), str(value)) for path, value in choice.set.items()),
        problems=tuple(problems),
        broken=frozenset(broken),
    )


def _phase_trees(tree: TreeMapping, model: schema.Document) -> Iterator[tuple[str, TreeMapping]]:
    """One tree per phase: the document with the phase's params, values, losses and schedule laid over it."""
    if not model.train.phases:
        yield "train", tree
        return
    train = tree[Scalar("train")]
    assert isinstance(train, TreeMapping)
    written = train[Scalar("phases")]
    for index, phase in enumerate(model.train.phases):
        assert isinstance(written, TreeSequence)
        entry = written[index]
        assert isinstance(entry, TreeMapping)
        overlay, schedule = TreeMapping(), TreeMapping()
        overlay.span = schedule.span = entry.span
        for key, value in entry.items():
            target = overlay if key in ("values", "losses") else schedule
            if key == "set":
                overlay[Scalar.at("params", key.text, key.offsets)] = value
            elif key != "name":
                target[key] = value
        overlay[Scalar.at("train", entry.span.text, (entry.span.start,) * 6)] = schedule
        yield str(phase.name or f"phase {index + 1}"), lay_over(tree, overlay, Scalar.of("phase", "phase"))


def _paper(model: schema.PaperDocument | None) -> Paper | None:
    if model is None:
        return None
    return Paper(**{key: str(value) for key, value in model if value is not None})


@dataclass
class _Resolver:
    """One phase of a document on its way to a PhaseSpec."""

    model: schema.Document
    origin: Path | None
    span: Span  # of `train:`
    problems: list[Problem]
    broken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        model = self.model
        taken = {str(key) for section in (model.data, model.networks, model.values, model.losses) for key in section}
        self.scope = self._static_scope(model.params, model.let, None)
        self.scope.hidden = frozenset(taken & {str(key) for key in model.params})

    def guarded(self, name: str, action: Callable[[], T]) -> T | None:
        """Run `action`; if it finds a problem, keep the problem, remember `name` as broken and give None."""
        try:
            return action()
        except StaticError as error:
            found = error.problem
        except ExpressionError as error:
            found = error.problem
        except SpecError as error:
            self.problems.extend(error.problems)
            found = None
        except RecursionError:
            found = self._too_deep(name)
        if found is not None:
            self.problems.append(found)
        self.broken.add(name)
        return None

    def _too_deep(self, name: str) -> Problem:
        sections = (
            self.model.params,
            self.model.let,
            self.model.data,
            self.model.networks,
            self.model.values,
            self.model.losses,
            self.model.train.optimizers,
        )
        span = next((key.span for section in sections for key in section if key == name), self.span)
        return Problem(
            code="GG301",
            message="definitions lean on each other too many levels deep",
            span=span,
            found=name,
            expected="shorter chains of definitions",
        )

    def phase(self, name: str) -> PhaseSpec:
        """Evaluate every section."""
        model, train = self.model, self.model.train
        return PhaseSpec(
            name=name,
            params=self._params(),
            data=self._family_section(model.data),
            networks=dict(self._networks()),
            values=self._family_section(model.values),
            losses=self._family_section(model.losses),
            batch=self.guarded("batch", lambda: self.whole(train.batch, 1)) or 1,
            length=self.guarded("length", lambda: self.duration(train.length)),
            optimizers=dict(self._optimizers()),
            updates=tuple(self._updates()),
            evaluate=self._evaluate(model.evaluate) if model.evaluate else None,
            span=self.span,
            static_names=frozenset(self.scope.names()),
            spans=dict(self._spans()),
        )

    def _spans(self) -> Iterator[tuple[str, Span]]:
        """Where each name was defined; the members of a family share their key."""
        for section in (self.model.data, self.model.networks, self.model.values, self.model.losses):
            for key in section:
                for name, _ in self.guarded(key, lambda k=key: list(self._expand(k, self.scope))) or []:  # type: ignore[misc]
                    yield name, key.span

    def _params(self) -> dict[str, object]:
        values: dict[str, object] = {}
        for key in self.model.params:
            value = self.guarded(key, lambda k=key: self.scope.lookup(k, k.span))  # type: ignore[misc]
            if value is not None:
                values[str(key)] = constant(value) if is_constant(value) else ast.show(value)
        return values

    def _static_scope(
        self, params: Mapping[Scalar, object], let: Mapping[Scalar, Expression], outer: Scope | None
    ) -> Scope:
        scope = Scope(outer=outer)
        for key, value in params.items():
            if isinstance(value, dict):
                self.guarded(key, lambda k=key, v=value: scope.tables.update({str(k): self._table(v)}))  # type: ignore[misc]
            else:
                scope.definitions[str(key)] = value  # type: ignore[assignment]
        for key, body in let.items():
            self.guarded(key, lambda k=key, b=body: self._let(scope, k, b))  # type: ignore[misc]
        return scope

    def _table(self, table: Mapping[Scalar, Expression]) -> dict[object, Expression]:
        return {int(key) if re.fullmatch(r"-?[0-9]{1,9}", key) else str(key): value for key, value in table.items()}

    def _let(self, scope: Scope, key: Scalar, body: Expression) -> None:
        name, variable, domain = parse_header(key)
        if domain is None:
            scope.definitions[name] = body
        elif variable is not None:
            scope.families.setdefault(name, []).append(Family(variable, members(scope.reduce(domain)), body))
        else:
            index = constant(scope.reduce(domain))
            scope.families.setdefault(name, []).append(Family("_", (index,), body))  # type: ignore[arg-type]

    def _expand(self, key: Scalar, scope: Scope) -> Iterator[tuple[str, Scope]]:
        """The members that a key defines, each with the scope in which its body is evaluated."""
        name, variable, domain = parse_header(key)
        if domain is None:
            yield name, scope
        elif variable is None:
            yield f"{name}[{constant(scope.reduce(domain))}]", scope
        else:
            for index in members(scope.reduce(domain)):
                yield f"{name}[{index}]", scope.child(**{variable: literal(index, key.span)})

    def _family_section(
        self, section: Mapping[Scalar, Expression], scope: Scope | None = None
    ) -> dict[str, Expression]:
        """A section of `name: expression` entries, families expanded and each body reduced."""
        found: dict[str, Expression] = {}
        for key, body in section.items():
            for name, inner in self.guarded(key, lambda k=key: list(self._expand(k, scope or self.scope))) or []:  # type: ignore[misc]
                if name in found:
                    self.problems.append(Problem(code="GG103", message=f"'{name}' is defined twice", span=key.span))
                value = self.guarded(name, lambda i=inner, b=body: i.reduce(b))  # type: ignore[misc]
                if value is not None and not is_absent(value):
                    found[name] = value
        return found

    def _networks(self) -> Iterator[tuple[str, NetworkSpec | AverageSpec]]:
        for key, body in self.model.networks.items():
            for name, scope in self.guarded(key, lambda k=key: list(self._expand(k, self.scope))) or []:  # type: ignore[misc]
                before = len(self.problems)
                made = self.guarded(name, lambda n=name, b=body, s=scope, k=key: self._network(n, b, s, k))  # type: ignore[misc]
                if not isinstance(body, schema.NetworkDocument):
                    found = self.problems[before:]
                    self.problems[before:] = [called_by(problem, name, body.span) for problem in found]
                if self.problems[before:]:
                    self.broken.add(name)
                if made is not None:
                    yield name, made

    def _network(
        self, name: str, body: schema.NetworkDocument | Expression, scope: Scope, key: Scalar
    ) -> NetworkSpec | AverageSpec:
        if isinstance(body, schema.NetworkDocument):
            return self._instance(name, body, Scope(outer=scope), key.span)
        call = scope.reduce(body)
        if isinstance(call, ast.Name):
            call = ast.Call(call, (), (), call.span)
        if not isinstance(call, ast.Call) or not isinstance(call.function, ast.Name):
            raise StaticError(
                Problem(
                    code="GG210",
                    message=f"'{name}' has to be a network",
                    span=body.span,
                    found=ast.show(call),
                    expected="a call such as patchgan(filters=64), or a mapping with inputs and layers",
                )
            )
        if call.function.id == "average":
            return self._average(call)
        template, arguments = call.function.id, call
        inline = next(
            (b for k, b in self.model.networks.items() if k == template and isinstance(b, schema.NetworkDocument)), None
        )
        document = inline or find_network(template, self.origin)
        if document is None:
            known = sorted({*network_names(self.origin), "average"})
            raise StaticError(
                Problem(
                    code="GG211",
                    message=f"there is no network '{template}'",
                    span=call.function.span,
                    found=template,
                    expected="one of " + ", ".join(known),
                    fix=nearest(template, known),
                )
            )
        return self._instance(template, document, self._bound(arguments, document), body.span)

    def _bound(self, call: ast.Call, document: schema.NetworkDocument) -> Scope:
        """The network's params with the call's arguments in their place."""
        known = [str(key) for key in document.params]
        if call.arguments:
            raise StaticError(
                Problem(
                    code="GG212",
                    message="a network's params are given by name",
                    span=call.arguments[0].span,
                    found=ast.show(call.arguments[0]),
                    expected="one of " + ", ".join(f"{k}=" for k in known),
                )
            )
        for key, value in call.keywords:
            if key not in known:
                raise StaticError(
                    Problem(
                        code="GG212",
                        message=f"the network has no param '{key}'",
                        span=ast.keyword_span(key, value),
                        found=key,
                        expected="one of " + ", ".join(known) if known else "no params",
                        fix=nearest(key, known),
                    )
                )
        return Scope(definitions=dict(call.keywords))

    def _instance(self, template: str, document: schema.NetworkDocument, given: Scope, span: Span) -> NetworkSpec:
        params = {key: value for key, value in document.params.items() if str(key) not in given.definitions}
        scope = self._static_scope(params, document.let, given)
        inputs = (document.inputs,) if isinstance(document.inputs, Scalar) else tuple(document.inputs)
        parts: dict[str, tuple[Expression, ...]] = {}
        for key, chain in document.parts.items():
            for name, inner in self._expand(key, scope):
                parts[name] = self._chain(chain, inner)
        values = self._strict_section(document.values, scope)
        outputs = self._strict_section(document.outputs, scope)
        if document.layers is not None:
            parts["layers"] = tuple(self._layers(document.layers, scope))
            outputs[""] = ast.Call(ast.Name("layers", span), tuple(ast.Name(i, i.span) for i in inputs), (), span)
        if document.output is not None:
            outputs[""] = scope.reduce(document.output)
        if not outputs:
            raise StaticError(
                Problem(
                    code="GG213",
                    message=f"network '{template}' has no output",
                    span=span,
                    expected="layers:, output: or outputs:",
                )
            )
        init: dict[str, Expression] = {key: self._reduced(value, scope) for key, value in document.init.items()}
        for name in inputs:
            if not name.isidentifier() or iskeyword(name):
                raise StaticError(
                    Problem(
                        code="GG213",
                        message="an input of a network is a name",
                        span=name.span,
                        found=name,
                        expected="a name such as x or z",
                    )
                )
        return NetworkSpec(
            template=template,
            inputs=tuple(map(str, inputs)),
            parts=parts,
            values=values,
            outputs=outputs,
            init=init,
            span=span,
            static_names=frozenset(scope.names() | self.scope.names()),
        )

    def _strict_section(self, section: Mapping[Scalar, Expression], scope: Scope) -> dict[str, Expression]:
        return {
            name: self._reduced(body, inner)
            for key, body in section.items()
            for name, inner in self._expand(key, scope)
        }

    def _reduced(self, expression: Expression, scope: Scope) -> Expression:
        """The reduced expression. One with a problem is left broken, so that the rest of its network is checked."""
        try:
            return scope.reduce(expression)
        except StaticError as error:
            self.problems += [error.problem] if error.problem else []
            return ast.Broken(expression.span)

    def _chain(self, chain: tuple[Expression, ...], scope: Scope) -> tuple[Expression, ...]:
        """Reduced layers of a chain: absent items dropped, params that hold several layers spliced in."""
        layers: list[Expression] = []
        for item in chain:
            reduced = self._reduced(item, scope)
            if is_absent(reduced) or (isinstance(reduced, ast.Literal) and reduced.value is None):
                continue
            layers.extend(reduced.items if isinstance(reduced, ast.Sequence) else [reduced])
        return tuple(layers)

    def _layers(self, layers: schema.Layers, scope: Scope) -> Iterator[Expression]:
        for entry in layers if isinstance(layers, list) else [layers]:
            if not isinstance(entry, dict):
                yield from self._chain(entry, scope)
                continue
            for key, chain in entry.items():
                variable, domain = parse_loop(key)
                for index in members(scope.reduce(domain), scope.names() | self.scope.names()):
                    yield from self._chain(chain, scope.child(**{variable: literal(index, key.span)}))

    def _average(self, call: ast.Call) -> AverageSpec:
        keywords = dict(call.keywords)
        unknown = [key for key in keywords if key not in ("decay", "buffers")]
        buffers = keywords.get("buffers", ast.Literal("copy", call.span))
        bad_buffers = not isinstance(buffers, ast.Literal) or buffers.value not in ("copy", "average")
        if (
            unknown
            or bad_buffers
            or "decay" not in keywords
            or len(call.arguments) != 1
            or not isinstance(call.arguments[0], ast.Name)
        ):
            raise StaticError(
                Problem(
                    code="GG214",
                    message="an average copy is not written like this",
                    span=call.span,
                    found=ast.show(call),
                    expected='average(NETWORK, decay=0.999), optionally with buffers="copy" or "average"',
                )
            )
        how: Literal["copy", "average"] = "average" if buffers.value == "average" else "copy"  # type: ignore[union-attr]
        return AverageSpec(of=call.arguments[0].id, decay=keywords["decay"], buffers=how, span=call.span)

    def _optimizers(self) -> Iterator[tuple[str, OptimizerSpec]]:
        for key, body in self.model.train.optimizers.items():
            made = self.guarded(key, lambda k=key, b=body: self._optimizer(str(k), self.scope.reduce(b)))  # type: ignore[misc]
            if made is not None:
                yield str(key), made

    def _optimizer(self, name: str, call: Expression) -> OptimizerSpec:
        if not isinstance(call, ast.Call) or not isinstance(call.function, ast.Name) or len(call.arguments) != 1:
            raise StaticError(
                Problem(
                    code="GG220",
                    message=f"optimizer group '{name}' is not written like this",
                    span=call.span,
                    found=ast.show(call),
                    expected="adam(NETWORK, lr=2e-4) or adam([NETWORK, NETWORK], lr=2e-4)",
                )
            )
        listed = call.arguments[0]
        names = listed.items if isinstance(listed, ast.Sequence) else (listed,)
        wrong = next((item for item in names if not isinstance(item, ast.Name)), None)
        if wrong is not None:
            raise StaticError(
                Problem(
                    code="GG220",
                    message="an optimizer is given networks",
                    span=wrong.span,
                    found=ast.show(wrong),
                    expected="the name of a network",
                )
            )
        networks = tuple((item.id, item.span) for item in names if isinstance(item, ast.Name))
        return OptimizerSpec(
            name=name, kind=call.function.id, networks=networks, options=dict(call.keywords), span=call.span
        )

    def _updates(self) -> Iterator[UpdateSpec]:
        for entry in self.model.train.step:
            group = entry.update
            name = str(group) if isinstance(group, Scalar) else "+".join(group)
            made = self.guarded(f"update {name}", lambda e=entry, n=name: self._update(e, n))  # type: ignore[misc]
            if made is not None:
                yield made

    def _update(self, entry: schema.UpdateDocument, name: str) -> UpdateSpec:
        reduce = self._optional
        then = entry.then if isinstance(entry.then, list) else [entry.then] if entry.then is not None else []
        first = entry.update if isinstance(entry.update, Scalar) else next(iter(entry.update))
        return UpdateSpec(
            name=name,
            objectives=tuple(self._objectives(entry)),
            draw=self._draw(reduce(entry.draw)),
            times=reduce(entry.times),
            every=reduce(entry.every),
            when=reduce(entry.when),
            then=tuple(self.scope.reduce(item) for item in then),
            accumulate=self.whole(entry.accumulate, 1),
            clip_grad_norm=reduce(entry.clip_grad_norm),
            clip_grad_value=reduce(entry.clip_grad_value),
            span=first.span,
        )

    def _optional(self, expression: Expression | None) -> Expression | None:
        return None if expression is None else self.scope.reduce(expression)

    def _objectives(self, entry: schema.UpdateDocument) -> Iterator[Objective]:
        if isinstance(entry.update, Scalar):
            yield self._objective(entry.update, entry)
            return
        if entry.minimize is not None or entry.maximize is not None:
            place = (entry.minimize or entry.maximize).span  # type: ignore[union-attr]
            raise StaticError(
                Problem(
                    code="GG221",
                    message="a simultaneous update states what each group minimises",
                    span=place,
                    expected="minimize: under each group's name, not beside update:",
                )
            )
        for group, objective in entry.update.items():
            yield self._objective(group, objective)

    def _objective(self, group: Scalar, entry: schema.UpdateDocument | schema.ObjectiveDocument) -> Objective:
        if (entry.minimize is None) == (entry.maximize is None):
            raise StaticError(
                Problem(
                    code="GG221",
                    message=f"the update of '{group}' needs one objective",
                    span=group.span,
                    found="none" if entry.minimize is None else "two",
                    expected="minimize: or maximize:",
                )
            )
        written = entry.minimize if entry.minimize is not None else entry.maximize
        assert written is not None
        sign = 1 if entry.minimize is not None else -1
        return Objective(group=str(group), expression=self.scope.reduce(written), sign=sign, span=group.span)

    def _draw(self, draw: Expression | None) -> tuple[tuple[str, Span], ...] | None:
        if draw is None:
            return None
        items = draw.items if isinstance(draw, ast.Sequence) else (draw,)
        wrong = next((item for item in items if not isinstance(item, ast.Name)), None)
        if wrong is not None:
            raise StaticError(
                Problem(
                    code="GG222",
                    message="draw: names the sources to draw anew",
                    span=wrong.span,
                    found=ast.show(wrong),
                    expected="all, a name, or a list of names",
                )
            )
        return tuple((item.id, item.span) for item in items if isinstance(item, ast.Name))

    def _evaluate(self, model: schema.EvaluateDocument) -> EvaluateSpec:
        grid = self.guarded("grid", lambda: self._optional(model.grid))
        return EvaluateSpec(
            every=self.guarded("every", lambda: self.duration(model.every)),
            samples=self.guarded("samples", lambda: self.whole(model.samples, 8)) or 8,
            mode=self.guarded("mode", lambda: self._mode(model.mode)) or "eval",
            data=self._family_section(model.data),
            values=self._family_section(model.values),
            grid=grid.items if isinstance(grid, ast.Sequence) else (grid,) if grid is not None else (),
            metrics=self._family_section(model.metrics),
            best=self.guarded("best", lambda: self._best(model)),
        )

    def _mode(self, mode: Scalar | None) -> Literal["train", "eval"]:
        if mode is not None and mode not in ("train", "eval"):
            raise StaticError(
                Problem(
                    code="GG223",
                    message="there is no such mode",
                    span=mode.span,
                    found=str(mode),
                    expected="train or eval",
                )
            )
        return "train" if mode == "train" else "eval"

    def _best(self, model: schema.EvaluateDocument) -> tuple[Literal["max", "min"], str] | None:
        match model.best:
            case None:
                return None
            case ast.Call(function=ast.Name(id=("max" | "min") as which), arguments=(ast.Name(id=metric),)):
                if metric in {str(key) for key in model.metrics}:
                    return ("max" if which == "max" else "min"), metric
        known = ", ".join(map(str, model.metrics)) or "none is defined"
        metric = next((ast.show(a) for a in getattr(model.best, "arguments", ())), "")
        raise StaticError(
            Problem(
                code="GG224",
                message="best: chooses by one metric",
                span=model.best.span,
                found=ast.show(model.best),
                expected=f"max(METRIC) or min(METRIC); the metrics: {known}",
                fix=nearest(metric, map(str, model.metrics)),
            )
        )

    def whole(self, written: Expression | None, default: int) -> int:
        """A whole number of at least 1. Raises StaticError."""
        if written is None:
            return default
        value = constant(self.scope.reduce(written))
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value != int(value):
            raise StaticError(
                Problem(
                    code="GG225",
                    message="a whole number of at least 1 belongs here",
                    span=written.span,
                    found=str(value),
                )
            )
        return int(value)

    def duration(self, written: Expression | None) -> ast.Quantity | None:
        """A length of training with its unit. Raises StaticError."""
        if written is None:
            return None
        value = self.scope.reduce(written)
        if not isinstance(value, ast.Quantity) or value.value <= 0:
            raise StaticError(
                Problem(
                    code="GG226",
                    message="a length of training has a unit",
                    span=written.span,
                    found=ast.show(value),
                    expected="a number above 0 of steps, epochs, images or kimg",
                    fix=f"{ast.show(value)} steps" if is_constant(value) else "",
                )
            )
        return value
