"""What the keys of updates say in one step: how often an update runs, and the numbers that change over time."""

from gangraph.errors import RunError
from gangraph.language.expression.model import Expression
from gangraph.language.expression.schedule import Clock, evaluate
from gangraph.plan.model import UpdatePlan
from gangraph.run.plugin_calls import telling
from gangraph.update_options import UpdateOption
from gangraph.update_schedule import ScheduleKey


def repetitions(update: UpdatePlan, clock: Clock) -> int:
    """How often an update runs in this step."""
    for key, written in update.graph.timing:
        if key.function is not None:
            number = value_now(key, written, clock)
            with telling(f"at step {clock.step}, the key '{key.name}'", written.span, key.function):
                if not key.function(clock.step, number):
                    return 0
    times = update.graph.timing.written("times")
    return 1 if times is None else max(0, round(evaluate(times, clock)))


def value_now(key: UpdateOption | ScheduleKey, written: Expression, clock: Clock) -> float:
    """The present value of a key of an update. Raises RunError for a number below the least that it takes."""
    number = evaluate(written, clock)
    limited = isinstance(key, UpdateOption) or key.takes == "number"  # functions of whole numbers limit them themselves
    if key.least is not None and limited and number < key.least:
        raise RunError(f"{written.span}: {key.name} is {number:g} at step {clock.step}, below {key.least:g}")
    return number
