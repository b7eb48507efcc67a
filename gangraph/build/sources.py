"""Data sources: from the calls under `data:`, and inside values, to the objects that draw batches."""

from collections.abc import Iterable, Iterator, Mapping
from math import prod

from gangraph.build.arguments import argument_span, check_arguments
from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.errors import ArgumentError, Problem, SpecError, nearest, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import Expression
from gangraph.language.spec import NetworkSpec, PhaseSpec
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


def network_draws(spec: NetworkSpec, problems: list[Problem]) -> Iterator[tuple[str, RandomSource]]:
    """The random source of each draw of a network, by name; one that cannot be made is added to `problems`."""
    for name, expression in spec.draws.items():
        try:
            made = build_source(expression, spec.static_names, 1)
            if not isinstance(made, RandomSource):
                random = [known for known, each in vocabulary.of_kind("source").items() if each.traits.random]
                refuse(
                    "GG595",
                    f"the draw '{name}' is no random source",
                    expression.span,
                    ast.unparse(expression),
                    "one of " + ", ".join(random) + "; data is given to a network as an input",
                )
            yield name, made
        except SpecError as error:
            problems += error.problems


def build_source(expression: Expression, static_names: Iterable[str], batch: int) -> Source | RandomSource:
    """One source. Raises SpecError."""
    call = expression if isinstance(expression, ast.Call) else ast.Call(expression, (), (), expression.span)
    name = ast.unparse(call.function)
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

    def given(written: Expression) -> object:
        inner = ast.unparse(written.function) if isinstance(written, ast.Call) else ""
        is_source = bool(inner) and (inner in known or bool(nearest(inner, known)))
        return build_source(written, static_names, batch) if is_source else constant(written, static_names)

    arguments = tuple(map(given, call.arguments))
    keywords = tuple((key, given(value)) for key, value in call.keywords)
    check_arguments(name, definition.signature, arguments, keywords, call)
    made, largest = _made(definition, arguments, dict(keywords), call)
    if batch * largest > _LARGEST_BATCH:
        found, expected = f"{batch * largest:,} numbers", f"at most {_LARGEST_BATCH:,}"
        refuse("GG315", f"one batch of '{name}' is too large", call.span, found, expected)
    return made


def _made(
    definition: Definition, arguments: Iterable[object], keywords: Mapping[str, object], call: ast.Call
) -> tuple[Source | RandomSource, int]:
    """The source of a call, and how many numbers the largest field of a sample has. Raises SpecError."""
    name = definition.name
    try:
        made: Source | RandomSource = definition.function(*arguments, **keywords)
        return made, max((prod(field.shape) for field in made.fields.values()), default=0)
    except ArgumentError as error:
        if error.argument in definition.signature.parameters:
            span = argument_span(definition.signature, error.argument, call)
            message = f"'{name}' does not take this {error.argument}"
            refuse("GG315", message, span, error.found, error.expected, error.fix)
        refuse("GG315", f"'{name}' refuses its arguments", call.span, reason=str(error))
    except (Exception, SystemExit) as error:  # a plug-in's source may raise anything
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        refuse("GG315", f"'{name}' refuses its arguments", call.span, reason=said)
