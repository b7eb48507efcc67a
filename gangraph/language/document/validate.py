"""A tree against the schema: to a document, or to a problem for each key that is unknown, missing or misplaced."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gangraph.errors import Problem, Span, SpecError, closest, nearest
from gangraph.language.document.fields import Model, yaml_kind
from gangraph.language.document.schema import Document, NetworkDocument
from gangraph.language.document.tree import Tree, TreeMapping, TreeSequence
from gangraph.language.expression.syntax import is_loop
from gangraph.language.scalar import Scalar
from gangraph.language.state_sections import STATE_SECTIONS
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.update_schedule import SCHEDULE_KEYS

_Model = TypeVar("_Model", bound=Model)

VERSION = "1"  # of the language


def read_document(tree: TreeMapping, problems: list[Problem]) -> Document:
    """A spec's document. Expressions that do not parse are added to `problems` and stand as `Broken`.

    Raises:
        SpecError: every key that is unknown, missing or of the wrong kind, with `problems`.
    """
    return _read(Document, tree, problems)


def other_version(tree: TreeMapping) -> Iterator[Problem]:
    """A problem where a spec states another version of the language."""
    version = tree.get(Scalar("gangraph"))
    if isinstance(version, Scalar) and version != VERSION:
        message = f"this engine reads version {VERSION} of the language"
        yield Problem(
            code="GG206", message=message, span=version.span, found=str(version), expected=f"gangraph: {VERSION}"
        )


def read_network(tree: TreeMapping) -> NetworkDocument:
    """A network's document.

    Raises:
        SpecError: every key that is unknown, missing or of the wrong kind, and every expression that does not parse.
    """
    problems: list[Problem] = []
    document = _read(NetworkDocument, tree, problems)
    if problems:
        raise SpecError(problems)
    return document


def _read(model: type[_Model], tree: TreeMapping, problems: list[Problem]) -> _Model:
    try:
        return model.model_validate(tree, context=problems)
    except ValidationError as error:
        raise SpecError([*problems, *_problems(model, tree, error.errors(include_url=False))]) from None


def _problems(model: type[Model], tree: TreeMapping, details: Sequence[ErrorDetails]) -> Iterator[Problem]:
    """A problem for everything that pydantic found, but for keys that are missing only because they are misspelt."""
    unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
    misspelt = {closest(str(detail["loc"][-1]), _known(model, tree, detail)) for detail in unknown}
    for detail in details:
        if detail["type"] != "missing" or detail["loc"][-1] not in misspelt:
            yield _problem(model, tree, detail)


def _known(model: type[Model], tree: TreeMapping, detail: ErrorDetails) -> list[str]:
    """The keys that belong where one is unknown."""
    return _keys_at(model, [part for part, _, _ in [*_steps(tree, detail["loc"])][:-1]])


def _problem(model: type[Model], tree: TreeMapping, detail: ErrorDetails) -> Problem:
    path = [*_steps(tree, detail["loc"])]
    _, key_span, owner = path[-1] if path else ("", tree.span, tree)
    span = key_span if detail["type"] in ("extra_forbidden", "missing") else owner.span
    key = str(detail["loc"][-1])
    if detail["type"] == "extra_forbidden":
        known = _known(model, tree, detail)
        return Problem(
            code="GG201",
            message=f"unknown key '{key}'",
            span=span,
            found=key,
            expected="one of " + ", ".join(known),
            fix=nearest(key, known),
        )
    if detail["type"] == "missing":
        return Problem(code="GG202", message=f"'{key}:' is missing", span=span, expected=f"{key}:")
    if detail["type"] == "loop":
        return _crowded(owner)
    expected = detail["msg"] if detail["type"] == "kind" else _EXPECTED.get(detail["type"], "another kind of value")
    found = {"scalar": "text" if owner else "nothing", "mapping": "a mapping", "sequence": "a list"}[yaml_kind(owner)]
    return Problem(
        code="GG203",
        message="this is not the kind of value that belongs here",
        span=span,
        found=found,
        expected=expected,
    )


def _crowded(owner: Tree) -> Problem:
    """A loop with other keys beside it."""
    assert isinstance(owner, TreeMapping)
    loop = next(key for key in owner if is_loop(key))
    beside = next(key for key in owner if key is not loop)
    return Problem(
        code="GG240",
        message="a loop stands alone in its entry",
        span=beside.span,
        found=f"'{beside}:' beside '{loop}:'",
        expected="what is repeated stands under the loop, one entry or a list of them",
        fix=f"indent '{beside}:' further than '{loop}:'",
    )


_EXPECTED = {
    "dict_type": "a mapping of names to values",
    "too_short": "at least one entry",
    "list_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "union_tag_invalid": "an expression or a mapping",
}


def _steps(tree: Tree, loc: tuple[int | str, ...]) -> Iterator[tuple[int | str, Span, Tree]]:
    """The keys and positions on a validation path, each with its place and value; tags of unions are passed over."""
    value = tree
    for part in loc:
        if isinstance(value, TreeMapping) and part in value:
            span = next(key.span for key in value if key == part)
            value = value[part]  # type: ignore[index]  # the path came from it
            yield part, span, value
        elif isinstance(value, TreeSequence) and isinstance(part, int) and part < len(value):
            value = value[part]
            yield part, value.span, value


def _keys_at(model: type[Model], path: Iterable[int | str]) -> list[str]:
    """The keys that the model at a path accepts."""
    schema = _json_schema(model, (*SCHEDULE_KEYS, *UPDATE_OPTIONS, *STATE_SECTIONS))
    node: dict[str, Any] = schema
    for part in path:
        node = _inside(schema, node, part) or node
    node = _resolved(schema, node)
    options = [_resolved(schema, option) for option in node.get("oneOf", node.get("anyOf", [node]))]
    return [key for option in options for key in option.get("properties", {})]


@cache
def _json_schema(model: type[Model], keys: tuple[str, ...]) -> dict[str, Any]:
    """The JSON schema of a model, while the tables have these keys."""
    return model.model_json_schema()


def _inside(schema: dict[str, Any], node: dict[str, Any], part: int | str) -> dict[str, Any] | None:
    node = _resolved(schema, node)
    for option in (node, *node.get("oneOf", []), *node.get("anyOf", [])):
        option = _resolved(schema, option)
        if part in option.get("properties", {}):
            return dict(option["properties"][part])
        if isinstance(part, int) and "items" in option:
            return dict(option["items"])
        if isinstance(option.get("additionalProperties"), dict):
            return dict(option["additionalProperties"])
    return None


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
