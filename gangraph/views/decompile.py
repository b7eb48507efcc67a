"""From a graph back to expressions, which every view prints in its own notation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from gangraph.errors import Span, SpecError
from gangraph.graph.arguments import Argument, Ref
from gangraph.graph.closure import closure
from gangraph.graph.kind import kinds
from gangraph.graph.model import Graph
from gangraph.graph.node import Node
from gangraph.language.expression.constants import literal
from gangraph.language.expression.model import Call, Expression, Name, Sequence


@dataclass(frozen=True)
class Decompiled:
    """The nodes of a graph as expressions, in which the nodes of `names` stand by their names.

    Each node is decompiled once, when it is first asked for. The name of a network that is called as it would be after
    steps ahead is followed by `ahead`, and so is that of a value which is computed there.
    """

    graph: Graph
    names: Mapping[str, str]
    ahead: str = ""
    _definitions: dict[str, Expression] = field(default_factory=dict, repr=False, compare=False)

    def definition(self, node: str) -> Expression:
        """What a node is computed as, over the names of the nodes beneath it."""
        if node not in self._definitions:
            for each in self.graph.in_order(closure((node,), self._inside)):  # not by recursion: sums are long
                self._definitions[each] = self._define(each)
        return self._definitions[node]

    def _inside(self, node: str) -> Iterator[str]:
        """The nodes that stand inside a node by their definitions, and have none yet."""
        for name in self.graph.nodes[node].inputs:
            if name not in self._definitions and self._name(name) is None:
                yield name

    def _define(self, node: str) -> Expression:
        made = self.graph.nodes[node]
        called = replace(made, target=f"{made.target}{self.ahead}") if made.ahead else made
        if made.is_call:
            called = replace(called, keywords=tuple((k, v) for k, v in made.keywords if not self._is_drawn(v)))
        return _spelled(called, partial(self._argument, span=made.span))

    def of(self, node: str) -> Expression:
        """A node as it stands inside an expression: by its name, or where it has none by its definition."""
        name, made = self._name(node), self.graph.nodes[node]
        if name is None and made.anew in self.names:
            return Call(Name("again", made.span), (Name(self.names[made.anew], made.span),), (), made.span)
        return self.definition(node) if name is None else Name(name, made.span)

    def _name(self, node: str) -> str | None:
        """The name that stands for a node, if one does."""
        made = self.graph.nodes[node]
        if node in self.names:
            return self.names[node]
        if made.origin in self.names and made.kind != "alias":
            return f"{self.names[made.origin]}{self.ahead}"
        return None

    def _is_drawn(self, argument: Argument) -> bool:
        """Whether an input of a network is drawn where it is called, and so not written."""
        return isinstance(argument, Ref) and self.graph.nodes[argument.id].is_unwritten

    def _argument(self, argument: Argument, span: Span) -> Expression:
        if isinstance(argument, Ref):
            return self.of(argument.id)
        if isinstance(argument, tuple):
            return Sequence(tuple(self._argument(each, span) for each in argument), span)
        whole = isinstance(argument, float) and argument.is_integer()
        return literal(int(argument) if whole else argument, span)  # type: ignore[arg-type]  # a number


def _spelled(node: Node, inside: Callable[[Argument], Expression]) -> Expression:
    """What a spec would write for a node. Raises SpecError where a plug-in fails to say."""
    kind = kinds.of(node)
    try:
        return kind.spelled(node, inside)
    except (Exception, SystemExit) as error:  # a plug-in can raise anything
        raise SpecError([kind.fault(error, kind.spelled, "it is printed", node.span)]) from error


def over_values(graph: Graph) -> Decompiled:
    """The nodes of a graph over the names of the spec's values."""
    return Decompiled(graph, graph.value_names)


def over_values_and_losses(graph: Graph) -> Decompiled:
    """The nodes of a graph over the names of the spec's values and losses."""
    return Decompiled(graph, {**graph.value_names, **graph.loss_names})
