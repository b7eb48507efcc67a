"""Values whose shapes differ from batch to batch, since a source gives batches of several lengths.

Shapes are inferred for the longest batch. For every other length of a source the graph is inferred once more, with the
networks that were instantiated for the longest one, so whatever does not fit some length is found before a run.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gangraph.check.infer import Types, infer
from gangraph.check.naming import said
from gangraph.check.states import states_change_type
from gangraph.data.lengths import at_length, shorter_lengths
from gangraph.data.random import RandomSource
from gangraph.data.source import Dataset, Field, Source
from gangraph.errors import Problem
from gangraph.graph.model import Graph

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _AtLength:
    """A source of which every batch has one length."""

    source: Source | RandomSource
    length: int

    @property
    def fields(self) -> Mapping[str, Field]:
        """Those of the source, at this length."""
        return at_length(self.source.fields, self.length)

    def open(self) -> Dataset:
        """Nothing: it stands for a source only while shapes are inferred."""
        raise NotImplementedError("it stands for a source while shapes are inferred, and has no samples")


def varying_shapes(graph: Graph, types: Types) -> tuple[dict[str, Shapes], list[Problem]]:
    """The shapes of the values that are not always of one shape, and what does not fit some length of a source.

    The shapes of a value are those at every length of every source but the longest, in one order for all values. Of
    each source the problems at one length are told, the least at which there are any.
    """
    shapes, problems = defaultdict[str, list[tuple[int, ...]]](list), list[Problem]()
    changing: set[str] = set()
    for name, source in graph.sources.items():
        found: list[Problem] = []
        for length in shorter_lengths(source):
            shorter = replace(graph, sources={**graph.sources, name: _AtLength(source, length)})
            made = infer(shorter, types.networks)
            found = found or [_told(problem, name, length) for problem in _problems(shorter, types, made)]
            for node, known in types.nodes.items():
                shapes[node].append(made.nodes[node].shape if node in made.nodes else known.shape)
                changing |= {node} if shapes[node][-1] != known.shape else set()
        problems += found
    return {node: tuple(every) for node, every in shapes.items() if node in changing}, problems


def _problems(graph: Graph, longest: Types, made: Types) -> Iterator[Problem]:
    """What is wrong at one length and not at the longest."""
    known = {(problem.code, problem.span) for problem in longest.problems}
    yield from (problem for problem in made.problems if (problem.code, problem.span) not in known)
    before = {(problem.code, problem.span) for problem in states_change_type(graph, longest)}
    yield from (each for each in states_change_type(graph, made) if (each.code, each.span) not in before)
    yield from _kept(graph, longest, made)
    yield from _drawn(graph, longest, made)


def _kept(graph: Graph, longest: Types, made: Types) -> Iterator[Problem]:
    """GG416: values of one length that are kept for batches of another: histories, and the starts of variables."""
    histories = {node.inputs[0]: node.span for node in graph.nodes.values() if node.remembers == "run"}
    starts = {node: graph.spec.variables[name].span for name, node in graph.begun.items()}
    for what, keeps in (("a history keeps", histories), ("a variable begins as", starts)):
        for node, span in keeps.items():
            if node in made.nodes and made.nodes[node].shape != longest.nodes[node].shape:
                yield Problem(
                    code="GG416",
                    message=f"{what} a value of one shape",
                    span=span,
                    found=f"{said(graph, node)}, which is {list(longest.nodes[node].shape)} in the longest batch",
                    expected="a value of the same shape in every batch, such as last(...) of it",
                )


def _drawn(graph: Graph, longest: Types, made: Types) -> Iterator[Problem]:
    """GG416: layers that draw random numbers of another shape."""
    for call, model in made.calls.items():
        before = {draw.name: draw.shape for draw in longest.calls[call].draws} if call in longest.calls else {}
        path = next((draw.path for draw in model.draws if before.get(draw.name, draw.shape) != draw.shape), None)
        if path is not None:
            yield Problem(
                code="GG416",
                message=f"'{graph.nodes[call].target}' draws random numbers of one shape",
                span=graph.nodes[call].span,
                found=f"{path.removeprefix('layers.')} on a value whose shape differs from batch to batch",
                expected="a layer that draws where the shape is the same in every batch, such as after last",
            )


def _told(problem: Problem, source: str, length: int) -> Problem:
    """A problem that says at which length of a source it is there."""
    return replace(problem, message=f"{problem.message}, in a batch of '{source}' of length {length}")
