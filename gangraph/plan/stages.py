"""The order of values within an update: histories are mixed between its segments."""

from collections.abc import Iterable, Iterator, Mapping, Set

from gangraph.plan.facts import Facts
from gangraph.plan.order import in_order


def stages(facts: Facts, names: Set[str], again: Iterable[str]) -> tuple[frozenset[str], ...]:
    """Some values in consecutive groups; histories are mixed between the groups.

    A history is mixed before its group. Only what this needs is computed before the last group.
    """
    after = {second: first for first, second in in_order(facts.moving(names, again), facts.moves)}
    stage = _numbered(facts, names, after)
    early = _before_histories(facts, names, after)
    groups: list[set[str]] = [set() for _ in range(max(stage.values(), default=0) + 1)]
    for name in names:
        groups[stage[name] if name in early else -1].add(name)
    return tuple(map(frozenset, groups))


def _numbered(facts: Facts, names: Set[str], after: Mapping[str, str]) -> dict[str, int]:
    """In which group, from 0, each value can be computed first."""
    stage: dict[str, int] = {}
    for name in facts.ordered(names):
        node = facts.graph.nodes[name]
        before = (stage[each] for each in (*node.needs, *_call_before(name, after)) if each in stage)
        past = node.remembers == "run" and not names.isdisjoint(node.inputs)
        stage[name] = max(before, default=0) + past
    return stage


def _before_histories(facts: Facts, names: Set[str], after: Mapping[str, str]) -> set[str]:
    """The values that have to be computed before those are mixed with their past."""
    nodes = facts.graph.nodes
    early = set[str]()
    waiting = [each for name in names if nodes[name].remembers == "run" for each in nodes[name].inputs]
    while waiting:
        if (name := waiting.pop()) in names and name not in early:
            early.add(name)
            waiting += (*nodes[name].needs, *facts.outputs.get(name, ()), *_call_before(name, after))
    return early


def _call_before(name: str, after: Mapping[str, str]) -> Iterator[str]:
    """The call that moves the state of a call's network before it does, if there is one."""
    if name in after:
        yield after[name]
