"""What an objective asks for and what its losses are, in words."""

from collections.abc import Collection, Iterator, Mapping

from gangraph.graph.model import Graph
from gangraph.registry import vocabulary
from gangraph.views.matching import CONSTANT, Term, terms
from gangraph.views.plan import listed
from gangraph.views.wording import as_written, in_words, over_time, value_names


def aim(graph: Graph, objective: str) -> str:
    """What is wanted of an objective that is minimised: `make judge smaller, and 2 times bound larger`.

    A constant is left out, since nothing moves it.
    """
    names = loss_names(graph)
    moving = [term for term in terms(graph, objective, names) if term.node != CONSTANT]
    sides = ([_term(graph, term, names) for term in moving if (term.weight < 0) == larger] for larger in (False, True))
    wanted = (f"{_summed(side)} {how}" for side, how in zip(sides, ("smaller", "larger"), strict=True) if side)
    return f"make {', and '.join(wanted)}"


def loss_names(graph: Graph) -> dict[str, str]:
    """The nodes that a spec names as losses; the first name where there are several."""
    return {node: name for name, node in reversed(list(graph.losses.items()))}


def losses(graph: Graph, objective: str, told: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """The named losses that an objective reads, in the spec's order, but for those told: each name, and what it is."""
    names, beneath = loss_names(graph), graph.below(objective)
    read = {name: node for node, name in names.items() if node in beneath and name not in told}
    for name in (name for name in graph.spec.losses if name in read):
        ends = {node: other for node, other in names.items() if other != name}
        yield name, f"{name} = {_loss(graph, read[name], ends)}"


def _loss(graph: Graph, root: str, names: Mapping[str, str]) -> str:
    """The formula of a loss, and in words what it does not say itself."""
    found = terms(graph, root, names)
    formula = as_written(graph, root, {**value_names(graph), **names})
    words = "".join(_joined(graph, term, names, first=i == 0) for i, term in enumerate(found))
    return f"{formula}: {words}" if any(term.factors or _is_loss(graph, term, names) for term in found) else formula


def _is_loss(graph: Graph, term: Term, names: Mapping[str, str]) -> bool:
    """Whether a term is a call of a registered loss, whose words say more than the call."""
    return (
        term.node != CONSTANT
        and term.node not in names
        and graph.nodes[term.node].kind == "op"
        and vocabulary[graph.nodes[term.node].target].kind == "loss"
    )


def _joined(graph: Graph, term: Term, names: Mapping[str, str], *, first: bool) -> str:
    """A term of a sum with the word that joins it to those before."""
    sign = "minus " if term.weight < 0 else "" if first else "plus "
    return ("" if first else ", ") + sign + _term(graph, term, names)


def _term(graph: Graph, term: Term, names: Mapping[str, str]) -> str:
    """A term in words, without its sign."""
    weight = [f"{abs(term.weight):g}"] if abs(term.weight) != 1 or term.node == CONSTANT else []
    factors = [f"({over_time(factor)})" for factor in term.factors]
    node = [] if term.node == CONSTANT else [names.get(term.node) or in_words(graph, term.node, names)]
    return " times ".join([*weight, *factors, *node])


def _summed(parts: list[str]) -> str:
    return f"the sum of {listed(parts)}" if len(parts) > 1 else parts[0]
