"""A lint of classes and words that sources find in their files."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.data.random import RandomSource
from gangraph.data.source import Source, finds, places
from gangraph.errors import Problem, Span
from gangraph.graph.model import Graph


def found_in_each_file(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG670: two sources number the classes, or words, of one field by what each finds in its own file."""
    for (one, _span, first), (other, span, second) in combinations(_sources(graph), 2):
        common = [name for name in finds(second) if name in finds(first)]
        if common and places(first) != places(second):
            found = f"'{common[0]}' of {one} and of {other}"
            yield warn("GG670", "each file numbers its own classes", span, found, "list them in both sources")


def _sources(graph: Graph) -> Iterator[tuple[str, Span, Source]]:
    """The sources of training and of its evaluation that read data, with what messages call them."""
    sections: list[tuple[str, Mapping[str, Source | RandomSource], Mapping[str, Span]]] = [
        ("data", graph.sources, graph.spec.spans)
    ]
    evaluate = graph.spec.evaluate
    if graph.evaluation is not None and evaluate is not None:
        own = {
            name: graph.evaluation.graph.sources[name]
            for name in evaluate.data
            if name in graph.evaluation.graph.sources
        }
        sections.append(("evaluate.data", own, {name: told.span for name, told in evaluate.data.items()}))
    for section, sources, spans in sections:
        for name, source in sources.items():
            if not isinstance(source, RandomSource) and name in spans:
                yield f"{section}.{name}", spans[name], source
