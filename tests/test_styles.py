"""The layers and ops of growing and of style-based generators against plain formulas, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer
from gangraph.run.networks import frozen
from gangraph.vocabulary import layers, styles
from tests.support import normals, read, small, trainer

F64 = torch.float64
LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6), 6),
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 5), 27),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5), 18),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3), (2, 3, 5, 5), 27),
    "grouped transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 5), 18),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_an_equalized_layer_is_the_layer_with_scaled_parameters(kind: str) -> None:
    make, shape, inputs = LAYERS[kind]
    plain, wrapped = make().double(), styles.equalized(make(), gain=1.5, rate=0.1).double()
    stored = {name: wrapped.get_parameter(f"parametrizations.{name}.original") for name in ("weight", "bias")}
    with torch.no_grad():
        for value in stored.values():
            value.normal_()
        plain.weight.copy_(stored["weight"] * 0.1 * 1.5 / math.sqrt(inputs))
        plain.bias.copy_(stored["bias"] * 0.1)
    (x,) = normals(1, *shape)
    torch.testing.assert_close(wrapped(x), plain(x), rtol=1e-12, atol=1e-12)
    assert {name for name, _ in wrapped.named_parameters()} == {f"parametrizations.{n}.original" for n in stored}


def test_gradients_of_an_equalized_layer_are_scaled_too() -> None:
    layer = styles.equalized(nn.Linear(6, 4), gain=2.0, rate=0.5).double()
    (x,) = normals(1, 3, 6)
    layer(x).sum().backward()
    stored = layer.get_parameter("parametrizations.weight.original")
    assert stored.grad is not None
    torch.testing.assert_close(stored.grad, x.sum(0).expand(4, 6) / math.sqrt(6))


def test_equalized_wraps_whatever_has_a_weight_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="a layer with a weight"):
        styles.equalized(nn.Tanh())


@pytest.mark.parametrize(("inner", "start"), [("noise", 0.0), ("instance_norm(affine=true)", 1.0)])
def test_a_number_for_each_channel_keeps_its_start_and_learns_as_fast_as_asked(inner: str, start: float) -> None:
    spec = small(networks_g=f"{{inputs: z, layers: 'linear(12), reshape(3, 2, 2), equalized({inner}, rate=0.5), "
                 "flatten, linear(2)'}")  # fmt: skip
    layer = trainer(spec).networks["G"].get_submodule("layers.equalized")
    stored = layer.get_parameter("parametrizations.weight.original")
    assert torch.equal(layer.weight.detach(), torch.full((3,), start, dtype=torch.float64))
    assert torch.equal(stored.detach(), torch.full((3,), 2 * start, dtype=torch.float64))


@pytest.mark.parametrize("wrong", [{"gain": 0.0}, {"rate": -1.0}])
def test_equalized_refuses_a_scale_of_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        styles.equalized(nn.Linear(2, 2), **wrong)


def _first(network: str, init: str = "") -> nn.Module:
    spec = small(networks_g=f"{{inputs: z, {init} layers: '{network}, linear(2)'}}")
    return trainer(spec).networks["G"].get_submodule("layers")


def test_equalized_weights_start_normal_and_biases_at_zero() -> None:
    layer = _first("equalized(linear(4000), rate=0.01)").get_submodule("equalized")
    stored, bias = (layer.get_parameter(f"parametrizations.{name}.original") for name in ("weight", "bias"))
    assert abs(float(stored.detach().std()) / 100 - 1) < 0.05
    assert abs(float(layer.weight.detach().std()) * math.sqrt(2) - 1) < 0.05
    assert not bias.any()


def test_init_sets_what_an_equalized_layer_stores() -> None:
    layer = _first("equalized(linear(3), rate=0.5)", "init: {linear: constant(3), bias: constant(2)},")
    equalized = layer.get_submodule("equalized")
    assert (equalized.get_parameter("parametrizations.weight.original") == 3).all()
    torch.testing.assert_close(equalized.bias, torch.ones(3, dtype=F64))


def test_the_frozen_form_of_an_equalized_layer_shares_its_storage() -> None:
    layer = styles.equalized(nn.Linear(3, 2)).double()
    twin = frozen(layer)
    with torch.no_grad():
        layer.get_parameter("parametrizations.weight.original").fill_(2.0)
    torch.testing.assert_close(twin.weight, layer.weight)
    assert not any(p.requires_grad for p in twin.parameters())


def test_pixel_norm_divides_by_the_root_mean_square_of_the_channels() -> None:
    (x,) = normals(1, 2, 5, 3, 3)
    expected = x / (x.pow(2).sum(1, keepdim=True) / 5 + 1e-8).sqrt()
    torch.testing.assert_close(styles.pixel_norm(x), expected)
    torch.testing.assert_close(styles.pixel_norm(x[:, :, 0, 0]), expected[:, :, 0, 0])


def test_blur_is_the_convolution_of_each_channel() -> None:
    (x,) = normals(1, 2, 3, 6, 5)
    row = torch.tensor([1.0, 2.0, 1.0], dtype=F64)
    kernel = (torch.outer(row, row) / 16).expand(3, 1, 3, 3)
    torch.testing.assert_close(styles.blur(x), functional.conv2d(x, kernel, padding=1, groups=3))


@pytest.mark.parametrize("op", [styles.pixel_norm, styles.blur], ids=["pixel_norm", "blur"])
def test_ops_can_be_differentiated_twice(op: Callable[[Tensor], Tensor]) -> None:
    (x,) = normals(1, 2, 3, 3, 4)
    x.requires_grad_()
    assert torch.autograd.gradcheck(op, (x,))
    assert torch.autograd.gradgradcheck(op, (x,))


def test_a_penalty_differentiates_through_an_equalized_discriminator() -> None:
    layer = styles.equalized(nn.Conv2d(2, 3, 3, padding=1), gain=1.4, rate=0.5).double()
    stored = layer.get_parameter("parametrizations.weight.original")
    (x,) = normals(1, 2, 2, 4, 4)

    def slope(weight: Tensor) -> Tensor:
        image = x.clone().requires_grad_()
        used = {"parametrizations.weight.original": weight}
        score = torch.func.functional_call(layer, used, (image,))
        (gradient,) = torch.autograd.grad(styles.blur(functional.softplus(score)).sum(), image, create_graph=True)
        return gradient.square().sum()

    assert torch.autograd.gradcheck(slope, (stored.detach().clone().requires_grad_(),))


def test_a_learned_constant_is_the_same_for_every_sample_and_starts_at_one() -> None:
    layer = styles.LearnedConstant(3, 4, 4).double()
    made = layer(torch.zeros(5, 2))
    assert made.shape == (5, 3, 4, 4)
    assert (made == 1).all()
    made.sum().backward()
    assert layer.value.grad is not None
    assert (layer.value.grad == 5).all()


def test_a_codebook_is_the_same_for_every_sample_and_as_long_as_its_input_has_channels() -> None:
    layer = layers.codebook(torch.zeros(5, 3, 2, 2), codes=4).double()
    made = layer(torch.zeros(5, 3, 2, 2))
    assert made.shape == (5, 4, 3)
    assert (made == layer.get_parameter("weight")).all()
    made.sum().backward()
    gradient = layer.get_parameter("weight").grad
    assert gradient is not None
    assert (gradient == 5).all()


@pytest.mark.parametrize("shape", [(), (3, 0), (2.5,), (True,)])
def test_a_learned_constant_needs_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="whole numbers of at least 1"):
        styles.LearnedConstant(*shape)


def test_a_running_mean_moves_in_training_alone() -> None:
    layer = styles.running_mean(torch.zeros(4, 3), decay=0.9).double()
    first, second = normals(2, 4, 3)
    first.requires_grad_()
    made = layer(first)
    torch.testing.assert_close(made, (0.1 * first.mean(0)).detach().expand(4, 3))
    assert not made.requires_grad
    layer(second)
    expected = 0.9 * 0.1 * first.detach().mean(0) + 0.1 * second.mean(0)
    torch.testing.assert_close(layer.mean, expected)
    torch.testing.assert_close(made, (0.1 * first.mean(0)).detach().expand(4, 3))  # which the next call leaves alone
    layer.eval()
    torch.testing.assert_close(layer(first)[2], expected)
    torch.testing.assert_close(layer.mean, expected)


def test_a_running_mean_refuses_a_decay_of_one() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        styles.running_mean(torch.zeros(4, 3), decay=1.0)


MAPPED = """
gangraph: 1
name: mapped
data: {x: plane(std=0.3), z: normal(4), other: normal(4)}
networks:
  M: mapping(features=4, depth=2, decay=0.9)
  S: {inputs: w, layers: linear(2)}
  D: mlp(widths=[4])
  Ms: average(M, decay=0.5)
values:
  w: M(z)
  v: M(other)
  fake: S(lerp(w, v, 0.5))
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  length: 10 steps
  optimizers: {g: "sgd([M, S], lr=0.1)", d: "sgd(D, lr=0.1)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
evaluate:
  values: {near: "S(lerp(Ms(z).average, Ms(z), 0.7))"}
  metrics: {far: mean(near)}
"""


@pytest.mark.parametrize("plan", [{}, {"merge": False}], ids=["merged", "apart"])
def test_the_mean_of_a_mapping_follows_every_call_though_training_does_not_read_it(plan: dict[str, bool]) -> None:
    engine: Trainer = trainer(read(MAPPED), **plan)
    z, other = normals(2, 4, 4)
    part = engine.networks["M"].get_submodule("map")
    with torch.no_grad():
        codes = []
        for code in (z, other):
            w = styles.pixel_norm(code)
            for layer in part.children():
                w = functional.leaky_relu(layer(w), 0.2)
            codes.append(w.mean(0))
    engine.step({"x": torch.zeros(4, 2, dtype=F64), "z": z, "other": other})
    expected = 0.9 * 0.1 * codes[0] + 0.1 * codes[1]
    torch.testing.assert_close(engine.networks["M"].get_buffer("track.running_mean.mean"), expected)
    torch.testing.assert_close(engine.networks["Ms"].get_buffer("track.running_mean.mean"), expected)
    before = engine.networks["M"].get_buffer("track.running_mean.mean").clone()
    engine.evaluate()
    assert torch.equal(before, engine.networks["M"].get_buffer("track.running_mean.mean"))


def test_crossover_gives_early_layers_the_first_style() -> None:
    first, second = torch.zeros(3, 2), torch.ones(3, 2)
    per_sample = styles.crossover(first, second, torch.tensor([[0.0], [1.5], [4.0]]), 4)
    assert per_sample[:, :, 0].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert per_sample.shape == (3, 4, 2)
    for_all = [styles.crossover(first, second, at, 4) for at in (2, torch.tensor(2.0))]
    assert all(made[:, :, 1].tolist() == [[0, 0, 1, 1]] * 3 for made in for_all)


def test_crossover_passes_gradients_to_the_style_that_is_used() -> None:
    first, second = (x.requires_grad_() for x in normals(2, 2, 3))
    styles.crossover(first, second, torch.tensor([1.0, 3.0]), 4).sum().backward()
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad[:, 0].tolist() == [1, 3]
    assert second.grad[:, 0].tolist() == [3, 1]


def test_what_is_no_image_is_not_blurred() -> None:
    with pytest.raises(ValueError, match="expected images"):
        styles.blur(torch.zeros(4, 4))


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 3)])
def test_crossover_takes_two_styles_of_one_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected two styles"):
        styles.crossover(torch.zeros(2, 3), torch.zeros(shape), torch.tensor(1.0), 4)


@pytest.mark.parametrize(
    "layer",
    [
        styles.equalized(nn.Linear(2, 3), rate=0.1),
        styles.LearnedConstant(2, 3),
        styles.RunningMean(torch.ones(1, 2), 0.9),
    ],
)
def test_layers_print_their_arguments(layer: nn.Module) -> None:
    assert any(text in repr(layer) for text in ("scale=0.07071", "LearnedConstant(2, 3)", "RunningMean(2, decay=0.9)"))
