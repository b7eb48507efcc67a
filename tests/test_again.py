"""When a value is computed: `at_first` and its older name, and `again`, whose calls are calls of their own."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gangraph import Trainer
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase, compile_phase
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from tests.plans import PLANS, compare, tensors
from tests.support import deviation, normals, read, small, trainer, worst

SPEC = """
gangraph: 1
name: anew
data: {{x: plane(std=0.3), z: normal(2)}}
networks:
  G: {{inputs: z, layers: "linear(4), batch_norm, tanh, linear(2)"}}
  D: {{inputs: x, layers: "linear(4), batch_norm(momentum=0.3), tanh, {last}"}}
values: {{fake: G(z)}}
losses:
  judge: {judge}
  fool: {fool}
train:
  batch: 4
  length: 10 steps
  optimizers: {{g: "sgd(G, lr=0.1)", d: "sgd(D, lr=0.1)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
"""
DEFAULTS = {
    "last": "linear(1)",
    "judge": "logistic.critic(real=D(x), fake=D(fake)) + 0.1 * mean(again(D(fake)) ** 2)",
    "fool": "logistic.generator(D(fake)) + 0.5 * mean(softplus(-again(D(fake))))",
}


def text(**parts: str) -> str:
    return SPEC.format(**{**DEFAULTS, **parts})


def descend(network: nn.Module, loss: Tensor) -> None:
    gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter -= 0.1 * gradient


def judged(g: nn.Module, d: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    """The critic's loss: D sees x and the fakes, then both networks are called once more."""
    real, fake = d(x), d(g(z))
    return softplus(-real).mean() + softplus(fake).mean() + 0.1 * (d(g(z)) ** 2).mean()


def test_calls_made_again_move_statistics_again_as_in_the_loop_by_hand() -> None:
    runs = [trainer(read(text()), share=share, merge=merge) for share, merge in PLANS.values()]
    g, d = (copy.deepcopy(runs[0].networks[name]) for name in "GD")
    for step in range(20):
        x, z = normals(2, 4, 2, seed=step)
        descend(d, judged(g, d, x, z))
        state = copy.deepcopy(g.state_dict())
        fool = softplus(-d(g(z))).mean() + 0.5 * softplus(-d(g(z))).mean()
        descend(g, fool)
        for name, buffer in g.named_buffers():  # the fakes of both updates are the same value, which moves state once
            buffer.copy_(state[name])
        for run in runs:
            assert deviation(run.step({"x": x, "z": z})["fool"], fool.detach()) < 1e-9
            for name, network in (("G", g), ("D", d)):
                pairs = zip(run.networks[name].state_dict().values(), network.state_dict().values(), strict=True)
                assert worst(deviation(mine, theirs) for mine, theirs in pairs) < 1e-9
    assert int(runs[0].networks["D"].get_buffer("layers.batch_norm.num_batches_tracked")) == 20 * (3 + 2)
    assert int(runs[0].networks["G"].get_buffer("layers.batch_norm.num_batches_tracked")) == 20 * 2


@pytest.mark.parametrize(
    "parts",
    [
        {"last": "spectral_norm(linear(1))"},
        {"last": "dropout(0.5), linear(1)"},
        {"fool": "mean(again(again(D(fake)))) + l2(again(fake), x)"},
        {"judge": "mean(D(x)) + mean(norm(again(grad(D(lerp(x, fake, 0.5)), x))))"},
        {"judge": "mean(D(x)) - mean(again(D(history(at_first(again(fake)), 6))))"},
    ],
)
def test_the_four_plans_agree(parts: dict[str, str]) -> None:
    found = compare(read(text(**parts)), 5)
    assert not found.difference and not found.stopped


def calls(spec: Spec) -> dict[str, int]:
    """How often each network is called, as the graph has it."""
    nodes = check_phase(spec, spec.phases[0]).graph.nodes.values()
    return {name: sum(node.is_call and node.target == name for node in nodes) for name in "GD"}


@pytest.mark.parametrize(
    ("fool", "more"),
    [
        ("mean(again(D(fake)))", {"G": 1, "D": 1}),
        ("mean(again(D(fake))) + mean(2 * again(D(fake)))", {"G": 1, "D": 1}),
        ("mean(again(again(D(fake))))", {"G": 2, "D": 2}),
        ("mean(again(D(detach(fake)))) + mean(fake)", {"G": 0, "D": 2}),  # D of it once, and once again
        ("mean(again(D(at_first(fake)))) + mean(fake)", {"G": 0, "D": 2}),
    ],
)
def test_what_is_called_again_lies_between_the_value_and_its_draws_stops_and_memories(
    fool: str, more: dict[str, int]
) -> None:
    plain = calls(read(text(judge="mean(D(x)) - mean(D(fake))", fool="mean(D(fake))")))
    found = calls(read(text(judge="mean(D(x)) - mean(D(fake))", fool=fool)))
    assert {name: found[name] - plain[name] for name in found} == more


def test_a_value_computed_again_is_on_the_same_draws() -> None:
    run = trainer(read(text(judge="mean(D(x))", fool="l2(again(fake), x) - l2(fake, x)")))
    assert run.step()["fool"] == 0


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    whole, first = trainer(read(text())), trainer(read(text()))
    whole.train(steps=4)
    first.train(steps=2)
    second = Trainer.resume(first.save(tmp_path / "run"), device="cpu")
    second.train(steps=2)
    ours, theirs = tensors(whole), tensors(second)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_view_prints_it_as_it_is_written() -> None:
    spec = read(text())
    checked = check_phase(spec, spec.phases[0])
    program = compile_phase(checked)
    assert "again(D(fake)) ** 2" in explain_text(spec, [program.plan])
    assert r"\mathrm{again}" in latex_text([checked])
    assert "again" in draw(checked.graph)
    assert "again(D(fake))" in spec_text(spec)
    assert "D(again(fake))" in plan_text(program) and "_anew" not in plan_text(program)
    assert "fake_anew = G" in code_text(program)
    plain = read(text(judge=DEFAULTS["judge"].replace("again(D(fake))", "D(fake)")))
    assert any("again(D(fake))" in str(each) for each in differences(plain, spec))
    assert fingerprint(plain) != fingerprint(spec)


def test_held_is_an_older_name_of_at_first() -> None:
    old, new = (small(judge=f"logistic.critic(real=D(x), fake=D({form}(fake)))") for form in ("held", "at_first"))
    assert fingerprint(old) == fingerprint(new)
    assert differences(old, new) == ()
    assert "at_first(fake)" in spec_text(old) and "held(" not in spec_text(old)
    assert check_phase(old, old.phases[0]).graph.nodes.keys() == check_phase(new, new.phases[0]).graph.nodes.keys()


def test_the_fingerprint_of_a_spec_from_before_the_new_name_stays() -> None:
    assert fingerprint(small(judge="logistic.critic(real=D(x), fake=D(held(fake)))")) == "74a0e92faa746265"


ABOVE = "l1(x, x * (1 if step > 3 else 0)) + mean({ones}) + logistic.generator(D(fake))"
GATED = (
    "{update: g, minimize: fool, when: judge > 0.5}",
    "{update: d, minimize: judge, when: judge > 0.5 or step > 5}",
)


def test_above_is_an_older_name_of_a_comparison() -> None:
    old, new = (small(fool=ABOVE.format(ones=ones)) for ones in ("above(norm(fake), 0.5)", "norm(fake) > 0.5"))
    assert differences(old, new) == ()
    assert "norm(fake) > 0.5" in spec_text(old) and "above(" not in spec_text(old)


def test_fingerprints_are_those_from_before_the_operator() -> None:
    """Comparisons of numbers over time and of losses in gates were never called so."""
    for ones in ("above(norm(fake), 0.5)", "norm(fake) > 0.5"):
        assert fingerprint(small(fool=ABOVE.format(ones=ones))) == "bf4c50489de9d11a"
        assert fingerprint(small(*GATED, fool=ABOVE.format(ones=ones))) == "c1b06d5df1b5f858"
