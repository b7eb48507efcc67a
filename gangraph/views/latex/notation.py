"""The nodes of a graph in LaTeX: symbols for what has a name, and formulas for what it stands for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gangraph.data.random import RandomSource
from gangraph.graph.model import Graph
from gangraph.language.expression.model import Expression, Name, Unary
from gangraph.language.expression.schedule import RAMPS
from gangraph.views.calls import called
from gangraph.views.decompile import Decompiled
from gangraph.views.printers.latex import Formula, Printer, moment, words
from gangraph.views.printers.precedence import SUM
from gangraph.views.printers.symbols import indexed, law, symbols_of
from gangraph.views.printers.words import over_time


@dataclass(frozen=True, slots=True)
class Notation:
    """The formulas of one graph. Names in its expressions are nodes, for which the printer has symbols.

    `losses` are the nodes that the spec names as losses, each by its last name; formulas write them out.
    """

    graph: Graph
    losses: Mapping[str, str]
    decompiled: Decompiled
    printer: Printer

    @classmethod
    def of_graph(cls, graph: Graph) -> "Notation":
        """The notation of a graph's values, sources and numbers over time."""
        symbols = symbols_of(graph)
        order = {name: i for i, name in enumerate(graph.sources)}

        def sources(names: Iterable[str]) -> tuple[str, ...]:
            beneath = graph.below(*names)
            over = [n for n in graph.nodes.values() if n.is_source and not n.is_unwritten and n.id in beneath]
            return tuple(node.id for node in sorted(over, key=lambda node: order[node.target]))

        losses = {node: name for name, node in graph.losses.items()}
        decompiled = Decompiled(graph, {name: name for name in (*losses, *symbols.names)})
        inline = {name: decompiled.definition(name) for name in losses}
        return cls(graph, losses, decompiled, Printer(symbols, inline, sources))

    def after(self, networks: Iterable[str], steps: str) -> "Notation":
        """The notation in which some networks, and the values that they give, are those after a number of steps."""
        moved = self.printer.symbols.after(self.graph, networks, steps)
        return replace(self, printer=replace(self.printer, symbols=moved))

    def network(self, name: str) -> str:
        """The symbol of a network."""
        return self.printer.symbols.networks[name]

    def place(self, written: str) -> str:
        """The symbol of a network, or of a part of one by `G.part`."""
        network, _, path = written.partition(".")
        return self.printer.place(network, path)

    def name(self, node: str) -> str:
        """The symbol of a node that has one."""
        return self.printer.symbols.names[node]

    def goal(self, loss: str, sign: int) -> Expression:
        """What an objective is about, of which `loss` is minimised: where the spec maximises it, without the minus."""
        made = self.decompiled.definition(loss)
        return made.operand if sign < 0 and isinstance(made, Unary) else self.decompiled.of(loss)

    def opened(self, expression: Expression) -> Expression:
        """What a name stands for; anything else, and a number over time, as it is."""
        if not isinstance(expression, Name) or self.graph.nodes[expression.id].expression is not None:
            return expression
        return self.decompiled.definition(expression.id)

    def formula(self, expression: Expression) -> Formula:
        """An expression over the nodes of the graph."""
        return self.printer.formula(expression)

    def names(self, *expressions: Expression) -> tuple[str, ...]:
        """The nodes that the formulas of expressions name."""
        return self.printer.names(*expressions)

    def definition(self, node: str) -> Formula:
        """What a node is computed as; a number over time that moves between two ends in words."""
        made = self.decompiled.definition(node)
        if self.graph.nodes[node].expression is None:
            return self.formula(made)
        told = over_time(made)
        return Formula(words(told) if called(made) in RAMPS and " " in told else moment(made), SUM)

    def law(self, target: str, used: Iterable[str]) -> str:
        r"""What a source follows: `x \sim p_{x}`; the fields of one stream among the names used are drawn together."""
        source, names = self.graph.sources[target], set(used)
        drawn = [node.id for node in self.graph.nodes.values() if node.is_source and node.target == target]
        fields = [self.name(name) for name in drawn if name in names]
        whole = f"({', '.join(fields)})" if len(fields) > 1 else ", ".join(fields)
        return rf"{whole} \sim {law(source) if isinstance(source, RandomSource) else f'p_{{{indexed(target)}}}'}"
