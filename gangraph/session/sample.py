"""What a trained run is used for: pictures of what it draws."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from gangraph.errors import RunError, UsageError, nearest
from gangraph.evaluate.evaluation import Evaluation
from gangraph.evaluate.pictures import frames, picture, save
from gangraph.folder.saved import asked_of, find_checkpoint, first_good, run_of
from gangraph.graph.model import Evaluation as Seen
from gangraph.graph.model import Sampler
from gangraph.language.document.parse import Choice
from gangraph.run.continuing import refuse_training
from gangraph.run.reporter import tell
from gangraph.run.trainer import Trainer


def load_run(
    folder: Path, *, which: str | None = None, settings: Mapping[str, str] | None = None, device: str = "auto"
) -> Trainer:
    """The trainer at a run's newest checkpoint.

    Args:
        folder: the run, or a checkpoint.
        which: another checkpoint of the run: `best`, or a step.
        settings: values by path, of `evaluate:` and of where data lies.

    Raises:
        UsageError: there is no such run or checkpoint, or a setting changes what was trained.
        RunError: the checkpoint is damaged.
    """

    def resumed(checkpoint: Path) -> Trainer:
        spec = asked_of(checkpoint, None, Choice(set=settings or {}))
        return Trainer.resume(checkpoint, device=device, compile="off", kernels="auto", spec=spec)

    trainer = first_good(folder, which, resumed, tell)
    refuse_training(trainer.changes, folder)
    return trainer


def sample(
    run: Path,
    *,
    which: str | None = None,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
    count: int | None = None,
    seed: int | None = None,
    out: Path | None = None,
    device: str = "auto",
) -> Path:
    """Draw a picture from a run's newest checkpoint; returns its path.

    Args:
        run, which, settings: as for `load_run`.
        name: a sampler or a grid of the spec; its first grid by default.
        count: how many samples; by default as many as the spec says.
        seed: of the draws; by default the run's, which gives the samples of its looks.
        out: where the picture goes: a GIF if it moves, else a PNG.

    Raises:
        UsageError: there is no such run or sampler.
        RunError: it shows nothing that can be drawn.
    """
    trainer = load_run(run, which=which, settings=settings, device=device)
    _require(trainer, name)
    sampler = _samplers(trainer).get(name) if name is not None else None
    draws = trainer.seed if seed is None else seed
    shown = _grid(trainer, name, count, draws) if sampler is None else _sampled(trainer, name or "", count, draws)
    if not shown:
        raise RunError("the spec shows nothing that can be drawn: name images or points in evaluate: grid")
    rate = sampler.spec.rate if sampler is not None else None
    suffix = ".gif" if rate is not None else ".png"
    target = out or _pictures(find_checkpoint(run, which)) / f"{name or 'sample'}-{trainer.step_count:08d}{suffix}"
    if target.suffix.lower() != suffix:
        hint = "; for a file of each sample end it with /" if not target.suffix else ""
        raise UsageError(f"this picture is written as {suffix}, not as '{target.name}'{hint}")
    target.parent.mkdir(parents=True, exist_ok=True)
    save(shown, target, rate=rate)
    return target


def _pictures(checkpoint: Path) -> Path:
    """Where pictures go by default: into the run; beside a checkpoint that stands alone, which another may replace."""
    run = run_of(checkpoint)
    return run / "samples" if run is not None else checkpoint.with_name(f"{checkpoint.name}-samples")


def _samplers(trainer: Trainer) -> Mapping[str, Sampler]:
    seen = trainer.checked[trainer.phase].graph.evaluation
    return seen.samplers if seen is not None else {}


def _require(trainer: Trainer, name: str | None) -> None:
    """Refuse a name that is no sampler and no grid."""
    seen = trainer.checked[trainer.phase].graph.evaluation
    known = [*_samplers(trainer), *(grid for grid in (seen.grids if seen is not None else ()) if grid)]
    if name is not None and name not in known:
        near = nearest(name, known)
        listed = f"one of {', '.join(known)}" if known else "evaluate: samplers names none"
        raise UsageError(f"there is no sampler '{name}': {listed}" + (f"; {near}" if near else ""))


def _grid(trainer: Trainer, name: str | None, count: int | None, seed: int) -> list[Image.Image]:
    """A grid of the looks, by default the first."""
    seen = trainer.checked[trainer.phase].graph.evaluation
    if seen is None or not seen.grids:
        return []
    name = next(iter(seen.grids)) if name is None else name
    evaluation, columns = _evaluation(trainer, seen, name, seed), seen.grids[name]
    values = evaluation.values(trainer.clock, count)[0]
    shown = {label: values[node] for label, node in columns}
    return _present(picture(shown, evaluation.ranges_of(columns), name=name))


def _sampled(trainer: Trainer, name: str, count: int | None, seed: int) -> list[Image.Image]:
    """What a sampler shows: one picture, or the frames of one that moves."""
    seen = trainer.checked[trainer.phase].graph.evaluation
    assert seen is not None
    sampler, evaluation = seen.samplers[name], _evaluation(trainer, seen, name, seed)
    values = evaluation.values(trainer.clock, count or sampler.spec.samples)[0]
    ranges = evaluation.ranges
    if sampler.spec.moving:
        moments = [node for _, node in sampler.columns]
        return frames([values[node] for node in moments], [ranges.get(node) for node in moments])
    columns = {label: values[node] for label, node in sampler.columns}
    made = picture(
        columns,
        evaluation.ranges_of(sampler.columns),
        name=name,
        above=values[sampler.above] if sampler.above is not None else None,
        above_range=ranges.get(sampler.above or ""),
        first=len(columns) - sampler.spec.samples,
    )
    return _present(made)


def _evaluation(trainer: Trainer, seen: Seen, name: str, seed: int) -> Evaluation:
    """What one grid or sampler shows, and nothing else: no metric is computed for a picture."""
    return Evaluation(trainer.engine, seen, trainer.engine.program.pictures[name], seed=seed)


def _present(made: Image.Image | None) -> list[Image.Image]:
    return [] if made is None else [made]
