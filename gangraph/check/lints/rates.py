"""Lints of learning rates that change over time."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.check.times import units_counted
from gangraph.errors import Problem, SpecError
from gangraph.graph.model import Graph
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, Quantity
from gangraph.language.expression.schedule import Clock, evaluate, is_dynamic

_MOMENTS = 200  # at which a rate is evaluated
_LONG = 0.5  # the share of a training during which a rate may be 0


def idle_rates(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG630, GG631: rates that are 0 for half of the training, or never change although they are written to."""
    length = graph.spec.length
    if length is not None:
        kinds = {"kimg": "images"}
        for name, rate in rates(graph):
            if {kinds.get(unit, unit) for unit, _ in units_counted(rate)} <= {kinds.get(length.unit, length.unit)}:
                yield from about_rate(name, rate, _moments(length), f"{length.value:g} {length.unit}")


def rates_over(graph: Graph, steps: int, epoch: int) -> Iterator[Problem]:
    """Lints of the rates of a training of so many steps, if that is not the length that its spec states.

    `epoch` is the number of samples in one. A step is taken to draw one batch.
    """
    length, batch = graph.spec.length, graph.spec.batch

    def clock(step: float) -> Clock:
        seen = step * batch
        now = Clock(step=int(step), epoch=seen / epoch if epoch else 0.0, seen=int(seen))
        share = now.position(length.unit) / length.value if length is not None else 0.0
        return replace(now, progress=min(1.0, share))

    if length is not None and clock(steps).progress < 1.0:
        return  # it ends before its schedules do
    for name, rate in rates(graph):
        yield from about_rate(name, rate, lambda share: clock(share * steps), f"{steps} steps")


def rates(graph: Graph) -> Iterator[tuple[str, Expression]]:
    """The learning rates of groups that change with time."""
    for group in graph.spec.optimizers.values():
        own = ((f"{each.place.written} in {group.name}", each.options) for each in group.listed)
        for name, options in ((group.name, group.options), *own):
            rate = options.get("lr")
            if rate is not None and is_dynamic(rate):
                yield name, rate


def about_rate(name: str, rate: Expression, moment: Callable[[float], Clock], length: str) -> Iterator[Problem]:
    """Lints of one rate over a training of some length; `moment` gives the clock at a share of it."""
    try:
        values = [evaluate(rate, moment((index + 0.5) / _MOMENTS)) for index in range(_MOMENTS)]
    except SpecError:
        return
    zero = sum(value == 0 for value in values) / _MOMENTS
    if zero >= _LONG:
        runs = [(still, len([*group])) for still, group in groupby(value == 0 for value in values)]
        since = 1 - runs[-1][1] / _MOMENTS if runs[-1][0] else 0.0
        where = f"from {since:.0%} of its {length} on" if since else f"of its {length}"
        yield warn(
            "GG630",
            f"the learning rate of '{name}' is 0 for {zero:.0%} of the training",
            rate.span,
            found=f"{ast.unparse(rate)}, which is 0 {where}",
            fix="a schedule as long as the training, such as linear(from, to) without end=",
        )
    elif len(set(values)) == 1:
        yield warn(
            "GG631",
            f"the learning rate of '{name}' never changes",
            rate.span,
            found=f"{ast.unparse(rate)}, which is {values[0]:g} during all of {length}",
            fix="a schedule as long as the training, or the number alone",
        )


def _moments(length: Quantity) -> Callable[[float], Clock]:
    """The clock at a share of a training, as far as it follows from the unit of the length."""

    def moment(share: float) -> Clock:
        position = share * length.value
        seen = position * {"images": 1, "kimg": 1000}.get(length.unit, 0)
        return Clock(
            step=int(position) if length.unit == "steps" else 0,
            epoch=position if length.unit == "epochs" else 0.0,
            seen=int(seen),
            progress=share,
        )

    return moment
