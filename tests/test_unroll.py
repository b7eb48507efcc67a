"""Objectives that look ahead: steps of another group's optimizer, descended through and forgotten."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, autograd, nn

import gangraph
from gangraph import Trainer
from gangraph.build import lookahead
from gangraph.build.phase import build
from gangraph.graph.arguments import Argument, Ref
from gangraph.graph.differentiability import differentiable
from gangraph.graph.kind import Builder, Form, NodeKind
from gangraph.graph.kinds import kinds
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.expression import model as ast
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.run.finite import NotFiniteError
from gangraph.run.gradients import differentiate
from gangraph.run.lookahead import Ahead, LookedAhead
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw, step_picture
from gangraph.views.drawing.schedule import schedule
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import check_json
from gangraph.vocabulary.optimizer_steps import root
from tests.reference.networks import Mlp
from tests.reference.unrolled import UnrolledLoop
from tests.support import copy_parameters, deviation, load, normals, refused, same, small, snapshot, trainer, worst

TOLERANCE = 1e-10
PLANS = [(True, True), (False, True), (True, False), (False, False)]
D_STEP = "{update: d, minimize: judge}"


def ahead(steps: int | str, minimize: str = "-judge", inner: str = "judge", more: str = "") -> str:
    """An update of the generator that looks ahead of the discriminator."""
    return f'{{update: g, minimize: "{minimize}", unroll: {{update: d, minimize: "{inner}", steps: {steps}}}{more}}}'


def looking(steps: int | str = 3, **parts: str) -> Spec:
    """A small GAN whose generator looks ahead."""
    return small(ahead(steps), D_STEP, **{"optimizer_d": "adam(D, lr=0.05)", **parts})


# The spec against a loop by hand.


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=["as planned", "merged", "shared", "plain"])
@pytest.mark.parametrize("together", [False, True], ids=["in turns", "at once"])
@pytest.mark.parametrize("k", [0, 1, 5])
def test_the_engine_agrees_with_the_loop_by_hand(k: int, together: bool, share: bool, merge: bool) -> None:
    activation: dict[str, Any] = {"activation": "relu", "shrink": 4}
    spec = load("unrolled", variant="notebook" if together else None, k=k, rate=1e-3, rate_d=2e-3, **activation)
    engine = trainer(spec, share=share, merge=merge)
    own = {"G": Mlp([3, 8, 8, 2]).double(), "D": Mlp([2, 8, 1]).double()}
    for name, network in own.items():
        copy_parameters(engine.networks[name], network)
    loop = UnrolledLoop(own["G"], own["D"], k, lr=(1e-3, 2e-3), together=together)
    found: list[float] = []
    for x, z in zip(normals(5, 6, 2, seed=1), normals(5, 6, 3, seed=2), strict=True):
        theirs, mine = engine.step({"x": x, "z": z}), loop.step(x, z)
        found += [deviation(theirs["judge"], mine["judge"])]
    for name, network in own.items():
        pairs = zip(engine.networks[name].parameters(), network.parameters(), strict=True)
        found += [deviation(p.detach(), q.detach()) for p, q in pairs]
    assert worst(found) <= TOLERANCE


def test_the_comparison_notices_one_step_more() -> None:
    engine = trainer(load("unrolled", k=4, rate=1e-3, rate_d=2e-3))
    own = {"G": Mlp([3, 8, 8, 2]).double(), "D": Mlp([2, 8, 1]).double()}
    for name, network in own.items():
        copy_parameters(engine.networks[name], network)
    loop = UnrolledLoop(own["G"], own["D"], 5, lr=(1e-3, 2e-3))
    (x,), (z,) = normals(1, 6, 2, seed=1), normals(1, 6, 3, seed=2)
    engine.step({"x": x, "z": z})
    loop.step(x, z)
    pairs = zip(engine.networks["G"].parameters(), own["G"].parameters(), strict=True)
    assert worst(deviation(p.detach(), q.detach()) for p, q in pairs) > TOLERANCE


@pytest.mark.parametrize("more", [0, 3], ids=["equally far", "each further"])
def test_updates_in_a_loop_have_steps_of_their_own(more: int) -> None:
    """Against the loop by hand: each generator looks `1 + more * i` steps ahead of the one critic."""
    spec = resolve(parse_text(_LOOP), Choice(set={"more": str(more)}))
    engine, twin = trainer(spec), trainer(spec)
    makers, critic = [twin.networks["G[0]"], twin.networks["G[1]"]], twin.networks["D"]
    softplus, call = nn.functional.softplus, partial(torch.func.functional_call, critic)

    def judge(weights: dict[str, Tensor]) -> Tensor:
        made = torch.add(*(maker(z) for maker in makers))
        real, fake = (call(weights, (each,)) for each in (x, made))
        total: Tensor = softplus(-real).mean() + softplus(fake).mean()
        return total

    for x, z in zip(normals(3, 4, 2, seed=1), normals(3, 4, 2, seed=2), strict=True):
        engine.step({"x": x, "z": z})
        for i, maker in enumerate(makers):
            weights: dict[str, Tensor] = dict(critic.named_parameters())
            for _ in range(1 + more * i):
                slopes = autograd.grad(judge(weights), list(weights.values()), create_graph=True)
                weights = {name: w - 0.5 * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}
            _descend(maker, softplus(-call(weights, (maker(z),))).mean())
        _descend(critic, judge(dict(critic.named_parameters())))
    for name, network in twin.networks.items():
        pairs = zip(engine.networks[name].parameters(), network.parameters(), strict=True)
        assert worst(deviation(p.detach(), q.detach()) for p, q in pairs) <= TOLERANCE
    code = code_text(engine.engine.program)
    assert re.findall(r"range\((\d)\)", code) == ["1", str(1 + more)]
    assert re.findall(r"^def (\w+_steps)\(", code, flags=re.MULTILINE) == ["g_0_ahead_steps", "g_1_ahead_steps"]


_LOOP = """
gangraph: 1
name: loop
params: {more: 0}
data: {x: plane(), z: normal(2)}
networks:
  G[i in 0..1]: {inputs: z, layers: "linear(3), tanh, linear(2)"}
  D: {inputs: x, layers: "linear(3), tanh, linear(1)"}
values:
  fake[i in 0..1]: G[i](z)
  both: fake[0] + fake[1]
losses:
  judge: logistic.critic(real=D(x), fake=D(both))
  fool[i in 0..1]: logistic.generator(D(fake[i]))
train:
  batch: 4
  length: 3 steps
  optimizers: {"d": "sgd(D, lr=0.5)", "g[i in 0..1]": "sgd(G[i], lr=0.5)"}
  step:
    - for i in 0..1:
        - {update: "g[i]", minimize: "fool[i]", unroll: {update: d, minimize: judge, steps: 1 + more * i}}
    - {update: d, minimize: judge}
"""


def _descend(network: nn.Module, loss: Tensor) -> None:
    """One step of gradient descent."""
    parameters = list(network.parameters())
    with torch.no_grad():
        for parameter, slope in zip(parameters, autograd.grad(loss, parameters), strict=True):
            parameter -= 0.5 * slope


@pytest.mark.parametrize(("variant", "critic"), [(None, 513), ("notebook", 17_025)])
def test_the_networks_have_the_sizes_of_paper_and_notebook(variant: str | None, critic: int) -> None:
    (checked,) = check_spec(gangraph.load("unrolled", profile="paper", variant=variant))
    assert {name: checked.networks[name].parameters for name in "GD"} == {"G": 49_666, "D": critic}


def test_no_step_ahead_is_the_program_without_a_lookahead() -> None:
    plain, none = small("{update: g, minimize: -judge}", D_STEP), looking(0, optimizer_d="sgd(D, lr=0.1)")
    assert fingerprint(plain) == fingerprint(none) != fingerprint(looking(1, optimizer_d="sgd(D, lr=0.1)"))
    first, second = (code_text(compile_phase(check_spec(spec)[0])) for spec in (plain, none))
    assert first == second
    assert trainer(plain).train(3) == trainer(none).train(3)


PAGE = (Path(__file__).parent.parent / "docs/language/unroll.md").read_text()


def block(language: str) -> str:
    """The code block of a language on the page about looking ahead."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_page_s_example_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "saddle.yaml").write_text(block("yaml"))
    monkeypatch.chdir(tmp_path)
    exec(block("python"), {})
    assert capsys.readouterr().out == block("output")


@pytest.mark.parametrize("k", [0, 1, 2, 7])
def test_the_saddle_has_the_gradient_of_the_closed_form(k: int) -> None:
    """x (y + k lr x) has the derivative y + 2 k lr x."""
    engine = trainer(resolve(parse_text(block("yaml")), Choice(set={"k": str(k)})))
    engine.step({"one": torch.ones(1, 1, dtype=torch.float64)})
    x, y = (float(engine.networks[name].get_parameter("layers.linear.weight").detach()) for name in "XY")
    assert x == pytest.approx(1 - 0.2 * (1 + 2 * k * 0.2), rel=1e-12)
    assert y == pytest.approx(1 + 0.2 * x, rel=1e-12)


# Steps of optimizers, each with its options.

OPTIONS = [
    (torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.9)}),
    (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "eps": 1e-3}),
    (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.3}),
    (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True}),
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (torch.optim.RMSprop, {"lr": 0.1, "alpha": 0.7}),
    (torch.optim.RMSprop, {"lr": 0.1, "centered": True, "momentum": 0.5, "weight_decay": 0.2, "eps": 1e-4}),
    (torch.optim.Adagrad, {"lr": 0.1}),
    (torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.2, "initial_accumulator_value": 0.5}),
]


def _loss(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return (network(x) - x.sum(1, keepdim=True).sin()).square().mean()


@pytest.mark.parametrize("before", [0, 4], ids=["from nothing", "from a state"])
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=lambda each: getattr(each, "__name__", None))
def test_steps_ahead_are_those_of_torch(kind: Any, options: dict[str, Any], before: int) -> None:
    network, (x,) = Mlp([2, 5, 1], torch.tanh).double(), normals(1, 7, 2)
    optimizer = kind(network.parameters(), **options)

    def step() -> None:
        optimizer.zero_grad()
        autograd.backward(_loss(network, x))
        optimizer.step()

    for _ in range(before):
        step()
    started = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    virtual = Ahead.of(optimizer, [network])
    for _ in range(5):
        virtual = virtual.step(_loss(partial(LookedAhead(network), virtual), x), through=True)
    assert same(network.state_dict(), started[0])
    assert optimizer.state_dict()["state"].keys() == started[1]["state"].keys()
    for _ in range(5):
        step()
    for path, value in virtual.tensors(network).items():
        assert deviation(value.detach(), network.state_dict()[path]) <= 1e-12


def test_a_parameter_without_gradient_stays_as_in_torch() -> None:
    network = nn.Linear(2, 1).double()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    started = Ahead.of(optimizer, [network])
    moved = started.step(started.tensors(network)["weight"].square().sum(), through=True)
    assert torch.equal(moved.tensors(network)["bias"], network.bias)
    assert moved.slots[network.bias] == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Adam", 0.1 / 1e-8), ("RMSprop", 0.1 / 1e-8), ("Adagrad", 0.1 / 1e-10), ("SGD", 0.1)],
)
def test_the_derivative_of_a_step_at_a_gradient_of_zero_is_exact(kind: str, expected: float) -> None:
    """There the step is -lr g / (sqrt(v) + eps) with v = O(g^2), whose derivative is -lr / eps."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = getattr(torch.optim, kind)([weight], lr=0.1)
    network = nn.Module()
    network.weight = weight
    gradient = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    started = Ahead.of(optimizer, [network])
    moved = started.step((started.values[weight] * gradient).sum(), through=True).values[weight]
    assert float(moved.detach()) == 0
    (slope,) = torch.autograd.grad(moved, gradient)
    assert float(slope) == pytest.approx(-expected, rel=1e-9)


def test_the_root_is_that_of_torch_with_a_derivative_of_zero_at_zero() -> None:
    values = torch.tensor([0.0, 1e-30, 4.0], dtype=torch.float64, requires_grad=True)
    assert torch.equal(root(values), values.sqrt())
    (slope,) = torch.autograd.grad(root(values).sum(), values)
    assert slope.tolist() == [0.0, pytest.approx(0.5e15), 0.25]


def test_units_that_never_are_active_give_no_nan() -> None:
    spec = looking(5, networks_d="mlp(widths=[6], activation=relu)", optimizer_d="adam(D, lr=1e-3)")
    engine = trainer(spec, precision="fp32")
    with torch.no_grad():
        engine.networks["D"].get_parameter(_bias(engine)).fill_(-100.0)
    engine.train(3)
    assert all(p.isfinite().all() for p in engine.networks["G"].parameters())


def _bias(engine: Trainer) -> str:
    return next(name for name, p in engine.networks["D"].named_parameters() if p.shape == (6,))


# What a lookahead leaves as it is.


def test_networks_buffers_and_optimizers_are_not_moved_by_looking_ahead() -> None:
    noisy = "{inputs: x, layers: 'linear(4), batch_norm, relu, dropout(0.3), linear(1)'}"
    spec = small(ahead(4), optimizer_d="adam(D, lr=0.05)", networks_d=noisy)
    engine = trainer(spec)
    before, state = snapshot({"D": engine.networks["D"]}), copy.deepcopy(engine.engine.optimizers["d"].state_dict())
    generator = snapshot({"G": engine.networks["G"]})
    engine.train(3)
    assert same(before, snapshot({"D": engine.networks["D"]}))
    assert state["state"] == engine.engine.optimizers["d"].state_dict()["state"] == {}
    assert not same(generator, snapshot({"G": engine.networks["G"]}))


@pytest.mark.parametrize("layer", ["batch_norm", "dropout(0.5)"])
def test_every_step_and_the_objective_have_one_noise_and_buffers_of_their_own(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the objective at a copy of the discriminator that really takes the steps, on the same noise."""
    layers = f"{{inputs: x, layers: 'linear(4), {layer}, tanh, linear(1)'}}"
    spec = small(ahead(3), networks_d=layers, optimizer_d="adam(D, lr=0.05)")
    engine, twin = trainer(spec), trainer(spec)
    draws = {"x": normals(1, 4, 2)[0], "z": normals(1, 4, 2, seed=1)[0]}
    made: dict[str, Tensor] = {}
    _watch(engine, made, monkeypatch)
    engine.step(draws)
    network, optimizer = twin.networks["D"], twin.engine.optimizers["d"]
    fake = twin.networks["G"](draws["z"])
    noise = {call: made[name] for name in made for call in [name.partition(".")[0]] if "draw" in name}

    def judge() -> Tensor:
        calls = [network(value, *noise_of(call)) for call, value in (("D_out", draws["x"]), ("D_out_2", fake))]
        softplus = nn.functional.softplus
        total: Tensor = softplus(-calls[0]).mean() + softplus(calls[1]).mean()
        return total

    def noise_of(call: str) -> list[Tensor]:
        return [noise[call]] if call in noise else []

    for _ in range(3):
        optimizer.zero_grad()
        autograd.backward(judge(), inputs=list(network.parameters()))
        optimizer.step()
    (objective,) = engine.engine.program.plan.updates[0].graph.objectives
    assert deviation(made[objective.loss], -judge().detach()) <= TOLERANCE


def _watch(engine: Trainer, made: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every value of the next step."""

    def keep(*arguments: Any) -> None:
        made.update({name: value.detach() for name, value in engine.engine.values.items()})
        differentiate(*arguments)

    monkeypatch.setattr("gangraph.run.engine.differentiate", keep)


def test_rates_over_time_have_their_present_value_in_the_steps() -> None:
    timed = looking(2, optimizer_d="sgd(D, lr=0.125 * (step + 1))")
    engine = trainer(timed)
    engine.train(2)
    twin = trainer(looking(2, optimizer_d="sgd(D, lr=0.375)"))
    for name in "GD":
        copy_parameters(engine.networks[name], twin.networks[name])
    draws = {"x": normals(1, 4, 2)[0], "z": normals(1, 4, 2, seed=1)[0]}
    assert engine.step(draws) == twin.step(draws)
    assert same(snapshot(engine.networks), snapshot(twin.networks))


def test_a_run_that_was_saved_goes_on_bit_by_bit(tmp_path: Path) -> None:
    spec = load("unrolled", k=3)
    whole, cut = trainer(spec), trainer(spec)
    cut.train(3)
    again = Trainer.resume(cut.save(tmp_path / "at"), device="cpu")
    assert whole.train(6) == again.train(3)
    assert same(snapshot(whole.networks), snapshot(again.networks))


@pytest.mark.parametrize(("broken", "named"), [("weight", "D.layers.linear.weight"), ("x", "x")])
def test_the_value_where_a_nan_began_is_named(broken: str, named: str) -> None:
    engine = trainer(looking(2))
    draws = {"x": torch.full((4, 2), float("nan"))} if broken == "x" else {}
    if broken == "weight":
        with torch.no_grad():
            engine.networks["D"].get_parameter("layers.linear.weight").fill_(float("nan"))
    before = snapshot({"G": engine.networks["G"]})
    with pytest.raises(NotFiniteError) as caught:
        engine.step(draws)
    assert caught.value.value == named
    assert same(before, snapshot({"G": engine.networks["G"]}))


def _renamed(old: str, new: str) -> Spec:
    """The page's example with another name for something in it."""
    text, found = re.subn(rf"\b{old}\b", new, block("yaml"))
    assert found
    return resolve(parse_text(text), Choice(set={"k": "2"}))


@pytest.mark.parametrize("name", ["x_ahead", "x_ahead_step", "x_ahead_steps", "x_ahead_steps_", "ahead", "code"])
@pytest.mark.parametrize("old", ["X", "Y", "y", "product", "game"])
def test_a_name_that_generated_code_would_choose_is_free_for_the_spec(old: str, name: str) -> None:
    plain, engine = trainer(_renamed("saddle", "plain")), trainer(_renamed(old, name))
    draws = {"one": torch.ones(1, 1, dtype=torch.float64)}
    losses = [(list(plain.step(draws).values()), list(engine.step(draws).values())) for _ in range(3)]
    assert all(mine == theirs for mine, theirs in losses)
    pairs = zip(plain.networks.values(), engine.networks.values(), strict=True)
    assert all(same(mine.state_dict(), theirs.state_dict()) for mine, theirs in pairs)
    functions = re.findall(r"^def (\w+)", code_text(engine.engine.program), flags=re.MULTILINE)
    assert len(set(functions)) == len(functions) == 4
    assert not set(functions) & {*engine.networks, *engine.engine.values}


@pytest.mark.parametrize("values", [5, 20])
def test_the_way_of_a_gradient_is_found_in_one_pass(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many values lie between a gradient and its input: passes over the graph are counted."""
    passes: list[str] = []
    below = lookahead._below
    monkeypatch.setattr(lookahead, "_below", lambda nodes, root: passes.append(root) or below(nodes, root))
    chain = "".join(f"\n  c{i}: tanh(c{i - 1})" for i in range(1, values))
    made = f"  c0: fake * 2{chain}\n  slope: grad(D(c{values - 1}), c0)"
    graph = build(small(ahead(2, "fool", "judge + mean(slope)"), D_STEP, more_values=made).phases[0])
    (steps,) = graph.lookaheads.values()
    assert {f"c{i}" for i in range(1, values)} <= {*steps.body} and "c0" not in steps.body
    assert len(passes) == 6


def _of_network(builder: Builder, kind: NodeKind, call: ast.Call) -> Argument:
    """`scaled(NETWORK, value)`, as a plug-in could have it."""
    network, value = call.arguments
    given = builder.values_of(replace(call, arguments=(value,)), 1, "")
    return builder.add(kind.name, kind.name, call, *given, target=ast.unparse(network))


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in's kind of a network's values that is no call."""
    kind = replace(
        kinds["parameters"],
        name="scaled",
        arguments=(Ref,),
        infer=lambda inference, node: inference.types[node.inputs[0]],
        form=Form("scaled(NETWORK, value)", build=_of_network),
    )
    monkeypatch.setitem(kinds._records, "scaled", kind)


def test_a_looked_ahead_network_whose_output_is_not_named_is_refused_in_words() -> None:
    spec = looking(networks_d="{inputs: x, parts: {one: linear(1)}, values: {h: one(x)}, outputs: {score: h}}")
    assert "GG316: network 'D' has several outputs" in refused(spec)


@pytest.mark.usefixtures("scaled")
@pytest.mark.parametrize(
    ("minimize", "inner"), [("mean(scaled(D, fake))", "judge"), ("fool", "judge + mean(scaled(D, x))")]
)
def test_what_a_plug_in_computes_of_a_looked_ahead_network_is_refused(minimize: str, inner: str) -> None:
    (problem,) = build(small(ahead(2, minimize, inner), D_STEP).phases[0]).problems
    assert (problem.code, problem.found) == ("GG514", "scaled(D)")
    assert problem.message == "'scaled' of 'D' cannot be looked at while it is looked ahead"


@pytest.mark.usefixtures("scaled")
def test_steps_depend_on_the_network_that_a_plug_in_computes_with() -> None:
    graph = build(small(ahead(2, "mean(D(x))", "mean(scaled(G, D(x)))"), D_STEP).phases[0])
    (objective,) = graph.updates[0].objectives
    assert not graph.problems
    assert objective.loss in differentiable(graph, ["G"], graph.below(objective.loss))


# What is planned around it.


@pytest.mark.parametrize("order", [0, 1], ids=["generator first", "discriminator first"])
@pytest.mark.parametrize(
    "entry",
    [
        ahead(2),
        ahead(2, more=", times: 2"),
        ahead(2, more=", draw: z"),
        ahead(2, more=", accumulate: 2"),
        ahead(2, more=", every: 2"),
        ahead(2, "fool", "judge + 0.1 * mean((norm(grad(D(mix), mix)) - 1) ** 2)"),
        ahead(2, "fool + 0.1 * mean(norm(grad(D(mix), mix)))"),
        ahead(2, "fool + l1(fake, x) + mean(at_first(D(x)))"),
        ahead(2).replace('minimize: "judge"', 'maximize: "-judge"'),
        "{update: {g: {minimize: fool, unroll: {update: d, minimize: judge, steps: 2}}, d: {minimize: judge}}}",
    ],
)
def test_sharing_and_merging_change_nothing(entry: str, order: int) -> None:
    entries = [entry, D_STEP]
    spec = small(*(reversed(entries) if order else entries), optimizer_d="adam(D, lr=0.02)",
                 networks_d="{inputs: x, layers: 'linear(4), tanh, dropout(0.3), linear(1)'}",
                 more_values="  mix: lerp(x, fake, uniform(1))")  # fmt: skip
    plain, *others = (trainer(spec, share=share, merge=merge) for share, merge in reversed(PLANS))
    expected = [plain.step() for _ in range(3)]
    for other in others:
        for losses in expected:
            found = other.step()
            assert found.keys() == losses.keys()
            assert worst(deviation(found[name], losses[name]) for name in losses) <= TOLERANCE
        for name, network in plain.networks.items():
            for mine, theirs in zip(network.parameters(), other.networks[name].parameters(), strict=True):
                assert deviation(theirs.detach(), mine.detach()) <= 1e-9


@pytest.mark.parametrize("fool", ["mean(norm(grad(D(mix), mix)))", "mean(D(x)) + mean(norm(grad(D(mix), fake)))"])
def test_a_gradient_ahead_is_that_of_the_call_and_not_through_the_steps(
    fool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The objective's value is that at a discriminator which has really taken the steps."""
    inner = "judge + mean((norm(grad(D(mix), mix)) - 1) ** 2)"
    spec = small(ahead(2, fool, inner), optimizer_d="sgd(D, lr=0.1)", more_values="  mix: lerp(x, fake, 0.5)")
    engine, twin = trainer(spec), trainer(spec)
    draws = {"x": normals(1, 4, 2)[0], "z": normals(1, 4, 2, seed=1)[0]}
    made: dict[str, Tensor] = {}
    _watch(engine, made, monkeypatch)
    engine.step(draws)
    network, optimizer, x = twin.networks["D"], twin.engine.optimizers["d"], draws["x"]
    fake = twin.networks["G"](draws["z"]).detach().requires_grad_()
    mix = x + 0.5 * (fake - x)

    def slope(at: Tensor) -> Tensor:
        return torch.autograd.grad(network(mix).sum(), at, create_graph=True)[0].norm(dim=1)

    for _ in range(2):
        softplus = nn.functional.softplus
        judge = softplus(-network(x)).mean() + softplus(network(fake)).mean() + ((slope(mix) - 1) ** 2).mean()
        optimizer.zero_grad()
        autograd.backward(judge, inputs=list(network.parameters()))
        optimizer.step()
    expected = slope(mix).mean() if "fake" not in fool else network(x).mean() + slope(fake).mean()
    (objective,) = engine.engine.program.plan.updates[0].graph.objectives
    assert deviation(made[objective.loss], expected.detach()) <= TOLERANCE


def test_a_loss_ahead_is_reported_only_where_it_is_not_computed_at_the_networks_as_they_are() -> None:
    first = trainer(small(ahead(2, "fool"), D_STEP))
    second = trainer(small(ahead(2, "fool + judge"), D_STEP))
    assert first.step().keys() == {"fool", "judge"}
    plain = trainer(small("{update: g, minimize: fool + judge}", D_STEP))
    assert second.step().keys() == {"fool", "judge"}
    assert [label for label, _ in first.engine.program.plan.updates[0].losses] == ["fool"]
    assert [label for label, _ in plain.engine.program.plan.updates[0].losses] == ["judge", "fool"]


def test_kernels_are_placed_nowhere_and_nothing_of_it_is_compiled() -> None:
    relu = "{inputs: x, layers: 'linear(4), layer_norm, leaky_relu(0.2), linear(1)'}"
    checked = check_spec(looking(2, networks_d=relu))[0]
    program = compile_phase(checked, kernels="auto")
    whole = program.segments[program.plan.updates[0].body[-1].name]
    assert whole.kernels == () and not any("fused" in name for name in whole.networks)
    assert "double backward" in whole.uncompiled
    assert program.segments[program.plan.updates[1].body[-1].name].uncompiled == ""
    assert "none: what looks ahead is differentiated twice" in plan_text(program)


def test_steps_that_no_gradient_flows_through_keep_no_graph() -> None:
    spec = small(ahead(2, "fool", "logistic.critic(real=D(x), fake=D(detach(fake)))"), D_STEP)
    (segment,) = [s for s in trainer(spec).engine.program.plan.updates[0].body if s.lookaheads]
    assert [each.live for each in segment.lookaheads] == [False]
    assert trainer(spec).train(2).keys() == {"fool", "judge"}


# Views.


def test_the_printed_step_runs_as_the_engine_does() -> None:
    engine, twin = trainer(looking(3), share=True), trainer(looking(3))
    text = code_text(engine.engine.program)
    assert "for _ in range(3):" in text
    given: dict[str, Any] = {
        **twin.engine.networks.callable,
        "draw": lambda source: twin.engine.draws.draw(source, twin.engine.step_count)["value"],
        "parameters_of": twin.engine.parameters.__getitem__,
        "optimizers": twin.engine.optimizers,
    }
    for _ in range(3):
        losses = engine.step()
        twin.engine.draws.begin({})
        exec(text, given)
        twin.engine.step_count += 1
        assert float(given["judge"].detach()) == losses["judge"]
    assert same(snapshot(engine.networks), snapshot(twin.networks))


def test_every_reading_tells_of_the_steps() -> None:
    spec = looking(3)
    checked = check_spec(spec)
    program = compile_phase(checked[0])
    told = " ".join(explain_text(spec, [program.plan]).split())
    assert "evaluated where three steps of Adam would take D, to make judge smaller" in told
    assert "passes through D(x) and D(fake), with D looked ahead" in told
    assert "looks ahead      3 steps of d (adam on D) down judge" in plan_text(program)
    formulas = latex_text(checked)
    assert r"\log \sigma(D^{(3)}(x))" in formulas
    assert r"\theta_{D}^{(i+1)} &= \mathrm{Adam}\left(\theta_{D}^{(i)}, \nabla_{\theta_{D}^{(i)}}" in formulas
    assert "after 3 steps of d, then forgotten" in draw(checked[0].graph)
    assert "unroll: {update: d, minimize: judge, steps: 3}" in spec_text(spec)
    (first, second) = check_json(spec, checked)["updates"]
    assert first["unroll"] == {"g": {"update": "d", "objective": "minimize judge", "steps": 3}}
    assert second["unroll"] == {}


@pytest.mark.parametrize(("count", "steps"), [(1, "one step"), (2, "two steps")])
def test_code_and_drawing_count_the_steps(count: int, steps: str) -> None:
    checked = check_spec(looking(count))[0]
    assert f"D after {steps} of adam, then forgotten" in code_text(compile_phase(checked))
    assert f"looks {steps} of d ahead" in " ".join(schedule(checked.graph))


def test_readings_write_a_value_that_depends_on_the_steps_by_its_name() -> None:
    """Each value below stands twice in the next, so the whole written out would have a million leaves."""
    chain = "".join(f"\n  v{i}: tanh(v{i - 1} * v{i - 1})" for i in range(1, 21))
    values = f"  v0: D(fake){chain}\n  slope: mean(grad(v2, v1))"
    spec = small(ahead(2, "mean(E(v20)) + slope"), D_STEP, more_values=values, more_networks="  E: mlp(widths=[3])")
    program = compile_phase(check_spec(spec)[0])
    told, planned = explain_text(spec, [program.plan]), plan_text(program)
    assert "passes through D(fake), with D looked ahead" in told and "E(v20)" in told
    assert "v0_ahead = D_ahead(fake)" in planned and "E(v20_ahead)" in planned
    assert len(told) < 5000 and len(planned) < 5000


def test_a_drawing_shows_what_a_spec_writes_alone() -> None:
    plain = small("{update: g, minimize: -judge}", D_STEP)
    ahead_of, as_is = (step_picture(check_spec(each)[0].graph, {}) for each in (looking(3), plain))
    assert ahead_of.edges == as_is.edges and ahead_of.figures.keys() == as_is.figures.keys()


def test_a_difference_is_how_far_is_looked_and_down_what() -> None:
    told = [(d.what, d.before, d.after) for d in differences(looking(3), looking(5))]
    three, five = (f"{count} steps of adam on D, down judge" for count in (3, 5))
    assert told == [("how far update g looks ahead", three, five)]
    assert [(d.before, d.after) for d in differences(looking(0), looking(3))] == [("not at all", three)]
    assert differences(looking(3), looking(3)) == ()


def test_a_fingerprint_tells_of_the_steps_and_their_goal() -> None:
    other = small(ahead(3, inner="fool + judge"), D_STEP, optimizer_d="adam(D, lr=0.05)")
    prints = [fingerprint(spec) for spec in (looking(0), looking(3), looking(4), other)]
    assert len(set(prints)) == 4 and fingerprint(looking(3)) == prints[1]


def test_two_updates_that_look_equally_far_ahead_have_steps_of_their_own() -> None:
    """In the second, where H is trained too, the input of the penalty carries a gradient; in the first it does not."""
    unroll = "unroll: {update: d, minimize: judge, steps: 2}"
    spec = small(
        f"{{update: g, minimize: fool, {unroll}}}",
        f"{{update: {{g: {{minimize: fool, {unroll}}}, h: {{minimize: aux}}}}}}",
        D_STEP,
        more_networks="  H: mlp(widths=[3], outputs=2)",
        more_values="  mix: H(x)\n  slope: norm(grad(D(mix), mix))",
        judge="logistic.critic(real=D(x), fake=D(fake)) + mean((slope - 1) ** 2)",
        fool="logistic.generator(D(fake))\n  aux: l1(H(x), x) + 0.1 * mean(D(H(x)))",
        optimizer_d="adam(D, lr=0.05)\n    h: sgd(H, lr=0.1)",
    )
    assert trainer(spec).step().keys() >= {"fool", "aux", "judge"}
