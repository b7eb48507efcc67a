"""Stage 5, plan: what each update computes, differentiates, freezes, reuses, merges and frees.

First `compute` decides what every update computes: what it reuses from the updates before it, what it computes once if
it repeats, and what it computes for later updates to differentiate. Each step after that adds one thing.

A call that moves state (running statistics, say) moves it once for each value: a call that is made again for the same
value begins from the state that it began from before, and moves nothing. Calls move state in the order of the graph.
"""

from collections.abc import Callable

from gangraph.check.phase import Checked
from gangraph.plan.compute import compute
from gangraph.plan.facts import Facts, facts
from gangraph.plan.free import free
from gangraph.plan.keep import keep
from gangraph.plan.merge import merge
from gangraph.plan.model import Plan, UpdatePlan
from gangraph.plan.naming import name_segments
from gangraph.plan.noise import draw_noise

Step = Callable[[Facts, tuple[UpdatePlan, ...]], tuple[UpdatePlan, ...]]

STEPS: tuple[Step, ...] = (name_segments, draw_noise, merge, keep, free)


def plan(checked: Checked, *, share: bool = True, merge: bool = True) -> Plan:
    """Decide how a step runs.

    Args:
        share: reuse values across updates where that is the same mathematics; without it each update computes
            its own.
        merge: run several calls of one network as one call along the batch, where no layer mixes samples.
    """
    known = facts(checked, share=share, merge=merge)
    entries = compute(known)
    for step in STEPS:
        entries = step(known, entries)
    count = len(checked.graph.updates)
    return Plan(
        checked=checked,
        sources=_read(known),
        updates=entries[:count],
        moves=entries[count:],
        share=share,
        merge=merge,
    )


def _read(known: Facts) -> tuple[str, ...]:
    """The sources that updates read."""
    nodes = known.graph.nodes
    read = {nodes[name].target for names in known.needed for name in names if nodes[name].is_source}
    return tuple(source for source in known.graph.sources if source in read)
