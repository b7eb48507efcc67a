"""Distances between sets of samples against closed forms, torch-fidelity and scipy."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from gangraph.vocabulary.metrics import features
from gangraph.vocabulary.metrics.codes import linear_decoding, pca_error
from gangraph.vocabulary.metrics.distributions import (
    fid,
    frechet_distance,
    inception_score,
    kernel_distance,
    kid,
    precision,
    recall,
    sliced_wasserstein,
)
from gangraph.vocabulary.metrics.likelihood import parzen
from gangraph.vocabulary.metrics.modes import covered_modes, high_quality_share
from tests.metrics.shared import WEIGHTS, gaussian, needs_shared, photos, signed


def whitened(x: Tensor) -> Tensor:
    """The same vectors with mean 0 and covariance 1, exactly."""
    x = x.double() - x.double().mean(0)
    covariance = x.T @ x / (len(x) - 1)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), x.T, upper=False).T


def test_frechet_distance_of_two_gaussians() -> None:
    x, y = whitened(gaussian(50, 3)), whitened(gaussian(70, 3, seed=1))
    scale, shift = torch.tensor([0.5, 2.0, 3.0]), torch.tensor([1.0, 0.0, -2.0])
    assert float(frechet_distance(x, y)) == pytest.approx(0, abs=1e-6)
    assert float(frechet_distance(x, y * scale + shift)) == pytest.approx(5 + 0.25 + 1 + 4, rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(40, 60), (40, 6), (5, 6)], ids=["full rank", "one of low rank", "low rank"])
def test_frechet_distance_is_that_of_torch_fidelity(n: int, m: int) -> None:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    x, y = gaussian(n, 12) @ gaussian(12, 12, seed=2), gaussian(m, 12, seed=1) + 0.5
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(v.double()) for v in (x, y)), verbose=False)
    assert float(frechet_distance(x, y)) == pytest.approx(theirs[KEY_METRIC_FID], rel=1e-5)


def test_kernel_distance_by_its_formula() -> None:
    x, y = gaussian(7, 4), gaussian(7, 4, seed=1) + 1
    kxx, kyy, kxy = ((a.double() @ b.double().T / 4 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    expected = (kxx.sum() - kxx.trace() + kyy.sum() - kyy.trace()) / (7 * 6) - 2 * kxy.mean()
    assert float(kernel_distance(x, y, subsets=2, subset_size=7)) == pytest.approx(float(expected), rel=1e-5)


def test_kernel_distance_of_one_distribution_is_about_zero() -> None:
    x, y = gaussian(400, 8), gaussian(400, 8, seed=1)
    same = float(kernel_distance(x, y, subsets=20, subset_size=200))
    assert abs(same) < 0.05 < float(kernel_distance(x, y + 0.5, subsets=20, subset_size=200))


def test_inception_score_of_certain_and_of_uniform_classes() -> None:
    certain = 100 * torch.eye(5).repeat(20, 1)
    assert float(inception_score(certain, splits=1)) == pytest.approx(5, rel=1e-5)
    assert float(inception_score(torch.zeros(40, 5), splits=4)) == pytest.approx(1, rel=1e-6)


def test_inception_score_of_classes_without_any_probability() -> None:
    certain = 10_000 * torch.eye(5)[[0, 1, 2]].repeat(20, 1)
    assert float(inception_score(certain, splits=1)) == pytest.approx(3, rel=1e-6)


def test_inception_score_is_that_of_torch_fidelity() -> None:
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    scores = 3 * gaussian(53, 4)
    theirs = isc_features_to_metric(scores, splits=5, shuffle=True, rng_seed=3)[KEY_METRIC_ISC_MEAN]
    assert float(inception_score(scores, splits=5, seed=3)) == pytest.approx(theirs, rel=1e-6)


def test_inception_score_by_its_formula() -> None:
    scores = gaussian(30, 4).double()
    p = scores.softmax(1)
    expected = (p * (p / p.mean(0)).log()).sum(1).mean().exp()
    assert float(inception_score(scores, splits=1)) == pytest.approx(float(expected), rel=1e-6)


def test_precision_and_recall_tell_narrow_from_wide() -> None:
    real = gaussian(300, 2)
    assert float(precision(real, 0.3 * gaussian(300, 2, seed=1))) > 0.95
    assert float(recall(real, 0.3 * gaussian(300, 2, seed=1))) < 0.6
    assert float(precision(real, 4 * gaussian(300, 2, seed=1))) < 0.5
    assert float(recall(real, 4 * gaussian(300, 2, seed=1))) > 0.9


def test_precision_and_recall_by_hand() -> None:
    """Real points 0, 1, 3 with nearest neighbours at 1, 1 and 2; fake points 2.5 and 9 at 6.5."""
    real, fake = torch.tensor([[0.0], [1], [3]]), torch.tensor([[2.5], [9]])
    assert float(precision(real, fake, k=1)) == pytest.approx(1 / 2)
    assert float(recall(real, fake, k=1)) == pytest.approx(1)
    assert float(recall(real - 6, fake, k=1)) == pytest.approx(1 / 3)


def test_sliced_wasserstein_of_a_shift() -> None:
    """Of a shift by v, the distance along u is |u.v|, whose mean over directions of the plane is 2 |v| / pi."""
    x = gaussian(50, 2)
    found = float(sliced_wasserstein(x, x[torch.randperm(50)] + torch.tensor([3.0, 4.0]), directions=4000))
    assert found == pytest.approx(2 * 5 / math.pi, rel=0.02)


def test_sliced_wasserstein_of_numbers_is_that_of_scipy() -> None:
    x, y = gaussian(40, 1, 1), 2 * gaussian(40, 1, 1, seed=1)
    expected = wasserstein_distance(x.flatten().numpy(), y.flatten().numpy())
    assert float(sliced_wasserstein(x, y, directions=3)) == pytest.approx(expected, rel=1e-5)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(x, y)


def test_parzen_of_a_known_mixture() -> None:
    """One sample makes a single Gaussian, two far ones a mixture of halves."""
    test, near = torch.tensor([[1.0, 0.0]]), -0.5 / 0.5**2 - math.log(2 * math.pi * 0.5**2)
    assert float(parzen(torch.zeros(1, 2), test, test, sigmas=(0.5,))) == pytest.approx(near, rel=1e-6)
    two = torch.tensor([[0.0, 0.0], [1000.0, 0.0]])
    assert float(parzen(two, test, test, sigmas=(0.5,))) == pytest.approx(near - math.log(2), rel=1e-6)


def test_parzen_takes_the_width_that_is_best_for_validation() -> None:
    samples, test = gaussian(600, 1), gaussian(600, 1, seed=1)
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    assert float(parzen(samples, test, gaussian(600, 1, seed=2))) == pytest.approx(-entropy, abs=0.05)
    one = [float(parzen(samples, test, samples, sigmas=(sigma,))) for sigma in (0.001, 0.5)]
    assert float(parzen(samples, test, test, sigmas=(0.001, 0.5))) == one[1]
    assert float(parzen(samples, test, samples, sigmas=(0.001, 0.5))) == one[0] < one[1]


def test_modes_and_high_quality_by_hand() -> None:
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    samples = torch.tensor([[0.1, 0.0], [0.0, 0.29], [5.0, 0.31], [2.0, 2.0]])
    assert float(covered_modes(samples, centres, 0.3)) == 1
    assert float(covered_modes(samples, centres, 0.35)) == 2
    assert [float(covered_modes(samples, centres, 0.35, share)) for share in (0.25, 0.3, 0.5, 0.6)] == [2, 1, 1, 0]
    assert float(high_quality_share(samples, centres, std=0.1)) == 0.5
    assert float(high_quality_share(samples, centres, std=0.1, within=3.2)) == 0.75


@needs_shared
def test_fid_is_that_of_torch_fidelity_on_photos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    weights = load_file(WEIGHTS / "inception_v3_fid_2015_f16.safetensors")
    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save({**{key: value.float() for key, value in weights.items()}, **classifier}, tmp_path / "theirs.pth")
    theirs = FeatureExtractorInceptionV3("theirs", ["2048"], str(tmp_path / "theirs.pth"))
    levels = photos(8), photos(8, start=100)
    seen = [theirs(each)[0] for each in levels]
    expected = fid_statistics_to_metric(*map(fid_features_to_statistics, seen), verbose=False)[KEY_METRIC_FID]
    x, y = (signed(each) for each in levels)
    assert float(fid(x, y)) == pytest.approx(expected, rel=1e-3)
    assert (features.of("inception", x, y)[0] - seen[0]).abs().max() < 1e-3
    assert float(kid(x, y, subsets=5, subset_size=8)) == pytest.approx(
        float(kernel_distance(*seen, subsets=5, subset_size=8)), rel=1e-3
    )
    assert float(precision(x, y, features="inception")) == float(precision(*seen))
    assert float(recall(x, y, features="inception")) == float(recall(*seen))


@needs_shared
def test_features_of_a_value_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setitem(features.NETWORKS, "vgg16", lambda x: calls.append(len(x)) or x.mean((2, 3)))
    x, y = signed(photos(4)), signed(photos(5, start=10))
    assert float(precision(x, y, features="vgg16")) == float(precision(x.mean((2, 3)), y.mean((2, 3))))
    assert float(recall(x, y, features="vgg16")) == float(recall(x.mean((2, 3)), y.mean((2, 3))))
    assert calls == [4, 5]
    x *= 0.5
    precision(x, y, features="vgg16")
    assert calls == [4, 5, 4]


def test_pca_error_is_the_variance_that_is_left() -> None:
    scale, turn = torch.tensor([3.0, 2.0, 1.0, 0.5]), torch.linalg.qr(gaussian(4, 4)).Q
    train = whitened(gaussian(50, 4, seed=1)).float() * scale @ turn + 7
    assert float(pca_error(train, train, 2)) == pytest.approx(49 / 50 * (1 + 0.25), rel=1e-4)
    assert float(pca_error(train, train, 4)) == pytest.approx(0, abs=1e-6)
    outside = train.mean(0) + torch.stack([2 * turn[0], turn[3] + turn[1], 3 * turn[2]])
    assert float(pca_error(train, outside, 2)) == pytest.approx((0 + 1 + 9) / 3, rel=1e-4)
    assert float(pca_error(train.reshape(50, 1, 2, 2), train.reshape(50, 1, 2, 2), 2)) == pytest.approx(
        49 / 50 * 1.25, rel=1e-4
    )


def test_linear_decoding_is_the_share_of_variance_that_a_straight_line_explains() -> None:
    factors, noise = gaussian(400, 2), whitened(gaussian(400, 3, seed=1)).float()
    features = torch.cat([1e4 * (factors[:, :1] - factors[:, 1:]), 1e-3 * factors.sum(1, keepdim=True), noise], 1)
    known, seen = features[:200], features[200:]
    assert float(linear_decoding(known, factors[:200], seen, factors[200:])) == pytest.approx(1, abs=1e-4)
    assert float(linear_decoding(known, factors[:200, 0], seen, factors[200:, 0])) == pytest.approx(1, abs=1e-4)
    assert abs(float(linear_decoding(known, factors[:200, 0] ** 2, seen, factors[200:, 0] ** 2))) < 0.1


def test_linear_decoding_is_the_mean_over_factors() -> None:
    factors = gaussian(300, 2)
    known, seen = factors[:200, :1], factors[200:, :1]
    one, other = (float(linear_decoding(known, factors[:200, k], seen, factors[200:, k])) for k in (0, 1))
    assert one > 0.99 and abs(other) < 0.1
    assert float(linear_decoding(known, factors[:200], seen, factors[200:])) == pytest.approx(
        (one + other) / 2, abs=1e-4
    )


def test_linear_decoding_chooses_a_penalty_where_features_outnumber_samples() -> None:
    factor, mixing = gaussian(120, 1), gaussian(1, 300, seed=2)
    features = factor @ mixing + 3 * gaussian(120, 300, seed=3)
    found = float(linear_decoding(features[:60], factor[:60], features[60:], factor[60:]))
    assert 0.7 < found < 1
