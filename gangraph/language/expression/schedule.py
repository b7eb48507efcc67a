"""Dynamic time: numbers that change while a run goes on, such as learning rates, ramps and update counts.

They are expressions over `step`, `epoch`, `seen` (images drawn so far) and `progress` (0 to 1 through the
phase), evaluated on the host; compiled code receives them as values, so that a ramp never recompiles anything.
"""

import inspect
import math
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from itertools import takewhile

from gangraph.errors import Problem, Span, SpecError, nearest, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.order import require_order

TIME = ("step", "epoch", "seen", "progress")
UNIT_OF = {"step": "steps", "epoch": "epochs", "seen": "images"}  # in what the names of time count


@dataclass(frozen=True, slots=True)
class Clock:
    """A moment of a run. `epoch` is fractional; `progress` runs from 0 to 1 through the phase."""

    step: int = 0
    epoch: float = 0.0
    seen: int = 0
    progress: float = 0.0

    def position(self, unit: str) -> float:
        """The moment in a unit of training length."""
        return {"steps": self.step, "epochs": self.epoch, "images": self.seen, "kimg": self.seen / 1000}[unit]


def _linear(share: float, start: float, end: float) -> float:
    return start + share * (end - start)


def _cosine(share: float, start: float, end: float) -> float:
    return end + 0.5 * (1 + math.cos(math.pi * share)) * (start - end)


# name(from, to, start=, end=): from until start, then on a curve to `to` at end.
RAMPS: dict[str, Callable[[float, float, float], float]] = {"linear": _linear, "ramp": _linear, "cosine": _cosine}
_RAMP = inspect.signature(lambda first, last, start=None, end=None: None)
FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "floor": math.floor, "exp": math.exp, "log": math.log, "sqrt": math.sqrt,
}  # fmt: skip
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: a // b, "%": lambda a, b: a % b, "**": math.pow,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b,
}  # fmt: skip


def is_dynamic(expression: Expression) -> bool:
    """Whether an expression is a number that changes with time: it names time or a ramp, and nothing else."""
    return _changes(expression) or False


def dynamic_start(terms: Iterable[Expression]) -> int:
    """How many terms of a sum, from the first on, are together a number that changes with time; 0 if none are."""
    known = list(takewhile(lambda changes: changes is not None, map(_changes, terms)))
    return len(known) if any(known) else 0


def _changes(expression: Expression) -> bool | None:
    """Whether a number changes with time; nothing for what is no number known on the host, at its first such name."""
    functions, changes = set[int](), False
    for node in ast.walk(expression):
        if isinstance(node, ast.Call):
            functions.add(id(node.function))
        elif isinstance(node, ast.Name) and id(node) in functions:
            if node.id not in RAMPS and node.id not in FUNCTIONS:
                return None
            changes = changes or node.id in RAMPS
        elif isinstance(node, ast.Name):
            if node.id not in TIME:
                return None
            changes = True
    return changes


def require_over_time(expression: Expression, states: Container[str] = ()) -> None:
    """Refuse an expression that is no number over time; `states` are names that change in another way.

    Raises:
        SpecError: an unknown name or function, a wrong argument of a ramp, or no value at the first step.
    """
    for node in ast.walk(expression):
        if isinstance(node, ast.Call):
            verify_call(node)
    called = {id(n.function) for n in ast.walk(expression) if isinstance(n, ast.Call)}
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and id(node) not in called and node.id not in TIME:
            why = ": the host computes those, and a state stays on the device" if node.id in states else ""
            refuse(
                "GG307",
                f"'{node.id}' is no number over time{why}",
                node.span,
                found=node.id,
                expected="numbers, params and " + ", ".join(TIME),
                fix=nearest(node.id, TIME),
            )
    evaluate(expression, Clock())


def verify_call(node: ast.Call) -> None:
    """Refuse a function of time that is not there, or a ramp that is not written as one. Raises SpecError."""
    known = (*RAMPS, *FUNCTIONS)
    name = ast.unparse(node.function)
    if name not in known:
        refuse(
            "GG307",
            f"there is no function of time '{name}'",
            node.function.span,
            found=name,
            expected="one of " + ", ".join(known),
            fix=nearest(name, known),
        )
    if name in RAMPS:
        keywords = dict(node.keywords)
        ends = [keywords.get("start"), keywords.get("end")]
        lengths = [end for end in ends if end is not None]
        fits = (
            all(isinstance(end, ast.Quantity) for end in lengths)
            and len({getattr(end, "unit", "") for end in lengths}) <= 1
        )
        if (
            len(node.arguments) != 2
            or set(keywords) - {"start", "end"}
            or not fits
            or (ends[0] is not None and ends[1] is None)
        ):
            refuse(
                "GG307",
                f"'{name}' is not written like this",
                node.span,
                found=ast.unparse(node),
                expected=f"{name}(from, to), optionally with end=200 epochs and start=100 epochs, in one unit",
            )
        require_order(node, ("start", "end"), _RAMP)


def evaluate(expression: Expression, clock: Clock) -> float:
    """The number at a moment.

    Raises:
        SpecError: it has none (a division by zero, say).
    """
    try:
        return _value(expression, clock)
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        raise SpecError([_no_value(expression.span, error)]) from None


def numbers_in(option: Expression) -> tuple[Expression, ...]:
    """The numbers that an option of an optimizer consists of: itself, or those of a list."""
    return option.items if isinstance(option, ast.Sequence) else (option,)


def evaluate_option(expression: Expression, clock: Clock) -> float | tuple[float, ...]:
    """What an option of an optimizer is at a moment: a number, or a tuple for a list of numbers such as Adam's betas.

    Raises:
        SpecError: a number has no value.
    """
    if isinstance(expression, ast.Sequence):
        return tuple(float(evaluate(item, clock)) for item in numbers_in(expression))
    return evaluate(expression, clock)


def _no_value(span: Span, error: Exception) -> Problem:
    return Problem(code="GG301", message="the expression has no value", span=span, found=str(error))


def _value(node: Expression, clock: Clock) -> float:
    match node:
        case ast.Literal(value=value) if isinstance(value, int | float):
            return value
        case ast.Name(id=name) if name in TIME:
            return float(getattr(clock, name)) if name != "step" and name != "seen" else int(getattr(clock, name))
        case ast.Unary(operator=operator, operand=operand):
            value = _value(operand, clock)
            return not value if operator == "not" else -value if operator == "-" else value
        case ast.Binary(operator="+" | "-"):
            return ast.along(
                node,
                lambda first: _value(first, clock),
                lambda left, each: _OPERATORS[each.operator](left, _value(each.right, clock)),
            )
        case ast.Binary(operator=operator, left=left, right=right) if operator in _OPERATORS:
            return _OPERATORS[operator](_value(left, clock), _value(right, clock))
        case ast.Conditional(then=then, test=test, otherwise=otherwise) if otherwise is not None:
            return _value(then if _value(test, clock) else otherwise, clock)
        case ast.Call(function=ast.Name(id=name), arguments=arguments, keywords=keywords):
            values = [_value(argument, clock) for argument in arguments]
            if name in RAMPS:
                return RAMPS[name](_share(dict(keywords), clock), values[0], values[1])
            return FUNCTIONS[name](*values)
    raise TypeError(f"'{ast.unparse(node)}' is no number")


def _share(keywords: dict[str, Expression], clock: Clock) -> float:
    """How far, from 0 to 1, the clock is between the `start` and `end` of a ramp."""
    start, end = keywords.get("start"), keywords.get("end")
    if not isinstance(end, ast.Quantity):
        return min(1.0, max(0.0, clock.progress))
    first = start.value if isinstance(start, ast.Quantity) else 0.0
    length = end.value - first
    position = clock.position(end.unit) - first
    return min(1.0, max(0.0, position / length)) if length > 0 else float(position >= 0)
