"""Networks that another spec trains: the spec is found, its params are set by the call, and it is resolved."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from gangraph.errors import Problem, Span, SpecError, called_by, nearest, refuse
from gangraph.language.document.library import Copy, UnreadableError, require_spec
from gangraph.language.document.parse import Choice, ParsedDocument, chosen_tree, parse, parse_text
from gangraph.language.document.sections import Sections
from gangraph.language.document.tree import TreeMapping
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import Expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import EvaluatorSpec, Spec

Resolve = Callable[[ParsedDocument, Choice], Spec]

_USAGE = 'trained("evaluators/recogniser", network="C"), with params of that spec or profile= by keyword'


def resolve_evaluators(
    sections: Sections, written: Mapping[Scalar, Expression], resolve: Resolve
) -> dict[str, EvaluatorSpec]:
    """The networks that can be read, by name; `resolve` makes a spec of a document."""
    return dict(_Evaluators(sections, resolve).all(written))


class _Evaluators:
    """The `networks:` section of `evaluate:`."""

    def __init__(self, sections: Sections, resolve: Resolve) -> None:
        self.sections, self.resolve = sections, resolve

    def all(self, written: Mapping[Scalar, Expression]) -> Iterator[tuple[str, EvaluatorSpec]]:
        for key, body in written.items():
            for name, scope in self.sections.guarded(key, self.sections.expand, key, self.sections.scope) or []:
                call = self.sections.guarded(name, scope.reduce, body)
                if isinstance(call, ast.Literal) and call.value is None:
                    continue
                before = len(self.sections.problems)
                made = self.sections.guarded(name, self._evaluator, key, name, call) if call is not None else None
                found = self.sections.problems[before:]
                self.sections.problems[before:] = [called_by(problem, name, body.span) for problem in found]
                if made is not None:
                    yield name, made

    def _evaluator(self, key: Scalar, name: str, written: Expression) -> EvaluatorSpec:
        if name in {str(known) for known in self.sections.model.networks}:
            _refuse_unusable(key.span, f"there is a network '{name}' already", name, "another name")
        return resolve_trained(self.sections, self.resolve, written)


def resolve_trained(sections: Sections, resolve: Resolve, written: Expression) -> EvaluatorSpec:
    """The network that `trained(...)` names, with the problems of its spec. Raises SpecError."""
    return _Training(sections, resolve).network(written)


class _Training:
    """Reads the calls of networks that other specs train, and resolves these specs."""

    def __init__(self, sections: Sections, resolve: Resolve) -> None:
        self.sections, self.resolve = sections, resolve

    def network(self, written: Expression) -> EvaluatorSpec:
        """The network that a call names. Raises SpecError."""
        called, network, choice = self._call(written)
        spec = self._spec(called, choice, written)
        networks = spec.phases[-1].networks
        if network not in networks and network not in spec.broken:
            _refuse_unusable(
                written.span,
                f"the spec '{called}' has no network '{network}'",
                network,
                "one of " + ", ".join(networks),
                nearest(network, networks),
            )
        if spec.phases[-1].length is None and not any(problem.severity == "error" for problem in spec.problems):
            _refuse_unusable(
                written.span, f"the spec '{called}' states no length of training", called, "train: length:"
            )
        return EvaluatorSpec(called=called, spec=spec, network=network, span=written.span)

    def _call(self, written: Expression) -> tuple[str, str, Choice]:
        """The spec's name, the network's, and the form of the spec that is meant."""
        match written:
            case ast.Call(function=ast.Name(id="trained"), arguments=(ast.Literal(value=str(called)),)):
                keywords = dict(written.keywords)
            case _:
                _refuse_miswritten(written)
        chosen = {key: constant(keywords.pop(key)) for key in ("network", "profile") if key in keywords}
        network, profile = chosen.get("network"), chosen.get("profile")
        if not isinstance(network, str) or not isinstance(profile, str | None):
            _refuse_miswritten(written)
        return (
            called,
            network,
            Choice(profile=profile, set={f"params.{k}": ast.unparse(v) for k, v in keywords.items()}),
        )

    def _spec(self, called: str, choice: Choice, written: Expression) -> Spec:
        """The resolved spec; what is wrong with it is reported where it is called."""
        found = self.sections.files.evaluator(called)
        if found is None:
            known = self.sections.files.evaluator_names()
            _refuse_unusable(
                written.span,
                f"there is no spec '{called}'",
                called,
                "one of " + ", ".join(known),
                nearest(called, known),
            )
        try:
            document = _read(found) if isinstance(found, Path) else _copied(found)
            tree, _ = chosen_tree(document, choice)
        except UnreadableError as error:
            refuse(
                "GG450",
                f"'{called}' is no spec that trains a network",
                written.span,
                found=called,
                expected="one of " + ", ".join(self.sections.files.evaluator_names()),
                reason=error.reason,
            )
        except SpecError as error:
            raise SpecError(_at_call(error, written)) from None
        if _leans_on_others(tree):
            message = f"the spec '{called}' has evaluators of its own"
            _refuse_unusable(written.span, message, called, "a spec without evaluate: networks:")
        files = replace(document.files, depth=self.sections.files.depth + 1)
        try:
            return self.resolve(replace(document, files=files), choice)
        except SpecError as error:
            raise SpecError(_at_call(error, written)) from None


def _read(path: Path) -> ParsedDocument:
    require_spec(path)
    return parse(path)


def _copied(copy: Copy) -> ParsedDocument:
    return parse_text(copy.text, name=copy.path, origin=copy.files.folder, copies=copy.files.copies)


def _leans_on_others(tree: TreeMapping) -> bool:
    evaluate = tree.get(Scalar("evaluate"))
    return isinstance(evaluate, TreeMapping) and bool(evaluate.get(Scalar("networks")))


def _at_call(error: SpecError, written: Expression) -> list[Problem]:
    """Problems of a param, moved to where the call sets it; those in the file of the other spec stay there."""
    keywords = dict(written.keywords) if isinstance(written, ast.Call) else {}
    return [_moved(problem, keywords, written) for problem in error.problems]


def _moved(problem: Problem, keywords: Mapping[str, Expression], written: Expression) -> Problem:
    text = problem.span.text
    if not text.name.startswith("--"):
        return problem
    key = next((k for k in keywords if f"params.{k}" in (text.content, text.name.removeprefix("--set "))), None)
    span = ast.keyword_span(key, keywords[key]) if key is not None else written.span
    return Problem(
        code="GG229",
        message=f"the called spec cannot be set like this: {problem.message}",
        span=span,
        found=key or ast.unparse(written),
        expected=problem.expected,
        fix=problem.fix,
    )


def _refuse_miswritten(written: Expression) -> NoReturn:
    message = "an evaluator is a network that another spec trains"
    refuse("GG228", message, written.span, ast.unparse(written), _USAGE)


def _refuse_unusable(span: Span, message: str, found: str, expected: str, fix: str = "") -> NoReturn:
    refuse("GG229", message, span, found, expected, fix)
