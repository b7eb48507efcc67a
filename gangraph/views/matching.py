"""Two graphs side by side: which names stand for the same thing, and which values are the same mathematics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gangraph.check.phase import Checked
from gangraph.graph.model import Argument, Graph, Node, Ref
from gangraph.language.expression.model import Expression
from gangraph.language.spec import OUTPUT, AverageSpec, NetworkSpec
from gangraph.registry import vocabulary
from gangraph.views.notation import bound

Pairs = Mapping[str, str]  # names of the first graph, and what the second calls the same


CONSTANT = ""  # the node of a term that has none


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a sum: a node, the number before it, and its factors that change over time; '' is the constant 1."""

    node: str
    weight: float = 1.0
    factors: tuple[Expression, ...] = ()


def terms(graph: Graph, root: str, ends: Iterable[str] = ()) -> tuple[Term, ...]:
    """A sum as its terms, with weights multiplied out; `ends` are nodes that are not looked into."""
    stops = set(ends)

    def split(argument: Argument, weight: float, factors: tuple[Expression, ...]) -> Iterator[Term]:
        if isinstance(argument, int | float):
            yield Term(CONSTANT, weight * argument, factors)
        if not isinstance(argument, Ref):
            return
        node = graph.nodes[argument.id]
        numbers = [value for value in node.arguments if isinstance(value, int | float)]
        times = [graph.nodes[name] for name in node.inputs if graph.nodes[name].kind == "scalar"]
        rest = [value for value in node.arguments if isinstance(value, Ref) and value.id not in {t.id for t in times}]
        match node.target if node.kind == "op" and argument.id not in stops else "":
            case "add" | "sub" as sign:
                yield from split(node.arguments[0], weight, factors)
                yield from split(node.arguments[1], -weight if sign == "sub" else weight, factors)
            case "neg":
                yield from split(node.arguments[0], -weight, factors)
            case "mul" if len(rest) == 1 and numbers:
                yield from split(rest[0], weight * numbers[0], factors)
            case "mul" if len(rest) == 1 and times:
                yield from split(rest[0], weight, (*factors, times[0].over_time))
            case "truediv" if isinstance(node.arguments[1], int | float):
                yield from split(node.arguments[0], weight / node.arguments[1], factors)
            case _:
                yield Term(argument.id, weight, factors)

    return _gathered(split(Ref(root), 1.0, ()))


def _gathered(every: Iterator[Term]) -> tuple[Term, ...]:
    """Terms with the constants among them added up, and left out where they are 0."""
    found, sums = list[Term](), dict[tuple[Expression, ...], float]()
    for term in every:
        if term.node == CONSTANT:
            sums[term.factors] = sums.get(term.factors, 0.0) + term.weight
            found += [term] if all((each.node, each.factors) != (CONSTANT, term.factors) for each in found) else []
        else:
            found.append(term)
    summed = (replace(each, weight=sums[each.factors]) if each.node == CONSTANT else each for each in found)
    return tuple(term for term in summed if term.node != CONSTANT or term.weight)


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
        self._names = _names(a), _names(b)
        self.values = _paired(a.spec.values, b.spec.values, lambda *_: False)
        self.losses = _paired(a.spec.losses, b.spec.losses, lambda *_: False)
        while self._renamed(self.values, a.values, b.values) or self._renamed(self.losses, a.losses, b.losses):
            pass

    def _renamed(self, known: dict[str, str], first: Pairs, second: Pairs) -> bool:
        """Pair one more name of each graph that has the same definition; whether there was one."""
        for name in (n for n in first if n not in known):
            for other in (n for n in second if n not in known.values()):
                if self.same_definition(first[name], second[other]):
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
        return layers(a) == layers(b) and a.init == b.init and self._shares(a, b) and self._sizes(first, second)

    def _shares(self, a: NetworkSpec, b: NetworkSpec) -> bool:
        """Whether two networks share the same parts, with networks that are not known to be different ones."""
        ours, theirs = ({share.part: share.network for share in each.shares} for each in (a, b))
        return ours.keys() == theirs.keys() and all(self.networks.get(ours[p], theirs[p]) == theirs[p] for p in ours)

    def _sizes(self, first: str, second: str) -> bool:
        models = self.first.networks.get(first), self.second.networks.get(second)
        return (models[0] and models[0].parameters) == (models[1] and models[1].parameters)

    def same(self, first: Argument, second: Argument) -> bool:
        """Whether two arguments are the same: by a name that both graphs have, or by their structure."""
        if isinstance(first, tuple) and isinstance(second, tuple):
            return len(first) == len(second) and all(map(self.same, first, second))
        if not isinstance(first, Ref) or not isinstance(second, Ref):
            return type(first) is not Ref and type(second) is not Ref and first == second
        called = {self._called(name) for name in self._names[0].get(first.id, ())}
        if called & set(self._names[1].get(second.id, ())):
            return True
        return self.same_definition(first.id, second.id)

    def _called(self, name: str) -> str:
        """What the second graph calls a name of the first; nothing where it has no such thing."""
        return next((t[name] for t in (self.values, self.losses, self.sources) if name in t), "")

    def same_definition(self, first: str, second: str) -> bool:
        """Whether two nodes compute the same from the same."""
        a, b = _computed(self.first.graph, first), _computed(self.second.graph, second)
        if a.kind != b.kind or not self._same_target(a, b):
            return False
        ours, theirs = _arguments(a), _arguments(b)
        return ours.keys() == theirs.keys() and all(self.same(ours[name], theirs[name]) for name in ours)

    def _same_target(self, a: Node, b: Node) -> bool:
        match a.kind:
            case "stream" | "random" if a.target in self.first.graph.spec.data:
                single = len(self.first.graph.sources[a.target].fields) == 1
                return self.sources.get(a.target) == b.target and (single or a.field == b.field)
            case "stream" | "random":
                law = repr(self.first.graph.sources[a.target])
                return b.target not in self.second.graph.spec.data and law == repr(self.second.graph.sources[b.target])
            case "scalar":
                return a.expression == b.expression
            case "network" | "parameters" | "autoregressive":
                return self.networks.get(a.target) == b.target
            case "output":
                return a.field == b.field
            case "history":
                return True
        return a.target == b.target


def _computed(graph: Graph, name: str) -> Node:
    """A node; for the main output of a call, the call, which is how networks with one output are called."""
    node = graph.nodes[name]
    return graph.nodes[node.inputs[0]] if node.kind == "output" and node.field == OUTPUT else node


def layers(network: NetworkSpec) -> tuple[object, ...]:
    """What a network consists of."""
    return network.inputs, network.parts, network.values, network.outputs


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


def _names(graph: Graph) -> dict[str, set[str]]:
    """Everything that a spec calls each node by."""
    named: dict[str, set[str]] = {}
    for name, node in (*graph.values.items(), *graph.losses.items()):
        named.setdefault(node, set()).add(name)
    for each in graph.nodes.values():
        if each.kind in ("stream", "random") and each.id in graph.spec.data:
            named.setdefault(each.id, set()).add(each.id)
    return named


def _arguments(node: Node) -> dict[str, Argument]:
    """A node's arguments by name: an op's by parameter, whether written by position or by keyword."""
    if node.kind == "op":
        return bound(vocabulary[node.target], node)  # type: ignore[return-value]  # what a node holds
    return {str(i): argument for i, argument in enumerate(node.arguments)}
