"""One run from its first step to its last: trained, evaluated, saved, and measured at its end."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from torch import Tensor

from gangraph.errors import DataError, RunError, WeightsError
from gangraph.evaluate.evaluation import Evaluated
from gangraph.evaluate.pictures import picture, save_image
from gangraph.evaluate.present import Load, PresentEvaluation
from gangraph.faults import fault_of
from gangraph.folder.results import Measurements, results_lines
from gangraph.run.loop import PhaseBegan, train
from gangraph.session import announcements
from gangraph.session.evaluators import untrained_evaluators
from gangraph.session.opening import Opened
from gangraph.session.record import Record
from gangraph.session.reporter import Reporter
from gangraph.session.schedule import Interval, evaluate_every, save_every
from gangraph.session.signals import Stop


class Session:
    """One run of what was opened.

    Args:
        steps: stop after this many steps in all; None for the spec's length.
        load: gives the evaluators that an evaluation calls.
        measure: measures a run's folder on a device.
    """

    def __init__(
        self,
        opened: Opened,
        reporter: Reporter,
        *,
        steps: int | None,
        load: Load,
        measure: Callable[[Path, str], Measurements],
    ) -> None:
        self.opened, self.training, self.folder = opened, opened.training, opened.folder
        self.reporter, self.steps, self.measure = reporter, steps, measure
        self.evaluation = PresentEvaluation(load)
        self.stop = Stop()
        self.began = time.monotonic()
        self.evaluated_at = self.saved_at = -1
        self.missing = set[str]()  # metrics of which it was said why they are missing

    def go(self) -> Path:
        """Train to the end, or until somebody asks to stop; returns the run's folder.

        Raises:
            RunError: something went wrong; the message names the last good checkpoint.
        """
        training, folder = self.training, self.folder
        with self.stop.listening(), self._faults(), folder.events(training.step_count) as events:
            self._announce()
            self._train(Record(training, folder, events, self.reporter, self.steps))
            if training.step_count:
                self._save()
        with self._faults():
            self._measure()
            training.engine.draws.close()
            seconds = time.monotonic() - self.began
            self._say(announcements.ending(training, folder.path, seconds, stopped=self.stop.asked))
        return folder.path

    def _say(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.reporter.say(text)

    def _announce(self) -> None:
        checkpoint = self.opened.checkpoint
        if checkpoint is not None:
            self._say(announcements.continuation(self.training, checkpoint, self.folder.path, self.opened.sizes))
            if self._finished():
                self.reporter.say("it is at its end already")
        self._say(announcements.beginning(self.training, self.folder.path, self.steps))

    def _finished(self) -> bool:
        return self.training.step_count >= self.steps if self.steps is not None else self.training.done

    # Training

    def _train(self, record: Record) -> None:
        """Train, and evaluate, write and save what is due after each step; the last step is evaluated in any case."""
        evaluating, saving = self._intervals()
        losses: Mapping[str, Tensor] = {}
        if self.training.step_count == 0:
            self._evaluate(record, losses)
        for happened in train(self.training, lambda: self.stop.asked or self._finished()):
            if isinstance(happened, PhaseBegan):
                evaluating, saving = self._intervals()
                self.reporter.say(announcements.next_phase(self.training, happened.fresh))
                continue
            losses = happened.losses
            if evaluating.due():
                self._evaluate(record, losses)
            elif record.due or self._finished():
                record.write(losses, {})
            if saving.due():
                self._save()
        if losses and not self.stop.asked and self.evaluated_at != self.training.step_count:
            self._evaluate(record, losses)

    def _intervals(self) -> tuple[Interval, Interval]:
        """When the present phase is evaluated, and when it is saved."""
        spec, phase = self.training.spec, self.training.present
        return Interval(evaluate_every(phase), self.training), Interval(save_every(spec, phase), self.training)

    def _evaluate(self, record: Record, losses: Mapping[str, Tensor]) -> None:
        """Write the grids, the numbers and, if this is it, the best checkpoint."""
        self.evaluated_at = self.training.step_count
        evaluated = self.evaluation.of(self.training)
        if evaluated is None:
            record.write(losses, {})
            return
        self._draw(evaluated)
        for name, why in evaluated.missing.items():
            if name not in self.missing:
                self.missing.add(name)
                self.reporter.say(f"metric '{name}' is left out: {why}")
        record.write(losses, evaluated.metrics)
        self._keep_best(evaluated.metrics)

    def _draw(self, evaluated: Evaluated) -> None:
        for index, (name, columns) in enumerate(evaluated.grids.items()):
            image = picture(columns, evaluated.ranges[name], name=name)
            if image is not None:
                grid = name if index else ""
                self.folder.save_picture(self.training.step_count, partial(save_image, image), grid)

    def _keep_best(self, metrics: Mapping[str, float]) -> None:
        """Save a checkpoint as the best if the spec names a metric for that, and this is better than any before."""
        evaluate = self.training.present.evaluate
        if evaluate is None or evaluate.best is None or self.training.step_count == 0:
            return
        direction, metric = evaluate.best
        if metric not in metrics or not math.isfinite(metrics[metric]):
            return
        sign, value, before = 1 if direction == "max" else -1, metrics[metric], self.folder.best()
        if before is None or sign * value > sign * before:
            self.folder.keep_best(self.training.step_count, self.training.save, value)

    def _save(self) -> None:
        """Write a checkpoint, unless a parameter or state is not finite: the last good one stays the last."""
        step = self.training.step_count
        if self.saved_at == step:
            return
        for network, module in self.training.networks.items():
            for path, parameter in module.named_parameters():
                if not parameter.isfinite().all():
                    raise RunError(f"step {step}: parameter '{network}.{path}' is not finite (NaN or infinity)")
        for name, tensor in self.training.states.items():
            if not tensor.isfinite().all():
                raise RunError(f"step {step}: state '{name}' is not finite (NaN or infinity)")
        self.folder.save(step, self.training.save, self.training.spec.keep)
        self.saved_at = step

    def _measure(self) -> None:
        """Measure the results of a run that came to its end, which a few `steps` of a longer one do not."""
        training = self.training
        ended = self._finished() and (training.present.length is None or training.done)
        evaluate = training.present.evaluate
        if self.stop.asked or not ended or evaluate is None or not evaluate.results or not training.step_count:
            return
        if evaluators := ", ".join(evaluator.called for evaluator in untrained_evaluators(training.spec)):
            self.reporter.say(
                f"results need {evaluators}, not trained here yet; gangraph measure {self.folder.path} does both"
            )
            return
        self.reporter.say("measuring the results")
        self._say(results_lines(self.measure(self.folder.path, str(training.settings.device))))

    # What goes wrong

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn an error into one line that names the last good checkpoint, after an attempt to write another.

        A checkpoint can be written between two steps only, for example if a report failed.
        """
        try:
            yield
        except RunError as error:
            if isinstance(error, DataError | WeightsError):
                self._rescue()
            raise self._failed(str(error)) from None
        except Exception as error:  # what is no fault of the system is raised again
            fault = fault_of(error)
            if fault is None:
                raise
            self._rescue()
            raise self._failed(f"step {self.training.step_count}: {fault}") from error

    def _rescue(self) -> None:
        """Save what was trained since the last checkpoint, if a step is not under way."""
        if self.training.between_steps and self.training.step_count:
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
