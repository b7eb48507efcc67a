"""Stage 7, run: a spec to a run folder."""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from gangraph.check.held_out import trained_on
from gangraph.check.lints.rates import rates_over
from gangraph.check.reads import streams_read
from gangraph.data.random import RandomSource
from gangraph.data.source import open_source
from gangraph.errors import DataError, RunError, UsageError, WeightsError, fault_of
from gangraph.evaluate.measure import measure_run
from gangraph.evaluate.pictures import picture
from gangraph.folder.results import results_lines
from gangraph.folder.run_folder import RunFolder, refuse_taken
from gangraph.folder.saved import find_trained, first_good, is_run, results_folder, run_of
from gangraph.language.expression.model import Quantity
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.run.reporter import Reporter, reporter, tell
from gangraph.run.trainer import Trainer
from gangraph.session.evaluators import untrained

_REPORT_SECONDS = 0.5
_STDERR = 2  # the descriptor: a stream that stands for it, as in a notebook, need have none
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_PATIENCE = b"\nsaving a checkpoint after this step; Ctrl-\\ ends at once, and loses what came after the last one\n"


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
        Others as for `Trainer` and `Trainer.resume`.

    Returns:
        The run folder. Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 save a checkpoint and return as well.

    Raises:
        SpecError: the spec has errors.
        UsageError: the run cannot go on with what is asked for.
        DataError: some data of the run is missing; nothing was written.
        RunError: the run failed; the last good checkpoint is kept.
    """
    place, none = _place(spec, resume, seed or 0, precision, out)
    computed: dict[str, Any] = {"device": device, "compile": compile, "share": share, "merge": merge}
    if place is None and out is not None:
        refuse_taken(out)
    with ExitStack() as stack:
        found = RunFolder(place) if place is not None and is_run(place) else None
        in_place = found is not None and (out is None or out.resolve() == found.path.resolve())
        if found is not None and in_place:
            stack.enter_context(found.held())
        checkpoint = None
        if place is not None and (found is None or found.checkpoints()):
            given: dict[str, Any] = {**computed, "spec": spec, "seed": seed, "precision": precision, "kernels": kernels}
            checkpoint, trainer = first_good(place, None, lambda path: (path, Trainer.resume(path, **given)), tell)
        elif spec is None:
            raise UsageError("nothing to train: name a spec, or a run to go on with")
        else:
            asked = {key: value for key, value in computed.items() if value is not None}
            trainer = Trainer(spec, seed=seed or 0, precision=precision or "fp32", kernels=kernels or "auto", **asked)
        known = dict(trainer.engine.draws.sizes)
        open_data(trainer)
        if in_place and found is not None:
            folder = _again(found, trainer, checkpoint)
        else:
            folder = _begun(trainer, checkpoint, out, stack)
        report = stack.enter_context(report or reporter(json_lines=json))
        if none:
            report.say(none)
        return _Run(trainer, folder, report, steps, checkpoint, known).go()


def _place(
    spec: Spec | None, resume: str | Path | None, seed: int, precision: str | None, out: Path | None
) -> tuple[Path | None, str]:
    """The run, or the checkpoint, to go on from; or none, and why there is none."""
    if resume is None:
        return None, ""
    if str(resume) != "auto":
        place = Path(resume)
        if not place.is_dir():
            raise UsageError(f"there is no run '{resume}'")
        return (place if is_run(place) else results_folder(place)), ""  # a run's newest checkpoint is the run
    if spec is None:
        raise UsageError("--resume auto looks for the run of a spec: name the spec")
    begun, none = find_trained(spec, seed, precision, [out] if out is not None else sorted(Path("runs").glob("*")))
    return (None if begun is None else begun.run), none


def _again(found: RunFolder, trainer: Trainer, checkpoint: Path | None) -> RunFolder:
    """The folder of the run that goes on, or of one that ended before its first checkpoint."""
    if checkpoint is None:
        tell(f"'{found.path}' ended before its first checkpoint, and begins anew")
    found.forget_after(trainer.step_count if checkpoint is not None else -1)
    if checkpoint is None or trainer.changes:
        found.describe(trainer)
    return found


def _begun(trainer: Trainer, checkpoint: Path | None, out: Path | None, stack: ExitStack) -> RunFolder:
    """A new folder; with the reports of the run that the checkpoint is of, where it goes on from one."""
    folder = RunFolder.create(trainer.spec, out)
    stack.enter_context(folder.held())
    refuse_taken(folder.path)  # by a run that began and ended meanwhile
    folder.describe(trainer)
    if checkpoint is not None:
        folder.take_over(checkpoint, trainer.step_count)
        folder.forget_after(trainer.step_count)
    return folder


def open_data(trainer: Trainer) -> None:
    """Open all data of all phases, and of looks and measurements, so that what is missing is named before a run begins.

    Raises:
        DataError: some is missing; all of it is named.
    """
    draws, missing = trainer.engine.draws, list[str]()
    own = {name for name in trainer.engine.program.plan.sources if not isinstance(draws.sources[name], RandomSource)}
    others = streams_read(trainer.checked[trainer.phase :])
    opens: list[Callable[[], object]] = [partial(draws.open, name) for name in sorted(own)]
    known = [repr(draws.sources[name]) for name in own]
    opens += [partial(open_source, path, source) for path, source in others.items() if repr(source) not in known]
    for opening in opens:
        try:
            opening()
        except DataError as error:
            missing.append(str(error))
    if missing:
        raise DataError("\n".join(missing))


@dataclass
class _Run:
    """One run from its first step to its last."""

    trainer: Trainer
    folder: RunFolder
    report: Reporter
    steps: int | None
    checkpoint: Path | None = None
    known: Mapping[str, int] = field(default_factory=dict)  # samples by stream, as they were when it was saved
    stopped: bool = False
    between: bool = True  # two steps, so that what there is can be saved
    looked_at: int = -1
    saved_at: int = -1
    due: dict[str, int] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)

    def go(self) -> Path:
        trainer = self.trainer
        self.began, self.seen_at, self.reported_at = time.monotonic(), trainer.seen, 0.0
        with self._stoppable(), self._faults(), self.folder.events(trainer.step_count) as self.writer:
            self._announce()
            self._train()
            if trainer.step_count:
                self._save()
        with self._faults():
            self._measure()
            self._end()
        return self.folder.path

    def _train(self) -> None:
        trainer = self.trainer
        self._set_due()
        if trainer.step_count == 0:
            self._look({})
        losses: dict[str, Tensor] = {}
        while not self.stopped and not self._finished():
            if trainer.phase + 1 < len(trainer.spec.phases) and trainer.phase_done:
                self._next_phase()
            self.between = False
            losses = trainer.advance()
            self.between = True
            self._after_step(losses)
        if losses and not self.stopped and self.looked_at != trainer.step_count:
            self._look(losses)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What goes wrong becomes one line that names the last good checkpoint, after an attempt to write another.

        A checkpoint is worth writing between two steps only, when what failed was a report, say.
        """
        try:
            yield
        except RunError as error:
            if isinstance(error, DataError | WeightsError):
                self._rescue()
            raise self._failed(str(error)) from None
        except Exception as error:
            fault = fault_of(error)
            if fault is None:
                raise
            self._rescue()
            raise self._failed(f"step {self.trainer.step_count}: {fault}") from error

    def _rescue(self) -> None:
        """Save what was trained since the last checkpoint, if a step is not under way."""
        if self.between and self.trainer.step_count:
            with suppress(RunError, OSError):
                (self.folder.path / "checkpoints").mkdir(parents=True, exist_ok=True)  # if the folder is gone
                self._save()

    def _failed(self, why: str) -> RunError:
        kept = self.folder.checkpoints()
        if any(str(path) in why for path in kept):
            where = ""
        elif kept:
            where = f"; the last good checkpoint is {kept[-1]}"
        else:
            where = "; there is no checkpoint yet"
        return RunError(f"{why}{where}")

    def _finished(self) -> bool:
        return self.trainer.step_count >= self.steps if self.steps is not None else self.trainer.done

    def _after_step(self, losses: dict[str, Tensor]) -> None:
        looks = self._is_due("evaluate", self._evaluate_every())
        if looks:
            self._look(losses)
        elif time.monotonic() - self.reported_at > _REPORT_SECONDS or self._finished():
            self._write(losses, {})
        if self._is_due("save", self._save_every()):
            self._save()

    def _save(self) -> None:
        """Write a checkpoint, unless a parameter is not finite: the last good one stays the last."""
        step = self.trainer.step_count
        if self.saved_at == step:
            return
        for network, module in self.trainer.networks.items():
            for path, parameter in module.named_parameters():
                if not parameter.isfinite().all():
                    raise RunError(f"step {step}: parameter '{network}.{path}' is not finite (NaN or infinity)")
        self.folder.save(self.trainer, self.trainer.spec.keep)
        self.saved_at = step

    def _phase(self) -> PhaseSpec:
        return self.trainer.spec.phases[self.trainer.phase]

    def _evaluate_every(self) -> Quantity | None:
        evaluate = self._phase().evaluate
        return evaluate.every if evaluate else None

    def _save_every(self) -> Quantity | None:
        length = self._phase().length
        if self.trainer.spec.save is not None or length is None:
            return self.trainer.spec.save
        return Quantity(length.value / 10, length.unit, length.span)

    def _set_due(self) -> None:
        for name, every in (("evaluate", self._evaluate_every()), ("save", self._save_every())):
            self.due[name] = int(self.trainer.position(every) // every.value) if every else 0

    def _is_due(self, name: str, every: Quantity | None) -> bool:
        """Whether the run has just passed another multiple of an interval."""
        if every is None:
            return False
        passed = int(self.trainer.position(every) // every.value)
        due, self.due[name] = passed > self.due[name], passed
        return due

    def _look(self, losses: dict[str, Tensor]) -> None:
        """Evaluate: write the grid, the metrics and, if it is one, the best checkpoint."""
        self.looked_at = self.trainer.step_count
        look = self.trainer.evaluate()
        if look is None:
            self._write(losses, {})
            return
        for index, (name, columns) in enumerate(look.grids.items()):
            shown = picture(columns, look.ranges[name], name=name)
            if shown is not None:
                self.folder.save_picture(self.trainer.step_count, shown, name if index else "")
        for name, why in look.missing.items():
            if name not in self.said:
                self.said.add(name)
                self.report.say(f"metric '{name}' is left out: {why}")
        self._write(losses, look.metrics)
        evaluate = self._phase().evaluate
        best = evaluate.best if evaluate else None
        if best is not None and self.trainer.step_count > 0 and best[1] in look.metrics:
            sign, value, before = 1 if best[0] == "max" else -1, look.metrics[best[1]], self.folder.best()
            if math.isfinite(value) and (before is None or sign * value > sign * before):
                self.folder.keep_best(self.trainer, value)

    def _write(self, losses: dict[str, Tensor], metrics: dict[str, float]) -> None:
        """One line of numbers: to the folder, to TensorBoard and to the person who waits."""
        now, trainer = time.monotonic(), self.trainer
        values = {name: float(value) for name, value in losses.items()}
        self._stop_if_not_finite(values)
        shares = trainer.engine.open_shares()
        speed = (trainer.seen - self.seen_at) / max(now - self.began, 1e-9)
        line = {
            "step": trainer.step_count,
            "epoch": round(trainer.clock.epoch, 4),
            "seen": trainer.seen,
            "losses": values,
            "images_per_second": round(speed, 2),
            **({"open": shares} if shares else {}),
            **({"metrics": metrics} if metrics else {}),
        }
        self.reported_at = now
        self.folder.append(line)
        opened = {f"open/{group}": share for group, share in shares.items()}
        for name, value in (*values.items(), *opened.items(), *metrics.items()):
            self.writer.add_scalar(name, value, trainer.step_count)
        share = trainer.step_count / max(self.steps, 1) if self.steps is not None else trainer.progress
        self.report.progress(line, share)

    def _stop_if_not_finite(self, losses: dict[str, float]) -> None:
        """On a device that is not asked after every step, NaN is seen when the numbers are read."""
        bad = next((name for name, value in losses.items() if not abs(value) < float("inf")), None)
        if bad is not None:
            raise RunError(f"step {self.trainer.step_count}: loss '{bad}' is not finite")

    def _next_phase(self) -> None:
        self.between = False  # half of a phase is nothing to save
        fresh = self.trainer.next_phase()
        self.between = True
        parts = dict.fromkeys(".".join(path.split(".")[:2]) for path in fresh)
        self._set_due()
        self.report.say(
            f"{self._phase().called} begins at step {self.trainer.step_count}"
            + (f"; new: {', '.join(parts)}" if parts else "")
        )

    def _announce(self) -> None:
        trainer = self.trainer
        if self.checkpoint is not None:
            self._announce_continuation(self.checkpoint)
        sizes = {name: len(dataset) for name, dataset in trainer.engine.draws.datasets.items()}
        streams = ", ".join(f"{name}: {size} samples" for name, size in sizes.items())
        self.report.say(
            f"training on {trainer.settings.device} in {self.folder.path}" + (f" ({streams})" if streams else "")
        )
        for name, dataset in trainer.engine.draws.datasets.items():
            for note in getattr(dataset, "notes", ()):
                self.report.say(f"source '{name}': {note}")
        if sizes:
            self._announce_length(max(sizes.values()))
        if self.steps is not None and trainer.phase + 1 == len(trainer.spec.phases):
            graph = trainer.checked[trainer.phase].graph
            for warning in rates_over(graph, self.steps - trainer.phase_start, max(sizes.values(), default=0)):
                self.report.say(f"{warning.message}: {warning.found}")
        if known := trained_on(trainer.checked[trainer.phase].graph):
            others = ", ".join(f"evaluate.data.{name}" for name in known)
            said = f"the evaluation looks at samples of training: {', '.join(known)}"
            self.report.say(f"{said}; others are set by {others}")
        for segment, why in trainer.engine.fallbacks.items():
            self.report.say(f"segment '{segment}' is not compiled: {why}")

    def _announce_continuation(self, checkpoint: Path) -> None:
        """Say which run goes on, from where, and with which differences."""
        trainer, spec = self.trainer, self.trainer.spec
        form = f"profile {spec.profile}" + (f", variant {spec.variant}" if spec.variant else "")
        where = run_of(checkpoint) if run_of(checkpoint) == self.folder.path else checkpoint
        choices = f"{form}, seed {trainer.seed}, {trainer.precision}"
        self.report.say(f"continuing {where} at step {trainer.step_count}: {spec.name}, {choices}")
        for each in trainer.changes:
            self.report.say(f"  {each}")
        for name, size in trainer.engine.draws.sizes.items():
            if self.known.get(name, size) != size:
                before = f"{self.known[name]} samples -> {size}"
                epoch = f"{trainer.clock.epoch:g} epochs are behind it by the new size"
                self.report.say(f"  data {name}: {before}; it is in another order from here on, and {epoch}")
        if self._finished():
            self.report.say("it is at its end already")

    def _announce_length(self, epoch: int) -> None:
        """Say what a length in epochs or images comes to."""
        phase = self._phase()
        if phase.length is None or phase.length.unit == "steps":
            return
        images = phase.length.value * {"epochs": epoch, "images": 1, "kimg": 1000}[phase.length.unit]
        draws = f"{images / phase.batch:.0f} draws of a batch of {phase.batch}"
        self.report.say(f"{phase.length.value:g} {phase.length.unit} = {images:g} images, about {draws}")

    def _end(self) -> None:
        self.trainer.engine.draws.close()
        skipped = {n: getattr(d, "skipped", []) for n, d in self.trainer.engine.draws.datasets.items()}
        for name, files in skipped.items():
            if files:
                self.report.say(
                    f"source '{name}': {len(files)} corrupt files were skipped: {', '.join(map(str, files[:5]))}"
                )
        how = "stopped" if self.stopped else "finished"
        again = f"; continue with --resume {self.folder.path}" if self.stopped else ""
        spent = time.monotonic() - self.began
        self.report.say(f"{how} at step {self.trainer.step_count} after {spent:.0f} s: {self.folder.path}{again}")

    def _measure(self) -> None:
        """Measure the results of a run that came to its end, which a few `steps` of a longer one do not."""
        evaluate = self._phase().evaluate
        ended = self._finished() and (self._phase().length is None or self.trainer.done)
        if self.stopped or not ended or evaluate is None or not evaluate.results or not self.trainer.step_count:
            return
        if evaluators := ", ".join(evaluator.called for evaluator in untrained(self.trainer.spec)):
            self.report.say(
                f"results need {evaluators}, not trained here yet; gangraph measure {self.folder.path} does both"
            )
            return
        self.report.say("measuring the results")
        for line in results_lines(measure_run(self.folder.path, device=str(self.trainer.settings.device))):
            self.report.say(line)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Signals end the run after the present step; what is being saved is saved."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self.stopped and number == signal.SIGINT:  # of a person who cannot wait
                with suppress(OSError):
                    os.write(_STDERR, _PATIENCE)
            self.stopped = True

        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup asks
        numbers = [number for number in _ENDING if not (number == signal.SIGHUP and ignored)]
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
