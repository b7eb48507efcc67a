"""Which values a segment hands to later ones, and after which update a value is dropped."""

from dataclasses import replace

from gangraph.graph.model import Graph
from gangraph.plan.facts import Facts
from gangraph.plan.model import Segment, UpdatePlan


def free(facts: Facts, updates: tuple[UpdatePlan, ...]) -> tuple[UpdatePlan, ...]:
    """The updates, whose segments hand on only what is read later, each with the values that are dropped after it."""
    read: frozenset[str] = frozenset()
    planned = []
    for update in reversed(updates):
        alive = read.union(update.graph.roots, (node for _, node in update.losses))
        body, alive = _only_read(facts.graph, update.body, alive)
        before, alive = _only_read(facts.graph, update.before, alive)
        existing = {name for segment in (*body, *before) for name in (*segment.inputs, *segment.outputs)}
        planned.append(replace(update, before=before, body=body, frees=facts.ordered(existing - read)))
        read = alive
    return tuple(reversed(planned))


def _only_read(
    graph: Graph, segments: tuple[Segment, ...], read: frozenset[str]
) -> tuple[tuple[Segment, ...], frozenset[str]]:
    """The segments without outputs that nothing reads later, and all values that are read by them or later."""
    kept = []
    for segment in reversed(segments):
        kept.append(replace(segment, outputs=tuple(name for name in segment.outputs if name in read)))
        read = read.union(segment.inputs, (graph.nodes[name].inputs[0] for name in segment.histories))
    return tuple(reversed(kept)), read
