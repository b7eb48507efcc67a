"""Stage 7, run: a spec to a run folder, and a run folder to numbers.

A run may need evaluators, and an evaluator is made by a run: here, and nowhere else, the two meet.
"""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from gangraph.errors import RunError
from gangraph.evaluate.evaluation import Evaluator
from gangraph.evaluate.measure import measure as measure_engine
from gangraph.folder.results import Measured, Measurements
from gangraph.language.spec import Spec
from gangraph.lower.model import EvaluationPart
from gangraph.run.engine import Engine
from gangraph.run.loading import load_run
from gangraph.run.training import Training
from gangraph.saved.find_checkpoint import numbered
from gangraph.session.evaluators import EVALUATOR, EvaluatorCache, untrained_evaluators, untrained_networks
from gangraph.session.measuring import measure_beginning, measure_checkpoint
from gangraph.session.opening import Asked, opened_session
from gangraph.session.reporter import Reporter, reporter
from gangraph.session.session import Session

_SEED = 0  # an evaluator is one network, whoever asks for it


def run(
    spec: Spec | None,
    *,
    out: Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    compile: str = "auto",
    kernels: str | None = None,
    steps: int | None = None,
    resume: str | Path | None = None,
    share: bool | None = None,
    merge: bool | None = None,
    json: bool = False,
    report: Reporter | None = None,
) -> Path:
    """Train a spec and leave a run folder.

    Args:
        spec: what to train; with `resume`, what a run is to go on with, or None for what it is.
        out: the folder; by default the next free one under runs/, or that of the run that goes on.
        steps: stop after this many steps in all; by default the spec's length.
        resume: a run to go on with, or a checkpoint; or `auto` for the run under runs/ that trains just this, if there
            is one. An earlier checkpoint than a run's newest begins a folder of its own, and so does one beside `out`.
        json: report as JSON lines.
        report: where progress is told instead.
        Others as for `gangraph.Trainer` and its `resume`.

    Returns:
        The run folder. Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 save a checkpoint and return as well.

    Raises:
        SpecError: the spec has errors.
        UsageError: the run cannot go on with what is asked for.
        DataError: some data of the run is missing; nothing was written.
        RunError: the run failed; the last good checkpoint is kept.
    """
    asked = Asked(
        spec=spec,
        out=out,
        seed=seed,
        device=device,
        precision=precision,
        compile=compile,
        kernels=kernels,
        share=share,
        merge=merge,
        resume=resume,
        training=PreparedTraining,
    )
    with opened_session(asked) as begun, report or reporter(json_lines=json) as told:
        if begun.note:
            told.say(begun.note)
        return Session(begun, told, steps=steps, load=load_evaluators, measure=_measure_on).go()


def measure_now(training: Training, names: Collection[str] | None = None) -> dict[str, Measured]:
    """Every result and every metric of the spec, or those in `names`, as networks are now.

    Raises:
        RunError: a metric refuses its values, or the training of an evaluator was stopped or failed.
        DataError: data is missing.
    """
    engine = training.engine
    part = engine.program.measurement
    if part is None or (names is not None and not names):
        return {}
    return measure_engine(engine, training.clock, load_evaluators(engine, part), names)


def measure_run(
    folder: str | Path, spec: Spec | None = None, *, which: str | None = None, device: str = "auto"
) -> Measurements:
    """Measure a run at its newest checkpoint, and write `results.json` into its folder.

    What that file already answers is not measured again, except for what could not be measured then. The numbers of
    another checkpoint stand in the folder of that.

    Args:
        folder: the run, or a checkpoint.
        spec: a newer form of the run's spec whose `evaluate:` is used instead; its training is the same.
        which: `best`, `latest` or a step.

    Raises:
        UsageError: there is no such run or checkpoint, or `spec` trains something else.
        RunError: the run has no checkpoint, or a metric refuses its values.
    """
    return measure_checkpoint(Path(folder), spec, measure_now, which=which, device=device)


def measure_untrained(spec: Spec, place: Path, *, seed: int = 0, device: str = "auto") -> Measurements:
    """Measure the networks of a spec as they are before their first step, and write `results.json` into `place`.

    What `start:` and `pretrained` give them they have. Of a spec in phases it is the last one that is evaluated. What
    the file already answers is not measured again.

    Raises:
        SpecError: the spec has errors.
        DataError: data is missing.
        RunError: a metric refuses its values, or the file is damaged.
    """
    training = PreparedTraining(spec, seed=seed, device=device, compile="off")
    try:
        return measure_beginning(training, place, measure_now)
    finally:
        training.engine.draws.close()


def _measure_on(folder: Path, device: str) -> Measurements:
    return measure_run(folder, device=device)


def load_evaluators(engine: Engine, part: EvaluationPart) -> Mapping[str, Evaluator]:
    """The evaluators that a part of an evaluation calls; one that this machine lacks is trained first.

    Raises:
        RunError: the training of one was stopped or failed, or what is kept of it is damaged.
    """
    return _EVALUATORS.load(engine, part)


def prepare(spec: Spec, device: str = "auto") -> None:
    """Train every evaluator that a spec needs and this machine lacks.

    Raises:
        RunError: the training was stopped or failed.
    """
    _EVALUATORS.prepare(((EVALUATOR, each) for each in untrained_evaluators(spec)), device)


class PreparedTraining(Training):
    """A training before which the networks are trained that its spec takes from other specs and this machine lacks."""

    def _prepare(self) -> None:
        _EVALUATORS.prepare(untrained_networks(self.spec).items(), str(self.settings.device))


def _train_evaluator(called: str, spec: Spec, folder: Path, device: str, report: Reporter) -> Measurements:
    """Train a spec into a folder, or go on there, and measure it; its network is `called` so in what is said."""
    begun = bool(numbered(folder))
    report.say(f"{'going on with' if begun else 'training'} {called}, once for this machine, in {folder}")
    if begun:
        run(None, device=device, resume=folder, report=report)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        run(spec, out=folder, seed=_SEED, device=device, report=report)
    if not load_run(folder).done:
        raise RunError(f"the training of {called} was stopped ('{spec.name}'); the next run that needs it goes on")
    return measure_run(folder, spec)


_EVALUATORS = EvaluatorCache(_train_evaluator)
