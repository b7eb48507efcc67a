"""Which nodes of a step are drawn, and the formulas and labels that stand for the others."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from gangraph.graph.differentiability import is_stop
from gangraph.graph.model import Graph, Node
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse
from gangraph.views.calls import called
from gangraph.views.decompile import Decompiled
from gangraph.views.printers.text import SIGNS, formula

_LABELS = {"grad": "∇ grad"}
_LONGEST = 32  # letters of an op


@dataclass(frozen=True)
class Folding:
    """What is drawn of a step: data, random draws, calls of networks, named values, and every op on the way to a call.

    `losses` and `values` are the drawn nodes that have names, all that the spec gives them; `formulas` are expressions
    over these names, `steps` over every node's own.
    """

    graph: Graph
    losses: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[str, ...]]
    drawn: Set[str]
    formulas: Decompiled
    steps: Decompiled

    @classmethod
    def of(cls, graph: Graph) -> "Folding":
        """The folding of a graph that does not look ahead."""
        losses, values = _named(graph)
        named = {node: names[0] for node, names in (*values.items(), *losses.items())}
        formulas, steps = Decompiled(graph, named), Decompiled(graph, {name: name for name in graph.nodes})
        return cls(graph, losses, values, _drawn(graph, losses, values), formulas, steps)

    def behind(self, ids: Iterable[str]) -> Iterator[str]:
        """The drawn nodes that lie behind some nodes."""
        waiting = [*ids][::-1]
        while waiting:
            name = waiting.pop()
            if name in self.drawn:
                yield name
            else:
                waiting += reversed(self.graph.nodes[name].inputs)

    def formula(self, node: str) -> str:
        """What a node is computed as, over names."""
        return formula(self.formulas.definition(node))

    def goal(self, loss: str, *, maximized: bool) -> tuple[str, str]:
        """`minimize` or `maximize`, and what, over the names of losses; `loss` is what the update minimises."""
        made = self.formulas.definition(loss)
        if maximized and isinstance(made, ast.Unary):
            return "maximize", formula(made.operand)
        return "minimize", formula(self.formulas.of(loss))

    def label(self, node: str) -> str:
        """An op in few letters: the values that it reads are left to the wires."""
        step = self.steps.definition(node)
        match step:
            case ast.Name(id=name) if name != node:
                return "" if self._is_wire(step) else self.label(name)
            case ast.Attribute():
                return ""
            case ast.Call() if called(step) in _LABELS:
                return _LABELS[called(step)]
            case ast.Call():
                given = (*step.arguments, *(value for _, value in step.keywords))
                inside = [part for part in map(self._part, given) if part]
                return f"{unparse(step.function)}({', '.join(inside)})" if inside else unparse(step.function)
            case ast.Binary(operator=operator, left=left, right=right) if self._is_wire(left) and self._is_wire(right):
                return SIGNS.get(operator, operator)
        return textwrap.shorten(self.formula(node), _LONGEST, placeholder="…")

    def _part(self, argument: Expression) -> str:
        if isinstance(argument, ast.Sequence):
            inside = [part for part in map(self._part, argument.items) if part]
            return f"[{', '.join(inside)}]" if inside else ""
        if not isinstance(argument, ast.Name) or argument.id not in self.graph.nodes:
            return formula(argument)
        return "" if self._is_wire(argument) else self.label(argument.id)

    def _is_wire(self, argument: Expression) -> bool:
        return isinstance(argument, ast.Name) and argument.id in self.drawn


def _named(graph: Graph) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The names of losses that are computed by an op, and of other values; not of sources and numbers over time."""
    losses: dict[str, tuple[str, ...]] = {}
    for name, node in graph.losses.items():
        if graph.nodes[node].is_operation:
            losses[node] = (*losses.get(node, ()), name)
    values: dict[str, tuple[str, ...]] = {}
    for name, node in (*graph.values.items(), *graph.losses.items()):
        if node not in losses and not graph.nodes[node].is_source and graph.nodes[node].expression is None:
            values[node] = (*values.get(node, ()), name)
    return losses, values


def _drawn(graph: Graph, losses: Iterable[str], values: Iterable[str]) -> set[str]:
    """The nodes that are drawn; of ops and of stops that are read by one of their like alone, only the last."""
    nodes, folded, named = graph.nodes, set(losses), set(values)
    always = {node.id for node in nodes.values() if not _is_arithmetic(node)} - _beside_others(graph)
    before = graph.below(*always, *named)
    drawn = always | {name for name in before if nodes[name].is_operation and name not in folded}
    for name in sorted(drawn):
        readers = graph.readers[name]
        alone = len(readers) == 1 and readers[0] in drawn and name not in named
        if alone and _folds(graph, nodes[name], nodes[readers[0]]):
            drawn.discard(name)
    return drawn | folded


def _beside_others(graph: Graph) -> set[str]:
    """The draws of each call of a network but the first, which a drawing shows in place of all."""
    calls = (node for node in graph.nodes.values() if node.is_call)
    return {name for call in calls for name in [*graph.draws_at(call).values()][1:]}


def _is_arithmetic(node: Node) -> bool:
    """Whether a node is an op, a number over time, or an output of a call: what is not drawn for its own sake."""
    is_output = bool(node.field) and not node.is_source
    return node.is_operation or node.expression is not None or is_output


def _folds(graph: Graph, node: Node, reader: Node) -> bool:
    both = node, reader
    return all(each.is_operation for each in both) or all(is_stop(graph, each) for each in both)
