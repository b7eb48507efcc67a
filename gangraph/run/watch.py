"""Runs a segment node by node, to find the first value that is NaN or infinite."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gangraph.graph.code_names import Mode
from gangraph.graph.model import Graph
from gangraph.lower.model import Lowered, Program
from gangraph.run.networks import Networks
from gangraph.views.plan import phrase


def told_of(graph: Graph, name: str) -> tuple[str, str]:
    """A value as messages call it (its name, or its expression), and its place in the spec."""
    node, label = graph.nodes[name], graph.label(name)
    named = label in graph.values or label in graph.losses
    return label if named else phrase(graph, name, named=False), str(node.span)


def watch_values(
    lowered: Lowered, networks: Networks, inputs: list[Tensor], program: Program, lookaheads: Mapping[str, nn.Module]
) -> list[tuple[str, Tensor, str]]:
    """Run a segment node by node: the name of every value, its tensor and its place in the spec.

    Inputs and parameters come first; the place of a parameter is empty. `lookaheads` are the steps that the segment
    looks ahead, by the names that its code calls.
    """
    graph = program.plan.checked.graph
    seen = []
    for name, value in zip(lowered.reads, inputs, strict=True):
        if name in graph.nodes:
            said, place = told_of(graph, name)
            seen.append((said, value.detach(), place))
    for form in lowered.networks.values():
        if form.mode not in (Mode.PARAMETERS, Mode.MATRIX, Mode.GRADIENT):  # which are values themselves
            parameters = networks.plain(form).named_parameters()
            seen += [(f"{form.network}.{path}", parameter.detach(), "") for path, parameter in parameters]

    class Watcher(torch.fx.Interpreter):
        def run_node(self, node: torch.fx.Node) -> object:
            value: object = super().run_node(node)
            if isinstance(value, Tensor) and node.op != "placeholder" and node.name in lowered.values:
                said, place = told_of(graph, lowered.values[node.name])
                seen.append((said, value.detach(), place))
            return value

    Watcher(lowered.bind({**networks.callable, **lookaheads})).run(*inputs)
    return seen
