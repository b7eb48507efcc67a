"""How the data and the values of two specs differ."""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.graph.model import Graph
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.spec import (
    PhaseSpec,
)
from gangraph.registry import vocabulary
from gangraph.views.diff.difference import Difference, sides, trained
from gangraph.views.diff.matching import Matching
from gangraph.views.printers.words import constant_text, written


def data_differences(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    """Sources that came or went, were replaced, or have other options."""
    for name, other in sides(a.data, b.data, matching.sources):
        before, after = a.data.get(name), b.data.get(other)
        if before is None or after is None:
            yield Difference(
                "data", name or other, *("" if each is None else unparse(each) for each in (before, after))
            )
        elif repr(matching.first.graph.sources[name]) != repr(matching.second.graph.sources[other]):
            yield from _source(name, before, after)


_SIZES = "*"  # the arguments of a source that have no names


def _source(name: str, before: Expression, after: Expression) -> Iterator[Difference]:
    """A source that was replaced, or each of its options that changed."""
    ours, theirs = _options(before), _options(after)
    calls = isinstance(before, ast.Call) and isinstance(after, ast.Call) and before.function == after.function
    if not calls or ours.get(_SIZES) != theirs.get(_SIZES):
        yield Difference("data", name, unparse(before), unparse(after))
        return
    for option in dict.fromkeys((*ours, *theirs)):
        if ours.get(option) != theirs.get(option):
            yield Difference("data", f"{option} of {name}", *(_or_none(o.get(option)) for o in (ours, theirs)))


def _or_none(text: str | None) -> str:
    return "its default" if text is None else text


def _options(expression: Expression) -> dict[str, str]:
    """The arguments of a source by name, defaults included."""
    definition = vocabulary.get(unparse(expression.function)) if isinstance(expression, ast.Call) else None
    if definition is None or not isinstance(expression, ast.Call):
        return {}
    shown = {
        name: constant_text(p.default).replace("()", "[]")
        for name, p in definition.signature.parameters.items()
        if p.default is not p.empty
    }
    given = definition.signature.bind_partial(*expression.arguments, **dict(expression.keywords)).arguments
    for name, value in given.items():
        sizes = isinstance(value, tuple)
        shown[_SIZES if sizes else name] = ", ".join(map(unparse, value)) if sizes else written(value).strip("\"'")
    return shown


def value_differences(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    """Values that are defined otherwise; those of one spec alone where an objective depends on them."""
    first, second = matching.first.graph, matching.second.graph
    for name, other in sides(a.values, b.values, matching.values):
        before, after = a.values.get(name), b.values.get(other)
        if before is not None and after is not None:
            if before != after and not _same_value(matching, name, other):
                yield Difference("values", name, unparse(before), unparse(after))
        elif before is not None and not any(
            matching.same_node(node, n) for node in _read(first, name) for n in second.nodes
        ):
            yield from (Difference("values", name, unparse(before), "") for _ in _read(first, name))
        elif after is not None and not any(
            matching.same_node(n, node) for node in _read(second, other) for n in first.nodes
        ):
            yield from (Difference("values", other, "", unparse(after)) for _ in _read(second, other))


def _same_value(matching: Matching, name: str, other: str) -> bool:
    nodes = matching.first.graph.values.get(name), matching.second.graph.values.get(other)
    return nodes[0] is not None and nodes[1] is not None and matching.same_node(nodes[0], nodes[1])


def _read(graph: Graph, name: str) -> tuple[str, ...]:
    """The node of a value that an objective depends on; nothing where none does."""
    node = graph.values.get(name, "")
    return (node,) if node in trained(graph) else ()
