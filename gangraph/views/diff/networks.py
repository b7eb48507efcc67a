"""How the networks of two specs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gangraph.check.phase import Checked
from gangraph.errors import SpecError, listed
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import literal
from gangraph.language.expression.model import unparse
from gangraph.language.expression.static import Scope
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import (
    AverageSpec,
    NetworkSpec,
    PhaseSpec,
)
from gangraph.language.tied import tied_to
from gangraph.views.diff.difference import Difference, sides
from gangraph.views.diff.matching import Matching, layers, origin


def network_differences(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    """Networks that came or went, and how those that both have differ."""
    for name, other in sides(a.networks, b.networks, matching.networks):
        ours, theirs = a.networks.get(name), b.networks.get(other)
        if ours is None or theirs is None:
            both = (matching.first, name, ours), (matching.second, other, theirs)
            texts = ("" if made is None else _call(made, checked) + _size(checked, n) for checked, n, made in both)
            yield Difference("networks", name or other, *texts)
        elif not matching.same_network(name, other):
            yield from _network(matching, name, ours, theirs)


def _network(
    matching: Matching, name: str, a: NetworkSpec | AverageSpec, b: NetworkSpec | AverageSpec
) -> Iterator[Difference]:
    """How a network differs: by its call, by its first layer that is another, by its initialisation or its inputs."""
    calls = [_call(a, matching.first), _call(b, matching.second)]
    sizes = [_size(matching.first, name), _size(matching.second, matching.networks[name])]
    if isinstance(a, AverageSpec) or isinstance(b, AverageSpec):
        yield Difference("networks", name, calls[0] + sizes[0], calls[1] + sizes[1])
        return
    if _drawn(a) != _drawn(b):
        yield Difference("networks", f"what {name} draws", *(_drawn(each) or "nothing" for each in (a, b)))
    if calls[0] == calls[1] and layers(a) != layers(b):
        ours, theirs = _listing(a), _listing(b)
        apart = next(
            (i for i, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), min(len(ours), len(theirs))
        )
        calls = [
            f"{calls[i]} such as {each[apart]}" if apart < len(each) else calls[i]
            for i, each in enumerate((ours, theirs))
        ]
    if layers(a) != layers(b):
        yield Difference("networks", name, calls[0] + sizes[0], calls[1] + sizes[1])
    elif sizes[0] != sizes[1]:
        yield Difference("networks", f"the size of {name}", *(size.removeprefix(", ") for size in sizes))
    if _tied(a, matching.networks) != _tied(b, {}):
        tied = (listed(_tied(each, {})) for each in (a, b))
        yield Difference("networks", f"what {name} shares", *(text or "nothing" for text in tied))
    if origin(a) != origin(b):
        yield Difference("networks", f"the origin of {name}", *(origin(each) or "initialized" for each in (a, b)))
    if a.init != b.init and not (a.weights and b.weights):
        inits = (", ".join(f"{kind} {unparse(how)}" for kind, how in each.init.items()) for each in (a, b))
        yield Difference("networks", f"the initialisation of {name}", *(text or "torch's own" for text in inits))


def _tied(network: NetworkSpec, names: Mapping[str, str]) -> list[str]:
    """The parts that a network shares, by the names of their owners on the other side."""
    return [f"{names.get(owner, owner)}.{part}" for owner, parts in tied_to(network).items() for part in parts]


def _listing(network: NetworkSpec) -> list[str]:
    """Everything that a network consists of, in order."""
    chains = [unparse(layer) for chain in network.parts.values() for layer in chain]
    return [*chains, *map(unparse, network.values.values()), *map(unparse, network.outputs.values())]


def _drawn(network: NetworkSpec) -> str:
    """What a network draws, and how often."""
    drawn = ", ".join(f"{name} = {unparse(source)}" for name, source in network.draws.items())
    return f"{drawn}, once for all calls" if network.draws_once else drawn


def _size(checked: Checked, name: str) -> str:
    return f", {checked.networks[name].parameters:,} parameters" if name in checked.networks else ""


def _call(network: NetworkSpec | AverageSpec, checked: Checked) -> str:
    """The call that made a network, its params worked out; of layers written in place, that they are."""
    if isinstance(network, AverageSpec):
        return f"average({network.of}, decay={unparse(network.decay)}, buffers={network.buffers})"
    if network.start is not None:
        return f"a variable that begins as {unparse(network.start)}"
    span = network.span
    params = {name: literal(value, span) for name, value in checked.graph.spec.params.items()}
    try:
        made = Scope(params).reduce(parse_expression(Scalar.of(span.text.content[span.start : span.end], "call")))
    except SpecError:
        return network.template
    return unparse(made) if isinstance(made, ast.Call) else "layers of its own"
