"""Gates: conditions of updates that look at losses, decided on the host between a forward pass and its gradients.

A gate is an expression over losses and time that is true or false. Two of its functions remember: `running` is an
exponential average, `hysteresis` a switch with two thresholds. What they remember is a plain tuple, one item for each
of their calls in the order in which these are evaluated, so that it can stand in a checkpoint.
"""

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gangraph.errors import Problem, nearest, refuse
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.order import require_order
from gangraph.language.expression.schedule import FUNCTIONS, RAMPS, TIME, Clock, evaluate, verify_call

Memory = tuple[float | bool | None, ...]

USAGE = {
    "running": "running(loss, decay=0.9), the decay at least 0 and below 1",
    "hysteresis": "hysteresis(loss, low=0.3, high=0.7), low no greater than high, and open=false to start shut",
}
_OPTIONS: Mapping[str, Mapping[str, float | bool | None]] = {
    "running": {"decay": 0.9},
    "hysteresis": {"low": None, "high": None, "open": True},
}
_HYSTERESIS = inspect.signature(lambda of, low=None, high=None, open=True: None)
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_ARITHMETIC = ("+", "-", "*", "/", "//", "%", "**")


@dataclass(frozen=True, slots=True)
class Remembering:
    """A call of a function that remembers: what it looks at, and its constants."""

    function: str
    of: Expression
    options: Mapping[str, float | bool]


def losses_in(gate: Expression) -> tuple[ast.Name, ...]:
    """The names in a gate that have to be losses."""
    called = {id(node.function) for node in ast.walk(gate) if isinstance(node, ast.Call)}
    names = (node for node in ast.walk(gate) if isinstance(node, ast.Name) and id(node) not in called)
    return tuple(node for node in names if node.id not in TIME)


def is_over_time(gate: Expression) -> bool:
    """Whether a gate can be decided before anything is computed."""
    return not losses_in(gate) and not _calls(gate)


def remembered(gate: Expression) -> tuple[type[float] | type[bool], ...]:
    """What each item of a gate's memory is."""
    return tuple(float if ast.unparse(call.function) == "running" else bool for call in _calls(gate))


def decide(gate: Expression, clock: Clock, losses: Mapping[str, float], memory: Memory) -> tuple[bool, Memory]:
    """Whether a gate is open, and what it remembers from now on; `memory` is () before the first time.

    Every call that remembers is evaluated each time, also where `and`, `or` or `if` do not need it.

    Raises:
        SpecError: the gate has no value, for it divides by zero, say.
    """
    calls = _calls(gate)
    values: dict[int, float] = {}
    after: list[float | bool | None] = []
    for call, before in zip(calls, memory or (None,) * len(calls), strict=True):
        made = _read(call)
        now = evaluate(_with_values(made.of, losses, values), clock)
        result = _averaged(made, now, before) if made.function == "running" else _switched(made, now, before)
        after.append(result)
        values[id(call)] = result
    return bool(evaluate(_with_values(gate, losses, values), clock)), tuple(after)


def _averaged(call: Remembering, now: float, before: float | bool | None) -> float:
    decay = call.options["decay"]
    return now if before is None else decay * before + (1 - decay) * now


def _switched(call: Remembering, now: float, before: float | bool | None) -> bool:
    if now > call.options["high"]:
        return True
    if now < call.options["low"]:
        return False
    return bool(call.options["open"] if before is None else before)


def _calls(gate: Expression) -> list[ast.Call]:
    """The calls that remember, those inside of others first."""
    inner = [call for child in ast.parts(gate) for call in _calls(child)]
    return [*inner, gate] if isinstance(gate, ast.Call) and ast.unparse(gate.function) in USAGE else inner


def _with_values(node: Expression, losses: Mapping[str, float], values: Mapping[int, float]) -> Expression:
    """An expression with losses, and calls that remember, replaced by their numbers."""
    if id(node) in values:
        return ast.Literal(values[id(node)], node.span)

    def inside(part: Expression) -> Expression:
        return _with_values(part, losses, values)

    match node:
        case ast.Name(id=name) if name in losses and name not in TIME:
            return ast.Literal(losses[name], node.span)
        case ast.Unary():
            return replace(node, operand=inside(node.operand))
        case ast.Binary(operator="+" | "-"):
            return ast.along(node, inside, lambda left, each: replace(each, left=left, right=inside(each.right)))
        case ast.Binary():
            return replace(node, left=inside(node.left), right=inside(node.right))
        case ast.Conditional(otherwise=otherwise) if otherwise is not None:
            return replace(node, then=inside(node.then), test=inside(node.test), otherwise=inside(otherwise))
        case ast.Call():
            return replace(node, arguments=tuple(map(inside, node.arguments)))
    return node


def verify_gate(gate: Expression, losses: Collection[str], others: Collection[str] = ()) -> None:
    """Refuse a gate that is not true or false, or looks at something that is no loss.

    Args:
        losses: what it may name beside time.
        others: names that mean something else in the spec.

    Raises:
        SpecError: the first thing that is wrong.
    """
    for name in losses_in(gate):
        if name.id not in losses:
            _refuse_name(name, losses, others)
    if _kind(gate) != "truth":
        fix = f"{ast.unparse(gate)} < 0.3, say" if not isinstance(gate, ast.Binary) else ""
        refuse("GG524", "a gate is open or shut, and this is a number", gate.span, ast.unparse(gate), _A_GATE, fix)


_A_GATE = "a condition such as cost < 0.3, conditions with and, or and not, or hysteresis(...)"
Kind = Literal["number", "truth"]


def _refuse_name(name: ast.Name, losses: Collection[str], others: Collection[str]) -> None:
    if name.id in others:
        message = f"a gate looks at losses, and '{name.id}' is none"
        fix = f"name it under losses:, such as {name.id}_now: mean({name.id})"
    else:
        message = f"there is no loss '{name.id}' for this gate to look at"
        fix = nearest(name.id, [*losses, *TIME])
    known = ", ".join([*losses, *TIME])
    refuse("GG520", message, name.span, name.id, f"one of {known}", fix)


def _kind(node: Expression) -> Kind:
    """Whether an expression in a gate is a number or a truth value. Raises SpecError where it is neither."""
    match node:
        case ast.Literal(value=bool()):
            return "truth"
        case ast.Literal(value=int() | float()) | ast.Name():
            return "number"
        case ast.Unary(operator=operator, operand=operand):
            return _same(node, "truth" if operator == "not" else "number", operand)
        case ast.Binary(operator="and" | "or", left=left, right=right):
            return _same(node, "truth", left, right)
        case ast.Binary(operator=operator, left=left, right=right) if operator in _COMPARISONS:
            _same(node, "number", left, right)
            return "truth"
        case ast.Binary(operator=operator) if operator in _ARITHMETIC:
            return _same(node, "number", *ast.parts(node))
        case ast.Conditional(then=then, test=test, otherwise=otherwise) if otherwise is not None:
            _same(node, "truth", test)
            return _same(node, _kind(then), otherwise)
        case ast.Call():
            return _kind_of_call(node)
    return refuse("GG524", "this has no meaning in a gate", node.span, ast.unparse(node), _A_GATE)


def _same(whole: Expression, kind: Kind, *parts: Expression) -> Kind:
    """The kind that all parts have to have."""
    for part in parts:
        if _kind(part) == kind:
            continue
        chained = isinstance(whole, ast.Binary) and whole.operator in _COMPARISONS and isinstance(part, ast.Binary)
        found, expected = ("a condition", "a number") if kind == "number" else ("a number", _A_GATE)
        fix = "compare one pair at a time: 1 < x and x < 3" if chained else ""
        message = f"{found} stands where {'a number' if kind == 'number' else 'a condition'} belongs"
        refuse("GG524", message, part.span, ast.unparse(part), expected, fix)
    return kind


def _kind_of_call(node: ast.Call) -> Kind:
    name = ast.unparse(node.function)
    if name in USAGE:
        made = _read(node)
        _same(node, "number", made.of)
        return "number" if name == "running" else "truth"
    known = (*USAGE, *RAMPS, *FUNCTIONS)
    if name not in known:
        expected = "one of " + ", ".join(known)
        refuse("GG522", f"a gate knows no function '{name}'", node.function.span, name, expected, nearest(name, known))
    verify_call(node)
    return _same(node, "number", *node.arguments)


def _read(call: ast.Call) -> Remembering:
    """What a call that remembers is given. Raises SpecError."""
    name = ast.unparse(call.function)
    if name == "hysteresis":
        require_order(call, ("low", "high"), _HYSTERESIS)
    options, given = dict(_OPTIONS[name]), dict(call.keywords)
    fits = len(call.arguments) == 1 and given.keys() <= options.keys()
    for key, value in given.items() if fits else ():
        own = bool if key == "open" else (int, float)
        fits = fits and isinstance(value, ast.Literal) and isinstance(value.value, own)
        fits = fits and (key == "open" or not isinstance(getattr(value, "value", None), bool))
        options[key] = getattr(value, "value", None)
    chosen = {key: value for key, value in options.items() if value is not None}
    if not fits or len(chosen) < len(options) or not 0 <= chosen.get("decay", 0) < 1:
        refuse("GG522", f"'{name}' is not written like this", call.span, ast.unparse(call), USAGE[name])
    if not losses_in(call.arguments[0]):
        refuse(
            "GG522", f"'{name}' looks at a loss", call.arguments[0].span, ast.unparse(call.arguments[0]), USAGE[name]
        )
    return Remembering(name, call.arguments[0], chosen)


def outside(node: ast.Call) -> Problem | None:
    """What is wrong with a function of gates that is called where there is no gate."""
    name = ast.unparse(node.function)
    if name not in USAGE:
        return None
    return Problem(
        code="GG523",
        message=f"'{name}' remembers what a gate has seen, and stands in when: only",
        span=node.function.span,
        found=ast.unparse(node),
        expected=f"when: {'running(cost) < 0.3' if name == 'running' else 'hysteresis(cost, low=0.3, high=0.7)'}",
    )
