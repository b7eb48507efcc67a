"""Two graphs side by side: which names stand for the same thing, and which values are the same mathematics."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gangraph.check.phase import Checked
from gangraph.graph.model import Graph, Node
from gangraph.language.expression.model import (
    Attribute,
    Binary,
    Call,
    Expression,
    Name,
    Sequence,
    Unary,
    dotted,
    is_sum,
)
from gangraph.language.spec import AverageSpec, NetworkSpec
from gangraph.views.calls import called
from gangraph.views.decompile import Decompiled, over_values_and_losses
from gangraph.views.printers.registered import Given, bound, definition_of
from gangraph.views.spec import fixity, weights_text

Pairs = Mapping[str, str]  # names of the first graph, and what the second calls the same


@dataclass(frozen=True)
class _Side:
    """One of two graphs as expressions, in which values and losses stand by their names."""

    graph: Graph
    decompiled: Decompiled
    nodes: Mapping[str, str]
    names: Mapping[str, set[str]]

    @classmethod
    def of(cls, graph: Graph) -> "_Side":
        """The expressions of a graph; `nodes` are those of its names, `names` all that a node is called."""
        nodes, names = {**graph.values, **graph.losses}, dict[str, set[str]]()
        for name, node in nodes.items():
            names.setdefault(node, set()).add(name)
        return cls(graph, over_values_and_losses(graph), nodes, names)

    def called(self, expression: Expression) -> set[str]:
        """Every name of what a name stands for."""
        return self.names.get(self.nodes.get(expression.id, ""), set()) if isinstance(expression, Name) else set()

    def opened(self, expression: Expression) -> Expression:
        """What the name of a value or loss stands for; anything else as it is."""
        while isinstance(expression, Name) and expression.id in self.nodes:
            expression = self.decompiled.definition(self.nodes[expression.id])
        return expression

    def drawn(self, expression: Expression) -> Node | None:
        """The batch of data or of random numbers that an expression is."""
        node = self.graph.nodes.get(dotted(expression))
        return node if node is not None and node.is_source else None


@dataclass
class Matching:
    """What two checked phases have in common. A name means the same in both, unless only one of them has it."""

    first: Checked
    second: Checked
    sources: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        a, b = self.first.graph, self.second.graph
        self.sources = _paired(a.spec.data, b.spec.data, lambda m, n: repr(a.sources[m]) == repr(b.sources[n]))
        self.networks = _paired(a.spec.networks, b.spec.networks, self.same_network)
        self._sides = _Side.of(a), _Side.of(b)
        self.values = _paired(a.spec.values, b.spec.values, lambda *_: False)
        self.losses = _paired(a.spec.losses, b.spec.losses, lambda *_: False)
        while self._renamed(self.values, a.values, b.values) or self._renamed(self.losses, a.losses, b.losses):
            pass

    def _renamed(self, known: dict[str, str], first: Pairs, second: Pairs) -> bool:
        """Pair one more name of each graph that has the same definition; whether there was one."""
        for name in (n for n in first if n not in known):
            for other in (n for n in second if n not in known.values()):
                if self.same_node(first[name], second[other]):
                    known[name] = other
                    return True
        return False

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """The names that differ although what they stand for does not."""
        tables = (self.sources, self.networks, self.values, self.losses)
        return tuple((a, b) for table in tables for a, b in table.items() if a != b)

    def same_network(self, first: str, second: str) -> bool:
        """Whether two networks have the same layers, initialisation and number of parameters."""
        a, b = self.first.graph.spec.networks[first], self.second.graph.spec.networks[second]
        if isinstance(a, AverageSpec) or isinstance(b, AverageSpec):
            return (
                isinstance(a, AverageSpec)
                and isinstance(b, AverageSpec)
                and self.networks.get(a.of, a.of) == b.of
                and (a.decay, a.buffers) == (b.decay, b.buffers)
            )
        if origin(a) != origin(b):
            return False
        alike = layers(a) == layers(b) and draws(a) == draws(b)
        return alike and a.init == b.init and self._shares(a, b) and self._sizes(first, second)

    def _shares(self, a: NetworkSpec, b: NetworkSpec) -> bool:
        """Whether two networks share the same parts, with networks that are not known to be different ones."""
        ours, theirs = ({share.part: share.network for share in each.shares} for each in (a, b))
        return ours.keys() == theirs.keys() and all(self.networks.get(ours[p], theirs[p]) == theirs[p] for p in ours)

    def _sizes(self, first: str, second: str) -> bool:
        models = self.first.networks.get(first), self.second.networks.get(second)
        return (models[0] and models[0].parameters) == (models[1] and models[1].parameters)

    def same(self, first: Expression, second: Expression) -> bool:
        """Whether two expressions are the same: by a name that both specs have, or by what they stand for."""
        ours, theirs = self._sides
        known = {**self.values, **self.losses}
        called = {known[name] for name in ours.called(first) if name in known}
        return bool(called & theirs.called(second)) or self.alike(first, second)

    def alike(self, first: Expression, second: Expression) -> bool:
        """Whether two expressions compute the same from the same."""
        first, second = self._sides[0].opened(first), self._sides[1].opened(second)
        drawn = self._sides[0].drawn(first), self._sides[1].drawn(second)
        match first, second:
            case _ if drawn != (None, None):
                return drawn[0] is not None and drawn[1] is not None and self._same_draw(drawn[0], drawn[1])
            case (Name(id=a), Name(id=b)):
                return self._translated(a) == b
            case (Attribute(), Attribute()):
                return first.name == second.name and self.same(first.base, second.base)
            case (Unary(), Unary()):
                return first.operator == second.operator and self.same(first.operand, second.operand)
            case (Binary(), Binary()):
                return self._same_operation(first, second)
            case (Sequence(), Sequence()):
                return self._all_same(first.items, second.items)
            case (Call(), Call()):
                return self._same_call(first, second)
        return first == second

    def _same_operation(self, first: Binary, second: Binary) -> bool:
        """Whether two operations are the same; sums are compared term by term, from the last on."""
        while first.operator == second.operator and self.same(first.right, second.right):
            left, other = first.left, second.left
            if not (is_sum(left) and is_sum(other)):
                return self.same(left, other)
            first, second = left, other
        return False

    def same_node(self, first: str, second: str) -> bool:
        """Whether two nodes compute the same from the same."""
        ours, theirs = self._sides
        return self.alike(ours.decompiled.definition(first), theirs.decompiled.definition(second))

    def _translated(self, name: str) -> str:
        """What the second spec calls a network, or anything else that the first calls by a name."""
        return self.networks.get(name, "") if name in self.first.graph.spec.networks else name

    def _same_draw(self, a: Node, b: Node) -> bool:
        sources = self.first.graph.sources[a.target], self.second.graph.sources[b.target]
        if a.target in self.first.graph.spec.data:
            return self.sources.get(a.target) == b.target and (len(sources[0].fields) == 1 or a.field == b.field)
        return b.target not in self.second.graph.spec.data and repr(sources[0]) == repr(sources[1])

    def _same_call(self, first: Call, second: Call) -> bool:
        """Whether two calls are of the same function, with arguments that are the same, by position or by keyword."""
        networks = self.first.graph.spec.networks, self.second.graph.spec.networks
        names = called(first), called(second)
        if self._translated(names[0]) != names[1] or (names[0] in networks[0]) != (names[1] in networks[1]):
            return False
        ours, theirs = (_arguments(each, spec) for each, spec in zip((first, second), networks, strict=True))
        return ours.keys() == theirs.keys() and all(self._same_given(ours[name], theirs[name]) for name in ours)

    def _same_given(self, first: Given, second: Given) -> bool:
        if isinstance(first, tuple) or isinstance(second, tuple):
            return isinstance(first, tuple) and isinstance(second, tuple) and self._all_same(first, second)
        return self.same(first, second)

    def _all_same(self, first: tuple[Expression, ...], second: tuple[Expression, ...]) -> bool:
        return len(first) == len(second) and all(map(self.same, first, second))


def origin(network: NetworkSpec) -> str:
    """Where the weights of a network come from, if that is elsewhere, and whether they stay."""
    return f"{weights_text(network.weights)}, {fixity(network)}" if network.weights is not None else ""


def layers(network: NetworkSpec) -> tuple[object, ...]:
    """What a network consists of."""
    return network.given, network.parts, network.values, network.outputs, network.start


def draws(network: NetworkSpec) -> tuple[object, ...]:
    """What a network draws, and how often."""
    return network.draws, network.draws_once


def _paired(first: Iterable[str], second: Iterable[str], alike: Callable[[str, str], bool]) -> dict[str, str]:
    """Each name of the first with the same name of the second, or with the first left that is alike."""
    left = list(second)
    pairs = {name: name for name in first if name in left}
    left = [name for name in left if name not in pairs]
    for name in first:
        match = next((other for other in left if name not in pairs and alike(name, other)), None)
        if match is not None:
            pairs[name] = match
            left.remove(match)
    return pairs


def _arguments(call: Call, networks: Collection[str]) -> Mapping[str, Given]:
    """The arguments of a call by name: of an op by parameter, of a network or a form by place and keyword."""
    definition = definition_of(call, networks)
    if definition is not None:
        return bound(definition, call)
    return {**{str(i): argument for i, argument in enumerate(call.arguments)}, **dict(call.keywords)}
