"""What may change when a run continues: the differences of two forms of a spec by path, and what each of them affects.

A run that continues keeps what it has trained, so everything that determined its networks and losses has to stay as it
was, in the present phase and in those before. Lengths, rates and other numbers over time, and what is saved and
evaluated, may change from now on. In a phase that has not begun everything may change.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import zip_longest
from typing import Any, Literal, get_args

from gangraph.errors import Span
from gangraph.language.expression import model as ast
from gangraph.language.expression.gates import is_over_time
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.expression.schedule import is_dynamic
from gangraph.language.fingerprint import fingerprint
from gangraph.language.place import Place
from gangraph.language.spec import (
    AverageSpec,
    EvaluateSpec,
    EvaluatorSpec,
    FileWeights,
    NetworkSpec,
    PhaseSpec,
    PretrainedWeights,
    RunWeights,
    Spec,
    Weights,
)
from gangraph.language.spec_fields import counts
from gangraph.language.update_spec import Entry, Objective, OptimizerSpec, UpdateSpec
from gangraph.registry import load_plugins, optimizers

# What a difference touches: what has been trained, which cannot change; training from now on; where data comes from,
# which can if it has the same form; and evaluations, saving and names, which change no training.
Touches = Literal["trained", "now", "data", "evaluation"]

_LONGEST = 60  # characters of a value that a message shows
_NOTHING = "nothing"
_TRAINED: Touches = "trained"
_NOW: Touches = "now"


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two forms of a spec, under the path that `--set` would take, with both values as text."""

    path: str
    before: str
    after: str
    touches: Touches

    def __str__(self) -> str:
        before, after = _apart(self.before or _NOTHING, self.after or _NOTHING)
        return f"{self.path}: {before} -> {after}"


@dataclass(frozen=True, slots=True)
class _Fact:
    """One thing that a phase states: its value, and what another value would affect.

    For an option that decides what an optimizer keeps, `keeps` says whether it keeps more with this value, and whether
    it does without the option.
    """

    value: Any
    touches: Touches = "trained"
    keeps: tuple[bool, bool] | None = None

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else unparse(self.value)


def changes(saved: Spec, asked: Spec, phase: int) -> tuple[Change, ...]:
    """What differs between the spec that a run was trained by and the one that it is to go on with.

    Args:
        phase: the number of the phase that the run is in, from 0.
    """
    found = list(_compared(_of_spec(saved), _of_spec(asked)))
    pairs = list(zip_longest(saved.phases, asked.phases))
    of_phases = [_of_pair(before, after, index - phase) for index, (before, after) in enumerate(pairs)]
    everywhere = set.intersection(*(set(each) for each in of_phases[phase:])) if of_phases[phase:] else set()
    for (before, after), each in zip(pairs, of_phases, strict=True):
        named = after or before
        where = f"{named.called}: " if len(pairs) > 1 and named is not None else ""
        found += [one if one in everywhere else replace(one, path=where + one.path) for one in each]
    return tuple(dict.fromkeys(found))


def _of_pair(saved: PhaseSpec | None, asked: PhaseSpec | None, ahead: int) -> list[Change]:
    """The differences of a phase that is over, that is in progress (`ahead` is 0), or that is still to come."""
    if saved is None or asked is None:
        before, after = ("" if each is None else each.name or "a phase" for each in (saved, asked))
        return [Change("train.phases", before, after, "now" if ahead > 0 else "trained")]
    found = list(_compared(_of_phase(saved, asked), _of_phase(asked, saved)))
    if ahead > 0:
        return [replace(each, touches="evaluation" if each.touches == "evaluation" else "now") for each in found]
    # What a phase that is over did from then on it did: another rate for it changes nothing any more.
    return [each for each in found if each.touches == "trained"] if ahead < 0 else found


def params_changed(saved: Spec, asked: Spec) -> tuple[Change, ...]:
    """The params that differ, which tell a person why something else does."""
    pairs = ((a.params, b.params) for a, b in zip(saved.phases, asked.phases, strict=False))
    each = (
        Change(f"params.{name}", _plain(ours.get(name)), _plain(theirs.get(name)), "trained")
        for ours, theirs in pairs
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name)
    )
    return tuple(dict.fromkeys(each))


def _compared(saved: Mapping[str, _Fact], asked: Mapping[str, _Fact]) -> Iterator[Change]:
    for path in dict.fromkeys((*saved, *asked)):
        before, after = saved.get(path), asked.get(path)
        if before is None or after is None or before.text != after.text:
            ours, theirs = ("" if each is None else each.text for each in (before, after))
            yield Change(path, ours, theirs, _touched(path, before, after))


def _touched(path: str, before: _Fact | None, after: _Fact | None) -> Touches:
    known = before or after
    assert known is not None
    values = [None if each is None else each.value for each in (before, after)]
    if path.startswith("train.step.") and path.endswith(".when"):  # a gate that looks at losses remembers them
        return "now" if all(value is None or is_over_time(value) for value in values) else "trained"
    if known.keeps is not None:
        by_default = known.keeps[1]
        kept = {each.keeps[0] if each is not None and each.keeps else by_default for each in (before, after)}
        return "now" if len(kept) == 1 else "trained"
    if known.touches == "trained" and before is not None and after is not None:
        return "now" if _alike_but_for_time(before.value, after.value) else "trained"
    return known.touches


def _is_zero(value: Expression) -> bool:
    return isinstance(value, ast.Literal) and not value.value


def _alike_but_for_time(a: object, b: object) -> bool:
    """Whether two expressions differ in numbers over time alone, such as the ramp of a weight."""
    return not isinstance(a, str) and not isinstance(b, str) and _without_time(a) == _without_time(b)


def _without_time(node: Any) -> Any:
    if isinstance(node, tuple):
        return tuple(map(_without_time, node))
    if not is_dataclass(node) or isinstance(node, type):
        return node
    if is_dynamic(node):  # type: ignore[arg-type]  # every dataclass within an expression is one
        return "a number over time"
    return (type(node), *(_without_time(getattr(node, each.name)) for each in fields(node) if each.compare))


def _started(spec: Spec) -> dict[str, _Fact]:
    """The weights that a run began with."""
    return {f"start.{name}" if name else "start": _Fact(_weights(each)) for name, each in spec.start.items()}


def _of_spec(spec: Spec) -> dict[str, _Fact]:
    chosen = {"name": spec.name, "profile": spec.profile, "variant": spec.variant, "train.keep": str(spec.keep)}
    found = {path: _Fact(value, "evaluation") for path, value in chosen.items() if value}
    return found | _given({"train.save": spec.save}, "evaluation") | _started(spec)


def _of_phase(phase: PhaseSpec, other: PhaseSpec) -> dict[str, _Fact]:
    """What a phase states, of optimizers for all parts that it or the other form of it lists."""
    found = _given(_under("data", phase.data), "data")
    for name, made in phase.networks.items():
        if name in phase.variables:
            found[f"variables.{name}"] = _Fact(phase.variables[name])
            continue
        found |= {f"networks.{name}{path}": fact for path, fact in _of_network(made).items()}
    found |= _given(_under("values", phase.values) | _under("losses", phase.losses))
    for name, state in phase.states.items():
        found |= _given(_under(f"{state.section}.{name}", state.written))
        found |= _given(_under(f"{state.section}.{name}", state.schedule), "now")
    found["train.batch"] = _Fact(str(phase.batch), "trained" if phase.variables else "now")
    found |= _given({"train.length": phase.length}, "now")
    for group in phase.optimizers.values():
        found |= _of_optimizer(f"train.optimizers.{group.name}", group, other.optimizers.get(group.name, group))
    for index, update in enumerate(phase.updates):
        found |= _of_update(f"train.step.{index}", update)
    if phase.carries:
        found["carry"] = _Fact("optimizers")
    return found | (_of_evaluation(phase.evaluate) if phase.evaluate is not None else {})


def _of_network(made: NetworkSpec | AverageSpec) -> dict[str, _Fact]:
    if isinstance(made, AverageSpec):
        return {"": _Fact(f"average({made.of}, buffers={made.buffers})"), ".decay": _Fact(made.decay, "now")}
    places = {name: ".layers" if name == "layers" else f".parts.{name}" for name in made.parts}
    chains = {places[name]: _Fact(", ".join(map(unparse, chain))) for name, chain in made.parts.items()}
    found = {".inputs": _Fact(", ".join(made.given))} | chains
    found |= _given(_under(".draw", made.draws)) | ({".draw": _Fact("once for all calls")} if made.draws_once else {})
    found |= _given(_under(".values", made.values) | _under(".init", made.init))
    found |= {f".outputs.{name}" if name else ".output": _Fact(body) for name, body in made.outputs.items()}
    shared = ", ".join(f"{share.network}.{share.part}" for share in made.shares)
    found |= {".share": _Fact(shared)} if shared else {}
    return found | ({"": _Fact(_weights(made.weights))} if made.weights is not None else {})


def _weights(weights: Weights) -> str:
    """Where weights from elsewhere come from, and which they are."""
    match weights:
        case EvaluatorSpec():
            return f"{weights.network} of {weights.called} ({fingerprint(weights.spec)})"
        case RunWeights() | FileWeights() if weights.digest:
            return f"{weights.written} ({weights.digest[:12]})"
        case RunWeights() | FileWeights() | PretrainedWeights():
            return weights.written


def _of_optimizer(path: str, group: OptimizerSpec, other: OptimizerSpec) -> dict[str, _Fact]:
    """A group with the options that hold for each part, whether this form of the group lists it or the `other` one."""
    found = {path: _Fact(f"{group.kind}({', '.join(group.trained)})")}
    for place in dict.fromkeys((*group.places, *other.places)):
        own, theirs = (_entry_of(each, place).options for each in (group, other))
        for name, value in {**group.options, **own}.items():
            where = f"{path}.{place.written}" if name in own or name in theirs else path
            found[f"{where}.{name}"] = _of_option(group.kind, name, value)
    return found


def _entry_of(group: OptimizerSpec, place: Place) -> Entry:
    """The most specific entry of a group that a place lies in; one without options if there is none."""
    around = (entry for entry in group.entries if place.is_in(entry.place))
    return max(around, key=lambda entry: len(entry.place.path), default=Entry(place=place))


def _of_option(optimizer: str, name: str, value: Expression) -> _Fact:
    """The fact of an option of an optimizer. Unknown options are refused elsewhere."""
    load_plugins()
    if optimizer not in optimizers:
        return _Fact(value, "now")
    definition = optimizers[optimizer]
    if name in definition.traits.shapes_state:
        return _Fact(value, "now", keeps=(not _is_zero(value), bool(definition.signature.parameters[name].default)))
    return _Fact(value, "trained" if name in definition.traits.at_start else "now")


def _of_update(path: str, update: UpdateSpec) -> dict[str, _Fact]:
    """Every field of an update, so that none can be forgotten; fields without a rule must not change."""
    found = {f"{path}.draw": _Fact(_draws(update.draw))}
    if update.ahead:
        found[f"{path}.unroll.steps"] = _Fact(str(update.ahead))
    for objective in update.objectives:
        found |= _of_objective(path, objective, alone=len(update.objectives) == 1)
    for each in fields(update):
        value = getattr(update, each.name)
        told = each.name in ("objectives", "draw", "ahead") or isinstance(value, Span)
        if counts(each) and not told and value is not None and value != each.default:
            found |= _of_field(path, each.name, value)
    return found


_TABLES = ("schedule", "options")  # fields whose names stand beside other keys, and may change from now on


def _of_field(path: str, name: str, value: Any) -> dict[str, _Fact]:
    """A field of an update: each of its entries if it has several."""
    where, touches = (path, _NOW) if name in _TABLES else (f"{path}.{name}", _TRAINED)
    entries = {where: value}
    if isinstance(value, Mapping | tuple):
        numbered = value if isinstance(value, Mapping) else dict(enumerate(value))
        entries = {f"{where}.{key}": entry for key, entry in numbered.items()}
    of_language = get_args(Expression)
    return {at: _Fact(it if isinstance(it, of_language) else str(it), touches) for at, it in entries.items()}


def _draws(draw: tuple[tuple[str, Span], ...] | None) -> str:
    return "the step's draws" if draw is None else ", ".join(name for name, _ in draw)


def _of_objective(path: str, objective: Objective, *, alone: bool) -> dict[str, _Fact]:
    where = path if alone else f"{path}.update.{objective.group}"
    found = {f"{where}.update": _Fact(objective.group)} if alone else {}
    found |= {f"{where}.{'minimize' if objective.sign > 0 else 'maximize'}": _Fact(objective.expression)}
    found |= _given({f"{path}.update.{objective.group}.when": objective.when})  # beside the update's own gate
    if objective.unroll is not None:
        found |= {f"{where}.unroll.steps": _Fact(str(objective.unroll.steps))}
        found |= _of_objective(f"{where}.unroll", objective.unroll.objective, alone=True)
    return found


def _of_evaluation(evaluate: EvaluateSpec) -> dict[str, _Fact]:
    """What is evaluated, which changes no training."""
    plain = {"samples": evaluate.samples, "result_samples": evaluate.result_samples, "mode": evaluate.mode}
    texts = {name: str(value) for name, value in plain.items()}
    texts |= {"best": f"{evaluate.best[0]}({evaluate.best[1]})"} if evaluate.best else {}
    texts |= {f"grid.{name}" if name else "grid": _listed(columns) for name, columns in evaluate.grids.items()}
    for name, made in evaluate.samplers.items():
        above = f"{unparse(made.above)} above " if made.above is not None else ""
        texts[f"samplers.{name}"] = f"{above}{_listed(made.columns)}, samples={made.samples}, rate={made.rate}"
    for name, evaluator in evaluate.networks.items():
        texts[f"networks.{name}"] = _weights(evaluator)
    named = {"every": evaluate.every} | _under("data", evaluate.data) | _under("values", evaluate.values)
    named |= _under("metrics", evaluate.metrics) | _under("results", evaluate.results)
    found = {f"evaluate.{path}": _Fact(text, "evaluation") for path, text in texts.items()}
    return found | {f"evaluate.{path}": fact for path, fact in _given(named, "evaluation").items()}


def _under(path: str, named: Mapping[str, Expression | None]) -> dict[str, Expression | None]:
    return {f"{path}.{name}": body for name, body in named.items()}


def _given(named: Mapping[str, Expression | None], touches: Touches = "trained") -> dict[str, _Fact]:
    return {path: _Fact(body, touches) for path, body in named.items() if body is not None}


def _listed(columns: Iterable[Expression]) -> str:
    return f"[{', '.join(map(unparse, columns))}]"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _apart(before: str, after: str) -> tuple[str, str]:
    """Two values, shortened around the first place in which they differ."""
    start = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    cut = max(0, start - _LONGEST // 2) if max(len(before), len(after)) > _LONGEST else 0
    first, second = (_short(text, cut) for text in (before, after))
    return first, second


def _short(text: str, cut: int) -> str:
    shown = text[cut : cut + _LONGEST]
    return f"{'... ' if cut else ''}{shown}{' ...' if cut + _LONGEST < len(text) else ''}"
