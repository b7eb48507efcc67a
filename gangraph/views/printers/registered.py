"""Calls of what is registered: their arguments by the names of parameters."""

from collections.abc import Collection, Mapping
from inspect import Parameter

from gangraph.language.expression.constants import literal
from gangraph.language.expression.model import Call, Expression
from gangraph.registry import Definition, vocabulary
from gangraph.views.calls import called

Given = Expression | tuple[Expression, ...]  # a parameter `*name` takes several


def definition_of(expression: Expression, networks: Collection[str]) -> Definition | None:
    """The op, loss or metric that an expression calls; None for anything else, such as a call of one of `networks`."""
    name = called(expression)
    definition = vocabulary.get(name) if name not in networks else None
    return definition if definition is not None and definition.kind in ("op", "loss", "metric") else None


def bound(definition: Definition, call: Call) -> Mapping[str, Given]:
    """The arguments of a call by parameter, defaults included; keywords and positions are the same mathematics."""
    given = definition.signature.bind(*call.arguments, **dict(call.keywords)).arguments
    return {
        name: given[name] if name in given else _default(parameter, call)
        for name, parameter in definition.signature.parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def _default(parameter: Parameter, call: Call) -> Given:
    return () if parameter.kind is parameter.VAR_POSITIONAL else literal(parameter.default, call.span)
