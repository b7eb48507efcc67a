"""What is due after a step: evaluating and saving, each at multiples of its interval."""

from gangraph.language.expression.model import Quantity
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.run.training import Training


class Interval:
    """Tells whether a training has just passed another multiple of an interval; None is never due.

    Multiples are counted from the beginning of the run, over all phases. None was passed before this is made.
    """

    def __init__(self, every: Quantity | None, training: Training) -> None:
        self.every, self.training = every, training
        self.passed = self._count()

    def _count(self) -> int:
        if self.every is None:
            return 0
        return int(self.training.position(self.every) / self.every.value + 1e-9)  # 0.3 is three times 0.1

    def due(self) -> bool:
        """Whether another multiple was passed since this was last asked."""
        before, self.passed = self.passed, self._count()
        return self.passed > before


def evaluate_every(phase: PhaseSpec) -> Quantity | None:
    """How often a phase is evaluated."""
    return phase.evaluate.every if phase.evaluate else None


def save_every(spec: Spec, phase: PhaseSpec) -> Quantity | None:
    """How often a checkpoint is written: as the spec says, or ten times in a phase that has a length."""
    if spec.save is not None or phase.length is None:
        return spec.save
    return Quantity(phase.length.value / 10, phase.length.unit, phase.length.span)
