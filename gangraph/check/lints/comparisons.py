"""A lint of comparisons whose result is known beforehand."""

import math
from collections.abc import Callable, Iterator, Mapping

from gangraph.check.infer import Types
from gangraph.check.instantiate import ANY, Interval
from gangraph.check.lints.warning import warn
from gangraph.check.naming import said
from gangraph.errors import Problem
from gangraph.graph.kinds import SIGNS
from gangraph.graph.model import Argument, Graph, Ref


def certain_comparison(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG625: a comparison that is always true or always false, by the ranges of its two sides."""
    for node in graph.nodes.values():
        sign = SIGNS.get(node.target, "")
        if sign not in _ANSWERS or node.id not in types.nodes:
            continue
        left, right = (_span(argument, types) for argument in node.arguments)
        answer = _ANSWERS[sign](left, right)
        if answer is not None:
            known = " and ".join(_ranges(graph, node.arguments, types))
            span = node.span
            yield warn(
                "GG625",
                f"this comparison is always {str(answer).lower()}",
                span,
                found=f"{span.text.content[span.start : span.end]}, and {known}",
                fix="a number inside the range",
            )


def _ranges(graph: Graph, arguments: tuple[Argument, ...], types: Types) -> Iterator[str]:
    for argument in arguments:
        if isinstance(argument, Ref):
            low, high = _span(argument, types)
            yield f"{said(graph, argument.id)} is in [{low:g}, {high:g}]"


def _span(argument: Argument, types: Types) -> Interval:
    if isinstance(argument, Ref):
        return types.nodes[argument.id].low, types.nodes[argument.id].high
    return (float(argument), float(argument)) if isinstance(argument, int | float) else ANY


def _is_less(a: Interval, b: Interval) -> bool | None:
    return True if a[1] < b[0] else False if a[0] >= b[1] and math.isfinite(a[0]) else None


def _is_equal(a: Interval, b: Interval) -> bool | None:
    return False if a[1] < b[0] or b[1] < a[0] else None


def _opposite(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


_ANSWERS: Mapping[str, Callable[[Interval, Interval], bool | None]] = {
    "<": _is_less,
    ">": lambda a, b: _is_less(b, a),
    "<=": lambda a, b: _opposite(_is_less(b, a)),
    ">=": lambda a, b: _opposite(_is_less(a, b)),
    "==": _is_equal,
    "!=": lambda a, b: _opposite(_is_equal(a, b)),
}
