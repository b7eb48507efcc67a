"""Normalisation by statistics of a whole image, which its tiles have to share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_NORMS = (nn.InstanceNorm2d, nn.GroupNorm, nn.BatchNorm2d)


@contextmanager
def shared_statistics(network: nn.Module, pieces: Tensor) -> Iterator[None]:
    """A context in which layers that normalise each image by its own mean and variance use those of `pieces`.

    Args:
        network: a network with instance, group or batch norm; other norms stay as they are.
        pieces: parts [N, C, h, w] of one image; the statistics are taken over all of them together.
    """
    kept: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
    calls: dict[nn.Module, int] = {}

    def learn(layer: nn.Module, given: tuple[Tensor], made: Tensor) -> Tensor:
        kept.setdefault(layer, []).append(_statistics(layer, given[0]))
        return _normalised(layer, given[0], kept[layer][-1], made)

    def use(layer: nn.Module, given: tuple[Tensor], made: Tensor) -> Tensor:
        calls[layer] = calls.get(layer, -1) + 1  # a layer that is called several times has statistics for each
        return _normalised(layer, given[0], kept[layer][calls[layer] % len(kept[layer])], made)

    norms = [layer for layer in network.modules() if isinstance(layer, _NORMS) and _looks_around(layer)]
    hooks = [layer.register_forward_hook(learn) for layer in norms]
    try:
        if norms:
            network(pieces)
        for hook in hooks:
            hook.remove()
        hooks = [layer.register_forward_hook(use) for layer in norms]
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _looks_around(layer: nn.Module) -> bool:
    """Whether a layer computes statistics of its input, rather than use running statistics."""
    return not isinstance(layer, nn.BatchNorm2d) or layer.training or layer.running_mean is None


def _groups(layer: nn.Module, channels: int) -> int:
    return layer.num_groups if isinstance(layer, nn.GroupNorm) else channels


def _statistics(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [groups] of each group of channels, over all samples and positions."""
    grouped = x.reshape(len(x), _groups(layer, x.shape[1]), -1)
    variance, mean = torch.var_mean(grouped.float(), dim=(0, 2), correction=0)
    return mean, variance


def _normalised(layer: Any, x: Tensor, statistics: tuple[Tensor, Tensor], made: Tensor) -> Tensor:
    """What the layer gives with these statistics, written into `made`, what it gave: no further maps take memory."""
    mean, variance = (each.repeat_interleave(x.shape[1] // len(each)).reshape(1, -1, 1, 1) for each in statistics)
    scale = torch.rsqrt(variance + layer.eps)
    made.copy_(x).sub_(mean)
    if layer.weight is None:
        return made.mul_(scale)
    return made.mul_(scale * layer.weight[:, None, None]).add_(layer.bias[:, None, None])
