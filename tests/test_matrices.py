"""`weight_matrix(G.last.linear)` and `matrices(G)`: the weights of layers as matrices, for costs on them."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gangraph import Trainer
from gangraph.errors import SpecError
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.text import shapes_text
from tests.support import deviation, normals, read, same, small, snapshot, trainer, worst

TOLERANCE = 1e-9
STEPS = 20
PARTS_G = (
    '{inputs: z, parts: {body: "linear(4), tanh, batch_norm, spectral_norm(linear(5)), tanh", last: "linear(2)"},'
    ' values: {h: body(z), k: "h + weight_norm(linear(5))(h)"}, output: last(k)}'
)
ORTHOGONAL = (
    '0.1 * sum(total(einsum("i k, j k -> i j", w, w) ** 2)'
    " - total(norm(w) ** 4) for w in matrices(G))"  # ||w w^T (1 - I)||^2
)


def spec(cost: str = ORTHOGONAL, **parts: str) -> Spec:
    """A GAN whose generator has a cost on its matrices (Brock et al. 2018, equation 3)."""
    return small(networks_g=PARTS_G, fool=f"logistic.generator(D(fake)) + cost\n  cost: {cost}", **parts)


def matrices(g: nn.Module) -> list[torch.Tensor]:
    """What the layers of the generator store, by hand."""
    names = ("body.linear.weight", "body.spectral_norm.parametrizations.weight.original",
             "anonymous.weight_norm_1.parametrizations.weight.original", "last.linear.weight")  # fmt: skip
    return [g.get_parameter(name) for name in names]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("merge", [True, False])
def test_every_plan_trains_as_the_loop_by_hand(share: bool, merge: bool) -> None:
    run = trainer(spec(), share=share, merge=merge)
    g, d = (copy.deepcopy(run.networks[name]) for name in "GD")
    draws = normals(2 * STEPS, 4, 2, seed=7)
    for x, z in zip(draws[::2], draws[1::2], strict=True):
        logged = run.step({"x": x, "z": z})
        fake = g(z)
        judge = softplus(-d(x)).mean() + softplus(d(fake.detach())).mean()
        for weight, gradient in zip(d.parameters(), torch.autograd.grad(judge, list(d.parameters())), strict=True):
            weight.data -= 0.1 * gradient
        weights = [w.flatten(1) for w in matrices(g)]
        cost = 0.1 * sum((((w @ w.T) * (1 - torch.eye(len(w), dtype=w.dtype))) ** 2).sum() for w in weights)
        assert logged["cost"] == pytest.approx(float(cost.detach()), rel=1e-9)
        down = torch.autograd.grad(softplus(-d(fake)).mean() + cost, list(g.parameters()))
        for weight, gradient in zip(g.parameters(), down, strict=True):
            weight.data -= 0.1 * gradient
    found = (
        deviation(run.networks[name].state_dict()[path], tensor)
        for name, network in (("G", g), ("D", d))
        for path, tensor in network.state_dict().items()
    )
    assert worst(found) < TOLERANCE


def test_rows_are_outputs_and_embeddings_are_no_matrices() -> None:
    text = """
gangraph: 1
name: shapes
data: {z: normal(3), y: categorical(10)}
networks:
  G:
    inputs: [z, y]
    parts: {code: "embedding(10, 5)", up: "reshape(8, 1, 1), conv_transpose2d(4, 3), relu, conv2d(2, 3, bias=false)"}
    output: up(cat(z, code(y)))
values:
  a: weight_matrix(G.up.conv_transpose2d)
  b: weight_matrix(G.up.conv2d)
losses:
  cost: sum(total(w ** 2) for w in matrices(G)) - total(a ** 2) - total(b ** 2) + mean(G(z, y))
train:
  batch: 4
  length: 5 steps
  optimizers: {g: "sgd(G, lr=0.1)"}
  step: [{update: g, minimize: cost}]
"""
    made = read(text)
    (checked,) = check_spec(made)
    shown = shapes_text(checked)
    assert "a  [4, 72]" in " ".join(shown.split("  ")) or "[4, 72]" in shown
    assert "[2, 36]" in shown
    run = trainer(made)
    stored = run.networks["G"].get_parameter("up.conv_transpose2d.weight").detach().clone()
    program = run.engine.program
    (name,) = [each for each, form in program.forms.items() if "conv_transpose2d" in each and form.chosen]
    found = run.engine.networks.made({name: program.forms[name]})[name]()
    assert torch.equal(found, stored.transpose(0, 1).reshape(4, -1))


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    whole, first = trainer(spec()), trainer(spec())
    whole.train(steps=4)
    first.train(steps=2)
    first.save(tmp_path / "run")
    second = Trainer.resume(tmp_path / "run", device="cpu")
    second.train(steps=2)
    assert same(snapshot(whole.networks), snapshot(second.networks))


def test_every_reading_names_the_layers() -> None:
    made = spec()
    program = trainer(made).engine.program
    assert "G_matrix_last__linear() gives the parameters of G.last.linear as a matrix" in code_text(program)
    (checked,) = check_spec(made)
    assert r"W_{G.\mathrm{last.linear}}" in latex_text([checked])
    assert "weight_matrix(G.last.linear)" in " ".join(explain_text(made, [program.plan]).split())
    assert "matrix" in draw(checked.graph)
    other = spec(ORTHOGONAL.replace("matrices(G)", "matrices(G.body)"))
    assert fingerprint(made) != fingerprint(other)
    assert any("weight_matrix(G.last.linear)" in str(each) for each in differences(made, other))
    assert differences(made, made) == ()


@pytest.mark.parametrize(
    ("cost", "code"),
    [
        ("sum(total(w ** 2) for w in matrices(F))", "GG542"),
        ("sum(total(w ** 2) for w in matrices(G.lst))", "GG544"),
        ("sum(total(w ** 2) for w in matrices(G.body.tanh))", "GG544"),
        ("total(weight_matrix(G.body.batch_norm) ** 2)", "GG545"),
        ("total(weight_matrix(G.body) ** 2)", "GG545"),
        ("total(grad(mean(fake), weight_matrix(G.last.linear)) ** 2)", "GG451"),
        ("sum(total(w ** 2) for w in matrices)", "GG305"),
    ],
)
def test_misuse_is_told(cost: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(spec(cost))
    assert [each.code for each in caught.value.problems if each.severity == "error"] == [code]
