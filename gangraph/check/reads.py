"""The data that a run reads: in its updates, its evaluations and its measurements."""

from collections.abc import Iterator, Sequence

from gangraph.check.phase import Checked
from gangraph.data.random import RandomSource
from gangraph.data.source import Source
from gangraph.graph.model import Graph


def streams_read(phases: Sequence[Checked]) -> dict[str, Source]:
    """Every source of data that some phase reads, each once, by its path in the spec: `data.x`, `evaluate.data.x`."""
    found: dict[str, Source] = {}
    for path, source in (stream for checked in phases for stream in _of_phase(checked)):
        if source not in found.values():
            number = 2
            while path in found:  # another phase reads other data under the name
                path, number = f"{path.partition(' (')[0]} ({number})", number + 1
            found[path] = source
    return found


def _of_phase(checked: Checked) -> Iterator[tuple[str, Source]]:
    graph = checked.graph
    roots = (root for update in graph.step for root in update.roots)
    yield from (("data." + name, source) for name, source in _streams(graph, *roots, *graph.begun.values()))
    evaluation = graph.evaluation
    if evaluation is not None:
        own = graph.spec.evaluate.data if graph.spec.evaluate is not None else {}
        for name, source in _streams(
            evaluation.graph, *evaluation.every_time, *(node for _, node in evaluation.numbers)
        ):
            yield f"{'evaluate.' if name in own else ''}data.{name}", source


def _streams(graph: Graph, *roots: str) -> Iterator[tuple[str, Source]]:
    below = graph.below(*roots)
    for name in dict.fromkeys(node.target for node in graph.nodes.values() if node.id in below):
        source = graph.sources.get(name)
        if source is not None and not isinstance(source, RandomSource):
            yield name, source
