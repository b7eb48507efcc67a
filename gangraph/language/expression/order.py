"""Pairs of numbers of which one may not be above the other: bounds of a range, the ends of a ramp."""

import inspect
from dataclasses import replace

from gangraph.errors import refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression


def require_order(call: ast.Call, pair: tuple[str, str], signature: inspect.Signature, *, skipped: int = 0) -> None:
    """Refuse a call that gives the lower of two numbers above the upper one.

    Args:
        call: with constants in place of names; what is no number is passed over.
        pair: the parameters of the lower and the upper number.
        signature: of what is called, for the places and defaults of its parameters.
        skipped: how many of these are not written in the call, as the running value of a chain; if it is negative, how
            many that are written are none of them.

    Raises:
        SpecError: with both in their order as the fix.
    """
    places, first = [*signature.parameters][max(skipped, 0) :], max(-skipped, 0)
    written = dict(zip(places, call.arguments[first:], strict=False)) | dict(call.keywords)
    low, high = (_number(written[name]) if name in written else signature.parameters[name].default for name in pair)
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low <= high:
        return
    both = [written[name] for name in pair if name in written]
    refuse(
        "GG323",
        f"'{pair[0]}' is above '{pair[1]}'",
        both[0].span,
        found=", ".join(f"{name} {ast.unparse(written[name])}" for name in pair if name in written),
        expected=f"{pair[0]} no greater than {pair[1]}" + ("" if len(both) == 2 else f", which is {high:g}"),
        fix=f"write {ast.unparse(_exchanged(call, *both))}" if len(both) == 2 else "",
    )


def _number(expression: Expression) -> object:
    """A constant, or the length of a quantity; None for anything else."""
    return expression.value if isinstance(expression, ast.Literal | ast.Quantity) else None


def _exchanged(call: ast.Call, low: Expression, high: Expression) -> ast.Call:
    """The call with two of its arguments in each other's place."""

    def exchange(value: Expression) -> Expression:
        return high if value is low else low if value is high else value

    keywords = tuple((key, exchange(value)) for key, value in call.keywords)
    return replace(call, arguments=tuple(map(exchange, call.arguments)), keywords=keywords)
