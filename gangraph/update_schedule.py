"""The schedule of an update: its keys that say when it runs, and how often.

Each is one record here, or one of a plug-in: how it is checked, printed, told and compared follows from it. A key that
lets an update run in some steps only is a function of the step and its value, which the run calls before anything of
the update is computed. What repeats an update, the planner and the run know of besides: they read `times` and
`accumulate` by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, Unpack

from gangraph.update_keys import Said, UpdateKey, add_table, registering, verify_record

Guard = TypeVar("Guard", bound=Callable[[int, float], bool])

# What a key takes: a number over time; one that is whole wherever it is a constant; a whole number that is known
# before the run; or a condition on time or losses.
Takes = Literal["number", "whole", "static", "condition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleKey(UpdateKey):
    """A key of an update that says when it runs, or how often.

    With a `function` of the number of the step and the value, the update runs only in the steps in which that is true.
    It depends on nothing else, so that a resumed run does as one that was never stopped. What `diff` calls a key has
    `{}` for the name of the update.
    """

    takes: Takes = "number"
    stated: str = "$value"  # how `diff` states it, after "was" and "is now"
    usual: str = "none"  # what `diff` says there of an update without it
    function: Callable[[int, float], bool] | None = None
    code: str = ""  # the function of a whole number as an expression of Python on `step`, where it is a short one
    conditional: bool = False  # whether there may be steps in which an update with it computes nothing
    repeated: bool = False  # whether an update with it may compute its objectives several times in a step
    late: bool = False  # whether it is decided when the losses are known
    on_losses: "ScheduleKey | None" = None  # what it is instead if it is a condition on losses


class SaidOfSteps(Said, total=False):
    """What `update_guard` takes: the fields of a `ScheduleKey`."""

    stated: str
    usual: str


SCHEDULE_KEYS: dict[str, ScheduleKey] = {}
add_table(SCHEDULE_KEYS)


def add_schedule_key(key: ScheduleKey) -> None:
    """Register a key.

    Raises:
        ValueError: the name is taken or is no name, a text has something to fill in that is not `$value`, what is
            compared does not say where the name of the update stands, or a key has a function and is not conditional.
        TypeError: printed code could not import the function by its module and name.
    """
    verify_record(key, "key", ("sentence", "latex", "caption", "stated", "code"))
    if "{}" not in key.compared:
        raise ValueError(f"'compared' of the key '{key.name}' of updates is {key.compared!r}, in which {{}} is missing")
    if key.function is not None and not key.conditional:
        raise ValueError(f"the key '{key.name}' of updates has a function, so it has to be conditional")
    SCHEDULE_KEYS[key.name] = key


def update_guard(name: str | None = None, **said: Unpack[SaidOfSteps]) -> Callable[[Guard], Guard]:
    """Register a function of a step and a number, which says whether an update runs in it, as a key of updates."""
    said.setdefault("usual", "every step")
    return registering(
        name,
        lambda chosen, function: add_schedule_key(
            ScheduleKey(name=chosen, function=function, conditional=True, **said)
        ),
    )


def divides(step: int, number: float) -> bool:
    """Whether a step is a multiple of a number, which is rounded and at least 1."""
    return step % max(1, round(number)) == 0


def holds(step: int, condition: float) -> bool:
    """Whether a condition that was evaluated in this step is true."""
    return bool(condition)


add_schedule_key(
    ScheduleKey(
        name="times",
        about="how often in a row; may depend on step",
        sentence="It runs $value times in a row.",
        latex=r"$value \text{ times in a row}",
        caption="$value times in a row",
        compared="how often update {} runs",
        stated="$value times",
        usual="once",
        takes="whole",
        least=1,
        conditional=True,
        repeated=True,
    )
)
add_schedule_key(
    ScheduleKey(
        name="every",
        about="only when step is a multiple of this",
        sentence="It runs only in every step whose number can be divided by $value.",
        latex=r"\text{in every step that } $value \text{ divides}",
        caption="every $value steps",
        compared="the rhythm of update {}",
        stated="every $value steps",
        usual="every step",
        takes="whole",
        least=1,
        function=divides,
        code="step % $value == 0",
        conditional=True,
    )
)
_LATE = ScheduleKey(
    name="when",
    about="only when this condition on losses holds",
    sentence="Parameters change only where $value.",
    latex=r"\text{only in steps where } $value",
    caption="its gradient is taken only when $value",
    compared="the condition of update {}",
    takes="condition",
    late=True,
)
add_schedule_key(
    ScheduleKey(
        name="when",
        about="only when this condition on losses or time holds",
        sentence="It runs only in steps where $value.",
        latex=r"\text{only in steps where } $value",
        caption="when $value",
        compared="the condition of update {}",
        takes="condition",
        function=holds,
        code="$value",
        conditional=True,
        on_losses=_LATE,
    )
)
add_schedule_key(
    ScheduleKey(
        name="accumulate",
        about="number of micro-batches whose gradients are averaged",
        sentence="It averages its gradient over $value batches.",
        latex=r"\text{its gradient averaged over } $value \text{ batches}",
        caption="gradients averaged over $value batches",
        compared="what update {} averages its gradient over",
        stated="$value batches",
        usual="one batch",
        takes="static",
        least=1,
        repeated=True,
    )
)
