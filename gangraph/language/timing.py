"""The schedule of one update: the keys that are written, each with the record that defines it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gangraph.language.expression.gates import is_over_time
from gangraph.language.expression.model import Expression, Literal, unparse
from gangraph.update_schedule import SCHEDULE_KEYS, ScheduleKey


@dataclass(frozen=True, slots=True)
class Timing:
    """When an update runs and how often: the keys of its schedule that are written, in the order of their table."""

    keys: tuple[tuple[ScheduleKey, Expression], ...]

    @classmethod
    def of(cls, schedule: Mapping[str, Expression]) -> "Timing":
        """The timing of a schedule. A condition on losses has another record than one on time."""
        return cls(tuple((_meant(SCHEDULE_KEYS[name], written), written) for name, written in schedule.items()))

    def __iter__(self) -> Iterator[tuple[ScheduleKey, Expression]]:
        return iter(self.keys)

    def written(self, name: str) -> Expression | None:
        """The value that is written for a key; None if the key is not written."""
        return next((written for key, written in self.keys if key.name == name), None)

    def number(self, name: str) -> int:
        """The number of a key, which is known before the run; the least that it takes if it is not written.

        Raises:
            ValueError: the key is one that may change over time.
        """
        match self.written(name):
            case None:
                return int(SCHEDULE_KEYS[name].least or 0)
            case Literal(value=int(number)):
                return number
        raise ValueError(f"'{name}' is not known before the run")

    @property
    def gate(self) -> Expression | None:
        """The condition that is decided when the losses are known."""
        return next((written for key, written in self.keys if key.late), None)

    @property
    def conditional(self) -> bool:
        """Whether there may be steps in which the update computes nothing."""
        return bool(self.conditions)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The keys by which it may compute nothing in some steps. A constant number of times is at least 1."""
        varying = (key for key, written in self.keys if not (key.repeated and isinstance(written, Literal)))
        return tuple(key.name for key in varying if key.conditional)

    @property
    def repetitions(self) -> tuple[str, ...]:
        """The keys by which it may compute its objectives several times in a step."""
        return tuple(key.name for key, _ in self.keys if key.repeated)

    @property
    def repeated(self) -> bool:
        """Whether the update may compute its objectives several times in a step."""
        return bool(self.repetitions)

    @property
    def once(self) -> bool:
        """Whether the update computes its objectives exactly once in every step."""
        return not self.conditional and not self.repeated

    def once_with(self, other: "Timing") -> bool:
        """Whether the update computes its objectives exactly once in every step in which one of another timing runs.

        Each condition of its own has to be written there as well.
        """
        theirs = {(key.name, unparse(written)) for key, written in other}
        own = ((key.name, unparse(written)) for key, written in self if key.conditional)
        return not self.repeated and all(each in theirs for each in own)


def _meant(key: ScheduleKey, written: Expression) -> ScheduleKey:
    return key.on_losses if key.on_losses is not None and not is_over_time(written) else key
