"""Networks: from calls and in-place definitions to chains of layers and the values that connect them."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from keyword import iskeyword
from typing import Literal

from gangraph.errors import Problem, Span, SpecError, called_by, nearest, refuse
from gangraph.language.document import schema
from gangraph.language.document.library import NetworkFile, UnreadableError, shipped_network
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import literal, members
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope, is_absent
from gangraph.language.expression.syntax import parse_loop
from gangraph.language.resolve.draws import draws_once, refuse_double_names, refuse_taken_param
from gangraph.language.resolve.elsewhere import FORMS, Elsewhere, pretrained_weights
from gangraph.language.scalar import Scalar
from gangraph.language.spec import OUTPUT, VARIABLE, AverageSpec, NetworkSpec, Share
from gangraph.language.tied import share_parts, written_shares

LARGEST_CHAIN = 2_000  # layers
SHARE = "share"  # the keyword of a call that names parts of other networks
DRAW = "draw"  # the keyword of a call that says how often it draws
_FIGURES = ("GG301", "GG304", "GG306")  # what comes of a number that does not suit


def resolve_networks(sections: Sections, elsewhere: Elsewhere) -> dict[str, NetworkSpec | AverageSpec]:
    """Every network and variable of a phase, params bound and families written out."""
    made = dict(_Networks(sections, elsewhere).all())
    starts = sections.family_section(sections.model.variables)
    for name in (name for name in starts if name in made):
        sections.problems.append(Problem(code="GG103", message=f"'{name}' is defined twice", span=starts[name].span))
    variables = {name: _variable(start) for name, start in starts.items()}
    return share_parts(made | variables, sections)


def _variable(start: Expression) -> NetworkSpec:
    """A trained tensor: a network without inputs, of one parameter."""
    output = ast.Name(VARIABLE, start.span)
    return NetworkSpec(
        template="variable", inputs=(), parts={}, values={}, outputs={"": output}, init={}, span=start.span, start=start
    )


class _Networks:
    """The `networks:` section of a phase."""

    def __init__(self, sections: Sections, elsewhere: Elsewhere) -> None:
        self.sections, self.elsewhere = sections, elsewhere

    def all(self) -> Iterator[tuple[str, NetworkSpec | AverageSpec]]:
        for key, body in self.sections.model.networks.items():
            for name, scope in self.sections.guarded(key, self.sections.expand, key, self.sections.scope) or []:
                before = len(self.sections.problems)
                made = self.sections.guarded(name, self._network, name, body, scope, key)
                if not isinstance(body, schema.NetworkDocument):
                    found = [*self._with_fixes(self.sections.problems[before:], name, body, scope, key)]
                    self.sections.problems[before:] = [called_by(problem, name, body.span) for problem in found]
                if self.sections.problems[before:]:
                    self.sections.broken.add(name)
                if made is not None:
                    yield name, made

    def _with_fixes(
        self, found: list[Problem], name: str, body: Expression, scope: Scope, key: Scalar
    ) -> Iterator[Problem]:
        """The problems of a call; where a number makes another one fractional, with the nearest numbers that work."""
        fix, before, unrolled = "", len(self.sections.problems), self.sections.scope.unrolled
        if any(problem.code in _FIGURES and not problem.fix for problem in found):
            with contextlib.suppress(SpecError):
                fix = next(self._numbers_that_work(name, scope.reduce(body), scope, key), "")
            del self.sections.problems[before:]
            self.sections.scope.unrolled = unrolled
        for problem in found:
            yield replace(problem, fix=problem.fix or fix) if problem.code in _FIGURES else problem

    def _numbers_that_work(self, name: str, call: Expression, scope: Scope, key: Scalar) -> Iterator[str]:
        if not isinstance(call, ast.Call):
            return
        for keyword, value in call.keywords:
            number = value.value if isinstance(value, ast.Literal) else None
            if not isinstance(number, int) or isinstance(number, bool) or number < 2:
                continue
            near = sorted({m * 2**k for k in range(10) for m in (number >> k, (number >> k) + 1)} - {0, number})
            sides = [c for c in reversed(near) if c < number], [c for c in near if c > number]
            tried = [((c, self._works(name, call, keyword, c, scope, key)) for c in side) for side in sides]
            works = [str(c) for side in tried if (c := next((c for c, good in side if good), None)) is not None]
            if works:
                what = "values" if works[1:] else "value"
                yield f"the nearest {what} of {keyword} that work{'s' * (not works[1:])}: {' and '.join(works)}"

    def _works(self, name: str, call: ast.Call, keyword: str, number: int, scope: Scope, key: Scalar) -> bool:
        """Whether the call has no problem with another number."""
        before = len(self.sections.problems)
        keywords = tuple((k, literal(number, v.span) if k == keyword else v) for k, v in call.keywords)
        try:
            self._network(name, replace(call, keywords=keywords), scope, key)
        except SpecError:
            return False
        return len(self.sections.problems) == before

    def _network(
        self, name: str, body: schema.NetworkDocument | Expression, scope: Scope, key: Scalar
    ) -> NetworkSpec | AverageSpec:
        if isinstance(body, schema.NetworkDocument):
            shares = written_shares(scope.reduce(body.share)) if body.share is not None else ()
            return self._instance(name, body, Scope(outer=scope), key.span, shares)
        call = scope.reduce(body)
        if isinstance(call, ast.Name):
            call = ast.Call(call, (), (), call.span)
        if not isinstance(call, ast.Call) or not isinstance(call.function, ast.Name):
            refuse(
                "GG210",
                f"'{name}' has to be a network",
                body.span,
                found=ast.unparse(call),
                expected="a call such as patchgan(filters=64), or a mapping with inputs and layers",
            )
        if call.function.id == "average":
            return self._average(call)
        if call.function.id == "pretrained":
            return self._pretrained(call)
        if call.function.id in FORMS:
            return self.elsewhere.network(call)
        return self._called(call.function.id, call, body.span)

    def _called(self, template: str, call: ast.Call, span: Span) -> NetworkSpec:
        """The network of a call such as `patchgan(filters=64)`: of a definition in the spec, or of a file."""
        defined = self.sections.model.networks
        found = next((body for key, body in defined.items() if key == template), None)
        inline = found if isinstance(found, schema.NetworkDocument) else None
        file = self._file(template, call.function.span) if inline is None else None
        document = file.document if file else inline
        if document is None:
            known = sorted({*self.sections.files.network_names(), "average", *FORMS})
            refuse(
                "GG211",
                f"there is no network '{template}'",
                call.function.span,
                found=template,
                expected="one of " + ", ".join(known),
                fix=nearest(template, known),
            )
        if inline is None and document.share is not None:
            self._refuse_share(document.share.span, "'share:' in the file of a network", "share= where it is called")
        given = {key: value for key, value in call.keywords if key in (SHARE, DRAW)}
        made = self._instance(
            template,
            document,
            self._bound(call, document, self.sections.scope if inline else None),
            span,
            written_shares(given[SHARE]) if SHARE in given else (),
        )
        made = replace(made, draws_once=draws_once(template, made, given[DRAW])) if DRAW in given else made
        return replace(made, file=file.text) if file else made

    def _pretrained(self, call: ast.Call) -> NetworkSpec:
        """A well-known network, from its shipped file, with the weights that torchvision has for it."""
        weights, outputs = pretrained_weights(call)
        document = shipped_network(weights.name).document
        own = replace(call, arguments=(), keywords=tuple(each for each in call.keywords if each[0] != "outputs"))
        made = self._instance(weights.name, document, self._bound(own, document, None), call.span, ())
        kept = {name: body for name, body in made.outputs.items() if outputs is None or name in outputs}
        wrong = next((name for name in outputs or () if name not in made.outputs), None)
        if wrong is not None:
            known = list(made.outputs)
            refuse(
                "GG234",
                f"{weights.name} has no layer '{wrong}'",
                call.span,
                found=wrong,
                expected="one of " + ", ".join(known),
                fix=nearest(wrong, known),
            )
        return replace(made, outputs=kept, weights=weights)

    def _file(self, template: str, span: Span) -> NetworkFile | None:
        """The definition in a file of its own; None if there is none."""
        try:
            return self.sections.files.network(template)
        except UnreadableError as error:
            refuse(
                "GG450",
                f"the file of network '{template}' cannot be read as one",
                span,
                found=error.called,
                expected="a file networks/NAME.yaml with inputs: and layers:",
                reason=error.reason,
            )

    def _refuse_share(self, span: Span, found: str, expected: str) -> None:
        refuse(
            "GG530",
            "what a network shares is said by the spec that has both networks",
            span,
            found=found,
            expected=expected,
        )

    def _bound(self, call: ast.Call, document: schema.NetworkDocument, outer: Scope | None) -> Scope:
        """The network's params with the call's arguments in their place; `share` and `draw` are the language's own.

        A network that is defined in place sees the names of the spec too, its `outer` scope.
        """
        known = [str(key) for key in document.params]
        taken = next((key for key in document.params if key == SHARE), None)
        if taken is not None:
            self._refuse_share(taken.span, "a param 'share'", "another name for the param")
        refuse_taken_param(document)
        if call.arguments:
            refuse(
                "GG212",
                "a network's params are given by name",
                call.arguments[0].span,
                found=ast.unparse(call.arguments[0]),
                expected="one of " + ", ".join(f"{k}=" for k in known),
            )
        for key, value in call.keywords:
            if key not in (*known, SHARE, DRAW):
                refuse(
                    "GG212",
                    f"the network has no param '{key}'",
                    ast.keyword_span(key, value),
                    found=key,
                    expected="one of " + ", ".join(known) if known else "no params",
                    fix=nearest(key, (*known, SHARE, DRAW)),
                )
        return Scope(definitions={key: v for key, v in call.keywords if key not in (SHARE, DRAW)}, outer=outer)

    def _instance(
        self, template: str, document: schema.NetworkDocument, given: Scope, span: Span, shares: tuple[Share, ...]
    ) -> NetworkSpec:
        params = {key: value for key, value in document.params.items() if str(key) not in given.definitions}
        scope = self.sections.static_scope(params, document.let, given)
        given_inputs = (document.inputs,) if isinstance(document.inputs, Scalar) else tuple(document.inputs)
        inputs = (*given_inputs, *document.draw)
        parts: dict[str, tuple[Expression, ...]] = {}
        for key, chain in document.parts.items():
            for name, inner in self.sections.expand(key, scope):
                parts[name] = tuple(self._layers(chain, inner))
        values = self._strict_section(document.values, scope)
        outputs = self._strict_section(document.outputs, scope)
        main = OUTPUT if outputs else ""
        if document.layers is not None:
            parts["layers"] = tuple(self._layers(document.layers, scope))
            taken = tuple(ast.Name(i, i.span) for i in given_inputs)
            outputs[main] = ast.Call(ast.Name("layers", span), taken, (), span)
        if document.output is not None:
            outputs[main] = scope.reduce(document.output)
        if not outputs:
            refuse("GG213", f"network '{template}' has no output", span, expected="layers:, output: or outputs:")
        init: dict[str, Expression] = {key: self._reduced(value, scope) for key, value in document.init.items()}
        for name in inputs:
            if not name.isidentifier() or iskeyword(name):
                refuse("GG213", "an input of a network is a name", name.span, name, "a name such as x or z")
        refuse_double_names(document, given_inputs)
        return NetworkSpec(
            template=template,
            inputs=tuple(map(str, inputs)),
            parts=parts,
            values=values,
            outputs=outputs,
            init=init,
            span=span,
            static_names=frozenset(scope.names() | self.sections.scope.names()),
            shares=shares,
            draws={str(name): self._reduced(body, scope) for name, body in document.draw.items()},
        )

    def _strict_section(self, section: Mapping[Scalar, Expression], scope: Scope) -> dict[str, Expression]:
        found: dict[str, Expression] = {}
        for key, body in section.items():
            for name, inner in self.sections.expand(key, scope):
                if name in found:
                    refuse("GG103", f"'{name}' is defined twice", key.span)
                found[name] = self._reduced(body, inner)
        return found

    def _reduced(self, expression: Expression, scope: Scope) -> Expression:
        """The reduced expression. One with a problem is left broken, so that the rest of its network is checked."""
        try:
            return scope.reduce(expression)
        except SpecError as error:
            self.sections.problems += error.problems
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
        """The layers of a chain, its loops written out. Raises SpecError for very many."""
        for number, (layer, span) in enumerate(self._repeated(layers, scope)):
            if number == LARGEST_CHAIN:
                refuse(
                    "GG415",
                    "a chain has too many layers",
                    span,
                    found=f"more than {LARGEST_CHAIN:,}",
                    expected="smaller ranges",
                )
            yield layer

    def _repeated(self, layers: schema.Layers, scope: Scope) -> Iterator[tuple[Expression, Span]]:
        for entry in layers if isinstance(layers, list) else [layers]:
            if not isinstance(entry, dict):
                yield from ((layer, layer.span) for layer in self._chain(entry, scope))
                continue
            for key, chain in entry.items():
                variable, domain = parse_loop(key)
                for index in members(scope.reduce(domain), scope.names() | self.sections.scope.names()):
                    inner = scope.child(**{variable: literal(index, key.span)})
                    yield from ((layer, key.span) for layer in self._chain(chain, inner))

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
            refuse(
                "GG214",
                "an average copy is not written like this",
                call.span,
                found=ast.unparse(call),
                expected='average(NETWORK, decay=0.999), optionally with buffers="copy" or "average"',
            )
        decay = keywords["decay"]
        if isinstance(decay, ast.Literal) and isinstance(decay.value, int | float) and not 0 <= decay.value <= 1:
            refuse("GG214", "a decay is from 0 to 1", decay.span, ast.unparse(decay), "decay=0.999, say")
        how: Literal["copy", "average"] = "average" if ast.unparse(buffers) == '"average"' else "copy"
        return AverageSpec(of=call.arguments[0].id, decay=keywords["decay"], buffers=how, span=call.span)
