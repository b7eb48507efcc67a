"""The expression language: its syntax tree, and how an expression prints.

Nodes compare by meaning: the span that says where a node was written does not take part, so two places
that write the same mathematics hold equal expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeGuard, TypeVar

from gangraph.errors import Span

T = TypeVar("T")

LONGEST_NAME = 100  # characters, as names become parts of paths

UNITS = {
    "step": "steps", "steps": "steps", "epoch": "epochs", "epochs": "epochs",
    "image": "images", "images": "images", "kimg": "kimg",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, string, truth value or `none`."""

    value: int | float | str | bool | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit of training length: steps, epochs, images or kimg."""

    value: int | float
    unit: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A name; members of families are names too, such as `down[3]`."""

    id: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    """`base.name`: a field of a stream, an output of a network, or one of a loss's players."""

    base: Expression
    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`: a member of a family."""

    base: Expression
    index: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments, keyword=value)`."""

    function: Expression
    arguments: tuple[Expression, ...]
    keywords: tuple[tuple[str, Expression], ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`, `+x` or `not x`."""

    operator: str
    operand: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """Arithmetic, comparison, `and`, `or`, `in`. A sum of many terms is a long chain of these to the left."""

    operator: str
    left: Expression
    right: Expression
    span: Span = field(compare=False, repr=False)

    def __eq__(self, other: object) -> bool:
        mine: object = self
        while isinstance(mine, Binary) and isinstance(other, Binary) and mine is not other:
            if mine.operator != other.operator or mine.right != other.right:
                return False
            mine, other = mine.left, other.left
        return mine is other or (not isinstance(mine, Binary) and mine == other)

    def __hash__(self) -> int:
        first, sums = summands(self)
        return hash((first, *((each.operator, each.right) for each in sums)) if sums else (*children(self),))


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then if test else otherwise`; without `else`, absent when the test is false."""

    then: Expression
    test: Expression
    otherwise: Expression | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Range:
    """`start..stop`: whole numbers, both ends included, in either direction."""

    start: Expression
    stop: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sequence:
    """`[a, b, c]`; at the top of a chain, `a, b, c`."""

    items: tuple[Expression, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Comprehension:
    """`item for variable in domain`, inside a call or a list; the item of an outer loop is the inner one."""

    item: Expression
    variable: str
    domain: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """An expression that does not parse; its problem was reported."""

    span: Span = field(compare=False, repr=False)


Expression = (
    Broken
    | Literal
    | Quantity
    | Name
    | Attribute
    | Index
    | Call
    | Unary
    | Binary
    | Conditional
    | Range
    | Sequence
    | Comprehension
)

# How tightly each operator binds; the parser climbs these levels and the printer parenthesises by them.
PRECEDENCE = {
    "if": 1, "or": 2, "and": 3, "not": 4,
    "<": 5, "<=": 5, ">": 5, ">=": 5, "==": 5, "!=": 5, "in": 5,
    "..": 6, "+": 7, "-": 7, "*": 8, "/": 8, "//": 8, "%": 8, "unary": 9, "**": 10, "atom": 11,
}  # fmt: skip


def children(expression: Expression) -> Iterator[Expression]:
    """The direct parts of an expression, in reading order."""
    match expression:
        case Broken() | Literal() | Quantity() | Name():
            return
        case Attribute(base=base):
            yield base
        case Index(base=base, index=index):
            yield from (base, index)
        case Call(function=function, arguments=arguments, keywords=keywords):
            yield function
            yield from arguments
            yield from (value for _, value in keywords)
        case Unary(operand=operand):
            yield operand
        case Binary(left=left, right=right) | Range(start=left, stop=right):
            yield from (left, right)
        case Conditional(then=then, test=test, otherwise=otherwise):
            yield from (then, test)
            if otherwise is not None:
                yield otherwise
        case Sequence(items=items):
            yield from items
        case Comprehension(item=item, domain=domain):
            yield from (item, domain)


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and everything inside it, in reading order."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed([*children(node)]))


def is_sum(expression: Expression) -> TypeGuard[Binary]:
    """Whether the outermost operation of an expression is a sum or a difference."""
    return isinstance(expression, Binary) and expression.operator in ("+", "-")


def summands(expression: Expression) -> tuple[Expression, tuple[Binary, ...]]:
    """The first term of a sum, and the sums that begin with it, the shortest first; for anything else itself and none.

    `a + b - c` gives `a`, and the sums `a + b` and `a + b - c`, each with one more term on its right. A sum may have
    thousands of terms, so code that walks expressions follows a sum by `along` and `parts`, not by recursion.
    """
    sums = []
    while is_sum(expression):
        sums.append(expression)
        expression = expression.left
    return expression, tuple(reversed(sums))


def along(expression: Binary, first: Callable[[Expression], T], then: Callable[[T, Binary], T]) -> T:
    """Fold a sum from the left: `first` of its first term, then `then` of the result so far and each longer sum."""
    start, sums = summands(expression)
    return reduce(then, sums, first(start))


def parts(expression: Expression) -> Iterator[Expression]:
    """All terms of a sum; of anything else its direct parts, in reading order."""
    first, sums = summands(expression)
    yield from (first, *(each.right for each in sums)) if sums else children(expression)


def keyword_span(keyword: str, value: Expression) -> Span:
    """Where the name of a keyword argument was written: before its value."""
    span = value.span
    written = re.search(rf"\b{keyword}\s*=[\s(]*$", span.text.content[: span.start])
    return Span(span.text, written.start(), written.start() + len(keyword)) if written else span


def binding(expression: Expression) -> int:
    """How tightly the outermost operation of an expression binds: a level of PRECEDENCE; 0 for a comprehension."""
    match expression:
        case Literal(value=int(value) | float(value)) if value < 0:
            return PRECEDENCE["unary"]
        case Unary(operator=operator):
            return PRECEDENCE["not" if operator == "not" else "unary"]
        case Binary(operator=operator):
            return PRECEDENCE[operator]
        case Conditional():
            return PRECEDENCE["if"]
        case Range():
            return PRECEDENCE[".."]
        case Comprehension():
            return 0
    return PRECEDENCE["atom"]


def unparse(expression: Expression, level: int = 0) -> str:
    """The expression as text that parses back to an equal one; in parentheses where it binds less than `level`."""
    text = _unparsed(expression)
    return f"({text})" if binding(expression) < level else text


def _unparsed(expression: Expression) -> str:
    atom, level = PRECEDENCE["atom"], binding(expression)
    match expression:
        case Broken():
            return "?"
        case Literal(value=value):
            return _show_literal(value)
        case Quantity(value=value, unit=unit):
            return f"{value} {unit}"
        case Name(id=name):
            return name
        case Attribute(base=base, name=name):
            return f"{unparse(base, atom)}.{name}"
        case Index(base=base, index=index):
            return f"{unparse(base, atom)}[{unparse(index)}]"
        case Call(function=function, arguments=arguments, keywords=keywords):
            inside = [unparse(a) for a in arguments] + [f"{k}={unparse(v)}" for k, v in keywords]
            return f"{unparse(function, atom)}({', '.join(inside)})"
        case Unary(operator=operator, operand=operand):
            return f"{operator}{' ' if operator == 'not' else ''}{unparse(operand, level)}"
        case Binary():
            return _show_operation(expression, level)
        case Conditional(then=then, test=test, otherwise=otherwise):
            tail = f" else {unparse(otherwise, level)}" if otherwise is not None else ""
            return f"{unparse(then, level + 1)} if {unparse(test, level + 1)}{tail}"
        case Range(start=start, stop=stop):
            return f"{unparse(start, level + 1)}..{unparse(stop, level + 1)}"
        case Sequence(items=items):
            return f"[{', '.join(map(unparse, items))}]"
        case Comprehension():
            return _show_loops(expression)


def _show_loops(outermost: Comprehension) -> str:
    item: Expression = outermost
    loops = ""
    while isinstance(item, Comprehension):
        loops += f" for {item.variable} in {unparse(item.domain)}"
        item = item.item
    return unparse(item) + loops


def _show_operation(expression: Binary, level: int) -> str:
    first, sums = summands(expression)
    if sums:
        return "".join(
            (unparse(first, level), *(f" {each.operator} {unparse(each.right, level + 1)}" for each in sums))
        )
    left, right = (level + 1, level) if expression.operator == "**" else (level, level + 1)
    return f"{unparse(expression.left, left)} {expression.operator} {unparse(expression.right, right)}"


def _show_literal(value: int | float | str | bool | None) -> str:
    if isinstance(value, str):
        quote = "'" if '"' in value else '"'
        return f"{quote}{value}{quote}"
    return str(value).lower() if value is None or isinstance(value, bool) else repr(value)


def dotted(expression: Expression) -> str:
    """A name, or attributes of one, as text; nothing for anything else."""
    match expression:
        case Name(id=name):
            return name
        case Attribute(base=base, name=name) if dotted(base):
            return f"{dotted(base)}.{name}"
    return ""
