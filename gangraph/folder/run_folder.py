"""The run folder: what a run leaves behind, and where it is found again.

spec.yaml          the spec as it was written
NAME.yaml          copies of the specs that it is laid over, under the names by which `base:` calls them
shipped/           and of those among them that gangraph ships
networks/          copies of the files of networks that it calls
evaluators/        copies of the specs that train its evaluators, under the names by which it calls them
resolved.txt       the same with profile, variant and settings applied
environment.json   versions, device, seed and the command
metrics.jsonl      one line per report: step, losses, metrics, images per second
results.json       what was measured of the trained networks, and how
events.out...      the same for TensorBoard
samples/           grids by step, and latest.png
checkpoints/       step-00000100, ... the last few and `best`
"""

import errno
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch.utils.tensorboard import SummaryWriter

from gangraph.errors import CheckpointError, RunError, UsageError
from gangraph.folder.checkpoint import tidy
from gangraph.folder.lock import locked
from gangraph.folder.reports import FILE as REPORTS
from gangraph.folder.reports import read_reports
from gangraph.folder.saved_spec import copies_of
from gangraph.language.spec import Spec
from gangraph.saved.files import abandoned, json_text, read_json, write_whole
from gangraph.saved.find_checkpoint import BEST, LATEST, find_checkpoint, first_good, numbered, run_of
from gangraph.saved.places import placed
from gangraph.saved.state import read_state
from gangraph.terminal import tell
from gangraph.views.text import spec_text

Say = Callable[[str], None]
Made = TypeVar("Made")

_SMALL = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder on disk that holds one run."""

    path: Path

    @classmethod
    def create(cls, spec: Spec, out: Path | None) -> "RunFolder":
        """A fresh folder: `out`, or the next free number under runs/.

        Raises:
            UsageError: `out` already holds a run.
            RunError: `out` is no folder.
        """
        path = out or _made_free(Path("runs"), run_name(spec))
        refuse_taken(path)
        for name in ("samples", "checkpoints"):
            (path / name).mkdir(parents=True, exist_ok=True)
        return cls(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder's lock; files that a killed process left unfinished are removed.

        Raises:
            RunError: another process trains here.
        """
        with locked(self.path):
            tidy(self.path / "checkpoints")
            for folder in (self.path, self.path / "samples"):
                for path in abandoned(folder):
                    path.unlink(missing_ok=True)
            yield

    def describe(self, spec: Spec, environment: Mapping[str, Any], going_on: Mapping[str, Any] | None) -> None:
        """Write down what runs, with every file that its spec was read from, and where it runs.

        Args:
            environment: of `environment.json`.
            going_on: added there to what the run was when it went on before: where it does so now, and what changes.
        """
        for name, text in {**copies_of(spec), "resolved.txt": spec_text(spec)}.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path / name, text)
        resumed = [*self._resumed(), *([going_on] if going_on is not None else [])]
        write_whole(self.path / "environment.json", json_text({**environment, "resumed": resumed}, indent=1))

    def _resumed(self) -> list[Any]:
        """What the file says of earlier times that the run went on."""
        path = self.path / "environment.json"
        try:
            before = read_json(path, _SMALL) if path.exists() else {}
        except (OSError, ValueError) as error:
            tell(f"'{path}' cannot be read: {error}; it is written anew")
            before = {}
        resumed = before.get("resumed") if isinstance(before, dict) else None
        return resumed if isinstance(resumed, list) else []

    def take_over(self, checkpoint: Path, step: int) -> None:
        """Copy the reports of the run that a checkpoint belongs to, and its best checkpoint, up to a step."""
        run = run_of(checkpoint)
        if run is None:
            return
        if (run / REPORTS).exists():
            shutil.copy(run / REPORTS, self.path / REPORTS)
        best = placed(run / "checkpoints" / BEST)
        try:
            if (best / "metric.json").exists() and read_state(best).step <= step:
                shutil.copytree(best, self.path / "checkpoints" / BEST)
        except CheckpointError as error:
            tell(f"{error}; it is not taken over")

    @contextmanager
    def events(self, step: int) -> Iterator[SummaryWriter]:
        """TensorBoard's writer, which forgets events after `step` (they will be written again).

        It writes in a thread. What that cannot write is raised at the next event, and is not printed by the thread too.
        """
        printed = threading.excepthook
        threading.excepthook = lambda told: None if isinstance(told.exc_value, OSError) else printed(told)
        try:
            writer = SummaryWriter(str(self.path), purge_step=step or None)
            try:
                yield writer
            except BaseException:
                with suppress(OSError):  # which is known by then
                    writer.close()
                raise
            writer.close()
        finally:
            threading.excepthook = printed

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; numbers that are not finite are `null` there."""
        with (self.path / REPORTS).open("a", encoding="utf-8") as file:
            file.write(json_text(line) + "\n")

    def lines(self, say: Say = tell) -> list[dict[str, Any]]:
        """What was reported, in order, but for a last line that was cut when a process was killed.

        Raises:
            RunError: another line is no report.
        """
        return [values for _, values in read_reports(self.path / REPORTS, say)]

    def forget_after(self, step: int, say: Say = tell) -> None:
        """Drop what was reported beyond `step`: a resumed run writes it again. So is a last line that a kill tore.

        Checkpoints beyond it are damaged ones, or of a future that is given up. They are put aside.

        Raises:
            RunError: a line of the reports is none.
        """
        kept = [line for line, values in read_reports(self.path / REPORTS, say) if values["step"] <= step]
        write_whole(self.path / REPORTS, "".join(f"{line}\n" for line in kept))
        for path in self.checkpoints():
            if _number(path.name) > step:
                aside = path.with_name(f"{path.name.strip('.')}.aside-{time.time_ns()}")
                path.rename(aside)
                say(f"'{path}' is not gone on from, and is kept as '{aside.name}'")

    def save_picture(self, step: int, write: Callable[[Path], None], grid: str = "") -> Path:
        """Let `write` write a grid as PNG under its step and as latest; `grid` is its name where there are several."""
        ending = f"-{grid}.png" if grid else ".png"
        path = self.path / "samples" / f"{step:08d}{ending}"
        for place in (path, path.with_name(f"latest{ending}")):
            write(place)
        return path

    def save(self, step: int, write: Callable[[Path], Path], keep: int) -> Path:
        """Let `write` write a checkpoint in its place, and drop all but the last `keep`."""
        path = write(self._place(f"step-{step:08d}"))
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old)
        return path

    def keep_best(self, step: int, write: Callable[[Path, Mapping[str, str]], Path], value: float) -> None:
        """Let `write` write the checkpoint called `best`, with a file of the metric that made it so."""
        write(self._place(BEST), {"metric.json": json_text({"step": step, "value": value})})

    def _place(self, name: str) -> Path:
        """The path of a checkpoint. Raises if the run's folder was removed, so that no half of a folder is created."""
        parent = self.path / "checkpoints"
        if not parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(parent))
        return parent / name

    def best(self, say: Say = tell) -> float | None:
        """The metric of the best checkpoint so far; None if there is none, or if it cannot be read or is not finite."""
        path = placed(self.path / "checkpoints" / BEST) / "metric.json"
        if not path.exists():
            return None
        try:
            data = read_json(path, _SMALL)
            value = data["value"]
            return float(value) if value is not None and math.isfinite(value) else None
        except (OSError, ValueError, TypeError, KeyError) as error:
            say(f"'{path}' cannot be read: {error}; the best checkpoint is the best from now on")
            return None

    def checkpoints(self) -> list[Path]:
        """The numbered checkpoints, oldest first."""
        return numbered(self.path)

    def latest(self) -> Path:
        """The newest checkpoint.

        Raises:
            CheckpointError: there is none.
        """
        return find_checkpoint(self.path, LATEST)

    def newest(self, read: Callable[[Path], Made], say: Say = tell) -> Made:
        """The result of `read` for the newest checkpoint that is not damaged; damaged ones are reported to `say`.

        Raises:
            CheckpointError: there is none.
        """
        return first_good(self.path, None, read, say)


def refuse_taken(path: Path) -> None:
    """Refuse a place for a new run that holds another.

    Raises:
        UsageError: it holds a run.
        RunError: it is no folder, or lies in none.
    """
    above = next((part for part in (path, *path.parents) if part.exists()), None)
    if above is not None and not above.is_dir():
        raise RunError(f"a run is a folder, and '{above}' is a file: choose another --out")
    if (path / REPORTS).exists():
        raise UsageError(f"'{path}' already holds a run: choose another --out, or continue it with --resume {path}")


def _number(name: str) -> int:
    """The step of a checkpoint by its name, wherever that lies."""
    found = re.search(r"step-(\d+)", name)
    assert found is not None
    return int(found[1])


def run_name(spec: Spec) -> str:
    """Name, profile and variant: `NAME-quick`, `NAME-quick-VARIANT`."""
    return "-".join(filter(None, (spec.name, spec.profile, spec.variant.replace(",", "-"))))


def _made_free(parent: Path, name: str) -> Path:
    """A new folder with the next free number, which no other process has taken at the same time."""
    while True:
        ends = (path.name.removeprefix(f"{name}-") for path in parent.glob(f"{name}-[0-9]*"))
        numbers = (int(end) for end in ends if end.isdecimal())
        path = parent / f"{name}-{max(numbers, default=0) + 1:03d}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.exists():  # it is `parent` that is a file
                raise
