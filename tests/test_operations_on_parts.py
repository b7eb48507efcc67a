"""`then:` on a part, a family and a layer: what is limited, what is not, and how it is told."""

import pytest
import torch

from gangraph.pipeline import check_phase, compile_phase
from gangraph.views.plan import plan_text
from tests.plans import compare
from tests.support import read, trainer

SPEC = """
gangraph: 1
name: parts
data: {{x: plane(std=1.0), z: normal(2)}}
networks:
  G: mlp(widths=[8], outputs=2)
  D:
    inputs: x
    parts: {{"block[k in 1..2]": "linear(6), tanh, linear(6)", head: "linear(1)"}}
    output: head(block[2](block[1](x)))
losses: {{judge: "mean(D(G(z))) - mean(D(x))", fool: "-mean(D(G(z)))"}}
train:
  batch: 8
  length: 10 steps
  optimizers: {{g: "sgd(G, lr=0.1)", d: "sgd(D, lr=0.5)"}}
  step: [{{update: d, minimize: judge, then: "{then}"}}, {{update: g, minimize: fool}}]
"""


@pytest.mark.parametrize(
    ("written", "limited"),
    [
        (
            "clip(D.block, -0.02, 0.02)",
            ("block_1.linear.", "block_1.linear_2.", "block_2.linear.", "block_2.linear_2."),
        ),
        ("clip(D.block[2], -0.02, 0.02)", ("block_2.linear.", "block_2.linear_2.")),
        ("clip(D.block[1].linear_2, -0.02, 0.02)", ("block_1.linear_2.",)),
        ("clip(D.head, -0.02, 0.02)", ("head.",)),
        ("clip(D, -0.02, 0.02)", ("block_", "head.")),
    ],
)
def test_only_the_parameters_at_the_place_are_limited(written: str, limited: tuple[str, ...]) -> None:
    free, run = (trainer(read(SPEC.format(then=text))) for text in ("clip(D, -9, 9)", written))
    free.step()
    run.step()
    by_hand = {
        name: p.clamp(-0.02, 0.02) if name.startswith(limited) else p
        for name, p in free.networks["D"].named_parameters()
    }
    for name, parameter in run.networks["D"].named_parameters():
        assert torch.equal(parameter, by_hand[name]), name
        assert (parameter.abs().max() <= 0.02) == name.startswith(limited), name


def test_the_length_of_each_unit_of_one_layer_is_limited() -> None:
    run = trainer(read(SPEC.format(then="max_norm(D.head, 0.1)")))
    run.train(3)
    assert float(run.networks["D"].get_parameter("head.linear.weight").norm(dim=1).detach().max()) <= 0.1 + 1e-12
    assert float(run.networks["D"].get_parameter("block_1.linear.weight").norm(dim=1).detach().max()) > 0.1


def test_plans_agree_and_tell_the_place() -> None:
    spec = read(SPEC.format(then="clip(D.block, -0.02, 0.02)"))
    assert compare(spec, 3).difference == ""
    assert "clip(D.block, -0.02, 0.02)" in plan_text(compile_phase(check_phase(spec, spec.phases[0])))


def test_a_part_that_is_clipped_does_not_bound_a_critic() -> None:
    codes = []
    for text in ("clip(D.head, -0.02, 0.02)", "clip(D, -0.02, 0.02)"):
        spec = read(SPEC.format(then=text))
        codes.append([problem.code for problem in check_phase(spec, spec.phases[0]).lints])
    assert "GG602" in codes[0] and "GG602" not in codes[1]
