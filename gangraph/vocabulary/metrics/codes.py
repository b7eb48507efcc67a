"""Metrics of codes: against the factors that the data was made from, and against linear codes."""

from typing import Any

import torch
from torch import Tensor

from gangraph.registry import metric
from gangraph.vocabulary.metrics import checks


def _correlation_checks(x: Tensor, y: Tensor) -> None:
    checks.alike(x=x, y=y)
    checks.samples(2, x=x)
    if x.dim() != 1 and x.shape[1:].numel() != 1:
        raise ValueError(f"x is {list(x.shape)}, expected one number for each sample: [N] or [N, 1]")


@metric(expects=_correlation_checks)
def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of two numbers [N] or [N, 1] of each sample, -1 to 1; 1 or -1 is a straight line."""
    _correlation_checks(x, y)
    checks.finite(x=x, y=y)
    pair = {"x": x.flatten().double(), "y": y.flatten().double()}
    for name, values in pair.items():
        if (values == values[0]).all():
            raise ValueError(f"{name} is the same in all samples, expected one that varies")
    return torch.corrcoef(torch.stack(tuple(pair.values())))[0, 1].float()


def _gap_checks(codes: Tensor, factors: Tensor, bins: int = 20) -> None:
    checks.dimensions("N, D", codes=codes)
    checks.dimensions("N, F", factors=factors)
    checks.same_count(codes=codes, factors=factors)
    checks.samples(2, codes=codes)
    if codes.shape[1] < 2:
        raise ValueError(f"codes are {list(codes.shape)}, expected at least 2 numbers for each sample")
    if bins < 2:
        raise ValueError(f"bins is {bins}, expected at least 2")


def _gap_protocol(*, bins: int) -> dict[str, Any]:
    return {"bins": f"{bins} of equal width for each code, and for each factor with more values"}


@metric(expects=_gap_checks, protocol=_gap_protocol)
def mutual_information_gap(codes: Tensor, factors: Tensor, bins: int = 20) -> Tensor:
    """Mean over factors of (I1 - I2) / H, with I1, I2 its largest mutual informations with a code; higher is better.

    0 to 1; 1 if each factor is determined by one code, and no other code depends on it (Chen et al. 2018, section 4.1).
    Codes [N, D] are put in bins of equal width as by Locatello et al. 2019, factors [N, F] if they have more values
    than bins.
    """
    from sklearn.metrics import mutual_info_score

    _gap_checks(codes, factors, bins)
    checks.finite(codes=codes, factors=factors)
    binned = [_binned(code, bins).numpy() for code in codes.double().T]
    gaps = []
    for index, factor in enumerate(factors.double().T):
        values = torch.unique(factor, return_inverse=True)[1]
        values = (_binned(factor, bins) if values.max() >= bins else values).numpy()
        entropy = mutual_info_score(values, values)
        if entropy <= 0:
            raise ValueError(f"factor {index} is the same in all samples, expected one that varies")
        best, second = sorted((mutual_info_score(values, code) for code in binned), reverse=True)[:2]
        gaps.append((best - second) / entropy)
    return torch.tensor(gaps).mean()


def _binned(values: Tensor, bins: int) -> Tensor:
    """The index of each value's bin, of equal widths between the least and the largest."""
    low, high = values.aminmax()
    return ((values - low) / (high - low).clamp_min(1e-12) * bins).long().clamp_max(bins - 1)


def _votes_checks(codes: Tensor, fixed: Tensor) -> None:
    checks.dimensions("G, M, D", codes=codes)
    checks.dimensions("G", fixed=fixed)
    checks.same_count(codes=codes, fixed=fixed)
    checks.samples(1, codes=codes)
    if codes.shape[1] < 2:
        raise ValueError(f"codes are {list(codes.shape)}, expected at least 2 samples in each group")


@metric(expects=_votes_checks)
def factor_vae_score(codes: Tensor, fixed: Tensor) -> Tensor:
    """The accuracy of telling which factor a group shares from its least varying code; higher is better, 0 to 1.

    Kim and Mnih 2018, section 4: of each group of codes [G, M, D], the code with the least variance relative to all
    groups votes, and each code stands for the factor that it votes for most. `fixed` [G] is the index of the factor
    that each group shares. Codes that never vary do not vote.
    """
    _votes_checks(codes, fixed)
    checks.finite(codes=codes)
    (factors,) = checks.integers(fixed=fixed)
    spread = codes.double().flatten(0, 1).var(0)
    alive = spread > 0
    if not alive.any():
        raise ValueError("no code varies, expected at least one that does")
    votes = (codes.double().var(1)[:, alive] / spread[alive]).argmin(1)
    table = torch.zeros(int(alive.sum()), int(factors.max()) + 1)
    table.index_put_((votes, factors), torch.ones(len(votes)), accumulate=True)
    return table.amax(1).sum() / len(votes)


def _units_checks(mean: Tensor, logvar: Tensor, threshold: float = 0.05) -> None:
    checks.dimensions("N, D", mean=mean)
    checks.alike(mean=mean, logvar=logvar)
    checks.samples(1, mean=mean)


@metric(expects=_units_checks)
def active_units(mean: Tensor, logvar: Tensor, threshold: float = 0.05) -> Tensor:
    """The share of the numbers of a code whose KL(N(mean, e^logvar) || N(0, 1)) exceeds `threshold`, 0 to 1.

    Each number's divergence is its mean over the codes [N, D], in nats; near 0 the number says nothing about the
    sample. After Burda et al. 2015, who ask instead that the variance of the means exceeds 0.01.
    """
    _units_checks(mean, logvar, threshold)
    checks.finite(mean=mean, logvar=logvar)
    mean, logvar = mean.double(), logvar.double()
    divergences = 0.5 * (mean.square() + logvar.exp() - logvar - 1).mean(0)
    return (divergences > threshold).float().mean()


def _pca_checks(train: Tensor, test: Tensor, components: int) -> None:
    checks.samples(2, train=train)
    checks.samples(1, test=test)
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(f"train is {list(train.shape)} and test {list(test.shape)}, expected samples of one shape")
    most = min(len(train), train.shape[1:].numel())
    if not 1 <= components <= most:
        raise ValueError(f"components is {components}, expected 1 to {most}: as many as samples or numbers of train")


@metric(
    expects=_pca_checks,
    protocol=lambda *, components: {"components": components, "solver": "exact, of centred samples"},
    sets=(("train",), ("test",)),
)
def pca_error(train: Tensor, test: Tensor, components: int) -> Tensor:
    """|x - m - W W' (x - m)|^2, mean over test samples, with W the principal components of train and m its mean.

    What is lost of a sample [D], or of an image with D numbers, in a linear code of so many numbers; lower is better,
    0 or more. No linear code of that size loses less of the training samples (Eckart and Young 1936).
    """
    from sklearn.decomposition import PCA

    _pca_checks(train, test, components)
    checks.finite(train=train, test=test)
    known, seen = (x.flatten(1).double().numpy() for x in (train, test))
    found = PCA(components, svd_solver="full").fit(known)
    lost = torch.from_numpy(seen - found.inverse_transform(found.transform(seen)))
    return lost.square().sum(1).mean().float()


def _decoding_checks(
    train_features: Tensor, train_targets: Tensor, test_features: Tensor, test_targets: Tensor
) -> None:
    checks.same_size(train_features=train_features, test_features=test_features)
    for name, x in {"train_targets": train_targets, "test_targets": test_targets}.items():
        if len(checks.shape(name, x)) not in (1, 2):
            raise ValueError(f"{name} are {list(x.shape)}, expected numbers [N] or [N, K]")
    if train_targets.shape[1:] != test_targets.shape[1:]:
        found = f"train_targets are {list(train_targets.shape)} and test_targets {list(test_targets.shape)}"
        raise ValueError(f"{found}, expected equally many numbers a sample")
    checks.same_count(train_features=train_features, train_targets=train_targets)
    checks.same_count(test_features=test_features, test_targets=test_targets)
    checks.samples(3, train_features=train_features)
    checks.samples(2, test_features=test_features)


@metric(
    expects=_decoding_checks,
    protocol=lambda: {"regression": "ridge, its penalty the best of 13 by leave-one-out", "scale": "standardised"},
    sets=(("train_features", "train_targets"), ("test_features", "test_targets")),
)
def linear_decoding(
    train_features: Tensor, train_targets: Tensor, test_features: Tensor, test_targets: Tensor
) -> Tensor:
    """r^2 of factors that ridge regression on features predicts, mean over the factors; higher is better, up to 1.

    The share of the variance of test targets [N] or [N, K] that is explained: 0 is no better than their mean. Features
    [N, D] are standardised by the training set's means and deviations. Each factor has the penalty that is best for
    the training set where one sample is left out, among 13 from 1e-3 to 1e9 (after Lotter et al. 2015).
    """
    import numpy as np
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _decoding_checks(train_features, train_targets, test_features, test_targets)
    checks.finite(
        train_features=train_features,
        train_targets=train_targets,
        test_features=test_features,
        test_targets=test_targets,
    )
    factors = test_targets.flatten(1) if test_targets.dim() > 1 else test_targets[:, None]
    if (factors == factors[0]).all(0).any():
        raise ValueError("a factor of test_targets is the same in all samples, expected one that varies")
    known, told, seen, true = (x.double().numpy() for x in (train_features, train_targets, test_features, test_targets))
    regression = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-3, 9, 13), alpha_per_target=True))
    return torch.tensor(r2_score(true, regression.fit(known, told).predict(seen)), dtype=torch.float32)
