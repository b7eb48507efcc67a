"""Metrics of points around known modes."""

import torch
from torch import Tensor

from gangraph.registry import metric
from gangraph.vocabulary.metrics import checks


def _modes_checks(samples: Tensor, centres: Tensor, radius: float) -> None:
    checks.same_size(samples=samples, centres=centres)
    checks.samples(1, samples=samples, centres=centres)
    checks.positive(radius=radius)


@metric(expects=_modes_checks)
def covered_modes(samples: Tensor, centres: Tensor, radius: float) -> Tensor:
    """How many of the centres [K, D] have at least one of the samples [N, D] within `radius`; higher is better."""
    _modes_checks(samples, centres, radius)
    checks.finite(samples=samples, centres=centres)
    return (torch.cdist(samples, centres).amin(0) <= radius).sum().float()


def _quality_checks(samples: Tensor, centres: Tensor, std: float, within: float = 3.0) -> None:
    checks.same_size(samples=samples, centres=centres)
    checks.samples(1, samples=samples, centres=centres)
    checks.positive(std=std, within=within)


@metric(expects=_quality_checks)
def high_quality_share(samples: Tensor, centres: Tensor, std: float, within: float = 3.0) -> Tensor:
    """The share of samples [N, D] within `within` deviations `std` of some centre [K, D]; higher is better, 0 to 1.

    The high-quality samples of Srivastava et al. 2017, section 4.1, where 3 deviations count.
    """
    _quality_checks(samples, centres, std, within)
    checks.finite(samples=samples, centres=centres)
    return (torch.cdist(samples, centres).amin(1) <= within * std).float().mean()
