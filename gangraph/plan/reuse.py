"""What an update computes, and what it reuses.

An update that may be skipped or repeated offers nothing to later updates but held values. An update with a gate on
losses is always computed, so it offers what it computed, whether it steps or not.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from gangraph.plan.facts import Facts
from gangraph.plan.model import Reuse
from gangraph.plan.split import changes_while_repeating


@dataclass(frozen=True, slots=True)
class Standing:
    """A tensor that exists: which update computed it, and for which later update it carries a gradient."""

    by: int
    live_for: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the updates so far leave to later ones: tensors by value, and when each call last changed its state.

    `moved` holds the number of an update for each call; it counts only updates that certainly run.
    """

    tensors: Mapping[str, Standing]
    moved: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What update `index` (from 0) has to do: the values that are `wanted` from it, and the tensors that it reuses.

    `roots` are read when everything is computed. The calls in `again` were made before in this step for the same value.
    `tensors` are those of earlier updates that stay valid.
    """

    index: int
    roots: frozenset[str]
    wanted: frozenset[str]
    again: frozenset[str]
    reuses: tuple[Reuse, ...]
    tensors: Mapping[str, Standing]


def work(facts: Facts, past: Past, index: int) -> Work:
    """What an update computes, given what those before it left."""
    roots = frozenset(facts.updates[index].roots) | {*facts.losses[index].values()} | facts.held[index]
    found, reused = _to_compute(facts, past.tensors, roots, index)
    wanted = found | _beside(facts, past.tensors, found, index)
    return Work(
        index=index,
        roots=roots,
        wanted=frozenset(wanted),
        again=frozenset(call for call in wanted & facts.moves.keys() if _was_called(facts, past, call, index)),
        reuses=tuple(_reuse(facts, name, past.tensors[name].by) for name in facts.ordered(reused)),
        tensors={name: tensor for name, tensor in past.tensors.items() if name not in wanted},
    )


def left_by(facts: Facts, past: Past, done: Work, live_for: Mapping[str, int | None]) -> Past:
    """What later updates can reuse after an update has run. `live_for` has the values that carry their gradients."""
    runs = facts.updates[done.index].timing.once
    offered = done.wanted if runs else done.wanted & facts.versions.held
    made = {name: Standing(done.index, live_for.get(name)) for name in offered - facts.ahead(offered)}
    calls = done.wanted & facts.moves.keys()
    unsure = calls - done.again if not runs else frozenset[str]()
    moved = {call: by for call, by in past.moved.items() if call not in unsure}
    return Past(tensors={**done.tensors, **made}, moved=moved | (dict.fromkeys(calls, done.index) if runs else {}))


def _to_compute(
    facts: Facts, tensors: Mapping[str, Standing], roots: Iterable[str], index: int
) -> tuple[set[str], set[str]]:
    """The values that have to be computed now, and those that are reused from earlier updates."""
    nodes, needed = facts.graph.nodes, facts.needed[index]
    pinned = facts.along(needed) | facts.ahead(needed)
    changing = changes_while_repeating(facts, index)
    wanted, reused = set[str](), set[str]()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in wanted or nodes[name].is_given:
            continue
        if name not in pinned and not changing(name) and _stands(facts, tensors, name, index):
            reused.add(name)
            continue
        wanted.add(name)
        waiting += nodes[name].needs
    return wanted, reused


def _stands(facts: Facts, tensors: Mapping[str, Standing], name: str, index: int) -> bool:
    """Whether a tensor can be used for a value; if the update differentiates through it, with its gradient."""
    have = tensors.get(name)
    if name in facts.outputs or have is None or not facts.versions.same(name, have.by, index):
        return False
    remembers = facts.graph.nodes[name].remembers
    return (facts.share or bool(remembers)) and (name not in facts.live[index] or have.live_for == index)


def _beside(facts: Facts, tensors: Mapping[str, Standing], wanted: Set[str], index: int) -> set[str]:
    """Outputs that are not wanted now, of calls that are made anyway; this update or a later one needs them.

    A call with several outputs is no value that could be kept; each of its outputs is.
    """
    given = {name for call in wanted & facts.outputs.keys() for name in facts.outputs[call]}
    read = {name for name in given if name in facts.needed[index] or name in facts.later[index]}
    return {name for name in read if not _stands(facts, tensors, name, index)}


def _was_called(facts: Facts, past: Past, call: str, index: int) -> bool:
    """Whether a call was certainly made before in this step for the same value."""
    return call in past.moved and facts.versions.same(call, past.moved[call], index)


def _reuse(facts: Facts, name: str, by: int) -> Reuse:
    if name in facts.versions.held:
        return Reuse(value=name, source=by, why="it is held as it was when first computed")
    beneath = " ".join(facts.versions.named(name))
    if not beneath:
        return Reuse(value=name, source=by, why="it depends on time alone, which stands still within a step")
    return Reuse(value=name, source=by, why=f"nothing beneath it has changed since ({beneath})")
