"""The gradients of an update, left where optimizers look for them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gangraph.graph.update import ObjectiveGraph


def differentiate(
    objectives: Sequence[ObjectiveGraph],
    values: Mapping[str, Tensor],
    groups: Mapping[str, Sequence[nn.Parameter]],
    index: int,
    micro: int,
) -> None:
    """Leave each group's gradient in its parameters: after the last of `micro` micro-batches the mean over them.

    `values` holds the losses by node, `index` is the number of the micro-batch from 0. The gradient stays there until
    the next one replaces it: freed after each step, its pages would go back to the system and be fetched again.
    """
    for position, objective in enumerate(objectives):
        parameters = groups[objective.group]
        loss = values[objective.loss] / micro if micro > 1 else values[objective.loss]
        keep = position + 1 < len(objectives)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
        for parameter, gradient in zip(parameters, map(_laid_out, gradients, parameters), strict=True):
            parameter.grad = (
                gradient if index == 0 or parameter.grad is None or gradient is None else parameter.grad + gradient
            )


def _laid_out(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor | None:
    """The gradient in the memory layout of its parameter, which torch's fused optimizers assume."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
