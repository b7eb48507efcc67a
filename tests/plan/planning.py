"""What the tests of planning share: facts of small specs, and single steps of a plan on them."""

from dataclasses import replace
from functools import reduce

from gangraph.pipeline import check_phase
from gangraph.plan.compute import compute
from gangraph.plan.facts import Facts, facts
from gangraph.plan.model import Segment, UpdatePlan
from gangraph.plan.planner import STEPS
from tests.support import small

BOTH = ("{update: d, minimize: judge}", "{update: g, minimize: fool}")


def known(*step: str, share: bool = True, merge: bool = True, **parts: str) -> Facts:
    """The facts of a small GAN with these updates."""
    spec = small(*(step or BOTH), **parts)
    return facts(check_phase(spec, spec.phases[0]), share=share, merge=merge)


def updates(of: Facts) -> tuple[UpdatePlan, ...]:
    """All steps of a plan."""
    return reduce(lambda made, step: step(of, made), STEPS, compute(of))


def of_nodes(name: str, *nodes: str, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> Segment:
    """A segment of some nodes."""
    return Segment(
        name=name,
        purpose="",
        target=0,
        nodes=nodes,
        inputs=inputs,
        outputs=outputs,
        trained=(),
        live=frozenset(),
        detached=frozenset(),
    )


def running(update: UpdatePlan, *body: Segment) -> UpdatePlan:
    """The update with other segments."""
    return replace(update, before=(), body=body)
