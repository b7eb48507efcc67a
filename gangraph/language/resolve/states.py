"""The `state:` section: what a step leaves to the next, with everything static evaluated."""

from collections.abc import Iterator
from math import prod

from gangraph.errors import Problem, refuse
from gangraph.language.document import schema
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant, is_constant
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope, is_absent
from gangraph.language.scalar import Scalar
from gangraph.language.spec import StateSpec

FILLED = {"zeros": 0.0, "ones": 1.0}  # tensors that a state can begin as, and what they are full of
_MOST = 10**8  # numbers in a state
_STARTS = "a number that is known before the run, zeros(3, 8) or ones(3, 8)"


def resolve_states(sections: Sections) -> dict[str, StateSpec]:
    """The states that can be read, by name; one that is `none` is taken away."""
    made: dict[str, StateSpec] = {}
    for key, body in sections.model.state.items():
        for name, scope in sections.guarded(key, sections.expand, key, sections.scope) or []:
            if name in made:
                sections.problems.append(Problem(code="GG103", message=f"'{name}' is defined twice", span=key.span))
            made |= sections.guarded(name, _named, name, key, body, scope) or {}
    return made


def _named(name: str, key: Scalar, body: schema.State, scope: Scope) -> dict[str, StateSpec]:
    """A state under its name; nothing where it is taken away. Raises SpecError."""
    if isinstance(body, schema.StateDocument):
        return {name: _state(key, body, scope)}
    written = scope.reduce(body)
    if is_absent(written) or (isinstance(written, ast.Literal) and written.value is None):
        return {}
    return refuse(
        "GG550",
        f"the state '{name}' is not written like this",
        written.span,
        ast.show(written),
        f"{{start: {ast.show(written)}, next: ...}}, or none to take it away",
    )


def _state(key: Scalar, body: schema.StateDocument, scope: Scope) -> StateSpec:
    start = scope.reduce(body.start)
    value, shape = _start(start, scope)
    schedule = {"every": body.every, "when": body.when}
    return StateSpec(
        start=start,
        value=value,
        shape=shape,
        next=scope.reduce(body.next),
        schedule={name: scope.reduce(written) for name, written in schedule.items() if written is not None},
        span=key.span,
    )


def _start(written: Expression, scope: Scope) -> tuple[float, tuple[int, ...]]:
    """The number that a state begins as, everywhere in a tensor of some shape. Raises SpecError."""
    if isinstance(written, ast.Call) and ast.show(written.function) in FILLED and not written.keywords:
        shape = tuple(_sizes(written))
        if prod(shape) > _MOST:
            refuse("GG550", "this state is too large", written.span, ast.show(written), f"at most {_MOST:,} numbers")
        return FILLED[ast.show(written.function)], shape
    value = constant(written, scope.names()) if not isinstance(written, ast.Call) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("GG550", "a state cannot begin as this", written.span, ast.show(written), _STARTS)
    return float(value), ()


def _sizes(call: ast.Call) -> Iterator[int]:
    for size in call.arguments:
        value = constant(size) if is_constant(size) else None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            refuse("GG550", "the sizes of a state are whole numbers", size.span, ast.show(size), _STARTS)
        yield value
