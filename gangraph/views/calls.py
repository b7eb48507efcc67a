"""Calls among expressions: what they call, and what they are calls of."""

from collections.abc import Iterable, Iterator

from gangraph.graph.kinds import NodeKind, kinds
from gangraph.language.expression.model import Call, Expression, dotted


def called(expression: Expression) -> str:
    """The name of what an expression calls, such as `least_squares.critic`; nothing where it is no call by name."""
    return dotted(expression.function) if isinstance(expression, Call) else ""


def calls_of(function: str, expressions: Iterable[Expression]) -> Iterator[Call]:
    """Those among expressions that are calls of one function."""
    return (each for each in expressions if isinstance(each, Call) and called(each) == function)


def kind_of(expression: Expression) -> NodeKind | None:
    """The kind of node that an expression is a call of, such as that of `at_first(fake)`."""
    kind = kinds.get(called(expression))
    return kind if kind is not None and kind.form is not None else None


def accent_of(expression: Expression) -> str:
    """What LaTeX writes over the value in a call; nothing for most."""
    kind = kind_of(expression)
    return kind.accent if kind is not None else ""


def unstopped(call: Call) -> Expression:
    """The value inside a call with an accent; for the history of a held value, the value that is held."""
    inside = call.arguments[0]
    twice = accent_of(call) == "widetilde" and accent_of(inside) == "overline"
    return inside.arguments[0] if twice and isinstance(inside, Call) else inside
