"""Arguments of calls, checked against a signature: one function for layers, ops, losses, metrics and sources.

A parameter that is annotated `Tensor` takes values and numbers, and every other a constant of its type.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from shlex import quote
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from torch import Tensor

from gangraph.errors import Problem, Span, SpecError, nearest, refuse, shown
from gangraph.graph.model import Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.order import require_order


def check_arguments(
    name: str,
    signature: inspect.Signature,
    arguments: tuple[Any, ...],
    keywords: tuple[tuple[str, Any], ...],
    call: ast.Call,
    skipped: int = 0,
    ordered: tuple[str, str] | None = None,
) -> None:
    """Refuse arguments that do not fit what `name` calls.

    Args:
        arguments: what the call's arguments stand for: constants, and `Ref` for what is computed in a run.
        skipped: how many leading parameters get no written argument, such as the running value of a chain; if negative,
            how many leading arguments belong to no parameter, such as the layer that another one wraps.
        ordered: the first of these parameters is no greater than the second.

    Raises:
        SpecError: too many, too few or unknown arguments, or one of another type than the annotation says, or
            a pair in the wrong order.
    """
    for key, value in _bind(signature, name, arguments, keywords, call).items():
        parameter = signature.parameters[key]
        if parameter.kind is parameter.VAR_KEYWORD:
            for free, each in value.items():
                _check_argument(name, parameter.replace(name=free), each, dict(call.keywords)[free].span)
            continue
        values = value if parameter.kind is parameter.VAR_POSITIONAL else (value,)
        for index, each in enumerate(values):
            _check_argument(name, parameter, each, argument_span(signature, key, call, skipped - index))
    if ordered is not None:
        require_order(call, ordered, signature, skipped=skipped)


def _check_argument(name: str, parameter: inspect.Parameter, value: object, span: Span) -> None:
    what, annotation = f"'{parameter.name}' of '{name}'", parameter.annotation
    if annotation is Tensor:
        if isinstance(value, str | bool | None | tuple):
            refuse("GG313", f"{what} is a tensor", span, shown(value), "a value or a number")
    elif isinstance(value, Ref):
        if Tensor not in get_args(annotation):
            refuse("GG313", f"{what} has to be a constant", span, value.id, type_name(annotation))
    elif not fits(value, annotation):
        fix = _in_quotes(span) if fits("", annotation) else ""
        refuse("GG313", f"{what} has the wrong type", span, shown(value), type_name(annotation), fix)


def _in_quotes(span: Span) -> str:
    """How what was written is written as a text, in a spec or on the command line."""
    text = f'"{span.text.content[span.start : span.end]}"'
    return f"{span.text.name}={quote(text)}" if span.text.name.startswith("--set") else text


def argument_span(signature: inspect.Signature, parameter: str, call: ast.Call, skipped: int = 0) -> Span:
    """Where the argument for a parameter was written; the first `skipped` parameters are not written in the call."""
    keywords = dict(call.keywords)
    if parameter in keywords:
        return keywords[parameter].span
    position = list(signature.parameters).index(parameter) - skipped
    return call.arguments[position].span if 0 <= position < len(call.arguments) else call.span


def _given_twice(key: str, place: int, name: str, node: ast.Call) -> Problem:
    """An argument stands at its place and is given by its name too, as `--set data.x.folder=` may do."""
    named = dict(node.keywords)
    value = named.pop(key)
    arguments = (*node.arguments[:place], value, *node.arguments[place + 1 :])
    once = ast.unparse(replace(node, arguments=arguments, keywords=tuple(named.items())))
    setting, dot, last = node.span.text.name.rpartition(".")
    whole = f"{setting}={quote(once)}" if setting.startswith("--set ") and dot and last == key else once
    return Problem(
        code="GG312",
        message=f"'{name}' is given '{key}' twice, by its place and by its name",
        span=node.span,
        found=f"{ast.unparse(node.arguments[place])} and {key}={ast.unparse(value)}",
        expected="one of them",
        fix=f"write {whole}",
    )


def _bind(
    signature: inspect.Signature,
    name: str,
    arguments: tuple[Any, ...],
    keywords: tuple[tuple[str, Any], ...],
    node: ast.Call,
) -> Mapping[str, Any]:
    """Arguments by parameter name.

    Raises:
        SpecError: too many, too few or unknown arguments.
    """
    known = [p for p in signature.parameters if p not in ("self",)]
    free = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for key, _ in keywords:
        if key not in signature.parameters and not free:
            refuse(
                "GG312",
                f"'{name}' has no argument '{key}'",
                ast.keyword_span(key, dict(node.keywords)[key]),
                key,
                "one of " + ", ".join(known),
                nearest(key, known),
            )
    places = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    twice = next((key for key, _ in keywords if key in places[: len(arguments)]), None)
    if twice is not None and len(arguments) == len(node.arguments):
        raise SpecError([_given_twice(twice, places.index(twice), name, node)])
    try:
        return signature.bind(*arguments, **dict(keywords)).arguments
    except TypeError as error:
        usage = ", ".join(
            str(p).split(":")[0].split("=")[0] + ("" if p.default is p.empty else f"={shown(p.default)}")
            for p in signature.parameters.values()
        )
        refuse("GG312", f"'{name}' is called wrongly: {error}", node.span, ast.unparse(node), f"{name}({usage})")


def fits(value: object, annotation: Any) -> bool:
    """Whether a constant has the type that a parameter is annotated with; whole numbers fit floats."""
    if annotation in (Any, inspect.Parameter.empty, object):
        return True
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in get_args(annotation))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    if origin is tuple:
        return isinstance(value, tuple) and _items_fit(value, get_args(annotation))
    if annotation in (None, NoneType):
        return value is None
    plain: Callable[..., bool] = isinstance
    if annotation is float:
        return plain(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return plain(value, int) and not isinstance(value, bool)
    return not isinstance(annotation, type) or plain(value, annotation)


def _items_fit(items: tuple[object, ...], annotations: tuple[Any, ...]) -> bool:
    """Whether a list has as many items as a tuple is annotated with, of such types; `...` is any number of them."""
    if len(annotations) == 2 and annotations[1] is ...:
        annotations = annotations[:1] * len(items)
    return len(items) == len(annotations) and all(map(fits, items, annotations))


def type_name(annotation: Any) -> str:
    """A type as a person says it."""
    names = {
        Tensor: "a value",
        int: "a whole number",
        float: "a number",
        str: "a string",
        bool: "true or false",
        NoneType: "none",
    }
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_name(option) for option in get_args(annotation)))
    if origin is Literal:
        return "one of " + ", ".join(map(shown, get_args(annotation)))
    if origin is tuple:
        items = get_args(annotation)
        return "a list" if ... in items else f"[{', '.join(map(type_name, items))}]"
    return names.get(annotation, str(annotation))
