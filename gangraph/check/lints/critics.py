"""Lints of what the critic and its adversary minimise."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Problem
from gangraph.graph.differentiability import differentiable
from gangraph.graph.model import Graph, Node, Ref
from gangraph.graph.update import UpdateGraph
from gangraph.registry import vocabulary


def unconstrained_critic(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG602: a difference of mean scores falls without end where nothing bounds the critic."""
    for update in graph.updates:
        below = graph.below(*(objective.loss for objective in update.objectives))
        clipped = {each.network for each in update.then if each.operation == "clip" and not each.place.path}
        penalised = any(graph.nodes[name].kind == "grad" for name in below)
        spectral = any(
            use.name == "spectral_norm" for name in update.networks for use in graph.networks[name].layers.values()
        )
        if clipped & set(update.networks) or penalised or spectral:
            continue
        for name in below:
            node = graph.nodes[name]
            if _is_wasserstein_critic(graph, node, update):
                yield warn(
                    "GG602",
                    "this critic's loss has no lower bound",
                    node.span,
                    fix="then: clip(D, -0.01, 0.01), a gradient penalty, or spectral_norm",
                )


def _is_wasserstein_critic(graph: Graph, node: Node, update: UpdateGraph) -> bool:
    if node.kind == "op" and vocabulary[node.target].traits.needs_lipschitz:
        return True
    if node.kind != "op" or node.target != "sub" or len(node.inputs) != 2:
        return False
    means = [graph.nodes[name] for name in node.inputs]
    if any(mean.kind != "op" or mean.target != "mean" for mean in means):
        return False
    critics = [_scoring(graph, mean.inputs[0]) for mean in means]
    return critics[0] == critics[1] and critics[0] in update.networks


def saturating(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG607: the generator's gradient vanishes where the critic is certain."""
    for node in graph.nodes.values():
        if node.kind == "op" and vocabulary[node.target].traits.saturates:
            yield warn(
                "GG607",
                f"'{node.target}' saturates where the critic wins",
                node.span,
                fix="logistic.generator has the same fixed point",
            )


def trained_to_be_caught(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG611: a critic's loss in the objective of what makes its fakes."""
    for update in graph.updates:
        for objective in update.objectives:
            below = graph.below(objective.loss)
            opposed = _subtracted(graph, objective.loss)
            for name in below - opposed:
                node = graph.nodes[name]
                if node.kind != "op" or vocabulary[node.target].traits.player != "critic":
                    continue
                fake = dict(node.keywords).get("fake", node.arguments[-1] if node.arguments else None)
                made_by = differentiable(graph, objective.networks, graph.below(getattr(fake, "id", name)))
                makers = {
                    graph.nodes[n].target
                    for n in made_by
                    if graph.nodes[n].is_call and graph.nodes[n].target in objective.networks
                }
                # Whatever the real samples go through belongs to the critic: one network, or a shared trunk and a head.
                real = dict(node.keywords).get("real", node.arguments[0] if node.arguments else None)
                critics = {_scoring(graph, n) for n in node.inputs} | _networks_in(graph, real)
                if makers - critics:
                    generator = ", ".join(sorted(makers - critics))
                    yield warn(
                        "GG611",
                        f"'{generator}' would be trained to make the critic's task easy",
                        node.span,
                        found=f"group '{objective.group}'",
                    )


def _subtracted(graph: Graph, root: str) -> set[str]:
    """The terms that are subtracted in a sum: minimising the sum makes them larger."""
    found: dict[str, set[bool]] = {}
    waiting = [(root, False)]
    while waiting:
        name, minus = waiting.pop()
        node, numbers = graph.nodes[name], [n for n in graph.nodes[name].arguments if isinstance(n, int | float)]
        if minus in found.setdefault(name, set()):
            continue
        found[name].add(minus)
        flips = node.target == "neg" or (node.target in ("mul", "truediv") and numbers and numbers[-1] < 0)
        if node.kind == "op" and node.target in ("add", "sub", "neg", "mul", "truediv"):
            for place, argument in enumerate(node.arguments):
                if isinstance(argument, Ref):
                    waiting.append((argument.id, minus != (flips or (node.target == "sub" and place == 1))))
    return {name for name, signs in found.items() if signs == {True}}


def _networks_in(graph: Graph, value: object) -> set[str]:
    """The networks that a value depends on; none if it is a number."""
    below = graph.below(value.id) if isinstance(value, Ref) else ()
    return {graph.nodes[n].target for n in below if graph.nodes[n].of_network}


def _scoring(graph: Graph, name: str) -> str:
    """The network whose output a value is, also under `detach` and the like; empty if it is no such output."""
    node = graph.unwrapped(name)
    call = graph.nodes[node.inputs[0]] if node.kind == "output" else node
    return call.target if call.is_call else ""
