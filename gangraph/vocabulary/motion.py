"""Ops that tell where pixels of one image are in another.

A flow [B, 2, H, W] says for each pixel how far to the right and how far down to look, in pixels.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from gangraph.registry import op


@op(stops_gradient=True)
def optical_flow(x: Tensor, other: Tensor) -> Tensor:
    """From where in `other` each pixel of x comes: [B, C, H, W] twice to a flow.

    `warp(other, coordinates(other) + flow)` is near x.
    Total variation and an L1 distance of brightness (Zach, Pock and Bischof 2007), by scikit-image's
    `optical_flow_tvl1` with its defaults, one pair of images after another on the CPU. Sides are 16 pixels or more.

    Raises:
        ValueError: the shapes are others.
    """
    if x.dim() != 4 or x.shape != other.shape or min(x.shape[2:]) < 16:
        raise ValueError(f"expected two sets of images [B, C, H, W] of 16 pixels or more, but got {shapes(x, other)}")
    flow: Tensor = _optical_flow(x.detach(), other.detach())
    return flow


def shapes(*tensors: Tensor) -> str:
    """The shapes of tensors in a message."""
    return " and ".join(str(list(tensor.shape)) for tensor in tensors)


@torch.library.custom_op("gangraph::optical_flow", mutates_args=())
def _optical_flow(x: Tensor, other: Tensor) -> Tensor:
    from skimage.registration import optical_flow_tvl1  # which takes half a second to import

    pairs = (torch.stack((x, other)).mean(2) if x.shape[1] > 1 else torch.stack((x, other))[:, :, 0]).double().cpu()
    tvl1 = cast("Callable[[Any, Any], Any]", optical_flow_tvl1)  # it has no annotations
    flows = [tvl1(one.numpy(), two.numpy()) for one, two in pairs.unbind(1)]
    found = torch.stack([torch.as_tensor(flow[::-1].copy()) for flow in flows])  # rows first, there
    return found.to(x)


@_optical_flow.register_fake
def _(x: Tensor, other: Tensor) -> Tensor:
    return x.new_empty((len(x), 2, *x.shape[2:]))
