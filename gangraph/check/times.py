"""What is counted in epochs and images, and whether there is anything to count."""

from collections.abc import Iterator

from gangraph.data.random import RandomSource
from gangraph.errors import Problem, Span
from gangraph.graph.model import Graph
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, Quantity
from gangraph.language.expression.schedule import UNIT_OF
from gangraph.language.spec import AverageSpec


def uncounted(graph: Graph, save: Quantity | None) -> Iterator[Problem]:
    """GG505: epochs and images are counted by what is drawn from data, and nothing is."""
    if graph.problems or any(not isinstance(source, RandomSource) for source in graph.sources.values()):
        return
    evaluate = graph.spec.evaluate
    lengths = (graph.spec.length, save, evaluate.every if evaluate is not None else None)
    found = [("a length", length.unit, length.span) for length in lengths if length is not None]
    found += [
        ("a number over time", unit, span) for written in _over_time(graph) for unit, span in units_counted(written)
    ]
    for what, unit, span in found:
        if unit != "steps":
            yield Problem(
                code="GG505",
                message=f"{what} in {unit} needs data to count",
                span=span,
                found="random sources only",
                expected=f"{what} in steps",
            )


def _over_time(graph: Graph) -> Iterator[Expression]:
    """Everything that is computed from the time of a run."""
    for group in graph.spec.optimizers.values():
        yield from group.options.values()
        yield from (written for entry in group.listed for written in entry.options.values())
    yield from (network.decay for network in graph.spec.networks.values() if isinstance(network, AverageSpec))
    yield from (node.over_time for node in graph.nodes.values() if node.kind == "scalar")
    for update in graph.step:
        timing = (written for _, written in update.timing)
        whole = (*timing, *update.options.values(), *(objective.when for objective in update.objectives))
        yield from (expression for expression in whole if expression is not None)


def units_counted(written: Expression) -> Iterator[tuple[str, Span]]:
    """The units in which an expression counts, and where it does."""
    for node in ast.walk(written):
        if isinstance(node, Quantity):
            yield node.unit, node.span
        elif isinstance(node, ast.Name) and node.id in UNIT_OF:
            yield UNIT_OF[node.id], node.span
