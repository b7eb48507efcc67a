"""The `state:` section: what a step leaves to the next, with everything static evaluated."""

from collections.abc import Iterator
from math import prod

from gangraph.errors import Problem, refuse
from gangraph.language.document.sections import Sections
from gangraph.language.document.states import StateDocument
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant, is_constant
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope, is_absent
from gangraph.language.scalar import Scalar
from gangraph.language.spec import StateSpec
from gangraph.language.state_sections import STATE_SECTIONS, StateSection

FILLED = {"zeros": 0.0, "ones": 1.0}  # the calls that a state can begin as, and the number that fills the tensor
_MOST = 10**8  # numbers in a state
_STARTS = "a number that is known before the run, zeros(3, 8) or ones(3, 8)"


def resolve_states(sections: Sections) -> dict[str, StateSpec]:
    """The states of a phase that are written correctly, by name; `none` removes one."""
    made: dict[str, StateSpec] = {}
    for section, entries in sections.model.states.items():
        for key, body in entries.items():
            for name, scope in sections.guarded(key, sections.expand, key, sections.scope) or []:
                if name in made:
                    sections.problems.append(Problem(code="GG103", message=f"'{name}' is defined twice", span=key.span))
                made |= sections.guarded(name, _named, name, key, body, STATE_SECTIONS[section], scope) or {}
    return made


def _named(
    name: str, key: Scalar, body: Expression | StateDocument, section: StateSection, scope: Scope
) -> dict[str, StateSpec]:
    """A state under its name; nothing where it is taken away. Raises SpecError."""
    if isinstance(body, StateDocument):
        return {name: _state(name, key, body, section, scope)}
    written = scope.reduce(body)
    if is_absent(written) or (isinstance(written, ast.Literal) and written.value is None):
        return {}
    first, *others = section.keys
    return refuse(
        "GG550",
        f"the {section.called} '{name}' is not written like this",
        written.span,
        ast.unparse(written),
        f"{{{first}: {ast.unparse(written)}{''.join(f', {other}: ...' for other in others)}}}, or none to take it away",
    )


def _state(name: str, key: Scalar, body: StateDocument, section: StateSection, scope: Scope) -> StateSpec:
    given = {each: written for each, written in body if written is not None}
    reduced = {each: scope.reduce(written) for each, written in given.items()}
    start = scope.reduce(section.written(section.start, given, name, key))
    value, shape = _start(start, scope)
    return StateSpec(
        section=section.name,
        written={each: written for each, written in reduced.items() if each in section.keys},
        start=start,
        value=value,
        shape=shape,
        next=scope.reduce(section.written(section.next, given, name, key)),
        schedule={each: written for each, written in reduced.items() if each not in section.keys},
        span=key.span,
    )


def _start(written: Expression, scope: Scope) -> tuple[float, tuple[int, ...]]:
    """The number that a state begins as, everywhere in a tensor of some shape. Raises SpecError."""
    if isinstance(written, ast.Call) and ast.unparse(written.function) in FILLED and not written.keywords:
        shape = tuple(_sizes(written))
        if prod(shape) > _MOST:
            refuse("GG550", "this state is too large", written.span, ast.unparse(written), f"at most {_MOST:,} numbers")
        return FILLED[ast.unparse(written.function)], shape
    value = constant(written, scope.names()) if not isinstance(written, ast.Call) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("GG550", "a state cannot begin as this", written.span, ast.unparse(written), _STARTS)
    return float(value), ()


def _sizes(call: ast.Call) -> Iterator[int]:
    for size in call.arguments:
        value = constant(size) if is_constant(size) else None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            refuse("GG550", "the sizes of a state are whole numbers", size.span, ast.unparse(size), _STARTS)
        yield value
