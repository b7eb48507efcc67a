"""Means over chosen samples, and single columns."""

import torch

from gangraph.registry import vocabulary


def test_mean_where_is_the_mean_of_the_samples_that_a_mask_chooses() -> None:
    mean_where = vocabulary["mean_where"].function
    x = torch.arange(24, dtype=torch.float64).reshape(4, 2, 3)
    mask = torch.tensor([0, 1, 0, 1])
    assert torch.equal(mean_where(x, mask), (x[1:2] + x[3:4]) / 2)
    assert torch.equal(mean_where(x, 1 - mask), (x[0:1] + x[2:3]) / 2)
    assert torch.equal(mean_where(x, 0 * mask), torch.zeros(1, 2, 3, dtype=torch.float64))
    rule = vocabulary["mean_where"].traits.range
    assert rule is not None
    assert rule((0.5, 1.0), (0.0, 1.0)) == (0.0, 1.0)  # 0 where none is chosen


def test_column_is_one_feature_or_channel_of_each_sample() -> None:
    column = vocabulary["column"].function
    x = torch.arange(24).reshape(2, 3, 4)
    assert torch.equal(column(x, 2), x[:, 2])
    assert torch.equal(column(vocabulary["one_hot"].function(torch.tensor([1, 0]), 3), 1), torch.tensor([1.0, 0.0]))
