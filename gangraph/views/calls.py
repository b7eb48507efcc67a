"""Calls among expressions: what they call, and what they are calls of."""

from collections.abc import Iterable, Iterator

from gangraph.language.expression.model import Call, Expression, dotted


def called(expression: Expression) -> str:
    """The name of what an expression calls, such as `least_squares.critic`; nothing where it is no call by name."""
    return dotted(expression.function) if isinstance(expression, Call) else ""


def calls_of(function: str, expressions: Iterable[Expression]) -> Iterator[Call]:
    """Those among expressions that are calls of one function."""
    return (each for each in expressions if isinstance(each, Call) and called(each) == function)


def unstopped(call: Call) -> Expression:
    """The value inside `held`, `detach` or `history`; for the history of a held value, the value that is held."""
    inside = call.arguments[0]
    twice = called(call) == "history" and called(inside) in ("held", "detach")
    return inside.arguments[0] if twice and isinstance(inside, Call) else inside
