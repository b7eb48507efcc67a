"""Objectives that hold gradients: whether there is something to differentiate once more."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gangraph.check.infer import Types
from gangraph.check.instantiate import first_line
from gangraph.check.parameter_values import names_at
from gangraph.errors import Problem
from gangraph.graph.differentiability import stops
from gangraph.graph.model import Graph, Node, with_arguments
from gangraph.graph.update import ObjectiveGraph
from gangraph.registry import vocabulary

_SMALL = 50  # layers and ops of all networks that are tried even where only one gradient is taken


def undifferentiable(graph: Graph, seen: Types) -> Iterator[Problem]:
    """GG414: objectives with gradients in them that torch cannot differentiate; tried on tensors without storage.

    One gradient beneath another is always tried, since a piecewise linear network has none there; a single one in small
    networks only, since trying takes as long as inferring everything.
    """
    for objective in (objective for update in graph.updates for objective in update.objectives):
        below = graph.below(objective.written)
        grads = [name for name in below if graph.nodes[name].is_gradient]
        inside = graph.below(*(source for name in grads for source in graph.nodes[name].inputs))
        nested = any(graph.nodes[name].is_gradient for name in inside)
        calls = [seen.calls[name] for name in below if name in seen.calls]
        known = all(name in seen.nodes or name in seen.calls for name in below)
        if grads and known and (nested or sum(len(model.graph.nodes) for model in calls) <= _SMALL):
            try:
                _differentiate(graph, seen, objective, below)
            except _UntriedError:
                continue
            except Exception as error:  # torch raises many types; every one means that there is no such derivative
                yield Problem(
                    code="GG414",
                    message=f"the objective of '{objective.group}' cannot be differentiated",
                    span=objective.span,
                    found="a gradient that does not change, or that torch cannot differentiate once more",
                    reason=first_line(error),
                    expected="layers and ops with as many derivatives as are taken; piecewise linear ones have one",
                )


class _UntriedError(Exception):
    """A value that cannot be had without storage."""


def _differentiate(graph: Graph, seen: Types, objective: ObjectiveGraph, below: frozenset[str] | set[str]) -> None:
    """The gradient of an objective. Raises whatever torch raises, _UntriedError."""
    owners = {graph.owner(graph.nodes[name].target): seen.calls[name].module for name in below if name in seen.calls}
    live = {graph.nodes[name].target for name in below if graph.nodes[name].by_parameters}.union(objective.networks)
    weights = [(name in live, p) for name, module in owners.items() for p in module.parameters()]
    known: dict[str, Any] = {}
    try:
        for carries, weight in weights:
            weight.requires_grad_(carries)
        for node in (node for node in graph.nodes.values() if node.id in below or node.id == objective.written):
            known[node.id] = _value(node, graph, seen, known)
        moved = [p for name in objective.networks if name in owners for p in owners[name].parameters()]
        torch.autograd.grad(known[objective.written], moved, allow_unused=True)
    finally:
        for _, weight in weights:
            weight.requires_grad_(True)


def _value(node: Node, graph: Graph, seen: Types, known: Mapping[str, Any]) -> Any:
    """A value without storage that torch can differentiate. Raises what torch raises, _UntriedError."""
    if node.by_parameters:
        return _by_parameters(node, seen, known[node.inputs[0]])
    if node.kind == "grad":
        output, at = (known[name] for name in node.inputs)
        return torch.autograd.grad(output.sum(), at, create_graph=True)[0]
    try:
        made = _computed(node, graph, seen, known)
    except Exception:  # it could be computed when it was inferred: what it is made of needs storage, such as draws
        raise _UntriedError from None
    if node.id in graph.differentiated_by and isinstance(made, Tensor) and not made.requires_grad:
        made = made.detach().requires_grad_()
    return made


def _by_parameters(node: Node, seen: Types, output: Tensor) -> Tensor:
    """A gradient with respect to parameters without storage. Raises what torch raises."""
    weights = _parameters(node, seen)
    made = torch.autograd.grad(output.sum(), weights, create_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.reshape(-1) for gradient in made])


def _parameters(node: Node, seen: Types) -> list[nn.Parameter]:
    model = seen.networks[node.target]
    return [model.module.get_parameter(name) for name in names_at(node.place, model)]


def _computed(node: Node, graph: Graph, seen: Types, known: Mapping[str, Any]) -> Any:
    given = [known[name] for name in node.inputs]
    if node.is_call:
        return seen.calls[node.id].module(*given)
    if node.kind == "output":
        return given[0][node.field]
    if node.kind == "op":
        arguments = [with_arguments(argument, known) for argument in node.arguments]
        keywords = {key: with_arguments(value, known) for key, value in node.keywords}
        return vocabulary[node.target].function(*arguments, **keywords)
    if node.kind == "parameters" and node.target in seen.networks:
        return torch.cat([parameter.reshape(-1) for parameter in _parameters(node, seen)])
    if node.kind == "alias":
        return given[0].view_as(given[0])
    if not stops(graph, node):
        raise _UntriedError
    return seen.nodes[node.id].example()
