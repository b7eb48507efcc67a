"""The first values of variables: computed once, before training, from what no update changes."""

from collections.abc import Iterable, Iterator, Mapping

from gangraph.errors import Problem, Span
from gangraph.graph.closure import closure
from gangraph.graph.model import Argument, Node, Ref
from gangraph.graph.update import UpdateGraph
from gangraph.language.expression.model import unparse
from gangraph.language.spec import AverageSpec, PhaseSpec

_EXPECTED = "data, random draws, constants, and what networks that no update trains make of these"


def odd_starts(
    spec: PhaseSpec, starts: Mapping[str, Argument], nodes: Mapping[str, Node], updates: Iterable[UpdateGraph]
) -> Iterator[Problem]:
    """GG580: variables that begin as something trained, as a value with a past, or as no tensor."""
    trained = {network for update in updates for network in (*update.networks, *(each.network for each in update.then))}
    for name, start in starts.items():
        written = spec.variables[name]
        if not isinstance(start, Ref):
            if sizes(start) is None:
                yield _problem(name, written.span, f"{unparse(written)}, which is no tensor of numbers")
            continue
        for node in map(nodes.__getitem__, sorted(closure((start.id,), lambda each: nodes[each].needs))):
            network = spec.networks.get(node.target) if node.of_network else None
            owner = network.of if isinstance(network, AverageSpec) else node.target
            if node.is_state:
                yield _problem(name, written.span, f"{unparse(written)}, which depends on the state '{node.target}'")
            elif node.remembers == "run":
                yield _problem(name, written.span, f"{unparse(written)}, which remembers earlier values")
            elif network is not None and owner in spec.variables:
                yield _problem(name, written.span, f"{unparse(written)}, which depends on the variable '{owner}'")
            elif network is not None and owner in trained:
                yield _problem(
                    name, written.span, f"{unparse(written)}, which depends on '{owner}', and that is trained"
                )
            else:
                continue
            break


def _problem(name: str, span: Span, found: str) -> Problem:
    return Problem(code="GG580", message=f"'{name}' cannot begin as this", span=span, found=found, expected=_EXPECTED)


def sizes(constant: Argument) -> tuple[int, ...] | None:
    """The shape of a number or of nested lists of numbers; None if the lists have different lengths."""
    if isinstance(constant, int | float) and not isinstance(constant, bool):
        return ()
    inner = {sizes(each) for each in constant} if isinstance(constant, tuple) else set()
    first = next(iter(inner), None)
    return (len(constant), *first) if isinstance(constant, tuple) and len(inner) == 1 and first is not None else None
