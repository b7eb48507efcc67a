"""Variables: trained tensors that are no network, against loops by hand in float64."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer, load
from gangraph.cli import main
from gangraph.data.fixed import fixed
from gangraph.data.random import RandomSource, bernoulli, categorical, normal, permutation, uniform
from gangraph.errors import RunError, SpecError, UsageError
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.folder.run_folder import RunFolder
from gangraph.language.continuation import changes
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase, check_spec, compile_phase
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import shapes_text
from tests.support import deviation, read, same, snapshot, trainer, worst

TOLERANCE = 1e-9
PLANS = [(True, True), (False, True), (True, False), (False, False)]

# A code for each sample, and one tensor that all share, beside a network with batch norm that learns as well.
CODES = """
gangraph: 1
name: codes
data:
  x: {x}
  z: normal(3)
networks:
  V: {{inputs: x, layers: "linear(5), batch_norm, tanh"}}
  G: {{inputs: c, layers: "linear(6), batch_norm, tanh, linear(2)"}}
  code_mean: average(code, decay=0.9)
variables:
  code: {code}
  shift: {shift}
values:
  made: G(code) + shift
losses:
  near: "l2(made, x) + 0.1 * l2(V(made), V(x))"
  small: mean(code ** 2) + 0.01 * total(parameters(shift) ** 2)
train:
  batch: 4
  length: 40 steps
  optimizers:
    codes: adam([code, shift], lr=0.05)
    g: sgd(G, lr=0.1)
  step:
    - {{update: codes, minimize: "near + 0.1 * small", then: "clip(code, -1.5, 1.5)"}}
    - {{update: g, minimize: near}}
evaluate:
  samples: 4
  result_samples: 8
  grid: [made]
  metrics: {{distance: "l2(G(code_mean) + shift, x)"}}
  results: {{far: "l2(G(code), x)"}}
"""
FORMS = {"x": '"fixed(plane(std=0.3))"', "code": "normal(3, std=0.5)", "shift": "[0.25, -0.5]"}


def codes(**parts: str) -> Spec:
    return read(CODES.format(**{**FORMS, **parts}))


def value(run: Trainer, name: str) -> Tensor:
    return run.networks[name].value.detach()  # type: ignore[union-attr]  # the parameter of a variable


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=["as planned", "merged", "shared", "plain"])
def test_the_engine_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    run = trainer(codes(), share=share, merge=merge)
    generator, frozen = (copy.deepcopy(run.networks[name]) for name in "GV")
    run.engine.begin(run.clock)  # as the first step would
    code, shift, mean = (nn.Parameter(value(run, name).clone()) for name in ("code", "shift", "code_mean"))
    assert torch.equal(shift, torch.tensor([0.25, -0.5], dtype=torch.float64))
    assert torch.equal(mean, code)
    assert code.shape == (4, 3)
    painter = torch.optim.Adam([code, shift], lr=0.05)
    learner = torch.optim.SGD(generator.parameters(), lr=0.1)
    found: list[float] = []
    (x,) = run.engine.draws.ahead().draw("x", 0).values()
    for _ in range(22):
        theirs = run.step()
        made = generator(code) + shift
        near = functional.mse_loss(made, x) + 0.1 * functional.mse_loss(frozen(made), frozen(x))
        small = (code**2).mean() + 0.01 * (shift**2).sum()
        gradients = torch.autograd.grad(near + 0.1 * small, [code, shift])
        code.grad, shift.grad = gradients
        painter.step()
        with torch.no_grad():
            code.clamp_(-1.5, 1.5)
            mean.lerp_(code, 0.1)
        found += [deviation(theirs["small"], small.detach())]
        again = generator(code) + shift
        near = functional.mse_loss(again, x) + 0.1 * functional.mse_loss(frozen(again), frozen(x))
        found += [deviation(theirs["near"], near.detach())]
        learner.zero_grad()
        near.backward()
        learner.step()
    found += [deviation(value(run, "code"), code.detach()), deviation(value(run, "shift"), shift.detach())]
    found += [deviation(value(run, "code_mean"), mean.detach())]
    pairs = zip(run.networks["G"].state_dict().values(), generator.state_dict().values(), strict=True)
    found += [deviation(p, q) for p, q in pairs]
    assert worst(found) <= TOLERANCE


def test_it_begins_as_what_the_first_step_draws() -> None:
    run = trainer(codes(x="plane(std=0.3)", code="V(x) * 2", shift="mean(V(x))"))
    before = snapshot({"V": run.networks["V"]})
    run.engine.begin(run.clock)
    assert same(before, snapshot({"V": run.networks["V"]}))  # what it begins as moves no statistics
    (x,) = run.engine.draws.ahead().draw("x", 0).values()
    expected = copy.deepcopy(run.networks["V"])(x) * 2
    assert deviation(value(run, "code"), expected.detach()) <= 1e-12
    assert deviation(value(run, "shift"), expected.mean().detach() / 2) <= 1e-12


def test_a_random_start_is_a_function_of_the_seed() -> None:
    first, again, other = (trainer(codes(), seed=seed) for seed in (1, 1, 2))
    for run in (first, again, other):
        run.step()
    assert same(snapshot(first.networks), snapshot(again.networks))
    assert not torch.equal(value(first, "code"), value(other, "code"))


POINTS = """
gangraph: 1
name: points
data:
  x: plane(std=0.3)
  y: "fixed(plane(std=0.3))"
variables: {{point: {start}}}
losses: {{near: "{near}"}}
train:
  batch: 4
  optimizers: {{p: "adam(point, lr=0.1)"}}
  step: [{{update: p, minimize: near}}]
{length}
evaluate:
  samples: 4
  grid: [point]
  metrics: {{far: "l2(point, y)"}}
"""


def points(start: str = "x", near: str = "l2(point, y)", length: str = "  length: 30 steps") -> Spec:
    return read(POINTS.format(start=start, near=near, length=length))


def test_it_begins_as_a_batch_that_is_given() -> None:
    run, x = trainer(points(near="0 * step + l2(point, y)")), torch.arange(8.0, dtype=torch.float64).reshape(4, 2)
    losses = run.step({"x": x})
    (y,) = run.engine.draws.ahead().draw("y", 0).values()
    assert deviation(losses["near"], functional.mse_loss(x, y)) <= 1e-12
    with pytest.raises(UsageError, match="source 'x' is not drawn in this step"):
        run.step({"x": x})


def test_another_number_of_samples_is_refused() -> None:
    run = trainer(points())
    with pytest.raises(UsageError, match="'point' has one tensor for each of 4 samples; 3 were given"):
        run.step({"y": torch.zeros(3, 2)})
    run = trainer(points())
    with pytest.raises(RunError, match="'point' has one tensor for each of 4 samples, and an evaluation of 3"):
        run.evaluate(3)


def test_an_evaluation_before_the_first_step_shows_what_it_begins_as() -> None:
    run, twin = trainer(points()), trainer(points())
    shown = run.evaluate()
    assert shown is not None
    (x,) = twin.engine.draws.ahead().draw("x", 0).values()
    assert deviation(shown.grid["point"], x) == 0
    assert run.engine.draws.positions == {}
    run.train(3)
    twin.train(3)
    assert same(snapshot(run.networks), snapshot(twin.networks))


def test_a_fixed_source_draws_the_same_everywhere() -> None:
    run = trainer(points())
    first = run.engine.draws.ahead().draw("y", 0)
    run.train(2)
    again = run.engine.draws.ahead().draw("y", 7)
    evaluated = trainer(points(), seed=5).evaluate()
    assert torch.equal(first["points"], again["points"]) if "points" in first else same(first, again)
    assert evaluated is not None
    (y,) = first.values()
    (x,) = trainer(points(), seed=5).engine.draws.ahead().draw("x", 0).values()
    assert evaluated.metrics["far"] == pytest.approx(float(functional.mse_loss(x, y)), rel=1e-5)


def test_fixed_random_numbers_are_a_function_of_their_seed() -> None:
    text = CODES.replace("normal(3)", '"fixed(normal(3), seed={seed})"', 1)
    draws = [
        trainer(read(text.format(**FORMS, seed=seed)), seed=run).engine.draws.ahead().draw("z", step)["value"]
        for seed, run, step in ((0, 0, 0), (0, 3, 5), (1, 0, 0))
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    "source",
    [normal(3), normal(1), uniform(3), bernoulli(5), categorical(4, one_hot=True), permutation(5, 2)],
    ids=lambda source: type(source).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_fixed_random_sample_depends_on_its_place_alone(source: RandomSource, dtype: torch.dtype) -> None:
    made = fixed(source)
    assert isinstance(made, RandomSource)
    every = made.draw(50, torch.Generator(), "cpu", dtype)
    assert not torch.equal(every[:16], every[16:32])
    for count in (1, 4, 6, 8, 15, 17, 33):
        assert torch.equal(made.draw(count, torch.Generator(), "cpu", dtype), every[:count]), count


PHASES = """  phases:
    - {length: 3 steps}
    - {length: 3 steps, variables: {more: "x + 1"}, optimizers: {p: "adam([point, more], lr=0.1)"},
       losses: {near: "l2(point, y) + l2(more, y)"}}"""


def test_it_is_carried_into_the_next_phase_and_a_new_one_begins_there() -> None:
    run = trainer(points(length=PHASES))
    run.train(3)
    before, positions = value(run, "point").clone(), dict(run.engine.draws.positions)
    assert run.next_phase() == ["more.value"]
    assert torch.equal(value(run, "point"), before)
    (x,) = run.engine.draws.ahead().draw("x", 3).values()
    assert torch.equal(value(run, "more"), x + 1)
    run.train(2)
    assert run.engine.draws.positions.keys() == positions.keys()


@pytest.mark.parametrize("steps", [0, 2, 3, 5])
def test_a_run_that_goes_on_ends_with_the_same_bits(steps: int, tmp_path: Path) -> None:
    spec = points(length=PHASES)
    whole, half = Trainer(spec, device="cpu", seed=3), Trainer(spec, device="cpu", seed=3)
    whole.train()
    half.train(steps)
    if steps == 3:
        half.next_phase()
    half.evaluate()
    half.save(tmp_path / "saved")
    again = Trainer.resume(tmp_path / "saved", device="cpu")
    again.train()
    assert same(snapshot(whole.networks), snapshot(again.networks))


def test_another_start_or_batch_is_no_way_to_go_on() -> None:
    spec = points()
    (other,) = changes(spec, points(start="x * 2"), 0)
    assert (other.path, other.touches) == ("variables.point", "trained")
    text = POINTS.format(start="x", near="l2(point, y)", length="  length: 30 steps")
    wider = read(text.replace("batch: 4", "batch: 5"))
    assert [(each.path, each.touches) for each in changes(spec, wider, 0)] == [("train.batch", "trained")]


def test_what_it_begins_as_is_part_of_the_fingerprint() -> None:
    text = POINTS.format(start="x", near="l2(point, y)", length="  length: 30 steps")
    other_data = read(text.replace("x: plane(std=0.3)", "x: plane(std=0.4)"))
    assert len({fingerprint(each) for each in (points(), points(start="x * 2"), other_data)}) == 3
    assert fingerprint(points()) == fingerprint(read(text + "\n"))


def test_a_checkpoint_has_it_by_its_name(tmp_path: Path) -> None:
    run = trainer(points())
    run.train(2)
    run.save(tmp_path / "saved")
    assert torch.equal(read_checkpoint(tmp_path / "saved").tensors["network/point/value"], value(run, "point"))


# Every view tells of it.


def test_every_view_says_what_it_begins_as() -> None:
    spec = codes(code="V(x) * 2")
    checked = check_phase(spec, spec.phases[0])
    program = compile_phase(checked)
    assert "begins once      code as V(x) * 2, 5 numbers for each sample" in plan_text(program)
    assert "shift as [0.25, -0.5], 2 numbers for all samples" in plan_text(program)
    told = " ".join(explain_text(spec, [program.plan]).split())
    assert "code is a variable of 5 numbers for each sample, which begins as V(x) * 2." in told
    assert "code_mean is a moving average of code" in told
    assert r"\mathrm{code} \text{ begins as } 2 \, V(x)" in latex_text([checked])
    assert "a variable that begins as V(x) * 2" in draw(checked.graph)
    assert "variables:\n  code: V(x) * 2\n  shift: [0.25, -0.5]" in spec_text(spec)
    assert "\ncode " in shapes_text(checked)
    code = code_text(program)
    assert "    code_.value.data.copy_(code_start)" in code
    assert "    shift.value.data.copy_(torch.tensor((0.25, -0.5), dtype=shift.value.dtype))" in code
    compile(code, "step", "exec")


def test_a_difference_names_both_starts() -> None:
    (found,) = differences(codes(), codes(code="normal(3, std=1)"))
    assert str(found) == (
        "code was a variable that begins as normal(3, std=0.5), 12 parameters,"
        " and is now a variable that begins as normal(3, std=1), 12 parameters"
    )


def test_the_printed_step_begins_and_steps_as_the_engine_does() -> None:
    spec = codes(code="V(x) * 2")
    mine, theirs = trainer(spec), trainer(spec)
    engine = mine.engine
    engine.draws.begin({})
    given = {
        "draw": lambda source: next(iter(engine.draws.draw(source, 0).values())),
        "optimizers": engine.optimizers,
        "parameters_of": engine.parameters.get,
        "step": 0,
        **engine.networks.callable,
    }
    before = [(each, each.clone()) for each in mine.networks["V"].buffers()]
    exec(code_text(engine.program), given)
    theirs.step()
    assert before
    for name in ("code", "shift", "G"):
        pairs = zip(mine.networks[name].parameters(), theirs.networks[name].parameters(), strict=True)
        assert worst(deviation(p.detach(), q.detach()) for p, q in pairs) <= 1e-6


# What nobody moves is told of, and a picture is left.


def test_one_that_nothing_trains_is_told_of() -> None:
    spec = codes(shift="[0.25, -0.5]")
    untrained = read(CODES.format(**FORMS).replace("[code, shift]", "code"))
    assert not [lint for lint in check_spec(spec)[0].lints if lint.code == "GG605" and "shift" in lint.message]
    (told,) = (lint for lint in check_spec(untrained)[0].lints if lint.code == "GG605" and "shift" in lint.message)
    assert "no update trains 'shift'" in str(told)


def test_a_fixed_stream_is_no_moving_target() -> None:
    assert not [lint for lint in check_spec(points())[0].lints if lint.code == "GG642"]
    with pytest.raises(SpecError, match="GG303"):
        check_spec(points(start="point"))


def test_a_gradient_with_respect_to_its_parameters_is_that_with_respect_to_it() -> None:
    spec = """
gangraph: 1
name: both
data: {x: fixed(plane())}
networks: {D: "mlp(widths=[4], activation=tanh)"}
variables: {code: x}
losses:
  first: total(grad(mean(D(code)), parameters(code)) ** 2)
  second: total(grad(mean(D(code)), code) ** 2)
train:
  batch: 4
  length: 5 steps
  optimizers: {c: "sgd(code, lr=0.1)"}
  step: [{update: c, minimize: first + second}]
"""
    losses = trainer(read(spec)).step()
    assert float(losses["first"]) == pytest.approx(float(losses["second"]), rel=1e-12)


NAMED = """
gangraph: 1
name: named
data: {x: fixed(normal(2))}
networks:
  Q:
    inputs: x
    parts: {body: "linear(4), tanh", head: linear(3)}
    values: {h: body(x)}
    output: head(h)
    outputs: {features: 2 * h}
  double: {inputs: x, output: 2 * x}
variables: {w: Q(x).features, v: begin}
values: {begin: double(x)}
losses: {l: mean(w ** 2) + mean(v ** 2) + mean(Q(x))}
train:
  batch: 4
  length: 3 steps
  optimizers: {w: "sgd([w, v], lr=0.1)"}
  step: [{update: w, minimize: l}]
"""


def test_a_variable_begins_as_an_output_that_nothing_else_reads() -> None:
    run = trainer(read(NAMED))
    assert run.networks["w"].value.shape == (4, 4)
    run.step()


def test_what_a_variable_begins_as_is_used() -> None:
    (checked,) = check_spec(read(NAMED))
    assert [lint.message for lint in checked.lints if lint.code == "GG608"] == []


@pytest.mark.parametrize("start", ["from_run", "by name"])
def test_a_variable_that_a_run_begins_with_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = CODES.format(**FORMS).replace("length: 40 steps", "length: 3 steps")
    Path("codes.yaml").write_text(text)
    assert main(["run", "codes.yaml", "--out", "made", "--device", "cpu"]) == 0
    trained = read_checkpoint(RunFolder(Path("made")).latest()).tensors["network/shift/value"]
    written = 'start: from_run("made")' if start == "by name" else "start: {shift: 'from_run(\"made\")'}"
    Path("next.yaml").write_text(f"{text}{written}\n")
    run = trainer(load("next.yaml"))
    shift = run.engine.networks.live["shift"].get_parameter("value")
    assert torch.equal(shift, trained.to(shift)) and not torch.allclose(shift, torch.tensor([0.25, -0.5]).to(shift))
    run.step()
    assert (shift - trained.to(shift)).abs().max() < 0.06  # Adam's first step is 0.05 at most
