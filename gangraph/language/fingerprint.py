"""What a spec trains and what it measures, as short texts that change when that does and otherwise never."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, show
from gangraph.language.spec import AverageSpec, NetworkSpec, Objective, PhaseSpec, Spec, UpdateSpec

_DIGITS = 16


def fingerprint(spec: Spec) -> str:
    """16 hex digits of everything that determines training, and of nothing else.

    That is each phase's batch, length, optimizers and updates, its values and losses, and the networks and data that
    the updates reach, with all params evaluated. Names, words, claims, `evaluate:`, profiles, comments and layout are
    not part of it.
    """
    return _digest([_training(phase) for phase in spec.phases])


def evaluation_fingerprint(phase: PhaseSpec) -> str:
    """16 hex digits of everything that determines what is measured of trained networks."""
    evaluate = phase.evaluate
    if evaluate is None:
        return _digest(None)
    numbers = {**evaluate.metrics, **evaluate.results}
    data, values = {**phase.data, **evaluate.data}, {**phase.values, **evaluate.values}
    reached = _reached(numbers.values(), {**phase.losses, **values})
    judges = {
        name: [fingerprint(judge.spec), judge.network] for name, judge in evaluate.networks.items() if name in reached
    }
    facts = {
        "samples": [evaluate.samples, evaluate.result_samples],
        "mode": evaluate.mode,
        "numbers": _shown(numbers),
        "data": _shown(data, reached),
        "values": _shown({**phase.losses, **values}, reached),
        "networks": {name: _network(made) for name, made in phase.networks.items() if name in reached},
        "judges": judges,
    }
    return _digest(facts)


def _training(phase: PhaseSpec) -> dict[str, Any]:
    written = (expression for update in phase.updates for expression in _expressions(update))
    reached = _reached(written, {**phase.losses, **phase.values})
    reached |= {name for group in phase.optimizers.values() for name, _ in group.networks}
    reached |= _owners(phase, reached)
    # An average changes nothing, but is part of what training leaves.
    reached |= {name for name, made in phase.networks.items() if isinstance(made, AverageSpec) and made.of in reached}
    return {
        "batch": phase.batch,
        "length": _or_none(phase.length),
        "data": _shown(phase.data, reached),
        "networks": {name: _network(made) for name, made in phase.networks.items() if name in reached},
        # All of them: draws without a name and the noise of layers are numbered through every value and loss.
        "values": _shown(phase.values),
        "losses": _shown(phase.losses),
        "optimizers": {
            name: [group.kind, [network for network, _ in group.networks], _shown(group.options)]
            for name, group in phase.optimizers.items()
        },
        "updates": [_update(update) for update in phase.updates],
        **({"carries": "optimizers"} if phase.carries else {}),
    }


def _owners(phase: PhaseSpec, names: set[str]) -> set[str]:
    """The networks whose parts these networks share."""
    networks = (made for name, made in phase.networks.items() if name in names)
    return {share.network for made in networks if isinstance(made, NetworkSpec) for share in made.shares}


def _update(update: UpdateSpec) -> list[Any]:
    return [
        [_objective(objective) for objective in update.objectives],
        None if update.draw is None else [name for name, _ in update.draw],
        [_or_none(part) for part in (update.times, update.every, update.when)],
        [show(operation) for operation in update.then],
        [update.accumulate, *(_or_none(update.options.get(name)) for name in _FIRST_OPTIONS), *_other_options(update)],
    ]


_FIRST_OPTIONS = ("clip_grad_norm", "clip_grad_value")  # have had their places from the start


def _other_options(update: UpdateSpec) -> list[dict[str, str]]:
    others = {name: value for name, value in update.options.items() if name not in _FIRST_OPTIONS}
    return [_shown(others)] if others else []


def _objective(objective: Objective) -> list[Any]:
    """An objective; one that looks no step ahead is the plain one."""
    plain = [objective.group, show(objective.expression), objective.sign, *_gate(objective)]
    ahead = objective.unroll
    return [*plain, ahead.steps, _objective(ahead.objective)] if ahead is not None and ahead.steps else plain


def _gate(objective: Objective) -> list[str]:
    return [] if objective.when is None else [show(objective.when)]


def _expressions(update: UpdateSpec) -> Iterator[Expression]:
    for objective in update.objectives:
        yield objective.expression
        if objective.unroll is not None:
            yield objective.unroll.objective.expression
    yield from update.then
    yield from filter(None, (update.times, update.every, update.when))
    yield from filter(None, (objective.when for objective in update.objectives))


def _network(made: NetworkSpec | AverageSpec) -> list[Any]:
    if isinstance(made, AverageSpec):
        return [made.of, show(made.decay), made.buffers]
    parts = {name: [show(layer) for layer in chain] for name, chain in made.parts.items()}
    facts = [list(made.inputs), parts, _shown(made.values), _shown(made.outputs), _shown(made.init)]
    shared = {share.part: share.network for share in made.shares}
    return [*facts, shared] if shared else facts


def _reached(written: Iterable[Expression], values: Mapping[str, Expression]) -> set[str]:
    """Every name that some expressions lead to, by way of named values."""
    waiting, found = list(written), set[str]()
    while waiting:
        names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} - found
        found |= names
        waiting += [values[name] for name in names if name in values]
    return found


def _shown(section: Mapping[str, Expression], names: set[str] | None = None) -> dict[str, str]:
    return {name: show(body) for name, body in section.items() if names is None or name in names}


def _or_none(expression: Expression | None) -> str | None:
    return None if expression is None else show(expression)


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_DIGITS]
