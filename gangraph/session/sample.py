"""Pictures of what a trained run draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from gangraph.errors import RunError, UsageError, nearest
from gangraph.evaluate.evaluation import BoundEvaluation
from gangraph.evaluate.film import FILMS, require_writer, save_film
from gangraph.evaluate.pictures import frames, picture, save_image
from gangraph.graph.model import Evaluation, Sampler
from gangraph.run.loading import load_run
from gangraph.run.training import Training
from gangraph.saved.find_checkpoint import find_checkpoint, run_of
from gangraph.session.looks import RATE, looks
from gangraph.session.run import load_evaluators


def sample(
    run: Path,
    *,
    which: str | None = None,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
    count: int | None = None,
    seed: int | None = None,
    sentences: Sequence[str] = (),
    out: Path | None = None,
    device: str = "auto",
) -> Path:
    """Draw a picture from a run's newest checkpoint; returns its path.

    Args:
        run, which, settings: as for `load_run`.
        name: a sampler or a grid of the spec; its first grid by default.
        count: how many samples; by default as many as the spec says.
        seed: of the draws; by default the run's, which gives the samples of its evaluations.
        sentences: in place of the text that the picture reads, one for each sample and again from the first; there are
            at least as many samples, unless `count` says fewer.
        out: where the picture goes: a GIF, an APNG or an MP4 if it moves, else a PNG. A grid moves if it is written in
            such a form: it is what each evaluation of the run has shown.

    Raises:
        UsageError: there is no such run or sampler, or the picture cannot be written in this form.
        RunError: it shows nothing that can be drawn.
    """
    training = load_run(run, which=which, settings=settings, device=device)
    _require(training, name)
    sampler = _samplers(training).get(name) if name is not None else None
    rate = sampler.spec.rate if sampler is not None else RATE if out is not None and _is_film(out) else None
    target = out or _default(run, which, f"{name or 'sample'}-{training.step_count:08d}", moving=rate is not None)
    _require_form(target, moving=rate is not None)
    draws = training.seed if seed is None else seed
    if sampler is None and rate is not None:
        shown = _looks(training, find_checkpoint(run, which), name, chosen=(which, count, seed, sentences or None))
    elif sampler is None:
        shown = _grid(training, name, count, draws, sentences)
    else:
        shown = _sampled(training, sampler, name or "", count, draws, sentences)
    if not shown:
        raise RunError("the spec shows nothing that can be drawn: name images or points in evaluate: grid")
    target.parent.mkdir(parents=True, exist_ok=True)
    if rate is None:
        save_image(shown[0], target)
    else:
        save_film(shown, target, rate=rate)
    return target


def _default(run: Path, which: str | None, name: str, *, moving: bool) -> Path:
    """Where a picture goes if nothing is said."""
    return _pictures(find_checkpoint(run, which)) / f"{name}{'.gif' if moving else '.png'}"


def _is_film(target: Path) -> bool:
    return target.suffix.lower() in FILMS


def _looks(training: Training, checkpoint: Path, name: str | None, chosen: tuple[object, ...]) -> list[Image.Image]:
    """A grid at each evaluation of the run, by default the first; nothing is drawn, so nothing can be chosen."""
    if any(each is not None for each in chosen):
        raise UsageError(
            "the film of a grid shows what a run has left, so it takes no --checkpoint, --count, --seed or --text"
        )
    evaluation = _evaluation(training)
    first = next(iter(evaluation.grids if evaluation is not None else ()), None)
    return looks(checkpoint, "" if name is None or name == first else name)  # the first has no name in the folder


def _require_form(target: Path, *, moving: bool) -> None:
    """Refuse a file in which a picture cannot be written. Raises UsageError."""
    forms = FILMS if moving else (".png",)
    if target.suffix.lower() not in forms:
        hint = "; for a file of each sample end it with /" if not target.suffix else ""
        raise UsageError(f"this picture is written as {' or '.join(forms)}, not as '{target.name}'{hint}")
    require_writer(target)


def _pictures(checkpoint: Path) -> Path:
    """Where pictures go by default: into the run; beside a checkpoint that stands alone, which another may replace."""
    run = run_of(checkpoint)
    return run / "samples" if run is not None else checkpoint.with_name(f"{checkpoint.name}-samples")


def _evaluation(training: Training) -> Evaluation | None:
    return training.checked[training.phase].graph.evaluation


def _samplers(training: Training) -> Mapping[str, Sampler]:
    evaluation = _evaluation(training)
    return evaluation.samplers if evaluation is not None else {}


def _require(training: Training, name: str | None) -> None:
    """Refuse a name that is no sampler and no grid."""
    evaluation = _evaluation(training)
    known = [*_samplers(training), *(grid for grid in (evaluation.grids if evaluation is not None else ()) if grid)]
    if name is not None and name not in known:
        near = nearest(name, known)
        listed = f"one of {', '.join(known)}" if known else "evaluate: samplers names none"
        raise UsageError(f"there is no sampler '{name}': {listed}" + (f"; {near}" if near else ""))


def _grid(
    training: Training, name: str | None, count: int | None, seed: int, sentences: Sequence[str]
) -> list[Image.Image]:
    """A grid of the evaluation, by default the first."""
    evaluation = _evaluation(training)
    if evaluation is None or not evaluation.grids:
        return []
    name = next(iter(evaluation.grids)) if name is None else name
    bound, columns = _bound(training, name, seed, sentences), evaluation.grids[name]
    values = bound.values(training.clock, count or max(bound.spec.samples, len(sentences)))[0]
    shown = {label: values[node] for label, node in columns}
    return _present(picture(shown, bound.ranges_of(columns), name=name))


def _sampled(
    training: Training, sampler: Sampler, name: str, count: int | None, seed: int, sentences: Sequence[str]
) -> list[Image.Image]:
    """What a sampler shows: one picture, or the frames of one that moves."""
    bound = _bound(training, name, seed, sentences)
    values = bound.values(training.clock, count or max(sampler.spec.samples, len(sentences)))[0]
    ranges = bound.ranges
    if sampler.spec.moving:
        moments = [node for _, node in sampler.columns]
        return frames([values[node] for node in moments], [ranges.get(node) for node in moments])
    columns = {label: values[node] for label, node in sampler.columns}
    made = picture(
        columns,
        bound.ranges_of(sampler.columns),
        name=name,
        above=values[sampler.above] if sampler.above is not None else None,
        above_range=ranges.get(sampler.above or ""),
        first=len(columns) - sampler.spec.samples,
    )
    return _present(made)


def _bound(training: Training, name: str, seed: int, sentences: Sequence[str]) -> BoundEvaluation:
    """What one grid or sampler shows, and nothing else: no metric is computed for a picture."""
    part = training.engine.program.pictures[name]
    evaluators = load_evaluators(training.engine, part)
    return BoundEvaluation(training.engine, part, evaluators, seed=seed, sentences=sentences)


def _present(made: Image.Image | None) -> list[Image.Image]:
    return [] if made is None else [made]
