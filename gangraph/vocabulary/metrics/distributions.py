"""Metrics of sets of samples as wholes: how far apart two distributions are, and how varied one is."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gangraph.registry import metric
from gangraph.vocabulary.metrics import checks
from gangraph.vocabulary.metrics import features as feature_vectors


def _frechet_checks(x: Tensor, y: Tensor) -> None:
    feature_vectors.require_features(None, 2, x=x, y=y)


@metric(expects=_frechet_checks)
def frechet_distance(x: Tensor, y: Tensor) -> Tensor:
    """|mean x - mean y|^2 + tr(Cx + Cy - 2 (Cx Cy)^(1/2)) of feature vectors [N, D] and [M, D]; lower is better.

    The squared Fréchet distance of two Gaussians with these means and covariances (Dowson and Landau 1982). N and M
    need not exceed D, but the number falls as they grow: compare equal counts only.
    """
    _frechet_checks(x, y)
    return _frechet(*feature_vectors.of(None, x, y))


def _frechet(x: Tensor, y: Tensor) -> Tensor:
    """The trace of (Cx Cy)^(1/2) is the sum of singular values of Rx Ry^T, where Cx = Rx^T Rx and Cy = Ry^T Ry."""
    rx, ry = _root(x), _root(y)
    means = (x.mean(0) - y.mean(0)).square().sum()
    distance: Tensor = means + rx.square().sum() + ry.square().sum() - 2 * torch.linalg.svdvals(rx @ ry.T).sum()
    return distance.float()


def _root(x: Tensor) -> Tensor:
    """A matrix R [min(N, D), D] with R^T R the covariance of vectors [N, D], with the divisor N - 1."""
    centred = (x - x.mean(0)) / math.sqrt(len(x) - 1)
    return torch.linalg.qr(centred, mode="r").R if len(x) > x.shape[1] else centred


def _fid_checks(x: Tensor, y: Tensor) -> None:
    feature_vectors.require_features("inception", 2, x=x, y=y)


@metric(expects=_fid_checks, protocol=lambda **_: feature_vectors.feature_facts("inception"))
def fid(x: Tensor, y: Tensor) -> Tensor:
    """Fréchet Inception distance of colour images in [-1, 1], of any size; lower is better, 0 or more.

    Heusel et al. 2017: the Fréchet distance of features of the Inception network of 2015. Images are rounded to 8 bits.
    Papers use 10,000 to 50,000 images; the number falls as they grow.

    Raises:
        WeightsError: the network's weights are missing.
    """
    _fid_checks(x, y)
    return _frechet(*feature_vectors.of("inception", x, y))


def _kernel_checks(x: Tensor, y: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> None:
    feature_vectors.require_features(None, 2, x=x, y=y)
    _subset_checks(x, y, subsets, subset_size)


def _subset_checks(x: Tensor, y: Tensor, subsets: int, subset_size: int) -> None:
    checks.positive(subsets=subsets)
    if subset_size < 2:
        raise ValueError(f"subset_size is {subset_size}, expected at least 2")
    least = min(len(x), len(y))
    if least < subset_size:
        raise ValueError(f"subset_size is {subset_size}, expected at most the {least} samples that there are")


def _kernel_protocol(**_: Any) -> dict[str, Any]:
    return {"kernel": "(a.b / D + 1)^3"}


@metric(expects=_kernel_checks, protocol=_kernel_protocol)
def kernel_distance(x: Tensor, y: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> Tensor:
    """Squared maximum mean discrepancy of vectors [N, D] and [M, D] by the kernel (a.b / D + 1)^3; lower is better.

    Bińkowski et al. 2018: the mean over random subsets of an estimate without bias, which can be below 0.
    """
    _kernel_checks(x, y, subsets, subset_size, seed)
    return _kernel(*feature_vectors.of(None, x, y), subsets, subset_size, seed)


def _kernel(x: Tensor, y: Tensor, subsets: int, subset_size: int, seed: int) -> Tensor:
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    found = kid_features_to_metric(
        x, y, kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=seed, kid_kernel="poly", verbose=False
    )
    return torch.tensor(found[KEY_METRIC_KID_MEAN])


def _kid_checks(x: Tensor, y: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> None:
    feature_vectors.require_features("inception", 2, x=x, y=y)
    _subset_checks(x, y, subsets, subset_size)


def _kid_protocol(**constants: int) -> dict[str, Any]:
    return {**feature_vectors.feature_facts("inception"), **_kernel_protocol(**constants)}


@metric(expects=_kid_checks, protocol=_kid_protocol)
def kid(x: Tensor, y: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> Tensor:
    """Kernel Inception distance of colour images in [-1, 1]; lower is better, about 0 for one distribution.

    Bińkowski et al. 2018: kernel_distance of the features that fid uses. It has no bias at small counts.

    Raises:
        WeightsError: the network's weights are missing.
    """
    _kid_checks(x, y, subsets, subset_size, seed)
    return _kernel(*feature_vectors.of("inception", x, y), subsets, subset_size, seed)


def _score_checks(scores: Tensor, splits: int = 10, seed: int = 0) -> None:
    checks.dimensions("N, K", scores=scores)
    checks.positive(splits=splits)
    checks.samples(splits, scores=scores)


@metric(expects=_score_checks)
def inception_score(scores: Tensor, splits: int = 10, seed: int = 0) -> Tensor:
    """exp(mean KL(p(y|x) || p(y))) from a classifier's logits [N, K], mean over splits; higher is better, 1 to K.

    Salimans et al. 2016, for any classifier: numbers compare only within one. Samples are shuffled and split evenly.
    """
    _score_checks(scores, splits, seed)
    checks.finite(scores=scores)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(scores)))
    logs = scores[order].double().log_softmax(1)
    ends = [i * len(logs) // splits for i in range(splits + 1)]
    return torch.stack([_information(logs[a:b]).exp() for a, b in pairwise(ends)]).mean().float()


def _information(logs: Tensor) -> Tensor:
    """Mean KL(p(y|x) || p(y)) of log p(y|x) [N, K] in nats; a class whose probability is 0 adds nothing."""
    p = logs.exp()
    marginal = p.mean(0)
    return (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(1).mean()


def _coverage_checks(real: Tensor, fake: Tensor, k: int = 3, features: str | None = None) -> None:
    feature_vectors.require_features(features, k + 1, real=real, fake=fake)
    checks.positive(k=k)


def _coverage_protocol(*, k: int, features: str | None) -> dict[str, Any]:
    return {"k": k, **feature_vectors.feature_facts(features)}


@metric(expects=_coverage_checks, protocol=_coverage_protocol)
def precision(real: Tensor, fake: Tensor, k: int = 3, features: str | None = None) -> Tensor:
    """The share of fake samples within the k-nearest-neighbour balls of the real ones; higher is better, 0 to 1.

    Kynkäänniemi et al. 2019, equation 2, over vectors [N, D], or over colour images in [-1, 1] with `features`
    "inception" or "vgg16" (mean over space of the last ReLU; the paper has fully connected features of VGG-16).

    Raises:
        WeightsError: the network's weights are missing.
    """
    return torch.tensor(_coverage(real, fake, k, features)["precision"])


@metric(expects=_coverage_checks, protocol=_coverage_protocol)
def recall(real: Tensor, fake: Tensor, k: int = 3, features: str | None = None) -> Tensor:
    """The share of real samples within the k-nearest-neighbour balls of the fake ones; higher is better, 0 to 1.

    Kynkäänniemi et al. 2019, equation 2; the arguments are those of precision.

    Raises:
        WeightsError: the network's weights are missing.
    """
    return torch.tensor(_coverage(real, fake, k, features)["recall"])


def _coverage(real: Tensor, fake: Tensor, k: int, features: str | None) -> dict[str, float]:
    from torch_fidelity.metric_prc import prc_features_to_metric

    _coverage_checks(real, fake, k, features)
    true, made = feature_vectors.of(features, real, fake, ("real", "fake"))
    found: dict[str, float] = prc_features_to_metric(
        made, true, prc_neighborhood=k, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    return found


def _sliced_checks(x: Tensor, y: Tensor, directions: int = 128, seed: int = 0) -> None:
    checks.alike(x=x, y=y)
    checks.samples(2, x=x)
    checks.positive(directions=directions)
    if x.dim() < 2:
        raise ValueError(f"x is {list(x.shape)}, expected at least one number for each sample [N, ...]")


@metric(expects=_sliced_checks, protocol=lambda **_: {"order": 1})
def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128, seed: int = 0) -> Tensor:
    """Mean over random directions of the Wasserstein-1 distance of two equally large sets; lower is better, 0 or more.

    Samples [N, ...] are flattened and projected on unit vectors (Rabin et al. 2011), which a seed fixes.
    """
    _sliced_checks(x, y, directions, seed)
    checks.finite(x=x, y=y)
    flat_x, flat_y = x.flatten(1).double(), y.flatten(1).double()
    generator = torch.Generator().manual_seed(seed)
    along = functional.normalize(torch.randn(directions, flat_x.shape[1], generator=generator, dtype=torch.float64))
    ordered_x, ordered_y = ((flat @ along.T).sort(dim=0).values for flat in (flat_x, flat_y))
    return (ordered_x - ordered_y).abs().mean().float()
