"""Layers that couple the samples of a batch, weight norm and noise: closed forms, planning, evaluation and resume."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import gangraph
from gangraph.errors import SpecError
from gangraph.session.run import measure_now
from gangraph.vocabulary.coupled import BatchError, MinibatchDiscrimination, batch_mean, minibatch_std
from gangraph.vocabulary.layers import GaussianNoise, weight_norm
from gangraph.vocabulary.ops import logsumexp, total
from tests.support import normals, read, refused, same, small, snapshot, trainer

COUPLED = "{inputs: x, layers: 'linear(6), relu, minibatch_discrimination(3, 2), linear(1)'}"


def test_minibatch_discrimination_is_the_papers_sum_over_the_other_samples() -> None:
    (x,) = normals(1, 5, 3)
    layer: Any = MinibatchDiscrimination(3, kernels=4, dims=2, length=None).double()
    (layer.bias.data,) = normals(1, 4, seed=1)
    layer.requires_grad_(False)
    tensor = layer.weight.reshape(4, 2, 3)
    for i in range(5):
        for b in range(4):
            near = sum(math.exp(-float((tensor[b] @ x[i] - tensor[b] @ x[j]).abs().sum())) for j in range(5) if j != i)
            assert float(layer(x)[i, 3 + b]) == pytest.approx(near + float(layer.bias[b]))
    assert torch.equal(layer(x)[:, :3], x)


def test_the_papers_formula_also_counts_the_sample_itself() -> None:
    (x,) = normals(1, 5, 3)
    without = MinibatchDiscrimination(3, 4, 2).double()
    own = MinibatchDiscrimination(3, 4, 2, own=True).double()
    own.load_state_dict(without.state_dict())
    assert torch.allclose(own(x)[:, 3:], without(x)[:, 3:] + 1)


def test_equal_samples_are_as_near_as_samples_can_be() -> None:
    layer = MinibatchDiscrimination(3, 4, 2, bias=False)
    assert torch.allclose(layer(torch.ones(6, 3))[:, 3:], torch.full((6, 4), 5.0))


def test_normalised_columns_have_the_length_of_their_scale() -> None:
    layer = MinibatchDiscrimination(7, 2, 3, length=2.5)
    assert torch.allclose(layer._columns().norm(dim=0), torch.full((6,), 2.5))


def test_gradients_of_minibatch_discrimination_are_those_of_finite_differences_twice() -> None:
    layer = MinibatchDiscrimination(2, 2, 2).double()
    inputs = (normals(1, 3, 2)[0].requires_grad_(), *layer.parameters())

    def score(x: Tensor, *_: Tensor) -> Tensor:
        made: Tensor = layer(x)
        return made.sin().sum()

    assert torch.autograd.gradcheck(score, inputs)
    assert torch.autograd.gradgradcheck(score, inputs)


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 4), (8, 3, 4, 5)])
def test_minibatch_std_is_the_mean_deviation_of_strided_groups(shape: tuple[int, ...]) -> None:
    (x,) = normals(1, *shape)
    made = minibatch_std(x, group=4)
    assert made.shape == (8, 4, *shape[2:])
    assert torch.equal(made[:, :3], x)
    for n in range(8):
        group = torch.stack([x[m] for m in range(8) if m % 2 == n % 2])
        spread = ((group - group.mean(0)).pow(2).mean(0) + 1e-8).sqrt().mean()
        assert torch.allclose(made[n, 3], spread.expand(shape[2:]))


def test_minibatch_std_takes_a_small_batch_as_one_group() -> None:
    (x,) = normals(1, 3, 2)
    assert torch.equal(minibatch_std(x, group=4), minibatch_std(x, group=3))


@pytest.mark.parametrize("couple", [lambda x: minibatch_std(x), lambda x: MinibatchDiscrimination(2)(x)])
def test_a_batch_of_one_has_nobody_to_be_compared_with(couple: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(BatchError, match="a batch of 1 has no two"):
        couple(torch.zeros(1, 2))


def test_batch_mean_keeps_features_and_total_keeps_nothing() -> None:
    x = torch.arange(12.0).reshape(3, 4)
    assert batch_mean(x).tolist() == [[4, 5, 6, 7]]
    assert total(x).item() == 66


def test_logsumexp_is_stable_and_that_of_one_class_is_its_score() -> None:
    assert logsumexp(torch.tensor([[1000.0, 1000.0]])).item() == pytest.approx(1000 + math.log(2))
    assert logsumexp(torch.tensor([[3.0], [-4.0]])).tolist() == [3, -4]


@pytest.mark.parametrize(
    ("make", "dim", "shape"),
    [
        (lambda: nn.Linear(3, 4), 0, (2, 3)),
        (lambda: nn.Conv2d(3, 4, 3), 0, (2, 3, 5, 5)),
        (lambda: nn.ConvTranspose2d(3, 4, 3), 1, (2, 3, 5, 5)),
    ],
)
def test_weight_norm_is_torchs_with_one_length_for_each_output(
    make: Callable[[], Any], dim: int, shape: tuple[int, ...]
) -> None:
    (x,) = normals(1, *shape)
    plain = make().double()
    mine, theirs = make().double(), make().double()
    parametrizations.weight_norm(theirs, dim=dim)
    for module in (mine, theirs):
        module.load_state_dict(plain.state_dict(), strict=False)
    (gains,) = normals(1, 4, seed=2)
    weight_norm(mine)
    made, expected = mine.parametrizations.weight, theirs.parametrizations.weight
    made[0].gain.data.copy_(gains)
    expected.original1.data.copy_(made.original)
    expected.original0.data.copy_(gains.reshape(expected.original0.shape))
    assert torch.allclose(mine(x), theirs(x))


def test_a_fixed_length_is_no_parameter() -> None:
    layer: Any = weight_norm(nn.Linear(3, 4), scale=False, gain=2.0)
    assert sum(p.numel() for p in layer.parameters()) == 16
    assert torch.allclose(layer.weight.norm(dim=1), torch.full((4,), 2.0))


def test_init_sets_the_direction_and_gain_the_length() -> None:
    layers = "'weight_norm(linear(40), gain=3), relu, linear(1)'"
    spec = small(networks_d=f"{{inputs: x, layers: {layers}, init: {{linear: 'normal(5, 0.001)'}}}}")
    layer: Any = trainer(spec).networks["D"].get_submodule("layers.weight_norm")
    assert torch.allclose(layer.parametrizations.weight.original.mean(), torch.tensor(5.0).double(), atol=0.01)
    assert torch.allclose(layer.weight.norm(dim=1), torch.full((40,), 3.0).double())


def test_normal_noise_has_its_deviation_in_training_and_is_none_in_evaluation() -> None:
    layer, x = GaussianNoise(0.3), torch.zeros(20000)
    noise = layer.draw((20000,), torch.Generator().manual_seed(0), x)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(layer(x, noise), noise)
    assert layer(x).std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(layer.eval()(x), x)


def test_a_negative_deviation_is_refused() -> None:
    spec = small(networks_d="{inputs: x, layers: 'gaussian_noise(-0.1), linear(1)'}")
    with pytest.raises(SpecError, match="a standard deviation is at least 0"):
        gangraph.check_spec(spec)


def test_an_evaluation_has_no_noise_in_evaluation_mode_and_some_in_training_mode() -> None:
    noisy = "{inputs: x, layers: 'gaussian_noise(0.5), linear(1)'}"
    seen = {}
    for mode in ("eval", "train"):
        evaluate = f"evaluate:\n  samples: 4\n  mode: {mode}\n  grid: [x]\n  metrics: {{score: mean(D(x))}}"
        engine = trainer(small(networks_d=noisy, evaluate=evaluate))
        look = engine.evaluate()
        assert look is not None
        with torch.no_grad():
            seen[mode] = look.metrics["score"] - float(engine.networks["D"].eval()(look.grid["x"]).mean())
    assert seen["eval"] == pytest.approx(0, abs=1e-6)
    assert abs(seen["train"]) > 1e-3


def _merged_calls(**parts: str) -> int:
    plan = trainer(small(**parts)).engine.program.plan
    return sum(len(segment.merges) for update in plan.updates for segment in update.segments)


def test_calls_of_a_coupled_network_are_never_merged() -> None:
    assert _merged_calls() == 1
    assert _merged_calls(networks_d=COUPLED) == 0
    assert _merged_calls(networks_d="{inputs: x, layers: 'linear(6), minibatch_std, linear(1)'}") == 0


def test_real_and_fake_are_coupled_by_one_call_on_both() -> None:
    apart = trainer(small(networks_d=COUPLED))
    joint = "bce(D(cat(x, fake, dim=0)), 0)"
    together = trainer(small(networks_d=COUPLED, judge=joint))
    x, z = normals(2, 4, 2)
    with torch.no_grad():
        network = together.networks["D"]
        fake = together.networks["G"](z)
        whole, parts = network(torch.cat([x, fake])), torch.cat([network(x), network(fake)])
    assert not torch.allclose(whole, parts)
    target = nn.functional.binary_cross_entropy_with_logits(whole, torch.zeros_like(whole))
    assert together.step({"x": x, "z": z})["judge"] == pytest.approx(float(target))
    assert apart.step({"x": x, "z": z})["judge"] != pytest.approx(float(target))


EVALUATE = "evaluate:\n  samples: 4\n  result_samples: 10\n  results: {score: mean(D(fake))}"


def test_a_coupled_network_is_measured_on_whole_batches() -> None:
    coupled = trainer(small(networks_d=COUPLED, evaluate=EVALUATE))
    plain = trainer(small(evaluate=EVALUATE))
    assert measure_now(coupled)["score"].protocol["samples"] == 8
    assert measure_now(plain)["score"].protocol["samples"] == 10


def test_a_number_beside_a_coupled_network_is_measured_on_whole_batches_too() -> None:
    both = EVALUATE.replace("result_samples: 10", "result_samples: 9").replace("}", ", size: mean(norm(fake))}")
    found = measure_now(trainer(small(networks_d=COUPLED, evaluate=both)))
    assert {name: each.protocol["samples"] for name, each in found.items()} == {"score": 8, "size": 8}


@pytest.mark.parametrize("middle", ["mean(x)", "total(x)", "batch_mean(x)"])
def test_a_mean_over_the_batch_inside_a_network_couples_it(middle: str) -> None:
    network = f"{{inputs: x, parts: {{score: linear(1)}}, values: {{c: x - {middle}}}, output: score(c)}}"
    assert _merged_calls(networks_d=network) == 0


def test_a_coupled_network_that_cannot_take_what_is_looked_at_is_an_error_of_the_spec() -> None:
    evaluate = "evaluate:\n  data: {x: normal(3)}\n  grid: [x]\n  metrics: {score: mean(D(x))}"
    with pytest.raises(SpecError, match="GG402"):
        trainer(small(networks_d=COUPLED, evaluate=evaluate))


def test_batch_norm_couples_in_training_only() -> None:
    layers = "{{inputs: x, layers: 'linear(6), {}, linear(1)'}}"
    for layer, always in (("batch_norm", False), ("minibatch_std", True), ("layer_norm", False)):
        model = trainer(small(networks_d=layers.format(layer))).checked[0].networks["D"]
        assert (model.mixes_samples, model.couples_always) == (layer != "layer_norm", always)


def test_a_run_with_coupled_and_noisy_layers_resumes_to_the_same_bits(tmp_path: Path) -> None:
    noisy = (
        "{inputs: x, layers: 'gaussian_noise(0.1), weight_norm(linear(6)), minibatch_discrimination(3, 2), linear(1)'}"
    )
    spec = small(
        networks_d=noisy,
        more_networks="  G_mean: average(G, decay=step / (step + 1))",
        fool="logistic.generator(D(fake)) + total((parameters(G) - parameters(G_mean)) ** 2)",
    )
    first = trainer(spec, precision="fp32")
    first.train(3)
    first.save(tmp_path / "half")
    first.train(3)
    second = gangraph.Trainer.resume(tmp_path / "half", device="cpu")
    second.train(3)
    assert same(snapshot(first.networks), snapshot(second.networks))


def test_the_frozen_form_of_a_coupled_network_shares_its_weights() -> None:
    engine = trainer(small(networks_d=COUPLED.replace("linear(6)", "weight_norm(linear(6))"))).engine
    live, frozen = (dict(engine.networks.callable[name].named_parameters()) for name in ("D", "D_frozen"))
    assert live.keys() == frozen.keys()
    for name, parameter in live.items():
        assert parameter.data_ptr() == frozen[name].data_ptr()
        assert parameter.requires_grad and not frozen[name].requires_grad


def test_penalties_under_coupled_layers_are_warned_of_by_name() -> None:
    judge = "wasserstein.critic(real=D(x), fake=D(fake)) + mean((norm(grad(D(x), x)) - 1) ** 2)"
    (checked,) = gangraph.check_spec(small(networks_d=COUPLED, judge=judge))
    assert [(lint.code, lint.found) for lint in checked.lints] == [("GG601", "minibatch_discrimination")]


@pytest.mark.parametrize(("samples", "expected"), [(4, []), (8, ["4 and 8 samples"])])
def test_an_evaluation_of_another_batch_is_warned_of_where_numbers_grow_with_it(
    samples: int, expected: list[str]
) -> None:
    evaluate = f"evaluate:\n  samples: {samples}\n  metrics: {{score: mean(D(fake))}}"
    (checked,) = gangraph.check_spec(small(networks_d=COUPLED, evaluate=evaluate))
    assert [lint.found.partition(",")[0] for lint in checked.lints if lint.code == "GG623"] == expected
    (plain,) = gangraph.check_spec(small(networks_d=COUPLED.replace("minibatch_discrimination(3, 2)", "minibatch_std"),
                                         evaluate=evaluate))  # fmt: skip
    assert plain.lints == ()


def test_batch_norm_in_micro_batches_is_warned_of_too() -> None:
    norm = "{inputs: x, layers: 'linear(6), batch_norm, linear(1)'}"
    step = ("{update: d, minimize: judge, accumulate: 2}", "{update: g, minimize: fool}")
    (checked,) = gangraph.check_spec(small(*step, networks_d=norm))
    assert [(lint.code, lint.found) for lint in checked.lints] == [("GG622", "batch_norm with accumulate: 2")]


def test_the_samples_of_an_evaluation_are_those_of_whichever_input_has_the_batch() -> None:
    """A state that stands before it has as many rows as ever."""
    said = refused(
        read("""
gangraph: 1
name: second
data: {x: "plane(std=0.3, count=64)"}
networks:
  D: {inputs: [c, x], values: {y: "linear(3)(minibatch_std(x * c, group=4))"}, output: y}
state: {m: {start: "ones(1, 2)", next: "m"}}
losses: {judge: "mean(D(m, x))"}
train:
  batch: 4
  length: 3 steps
  optimizers: {d: "sgd(D, lr=0.01)"}
  step: [{update: d, minimize: judge}]
evaluate: {samples: 6, results: {r: "mean(D(m, x))"}}
""")
    )
    assert "GG540" in said
    assert "6 samples, by samples: under evaluate:" in said
