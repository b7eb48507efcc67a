"""Lints of networks from elsewhere."""

from collections.abc import Iterator
from math import isclose

from gangraph.check.infer import Types
from gangraph.check.lints.ranges import known_interval
from gangraph.check.lints.warning import warn
from gangraph.check.naming import said
from gangraph.errors import Problem
from gangraph.graph.model import Graph, NetworkGraph
from gangraph.registry import vocabulary

Interval = tuple[float, float]


def unfamiliar_range(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG640: a network that begins with an op for values of a known range is called on values of another one."""
    for name, network in graph.networks.items():
        for place, meant in _meant(network).items():
            for call in graph.calls(name):
                given = known_interval(types.nodes.get(call.inputs[place]))
                if given is not None and not _alike(given, meant):
                    found, expected = (f"[{low:g}, {high:g}]" for low, high in (given, meant))
                    yield warn(
                        "GG640",
                        f"'{name}' was made for values in {expected}",
                        call.span,
                        found,
                        _bringing(said(graph, call.inputs[place]), given, meant),
                    )


def _alike(given: Interval, meant: Interval) -> bool:
    """Whether two ranges are one, but for rounding: 0.299 + 0.587 + 0.114 is not quite 1."""
    return all(isclose(one, other, abs_tol=1e-6) for one, other in zip(given, meant, strict=True))


def _meant(network: NetworkGraph) -> dict[int, Interval]:
    """The range that the first op on each input of a network is made for, by the place of the input."""
    found: dict[int, Interval] = {}
    for node in network.nodes.values():
        declared = vocabulary[node.target].traits.ranges if node.kind == "op" else None
        if declared and node.inputs and network.nodes[node.inputs[0]].kind == "input":
            place = network.spec.inputs.index(network.nodes[node.inputs[0]].target)
            found[place] = next(iter(declared.values()))
    return found


def _bringing(value: str, given: Interval, meant: Interval) -> str:
    """The expression that maps a value from the range `given` to the range `meant`."""
    scale = (meant[1] - meant[0]) / (given[1] - given[0])
    shift = meant[0] - scale * given[0]
    moved = f" {'+' if shift > 0 else '-'} {abs(shift):g}" if shift else ""
    return f"{scale:g} * {value if value.isidentifier() else f'({value})'}{moved}"
