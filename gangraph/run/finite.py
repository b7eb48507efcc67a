"""The error that ends a run where numbers are no numbers any more."""

from gangraph.errors import RunError


class NotFiniteError(RunError):
    """A loss or state became NaN or infinite. `value` names where that first appeared, at `place` in the spec if there.

    `update` is "" where states move.
    """

    def __init__(self, value: str, update: str, step: int, place: str = "") -> None:
        self.value, self.update, self.step, self.place = value, update, step, place
        where = f" at {place}" if place else ""
        when = f"in the update of '{update}'" if update else "as states move at the end of the step"
        super().__init__(f"step {step}: '{value}'{where} is not finite (NaN or infinity), {when}")
