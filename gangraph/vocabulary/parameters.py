"""Operations on a network's parameters, which an update names under `then:`. Each takes the network and numbers."""

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip(module: nn.Module, low: float, high: float) -> None:
    """Limit every parameter to [low, high] (Arjovsky et al. 2017, Algorithm 1, line 7)."""
    parameters: list[Tensor] = [*module.parameters()]
    torch._foreach_clamp_min_(parameters, low)
    torch._foreach_clamp_max_(parameters, high)


@torch.no_grad()
def max_norm(module: nn.Module, limit: float) -> None:
    """Scale down each unit's incoming weights to a length of at most `limit`."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.copy_(torch.renorm(parameter, 2, 0, limit))


PARAMETER_OPERATIONS: Mapping[str, Callable[..., None]] = {"clip": clip, "max_norm": max_norm}


# The least value of a number that an operation takes, and pairs of which the first is no greater than the second.
LEAST: Mapping[tuple[str, str], float] = {("max_norm", "limit"): 0.0}
ORDERED: Mapping[str, tuple[str, str]] = {"clip": ("low", "high")}


def signature_of(operation: str) -> inspect.Signature:
    """The numbers that an operation takes after the network."""
    signature = inspect.signature(PARAMETER_OPERATIONS[operation])
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def numbers_of(operation: str) -> list[str]:
    """The names of the numbers that an operation takes after the network."""
    return [*signature_of(operation).parameters]


def usage(operation: str) -> str:
    """How an operation is written: `clip(NETWORK, low, high)`."""
    return f"{operation}({', '.join(['NETWORK', *numbers_of(operation)])})"
