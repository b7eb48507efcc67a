"""Held values (`at_first`): several updates can read one only if a single update fixes it, once in every step."""

from collections.abc import Iterable, Iterator

from gangraph.errors import Problem
from gangraph.graph.changes import drawn, moved
from gangraph.graph.model import Graph, Node
from gangraph.graph.update import UpdateGraph


def unfixed(graph: Graph) -> Iterator[Problem]:
    """A problem for each held value that several updates read, and that may be missing or change between them.

    An update that computes the value before all readers fixes it, if it runs exactly once whenever one of these runs;
    else the first reader does.
    """
    needed = [graph.below(*update.roots) for update in graph.step]
    for node in graph.nodes.values():
        if node.remembers != "step":
            continue
        users = [i for i, below in enumerate(needed) if node.id in below]
        before = [i for i in range(min(users, default=0)) if node.inputs[0] in needed[i]]
        late = bool(users) and users[0] >= len(graph.updates)  # a state's, which means what the updates computed
        surely = any(graph.surely(i, users) for i in before)
        if late and before and not surely:
            yield _uncertain(graph.step[before[0]], node)
        elif len(users) < 2 or surely:
            continue
        first = graph.step[users[0]]
        if first.timing.conditional:
            yield _skipped(first, node)
        elif first.timing.repeated and (new := _new_each_time(graph, node, users[0])):
            yield _repeated(first, node, new)


def _uncertain(update: UpdateGraph, node: Node) -> Problem:
    return Problem(
        code="GG504",
        message=f"which value comes first is uncertain: update '{update.name}' may compute it never or several times",
        span=node.span,
        found=f"{_keys(key.name for key, _ in update.timing)} in update '{update.name}'",
        expected="a value that an update computes which runs once in every step in which the state moves",
        fix="leave out at_first(): the value at the end of the step",
    )


def _skipped(update: UpdateGraph, node: Node) -> Problem:
    return Problem(
        code="GG504",
        message=f"the held value may not exist: update '{update.name}', which holds it first, can be skipped",
        span=node.span,
        found=f"{_keys(update.timing.conditions)} in update '{update.name}'",
        expected="a value that an update holds which runs in every step",
        fix=f"let an update that runs in every step read the value before '{update.name}'",
    )


def _repeated(update: UpdateGraph, node: Node, new: tuple[str, ...]) -> Problem:
    keys, are = _keys(update.timing.repetitions), "is" if len(new) == 1 else "are"
    return Problem(
        code="GG504",
        message=f"the held value is another one each time that update '{update.name}' repeats",
        span=node.span,
        found=f"{keys} in update '{update.name}', and {' and '.join(new)} {are} new each time",
        expected="a value that does not change while the update that holds it first repeats",
        fix=f"let an update that runs once read the value before '{update.name}'",
    )


def _keys(names: Iterable[str]) -> str:
    """`times: and every:`."""
    return " and ".join(f"{name}:" for name in names)


def _new_each_time(graph: Graph, node: Node, index: int) -> tuple[str, ...]:
    """The networks and sources that a value depends on and that change while an update repeats."""
    below = [graph.nodes[name] for name in graph.below(node.id)]
    beneath = {graph.owner(each.target) for each in below if each.of_network}
    beneath |= {each.target for each in below if each.is_source}
    trained = moved(graph, index) if graph.step[index].timing.written("times") is not None else ()
    return tuple(name for name in (*trained, *drawn(graph, index)) if name in beneath)
