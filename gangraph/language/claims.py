"""Claims: conditions on measured numbers, such as `error[full] < error[l1_only]`.

A claim compares numbers of variants: `metric[variant]`, `metric["one,another"]` for variants laid over one another, and
`metric` alone for the spec without a variant. `correlation(a[v], b[v])` is that of two metrics over the evaluations of
a run; `start=0.25` leaves out the first quarter.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from gangraph.errors import Problem, Span, nearest
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse

FULL = "full"  # what a claim calls the spec without a variant
CORRELATION = "correlation"

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs, "min": min, "max": max, "exp": math.exp, "log": math.log, "sqrt": math.sqrt,
}  # fmt: skip
_OF_SEVERAL = ("min", "max")
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "**": math.pow,
}  # fmt: skip
# How far each is from failing; above 0 where it holds.
_COMPARISONS: dict[str, Callable[[float, float], float]] = {
    ">": lambda a, b: a - b, "<": lambda a, b: b - a,
}  # fmt: skip
_JUNCTIONS: dict[str, Callable[[float, float], float]] = {"and": min, "or": max}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of a variant, as a claim names it."""

    metric: str
    variant: str

    def __str__(self) -> str:
        return f"{self.metric}[{self.variant}]"


def measures(check: Expression) -> tuple[Measure, ...]:
    """Every metric of a variant that a claim names."""
    return tuple(dict.fromkeys(measure for measure, _ in measures_at(check)))


def margin(
    check: Expression, number: Callable[[Measure], float], correlation: Callable[[Measure, Measure, float], float]
) -> float:
    """How far a claim is from failing: the difference of what it compares; above 0 where it holds.

    Args:
        check: a condition in which `verify` finds nothing wrong.
        number: the measured value of a metric of a variant.
        correlation: of two metrics over the time of a run, without its first part, a share from 0 to 1.

    Raises:
        ArithmeticError, ValueError: the condition has no value for these numbers.
    """
    named = _named(check)
    if named is not None:
        return number(named)
    match check:
        case ast.Literal(value=int() | float() as literal):
            return literal
        case ast.Unary(operator=operator, operand=operand):
            value = margin(operand, number, correlation)
            return value if operator == "+" else -value  # `not` turns a margin round, as a minus does a number
        case ast.Binary(operator="+" | "-"):
            return ast.along(
                check,
                lambda first: margin(first, number, correlation),
                lambda left, each: _ARITHMETIC[each.operator](left, margin(each.right, number, correlation)),
            )
        case ast.Binary(operator=operator, left=left, right=right):
            sides = margin(left, number, correlation), margin(right, number, correlation)
            return (_ARITHMETIC | _COMPARISONS | _JUNCTIONS)[operator](*sides)
        case ast.Call(function=ast.Name(id=name), arguments=arguments) if name != CORRELATION:
            return _FUNCTIONS[name](*(margin(argument, number, correlation) for argument in arguments))
        case ast.Call(arguments=(one, other)) if (a := _named(one)) and (b := _named(other)):
            return correlation(a, b, _start(check))
    raise ValueError(f"'{unparse(check)}' is no number")


def claim_problems(check: Expression, metrics: Iterable[str], variants: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with a claim: no condition, or a metric or variant that the spec does not have."""
    yield from _condition(check)
    metrics, variants = tuple(metrics), (FULL, *variants)
    for measure, span in measures_at(check):
        yield from unknown("metric", measure.metric, span, metrics)
        parts = measure.variant.split(",")
        for name in parts:
            yield from unknown("variant", name, span, variants[1:] if parts[1:] else variants)


def unknown(kind: str, name: str, span: Span, known: Collection[str]) -> Iterator[Problem]:
    """The problem of a metric or variant that a spec does not have, if it does not."""
    if name not in known:
        expected = "one of " + ", ".join(known) if known else f"none: it has no {kind}s"
        message = f"the spec has no {kind} '{name}'"
        yield Problem(code="GG231", message=message, span=span, found=name, expected=expected, fix=nearest(name, known))


def _condition(node: Expression) -> Iterator[Problem]:
    match node:
        case ast.Broken():
            return
        case ast.Binary(operator=operator, left=left, right=right) if operator in _JUNCTIONS:
            yield from (*_condition(left), *_condition(right))
        case ast.Unary(operator="not", operand=operand):
            yield from _condition(operand)
        case ast.Binary(operator=operator, left=left, right=right) if operator in _COMPARISONS:
            yield from (*_number(left), *_number(right))
        case _:
            yield _refusal("a claim compares numbers", node, "error[full] < error[other], also with and, or, not")


def _number(node: Expression) -> Iterator[Problem]:
    if _named(node) is not None:
        return
    match node:
        case ast.Literal(value=int() | float() as value) if not isinstance(value, bool):
            return
        case ast.Unary(operator="+" | "-", operand=operand):
            yield from _number(operand)
        case ast.Binary(operator=operator) if operator in _ARITHMETIC:
            yield from (problem for part in ast.parts(node) for problem in _number(part))
        case ast.Binary(operator=operator) if operator in _COMPARISONS:
            yield _refusal("a comparison is no number", node, "a < b and b < c")
        case ast.Call(function=ast.Name(id=name), arguments=arguments) if name == CORRELATION:
            if len(arguments) != 2 or not all(map(_named, arguments)) or not 0 <= _start(node) < 1:
                usage = f"{CORRELATION}(loss[full], quality[full]), optionally with start=0.25, a share of the run"
                yield _refusal(f"{CORRELATION} takes two metrics", node, usage)
        case ast.Call(function=ast.Name(id=name), arguments=arguments, keywords=keywords) if name in _FUNCTIONS:
            if keywords or not (len(arguments) > 1 if name in _OF_SEVERAL else len(arguments) == 1):
                usage = f"{name}(error[full], error[other])" if name in _OF_SEVERAL else f"{name}(error[full])"
                yield _refusal(
                    f"'{name}' takes {'several numbers' if name in _OF_SEVERAL else 'one number'}", node, usage
                )
            for argument in arguments:
                yield from _number(argument)
        case ast.Call():
            known = (*_FUNCTIONS, CORRELATION)
            name = unparse(node.function)
            yield _refusal("a claim has no such function", node, "one of " + ", ".join(known), nearest(name, known))
        case _:
            yield _refusal("a claim compares numbers", node, "numbers and metrics, such as error[full]")


def _start(node: ast.Call) -> float:
    """The share of a run that a correlation leaves out; -1 where it is written wrongly."""
    match node.keywords:
        case ():
            return 0.0
        case (("start", ast.Literal(value=int() | float() as share)),):
            return share
    return -1.0


def _refusal(message: str, node: Expression, expected: str, fix: str = "") -> Problem:
    return Problem(code="GG230", message=message, span=node.span, found=unparse(node), expected=expected, fix=fix)


def measures_at(node: Expression) -> Iterator[tuple[Measure, Span]]:
    """Every metric of a variant that an expression names, and where."""
    named = _named(node)
    if named is not None:
        yield named, node.span
        return
    for child in node.arguments if isinstance(node, ast.Call) else ast.parts(node):
        yield from measures_at(child)


def _named(node: Expression) -> Measure | None:
    """The metric of a variant that an expression is: `metric`, `metric[variant]` or `metric["one,another"]`."""
    match node:
        case ast.Name(id=name):
            return Measure(name, FULL)
        case ast.Index(base=ast.Name(id=name), index=ast.Name(id=variant) | ast.Literal(value=str() as variant)):
            return Measure(name, variant.replace(" ", ""))
    return None
