"""The evaluation of a training at any moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gangraph.evaluate.evaluation import BoundEvaluation, Evaluated, Evaluator
from gangraph.lower.model import EvaluationPart
from gangraph.run.engine import Engine
from gangraph.run.training import Training

Load = Callable[[Engine, EvaluationPart], Mapping[str, Evaluator]]  # the evaluators that a part of an evaluation calls


@dataclass
class PresentEvaluation:
    """Evaluates a training. `load` gives evaluators when a phase is first evaluated; they are kept until the next."""

    load: Load
    bound: BoundEvaluation | None = None

    def of(self, training: Training, count: int | None = None) -> Evaluated | None:
        """The grids and metrics of `count` samples, by default of as many as the spec says; None without `evaluate:`.

        Raises:
            RunError: a metric refuses its values, or an evaluator cannot be had.
        """
        engine, part = training.engine, training.engine.program.evaluation
        if part is None:
            return None
        if self.bound is None or self.bound.engine is not engine:
            self.bound = BoundEvaluation(engine, part, self.load(engine, part))
        return self.bound.evaluate(training.clock, count)
