"""Losses and states that are NaN or infinite, and the error that ends a run there."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from gangraph.errors import RunError
from gangraph.plan.model import UpdatePlan


class NotFiniteError(RunError):
    """A loss or state became NaN or infinite. `value` names where that first appeared, at `place` in the spec if there.

    `update` is "" where states move.
    """

    def __init__(self, value: str, update: str, step: int, place: str = "") -> None:
        self.value, self.update, self.step, self.place = value, update, step, place
        where = f" at {place}" if place else ""
        when = f"in the update of '{update}'" if update else "as states move at the end of the step"
        super().__init__(f"step {step}: '{value}'{where} is not finite (NaN or infinity), {when}")


def lost(update: UpdatePlan, values: Mapping[str, Tensor]) -> Iterator[str]:
    """The objectives and new states that are NaN or infinite, as nodes of the spec."""
    found = [(each.loss, each.written) for each in update.graph.objectives]
    found += [(node, node) for _, node in update.graph.states]
    return (written for node, written in found if not values[node].isfinite().all())
