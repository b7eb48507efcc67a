"""Data sources: from the calls under `data:`, and inside values, to the objects that draw batches."""

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from shlex import quote
from typing import Any

from gangraph.build.expressions import argument_span, bind, fits, shown, type_name
from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.errors import Problem, Span, SpecError, nearest, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import constant
from gangraph.language.spec import (
    PhaseSpec,
)
from gangraph.registry import Definition, vocabulary

_LARGEST_BATCH = 2**34  # numbers, 64 GiB of float32; more is a mistake


def build_sources(
    spec: PhaseSpec, data: Mapping[str, Expression], problems: list[Problem]
) -> Iterator[tuple[str, Source | RandomSource]]:
    """Every source of a section that can be made; problems are kept."""
    for name, expression in data.items():
        try:
            yield name, build_source(expression, spec.static_names, spec.batch)
        except SpecError as error:
            problems += error.problems


def build_source(expression: Expression, static_names: Iterable[str], batch: int) -> Source | RandomSource:
    """One source. Raises SpecError."""
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
    arguments = tuple(constant(argument, static_names) for argument in call.arguments)
    keywords = tuple((key, constant(value, static_names)) for key, value in call.keywords)
    _check_source(definition, arguments, keywords, call)
    try:
        made: Source | RandomSource = definition.function(*arguments, **dict(keywords))
        sizes = [batch * prod(field.shape) for field in made.fields.values()]
    except (Exception, SystemExit) as error:  # a plug-in's source may raise anything
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise SpecError([_refused_source(name, call, definition, said)]) from None
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
    """The message of a source's own check, at the argument that it names: `argument: found this, expected that`."""
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
                    _in_quotes(span) if fits("", parameter.annotation) else "",
                )


def _in_quotes(span: Span) -> str:
    """How what was written is written as a text, in a spec or on the command line."""
    text = f'"{span.text.content[span.start : span.end]}"'
    return f"{span.text.name}={quote(text)}" if span.text.name.startswith("--set") else text
