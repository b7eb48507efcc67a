"""Gates on losses: what they decide, remember and leave alone, against loops by hand."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer
from gangraph.errors import RunError, SpecError
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.expression.gates import Memory, decide
from gangraph.language.expression.model import Expression
from gangraph.language.expression.schedule import Clock
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.scalar import Scalar
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.run.finite import NotFiniteError
from gangraph.session.run import run
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.explain import explain_text
from gangraph.views.latex import equations
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from tests.support import changed, normals, same, small, snapshot, trainer

COSTS = """logistic.critic(real=D(x), fake=D(fake))
  real_cost: mean(softplus(-D(x)))
  fake_cost: mean(softplus(D(fake)))"""
# The rule of the released code of VAE/GAN: whoever is far ahead waits, unless both would.
AHEAD, BEHIND = "(real_cost < 0.66 or fake_cost < 0.72)", "(real_cost > 0.69 or fake_cost > 0.77)"
BALANCED = (
    f"d: {{minimize: judge, when: not {AHEAD} or {BEHIND}}}",
    f"g: {{minimize: fool, when: not {BEHIND} or {AHEAD}}}",
)
STEPS = 12


def gated(*step: str, **parts: str) -> Spec:
    return small(*step, **{"judge": COSTS, **parts})


def balanced(**parts: str) -> Spec:
    return gated(f"update: {{{', '.join(BALANCED)}}}", **parts)


def draws(count: int = STEPS) -> list[dict[str, Tensor]]:
    return [dict(zip(("x", "z"), normals(2, 4, 2, seed=seed), strict=True)) for seed in range(count)]


def costs(critic: nn.Module, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(-critic(x)).mean(), functional.softplus(critic(fake)).mean()


def descend(module: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True))


def move(module: nn.Module, gradients: list[Tensor], rate: float = 0.1) -> None:
    with torch.no_grad():
        for parameter, gradient in zip(module.parameters(), gradients, strict=True):
            parameter -= rate * gradient


def assert_alike(engine: Trainer, **networks: nn.Module) -> None:
    for name, network in networks.items():
        for mine, theirs in zip(engine.networks[name].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def expression(text: str) -> Expression:
    return parse_expression(Scalar.of(text, "gate"))


@pytest.mark.parametrize("share", [True, False])
def test_an_update_steps_only_where_the_loss_of_its_own_forward_pass_is_in_bounds(share: bool) -> None:
    engine = trainer(
        gated("{update: g, minimize: fool}", "{update: d, minimize: judge, when: real_cost > 0.6}"), share=share
    )
    generator, critic = copy.deepcopy(engine.networks["G"]), copy.deepcopy(engine.networks["D"])
    opened = []
    for given in draws():
        losses = engine.step(given)
        move(generator, descend(generator, functional.softplus(-critic(generator(given["z"]))).mean()))
        real, fake = costs(critic, given["x"], generator(given["z"]))
        assert losses["real_cost"] == pytest.approx(real.item(), rel=1e-12)
        assert losses["judge"] == pytest.approx((real + fake).item(), rel=1e-12)
        opened.append(real.item() > 0.6)
        if opened[-1]:
            move(critic, descend(critic, real + fake))
        assert_alike(engine, G=generator, D=critic)
    assert 0 < sum(opened) < STEPS


def test_groups_of_a_simultaneous_update_step_by_gates_of_their_own() -> None:
    engine = trainer(balanced())
    generator, critic = copy.deepcopy(engine.networks["G"]), copy.deepcopy(engine.networks["D"])
    seen = set()
    for given in draws(40):
        engine.step(given)
        fake = generator(given["z"])
        real_cost, fake_cost = costs(critic, given["x"], fake)
        ahead = bool(real_cost < 0.66 or fake_cost < 0.72)
        behind = bool(real_cost > 0.69 or fake_cost > 0.77)
        both = ahead and behind
        gradients = {critic: descend(critic, real_cost + fake_cost)}
        gradients[generator] = descend(generator, functional.softplus(-critic(fake)).mean())
        if not ahead or both:
            move(critic, gradients[critic])
        if not behind or both:
            move(generator, gradients[generator])
        seen.add((ahead, behind))
        assert_alike(engine, G=generator, D=critic)
    assert seen >= {(True, False), (False, True), (True, True)}


def test_gate_of_the_whole_update_shuts_every_group_whatever_their_own_gates_say() -> None:
    step = "{update: {d: {minimize: judge}, g: {minimize: fool, when: step >= 0}}, when: real_cost < 0}"
    engine = trainer(gated(step))
    before = snapshot(engine.networks)
    assert set(engine.step()) == {"judge", "real_cost", "fake_cost", "fool"} - {"fake_cost"}
    assert same(before, snapshot(engine.networks))


def test_shut_gate_leaves_parameters_averages_optimizer_and_what_follows_alone() -> None:
    step = '{update: {d: {minimize: judge, when: real_cost < 0}, g: {minimize: fool}}, then: "clip(D, -0.01, 0.01)"}'
    networks = "  F: average(D, decay=0.5)\n  E: average(G, decay=0.5)"
    engine = trainer(gated(step, more_networks=networks, optimizer_d="adam(D, lr=0.1)", optimizer_g="adam(G, lr=0.1)"))
    before = snapshot(engine.networks)
    losses = engine.step()
    assert {"judge", "real_cost", "fool"} <= losses.keys()
    assert changed(before, snapshot(engine.networks)) == {"G", "E"}
    assert not engine.engine.optimizers["d"].state
    assert engine.engine.optimizers["g"].state


def test_open_gate_changes_nothing_about_an_update() -> None:
    plain = trainer(small("{update: {d: {minimize: judge}, g: {minimize: fool}}}", judge=COSTS))
    open_ = trainer(gated("{update: {d: {minimize: judge, when: judge > 0}, g: {minimize: fool, when: true}}}"))
    for _ in range(3):
        found, expected = open_.step(), plain.step()
        assert {name: found[name] for name in expected} == expected
    assert same(snapshot(plain.networks), snapshot(open_.networks))


def test_gate_over_time_computes_nothing_where_it_is_shut_and_one_on_losses_does() -> None:
    timed = trainer(gated("{update: d, minimize: judge, when: step > 0}", "{update: g, minimize: fool}"))
    assert "judge" not in timed.step()
    lossy = trainer(gated("{update: d, minimize: judge, when: step > 0 and judge > 0}", "{update: g, minimize: fool}"))
    before = snapshot(lossy.networks)
    assert "judge" in lossy.step()
    assert changed(before, snapshot(lossy.networks)) == {"G"}


def test_a_gate_that_is_repeated_is_decided_in_each_repetition() -> None:
    engine = trainer(gated("{update: d, minimize: judge, times: 3, when: running(judge) > 0}"))
    engine.step()
    assert engine.engine.gates[0].asked == 3


def decided(gate: str, numbers: list[float], *, name: str = "cost") -> tuple[list[bool], Memory]:
    found, memory = [], Memory()
    for step, number in enumerate(numbers):
        result, memory = decide(expression(gate), Clock(step), {name: number}, memory)
        found.append(result)
    return found, memory


def test_running_is_the_exponential_average_that_starts_at_the_first_value() -> None:
    numbers = [1.0, 3.0, -2.0, 0.5]
    average = numbers[0]
    for number in numbers[1:]:
        average = 0.75 * average + 0.25 * number
    _, memory = decided("running(cost, decay=0.75) > 0", numbers)
    assert memory == (pytest.approx(average, rel=1e-15),)
    assert decided("running(cost, decay=0) > 0.9", numbers)[0] == [True, True, False, False]


def test_hysteresis_opens_above_one_threshold_and_shuts_below_the_other() -> None:
    numbers = [0.5, 0.71, 0.5, 0.3, 0.29, 0.5, 0.7, 0.71, 0.4]
    opens = [True, True, True, True, False, False, False, True, True]
    assert decided("hysteresis(cost, low=0.3, high=0.7)", numbers)[0] == opens
    assert decided("hysteresis(cost, low=0.3, high=0.7, open=false)", numbers)[0] == [False, *opens[1:]]
    assert decided("not hysteresis(cost, low=0.3, high=0.7)", numbers)[0] == [not each for each in opens]


def test_hysteresis_of_an_average_remembers_both() -> None:
    found, memory = decided("hysteresis(running(cost, decay=0.5), low=0.4, high=0.6)", [0.8, 0.2, 0.2, 0.9, 0.9])
    averages = [0.8, 0.5, 0.35, 0.625, 0.7625]
    assert memory == (pytest.approx(averages[-1]), True)
    assert found == [True, True, False, True, True]


def test_what_remembers_is_asked_also_where_the_answer_is_known() -> None:
    assert decided("cost < 0 and running(cost, decay=0.5) > 0", [1.0, 3.0])[1] == (2.0,)
    assert decided("running(cost, decay=0.5) > 0 if cost < 0 else true", [1.0, 3.0])[1] == (2.0,)


def test_gates_know_time_and_functions_of_numbers() -> None:
    assert decided("cost < linear(0, 1, end=4 steps)", [0.4] * 4)[0] == [False, False, True, True]
    assert decided("max(cost, step) >= 2 or step % 4 == 1", [0.4] * 4)[0] == [False, True, True, True]


def test_memory_of_a_group_waits_while_the_whole_update_is_shut() -> None:
    step = '{update: {d: {minimize: judge, when: "running(judge, decay=0.5) > 0"}}, when: judge > 0 and step > 1}'
    engine = trainer(gated(step))
    losses = [engine.step()["judge"] for _ in range(4)]
    (memory,) = engine.engine.gates[0].memory["d"]
    assert memory == pytest.approx((losses[2] + losses[3]) / 2, rel=1e-12)


def test_a_gated_update_offers_what_it_computed_and_counts_as_a_change() -> None:
    spec = gated("{update: d, minimize: judge, when: real_cost > 0.6}", "{update: g, minimize: fool}")
    (checked,) = check_spec(spec)
    first, second = compile_phase(checked).plan.updates
    assert [each.value for each in second.reuses] == ["fake"]  # computed ahead, and G has not changed
    assert any("fake" in segment.nodes for segment in first.segments)
    assert any("D_out_2" in segment.nodes for segment in second.segments)  # D may have changed


@pytest.mark.parametrize(
    "step",
    [
        ("{update: d, minimize: judge, when: real_cost > 0.6}", "{update: g, minimize: fool, when: fake_cost > 0.7}"),
        ("{update: g, minimize: fool, when: judge > 1.4}", "{update: d, minimize: judge, when: fool < 0.68}"),
        ("update: {d: {minimize: judge, when: fool > 0.62}, g: {minimize: fool}}", "{update: d, minimize: judge}"),
        ("{update: d, minimize: judge, times: 2, draw: x, when: real_cost > 0.6}", "{update: g, minimize: fool}"),
    ],
)
def test_sharing_and_merging_change_nothing_where_gates_decide(step: tuple[str, ...]) -> None:
    planned, plain = trainer(gated(*step)), trainer(gated(*step), share=False, merge=False)
    shares = []
    for _ in range(STEPS):
        assert planned.step() == pytest.approx(plain.step(), rel=1e-10)
        shares += planned.engine.open_shares().values()
    assert {0.0, 1.0} <= set(shares)
    for name, network in plain.networks.items():
        assert_alike(planned, **{name: network})


def test_a_value_may_be_held_from_an_update_whose_gate_looks_at_losses() -> None:
    aged, both = (
        "logistic.critic(real=D(x), fake=D(at_first(fake)))",
        "logistic.generator(D(fake)) + l2(fake, at_first(fake))",
    )
    steps = "{update: d, minimize: judge, when: judge > 0.1}", "{update: g, minimize: fool}"
    check_spec(small(*steps, judge=aged, fool=both))
    with pytest.raises(SpecError, match="GG504"):
        check_spec(small(steps[0].replace("judge > 0.1", "step > 1"), steps[1], judge=aged, fool=both))


REMEMBERING = (
    'update: {d: {minimize: judge, when: "hysteresis(running(real_cost, decay=0.8), low=0.64, high=0.66)"},'
    ' g: {minimize: fool, when: "running(fake_cost, decay=0.5) < 0.75"}}'
)


def test_resumed_run_remembers_what_its_gates_have_seen(tmp_path: Path) -> None:
    spec = gated(f"{{{REMEMBERING}}}")
    whole = trainer(spec, precision="fp32")
    whole.train(steps=6)
    saved = whole.save(tmp_path / "saved")
    (memory,) = json.loads((saved / "state.json").read_text())["gates"]
    assert memory.keys() == {"d", "g"}
    assert [type(item) for item in memory["d"]] == [float, bool]
    expected = [whole.step() for _ in range(6)]
    resumed = Trainer.resume(saved, device="cpu")
    assert [resumed.step() for _ in range(6)] == expected
    assert same(snapshot(whole.networks), snapshot(resumed.networks))
    files = [each.save(tmp_path / name) / "state.json" for name, each in (("a", whole), ("b", resumed))]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_checkpoint_from_before_there_were_gates_is_read(tmp_path: Path) -> None:
    engine = trainer(small(), precision="fp32")
    engine.step()
    state = engine.save(tmp_path / "saved") / "state.json"
    numbers = json.loads(state.read_text())
    del numbers["gates"]
    state.write_text(json.dumps(numbers))
    assert Trainer.resume(tmp_path / "saved", device="cpu").step() == engine.step()


def test_a_report_tells_how_often_gated_groups_stepped(tmp_path: Path) -> None:
    spec = gated(
        "{update: {d: {minimize: judge, when: judge > 100}, g: {minimize: fool}}}",
        "{update: d, minimize: judge, when: judge > 0}",
        length="  length: 3 steps",
    )
    engine = trainer(spec)
    engine.step()
    assert engine.engine.open_shares() == {"d": 0.0, "d, update 2": 1.0}
    assert engine.engine.open_shares() == {}
    folder = run(spec, out=tmp_path / "run", device="cpu")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    told = [line["open"] for line in lines if "open" in line]
    assert told and all(line == {"d": 0.0, "d, update 2": 1.0} for line in told)


def test_loss_of_a_gate_that_is_not_finite_stops_the_run_and_changes_nothing() -> None:
    engine = trainer(gated("{update: g, minimize: fool, when: far < 1}", judge=f"{COSTS}\n  far: mean(log(x - x - 1))"))
    before = snapshot(engine.networks)
    with pytest.raises(NotFiniteError, match="is not finite"):
        engine.step()
    assert same(before, snapshot(engine.networks))


def test_gate_that_divides_by_zero_says_so() -> None:
    engine = trainer(gated("{update: g, minimize: fool, when: real_cost / (fool - fool) < 1}"))
    with pytest.raises(RunError, match="a gate of update 'g' has no value"):
        engine.step()


def shown(spec: Spec) -> str:
    (checked,) = check_spec(spec)
    return " ".join(explain_text(spec, [compile_phase(checked).plan]).split())


def test_the_code_that_is_shown_does_what_gates_do() -> None:
    spec = gated(f'{{{REMEMBERING}, then: "clip(D, -0.5, 0.5)"}}', "{update: g, minimize: fool, when: fool > 0.6}")
    mine, theirs = trainer(spec), trainer(spec)
    engine = mine.engine
    opened = []

    def chosen(update: int, **losses: Tensor) -> list[str]:
        numbers = {node: float(losses[name].detach()) for name, node in engine.graph.updates[update].watched}
        opened.append([each.group for each in engine.gates[update].open(mine.clock, numbers.__getitem__)])
        return opened[-1]

    for given in draws(4):
        code = {
            "draw": given.get,
            "decide": chosen,
            "optimizers": engine.optimizers,
            "parameters_of": engine.parameters.get,
            **engine.networks.callable,
        }
        exec(code_text(engine.program), code)
        theirs.step(given)
        for name, network in theirs.networks.items():
            assert_alike(mine, **{name: network})
    assert [] in opened or ["d"] in opened or ["g"] in opened


def test_every_view_tells_gates() -> None:
    gate = "running(real_cost, decay=0.8) > 0.6"
    spec = gated(f'{{update: {{d: {{minimize: judge, when: "{gate}"}}, g: {{minimize: fool}}}}, when: fool > 0.1}}')
    (checked,) = check_spec(spec)
    text = " ".join(plan_text(compile_phase(checked)).split())
    assert f"minimizes judge (group d, steps only when {gate})" in text
    assert "its gradient is taken only when fool > 0.1" in text
    assert "gates look at fool and real_cost" in text
    told = shown(spec)
    assert f"Parameters change only where fool > 0.1. D changes only where {gate}." in told
    assert "real_cost = mean(softplus(-D(x)))" in told
    lines = " ".join(equations(checked))
    assert r"\mathrm{real}_{\mathrm{cost}} = \mathbb{E}_{x}\left[\log(1 + e^{-D(x)})\right]" in lines
    assert r"D \text{ only in steps where } \mathrm{running}(" in lines
    assert f"d: {{minimize: judge, when: {gate}}}" in spec_text(spec)


def test_gates_are_part_of_what_differs_and_of_the_fingerprint() -> None:
    def spec(gate: str) -> Spec:
        return gated(f"{{update: {{d: {{minimize: judge{gate}}}, g: {{minimize: fool}}}}}}")

    plain, low, high = spec(""), spec(", when: real_cost > 0.6"), spec(", when: real_cost > 0.7")
    assert len({fingerprint(each) for each in (plain, low, high)}) == 3
    (difference,) = differences(low, high)
    assert "d: real_cost > 0.6" in str(difference) and "d: real_cost > 0.7" in str(difference)
    assert differences(low, low) == ()


def test_a_gate_may_be_named_under_let() -> None:
    text = gated("{update: d, minimize: judge, when: weak or ahead}", "{update: g, minimize: fool}").text
    named = text.replace("data:", "let: {weak: real_cost > 0.69, ahead: fake_cost < 0.6}\ndata:", 1)
    only = resolve(parse_text(named), Choice()).phases[0].updates[0].schedule["when"]
    assert only == expression("real_cost > 0.69 or fake_cost < 0.6")
