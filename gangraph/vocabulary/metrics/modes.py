"""Metrics of points around known modes."""

import torch
from torch import Tensor

from gangraph.registry import metric
from gangraph.vocabulary.metrics import checks


def _modes_checks(samples: Tensor, centres: Tensor, radius: float, share: float = 0.0) -> None:
    checks.same_size(samples=samples, centres=centres)
    checks.samples(1, samples=samples, centres=centres)
    checks.positive(radius=radius)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected 0 to 1")


@metric(expects=_modes_checks)
def covered_modes(samples: Tensor, centres: Tensor, radius: float, share: float = 0.0) -> Tensor:
    """How many of the centres [K, D] have at least one of the samples [N, D] within `radius`; higher is better.

    With `share`, 0 to 1, how many have at least that share of the samples.
    """
    _modes_checks(samples, centres, radius, share)
    checks.finite(samples=samples, centres=centres)
    near = (torch.cdist(samples, centres) <= radius).sum(0)
    return ((near > 0) & (near >= share * len(samples))).sum().float()


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
