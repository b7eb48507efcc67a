"""States: what a step leaves to the next, as in loops by hand, in every plan, over checkpoints and phases."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gangraph import Trainer
from gangraph.cli import main
from gangraph.errors import CheckpointError, SpecError, UsageError
from gangraph.evaluate.evaluation import BoundEvaluation
from gangraph.evaluate.measure import measure
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase, check_spec, compile_phase
from gangraph.run.finite import NotFiniteError
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import shapes_text
from tests.plans import PLANS, compare, tensors
from tests.support import deviation, normals, read, trainer, worst

SPEC = """
gangraph: 1
name: states
params: {{gamma: 0.9}}
data: {{x: plane(std=0.3), z: normal(2)}}
networks:
  G: {{inputs: z, layers: "linear(4), tanh, linear(2)"}}
  D: {{inputs: x, layers: "linear(4), batch_norm(momentum=0.3), tanh, linear(2)"}}
values: {{fake: G(z), slope: "norm(grad(fake, z))"}}
losses:
  real_error: l1(D(x), x)
  fake_error: l1(D(fake), fake)
  judge: real_error - k * fake_error
  path: mean((slope - length) ** 2)
  fool: {fool}
state:
  k: {{start: 0.2, next: "clamp(k + 0.1 * (gamma * at_first(real_error) - at_first(fake_error)), 0, 1)"}}
  p: {{start: 0.1, next: "p + 0.25 * sign(mean(sign(at_first(D(x)))) - 0.1)", every: 4}}
  length: {{start: 0.5, next: "lerp(length, mean(at_first(slope)), 0.3)"}}
  centre: {{start: "zeros(1, 2)", next: "lerp(centre, batch_mean(again(fake)), 0.1 * p)"}}
{more}
train:
  batch: 4
  length: 30 steps
  optimizers: {{g: "adam(G, lr=0.02)", d: "sgd(D, lr=0.1, momentum=0.5)"}}
  step: {step}
{evaluate}"""
DEFAULTS = {
    "fool": "fake_error + 0.1 * path + p * mean(fake - centre)",
    "more": "",
    "step": "[{update: d, minimize: judge}, {update: g, minimize: fool}]",
    "evaluate": "",
}


def text(**parts: str) -> str:
    return SPEC.format(**{**DEFAULTS, **parts})


COUNT = "  n: {start: 0, next: n + 1}"


def spec(**parts: str) -> Spec:
    return read(text(**parts))


class ByHand:
    """The same training as a loop: two networks, their optimizers, and four states."""

    def __init__(self, run: Trainer) -> None:
        self.g, self.d = (copy.deepcopy(run.networks[name]) for name in "GD")
        self.optimizers = {
            self.g: torch.optim.Adam(self.g.parameters(), lr=0.02),
            self.d: torch.optim.SGD(self.d.parameters(), lr=0.1, momentum=0.5),
        }
        self.k, self.p, self.length = (torch.tensor(start, dtype=torch.float64) for start in (0.2, 0.1, 0.5))
        self.centre = torch.zeros(1, 2, dtype=torch.float64)

    def move(self, network: nn.Module, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizers[network].step()

    def step(self, number: int, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        z = z.clone().requires_grad_()
        fake = self.g(z)
        scores = self.d(x)
        real_error, fake_error = (scores - x).abs().mean(), (self.d(fake.detach()) - fake.detach()).abs().mean()
        judge = real_error - self.k * fake_error
        self.move(self.d, judge)
        fake = self.g(z)
        (slope,) = torch.autograd.grad(fake.sum(), z, create_graph=True)
        slope = slope.flatten(1).norm(dim=1)
        fool_error = (self.d(fake) - fake).abs().mean()
        fool = fool_error + 0.1 * ((slope - self.length) ** 2).mean() + self.p * (fake - self.centre).mean()
        self.move(self.g, fool)
        with torch.no_grad():
            k = (self.k + 0.1 * (0.9 * real_error - fake_error)).clamp(0, 1)
            centre = torch.lerp(self.centre, self.g(z).mean(0, keepdim=True), 0.1 * self.p)
            if number % 4 == 0:
                self.p = self.p + 0.25 * (scores.sign().mean() - 0.1).sign()
            self.k, self.centre, self.length = k, centre, torch.lerp(self.length, slope.mean(), 0.3)
        return {"judge": judge.detach(), "fool": fool.detach(), "k": self.k, "p": self.p, "length": self.length}


@pytest.mark.parametrize("batch_norm", [True, False])
def test_states_move_as_in_the_loop_by_hand_in_every_plan(batch_norm: bool) -> None:
    source = text() if batch_norm else text().replace("batch_norm(momentum=0.3), ", "")
    runs = [trainer(read(source), share=share, merge=merge) for share, merge in PLANS.values()]
    hand, seen = ByHand(runs[0]), set[float]()
    for number in range(24):
        x, z = normals(2, 4, 2, seed=number)
        expected = hand.step(number, x, z)
        for run in runs:
            losses = run.step({"x": x, "z": z})
            assert worst(deviation(losses[name], value) for name, value in expected.items()) < 1e-9
            assert deviation(run.states["centre"], hand.centre) < 1e-9
            for name, network in (("G", hand.g), ("D", hand.d)):
                pairs = zip(run.networks[name].state_dict().values(), network.state_dict().values(), strict=True)
                assert worst(deviation(mine, theirs) for mine, theirs in pairs) < 1e-9
        seen |= {float(hand.p), round(float(hand.k), 6)} - {0.0, 1.0}
    assert len(seen) > 4


def test_all_become_what_follows_from_those_before() -> None:
    more = "  a: {start: 1, next: 1 * b}\n  b: {start: 2, next: 1 * a}"
    run = trainer(spec(more=more))
    found = [run.step() for _ in range(3)]
    assert [(each["a"], each["b"]) for each in found] == [(2, 1), (1, 2), (2, 1)]


def test_a_state_moves_in_the_steps_that_it_names_and_reads_the_others_before_they_move() -> None:
    more = f"{COUNT}\n  m: {{start: -1, next: 1 * n, every: 3}}\n  o: {{start: 0, next: o + 1, when: step > 2}}"
    run = trainer(spec(more=more))
    found = [run.step() for _ in range(6)]
    assert [each["n"] for each in found] == [1, 2, 3, 4, 5, 6]
    assert [each["m"] for each in found] == [0, 0, 0, 3, 3, 3]
    assert [each["o"] for each in found] == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "parts",
    [
        {"more": '  t: {start: 0, next: "lerp(t, mean(D(fake)), 0.5)", every: 2}'},
        {
            "more": '  t: {start: 0, next: "mean(again(D(fake))) + mean(D(x))"}\n'
            "  u: {start: 0, next: mean(D(x)), when: step > 1}"
        },
        {"more": '  t: {start: 0, next: "mean(history(fake, 6)) + mean(uniform(1))"}', "fool": "fake_error + t * path"},
        {"more": '  t: {start: 0, next: "mean(norm(grad(D(x), x)))"}', "fool": "fake_error + t * path"},
        {"step": "[{update: d, minimize: judge, draw: all}, {update: g, minimize: fool, when: k > 0.05}]"},
        {"step": "[{update: {d: {minimize: judge}, g: {minimize: fool}}}]"},
        {
            "step": "[{update: d, minimize: judge}, "
            "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 1}}]"
        },
    ],
)
def test_the_four_plans_agree(parts: dict[str, str]) -> None:
    source = text(**parts).replace("sgd(D, lr=0.1, momentum=0.5)", "sgd(D, lr=0.1)")
    if "unroll" in source:
        source = source.replace("at_first(slope)", "slope").replace("0.1 * path + ", "")
    found = compare(read(source), 6)
    assert not found.difference and not found.stopped


def test_what_the_updates_computed_is_taken_and_not_computed_again() -> None:
    (phase,) = spec().phases
    plan = compile_phase(check_phase(spec(), phase)).plan
    first, second = plan.moves
    calls = [n for s in (*first.segments, *second.segments) for n in s.nodes if plan.checked.graph.nodes[n].is_call]
    assert [plan.checked.graph.nodes[n].anew for n in calls] == ["fake"]  # which again() asks for
    assert {reuse.value for reuse in second.reuses} == {"at_first_3"}


def test_a_gate_reads_a_state() -> None:
    step = "[{update: d, minimize: judge}, {update: g, minimize: fool, when: n > 1.5}]"
    run = trainer(spec(more=COUNT, step=step))
    shares = []
    for _ in range(4):
        run.step()
        shares.append(run.engine.open_shares()["g"])
    assert shares == [0, 0, 1, 1]


def test_no_gradient_passes_through_a_state() -> None:
    with pytest.raises(SpecError, match="GG501"):
        check_spec(spec(fool="length * 2"))
    with pytest.raises(SpecError, match="GG503"):
        check_spec(spec(fool="fake_error + grad(mean(x), k)"))


def test_losses_that_states_alone_need_are_reported() -> None:
    more = '  t: {start: 0, next: "lerp(t, spread, 0.5)"}'
    run = trainer(read(text(more=more).replace("losses:", "losses:\n  spread: mean(norm(x))")))
    found = run.step()
    assert found["t"] == pytest.approx(found["spread"] / 2)
    assert run.step().keys() == {*found}


def test_a_run_resumes_to_the_bit_with_its_states(tmp_path: Path) -> None:
    whole, first = trainer(spec(), precision="fp32"), trainer(spec(), precision="fp32")
    whole.train(steps=7)
    first.train(steps=3)
    second = Trainer.resume(first.save(tmp_path / "run"), device="cpu")
    assert second.states.keys() == {"k", "p", "length", "centre"}
    second.train(steps=4)
    ours, theirs = {**tensors(whole), **whole.states}, {**tensors(second), **second.states}
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    files = [run.save(tmp_path / name) for name, run in (("whole", whole), ("second", second))]
    assert len({(folder / "tensors.safetensors").read_bytes() for folder in files}) == 1


@pytest.mark.parametrize(
    ("name", "tensor", "told"),
    [
        ("state/k", torch.zeros(1), r"'state/k': found \[1\] float32, expected \[\] float32"),
        ("state/k", torch.tensor(0), "int64"),
        ("state/k", torch.tensor(float("inf")), "infinity"),
        ("state/k", torch.tensor(float("nan")), "NaN"),
        ("state/k", None, "'state/k' is missing"),
        ("state/other", torch.tensor(0.0), "no place for 'state/other'"),
    ],
)
def test_a_checkpoint_with_other_states_is_refused(
    name: str, tensor: Tensor | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(spec(), precision="fp32")
    run.train(steps=2)
    folder = run.save(tmp_path / "run")
    kept = {key: value for key, value in load_file(folder / "tensors.safetensors").items() if key != name}
    save_file(kept if tensor is None else {**kept, name: tensor}, folder / "tensors.safetensors")
    with pytest.raises(CheckpointError, match=told):
        Trainer.resume(folder, device="cpu")


def test_what_may_change_of_a_state_when_a_run_goes_on(tmp_path: Path) -> None:
    run = trainer(spec(), precision="fp32")
    run.train(steps=1)
    folder = run.save(tmp_path / "run")
    often = Trainer.resume(folder, device="cpu", spec=read(text().replace("every: 4", "every: 2")))
    assert [str(each) for each in often.changes] == ["state.p.every: 4 -> 2"]
    for other in (
        text().replace("start: 0.5", "start: 0.6"),
        text().replace(", 0.3)", ", 0.4)"),
        text(more=COUNT),
    ):
        with pytest.raises(UsageError, match="state"):
            Trainer.resume(folder, device="cpu", spec=read(other))


def test_a_fingerprint_knows_states_and_what_they_reach() -> None:
    found = {fingerprint(read(each)) for each in (text(), text().replace("every: 4", "every: 5"), text(more=COUNT))}
    assert len(found) == 3
    one, two = (
        read(text(more="  n: {start: 0, next: mean(w)}").replace("z: normal(2)", f"z: normal(2), w: normal({size})"))
        for size in (1, 2)
    )
    assert fingerprint(one) != fingerprint(two)


def test_a_loss_of_finiteness_names_the_state() -> None:
    run = trainer(spec(more="  n: {start: 1, next: exp(700 * n)}"))
    run.step()
    with pytest.raises(NotFiniteError, match="as states move at the end of the step") as error:
        run.step()
    assert error.value.update == ""


PHASES = """
  phases:
    - {length: 2 steps}
    - length: 2 steps
      state: {centre: {start: "ones(1)", next: "0.5 * centre"}, q: {start: 3, next: q + 1}}
"""


def test_a_phase_takes_states_over_where_their_shape_fits() -> None:
    source = text(fool="fake_error + 0.1 * path + p * mean(fake)").replace("\n  length: 30 steps", "").rstrip() + PHASES
    run = trainer(read(source))
    run.train(steps=2)
    before = run.states
    assert run.next_phase() == ["state centre", "state q"]
    after = run.states
    assert after["k"] == before["k"] and after["p"] == before["p"] and after["length"] == before["length"]
    assert after["centre"].tolist() == [1] and float(after["q"]) == 3
    run.train(steps=1)
    assert run.states["centre"].tolist() == [0.5]


def test_overlays_add_states_and_take_them_away() -> None:
    source = (
        text(fool="fake_error")
        + "variants:\n  less: {state: {p: none, centre: none}}\n  more: {state: {n: {start: 0, next: n + 1}}}\n"
    )
    states = {name: {*resolve(parse_text(source), Choice(variant=name)).phases[0].states} for name in ("less", "more")}
    assert states == {"less": {"k", "length"}, "more": {"k", "p", "length", "centre", "n"}}
    changed = resolve(parse_text(source), Choice(set={"state.p.every": "2", "state.k.start": "0.5"})).phases[0]
    assert (changed.states["k"].value, str(changed.states["p"].schedule["every"])) == (0.5, "Literal(value=2)")


def test_a_family_of_states() -> None:
    run = trainer(
        spec(more='  "m[i in 1..3]": {start: i, next: "m[i] * i"}\n  s: {start: 0, next: "sum(m[i] for i in 1..3)"}')
    )
    found = [run.step() for _ in range(2)]
    assert [found[1][f"m[{i}]"] for i in (1, 2, 3)] == [1, 8, 27]
    assert [each["s"] for each in found] == [6, 1 + 4 + 9]


def test_an_evaluation_reads_states_and_moves_none(tmp_path: Path) -> None:
    evaluate = (
        'evaluate:\n  samples: 4\n  result_samples: 8\n  values: {shown: "fake + 1e-9 * centre + k"}\n  grid: [shown]\n'
        '  metrics: {balance: 2 * k, far: "mean(norm(centre))", both: "mean(1e-9 * x) + p"}\n'
    )
    run = trainer(spec(evaluate=evaluate))
    run.train(steps=5)
    before = run.states
    found = run.evaluate()
    assert found is not None
    assert found.metrics["balance"] == pytest.approx(2 * float(before["k"]))
    assert found.metrics["far"] == pytest.approx(float(before["centre"].norm()))
    assert found.metrics["both"] == pytest.approx(float(before["p"]))
    assert all(torch.equal(run.states[name], before[name]) for name in before)
    measured = measure(run.engine, run.clock, {})
    assert measured["balance"].value == pytest.approx(2 * float(before["k"]))
    assert measured["far"].value == pytest.approx(float(before["centre"].norm()))


def test_a_value_first_computed_in_an_update_that_repeats_is_not_taken_for_the_first() -> None:
    with pytest.raises(SpecError, match="GG504"):
        check_spec(spec(step="[{update: d, minimize: judge, times: 2}, {update: g, minimize: fool}]"))


RARE = (
    "[{update: d, minimize: judge}, {update: g, minimize: fake_error}, {update: g, minimize: path, every: 3, draw: z}]"
)


def rarely(timing: str) -> Spec:
    """A state that becomes the mean slope, which is also what an update minimizes in every third step."""
    more = f'  t: {{start: 0, next: "mean(at_first(slope))"{timing}}}'
    source = text(step=RARE, more=more).replace("mean((slope - length) ** 2)", "mean(slope)")
    return read(source.replace('"lerp(length, mean(at_first(slope)), 0.3)"', "length + 1"))


@pytest.mark.parametrize("plan", PLANS)
def test_a_state_may_keep_what_an_update_computes_in_the_steps_in_which_it_moves(plan: str) -> None:
    share, merge = PLANS[plan]
    run = trainer(rarely(", every: 3"), share=share, merge=merge)
    for step in range(7):
        before = float(run.states["t"])
        losses = run.step()
        kept = before if step % 3 else float(losses["path"])
        assert float(run.states["t"]) == pytest.approx(kept, rel=1e-12)


@pytest.mark.parametrize("timing", ["", ", every: 2", ", when: step % 3 == 0"])
def test_a_state_that_moves_in_other_steps_than_an_update_cannot_keep_its_value(timing: str) -> None:
    with pytest.raises(SpecError, match="GG504"):
        check_spec(rarely(timing))


def test_the_end_of_a_step_is_told_from_the_moment_of_an_update() -> None:
    def lints(rule: str) -> list[str]:
        (phase,) = check_spec(
            spec(more=f'  t: {{start: 0, next: "{rule}"}}', fool="fake_error + t * path + p * mean(fake - centre)")
        )
        return [lint.code for lint in phase.lints]

    assert lints("mean(D(x))") == ["GG650"]
    assert lints("at_first(mean(D(x)))") == ["GG650"]  # of which no update computes the mean
    assert lints("mean(at_first(D(x)))") == lints("mean(again(D(x)))") == lints("mean(D(x + 1))") == []


def test_the_numbers_of_a_run_are_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "states.yaml"
    path.write_text(text())
    assert main(["run", str(path), "--steps", "3", "--device", "cpu", "--out", str(tmp_path / "runs")]) == 0
    (lines,) = (p.read_text().splitlines() for p in (tmp_path / "runs").rglob("metrics.jsonl"))
    assert {"k", "p", "length"} <= json.loads(lines[-1])["losses"].keys()
    (newest,) = (p.parent for p in (tmp_path / "runs").rglob("state.json"))
    assert "state/centre" in read_checkpoint(newest).tensors


def test_the_printed_code_moves_states_as_the_engine_does() -> None:
    mine, theirs = trainer(spec()), trainer(spec())
    engine, states = mine.engine, dict(mine.states)
    for number in range(6):
        x, z = normals(2, 4, 2, seed=number)
        given = {
            "draw": {"x": x, "z": z}.get,
            "states": states,
            "step": number,
            "optimizers": engine.optimizers,
            "parameters_of": engine.parameters.get,
            **engine.networks.callable,
        }
        exec(code_text(engine.program), given)
        theirs.step({"x": x, "z": z})
        assert worst(deviation(states[name], value) for name, value in theirs.states.items()) < 1e-12
    for name, network in theirs.networks.items():
        pairs = zip(mine.networks[name].parameters(), network.parameters(), strict=True)
        assert worst(deviation(a.detach(), b.detach()) for a, b in pairs) < 1e-12


def test_every_view_tells_states() -> None:
    (checked,) = check_spec(spec())
    program = compile_phase(checked)
    told = " ".join(plan_text(program).split())
    assert "at the end of the step: state becomes k = clamp(k + 0.1 * (0.9 * at_first(real_error) -" in told
    assert "at the end of the step: state (every 4 steps)" in told
    told = " ".join(explain_text(spec(), [program.plan]).split())
    assert "The end of the step: k, length and centre" in told
    assert "p = p + 0.25 * sign(mean(sign(at_first(D(x)))) - 0.1), from 0.1 on" in told
    assert r"p &\leftarrow p + 0.25 \, \operatorname{sgn}" in latex_text([checked])
    drawn = draw(checked.graph)
    assert "moves k, length and centre; at the end of the step" in drawn and "p ← p + 0.25" in drawn
    assert "    start: zeros(1, 2)\n    next: lerp(centre, batch_mean(again(fake)), 0.1 * p)" in spec_text(spec())
    assert "centre      [1, 2]" in shapes_text(checked)


def test_differences_of_states_are_told() -> None:
    other = (
        text(more=COUNT).replace("every: 4", "every: 5").replace("start: 0.5", "start: 0.6").replace(", 0.3)", ", 0.4)")
    )
    assert {str(each) for each in differences(spec(), read(other)) if each.section == "state"} == {
        "the rhythm of p was every 4 steps, and is now every 5 steps",
        "what length begins as was 0.5, and is now 0.6",
        "what length becomes was lerp(length, mean(at_first(slope)), 0.3), and is now"
        " lerp(length, mean(at_first(slope)), 0.4)",
        "n is new: n + 1, from 0 on",
    }
    assert differences(spec(), spec()) == ()


ALONE = """
gangraph: 1
name: alone
data: {{z: normal(4)}}
networks:
  G: {{inputs: z, layers: "linear(4)"}}
  N: {{inputs: q, layers: "{layers}"}}
  P: {{inputs: x, parts: {{body: linear(2)}}, values: {{h: body(x)}}, output: h, outputs: {{more: 2 * h}}}}
state: {{k: {{start: "ones({rows}, 4)", next: "k + 1"}}}}
losses: {{near: "mean(G(z)) + mean(N(k)) + mean(N(z)) + mean(P(z))"}}
train:
  batch: {batch}
  length: 3 steps
  optimizers: {{g: "adam(G)", n: "adam([N, P])"}}
  step: [{{update: g, minimize: near}}, {{update: n, minimize: near}}]
evaluate:
  mode: {mode}
  samples: 4
  result_samples: 10
  results:
    ofk: total(N(k))
    ofz: total(P(z).more - P(z).more + 1)
    mean: total(N(batch_mean(G(z))))
    both: mean(N(z) - N(k_mean))
  values: {{k_mean: batch_mean(k)}}
"""


@pytest.mark.parametrize(("batch", "rows"), [(2, 2), (1, 1), (2, 4), (2, 3), (4, 4)])
def test_a_network_on_a_state_is_measured_once_whatever_its_rows(batch: int, rows: int) -> None:
    run = trainer(read(ALONE.format(batch=batch, rows=rows, layers="linear(1)", mode="eval")))
    run.step()
    found = {name: each.value for name, each in measure(run.engine, run.clock, {}).items()}
    with torch.no_grad():
        assert found["ofk"] == pytest.approx(float(run.networks["N"](run.states["k"]).sum()), rel=1e-6)
    assert found["ofz"] == 20  # two for each of ten samples
    assert found["mean"] == pytest.approx(_by_hand(run), rel=1e-5)


def _by_hand(run: Trainer) -> float:
    """`total(N(batch_mean(G(z))))`: of each batch one number, of which the mean is taken."""
    found = list[float]()
    draws = BoundEvaluation(run.engine, run.engine.program.measurement, {}).draws(4)  # type: ignore[arg-type]
    with torch.no_grad():
        for index, count in enumerate((4, 4, 2)):
            draws.batch = count
            draws.begin({})
            (z,) = draws.draw("z", index).values()
            found.append(float(run.networks["N"](run.networks["G"](z).mean(0, keepdim=True)).sum()))
    return sum(found) / len(found)


@pytest.mark.parametrize(("batch", "rows"), [(2, 2), (1, 1), (2, 4), (2, 3)])
def test_a_network_that_draws_takes_a_state_in_a_batch_of_another_size(batch: int, rows: int) -> None:
    run = trainer(read(ALONE.format(batch=batch, rows=rows, layers="linear(3), dropout(0.5), linear(1)", mode="train")))
    run.step()
    assert run.step({"z": torch.zeros(6, 4, dtype=torch.float64)})
    found = measure(run.engine, run.clock, {})
    assert all(each.value is not None for each in found.values())


GROUPED = """
gangraph: 1
name: grouped
data: {{x: "plane(std=0.3, count=64)"}}
networks:
  D: {{inputs: x, layers: "linear(3), minibatch_std(group=4), linear(3)"}}
  H: {{inputs: q, layers: "linear(1)"}}
state: {{m: {{start: "zeros(1, 3)", next: "lerp(m, batch_mean(at_first(D(x))), 0.1)"}}}}
losses: {{judge: "mean(D(x)) + mean(H(D(x)))"}}
train:
  batch: {batch}
  length: 3 steps
  optimizers: {{d: "sgd([D, H], lr=0.01)"}}
  step: [{{update: d, minimize: judge}}]
evaluate: {{samples: 4, result_samples: 12, results: {{r: total(H(batch_mean(D(x))))}}}}
"""


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_a_batch_smaller_than_its_group_says_as_much_of_what_has_samples(batch: int) -> None:
    """Groups of 4 take no batch that is three times as large as 2 or 3, with which samples are told from features."""
    run = trainer(read(GROUPED.format(batch=batch)))
    (checked,) = run.checked
    assert {name for name in checked.types.batched if not checked.graph.nodes[name].is_same} == {"x", "D_out", "H_out"}
    run.step()
    assert run.states["m"].shape == (1, 3)
    found = measure(run.engine, run.clock, {})["r"].value
    draws = BoundEvaluation(run.engine, run.engine.program.measurement, {}).draws(4)  # type: ignore[arg-type]
    expected = list[float]()
    with torch.no_grad():
        for index in range(3):
            draws.begin({})
            (x,) = draws.draw("x", index).values()
            expected.append(float(run.networks["H"](run.networks["D"](x).mean(0, keepdim=True)).sum()))
    assert found == pytest.approx(sum(expected) / 3, rel=1e-5)


@pytest.mark.parametrize("batch", [2, 3])
def test_a_gradient_with_respect_to_parameters_has_no_samples_whatever_its_length(batch: int) -> None:
    values = 'values: {g: "grad(D(x), parameters(D))"}\nlosses'
    written = GROUPED.format(batch=batch).replace("losses", values).replace("mean(H(D(x)))", "mean(H(D(x))) + mean(g)")
    written = written.replace('"linear(3), minibatch_std(group=4), linear(3)"', '"linear(1)"').replace(
        "zeros(1, 3)", "zeros(1, 1)"
    )
    (checked,) = check_spec(read(written))
    assert checked.types.nodes["g"].shape == (3,)
    assert "g" not in checked.types.batched
