"""A sum as its terms, with the numbers before them multiplied out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gangraph.language.expression.model import Binary, Expression, Literal, Name, Unary, parts, summands
from gangraph.language.expression.schedule import dynamic_start, is_dynamic


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a sum: what is summed, the number before it, and its factors that change over time.

    A constant has no `value`: its number stands alone.
    """

    value: Expression | None
    weight: float = 1.0
    factors: tuple[Expression, ...] = ()

    def times(self, number: float) -> "Term":
        """The term with a number before it."""
        return replace(self, weight=number * self.weight)


def terms(expression: Expression, definitions: Mapping[str, Expression]) -> tuple[Term, ...]:
    """The terms of a sum; names in `definitions` are replaced by what they stand for."""
    return _gathered(_split(expression, definitions))


def _split(expression: Expression, definitions: Mapping[str, Expression]) -> Iterator[Term]:
    opened = _opened(expression, definitions)
    match opened:
        case Literal(value=int() | float() as number):
            yield Term(None, number)
        case Binary(operator="+" | "-") if not is_dynamic(opened):
            yield from _split_sum(opened, definitions)
        case Unary(operator="-", operand=operand) if not is_dynamic(opened):
            yield from (term.times(-1) for term in _split(operand, definitions))
        case Binary(operator="*", left=left, right=right) if not is_dynamic(opened):
            factor, other = sorted((_opened(each, definitions) for each in (left, right)), key=_is_no_factor)
            yield from _scaled(opened, factor, other, definitions)
        case Binary(operator="/", left=left, right=Literal(value=int() | float() as number)):
            yield from (replace(term, weight=term.weight / number) for term in _split(left, definitions))
        case _:
            yield Term(opened)


def _split_sum(expression: Binary, definitions: Mapping[str, Expression]) -> Iterator[Term]:
    """The terms of a sum; those that it begins with are one if they are one number over time."""
    first, sums = summands(expression)
    together = max(dynamic_start(parts(expression)), 1)
    yield from _split((first, *sums)[together - 1], definitions)
    for each in sums[together - 1 :]:
        yield from (term.times(-1 if each.operator == "-" else 1) for term in _split(each.right, definitions))


def _scaled(
    product: Expression, factor: Expression, other: Expression, definitions: Mapping[str, Expression]
) -> Iterator[Term]:
    """The terms of a product of which one factor is a number, which may change over time; else the product as it is."""
    if isinstance(factor, Literal) and isinstance(factor.value, int | float):
        number = factor.value
        yield from (term.times(number) for term in _split(other, definitions))
    elif is_dynamic(factor):
        yield from (replace(term, factors=(factor, *term.factors)) for term in _split(other, definitions))
    else:
        yield Term(product)


def _is_no_factor(expression: Expression) -> bool:
    return not isinstance(expression, Literal) and not is_dynamic(expression)


def _opened(expression: Expression, definitions: Mapping[str, Expression]) -> Expression:
    """What a name stands for, if it is in `definitions`."""
    while isinstance(expression, Name) and expression.id in definitions:
        expression = definitions[expression.id]
    return expression


def _gathered(every: Iterable[Term]) -> tuple[Term, ...]:
    """Terms with the constants among them added up, and left out where they are 0."""
    found, sums = list[Term](), dict[tuple[Expression, ...], float]()
    for term in every:
        if term.value is None:
            found += [term] if term.factors not in sums else []
            sums[term.factors] = sums.get(term.factors, 0.0) + term.weight
        else:
            found.append(term)
    summed = (replace(each, weight=sums[each.factors]) if each.value is None else each for each in found)
    return tuple(term for term in summed if term.value is not None or term.weight)
