"""What a report is made from: the folders of runs and reproductions, read completely before anything is written."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gangraph.errors import RunError, UsageError
from gangraph.folder.results import read_results
from gangraph.folder.run_folder import RunFolder
from gangraph.reproduce.outcome import FILE, Number, Outcome, read_outcome
from gangraph.saved.find_checkpoint import find_checkpoint, results_folder, run_of
from gangraph.saved.state import FILE as STATE
from gangraph.saved.state import Trained, read_state

_PICTURE = re.compile(r"(\d{8,})(?:-(\w+))?\.png")
_TITLE = re.compile(r"# (\w[\w-]*), profile (\w+)(?:, variant (\w+(?:,\w+)*))?")

Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder. `trained` is what its newest checkpoint records about the spec; None where it has no checkpoint."""

    folder: Path
    name: str
    profile: str
    variant: str
    text: str
    environment: Mapping[str, Any]
    lines: tuple[Mapping[str, Any], ...]
    results: Mapping[str, Number]
    samples: Mapping[str, tuple[tuple[int, Path], ...]]  # (step, file) in order, by the grid's name; '' is the first
    trained: Trained | None

    @property
    def steps(self) -> int:
        """The last step that was reported."""
        return max((line["step"] for line in self.lines), default=0)

    def curves(self, section: Literal["losses", "metrics"]) -> dict[str, Points]:
        """Every number of a section over steps, without those that are not finite."""
        found: dict[str, list[tuple[int, float]]] = {}
        for line in self.lines:
            for name, value in line.get(section, {}).items():
                if value is not None and math.isfinite(value):
                    found.setdefault(name, []).append((line["step"], value))
        return {name: tuple(points) for name, points in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A reproduction's folder: its outcome, and the runs of each variant that are still there."""

    folder: Path
    outcome: Outcome
    runs: Mapping[str, tuple[Run, ...]]


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return all((folder / name).is_file() for name in ("spec.yaml", "environment.json"))


def is_reproduction(folder: Path) -> bool:
    """Whether a folder holds a reproduction that has been judged."""
    return (folder / FILE).is_file()


def read(folder: Path, which: str | None = None) -> Run | Reproduction:
    """The run or the reproduction that a folder holds; or a run as it was at a checkpoint.

    Args:
        folder: of the run or the reproduction, or a checkpoint.
        which: another checkpoint of the run than the newest: `best`, or a step.

    Raises:
        UsageError: there is no such folder or checkpoint, or it holds neither.
        RunError: a file in it is missing or damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder '{folder}'")
    if which is not None or (folder / STATE).is_file():
        return _read_at(find_checkpoint(folder, which))
    if is_reproduction(folder):
        return _read_reproduction(folder)
    if holds_run(folder):
        return read_run(folder)
    raise UsageError(
        f"'{folder}' holds neither a run (spec.yaml, environment.json) nor a reproduction ({FILE}); "
        "for a page over all below it: gangraph report --gallery"
    )


def _read_reproduction(folder: Path) -> Reproduction:
    try:
        outcome = read_outcome(folder)
    except OSError as error:
        raise RunError(f"cannot read '{folder / FILE}': {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"'{folder / FILE}' is damaged: {_said(error)}") from None
    runs = {
        variant.name: tuple(read_run(folder / path) for path in variant.runs if holds_run(folder / path))
        for variant in outcome.variants
    }
    return Reproduction(folder=folder, outcome=outcome, runs=runs)


def read_run(folder: Path) -> Run:
    """A run folder. Raises RunError where a file is missing or damaged."""
    trained = _trained(folder)
    found = _TITLE.match(_text(folder / "resolved.txt")) if (folder / "resolved.txt").is_file() else None
    name, profile, variant = found.groups("") if found else (folder.resolve().name, "", "")
    return Run(
        folder=folder,
        name=trained.name if trained else name,
        profile=trained.profile if trained else profile,
        variant=trained.variant if trained else variant,
        text=_text(folder / "spec.yaml"),
        environment=_mapping(folder / "environment.json"),
        lines=tuple(RunFolder(folder).lines()),
        results=_results(folder),
        samples=_samples(folder / "samples"),
        trained=trained,
    )


def _read_at(checkpoint: Path) -> Run:
    """A run as it was at one of its checkpoints.

    A checkpoint outside of a run's folder gives only what it records itself.
    """
    run, state = run_of(checkpoint), read_state(checkpoint)
    trained = state.trained
    alone = Run(
        folder=checkpoint,
        name=trained.name,
        profile=trained.profile,
        variant=trained.variant,
        text=trained.spec,
        environment={"seed": trained.seed, "precision": trained.precision, "kernels": trained.kernels},
        lines=(),
        results=_results(results_folder(checkpoint)),
        samples={},
        trained=trained,
    )
    if run is None or not holds_run(run):
        return alone
    whole = read_run(run)
    samples = {
        grid: tuple((step, path) for step, path in each if step <= state.step) for grid, each in whole.samples.items()
    }
    return replace(
        alone,
        folder=results_folder(checkpoint),
        environment=whole.environment,
        lines=tuple(line for line in whole.lines if line["step"] <= state.step),
        samples={grid: each for grid, each in samples.items() if each},
    )


def _trained(folder: Path) -> Trained | None:
    run = RunFolder(folder)
    return run.newest(read_state).trained if run.checkpoints() else None


def _results(folder: Path) -> Mapping[str, Number]:
    measured = read_results(folder)
    return {
        name: Number(values=(each.value,), protocol=each.protocol, why=each.why)
        for name, each in (measured.results if measured is not None else {}).items()
    }


def _samples(folder: Path) -> Mapping[str, tuple[tuple[int, Path], ...]]:
    grids: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.glob("*.png")):
        if found := _PICTURE.fullmatch(path.name):
            grids.setdefault(found[2] or "", []).append((int(found[1]), path))
    return {name: tuple(sorted(grids[name])) for name in sorted(grids)}


def _mapping(path: Path) -> dict[str, Any]:
    data = _parsed(_text(path), str(path))
    if not isinstance(data, dict):
        raise RunError(f"'{path}' is damaged: found a {type(data).__name__}, expected names and values")
    return data


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"'{where}' is damaged: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"'{path}' is damaged: {error}") from None


def _said(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
