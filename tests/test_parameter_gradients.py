"""`grad(loss, parameters(G.last))`: gradients with respect to parameters, as values."""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
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
from tests.support import deviation, normals, same, small, snapshot, trainer, worst

TOLERANCE = 1e-9
STEPS = 20
PLANS = [(share, merge) for share in (True, False) for merge in (True, False)]

PARTS_G = (
    '{inputs: z, parts: {body: "linear(6), tanh, batch_norm", last: "linear(2)"}, values: {h: body(z)},'
    " output: last(h)}"
)
PARTS_D = (
    '{inputs: x, parts: {body: "spectral_norm(linear(5)), tanh", last: "linear(1), flatten"}, values: {h: body(x)},'
    " outputs: {score: last(h), features: h}}"
)
LAST = "total_norm(grad({}, parameters(G.last)))"
WEIGHT = f"detach(clamp({LAST.format('near')} / ({LAST.format('push')} + 1e-4), 0, 1e4))"


def spec(*step: str, optimizer: str = "sgd", **losses: str) -> Spec:
    """A GAN whose networks have parts, batch norm and spectral norm; both are called on two batches."""
    own = {"judge": "logistic.critic(real=D(x).score, fake=D(fake).score)", "fool": "near", **losses}
    more = "".join(f"\n  {name}: {text}" for name, text in own.items() if name not in ("judge", "fool"))
    return small(
        *step,
        networks_g=PARTS_G,
        networks_d=PARTS_D,
        judge=own["judge"],
        fool=own["fool"] + "\n  near: mean((fake - x) ** 2)\n  push: logistic.generator(D(fake).score)" + more,
        optimizer_g=f"{optimizer}(G, lr=0.05)",
        optimizer_d=f"{optimizer}(D, lr=0.05)",
    )


Networks = tuple[nn.Module, nn.Module]
Step = Callable[[Networks, tuple[torch.optim.Optimizer, torch.optim.Optimizer], Tensor, Tensor], None]


def _descend(optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> None:
    weights = list(network.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
        weight.grad = gradient
    optimizer.step()


def _vector(loss: Tensor, weights: Iterable[nn.Parameter], *, create: bool) -> Tensor:
    made = torch.autograd.grad(loss, list(weights), create_graph=create, retain_graph=True)
    return torch.cat([each.reshape(-1) for each in made])


def _push(d: nn.Module, fake: Tensor) -> Tensor:
    return softplus(-d(fake)["score"]).mean()


def _judge(d: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(d(fake)["score"]).mean()


def adaptive(networks: Networks, optimizers: tuple[torch.optim.Optimizer, ...], x: Tensor, z: Tensor) -> None:
    """The weight of Esser et al. 2021, equation 7, at the last layer of the generator; then the critic."""
    g, d = networks
    fake = g(z)
    near, push = ((fake - x) ** 2).mean(), _push(d, fake)
    last = list(g.last.parameters())
    lengths = [_vector(loss, last, create=False).norm() for loss in (near, push)]
    weight = (lengths[0] / (lengths[1] + 1e-4)).clamp(0, 1e4)
    _descend(optimizers[0], g, near + weight * push)
    _descend(optimizers[1], d, _judge(d, d(x)["score"], g(z).detach()))


def consensus(networks: Networks, optimizers: tuple[torch.optim.Optimizer, ...], x: Tensor, z: Tensor) -> None:
    """Both players also shorten both gradients, at the same time (Mescheder et al. 2017, section 4)."""
    g, d = networks
    fake = g(z)
    real, scored = d(x)["score"], d(fake)["score"]
    judge, push = softplus(-real).mean() + softplus(scored).mean(), softplus(-scored).mean()
    long = (_vector(push, g.parameters(), create=True) ** 2).sum() + (
        _vector(judge, d.parameters(), create=True) ** 2
    ).sum()
    downs = [
        torch.autograd.grad(loss + 0.1 * long, list(network.parameters()), retain_graph=True)
        for network, loss in ((g, push), (d, judge))
    ]
    for network, optimizer, gradients in zip(networks, optimizers, downs, strict=True):
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            weight.grad = gradient
        optimizer.step()


def of_the_other(networks: Networks, optimizers: tuple[torch.optim.Optimizer, ...], x: Tensor, z: Tensor) -> None:
    """The generator makes the critic's gradient small, of which this update trains nothing; then the critic.

    The score of x is one value in both updates, which moves the state of spectral norm once.
    """
    g, d = networks
    real = d(x)["score"]
    judge = _judge(d, real, g(z))
    _descend(optimizers[0], g, (_vector(judge, d.body.parameters(), create=True) ** 2).sum())
    _descend(optimizers[1], d, _judge(d, real, g(z).detach()))


G_THEN_D = ("{update: g, minimize: fool}", "{update: d, minimize: judge}")
LONG = "0.1 * (total(grad(push, parameters(G)) ** 2) + total(grad(judge, parameters(D)) ** 2))"
CASES = {
    "adaptive": (adaptive, spec(*G_THEN_D, fool="near + weight * push", weight=WEIGHT, optimizer="adam")),
    "consensus": (
        consensus,
        spec("{update: {g: {minimize: fool}, d: {minimize: critic}}}", fool="push + long", long=LONG,
             critic="judge + long"),
    ),
    "of the other": (of_the_other, spec(*G_THEN_D, fool="total(grad(judge, parameters(D.body)) ** 2)")),
}  # fmt: skip


@pytest.mark.parametrize(("share", "merge"), PLANS)
@pytest.mark.parametrize("case", CASES)
def test_every_plan_trains_as_the_loop_by_hand(case: str, share: bool, merge: bool) -> None:
    step, made = CASES[case]
    run = trainer(made, share=share, merge=merge)
    networks = (copy.deepcopy(run.networks["G"]), copy.deepcopy(run.networks["D"]))
    kind = torch.optim.Adam if case == "adaptive" else torch.optim.SGD
    optimizers = tuple(kind(network.parameters(), lr=0.05) for network in networks)
    draws = normals(2 * STEPS, 4, 2, seed=3)
    for x, z in zip(draws[::2], draws[1::2], strict=True):
        step(networks, optimizers, x, z)
        run.step({"x": x, "z": z})
    found = (
        deviation(run.networks[name].state_dict()[path], tensor)
        for name, network in zip("GD", networks, strict=True)
        for path, tensor in network.state_dict().items()
    )
    assert worst(found) < TOLERANCE


def test_a_number_that_is_not_differentiated_keeps_no_graph_of_its_gradient() -> None:
    code = code_text(trainer(CASES["adaptive"][1]).engine.program)
    assert "= G_gradient_last(near, create_graph=False, retain_graph=True)" in code
    assert "create_graph=True" not in code
    assert (
        "G_gradient_last(value) gives the gradient of the value's sum with respect to the parameters of G.last" in code
    )


def test_the_critic_carries_gradients_where_its_own_are_taken_although_it_is_not_trained() -> None:
    code = code_text(trainer(CASES["of the other"][1]).engine.program)
    first = code[: code.index("# Update 2 of 2")]
    assert "= D(fake)" in first
    assert "= D_gradient_body(judge, create_graph=True)" in first


@pytest.mark.parametrize("case", CASES)
def test_it_resumes_to_the_bit(case: str, tmp_path: Path) -> None:
    made = CASES[case][1]
    whole, first = trainer(made), trainer(made)
    whole.train(steps=4)
    first.train(steps=2)
    first.save(tmp_path / "run")
    second = Trainer.resume(tmp_path / "run", device="cpu")
    second.train(steps=2)
    assert same(snapshot(whole.networks), snapshot(second.networks))


def test_parameters_that_a_value_does_not_reach_have_a_gradient_of_0() -> None:
    made = spec(
        "{update: d, minimize: judge}",
        judge="mean(D(x).features) + total_norm(grad(mean(D(x).features), parameters(D)))",
    )
    run = trainer(made)
    before = snapshot(run.networks)
    run.step()
    after = snapshot(run.networks)
    moved = {name for name in before if name.startswith("D.") and not torch.equal(before[name], after[name])}
    assert moved
    assert not any(name.startswith("D.last") for name in moved)


def test_every_reading_says_with_respect_to_what() -> None:
    made = CASES["adaptive"][1]
    (checked,) = check_spec(made)
    told = explain_text(made, [trainer(made).engine.program.plan])
    flat = " ".join(told.split())
    assert "that of mean((fake - x) ** 2) with respect to parameters(G.last). It is a number here" in flat
    assert r"\nabla_{\theta_{G.\mathrm{last}}}" in latex_text([checked])
    assert "grad" in draw(checked.graph)
    other = spec(*G_THEN_D, fool="near + weight * push", weight=WEIGHT.replace("G.last", "G.body"), optimizer="adam")
    assert any("parameters(G.body)" in str(each) for each in differences(made, other))
    assert fingerprint(made) != fingerprint(other)
    assert differences(made, made) == ()


def test_a_second_derivative_is_told() -> None:
    made = CASES["of the other"][1]
    flat = " ".join(explain_text(made, [trainer(made).engine.program.plan]).split())
    assert "with respect to parameters(D.body). To lower it, that gradient is differentiated in its turn" in flat


def test_vectors_that_are_named_for_a_gradient_alone_are_used() -> None:
    made = spec(*G_THEN_D, fool="near + 0.1 * total(grad(push, theta) ** 2)", theta="parameters(G.last)")
    (checked,) = check_spec(made)
    assert "GG608" not in {lint.code for lint in checked.lints}


def test_the_printed_code_does_what_the_engine_does() -> None:
    mine, theirs = (trainer(CASES["consensus"][1]) for _ in range(2))
    engine = mine.engine
    for _ in range(2):
        engine.draws.begin({})
        given = {
            "draw": lambda source: next(iter(engine.draws.draw(source, engine.step_count).values())),
            "optimizers": engine.optimizers,
            "parameters_of": engine.parameters.get,
            **engine.networks.callable,
        }
        exec(code_text(engine.program), given)
        engine.step_count += 1
        theirs.step()
    first, second = snapshot(mine.networks), snapshot(theirs.networks)
    assert worst(deviation(first[name], second[name]) for name in first) < TOLERANCE


@pytest.mark.parametrize(
    ("loss", "code"),
    [
        ("total(grad(push, parameters(G.lst)) ** 2)", "GG544"),
        ("total(grad(push, parameters(G.last.conv2d)) ** 2)", "GG544"),
        ("total(grad(push, parameters(G.last.linear.wieght)) ** 2)", "GG545"),
        ("total(grad(push, G.last) ** 2)", "GG451"),
        ("mean(grad(mean(D(x).features), parameters(D.last)))", "GG503"),
        ("mean(grad(mean(detach(D(fake).score)), parameters(D)))", "GG503"),
        ("mean(norm(grad(push, parameters(G))))", "GG403"),
    ],
)
def test_misuse_is_told(loss: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(spec(*G_THEN_D, fool=loss))
    assert [each.code for each in caught.value.problems if each.severity == "error"] == [code]
