"""Flows between images, and images that follow them."""

import pytest
import torch

from gangraph.vocabulary.geometry import coordinates, warp
from gangraph.vocabulary.motion import optical_flow
from tests.support import normals


def test_the_flow_of_a_moved_blob_is_its_movement() -> None:
    y, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")

    def blob(column: float, row: float) -> torch.Tensor:
        return torch.exp(-((columns - column) ** 2 + (y - row) ** 2) / 40).expand(2, 3, 48, 48)

    before, after = blob(22, 24), blob(25, 22)
    flow = optical_flow(after, before)
    assert flow.shape == (2, 2, 48, 48) and flow.dtype == after.dtype
    inside = after[:, 0] > 0.5
    assert abs(float(flow[:, 0][inside].mean()) + 3) < 0.4
    assert abs(float(flow[:, 1][inside].mean()) - 2) < 0.4
    error, still = (warp(before, coordinates(before) + flow) - after).abs().mean(), (before - after).abs().mean()
    assert error < 0.15 * still


def test_what_has_other_shapes_is_refused() -> None:
    (x,) = normals(1, 2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"of 16 pixels or more, but got \[2, 3, 8, 8\]"):
        optical_flow(x[:, :, :8, :8], x[:, :, :8, :8])
