"""Optimizer groups of parts of networks: learning rates of their own, and parts that nothing trains."""

import copy
from pathlib import Path

import pytest
import torch

from gangraph import Trainer
from gangraph.errors import SpecError, UsageError
from gangraph.language.continuation import changes
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from tests.support import deviation, normals, same, small, snapshot, trainer, worst

TOLERANCE = 1e-9
STEPS = 20
PARTS_G = (
    '{inputs: z, parts: {mapping: "linear(4), tanh, batch_norm", "block[k in 1..2]": "linear(4), tanh",'
    ' last: "linear(2)"}, values: {h: "block[2](block[1](mapping(z)))"}, output: last(h)}'
)
TWO_RATES = '"adam([G.mapping(lr=0.1 * linear(0.05, 0.01)), G.block[2].linear.bias(lr=0.2), G], lr=0.02)"'


def spec(optimizer: str, *step: str, **parts: str) -> Spec:
    """A GAN with one critic and a generator of parts, of which `optimizer` trains some."""
    return small(*step, networks_g=PARTS_G, optimizer_g=optimizer, optimizer_d='"adam(D, lr=0.02)"', **parts)


def names(run: Trainer, group: str = "g") -> list[list[str]]:
    """What torch's optimizer has in each of its groups of parameters."""
    named = {id(p): name for name, p in run.networks["G"].named_parameters()}
    return [[named[id(p)] for p in each["params"]] for each in run.engine.optimizers[group].param_groups]


def test_a_parameter_belongs_to_the_most_specific_entry() -> None:
    mapping, bias, rest = names(trainer(spec(TWO_RATES)))
    assert mapping == [
        "mapping.linear.weight",
        "mapping.linear.bias",
        "mapping.batch_norm.weight",
        "mapping.batch_norm.bias",
    ]
    assert bias == ["block_2.linear.bias"]
    assert rest == [
        "block_1.linear.weight",
        "block_1.linear.bias",
        "block_2.linear.weight",
        "last.linear.weight",
        "last.linear.bias",
    ]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("merge", [True, False])
def test_every_plan_trains_as_the_loop_by_hand(share: bool, merge: bool) -> None:
    run = trainer(spec(TWO_RATES), share=share, merge=merge)
    g, d = (copy.deepcopy(run.networks[name]) for name in "GD")
    named = dict(g.named_parameters())
    mapping = [p for name, p in named.items() if name.startswith("mapping")]
    bias = [named["block_2.linear.bias"]]
    rest = [p for p in named.values() if not any(p is each for each in (*mapping, *bias))]
    groups = [{"params": mapping}, {"params": bias, "lr": 0.2}, {"params": rest}]
    down_g, down_d = torch.optim.Adam(groups, lr=0.02), torch.optim.Adam(d.parameters(), lr=0.02)
    softplus = torch.nn.functional.softplus
    draws = normals(2 * STEPS, 4, 2, seed=5)
    for index, (x, z) in enumerate(zip(draws[::2], draws[1::2], strict=True)):
        run.step({"x": x, "z": z})
        fake = g(z)
        down_d.zero_grad()
        (softplus(-d(x)).mean() + softplus(d(fake.detach())).mean()).backward()
        down_d.step()
        down_g.param_groups[0]["lr"] = 0.1 * (0.05 + (0.01 - 0.05) * index / 100)
        for parameter, gradient in zip(
            named.values(), torch.autograd.grad(softplus(-d(fake)).mean(), list(named.values())), strict=True
        ):
            parameter.grad = gradient
        down_g.step()
    found = (
        deviation(run.networks[name].state_dict()[path], tensor)
        for name, network in (("G", g), ("D", d))
        for path, tensor in network.state_dict().items()
    )
    assert worst(found) < TOLERANCE


def test_a_group_of_a_part_leaves_the_rest_of_the_network_as_it_is() -> None:
    made = spec('"sgd([G.block(lr=0.2), G.last.linear.weight], lr=0.1)"')
    run = trainer(made)
    before = snapshot({"G": run.networks["G"]})
    for _ in range(3):
        run.step()
    after = snapshot({"G": run.networks["G"]})
    parameters = {f"G.{name}" for name, _ in run.networks["G"].named_parameters()}
    moved = {name for name in parameters if not torch.equal(before[name], after[name])}
    assert moved == {name for name in parameters if "block" in name} | {"G.last.linear.weight"}
    (checked,) = check_spec(made)
    (lint,) = [each for each in checked.lints if each.code == "GG605"]
    assert (lint.message, lint.found) == ("no update trains all of 'G'", "nothing changes mapping")


def test_two_groups_may_train_parts_of_one_network_at_the_same_time() -> None:
    step = "{update: {g: {minimize: fool}, d: {minimize: fool}}}"
    made = small(
        step, networks_g=PARTS_G, optimizer_g='"sgd([G.mapping, G.block], lr=0.1)"', optimizer_d='"sgd(G.last, lr=0.1)"'
    )
    whole = small("{update: g, minimize: fool}", networks_g=PARTS_G)
    parts, one = trainer(made), trainer(whole)
    for z in normals(3, 4, 2):
        parts.step({"z": z})
        one.step({"z": z})
    first, second = snapshot({"G": parts.networks["G"]}), snapshot({"G": one.networks["G"]})
    assert worst(deviation(first[name], second[name]) for name in first) < TOLERANCE
    assert "GG606" not in {each.code for each in check_spec(made)[0].lints}


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    made = spec(TWO_RATES)
    whole, first = trainer(made), trainer(made)
    whole.train(steps=4)
    first.train(steps=2)
    first.save(tmp_path / "run")
    second = Trainer.resume(tmp_path / "run", device="cpu")
    second.train(steps=2)
    assert same(snapshot(whole.networks), snapshot(second.networks))


def test_a_checkpoint_of_a_group_with_one_rate_is_that_of_a_group_with_two() -> None:
    """A parameter has the same number in both, by which the checkpoint names what the optimizer keeps of it."""
    one, two = trainer(spec('"adam(G, lr=0.02)"')), trainer(spec(TWO_RATES))
    for run in (one, two):
        assert [id(p) for p in run.engine.parameters["g"]] == [id(p) for p in run.networks["G"].parameters()]


def test_every_reading_tells_of_parts() -> None:
    two, part = spec(TWO_RATES), spec('"adam(G.mapping, lr=0.02)"')
    plan = trainer(two).engine.program
    code = code_text(plan)
    assert 'optimizers["g"].param_groups[0]["lr"] = now("0.1 * linear(0.05, 0.01)")' in code
    assert "g: adam([G.mapping(lr=0.1 * linear(0.05, 0.01)), G.block[2].linear.bias(lr=0.2), G], lr=0.02)" in spec_text(
        two
    )
    told = " ".join(explain_text(two, [plan.plan]).split())
    assert "the parameters of G, with a learning rate of 0.02, those of G.mapping with a learning rate of 0.1 *" in told
    frozen = trainer(part).engine.program
    (checked,) = check_spec(part)
    assert "by adam on G.mapping." in code_text(frozen)
    assert "differentiates   G.mapping" in plan_text(frozen)
    assert "It changes no other parameters of G than those of G.mapping." in explain_text(part, [frozen.plan])
    assert r"\min_{G.\mathrm{mapping}}" in latex_text([checked])
    assert "G.mapping" in draw(checked.graph)


def test_differences_and_fingerprints_follow() -> None:
    plain, two, other = (
        spec(f'"adam({entries}, lr=0.02)"') for entries in ("G", "[G.mapping(lr=0.1), G]", "[G.mapping(lr=0.2), G]")
    )
    assert len({fingerprint(each) for each in (plain, two, other)}) == 3
    assert [str(each) for each in differences(plain, two)] == ["lr of G.mapping in g was 0.02, and is now 0.1"]
    assert [str(each) for each in differences(two, other)] == ["lr of G.mapping in g was 0.1, and is now 0.2"]
    assert differences(two, two) == ()


@pytest.mark.parametrize(
    ("optimizer", "code", "said"),
    [
        ("adam([G.maping(lr=0.1), G])", "GG544", "'G' has no part 'maping'"),
        ("adam([G.mapping(lr=0.1), G.mapping(lr=0.2)])", "GG324", "'G.mapping' is named twice in one group"),
        ("adam([G.mapping, G.block, G.last, G(lr=0.1)])", "GG324", "nothing is left of 'G'"),
        ("adam([G.mapping(rl=0.1), G])", "GG320", "'adam' has no option 'rl'"),
        ("adam([G.mapping(lr=none), G])", "GG320", "the option 'lr' has the wrong type"),
        ("adam([G.mapping(0.1), G])", "GG220", "an optimizer is given networks"),
    ],
)
def test_misuse_is_told(optimizer: str, code: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(spec(f'"{optimizer}"'))
    (problem,) = (each for each in caught.value.problems if each.severity == "error")
    assert (problem.code, problem.message) == (code, said)


def test_an_objective_that_does_not_reach_a_part_is_told() -> None:
    networks = (
        '{inputs: x, parts: {body: "linear(4), tanh", score: linear(1)}, values: {h: body(x)},'
        " outputs: {score: score(h), features: h}}"
    )
    with pytest.raises(SpecError) as caught:
        check_spec(
            small(
                "{update: d, minimize: judge}",
                networks_d=networks,
                judge="mean(D(x).features)",
                fool="mean(D(fake).score)",
                optimizer_d="sgd(D.score, lr=0.1)",
            )
        )
    (problem,) = (each for each in caught.value.problems if each.severity == "error")
    assert (problem.code, problem.message) == ("GG501", "the objective of 'd' does not reach D.score")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("adam([G.last(amsgrad=false), G], amsgrad=true)", "adam(G, amsgrad=true)", {"G.last.amsgrad": "trained"}),
        ("adam(G, amsgrad=true)", "adam([G.last(amsgrad=false), G], amsgrad=true)", {"G.last.amsgrad": "trained"}),
        ("sgd([G.last(momentum=0), G], momentum=0.9)", "sgd([G.last(lr=0.2), G], lr=0.1, momentum=0.9)",
         {"G.last.momentum": "trained", "G.last.lr": "now", "lr": "now"}),
        ("sgd(G)", "sgd([G.last(momentum=0.9), G])", {"G.last.momentum": "trained"}),
        ("sgd(G, momentum=0.9)", "sgd([G.last(momentum=0.9), G], momentum=0.9)", {}),
        ("sgd([G.last(momentum=0.5), G])", "sgd([G.last(momentum=0.9), G])", {"G.last.momentum": "now"}),
        ("sgd([G.last(lr=0.2), G], lr=0.1)", "sgd([G.last(lr=0.2), G], lr=0.3)", {"lr": "now"}),
        ("sgd([G.last, G(lr=0.3)], lr=0.2)", "sgd([G.last(lr=0.2), G], lr=0.3)", {}),
        ("sgd([G.block(lr=0.2), G], lr=0.1)", "sgd([G.block[2](lr=0.2), G], lr=0.1)", {"G.block.lr": "now"}),
        ("adagrad([G.last(initial_accumulator_value=0.1), G])", "adagrad(G, initial_accumulator_value=0.1)",
         {"initial_accumulator_value": "trained"}),
    ],
)  # fmt: skip
def test_a_run_goes_on_by_the_options_that_hold_for_each_part(before: str, after: str, told: dict[str, str]) -> None:
    found = changes(spec(f'"{before}"'), spec(f'"{after}"'), 0)
    assert {each.path.removeprefix("train.optimizers.g."): each.touches for each in found} == told


@pytest.mark.parametrize("option", ["adam(%samsgrad=true)", "rmsprop(%scentered=true)"])
def test_a_run_that_would_miss_what_a_part_has_not_kept_is_refused(option: str, tmp_path: Path) -> None:
    name = option.partition("%s")[2].partition("=")[0]
    run = trainer(spec(f'"{option % f"[G.last({name}=false), G], "}"'))
    run.step()
    with pytest.raises(UsageError, match=rf"train\.optimizers\.g\.G\.last\.{name}: false -> true"):
        Trainer.resume(run.save(tmp_path / "run"), device="cpu", spec=spec(f'"{option % "G, "}"'))
