"""Checkpoints on disk: where they are, and which of a run is meant."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gangraph.errors import CheckpointError, MissingPluginError, UsageError
from gangraph.saved.places import placed, set_aside
from gangraph.saved.state import FILE, TENSORS, read_state

Made = TypeVar("Made")

_NUMBERED = re.compile(r"step-\d{8,}")

_FOLDER = "checkpoints"  # of a run
BEST, LATEST = "best", "latest"


def is_run(place: Path) -> bool:
    """Whether a folder is that of a run, and not a checkpoint."""
    return (place / _FOLDER).is_dir() and not (place / FILE).exists()


def begun(place: str | Path) -> bool:
    """Whether there is a checkpoint to continue from."""
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
    """The result of `read` for a named checkpoint, or for the newest one of a run that is not damaged.

    `say` is called with a line for each that is damaged.

    Raises:
        UsageError: there is no such run or checkpoint.
        CheckpointError: none is good, or the newest needs a plug-in that is not there.
    """
    chosen = find_checkpoint(place, which)
    known = numbered(Path(place)) if which in (None, LATEST) and is_run(Path(place)) else [chosen]
    for path in reversed(known[1:]):
        try:
            return read(path)
        except MissingPluginError:
            raise
        except CheckpointError as error:
            say(f"{error}; the one before it is taken")
    return read(known[0])


def readable_checkpoint(place: str | Path, which: str | None, say: Callable[[str], None]) -> Path:
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
