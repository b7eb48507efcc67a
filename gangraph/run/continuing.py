"""With what a run continues: which differences from before are applied, and which are refused."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gangraph.build.sources import build_source
from gangraph.data.lengths import sizes_said
from gangraph.data.random import RandomSource
from gangraph.data.source import Field
from gangraph.errors import SpecError, UsageError
from gangraph.folder.checkpoint import Checkpoint
from gangraph.folder.saved_spec import first_error, load_text, trained_fingerprint
from gangraph.language.continuation import Change, changes, params_changed
from gangraph.language.document.copies import files_of
from gangraph.language.expression.model import summands, walk
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.pipeline import check_spec
from gangraph.registry import load_plugins
from gangraph.saved.state import Changed, Trained

_MOST = 8  # differences that a message lists
_LONGEST_SUM = 50  # members of a sum(...) that every version adds up from left to right
_SUMMED = f"""
a sum(...) of more than {_LONGEST_SUM} members was added up in halves until none had more; now it is from left to right:
one of 60 is added up as it was if it is written as (sum(... for i in 1..30) + sum(... for i in 31..60));"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """With what a run should continue; None means as before. `device` is the chosen one."""

    spec: Spec | None = None
    seed: int | None = None
    precision: str | None = None
    share: bool | None = None
    merge: bool | None = None
    kernels: str | None = None
    device: str = ""


def spec_trained(checkpoint: Checkpoint, folder: str | Path, asked: Spec | None = None) -> Spec:
    """The spec that a checkpoint was trained by; messages call it by `folder`.

    Its text may be read otherwise than it was. A spec that is asked for stands for it if it trains what was trained.

    Raises:
        CheckpointError: its text has errors.
        UsageError: what it says is no longer what was trained.
    """
    trained = checkpoint.state.trained
    saved = load_text(trained, checkpoint.folder)
    before = trained_fingerprint(trained, saved)
    if before == fingerprint(saved) or any(problem.severity == "error" for problem in saved.problems):
        return saved
    if asked is not None and fingerprint(asked) == before:
        return asked
    if not trained.files and files_of(saved):
        why = f"the file of a network that '{saved.name}' calls has changed since '{folder}' was written"
        raise UsageError(f"{why}: the spec trains something else now")
    raise UsageError(
        f"'{folder}' was written by another version of gangraph, which reads its spec otherwise than this one"
        f"{_SUMMED if any(map(_sums_up_many, saved.phases)) else ';'} "
        "it goes on with that version, or by a spec that trains the same: gangraph run SPEC --resume RUN"
    )


def _sums_up_many(phase: PhaseSpec) -> bool:
    """Whether something in a phase has more summands than earlier versions added up from left to right."""
    goals = (objective.expression for update in phase.updates for objective in update.objectives)
    written = (*phase.values.values(), *phase.losses.values(), *goals)
    return any(len(summands(node)[1]) >= _LONGEST_SUM for each in written for node in walk(each))


def applied_changes(trained: Trained, saved: Spec, asked: Requested, folder: Path) -> tuple[Change, ...]:
    """The differences that are applied from now on.

    Args:
        saved: the spec that the run was trained by.
        folder: what messages call the run by.

    Raises:
        SpecError: the spec that is asked for has errors.
        UsageError: something is asked for that would make another system of what was trained; all of it is named.
    """
    if asked.spec is not None and any(problem.severity == "error" for problem in asked.spec.problems):
        raise SpecError(asked.spec.problems)
    found = [*_choices(trained, asked)]
    if asked.spec is not None:
        spec, phase = asked.spec, trained.phase
        found += (_of_form(each, saved, spec, phase) for each in changes(saved, spec, phase))
    refused = [each for each in found if each.touches == "trained"]
    if refused:
        raise UsageError(_refusal(refused, saved, asked, folder))
    if asked.spec is not None and not any(each.touches in ("now", "data") for each in found):
        _require_same(saved, asked.spec, folder)
    return tuple(found)


def _require_same(saved: Spec, asked: Spec, folder: Path) -> None:
    """Refuse a spec that trains something else although no single difference was found. Raises UsageError."""
    if fingerprint(saved) != fingerprint(asked):
        raise UsageError(f"'{folder}' trains something else than this spec, and no single difference of them is known")


def recorded(found: Iterable[Change], step: int) -> Iterator[Changed]:
    """What checkpoints keep of differences that change the training from a step on."""
    for each in found:
        if each.touches in ("now", "data"):
            yield Changed(step=step, path=each.path, before=each.before, after=each.after)


def refuse_training(found: Iterable[Change], folder: Path) -> None:
    """Refuse differences that change training. Raises UsageError."""
    training = [f"  {each}" for each in found if each.touches == "now"]
    if training:
        only = "only evaluate:, and where data of the same form lies, can be other than it was trained with"
        raise UsageError("\n".join([f"'{folder}' trains something else: {only}", *training[:_MOST]]))


def _choices(trained: Trained, asked: Requested) -> Iterator[Change]:
    """Differences outside of the spec.

    How something is computed does not belong to what is trained, except for the precision.
    """
    if asked.seed not in (None, trained.seed):
        yield Change("seed", str(trained.seed), str(asked.seed), "trained")
    if asked.precision not in (None, trained.precision):
        yield Change("precision", trained.precision, str(asked.precision), "now")
    switches = {"share": (trained.share, asked.share), "merge": (trained.merge, asked.merge)}
    for name, (before, after) in switches.items():
        if after not in (None, before):
            yield Change(name, _switch(before), _switch(after), "evaluation")
    if asked.kernels not in (None, trained.kernels):
        yield Change("kernels", trained.kernels, str(asked.kernels), "evaluation")
    if trained.device and asked.device not in ("", trained.device):
        yield Change("device", trained.device, asked.device, "evaluation")


def _switch(value: bool | None) -> str:
    return "on" if value else "off"


def _of_form(change: Change, saved: Spec, asked: Spec, phase: int) -> Change:
    """A difference in data, which can change if it has the same form."""
    if change.touches != "data":
        return change
    name = change.path.rpartition("data.")[2]
    before, after = (_form(spec, name, phase) for spec in (saved, asked))
    if before is not None and before == after:
        return change
    if before is None or after is None:
        return replace(change, touches="trained")
    forms = [_told(before), _told(after)]
    if forms[0] == forms[1]:
        return replace(change, touches="trained")
    texts = [f"{text} ({form})" for text, form in zip((change.before, change.after), forms, strict=True)]
    return Change(change.path, texts[0], texts[1], "trained")


def _form(spec: Spec, name: str, phase: int) -> Mapping[str, Field] | None:
    """The fields of a source of data; None for one that is wrong, or random, which is part of what is trained."""
    load_plugins()
    told = spec.phases[phase] if phase < len(spec.phases) else None
    if told is None or name not in told.data:
        return None
    try:
        source = build_source(told.data[name], told.static_names, told.batch)
    except SpecError:
        return None
    return None if isinstance(source, RandomSource) else source.fields


def _told(fields: Mapping[str, Field]) -> str:
    return ", ".join(
        f"{'' if len(fields) == 1 else f'{name} '}[{', '.join(sizes_said(field))}] in [{field.low:g}, {field.high:g}]"
        for name, field in fields.items()
    )


def _refusal(refused: list[Change], saved: Spec, asked: Requested, folder: Path) -> str:
    spec = asked.spec
    if spec is not None and spec.name != saved.name:
        own = f"'{folder}' is a run of '{saved.name}', profile {saved.profile}, and cannot go on as '{spec.name}'"
    else:
        own = f"'{folder}' cannot go on so: it would be another system than the one that it has trained"
    params = params_changed(saved, spec) if spec is not None else ()
    lines = [f"  {each}" for each in (*params, *refused)]
    more = [f"  and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    again = f"as it was it goes on with: gangraph run --resume {folder}"
    try:
        check_spec(saved)
    except SpecError as error:
        again = f"nor does it go on as it was: {first_error(error)}"
    return "\n".join([own, *lines[:_MOST], *more, again, "without --resume a new run begins"])
