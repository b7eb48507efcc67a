"""The numbers of a run: to its folder, to TensorBoard, and to the person who waits."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from gangraph.errors import RunError
from gangraph.folder.run_folder import RunFolder
from gangraph.run.training import Training
from gangraph.session.reporter import Reporter

_SECONDS = 0.5  # between two reports of losses alone


class EventWriter(Protocol):
    """The part of TensorBoard's writer that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One number of a step."""
        ...


class Record:
    """Writes lines of numbers. Speed is counted from where the training is when this is made.

    Args:
        steps: where the training is to end, if it was asked to before its length.
    """

    def __init__(
        self, training: Training, folder: RunFolder, events: EventWriter, reporter: Reporter, steps: int | None
    ) -> None:
        self.training, self.folder, self.events, self.reporter, self.steps = training, folder, events, reporter, steps
        self.began, self.seen_before, self.written = time.monotonic(), training.seen, 0.0

    @property
    def due(self) -> bool:
        """Whether the last line is long enough ago."""
        return time.monotonic() - self.written > _SECONDS

    def write(self, losses: Mapping[str, Tensor], metrics: Mapping[str, float]) -> None:
        """One line.

        Raises:
            RunError: a loss is not finite. On a device that is not asked after every step, that is found only here.
        """
        training, values = self.training, {name: float(value) for name, value in losses.items()}
        _require_finite(values, training.step_count)
        shares = training.engine.open_shares()
        self.written = time.monotonic()
        line = self._line(values, metrics, shares)
        self.folder.append(line)
        opened = {f"open/{group}": share for group, share in shares.items()}
        for name, value in (*values.items(), *opened.items(), *metrics.items()):
            self.events.add_scalar(name, value, training.step_count)
        done = training.step_count / max(self.steps, 1) if self.steps is not None else training.progress
        self.reporter.progress(line, done)

    def _line(
        self, losses: Mapping[str, float], metrics: Mapping[str, float], shares: Mapping[str, float]
    ) -> dict[str, Any]:
        training = self.training
        speed = (training.seen - self.seen_before) / max(self.written - self.began, 1e-9)
        return {
            "step": training.step_count,
            "epoch": round(training.clock.epoch, 4),
            "seen": training.seen,
            "losses": losses,
            "images_per_second": round(speed, 2),
            **({"open": shares} if shares else {}),
            **({"metrics": metrics} if metrics else {}),
        }


def _require_finite(losses: Mapping[str, float], step: int) -> None:
    bad = next((name for name, value in losses.items() if not abs(value) < float("inf")), None)
    if bad is not None:
        raise RunError(f"step {step}: loss '{bad}' is not finite")
