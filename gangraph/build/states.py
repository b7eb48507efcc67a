"""The states of a phase: the nodes of what each becomes, which a step computes after its updates."""

from gangraph.build.updates import verify_count
from gangraph.build.values import ValueBuilder
from gangraph.errors import give_up, refuse, shown
from gangraph.graph.model import Ref
from gangraph.graph.update import UpdateGraph
from gangraph.language.expression import model as ast
from gangraph.language.spec import StateSpec

_NAME = "state"  # of the entries of a step that move states


def build_states(values: ValueBuilder) -> tuple[UpdateGraph, ...]:
    """The entries of the step that move states: one for all states that move in the same steps.

    The entry for every step comes first, so that the others can use what it computes.
    """
    entries: dict[str, list[tuple[str, str]]] = {"": []}
    first: dict[str, StateSpec] = {}
    for name, spec in values.spec.states.items():
        if name in values.broken:
            continue
        node = values.attempt(_next, values, name, spec)
        if node is not None:
            rhythm = "; ".join(f"{key}: {ast.unparse(written)}" for key, written in spec.schedule.items())
            entries.setdefault(rhythm, []).append((name, node))
            first.setdefault(rhythm, spec)
    return tuple(_entry(first[rhythm], tuple(moved)) for rhythm, moved in entries.items() if moved)


def _entry(spec: StateSpec, moved: tuple[tuple[str, str], ...]) -> UpdateGraph:
    return UpdateGraph(
        name=_NAME, objectives=(), draws=None, timing=spec.timing, options={}, then=(), span=spec.span, states=moved
    )


def _next(values: ValueBuilder, name: str, spec: StateSpec) -> str:
    """The node of what a state becomes at the end of a step. Raises SpecError."""
    values.state(name, spec.span)
    _verify_timing(values, name, spec)
    made = values.visit(spec.next, f"{name}_next")
    if not isinstance(made, Ref):
        refuse(
            "GG552",
            f"the {spec.called} '{name}' becomes a constant",
            spec.next.span,
            shown(made),
            f"an expression over values, such as lerp({name}, mean(v), 0.01)",
        )
    return made.id


def _verify_timing(values: ValueBuilder, name: str, spec: StateSpec) -> None:
    """Refuse a state whose `every` or `when` depends on anything but time. Raises SpecError."""
    for key, written in spec.timing:
        if any(node.id in values.broken for node in ast.walk(written) if isinstance(node, ast.Name)):
            give_up()
        if key.late:
            refuse(
                "GG553",
                f"in which steps the {spec.called} '{name}' moves is decided by time alone",
                written.span,
                ast.unparse(written),
                "a condition on step, epoch, seen or progress; what depends on values stands in next:",
            )
        values.verified(written)
        if key.takes == "whole":
            verify_count(written, key.least)
