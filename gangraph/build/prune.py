"""Networks without the named outputs that nothing reads, so that a call computes no more than it has to."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from gangraph.graph.closure import closure
from gangraph.graph.model import NetworkGraph, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.spec import OUTPUT


def fields_in(expressions: Iterable[Expression]) -> set[str]:
    """Every name that follows a dot."""
    return {node.name for e in expressions for node in ast.walk(e) if isinstance(node, ast.Attribute)}


def pruned_for(networks: Mapping[str, NetworkGraph], written: Iterable[Expression]) -> dict[str, NetworkGraph]:
    """Networks with what some expressions read of them."""
    fields = fields_in(written)
    return {name: pruned(network, fields) for name, network in networks.items()}


def without_unread(networks: Mapping[str, NetworkGraph], written: Iterable[Expression]) -> dict[str, NetworkGraph]:
    """The networks; those that are frozen for the whole run lose the layers that no output in use depends on.

    Nothing trains or stores these layers. An output is in use if one of the `written` expressions reads it.
    """
    fields = fields_in(written)
    return {name: cut(network, fields) if network.spec.frozen else network for name, network in networks.items()}


def cut(network: NetworkGraph, fields: Collection[str]) -> NetworkGraph:
    """The network with its main output, with those among `fields`, and with what leads to them."""
    outputs = {name: made for name, made in network.outputs.items() if name in ("", OUTPUT, *fields)}
    if not outputs:
        return network
    ends = (made.id for made in outputs.values() if isinstance(made, Ref))
    needed = closure(ends, lambda name: network.nodes[name].inputs)
    nodes = {name: node for name, node in network.nodes.items() if name in needed or node.kind == "input"}
    layers = {node.target for node in nodes.values() if node.kind == "layer"}
    kept = {path: use for path, use in network.layers.items() if path in layers}
    return replace(network, nodes=nodes, layers=kept, outputs=outputs)


def pruned(network: NetworkGraph, fields: Collection[str]) -> NetworkGraph:
    """The network with its main output alone, if no other one is among `fields` and all layers lead to that one."""
    main = network.outputs.get(OUTPUT)
    if not isinstance(main, Ref) or not set(network.outputs).isdisjoint(fields):
        return network
    needed = closure((main.id,), lambda name: network.nodes[name].inputs)
    needed |= {node.id for node in network.nodes.values() if node.kind == "input"}
    nodes = {name: node for name, node in network.nodes.items() if name in needed}
    layers = {node.target for node in nodes.values() if node.kind == "layer"}
    return replace(network, nodes=nodes, outputs={"": main}) if layers == set(network.layers) else network
