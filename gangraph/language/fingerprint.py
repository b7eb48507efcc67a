"""What a spec trains and what it measures, as short texts that change exactly when these change.

Everything follows from the fields of the dataclasses of a spec. A field counts unless it is marked as `ASIDE` where it
is defined, or holds a place in a text. One that has its default is left out, so that a new field changes no fingerprint
until a spec sets it. What there was when fingerprints began has fixed places, of which the functions below tell.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, replace
from typing import Any, get_args

from gangraph.errors import Span, Text
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.expression.schedule import is_dynamic
from gangraph.language.spec import AverageSpec, EvaluatorSpec, NetworkSpec, PhaseSpec, Spec
from gangraph.language.spec_fields import counts, expressions
from gangraph.language.update_spec import Objective, OptimizerSpec, UpdateSpec
from gangraph.registry import SYNONYMS

_DIGITS = 16


def fingerprint(spec: Spec) -> str:
    """16 hex digits of everything that determines training, and of nothing else.

    That is each phase's batch, length, optimizers and updates, its values and losses, and the networks and data that
    the updates reach, with all params evaluated. Names, words, claims, `evaluate:`, profiles, comments and layout are
    not part of it.
    """
    return _digest([*map(_training, spec.phases), *_listed(_others(spec, "phases"))])


def evaluation_fingerprint(phase: PhaseSpec) -> str:
    """16 hex digits of everything that determines what is measured of trained networks."""
    evaluate = phase.evaluate
    if evaluate is None:
        return _digest(None)
    numbers = {**evaluate.metrics, **evaluate.results}
    data, values = {**phase.data, **evaluate.data}, {**phase.values, **evaluate.values}
    reached = _reached(numbers.values(), {**phase.losses, **values})
    told = ("samples", "result_samples", "mode", "metrics", "results", "data", "values", "networks")
    facts = {
        "samples": [evaluate.samples, evaluate.result_samples],
        "mode": evaluate.mode,
        "numbers": _facts(numbers),
        "data": _facts(_chosen(data, reached)),
        "values": _facts(_chosen({**phase.losses, **values}, reached)),
        "networks": _facts(_chosen(phase.networks, reached)),
        "judges": _facts(_chosen(evaluate.networks, reached)),
    }
    return _digest(facts | _others(evaluate, *told))


def _training(phase: PhaseSpec) -> dict[str, Any]:
    written = (*expressions(phase.updates), *expressions(phase.states))
    reached = _reached(written, {**phase.losses, **phase.values})
    reached |= {name for group in phase.optimizers.values() for name, _ in group.networks}
    reached |= _owners(phase, reached)
    begun = [start for name, start in phase.variables.items() if name in reached]
    reached |= _reached(begun, {**phase.losses, **phase.values})
    # An average changes nothing, but is part of what training leaves.
    reached |= {name for name, made in phase.networks.items() if isinstance(made, AverageSpec) and made.of in reached}
    facts = {
        "data": _facts(_chosen(phase.data, reached)),
        "networks": _facts(_chosen(phase.networks, reached)),
        **({"carries": "optimizers"} if phase.carries else {}),
    }
    # All values and losses count: draws without a name and the noise of layers are numbered through every one.
    return facts | _others(phase, "data", "networks", "carries")


def _owners(phase: PhaseSpec, names: set[str]) -> set[str]:
    """The networks whose parts these networks share."""
    networks = (made for name, made in phase.networks.items() if name in names)
    return {share.network for made in networks if isinstance(made, NetworkSpec) for share in made.shares}


def _facts(value: Any) -> Any:
    """A part of a spec as plain data. An expression is its text; a name with its place is the name."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case (str(name), Span()):
            return name
        case tuple():
            return [_facts(each) for each in value]
        case Mapping():
            return {name: _facts(each) for name, each in value.items()}
        case _ if isinstance(value, get_args(Expression)):
            return _text(value)
    placed = (write for kind, write in _PLACED.items() if isinstance(value, kind))
    return next(placed, _others)(value)


def _text(written: Expression) -> str:
    """An expression as text, in which what has got another name has the one that fingerprints began with."""
    return unparse(_as_begun(written))


_BEFORE = {now: before for before, now in SYNONYMS.items()}


def _as_begun(node: Any) -> Any:
    """An expression with older names: `held(v)` for `at_first(v)`, and `above(x, y)` for x > y of values."""
    match node:
        case tuple():
            return tuple(map(_as_begun, node))
        case ast.Call(function=ast.Name(id=now)) if now in _BEFORE:
            node = replace(node, function=ast.Name(_BEFORE[now], node.function.span))
        case ast.Binary(operator=now) if now in _BEFORE and not is_dynamic(node):
            operands = _as_begun((node.left, node.right))
            return ast.Call(ast.Name(_BEFORE[now], node.span), operands, (), node.span)
        case ast.Binary() if ast.is_sum(node):
            return ast.along(node, _as_begun, lambda left, each: replace(each, left=left, right=_as_begun(each.right)))
    if not isinstance(node, get_args(Expression)):
        return node
    return replace(node, **{each.name: _as_begun(getattr(node, each.name)) for each in fields(node) if each.compare})


def _others(record: Any, *told: str) -> dict[str, Any]:
    """The fields of a dataclass that count and are not told yet, but for those that have their default."""
    rest = {each.name: getattr(record, each.name) for each in fields(record) if counts(each) and each.name not in told}
    defaults = {each.name: _default(each) for each in fields(record)}
    return {name: _facts(value) for name, value in rest.items() if not _in_text(value) and value != defaults[name]}


def _default(each: Field[Any]) -> object:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def _in_text(value: object) -> bool:
    return isinstance(value, Span | Text)


def _listed(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Facts at the end of a list, if there are any."""
    return [facts] if facts else []


def _update(update: UpdateSpec) -> list[Any]:
    options = {name: value for name, value in update.options.items() if name not in _FIRST_OPTIONS}
    times = {name: unparse(value) for name, value in update.schedule.items()}  # a gate compares numbers, not values
    schedule = {name: value for name, value in times.items() if name not in (*_FIRST_TIMES, "accumulate")}
    first = (update.timing.number("accumulate"), *(update.options.get(name) for name in _FIRST_OPTIONS))
    return [
        _facts(update.objectives),
        _facts(update.draw),
        [*(times.get(name) for name in _FIRST_TIMES), *_listed(schedule)],
        _facts(update.then),
        [*_facts(first), *_listed(_facts(options))],
        *_listed(_others(update, "objectives", "draw", "schedule", "then", "options")),
    ]


_FIRST_TIMES = ("times", "every", "when")
_FIRST_OPTIONS = ("clip_grad_norm", "clip_grad_value")


def _objective(objective: Objective) -> list[Any]:
    """An objective; one that looks no step ahead is the plain one."""
    plain: list[Any] = _facts((objective.group, objective.expression, objective.sign))
    plain += [] if objective.when is None else [unparse(objective.when)]
    plain += _listed(_others(objective, "group", "expression", "sign", "when", "unroll"))
    ahead = objective.unroll
    if ahead is None or not ahead.steps:
        return plain
    return [*plain, ahead.steps, _facts(ahead.objective), *_listed(_others(ahead, "steps", "objective"))]


def _network(made: NetworkSpec) -> list[Any]:
    first = (made.inputs, made.parts, made.values, made.outputs, made.init)
    shared = {share.part: share.network for share in made.shares}
    others = _others(made, "inputs", "parts", "values", "outputs", "init", "shares")
    return [*_facts(first), *_listed(shared), *_listed(others)]


def _average(made: AverageSpec) -> list[Any]:
    return [*_facts((made.of, made.decay, made.buffers)), *_listed(_others(made, "of", "decay", "buffers"))]


def _optimizer(group: OptimizerSpec) -> list[Any]:
    return [
        *_facts((group.kind, group.networks, group.options)),
        *_listed(_others(group, "kind", "networks", "options")),
    ]


def _evaluator(evaluator: EvaluatorSpec) -> list[Any]:
    return [fingerprint(evaluator.spec), evaluator.network, *_listed(_others(evaluator, "spec", "network"))]


_PLACED: Mapping[type, Callable[[Any], Any]] = {
    UpdateSpec: _update,
    Objective: _objective,
    NetworkSpec: _network,
    AverageSpec: _average,
    OptimizerSpec: _optimizer,
    EvaluatorSpec: _evaluator,
}


def _reached(written: Iterable[Expression], values: Mapping[str, Expression]) -> set[str]:
    """Every name that some expressions lead to, by way of named values."""
    waiting, found = list(written), set[str]()
    while waiting:
        names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - found
        found |= names
        waiting += [values[name] for name in names if name in values]
    return found


def _chosen(section: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: body for name, body in section.items() if name in names}


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_DIGITS]
