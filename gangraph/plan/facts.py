"""What planning reads of a checked graph, derived once for all updates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gangraph.check.phase import Checked
from gangraph.graph.differentiability import differentiable, passed
from gangraph.graph.model import Graph, UpdateGraph
from gangraph.plan.hold import held
from gangraph.plan.losses import reported
from gangraph.plan.order import State, states
from gangraph.plan.versions import Versions, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A checked graph, and what follows from it for every update by its number.

    `share` and `merge` say whether updates share values, and whether calls of one network are merged.

    By update: the values that are `needed`, those of them that are `live`, differentiable in what it trains, the values
    that a `later` update needs, those that are `held` from it on, the `losses` that it reports, node to name, and what
    its segments are called, its `labels`.

    By value: `paths` are the values that each gradient passes, its output among them; `outputs` those of each call that
    has several, and is itself no value; `moves` says which state each call moves.
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
        """The updates of its step."""
        return self.checked.graph.updates

    def ordered(self, names: Iterable[str]) -> tuple[str, ...]:
        """Values in the order of the graph, in which each stands after what it needs."""
        return tuple(self.graph.in_order(names))

    def along(self, names: Iterable[str]) -> set[str]:
        """What the gradients among some values pass: it is computed together with them, also if it stands already."""
        return set[str]().union(*(self.paths[name] for name in names if name in self.paths))

    def ahead(self, names: Iterable[str]) -> set[str]:
        """What depends on looked-ahead networks: computed together with the steps, and forgotten with them."""
        nodes = (self.graph.nodes[name] for name in names)
        return {node.id for node in nodes if node.origin or node.kind == "lookahead"}

    def inputs(self, names: Iterable[str]) -> set[str]:
        """What values are computed from, and what the gradients among them pass is computed from."""
        own = set(names)
        return {source for name in own | self.along(own) for source in self.graph.nodes[name].needs}

    def moving(self, names: Iterable[str], again: Iterable[str]) -> tuple[str, ...]:
        """The calls among some values that move state, in order: not those that are made `again`."""
        return self.ordered((self.moves.keys() & set(names)).difference(again))


def facts(checked: Checked, *, share: bool, merge: bool) -> Facts:
    """Derive what planning reads."""
    graph = checked.graph
    needed = tuple(frozenset(graph.below(*update.roots)) for update in graph.updates)
    return Facts(
        checked=checked,
        share=share,
        merge=merge,
        needed=needed,
        live=tuple(
            frozenset(differentiable(graph, update.networks, within))
            for update, within in zip(graph.updates, needed, strict=True)
        ),
        later=_later(needed),
        held=held(graph, needed),
        losses=reported(graph, needed),
        labels=labels([update.name for update in graph.updates]),
        paths={
            node.id: frozenset(passed(graph, *node.inputs) | {node.inputs[0]})
            for node in graph.nodes.values()
            if node.kind == "grad"
        },
        outputs=_outputs(checked),
        moves=states(graph, checked.networks),
        versions=versions(graph),
    )


def labels(names: list[str]) -> tuple[str, ...]:
    """What the segments of each update are called: its name, numbered where another update has the same."""
    found: list[str] = []
    for number, name in enumerate(names, 1):
        shared = names.count(name) > 1
        found.append(free(f"{name}_update_{number}", {*names, *found}) if shared else name)
    return tuple(found)


def free(name: str, taken: Iterable[str]) -> str:
    """The name, with as many underscores behind it as make it one that is not taken."""
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
    """The calls that give several outputs, which are values, while what the call itself gives is none."""
    graph = checked.graph
    found: dict[str, list[str]] = {
        node.id: []
        for node in graph.nodes.values()
        if node.kind == "network" and not checked.networks[graph.owner(node.target)].single
    }
    for node in graph.nodes.values():
        if node.kind == "output":
            found[node.inputs[0]].append(node.id)
    return {call: tuple(names) for call, names in found.items()}
