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

    `warp(other, coordinates(other) + flow)` is near x. It minimizes the total variation of the flow and an L1 distance
    of the means over channels (Zach, Pock and Bischof 2007), by scikit-image's `optical_flow_tvl1` with its defaults,
    whose weight of that distance holds for the range that the images have. One pair after another, on the CPU; sides
    are 16 pixels or more.

    Raises:
        ValueError: the shapes are others.
    """
    if x.dim() != 4 or x.shape != other.shape or min(x.shape[2:]) < 16:
        found = f"{list(x.shape)} and {list(other.shape)}"
        raise ValueError(f"expected two sets of images [B, C, H, W] of 16 pixels or more, but got {found}")
    flow: Tensor = _optical_flow(x.detach(), other.detach())
    return flow


@torch.library.custom_op("gangraph::optical_flow", mutates_args=())
def _optical_flow(x: Tensor, other: Tensor) -> Tensor:
    from skimage.registration import optical_flow_tvl1  # which takes half a second to import

    tvl1 = cast("Callable[[Any, Any], Any]", optical_flow_tvl1)  # it has no annotations
    grey, other_grey = (each.double().mean(1).cpu().numpy() for each in (x, other))
    flows = [tvl1(one, two) for one, two in zip(grey, other_grey, strict=True)]
    found = torch.stack([torch.as_tensor(flow[::-1].copy()) for flow in flows])  # rows first, there
    return found.to(x)


@_optical_flow.register_fake
def _(x: Tensor, other: Tensor) -> Tensor:
    return x.new_empty((len(x), 2, *x.shape[2:]))
