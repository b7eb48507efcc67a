"""The likelihood of test samples under a density estimated from generated ones."""

import math
from typing import Any

import torch
from torch import Tensor

from gangraph.registry import metric
from gangraph.vocabulary.metrics import checks
from gangraph.vocabulary.pretrained import slices

_CHUNK = 256  # test samples that are compared with all generated ones at a time
_GRID = (0.1, 0.129, 0.167, 0.215, 0.278, 0.359, 0.464, 0.599, 0.774, 1.0)  # ten steps of equal ratio


def _parzen_checks(samples: Tensor, test: Tensor, validation: Tensor, sigmas: tuple[float, ...] = _GRID) -> None:
    checks.samples(1, samples=samples, test=test, validation=validation)
    if not samples.shape[1:] == test.shape[1:] == validation.shape[1:] or samples.dim() < 2:
        found = f"samples {list(samples.shape)}, test {list(test.shape)} and validation {list(validation.shape)}"
        raise ValueError(f"{found}: expected [N, ...] of one shape behind the number of samples")
    if not sigmas:
        raise ValueError("sigmas is empty, expected at least one width")
    checks.positive(sigmas=min(sigmas))


def _parzen_protocol(*, sigmas: tuple[float, ...]) -> dict[str, Any]:
    return {"kernel": "round Gaussian", "sigmas": list(sigmas), "choice": "best mean log-likelihood of validation"}


@metric(expects=_parzen_checks, protocol=_parzen_protocol, sets=(("samples",), ("test",), ("validation",)))
def parzen(samples: Tensor, test: Tensor, validation: Tensor, sigmas: tuple[float, ...] = _GRID) -> Tensor:
    """Mean log-likelihood in nats of a test sample under Gaussians around the samples; higher is better, of any sign.

    Breuleux et al. 2011, as in Goodfellow et al. 2014, section 5: samples are flattened, and the width is that of
    `sigmas` which is best for the validation samples. Nats depend on the scale of values: images have to be in [0, 1],
    which is (x + 1) / 2 of images in [-1, 1].
    """
    _parzen_checks(samples, test, validation, sigmas)
    given = {"samples": samples, "test": test, "validation": validation}
    if samples.dim() >= 4:
        checks.inside(0, 1, **given)
    checks.finite(**given)
    centres, seen, held_out = (x.flatten(1).double() for x in given.values())
    by_width = _log_likelihoods(centres, held_out, sigmas)
    best = sigmas[int(by_width.argmax())]
    return _log_likelihoods(centres, seen, (best,))[0].float()


def _log_likelihoods(centres: Tensor, points: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    """Mean over points [M, D] of log mean_n N(point; centre_n, sigma^2), for each sigma."""
    count, size = centres.shape
    widths = centres.new_tensor(sigmas)
    total = torch.zeros_like(widths)
    for part in slices(points, _CHUNK):
        exponents = torch.cdist(part, centres, compute_mode="donot_use_mm_for_euclid_dist").square() / -2
        total += torch.stack([(exponents / width**2).logsumexp(1).sum() for width in widths])
    return total / len(points) - math.log(count) - size * (widths * math.sqrt(2 * math.pi)).log()
