"""The Python interface: a spec with parameters, that steps, trains, evaluates, saves and resumes."""

from collections.abc import Callable
from functools import cached_property
from typing import Self

from torch import Tensor

from gangraph.evaluate.evaluation import Evaluated
from gangraph.evaluate.present import PresentEvaluation
from gangraph.run.loop import Stepped, train
from gangraph.session.run import PreparedTraining, load_evaluators


class Trainer(PreparedTraining):
    """A spec that is ready to train.

    Args:
        spec: from `gangraph.load`.
        device: `auto`, `cpu` or `cuda`.
        seed: everything random is a function of it.
        precision: `fp32`; `bf16` computes in mixed precision with parameters in float32; `fp64`.
        compile: `auto` compiles on CUDA only; `on`; `off`.
        share, merge: False for the plain form, in which no update reuses another's values and no calls are merged.
        kernels: `auto` uses the fused kernels on CUDA only; `on` also under the Triton interpreter; `off`.

    Raises:
        SpecError: the spec has errors; all of them in one report.
        UsageError: there is no such device or precision, or Triton cannot run where kernels are `on`.
        RunError: weights from elsewhere are not there or damaged, or the training of a network that another spec
            trains failed.
    """

    def train(
        self, steps: int | None = None, *, every: Callable[[Self, dict[str, Tensor]], None] | None = None
    ) -> dict[str, float]:
        """Train to the end of the spec's length, or for a number of steps; returns the last losses.

        Args:
            steps: how many more steps; by default to the end of the last phase.
            every: called after each step with the trainer and the losses.

        Raises:
            NotFiniteError: as `step`.
        """
        last = None if steps is None else self.step_count + steps
        losses: dict[str, Tensor] = {}
        for happened in train(self, lambda: self.step_count >= last if last is not None else self.done):
            if isinstance(happened, Stepped):
                losses = happened.losses
                if every is not None:
                    every(self, losses)
        return {name: float(value) for name, value in losses.items()}

    def evaluate(self, count: int | None = None) -> Evaluated | None:
        """Compute the spec's grid and metrics now; None if it has no `evaluate:`. Training is not disturbed.

        Args:
            count: how many samples are drawn; by default as many as the spec says.

        Raises:
            RunError: a metric refuses its values, or the training of an evaluator that was not there yet failed.
        """
        return self._evaluation.of(self, count)

    @cached_property
    def _evaluation(self) -> PresentEvaluation:
        return PresentEvaluation(load_evaluators)
