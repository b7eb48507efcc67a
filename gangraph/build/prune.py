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
