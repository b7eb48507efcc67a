"""How large an expression is: its parts, and how deep they stand in each other."""

from collections.abc import Iterator, Mapping

from gangraph.language.expression.model import Expression, Name, children, is_sum


def size(expression: Expression, most: int) -> int:
    """How many parts an expression has; looks at no more than `most` of them, or one more."""
    waiting, seen = [expression], 0
    while waiting and seen <= most:
        seen += 1
        waiting.extend(children(waiting.pop()))
    return seen


def too_large(expression: Expression, *, parts: int = 20_000, levels: int = 100) -> bool:
    """Whether an expression is larger than the compiler can follow; looks at no more than `parts` of it."""
    waiting, seen = [(expression, 1)], 0
    while waiting:
        node, level = waiting.pop()
        seen += 1
        if seen > parts or level > levels:
            return True
        waiting.extend(_inside(node, level))
    return False


def depths(written: Mapping[str, Expression]) -> dict[str, int]:
    """How many expressions stand in each other beneath each name, where a name stands for what is written under it.

    Names come after those that they depend on. A circle of names is cut at one place.
    """
    found: dict[str, int] = {}
    waiting, opened = list(written)[::-1], set[str]()
    while waiting:
        name = waiting[-1]
        levels = list(_levels(written[name]))
        inside = [(node.id, level) for node, level in levels if isinstance(node, Name)]
        below = [other for other, _ in inside if other in written and other not in opened]
        if name not in opened and below:
            opened.add(name)
            waiting += reversed(below)
        elif name not in found:
            opened.add(waiting.pop())
            own = max(level for _, level in levels)
            found[name] = max([own, *(level + found.get(other, 0) for other, level in inside)])
        else:
            waiting.pop()
    return found


def _levels(expression: Expression) -> Iterator[tuple[Expression, int]]:
    """Each part of an expression, and how many stand around it, itself included."""
    waiting = [(expression, 1)]
    while waiting:
        node, level = waiting.pop()
        yield node, level
        waiting.extend(reversed([*_inside(node, level)]))


def _inside(node: Expression, level: int) -> Iterator[tuple[Expression, int]]:
    """The parts of an expression, each with its level. All terms of a sum have one level, however many these are."""
    for place, child in enumerate(children(node)):
        goes_on = place == 0 and is_sum(node) and is_sum(child)
        yield child, level if goes_on else level + 1
