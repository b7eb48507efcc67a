"""Runs and checkpoints on disk: found, read and named without torch."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gangraph.errors import CheckpointError, SpecError, UsageError
from gangraph.folder.places import placed, set_aside
from gangraph.folder.plugins import missing_plugins
from gangraph.folder.state import FILE, TENSORS, Trained, damaged, read_state
from gangraph.language.continuation import Change, changes
from gangraph.language.document.copies import files_of
from gangraph.language.document.parse import Choice, parse, parse_text
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec

Made = TypeVar("Made")

_NUMBERED = re.compile(r"step-\d{8,}")

_FOLDER = "checkpoints"  # of a run
BEST, LATEST = "best", "latest"


def is_run(place: Path) -> bool:
    """Whether a folder is that of a run, and not a checkpoint."""
    return (place / _FOLDER).is_dir() and not (place / FILE).exists()


def begun(place: str | Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return not is_run(Path(place)) or bool(numbered(Path(place)))


def numbered(run: Path) -> list[Path]:
    """The numbered checkpoints of a run, oldest first. Whatever else lies beside them is none."""
    parent = run / _FOLDER
    names = {path.name for path in parent.glob("step-*") if path.is_dir()} | {*set_aside(parent)}
    known = sorted((name for name in names if _NUMBERED.fullmatch(name)), key=lambda name: int(name[len("step-") :]))
    return [placed(parent / name) for name in known]


def find_checkpoint(place: str | Path, which: str | None = None) -> Path:
    """The checkpoint that a person names.

    Args:
        place: a run, whose newest it is, or a checkpoint itself: one of a run, or what `Trainer.save` wrote.
        which: of a run, `best`, `latest` or a step.

    Raises:
        UsageError: there is no such run or checkpoint.
        RunError: the run has no checkpoint.
    """
    path = Path(place)
    if not path.is_dir():
        raise UsageError(f"there is no run '{place}'")
    if os.path.lexists(path / FILE) or (path / TENSORS).exists():  # damaged, it is one all the same
        if which is not None:
            raise UsageError(f"'{place}' is a checkpoint itself; --checkpoint {which} chooses one of a run")
        return path
    known = numbered(path)
    if which in (None, LATEST):
        if not known:
            raise CheckpointError(f"'{place}' holds no checkpoint; a run folder has checkpoints/step-...")
        return known[-1]
    best = placed(path / _FOLDER / BEST)
    chosen = best if which == BEST else next((one for one in known if which == str(_step(one))), None)
    if chosen is None or not chosen.is_dir():
        there = [LATEST] * bool(known) + [BEST] * best.is_dir() + [str(_step(one)) for one in known]
        raise UsageError(f"'{place}' has no checkpoint '{which}': one of {', '.join(there) or 'none'}")
    return chosen


def first_good(place: str | Path, which: str | None, read: Callable[[Path], Made], say: Callable[[str], None]) -> Made:
    """What `read` makes of the checkpoint that a person names; of a run, of its newest one that is good.

    `say` hears of those that are not.

    Raises:
        UsageError: there is no such run or checkpoint.
        CheckpointError: none is good.
    """
    chosen = find_checkpoint(place, which)
    known = numbered(Path(place)) if which in (None, LATEST) and is_run(Path(place)) else [chosen]
    for path in reversed(known[1:]):
        try:
            return read(path)
        except CheckpointError as error:
            say(f"{error}; the one before it is taken")
    return read(known[0])


def readable(place: str | Path, which: str | None, say: Callable[[str], None]) -> Path:
    """The checkpoint that a person names; of a run, its newest one whose state can be read. Raises as `first_good`."""

    def read(path: Path) -> Path:
        read_state(path)
        return path

    return first_good(place, which, read, say)


def run_of(checkpoint: Path) -> Path | None:
    """The run that a checkpoint belongs to; None for one that stands alone."""
    path, above = checkpoint.resolve(), checkpoint.parent.parent
    if path.parent.name != _FOLDER:
        return None
    return above if above.resolve() == path.parent.parent else path.parent.parent  # which `.` has not in its text


def results_folder(checkpoint: Path) -> Path:
    """Where the numbers measured of a checkpoint stand: in its run if it is the newest, else beside it."""
    run = run_of(checkpoint)
    return (
        run
        if run is not None and [checkpoint.resolve()] == [one.resolve() for one in numbered(run)[-1:]]
        else checkpoint
    )


def _step(checkpoint: Path) -> int | str:
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else number


def spec_of(trained: Trained) -> Spec:
    """The spec of a checkpoint, from the copies that it holds. Raises SpecError as `load`."""
    return _resolved(trained, _choice(trained))


def load_text(trained: Trained, folder: Path) -> Spec:
    """The spec that the checkpoint in `folder` was trained from. Raises CheckpointError where it has errors."""
    try:
        return spec_of(trained)
    except SpecError as error:
        raise spec_damaged(error, folder, trained.plugins) from None


def spec_damaged(error: SpecError, folder: Path, plugins: Mapping[str, str] | None = None) -> CheckpointError:
    """The error about the text that a checkpoint holds, or about plug-ins that it needs and that are not there."""
    gone = missing_plugins(plugins or {})
    if gone:
        return CheckpointError(f"checkpoint '{folder}' cannot be used: {gone}")
    first = next(problem for problem in error.problems if problem.severity == "error")
    place = f"{first.span}: {first.code}: {first.message}" + (f", found {first.found}" if first.found else "")
    return damaged(folder, FILE, f"extra.spec: its text has errors: {place}")


def trained_fingerprint(trained: Trained, saved: Spec) -> str:
    """What a checkpoint was trained by."""
    return trained.fingerprint or fingerprint(saved)


def _choice(trained: Trained, asked: Choice | None = None) -> Choice:
    """The form of the spec that was trained, with what is asked for in its place."""
    asked = asked or Choice()
    return Choice(
        profile=asked.profile or trained.profile,
        variant=asked.variant or trained.variant or None,
        set={**trained.settings, **asked.set},
    )


def _resolved(trained: Trained, choice: Choice) -> Spec:
    origin = Path(trained.origin) if trained.origin else None
    document = parse_text(trained.spec, name=f"{trained.name}.yaml", origin=origin, copies=trained.files)
    return resolve(document, choice)


def asked_of(checkpoint: Path, source: str | None, asked: Choice) -> Spec | None:
    """The spec that a run is to go on with: its own, with what is asked for; None where that is nothing.

    What a person does not say is as the run had it. Copies of files stand for those that are gone from beside a spec.

    Raises:
        SpecError: it does not parse, or lacks the profile, variant or path.
        UsageError: there is no such spec.
        CheckpointError: the checkpoint is damaged.
    """
    trained = read_state(checkpoint).trained
    choice = _choice(trained, asked)
    if source is None:
        return None if choice == _choice(trained) else _resolved(trained, choice)
    document = parse(source)
    folder = document.files.folder
    gone = {path: text for path, text in trained.files.items() if folder is None or not (folder / path).is_file()}
    if document.name != trained.name:  # another system need not have the profile, variant and settings of this one
        return resolve(document, asked)
    return resolve(parse_text(document.text.content, name=document.text.name, origin=folder, copies=gone), choice)


@dataclass(frozen=True, slots=True)
class Begun:
    """A run on disk that trains what is asked for, and at which step it is."""

    run: Path
    step: int


def find_trained(spec: Spec, seed: int, precision: str | None, folders: Iterable[Path]) -> tuple[Begun | None, str]:
    """The run among some folders that trains a spec; of several, which are the same run, the one that is furthest.

    It is known by what it trains: the fingerprint of its training, with profile, variant and seed.

    Returns:
        The run, and where there is none the sentence that says so, and how one that is near may be gone on with.
    """
    wanted, found, near = fingerprint(spec), list[Begun](), list[str]()
    for folder in folders:
        for checkpoint in reversed(numbered(folder)):
            try:
                state = read_state(checkpoint)
                saved = load_text(state.trained, checkpoint)
            except CheckpointError:
                continue  # an older one may be good
            trained = state.trained
            same = (trained.profile, trained.variant, trained.seed) == (spec.profile, spec.variant, seed)
            if same and precision in (None, trained.precision):
                if trained_fingerprint(trained, saved) == wanted:
                    found.append(Begun(folder, state.step))
                elif trained.name == spec.name and (said := _nearly(changes(saved, spec, trained.phase))):
                    near.append(f"{folder} differs in {said}; --resume {folder} goes on with it so")
            break
    if found:
        return max(found, key=lambda begun: begun.step), ""
    return None, "; ".join([f"no run here trains this with seed {seed}, so one begins", *near[:1]])


def _nearly(found: tuple[Change, ...]) -> str:
    """The one difference of a run that could go on with it."""
    training = [change for change in found if change.touches != "look"]
    return str(training[0]) if len(training) == 1 and training[0].touches == "now" else ""


def copies_of(spec: Spec) -> Mapping[str, str]:
    """Everything that a spec was read from, by the path in a run's folder."""
    return {**files_of(spec), "spec.yaml": spec.text}  # last: an evaluator may be called spec
