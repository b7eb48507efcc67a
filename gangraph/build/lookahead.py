"""Objectives that look ahead: values at networks as some steps of their optimizer would make them.

A value that depends on a looked-ahead network has another meaning than the one that the spec writes, so it is a node
of its own beside that one, its `origin`. What does not depend on such a network is the same node in both. The steps are
one more node, of kind `lookahead`: it reads what they need from outside, and calls of looked-ahead networks read it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from gangraph.build.values import ValueBuilder
from gangraph.errors import Problem, Span, refuse
from gangraph.graph.model import Node, Ref, with_arguments
from gangraph.graph.update import Lookahead, ObjectiveGraph


@dataclass(frozen=True, slots=True)
class Unrolled:
    """The steps that an objective looks ahead: what the other group minimises in each, and how many."""

    objective: ObjectiveGraph
    steps: int
    span: Span


def with_lookahead(values: ValueBuilder, objective: ObjectiveGraph, unrolled: Unrolled) -> ObjectiveGraph:
    """The objective with looked-ahead networks in the place of those that `unrolled` moves; as it is for no step.

    Raises:
        SpecError: a value with a past would depend on looked-ahead networks.
    """
    nodes, inner = values.table.nodes, unrolled.objective
    if unrolled.steps == 0:
        return objective
    if not _moved(nodes, objective.loss, inner.networks):
        values.problems.append(_without_effect(objective, unrolled))
        return objective
    moved = _with_paths(nodes, objective.loss, inner.networks)
    body = _with_paths(nodes, inner.loss, inner.networks)
    for name in dict.fromkeys((*moved, *body)):
        _refuse_state(nodes[name], inner.networks)
        _refuse_by_parameters(nodes[name])
    reads = dict.fromkeys(source for name in body for source in nodes[name].inputs if source not in body)
    ahead = values.table.add(
        "lookahead",
        f"{objective.group}_ahead",
        span=unrolled.span,
        unique=object(),  # each update has steps of its own, since what else it trains is part of their code
        target=inner.group,
        arguments=tuple(map(Ref, reads)),
    )
    told = Lookahead(
        id=ahead.id,
        group=inner.group,
        networks=inner.networks,
        steps=unrolled.steps,
        loss=inner.loss,
        body=body,
        span=unrolled.span,
    )
    return replace(objective, loss=_again(values, moved, told)[objective.loss], ahead=told)


def _refuse_state(node: Node, networks: Collection[str]) -> None:
    """Refuse what has one state in a run, and of a network all but its calls: they know nothing looked ahead."""
    if node.remembers == "run":
        refuse(
            "GG514",
            "the past of a value holds no values at looked-ahead networks",
            node.span,
            f"a history of what depends on {', '.join(networks)}",
            "a history outside of what looks ahead, such as history(at_first(v), 50)",
        )
    if node.of_network and not node.is_call and node.target in networks:
        refuse(
            "GG514",
            f"'{node.kind}' of '{node.target}' cannot be looked at while it is looked ahead",
            node.span,
            f"{node.kind}({node.target})",
            "an objective and steps of values that the network computes",
        )


def _refuse_by_parameters(node: Node) -> None:
    """Refuse a gradient with respect to parameters, which a copy of the values ahead would take at the wrong calls."""
    if node.by_parameters:
        refuse(
            "GG514",
            "a gradient with respect to parameters cannot be taken where an objective looks ahead",
            node.span,
            node.span.text.content[node.span.start : node.span.end],
            "an update without unroll:, or a gradient outside of what looks ahead",
        )


def _below(nodes: Mapping[str, Node], root: str) -> list[str]:
    """A node and everything it is computed from at present, in order: what a held value was is not looked at."""
    found, waiting = set[str](), [root]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += nodes[name].inputs if nodes[name].remembers != "step" else ()
    return [name for name in nodes if name in found]


def _moved(nodes: Mapping[str, Node], root: str, networks: Iterable[str]) -> list[str]:
    """What beneath a node depends on some networks."""
    chosen, found = set(networks), dict[str, None]()
    for name in _below(nodes, root):
        node = nodes[name]
        calls = node.of_network and node.target in chosen
        if node.remembers != "step" and (calls or any(source in found for source in node.inputs)):
            found[name] = None
    return list(found)


def _with_paths(nodes: Mapping[str, Node], root: str, networks: Iterable[str]) -> tuple[str, ...]:
    """What depends on some networks, and what lies between a gradient among that and its input, in order."""
    below, found = _below(nodes, root), set(_moved(nodes, root, networks))
    for name in below:
        if name in found and nodes[name].kind == "grad":
            found |= _between(nodes, *nodes[name].inputs)
    return tuple(name for name in below if name in found)


def _between(nodes: Mapping[str, Node], output: str, at: str) -> set[str]:
    """The nodes that `output` is computed from, itself included, which are computed from `at`."""
    found = {at}
    for name in _below(nodes, output):
        if nodes[name].remembers != "step" and not found.isdisjoint(nodes[name].inputs):
            found.add(name)
    return found - {at}


def _again(values: ValueBuilder, moved: Iterable[str], ahead: Lookahead) -> dict[str, str]:
    """The nodes that depend on looked-ahead networks, made anew for these: by the names of those they stand for.

    A gradient is taken with respect to an alias of its input, from which the steps ahead are not computed: it is that
    of the call, and does not see the input move the parameters.
    """
    nodes, made = values.table.nodes, dict[str, str]()
    chosen = set(moved)
    for at in dict.fromkeys(nodes[name].inputs[1] for name in moved if nodes[name].kind == "grad"):
        if at not in chosen:
            made[at] = values.table.add("alias", f"{at}_alias", span=nodes[at].span, arguments=(Ref(at),), origin=at).id
    for name in moved:
        node = nodes[name]
        places = {source: Ref(made.get(source, source)) for source in node.inputs}
        made[name] = values.table.add(
            node.kind,
            f"{name}_ahead",
            span=node.span,
            target=node.target,
            field=node.field,
            arguments=tuple(with_arguments(argument, places) for argument in node.arguments),
            keywords=tuple((key, with_arguments(value, places)) for key, value in node.keywords),
            origin=name,
            ahead=ahead.id if node.is_call and node.target in ahead.networks else "",
        ).id
    return made


def _without_effect(objective: ObjectiveGraph, unrolled: Unrolled) -> Problem:
    networks = ", ".join(unrolled.objective.networks)
    return Problem(
        code="GG616",
        severity="warning",
        message=f"the objective of '{objective.group}' looks ahead of networks that it does not depend on",
        span=unrolled.span,
        found=f"nothing in it is computed by {networks}",
        fix="leave out unroll:",
    )
