"""Families in two indices, and outputs of networks as families: feature matching over scales and layers."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gangraph.cli import main
from gangraph.errors import SpecError
from gangraph.language.expression.model import unparse
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.fingerprint import fingerprint
from gangraph.language.scalar import Scalar
from gangraph.pipeline import check_spec, compile_phase
from gangraph.saved.find_checkpoint import numbered
from gangraph.session.run import run as start
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain.story import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.text import spec_text
from tests.support import copy_parameters, deviation, normals, parameter_deviations, read, snapshot, trainer, worst
from tests.test_resume import assert_same_checkpoints

SPEC = """
gangraph: 1
name: matching
params: {layers: 3}
let: {"weight[i in 1..2][k in 1..i+1]": i / k}
data: {x: normal(6), z: normal(3)}
networks:
  G: {inputs: z, layers: "linear(5), batch_norm, tanh, linear(6)"}
  D[i in 1..2]:
    inputs: x
    params: {width: 4}
    parts: {"block[k in 1..i+1]": "linear(width * k), batch_norm, leaky_relu(0.2)", score: linear(1)}
    values: {"h[1]": "block[1](x)", "h[k in 2..i+1]": "block[k](h[k-1])"}
    output: score(h[i+1])
    outputs: {"h[k in 1..i+1]": "h[k]"}
values:
  fake: G(z)
  real[1]: x
  real[2]: 0.5 * x
  made[1]: fake
  made[2]: 0.5 * fake
  apart[i in 1..2][k in 1..i+1]: l1(D[i](real[i]).h[k], D[i](made[i]).h[k])
losses:
  judge: sum(hinge.critic(real=D[i](real[i]), fake=D[i](history(detach(made[i]), 6))) for i in 1..2)
  match: sum(weight[i][k] * apart[i][k] for i in 1..2 for k in 1..i+1)
  fool: sum(hinge.generator(D[i](made[i])) for i in 1..2) + 0.5 * match
train:
  batch: 4
  length: 100 steps
  optimizers:
    d: sgd([D[i] for i in 1..2], lr=1e-2, momentum=0.9)
    g: sgd(G, lr=1e-2, momentum=0.9)
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
"""
BY_HAND = SPEC.replace(
    "sum(weight[i][k] * apart[i][k] for i in 1..2 for k in 1..i+1)",
    "1 * l1(D[1](x).h[1], D[1](fake).h[1]) + 0.5 * l1(D[1](x).h[2], D[1](fake).h[2])"
    " + 2 * l1(D[2](0.5 * x).h[1], D[2](0.5 * fake).h[1]) + 1 * l1(D[2](0.5 * x).h[2], D[2](0.5 * fake).h[2])"
    " + 0.6666666666666666 * l1(D[2](0.5 * x).h[3], D[2](0.5 * fake).h[3])",
).replace("  apart[i in 1..2][k in 1..i+1]: l1(D[i](real[i]).h[k], D[i](made[i]).h[k])\n", "")
STEPS = 20


class Critic(nn.Module):
    """Blocks of a linear layer, batch norm and a slope; it gives its score and what each block gave."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        sizes = [6, *(4 * k for k in range(1, depth + 1))]
        blocks = (nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.LeakyReLU(0.2)) for a, b in pairwise(sizes))
        self.blocks, self.score = nn.ModuleList(blocks), nn.Linear(sizes[-1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        layers = []
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        return self.score(x), layers


@pytest.mark.parametrize(("share", "merge"), [(True, True), (False, True), (True, False), (False, False)])
def test_engine_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(read(SPEC.replace("history(detach(made[i]), 6)", "detach(made[i])")), share=share, merge=merge)
    generator = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 6)).double()
    critics = [Critic(2).double(), Critic(3).double()]
    networks = {"G": generator, "D[1]": critics[0], "D[2]": critics[1]}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started = {f"{n}.{path}": p.detach().clone() for n, net in networks.items() for path, p in net.named_parameters()}
    by_critics = torch.optim.SGD([p for critic in critics for p in critic.parameters()], lr=1e-2, momentum=0.9)
    by_generator = torch.optim.SGD(generator.parameters(), lr=1e-2, momentum=0.9)
    found: dict[str, float] = {}
    for step, (x, z) in enumerate(zip(normals(STEPS, 4, 6), normals(STEPS, 4, 3, seed=1), strict=True)):
        losses = engine.step({"x": x, "z": z})
        fake = generator(z)
        judge = sum(
            _hinge(critic, scale * x, scale * fake.detach()) for critic, scale in zip(critics, (1, 0.5), strict=True)
        )
        by_critics.zero_grad()
        judge.backward()
        by_critics.step()
        match = fool = torch.zeros((), dtype=torch.float64)
        for i, (critic, scale) in enumerate(zip(critics, (1, 0.5), strict=True), 1):
            (_, real), (score, made) = critic(scale * x), critic(scale * fake)
            fool = fool - score.mean()
            for k, (a, b) in enumerate(zip(real, made, strict=True), 1):
                match = match + i / k * F.l1_loss(a, b)
        by_generator.zero_grad()
        (fool + 0.5 * match).backward()
        by_generator.step()
        expected = {"judge": judge, "match": match, "fool": fool + 0.5 * match}
        found |= {f"{name} of step {step}": deviation(losses[name], value.detach()) for name, value in expected.items()}
    found |= dict(parameter_deviations(engine, networks, started, still=1e-9))
    assert {name: off for name, off in found.items() if not off <= 1e-9} == {}, worst(found.values())


def _hinge(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - critic(real)[0]).mean() + F.relu(1 + critic(fake)[0]).mean()


def test_what_is_written_in_two_indices_trains_as_what_is_written_out() -> None:
    """With a history and running statistics, to the bit."""
    short, long = trainer(read(SPEC)), trainer(read(BY_HAND))
    assert short.train(steps=5) == long.train(steps=5)
    ours, theirs = ({name: made.networks[name] for name in ("G", "D[1]", "D[2]")} for made in (short, long))
    before, after = snapshot(ours), snapshot(theirs)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    start(read(SPEC), out=tmp_path / "straight", device="cpu", steps=6)
    start(read(SPEC), out=tmp_path / "run", device="cpu", steps=3)
    assert main(["run", "--resume", str(tmp_path / "run"), "--device", "cpu", "--steps", "6"]) == 0
    assert_same_checkpoints(numbered(tmp_path / "straight")[-1], numbered(tmp_path / "run")[-1])


def test_members_and_ranges_that_depend_on_the_index_before() -> None:
    (phase,) = read(SPEC).phases
    assert [name for name in phase.values if name.startswith("apart")] == [
        "apart[1][1]", "apart[1][2]", "apart[2][1]", "apart[2][2]", "apart[2][3]",
    ]  # fmt: skip
    assert [*phase.networks["D[2]"].outputs] == ["h[1]", "h[2]", "h[3]", "output"]  # type: ignore[union-attr]
    assert unparse(phase.losses["match"]).startswith("1 * apart[1][1] + 0.5 * apart[1][2] + 2 * apart[2][1]")


def test_one_member_may_be_written_alone_and_texts_may_be_indices() -> None:
    written = SPEC.replace(
        'weight[i in 1..2][k in 1..i+1]": i / k', 'weight[1][k in 1..2]": 1 / k, "weight[2][k in 1..3]": 2 / k'
    )
    assert fingerprint(read(written)) == fingerprint(read(SPEC))
    named = SPEC.replace("apart[i in 1..2][k in 1..i+1]", 'apart[i in 1..2][k in ["a", "b"]]').replace(
        ".h[k], D", '.h[1 if k == "a" else 2], D'
    )
    named = named.replace(".h[k])", '.h[1 if k == "a" else 2])').replace(
        "weight[i][k] * apart[i][k] for i in 1..2 for k in 1..i+1", 'apart[i]["b"] for i in 1..2'
    )
    assert unparse(read(named).phases[0].losses["match"]) == "apart[1][b] + apart[2][b]"


def test_loops_of_a_comprehension_are_written_from_the_outermost_and_show_alike() -> None:
    text = "sum(a[i][k] for i in 1..2 for k in 1..i)"
    assert unparse(parse_expression(Scalar.of(text, "text"))) == text
    spec = read(SPEC.replace("[D[i] for i in 1..2]", "[D[i - k] for i in 2..2 for k in 0..1]"))
    assert [name for name, _ in spec.phases[0].optimizers["d"].networks] == ["D[2]", "D[1]"]


def test_every_view_has_its_members() -> None:
    spec = read(SPEC)
    (checked,) = check_spec(spec)
    program = compile_phase(checked)
    assert "apart[2][3]: l1(D[2](real[2]).h[3], D[2](made[2]).h[3])" in spec_text(spec)
    assert "apart_2_3 = " in code_text(program)
    assert "apart[2][3]" in explain_text(spec, [program.plan])
    assert r"\mathrm{apart}_{2, 3}" in latex_text((checked,), ["matching"])
    assert "apart[2][3]" in draw(checked.graph, title="", subtitle="")
    other = read(SPEC.replace("i / k", "i / k if k < 3 else 4"))
    assert [*map(str, differences(spec, other))] == [
        "the weight of l1(D[2](real[2]).h[3], D[2](made[2]).h[3]) in match was 0.666667, and is now 4"
    ]


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        check_spec(read(text))
    return [f"{each.code} {each.found}: {each.fix or each.expected}" for each in error.value.problems]


def test_a_family_of_very_many_members_in_all_is_refused() -> None:
    spec = SPEC.replace("apart[i in 1..2][k in 1..i+1]", "apart[i in 1..100][k in 1..100]")
    assert refused(spec) == ["GG306 10000 members: at most 1024"]
