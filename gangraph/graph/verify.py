"""What holds of every graph that a stage hands on. A graph that breaks a rule is a mistake in the compiler."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from gangraph.errors import Span
from gangraph.graph.arguments import Ref
from gangraph.graph.differentiability import passed
from gangraph.graph.kind import kinds
from gangraph.graph.model import Evaluation, Graph, NetworkGraph
from gangraph.graph.node import Node
from gangraph.graph.parts import paths_at
from gangraph.graph.update import UpdateGraph
from gangraph.registry import vocabulary
from gangraph.vocabulary.parameters import PARAMETER_OPERATIONS, numbers_of


class InvariantError(Exception):
    """A stage has broken what later ones rely on: a mistake in gangraph or in a plug-in, and not in a spec."""


def verify(graph: Graph) -> None:
    """Make sure that a graph is whole.

    Every node fits its kind and stands after what it needs, and every name names something that is there. Not so for
    the graph of a spec with errors, which lacks what depends on them. Takes time in proportion to the number of nodes.

    Raises:
        InvariantError: with the first rule that is broken, and where.
    """
    raise_first(broken(graph))


def verify_gradients(graph: Graph) -> None:
    """Make sure of what `check` refuses to a spec: gradients and steps ahead of what does not depend on their subject.

    Raises:
        InvariantError: names the gradient, or the steps.
    """
    raise_first(_gradients(graph))


def _gradients(graph: Graph) -> Iterator[str]:
    for node in graph.nodes.values():
        if node.is_gradient:
            output, *ats = node.inputs
            if output not in {*ats, *passed(graph, node)}:
                at = ats[0] if ats else node.place.written
                yield f"'{node.id}' is a gradient of '{output}', which does not depend differentiably on '{at}'"
    for ahead in graph.lookaheads.values():
        if ahead.loss not in ahead.body:
            yield f"a step of '{ahead.id}' does not compute '{ahead.loss}', which it makes smaller"
    if graph.evaluation is not None:
        yield from (f"evaluation: {sentence}" for sentence in _gradients(graph.evaluation.graph))


def raise_first(told: Iterable[str]) -> None:
    """Raise an InvariantError with the first of some sentences, if there is one."""
    for sentence in told:
        raise InvariantError(sentence)


def broken(graph: Graph) -> Iterator[str]:
    """A sentence for each rule that a graph breaks, where it breaks it."""
    for name, network in graph.networks.items():
        yield from (f"network '{name}': {sentence}" for sentence in _network(network))
    earlier: set[str] = set()
    for name, node in graph.nodes.items():
        yield from _named(name, node)
        yield from _ordered(node, earlier)
        yield from _fitting(node)
        for rule in _RULES:
            yield from rule(graph, node)
        earlier.add(name)
    for name, average in graph.averages.items():
        if average.of not in graph.networks:
            yield f"'{name}' is an average of '{average.of}', and there is no such network"
    yield from _names(graph.values, "value", graph.nodes)
    yield from _names(graph.losses, "loss", graph.nodes)
    for update in graph.step:
        yield from (f"update '{update.name}': {sentence}" for sentence in _update(graph, update))
    steps = Counter(ahead.id for update in graph.updates for ahead in update.lookaheads)
    yield from (f"'{name}' looks ahead for {count} objectives" for name, count in steps.items() if count > 1)
    if graph.evaluation is not None:
        yield from (f"evaluation: {sentence}" for sentence in _evaluation(graph.evaluation))


# -------------------------------------------------------------------------------------------------------- nodes


def _named(name: str, node: Node) -> Iterator[str]:
    if node.id != name:
        yield f"the node '{name}' calls itself '{node.id}'"
    if not isinstance(node.span, Span):
        yield f"'{name}' has no place in the spec"
    if node.kind not in kinds:
        yield f"'{name}' is of kind '{node.kind}', which nothing has registered"


def _ordered(node: Node, earlier: set[str]) -> Iterator[str]:
    for source in node.needs:
        if source not in earlier:
            yield f"'{node.id}' needs '{source}', which does not stand before it"


def _fitting(node: Node) -> Iterator[str]:
    """What is wrong with the arguments of a node, by its kind or by what it calls."""
    kind = kinds.of(node)
    if kind.arguments is None:
        yield from _open(node)
        return
    fits = len(node.arguments) == len(kind.arguments) and all(map(isinstance, node.arguments, kind.arguments))
    if not fits:
        takes = ", ".join("a value" if each is Ref else each.__name__ for each in kind.arguments) or "nothing"
        yield f"'{node.id}' is of kind '{kind.name}', which takes {takes}; it has {len(node.arguments)} arguments"
    for key, _ in node.keywords:
        if key not in kind.keywords:
            yield f"'{node.id}' is of kind '{kind.name}', which has no argument '{key}'"


def _open(node: Node) -> Iterator[str]:
    """What is wrong with arguments that a kind leaves open: they are those of what it calls, or values alone."""
    if node.is_operation and _is_operation(node.target):
        try:
            vocabulary[node.target].signature.bind(*node.arguments, **dict(node.keywords))
        except TypeError as error:
            yield f"'{node.id}' calls '{node.target}' wrongly: {error}"
    given = (*node.arguments, *(value for _, value in node.keywords))
    if node.kind in _OF_VALUES and not all(isinstance(each, Ref) for each in given):
        yield f"'{node.id}' is of kind '{node.kind}', which takes values alone"
    if node.kind in _OF_VALUES and node.keywords and not node.is_call:
        yield f"'{node.id}' is of kind '{node.kind}', which takes none by name"


def _is_operation(name: str) -> bool:
    return name in vocabulary and vocabulary[name].kind in ("op", "loss", "metric")


_OF_VALUES = ("network", "layer", "lookahead")


def _placed(_: Graph, node: Node) -> Iterator[str]:
    if kinds.of(node).in_networks:
        yield f"'{node.id}' is of kind '{node.kind}', which stands in networks alone"


def _targeted(graph: Graph, node: Node) -> Iterator[str]:
    """What a node names is there."""
    match kinds.of(node).target:
        case "source" if node.target not in graph.sources:
            yield f"'{node.id}' is drawn from '{node.target}', and there is no such source"
        case "source" if node.field not in graph.sources[node.target].fields:
            yield f"'{node.id}' is the field '{node.field}' of '{node.target}', which has no such field"
        case "network" if graph.owner(node.target) not in graph.networks:
            yield f"'{node.id}' comes from '{node.target}', and there is no such network"
        case "op" if not _is_operation(node.target):
            yield f"'{node.id}' calls '{node.target}', and there is no such op, loss or metric"
        case "group" if node.target not in graph.spec.optimizers:
            yield f"'{node.id}' takes steps of '{node.target}', and there is no such optimizer"
        case "state" if node.target not in graph.spec.states:
            yield f"'{node.id}' is the state '{node.target}', and there is no such state"
        case "buffer" if not node.target:
            yield f"'{node.id}' keeps its past in a buffer, and names none"


def _called(graph: Graph, node: Node) -> Iterator[str]:
    """A call has as many inputs as its network, and an output is one of the call's."""
    if node.is_call:
        spec = graph.networks[graph.owner(node.target)].spec
        if len(node.arguments) != len(spec.given):
            yield f"'{node.id}' gives '{node.target}' {len(node.arguments)} inputs of {len(spec.given)}"
        if tuple(name for name, _ in node.keywords) != tuple(spec.draws):
            yield f"'{node.id}' does not give '{node.target}' each of its draws"
    if node.kind == "output":
        call = graph.nodes[node.inputs[0]]
        if not call.is_call or node.field not in graph.networks[graph.owner(call.target)].outputs:
            yield f"'{node.id}' is the output '{node.field}' of '{call.id}', which has no such output"


def _looking_ahead(graph: Graph, node: Node) -> Iterator[str]:
    """What depends on looked-ahead networks says for which value it stands, and what looks ahead."""
    if node.origin and (node.origin not in graph.nodes or graph.nodes[node.origin].origin):
        yield f"'{node.id}' stands for '{node.origin}', which is no value that the spec writes"
    if node.kind == "lookahead" and node.id not in graph.lookaheads:
        yield f"'{node.id}' looks ahead for no objective"
    if node.ahead:
        ahead = graph.lookaheads.get(node.ahead)
        if ahead is None or not node.is_call or node.target not in ahead.networks:
            yield f"'{node.id}' is no call of a network that '{node.ahead}' looks ahead of"


_RULES: tuple[Callable[[Graph, Node], Iterator[str]], ...] = (_placed, _targeted, _called, _looking_ahead)

# ----------------------------------------------------------------------------------- networks, updates, evaluation


def _network(network: NetworkGraph) -> Iterator[str]:
    earlier: set[str] = set()
    for name, node in network.nodes.items():
        yield from _named(name, node)
        yield from _ordered(node, earlier)
        yield from _fitting(node)
        if node.kind == "layer" and node.target not in network.layers:
            yield f"'{name}' is the layer at '{node.target}', and nothing stands there"
        takes = len(network.layers[node.target].inputs) if node.target in network.layers else len(node.arguments)
        if node.kind == "layer" and len(node.arguments) != takes:
            counted = "one value" if takes == 1 else f"{takes} values"
            yield f"'{name}' is a layer, which takes {counted}; it has {len(node.arguments)}"
        if node.kind == "op" and not _is_operation(node.target):
            yield f"'{name}' calls '{node.target}', and there is no such op"
        if not kinds.of(node).in_networks and node.kind != "op":
            yield f"'{name}' is of kind '{node.kind}', which stands in no network"
        earlier.add(name)
    for name in network.spec.inputs:
        if name not in network.nodes or network.nodes[name].kind != "input":
            yield f"the input '{name}' is no node"
    if not network.outputs:
        yield "it has no output"
    for name, output in network.outputs.items():
        if not isinstance(output, Ref) or output.id not in network.nodes:
            yield f"the output '{name}' is no node"


def _names(names: Mapping[str, str], what: str, nodes: Mapping[str, Node]) -> Iterator[str]:
    yield from (
        f"the {what} '{name}' is '{node}', and there is no such node"
        for name, node in names.items()
        if node not in nodes
    )


def _update(graph: Graph, update: UpdateGraph) -> Iterator[str]:
    for objective in update.objectives:
        if objective.group not in graph.spec.optimizers:
            yield f"there is no optimizer '{objective.group}'"
        if not objective.networks:
            yield f"'{objective.group}' trains no network"
        for network in objective.moved:
            if network not in graph.networks:
                yield f"'{objective.group}' trains '{network}', and there is no such network"
        yield from _names({objective.group: objective.loss}, "objective of", graph.nodes)
        yield from _names({objective.group: objective.written}, "written objective of", graph.nodes)
        if objective.ahead is None and objective.loss != objective.written:
            yield f"the objective of '{objective.group}' is not the one that is written, and looks at nothing ahead"
    yield from _names(dict(update.watched), "watched loss", graph.nodes)
    yield from _moved(graph, update)
    yield from (f"it names '{name}', and there is no such loss" for name in update.named - graph.spec.losses.keys())
    for name in {*(update.draws or ())} - graph.sources.keys():
        yield f"it draws '{name}', and there is no such source"
    for each in update.then:
        if each.operation not in PARAMETER_OPERATIONS or len(each.numbers) != len(numbers_of(each.operation)):
            yield f"there is no operation '{each.operation}' on parameters with {len(each.numbers)} numbers"
        if each.network not in graph.networks or not paths_at(graph.networks[each.network].spec, each.place):
            yield f"'{each.operation}' changes '{each.place.written}', and there is no such network or part"
    for ahead in update.lookaheads:
        if ahead.id not in graph.nodes or graph.nodes[ahead.id].kind != "lookahead":
            yield f"the steps that '{ahead.id}' looks ahead have no node"
        elif not set(ahead.body) <= graph.nodes.keys():
            yield f"a step of '{ahead.id}' computes what is no node"
        else:
            reads = {source for name in ahead.body for source in graph.nodes[name].inputs} - {*ahead.body}
            yield from (f"'{ahead.id}' does not read '{name}'" for name in reads - {*graph.nodes[ahead.id].inputs})


def _moved(graph: Graph, update: UpdateGraph) -> Iterator[str]:
    """What is wrong with the states of an entry: they exist, and an entry either moves states or trains."""
    yield from _names(dict(update.states), "next value of the state", graph.nodes)
    for name, _ in update.states:
        if name not in graph.spec.states:
            yield f"it moves '{name}', and there is no such state"
    if bool(update.states) == bool(update.objectives) or bool(update.states) == (update in graph.updates):
        yield "it is not either an update or an entry that moves states"


def _evaluation(evaluation: Evaluation) -> Iterator[str]:
    yield from broken(evaluation.graph)
    nodes = evaluation.graph.nodes
    if evaluation.graph.step:
        yield "it trains something"
    for name, columns in evaluation.grids.items():
        yield from _names(dict(columns), f"column of grid '{name}'", nodes)
    yield from _names(dict(evaluation.metrics), "metric", nodes)
    yield from _names(dict(evaluation.results), "result", nodes)
    for name, sampler in evaluation.samplers.items():
        yield from _names({each: each for each in sampler.shown}, f"value of sampler '{name}'", nodes)
