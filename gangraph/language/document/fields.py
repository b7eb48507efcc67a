"""What may stand under a key of a spec: text, expressions, chains, loops, and mappings whose keys are known."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, PlainValidator, Tag, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError

from gangraph.errors import Problem, SpecError
from gangraph.language.document.tree import TreeMapping, TreeSequence
from gangraph.language.expression import model as ast
from gangraph.language.expression.syntax import parse_chain, parse_expression, parse_loop
from gangraph.language.scalar import Scalar


def _scalar(tree: Any) -> Scalar:
    if not isinstance(tree, Scalar):
        raise PydanticCustomError("kind", "text")
    return tree


def _one(tree: Any, info: ValidationInfo) -> ast.Expression:
    if isinstance(tree, TreeMapping):
        raise PydanticCustomError("kind", "an expression")
    scalar = tree.raw if isinstance(tree, TreeSequence) else tree
    try:
        return parse_expression(scalar)
    except SpecError as error:
        return _broken(scalar, error, info)


def _chain(tree: Any, info: ValidationInfo) -> tuple[ast.Expression, ...]:
    if not isinstance(tree, Scalar):
        raise PydanticCustomError("kind", "layers separated by commas")
    try:
        return parse_chain(tree)
    except SpecError as error:
        return (_broken(tree, error, info),)


def _loop(tree: Any, info: ValidationInfo) -> Scalar:
    """The key of entries that are written once for many, `for k in 0..2`."""
    scalar = _scalar(tree)
    try:
        parse_loop(scalar)
    except SpecError as error:
        _broken(scalar, error, info)
    return scalar


def _broken(scalar: Scalar, error: SpecError, info: ValidationInfo) -> ast.Expression:
    """A stand-in for an expression that does not parse, so that everything else is still checked."""
    problems: list[Problem] = info.context  # type: ignore[assignment]
    problems.extend(error.problems)
    return ast.Broken(scalar.span)


_ANY_SCALAR = {"type": ["string", "number", "boolean"]}
Plain = Annotated[Scalar, PlainValidator(_scalar), WithJsonSchema({**_ANY_SCALAR, "description": "text"})]
Key = Annotated[Scalar, PlainValidator(_scalar), WithJsonSchema({"type": "string"})]
LoopKey = Annotated[Scalar, PlainValidator(_loop), WithJsonSchema({"type": "string"})]
Expr = Annotated[
    ast.Expression,
    PlainValidator(_one),
    WithJsonSchema({"type": ["string", "number", "boolean", "array"], "description": "an expression"}),
]
Chain = Annotated[
    tuple[ast.Expression, ...],
    PlainValidator(_chain),
    WithJsonSchema({"type": "string", "description": "layers separated by commas"}),
]
Overlay = Annotated[
    Any, PlainValidator(lambda tree: tree), WithJsonSchema({"type": "object", "description": "a partial spec"})
]


def yaml_kind(tree: Any) -> str:
    """Which kind of YAML value a tree is: a mapping, a sequence or a scalar."""
    return "mapping" if isinstance(tree, TreeMapping) else "sequence" if isinstance(tree, TreeSequence) else "scalar"


def gathered(written: Any) -> Any:
    """What the tables of records know of a mapping's keys; a spec cannot write the key of a whole table itself."""
    if isinstance(written, TreeMapping) or not isinstance(written, dict):
        raise PydanticKnownError("extra_forbidden")
    return written


class Model(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True, defer_build=True
    )


# What a phase lays over a definition: another one, or some of its keys, which are read once they lie over the rest.
Part = Annotated[Annotated[Expr, Tag("scalar")] | Annotated[Overlay, Tag("mapping")], Discriminator(yaml_kind)]
