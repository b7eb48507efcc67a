"""What the planner needs to know about a checked graph, derived once for all updates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gangraph.check.phase import Checked
from gangraph.graph.differentiability import differentiable, passed
from gangraph.graph.model import Graph
from gangraph.graph.update import UpdateGraph
from gangraph.plan.hold import held
from gangraph.plan.losses import reported
from gangraph.plan.order import State, states
from gangraph.plan.versions import Versions, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A checked graph, and what follows from it for every update by its number.

    `share` and `merge` say whether updates share values, and whether calls of one network are merged.

    For each update: `needed` are the values that it needs, `live` those of them that depend differentiably on what it
    trains, `later` the values that a later update needs, `held` the values that are held from this update on, `losses`
    the losses that it reports, name to node, and `labels` what its segments are called. `paths` are, for each gradient,
    the values through which its gradient flows, its output among them. `outputs` are the outputs of each call with
    several outputs; such a call is itself no value. `moves` says which state each call changes.
    """

    checked: Checked
    share: bool
    merge: bool
    needed: tuple[frozenset[str], ...]
    live: tuple[frozenset[str], ...]
    later: tuple[frozenset[str], ...]
    held: tuple[frozenset[str], ...]
    losses: tuple[Mapping[str, str], ...]
    labels: tuple[str, ...]
    paths: Mapping[str, frozenset[str]]
    outputs: Mapping[str, tuple[str, ...]]
    moves: Mapping[str, State]
    versions: Versions

    @property
    def graph(self) -> Graph:
        """The graph that is planned."""
        return self.checked.graph

    @property
    def updates(self) -> tuple[UpdateGraph, ...]:
        """The entries of its step: updates, and then what moves states."""
        return self.checked.graph.step

    def ordered(self, names: Iterable[str]) -> tuple[str, ...]:
        """Values in the order of the graph, in which each stands after what it needs."""
        return tuple(self.graph.in_order(names))

    def along(self, names: Iterable[str]) -> set[str]:
        """The values through which the gradients among `names` flow; they are computed with these gradients."""
        return set[str]().union(*(self.paths[name] for name in names if name in self.paths))

    def ahead(self, names: Iterable[str]) -> set[str]:
        """The values that depend on looked-ahead networks, which are computed and forgotten with the steps."""
        nodes = (self.graph.nodes[name] for name in names)
        return {node.id for node in nodes if node.origin or node.kind == "lookahead"}

    def inputs(self, names: Iterable[str]) -> set[str]:
        """The inputs of some values, and of the values through which the gradients among them flow."""
        own = set(names)
        return {source for name in own | self.along(own) for source in self.graph.nodes[name].needs}

    def moving(self, names: Iterable[str], again: Iterable[str]) -> tuple[str, ...]:
        """The calls among `names` that change state, in the order of the graph, without those that are made `again`."""
        return self.ordered((self.moves.keys() & set(names)).difference(again))


def facts(checked: Checked, *, share: bool, merge: bool) -> Facts:
    """Derive what the planner needs to know."""
    graph = checked.graph
    needed = tuple(frozenset(graph.below(*update.roots)) for update in graph.step)
    return Facts(
        checked=checked,
        share=share,
        merge=merge,
        needed=needed,
        live=tuple(
            frozenset(differentiable(graph, update.networks, within))
            for update, within in zip(graph.step, needed, strict=True)
        ),
        later=_later(needed),
        held=held(graph, needed),
        losses=reported(graph, needed),
        labels=labels([update.name for update in graph.step]),
        paths={
            node.id: frozenset(passed(graph, node) | {node.inputs[0]})
            for node in graph.nodes.values()
            if node.is_gradient
        },
        outputs=_outputs(checked),
        moves=states(graph, checked.networks),
        versions=versions(graph),
    )


def labels(names: list[str]) -> tuple[str, ...]:
    """The name of each update's segments: the update's name, with a number if another update has the same."""
    found: list[str] = []
    for number, name in enumerate(names, 1):
        shared = names.count(name) > 1
        found.append(unique_name(f"{name}_update_{number}", {*names, *found}) if shared else name)
    return tuple(found)


def unique_name(name: str, taken: Iterable[str]) -> str:
    """The name, with as many underscores appended as are needed to make it unique."""
    others = frozenset(taken)
    while name in others:
        name += "_"
    return name


def _later(needed: tuple[frozenset[str], ...]) -> tuple[frozenset[str], ...]:
    """For each update the values that some update after it needs."""
    found = [frozenset[str]()]
    for names in reversed(needed[1:]):
        found.append(found[-1] | names)
    return tuple(reversed(found[: len(needed)]))


def _outputs(checked: Checked) -> dict[str, tuple[str, ...]]:
    """The outputs of each call with several outputs. The outputs are values; the call itself is none."""
    graph = checked.graph
    found: dict[str, list[str]] = {
        node.id: []
        for node in graph.nodes.values()
        if node.is_call and not checked.networks[graph.owner(node.target)].single
    }
    for node in graph.nodes.values():
        if node.kind == "output":
            found[node.inputs[0]].append(node.id)
    return {call: tuple(names) for call, names in found.items()}
