"""Functions that draw: networks with inputs that are drawn where a call does not give them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gangraph import Trainer
from gangraph.language.continuation import changes
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import step_picture
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from tests.plans import PLANS
from tests.support import copy_parameters, deviation, normals, same, small, snapshot, trainer

SHAKE = """  T:
    inputs: x
    draw: {by: "uniform(2, low=-0.5, high=0.5)", flip: bernoulli(1)}
    output: (1 - 2 * flip) * x + by"""
ONCE = '  S: {inputs: x, draw: {by: "normal(2)"}, output: x + by}\n  T: S(draw="once")'
SEEN = {"judge": "logistic.critic(real=D(T(x)), fake=D(T(fake)))", "fool": "logistic.generator(D(T(fake)))"}
STEPS = 20


def shaken(*step: str, networks: str = SHAKE, **parts: str) -> Spec:
    return small(*step, more_networks=networks, **{**SEEN, **parts})


def critic(width: int = 4) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)).double()


def shake(x: Tensor, by: Tensor, flip: Tensor) -> Tensor:
    return (1 - 2 * flip) * x + by


@pytest.mark.parametrize("plan", PLANS)
def test_a_loop_by_hand_with_the_draws_of_each_call_agrees(plan: str) -> None:
    share, merge = PLANS[plan]
    spec = shaken("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: z}")
    engine = trainer(spec, share=share, merge=merge)
    maker = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    judge_of = critic()
    copy_parameters(engine.networks["G"], maker)
    copy_parameters(engine.networks["D"], judge_of)
    steps = torch.optim.SGD(maker.parameters(), lr=0.1), torch.optim.SGD(judge_of.parameters(), lr=0.1)
    largest = 0.0
    for step in range(STEPS):
        x, z, z_2, *by = normals(6, 4, 2, seed=step)
        flips = [(each[:, :1] > 0).double() for each in normals(3, 4, 2, seed=100 + step)]
        names = ("judge.T.{}", "judge.T.{}_2", "fool.T.{}")
        draws = {name.format("by"): each for name, each in zip(names, by, strict=True)}
        draws |= {name.format("flip"): each for name, each in zip(names, flips, strict=True)}
        again = {name: [torch.zeros_like(value), value] for name, value in draws.items() if name.startswith("fool")}
        losses = engine.step({"x": x, "z": [z, z_2], **draws, **again})

        real, fake = judge_of(shake(x, by[0], flips[0])), judge_of(shake(maker(z).detach(), by[1], flips[1]))
        judge = functional.softplus(-real).mean() + functional.softplus(fake).mean()
        steps[1].zero_grad()
        judge.backward()
        steps[1].step()
        fool = functional.softplus(-judge_of(shake(maker(z_2), by[2], flips[2]))).mean()
        steps[0].zero_grad()
        fool.backward()
        steps[0].step()
        largest = max(largest, deviation(losses["judge"], judge.detach()), deviation(losses["fool"], fool.detach()))
    for mine, name in ((maker, "G"), (judge_of, "D")):
        theirs = engine.networks[name].parameters()
        largest = max(
            [largest, *(deviation(t.detach(), p.detach()) for t, p in zip(theirs, mine.parameters(), strict=True))]
        )
    assert largest < 1e-9


def test_the_calls_of_a_function_are_merged_along_the_batch_with_draws_of_their_own() -> None:
    engine = trainer(shaken())
    merged = [
        group for update in engine.engine.program.plan.updates for part in update.segments for group in part.merges
    ]
    assert ("T_out", "T_out_2") in merged
    assert (
        len(
            {
                *engine.engine.program.plan.checked.graph.nodes["T_out"].inputs,
                *engine.engine.program.plan.checked.graph.nodes["T_out_2"].inputs,
            }
        )
        == 6
    )


def values_of(engine: Trainer, *names: str) -> list[Tensor]:
    engine.step()
    return [engine.engine.values[name] for name in names]


def test_each_place_of_a_call_draws_anew_and_once_is_one_draw_for_all() -> None:
    each = trainer(shaken()).engine.program.plan.sources
    assert [name for name in each if name.endswith("by") or "by_" in name] == [
        "judge.T.by",
        "judge.T.by_2",
        "fool.T.by",
    ]
    once = trainer(shaken(networks=ONCE)).engine.program.plan.sources
    assert once == ("x", "z", "T.by")


def test_a_value_with_a_name_is_drawn_once_however_often_it_is_used() -> None:
    spec = shaken(
        more_values="  shown: T(fake)", judge="logistic.critic(real=D(T(x)), fake=D(shown))", fool="mean(D(shown))"
    )
    drawn = [name for name in trainer(spec).engine.program.plan.sources if name.endswith("by")]
    assert sorted(drawn) == ["judge.T.by", "shown.T.by"]


def test_a_value_that_is_a_draw_is_one_draw_however_often_it_is_used() -> None:
    parts = {
        "more_values": "  coin: bernoulli(1)\n  mix: where(coin, x, fake)",
        "fool": "l1(mix, coin * x + (1 - coin) * fake)",
    }
    engine = trainer(small("{update: g, minimize: fool}", optimizer_d="sgd(D, lr=0)", **parts))
    graph = engine.engine.graph
    assert [node.id for node in graph.nodes.values() if node.is_source and not graph.is_data(node)] == ["z", "coin"]
    assert [engine.step()["fool"] for _ in range(3)] == [0, 0, 0]


def test_what_is_drawn_once_is_new_where_an_update_draws_anew() -> None:
    spec = shaken("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: x}", networks=ONCE)
    redrawn = [update.redraws for update in trainer(spec).engine.program.plan.updates]
    assert redrawn == [(), ("T.by",)]


def test_a_draw_can_be_given_by_the_call() -> None:
    fool = "l2(T(fake, by=z, flip=w), -fake + z)"
    spec = shaken(
        "{update: g, minimize: fool}", more_values='  w: filled(column(rearrange(z, "n -> n 1"), 0), 1)', fool=fool
    )
    assert trainer(spec).step()["fool"] == pytest.approx(0, abs=1e-15)


def test_a_function_has_nothing_to_freeze_and_is_told_as_a_function() -> None:
    spec = shaken()
    engine = trainer(spec)
    program = engine.engine.program
    told = " ".join(explain_text(spec, [engine.engine.program.plan]).split())
    assert "T is a function, without parameters." in told
    assert "T draws by from uniform(2, low=-0.5, high=0.5) and flip from bernoulli(1), anew at each place" in told
    assert "T_frozen" not in code_text(program) and 'judge_T_by = draw("judge.T.by")' in code_text(program)
    assert "each step draws x, z, what T(x) draws and what T(fake) draws" in " ".join(plan_text(program).split())
    assert r"T \text{ draws } \mathrm{by} \sim \mathcal{U}[-0.5, 0.5)^{2} \text{ and }" in latex_text(check_spec(spec))
    picture = step_picture(engine.engine.program.plan.checked.graph, {})
    assert [figure.head for figure in picture.figures.values() if figure.kind == "op" and figure.head] == ["T"] * 3
    assert [figure.name for figure in picture.figures.values() if figure.kind == "random"].count("by, flip") == 3
    assert "    draw:\n      by: uniform(2, low=-0.5, high=0.5)" in spec_text(spec)
    assert not check_spec(spec)[0].lints


def test_how_a_network_draws_is_part_of_its_fingerprint_and_told_by_differences() -> None:
    first, second = shaken(networks=ONCE), shaken(networks=ONCE.replace('draw="once"', ""))
    third = shaken(networks=ONCE.replace("normal(2)", "normal(2, std=2)"))
    assert len({fingerprint(spec) for spec in (first, second, third)}) == 3
    texts = "\n".join(map(str, differences(first, second)))
    assert "what T draws" in texts and "once for all calls" in texts
    assert "normal(2, std=2)" in "\n".join(map(str, differences(first, third)))
    (change, *_) = changes(first, third, 0)
    assert (change.path, change.touches) == ("networks.S.draw.by", "trained")


def test_a_resumed_run_draws_the_same(tmp_path: Path) -> None:
    whole, half = trainer(shaken(), seed=5), trainer(shaken(), seed=5)
    whole.train(steps=6)
    half.train(steps=3)
    half.save(tmp_path / "half")
    resumed = Trainer.resume(tmp_path / "half", device="cpu")
    resumed.train(steps=3)
    assert same(snapshot(whole.networks), snapshot(resumed.networks))


def test_a_draw_that_no_output_depends_on_is_not_drawn() -> None:
    networks = "  T: {params: {far: 0}, inputs: x, draw: {by: normal(2)}, output: x + far * by if far > 0 else x}"
    assert trainer(shaken(networks=networks)).engine.program.plan.sources == ("x", "z")


def test_a_network_with_layers_draws_by_the_same_means() -> None:
    more = "  N: {inputs: x, draw: {by: normal(2)}, layers: 'linear(2)', outputs: {noisy: x + by}}"
    engine = trainer(shaken(networks=SHAKE + "\n" + more, fool="mean(D(N(fake).noisy)) + mean(N(fake) ** 2)"))
    assert [name for name in engine.engine.program.plan.sources if ".N." in name] == ["fool.N.by", "fool.N.by_2"]
    engine.step()


def test_an_evaluation_draws_for_itself() -> None:
    evaluate = "evaluate:\n  samples: 3\n  metrics: {far: mean(T(x) - T(x))}\n  grid: [T(x)]"
    look = trainer(shaken(evaluate=evaluate)).evaluate()
    assert look is not None and look.metrics["far"] != 0
