"""Likelihoods and divergences against torch.distributions and closed forms."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

import gangraph
from gangraph.errors import SpecError
from gangraph.vocabulary.losses import (
    bernoulli_nll,
    cross_entropy,
    gaussian_nll,
    kl,
    kl_between,
    laplace_nll,
    relativistic_critic,
    relativistic_generator,
)
from tests.support import normals, read, trainer

SHAPES = pytest.mark.parametrize("shape", [(5, 3), (5, 2, 4, 4)], ids=["vectors", "maps"])


def summed(x: Tensor) -> float:
    """The mean over the batch of what each sample sums to."""
    return float(x.flatten(1).sum(1).mean())


@SHAPES
def test_kl_to_the_standard_normal(shape: tuple[int, ...]) -> None:
    mean, logvar = normals(2, *shape)
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    assert float(kl(mean, logvar)) == pytest.approx(summed(expected), rel=1e-12)
    assert float(kl(0 * mean, 0 * logvar)) == 0


@SHAPES
def test_kl_between_two_gaussians(shape: tuple[int, ...]) -> None:
    mean, logvar, prior_mean, prior_logvar = normals(4, *shape)
    prior = Normal(prior_mean, (0.5 * prior_logvar).exp())
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), prior)
    assert float(kl_between(mean, logvar, prior_mean, prior_logvar)) == pytest.approx(summed(expected), rel=1e-12)
    assert float(kl_between(mean, logvar, 0 * mean, 0 * mean)) == pytest.approx(float(kl(mean, logvar)), rel=1e-12)


@SHAPES
def test_gaussian_likelihood(shape: tuple[int, ...]) -> None:
    prediction, target, logvar = normals(3, *shape)
    for std in (1.0, 0.3, (0.5 * logvar).exp()):
        expected = -Normal(prediction, torch.as_tensor(std)).log_prob(target)
        assert float(gaussian_nll(prediction, target, std)) == pytest.approx(summed(expected), rel=1e-6)


@SHAPES
def test_laplace_likelihood(shape: tuple[int, ...]) -> None:
    prediction, target = normals(2, *shape)
    expected = -Laplace(prediction, torch.tensor(0.3, dtype=torch.float64)).log_prob(target)
    assert float(laplace_nll(prediction, target, 0.3)) == pytest.approx(summed(expected), rel=1e-6)


@SHAPES
def test_bernoulli_likelihood(shape: tuple[int, ...]) -> None:
    logits, x = normals(2, *shape)
    binary = (x > 0).double()
    expected = -Bernoulli(logits=logits).log_prob(binary)
    assert float(bernoulli_nll(logits, binary)) == pytest.approx(summed(expected), rel=1e-12)
    between = torch.full_like(logits, 0.25)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) * logits[0].numel()
    assert float(bernoulli_nll(between.logit(), between)) == pytest.approx(entropy)


def test_unlike_shapes_and_scales_are_refused() -> None:
    x, row = torch.zeros(4, 3), torch.zeros(4, 1)
    for wrong in (
        lambda: kl(x, row),
        lambda: kl_between(x, x, row, x),
        lambda: kl_between(x, x, x, row),
        lambda: gaussian_nll(x, row),
        lambda: bernoulli_nll(x, row),
        lambda: laplace_nll(row, x),
    ):
        with pytest.raises(ValueError, match="the shapes differ"):
            wrong()
    with pytest.raises(ValueError, match=r"std is 0\.0, expected a positive number"):
        gaussian_nll(x, x, 0.0)
    with pytest.raises(ValueError, match="scale is -1, expected a positive number"):
        laplace_nll(x, x, -1)


CODED = """
gangraph: 1
name: coded
data: {{x: plane(std=0.3)}}
networks:
  E: {{inputs: x, parts: {{mean: linear(2), logvar: linear(2)}}, outputs: {{mean: mean(x), logvar: logvar(x)}}}}
values:
  code: E(x)
  z: code.mean + exp(0.5 * code.logvar) * normal(2)
losses:
  cost: gaussian_nll(z, x, {std})
  rate: {rate}
train:
  batch: 4
  length: 100 steps
  optimizers: {{e: "adam(E, lr=1e-3)"}}
  step: [{{update: e, minimize: cost + rate}}]
"""


@pytest.mark.parametrize("std", ["0.5", "exp(0.5 * code.logvar)", "linear(1, 0.5)"])
def test_a_deviation_is_a_number_a_value_or_a_ramp(std: str) -> None:
    assert trainer(read(CODED.format(std=std, rate="kl(code.mean, code.logvar)"))).step()["cost"] > 0


def test_a_deviation_is_no_text() -> None:
    with pytest.raises(SpecError) as refusal:
        trainer(read(CODED.format(std='"wide"', rate="kl(code.mean, code.logvar)")))
    assert "expected:  a value or a number" in str(refusal.value)


def test_a_weight_that_goes_in_cycles() -> None:
    """Four steps up and four steps at 1, again and again: `%` on time (Fu et al. 2019)."""
    made = trainer(read(CODED.format(std="1", rate="min(step % 8 / 4, 1)")))
    assert [made.step()["rate"] for _ in range(12)] == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("objective", "warned"),
    [
        ("l2(told, x) + kl(code.mean, code.logvar)", True),
        ("2 * (0.5 * l1(told, x) + kl(code.mean, code.logvar))", True),
        ("768 * l2(told, x) + 0.5 * kl(code.mean, code.logvar)", False),
        ("l2(told, x) + kl(code.mean, code.logvar) / 768", False),
        ("gaussian_nll(told, x) + kl(code.mean, code.logvar)", False),
        ("gaussian_nll(told, x) + kl(code.mean, code.logvar) + l2(code.mean, normal(4))", False),
        ("l2(told, x)", False),
    ],
)
def test_a_mean_is_warned_of_beside_a_divergence_that_outweighs_it(objective: str, warned: bool) -> None:
    (checked,) = gangraph.check_spec(read(PAINTED.format(objective=objective)))
    assert [problem.code for problem in checked.lints] == (["GG624"] if warned else [])


PAINTED = """
gangraph: 1
name: painted
data: {{x: world(size=16)}}
networks:
  E: gaussian_mlp(widths=[8], latents=4)
  D: mlp(widths=[8], outputs=768, final=tanh)
values:
  code: E(x)
  told: reshape(D(code.mean + exp(0.5 * code.logvar) * normal(4)), 3, 16, 16)
losses:
  cost: {objective}
train:
  batch: 4
  length: 10 steps
  optimizers: {{coder: "adam([E, D], lr=1e-3)"}}
  step: [{{update: coder, minimize: cost}}]
"""


def test_a_deviation_has_the_shape_of_the_prediction() -> None:
    with pytest.raises(ValueError, match=r"std is \[3\], expected one number or \[3, 3\]"):
        gaussian_nll(torch.zeros(3, 3), torch.zeros(3, 3), torch.ones(3))


@pytest.mark.parametrize("label", [-1, 2, 1.5, True])
def test_one_class_for_all_is_one_of_the_classes(label: object) -> None:
    with pytest.raises(ValueError, match=f"label is {label}, expected a class from 0 to 1"):
        cross_entropy(torch.zeros(4, 2), label)  # type: ignore[arg-type]  # what a spec could write


def test_the_relativistic_game_compares_pairs() -> None:
    real, fake = normals(2, 5, 1)
    critic = torch.log1p(torch.exp(-(real - fake))).mean()
    generator = torch.log1p(torch.exp(-(fake - real))).mean()
    assert float(relativistic_critic(real, fake)) == pytest.approx(float(critic), rel=1e-12)
    assert float(relativistic_generator(real, fake)) == pytest.approx(float(generator), rel=1e-12)
    assert float(relativistic_critic(real, real)) == pytest.approx(math.log(2), rel=1e-12)
    for loss in (relativistic_critic, relativistic_generator):
        with pytest.raises(ValueError, match="the shapes differ"):
            loss(real, fake[:, 0])
