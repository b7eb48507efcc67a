"""State that calls move: it moves once for each value, in one order, in every plan, and as in a loop by hand."""

import contextlib
import copy
import random
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from gangraph import Trainer
from gangraph.errors import SpecError
from gangraph.language.fingerprint import fingerprint
from gangraph.plan.model import Plan
from gangraph.run.finite import NotFiniteError
from gangraph.views.code import code_text
from gangraph.views.plan import plan_text
from gangraph.vocabulary.layers import spectral_norm
from gangraph.vocabulary.styles import running_mean
from tests.plans import PLANS, compare, tensors
from tests.plugin import Counting, CountingInSecret, Masking, Shrinking, registered
from tests.random_pieces import FEATURES as FEATURES_OF_ALL
from tests.random_state import features_of, make, read_beside, require_unforeseen, write
from tests.support import copy_parameters, deviation, normals, read, trainer

SPEC = """
gangraph: 1
name: state
data: {{x: plane(std=0.3), z: normal(2), z2: normal(2)}}
networks:
  G: {{inputs: z, layers: '{g}'}}
  D: {{inputs: x, layers: '{d}'}}
  T: {{inputs: w, layers: '{t}'}}
{networks}
values: {{{values}}}
losses:
  judge: {judge}
  fool: {fool}
train:
  batch: 4
  optimizers: {{g: "{og}", d: "sgd(D, lr=0.1)"}}
  step:
    - {first}
    - {second}
"""
DEFAULTS = {
    "g": "linear(2)", "d": "linear(1)", "t": "running_mean(0.5)", "networks": "", "values": "fake: G(z)",
    "judge": "logistic.critic(real=D(x), fake=D(fake))", "fool": "logistic.generator(D(fake))", "og": "sgd(G, lr=0.1)",
    "first": "{update: d, minimize: judge}", "second": "{update: g, minimize: fool}",
}  # fmt: skip
MEAN = 'fake: "lerp(T(G(z)), G(z), 0.7)"'
SPECTRAL = "spectral_norm(linear(8)), relu, spectral_norm(linear(1))"
FEATURES = """
gangraph: 1
name: features
data: {{x: plane(), z: normal(2)}}
networks:
  G: mlp(widths=[8], outputs=2)
  E: mlp(widths=[4], outputs=2)
  D:
    inputs: x
    parts: {{body: "linear(8), relu", score: linear(1)}}
    values: {{h: body(x)}}
{outputs}
values: {{fake: G(z), looked: E(x)}}
losses: {{first: "{first}", second: "{second}"}}
train:
  batch: 8
  optimizers: {{g: "adam(G, lr=1e-3)", d: "adam(D, lr=1e-3)", e: "adam(E, lr=1e-3)"}}
  step: [{{update: {one}, minimize: first}}, {{update: {two}, minimize: second}}]
"""


def text(**parts: str) -> str:
    return SPEC.format(**{**DEFAULTS, **parts})


def planned(source: str, **options: bool) -> Plan:
    return trainer(read(source), **options).engine.program.plan


def agree(source: str, steps: int = 5) -> tuple[Trainer, ...]:
    """The four plans of a spec, after some steps in which they agreed."""
    found = compare(read(source), steps)
    assert not found.difference and not found.stopped
    return found.trainers


def again(plan: Plan) -> list[str]:
    return [call for update in plan.updates for segment in update.segments for call in segment.again]


@pytest.mark.parametrize(
    "parts",
    [
        {"values": MEAN},
        {"d": SPECTRAL},
        {"g": "linear(4), batch_norm, tanh, linear(2)"},
        {"g": "spectral_norm(linear(2)), batch_norm", "d": f"dropout(0.5), {SPECTRAL}"},
        {"values": MEAN, "networks": "  A: average(T, decay=0.9)", "fool": "mean(D(fake + A(fake) + T(fake)))"},
        {"d": SPECTRAL, "networks": "  A: average(D, decay=0.5)", "fool": "logistic.generator(A(fake))"},
        {"values": MEAN, "first": "{update: d, minimize: judge, times: 3}"},
        {"values": MEAN, "first": "{update: d, minimize: judge, times: 3, draw: z}"},
        {"values": MEAN, "first": "{update: d, minimize: judge, accumulate: 2}"},
        {"values": MEAN, "second": "{update: g, minimize: fool, every: 2}"},
        {"values": MEAN, "first": "{update: d, minimize: judge, when: judge > 1}"},
        {"values": 'fake: "history(at_first(T(G(z))), 6)"', "fool": "mean(D(G(z)) + T(G(z)))"},
        {"d": SPECTRAL, "fool": "mean(D(fake)) + mean(norm(grad(D(fake), fake)))"},
        {"d": SPECTRAL, "second": "{update: g, minimize: fool, unroll: {update: d, minimize: judge, steps: 2}}"},
        {"d": SPECTRAL, "first": "{update: {d: {minimize: judge}, g: {minimize: fool}}}"},
        {"judge": "mean(D(T(x)) - D(T(fake)))", "fool": "mean(D(T(z2)) + D(T(fake)) + D(fake))"},
        {"t": "running_mean(0.5), dropout(0.5)", "values": MEAN},
    ],
)  # fmt: skip
def test_the_four_plans_agree_in_losses_parameters_and_buffers(parts: dict[str, str]) -> None:
    agree(text(**parts))


def test_a_running_mean_moves_once_for_a_value_that_two_updates_need() -> None:
    layer, mean = running_mean(torch.empty(4, 2), 0.5).double(), torch.zeros(2, dtype=torch.float64)
    runs = [trainer(read(text(values=MEAN)), share=share, merge=merge) for share, merge in PLANS.values()]
    started = runs[0].networks["G"], runs[0].networks["D"]
    g, d = nn.Linear(2, 2).double(), nn.Linear(2, 1).double()
    for mine, theirs in zip((g, d), started, strict=True):
        copy_parameters(theirs, mine)
    layer.mean.copy_(mean)
    optimizers = {network: torch.optim.SGD(network.parameters(), lr=0.1) for network in (g, d)}
    for step in range(20):
        x, z = normals(2, 4, 2, seed=step)
        fake = g(z) + 0.0
        mixed = torch.lerp(layer(fake), fake, 0.7)
        judge = nn.functional.softplus(-d(x)).mean() + nn.functional.softplus(d(mixed.detach())).mean()
        _descend(optimizers[d], judge)
        fool = nn.functional.softplus(-d(mixed)).mean()
        _descend(optimizers[g], fool)
        for run in runs:
            losses = run.step({"x": x, "z": z})
            assert deviation(losses["judge"], judge.detach()) < 1e-9
            assert deviation(losses["fool"], fool.detach()) < 1e-9
            assert deviation(run.networks["T"].get_buffer("layers.running_mean.mean"), layer.mean) < 1e-9


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    optimizer.step()


def test_spectral_norm_takes_a_step_of_the_power_method_for_each_call_as_in_torch() -> None:
    runs = [trainer(read(text(d=SPECTRAL)), share=share, merge=merge) for share, merge in PLANS.values()]
    g, d = (
        nn.Linear(2, 2).double(),
        nn.Sequential(spectral_norm(nn.Linear(2, 8)), nn.ReLU(), spectral_norm(nn.Linear(8, 1))).double(),
    )
    copy_parameters(runs[0].networks["G"], g)
    names = [*d.state_dict()]
    start = dict(zip(names, runs[0].networks["D"].state_dict().values(), strict=True))
    d.load_state_dict(start)
    optimizers = {network: torch.optim.SGD(network.parameters(), lr=0.1) for network in (g, d)}
    for step in range(12):
        x, z = normals(2, 4, 2, seed=step)
        fake = g(z)
        judge = nn.functional.softplus(-d(x)).mean() + nn.functional.softplus(d(fake.detach())).mean()
        _descend(optimizers[d], judge)
        fool = nn.functional.softplus(-d(fake)).mean()
        _descend(optimizers[g], fool)
        for run in runs:
            losses = run.step({"x": x, "z": z})
            assert deviation(losses["judge"], judge.detach()) < 1e-9
            assert deviation(losses["fool"], fool.detach()) < 1e-9
            found = run.networks["D"].state_dict().values()
            assert max(map(deviation, found, d.state_dict().values())) < 1e-9


def test_calls_that_move_state_are_never_merged() -> None:
    assert [s.merges for u in planned(text()).updates for s in u.segments if s.merges]
    assert not [s.merges for u in planned(text(d=SPECTRAL)).updates for s in u.segments if s.merges]


def test_a_layer_inside_of_a_wrapper_couples_samples_too(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "same", lambda module: module, wraps=True)
    coupled = text(d="same(minibatch_discrimination(3, 2)), linear(1)")
    assert not [s.merges for u in planned(coupled).updates for s in u.segments if s.merges]


def test_calls_move_state_in_the_order_in_which_they_are_written_in_every_plan() -> None:
    """The past needs T(G(z)) early, and T(x) stands before it."""
    source = text(judge="mean(D(T(x))) - mean(D(history(at_first(T(fake)), 6)))", fool="mean(D(fake))")
    (*_, plain) = agree(source)
    names = [name for s in plain.engine.program.plan.updates[0].segments for name in s.nodes]
    calls = [name for name in names if plain.engine.graph.nodes[name].target == "T"]
    assert [plain.engine.graph.nodes[name].inputs[0] for name in calls] == ["x", "fake"]


def test_a_history_of_a_history_is_mixed_after_it() -> None:
    agree(text(judge="mean(D(x)) - mean(D(history(T(history(fake, 6)), 6)))"))


def test_a_past_beneath_a_value_that_a_later_update_differentiates_is_mixed_before_it() -> None:
    for past in ("history(fake, 6)", "history(at_first(fake), 6)", "history(at_first(history(at_first(fake), 6)), 6)"):
        agree(text(values=f'fake: G(z), mixed: "fake + {past}"', judge="mean(D(mixed))", fool="l2(mixed, x)"))


def test_what_would_overtake_a_call_that_moves_the_same_state_is_not_computed_ahead() -> None:
    source = text(
        t="spectral_norm(linear(2))", d="linear(2)", judge="mean(T(D(x))) + mean(T(fake))", fool="mean(T(fake))"
    )
    assert again(planned(source))
    agree(source)
    assert not again(planned(source.replace("mean(T(D(x)))", "mean(D(x))")))


def test_a_call_that_is_made_again_for_the_same_value_says_so() -> None:
    program = trainer(read(text(values=MEAN)), share=False).engine.program
    said = "T(G(z))   (no gradient; again, from the state that it began from before)"
    assert said in plan_text(program)
    code = code_text(program)
    assert "T_frozen_state() gives a copy of the buffers of T." in code
    assert "T_frozen_again is T_frozen with the buffers that it is given; it leaves its own alone." in code


def test_a_call_under_a_gradient_in_a_loop_moves_state_once() -> None:
    source = text(
        d="linear(4), tanh, linear(1)",
        t="linear(2), batch_norm(momentum=0.5), tanh",
        values='fake: G(z), slope: "norm(grad(D(T(x)), x))"',
        judge="mean(D(fake)) + mean(slope)",
        first="{update: d, minimize: judge, times: 3}",
    )
    for run in agree(source, steps=3):
        assert int(run.networks["T"].get_buffer("layers.batch_norm.num_batches_tracked")) == 3


def test_an_update_that_may_not_run_moves_state_for_itself() -> None:
    source = text(values=MEAN, first="{update: d, minimize: judge, every: 2}", t="batch_norm(momentum=0.5)")
    for run in agree(source, steps=4):
        assert int(run.networks["T"].get_buffer("layers.batch_norm.num_batches_tracked")) == 4 + 2


def test_looking_ahead_moves_the_state_of_no_network() -> None:
    source = text(
        d="linear(2)",
        t="linear(2), batch_norm",
        networks="  S: average(T, decay=0.5)",
        judge="mean(D(x))",
        fool="mean(D(fake))",
        second="{update: g, minimize: fool, unroll: {update: d, minimize: mean(T(D(x)) + S(D(x))), steps: 3}}",
    )
    for run in agree(source, steps=3):
        assert int(run.networks["T"].get_buffer("layers.batch_norm.num_batches_tracked")) == 0
        assert int(run.networks["S"].get_buffer("layers.batch_norm.num_batches_tracked")) == 0


def test_a_value_that_is_held_stays_so_between_a_gradient_and_its_input() -> None:
    source = text(
        d="linear(4), tanh, linear(1)",
        values='fake: G(z), slope: "norm(grad(D(fake + at_first(fake)), fake))"',
        judge="mean(slope)",
        fool="mean(slope)",
        first="{update: g, minimize: fool}",
        second="{update: d, minimize: judge}",
    )
    plan = planned(source)
    (name,) = (node.id for node in plan.checked.graph.nodes.values() if node.kind == "at_first")
    assert [name in {n for s in update.segments for n in s.nodes} for update in plan.updates] == [True, False]
    agree(source)


def test_no_gradient_passes_through_a_running_mean() -> None:
    with pytest.raises(SpecError, match=r"GG501.*does not reach G"):
        planned(text(fool="mean(D(T(fake)))"))
    with pytest.raises(SpecError, match="GG503"):
        planned(text(judge="mean(D(x)) + mean(grad(D(T(fake)), fake))"))


@pytest.mark.parametrize("form", ["T_again", "T_state", "T_frozen_again"])
def test_a_network_is_not_called_like_a_form_that_begins_from_a_state(form: str) -> None:
    with pytest.raises(SpecError, match="GG215"):
        planned(text(values=MEAN, networks=f"  {form}: mlp(widths=[4], outputs=2)", fool=f"mean(D({form}(fake)))"))


# What a plug-in's layer says of its state, and what it does.


def test_a_layer_with_buffers_that_says_nothing_is_taken_to_move_them(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "counting", Counting)
    source = text(d="linear(4), counting, linear(1)")
    for run in agree(source, steps=3):
        assert run.checked[0].networks["D"].state == ("counting",)
        assert float(run.networks["D"].get_buffer("layers.counting.calls")) == 9
        assert not [s.merges for u in run.engine.program.plan.updates for s in u.segments if s.merges]


def test_a_layer_may_say_that_its_buffers_are_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "masking", Masking, moves_state=False)
    plan = planned(text(d="linear(4), masking, linear(1)"))
    assert plan.checked.networks["D"].state == ()
    assert [s.merges for u in plan.updates for s in u.segments if s.merges]


@pytest.mark.parametrize(
    ("layer", "traits", "found"),
    [
        (Counting, {"moves_state": False}, "a call changes the buffer 'calls', although the layer says"),
        (CountingInSecret, {}, "a call changes 'calls', which is no buffer"),
        (Shrinking, {}, "a call changes 'gain', which is no buffer"),
    ],
)  # fmt: skip
def test_a_layer_that_moves_what_it_does_not_tell_is_refused(
    layer: type[nn.Module], traits: dict[str, bool], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(monkeypatch, layer.__name__, layer, **traits)
    with pytest.raises(SpecError, match=f"(?s)GG440.*{found}"):
        planned(text(d=f"linear(4), {layer.__name__}, linear(1)"))


# Several outputs.


@pytest.mark.parametrize("score", ["", ".score"])
@pytest.mark.parametrize(
    ("first", "second", "one", "two"),
    [
        ("mean(D(fake)S - D(x)S) + l1(D(fake).features, D(x).features)", "mean(D(x)S - D(fake)S)", "g", "d"),
        ("mean(D(x)S - D(fake)S)", "mean(D(fake)S - D(x)S) + l1(D(fake).features, D(x).features)", "d", "g"),
        ("mean(D(x).features * 2) + mean(looked)", "mean(D(x)S)", "e", "d"),
        ("mean(D(x)S) + mean(looked)", "mean(D(x).features) + mean(D(x)S)", "e", "d"),
        ("mean(D(fake).features) + mean(looked)", "mean(D(fake)S)", "e", "g"),
        ("mean(D(fake)S) + mean(looked)", "mean(D(fake).features) + mean(D(fake)S)", "e", "g"),
        ("mean(D(lerp(x, history(at_first(fake), 5), 0.5))S) + mean(D(fake)S)", "mean(D(fake).features)", "d", "g"),
        ("mean(norm(grad(D(fake).features, fake)))", "mean(D(fake)S)", "d", "g"),
        ("mean(norm(grad(D(x).features, x))) + mean(looked)", "mean(D(x)S)", "e", "d"),
    ],
)
def test_outputs_of_one_call_may_be_read_in_any_order(first: str, second: str, one: str, two: str, score: str) -> None:
    outputs = (
        "    outputs: {features: h, score: score(h)}" if score else "    output: score(h)\n    outputs: {features: h}"
    )
    losses = {"first": first.replace("S", score), "second": second.replace("S", score)}
    agree(FEATURES.format(outputs=outputs, one=one, two=two, **losses), steps=4)


# Which losses an update reports.


def test_a_loss_is_reported_from_the_update_that_it_is_part_of() -> None:
    source = text(judge="real + unreal", fool="-mean(D(fake))").replace(
        "losses:", "losses:\n  real: -mean(D(x))\n  unreal: mean(D(fake))"
    )
    plan = planned(source)
    assert [[name for name, _ in update.losses] for update in plan.updates] == [["real", "unreal", "judge"], ["fool"]]
    run = trainer(read(source))
    losses = run.step()
    assert losses["unreal"] != -losses["fool"] and losses["judge"] == pytest.approx(losses["real"] + losses["unreal"])


def test_a_loss_that_no_update_names_is_reported_by_those_that_compute_it() -> None:
    source = text(fool="-mean(D(fake))").replace("losses:", "losses:\n  watched: mean(D(fake))")
    assert [[name for name, _ in update.losses] for update in planned(source).updates] == [
        ["judge"],
        ["watched", "fool"],
    ]


# What a message says of a value that is not finite.


@pytest.mark.parametrize(
    ("parts", "value", "place"),
    [
        ({"judge": "mean(log(D(x) - 1000))"}, "log(D(x) - 1000)", "8:15"),
        ({"values": 'fake: "log(G(z) - 1000)"'}, "fake", "7"),
        ({"judge": "mean(D(x)) / 0.0"}, "judge", "9"),
        ({"d": "linear(2)", "judge": "mean(D(log(x - 9)) + D(x))"}, "log(x - 9)", "9"),
    ],
)
def test_what_is_not_finite_is_named_as_the_spec_writes_it_with_its_place(
    parts: dict[str, str], value: str, place: str
) -> None:
    for share, merge in PLANS.values():
        run = trainer(read(text(**parts)), share=share, merge=merge)
        before = {name: tensor.clone() for name, tensor in tensors(run).items()}
        with pytest.raises(NotFiniteError) as caught:
            run.step()
        assert caught.value.value == value
        assert f"'{value}' at {caught.value.place} is not finite" in str(caught.value)
        assert all(torch.equal(before[name], tensor) for name, tensor in tensors(run).items())


# Random specs; tests/long/test_plans_agree.py compares thousands of them, over more steps.


@pytest.mark.parametrize("first", range(0, 20_000, 1_000))
def test_the_four_plans_of_a_random_spec_agree(first: int) -> None:
    for seed in range(first, first + 1_000):
        try:
            made = make(seed)
            found = compare(made.spec, steps=4, given=made.given)
        except SpecError as error:
            require_unforeseen(error)
            continue
        assert not found.difference, f"seed {seed}: {found.difference}"
        return


def test_random_specs_have_every_feature() -> None:
    """tests/long/test_plans_agree.py asks the same of those that can be compared."""
    features = {name for seed in range(400) for name in features_of("\n".join(write(seed)))}
    assert features == FEATURES_OF_ALL.keys()


def test_a_random_spec_over_another_is_the_spec_that_is_written_in_full() -> None:
    over = []
    for text, whole in filter(lambda each: each[0] != each[1], map(write, range(60))):
        with contextlib.suppress(SpecError):
            over.append([fingerprint(read_beside(each)) for each in (text, whole)])
    assert len(over) > 1 and all(first == second for first, second in over)


def test_a_penalty_that_a_later_update_differentiates_is_shared_with_all_that_its_gradient_passes() -> None:
    """Seed 3085: a gate needed the loss, whose penalty was shared as a number without its graph."""
    judge = "logistic.critic(real=D(x), fake=D(fake)) + 0.1 * mean(norm(grad(D(v0), v0)))"
    source = f"""
gangraph: 1
name: penalty
data: {{x: normal(2), z: normal(2)}}
networks:
  G: {{inputs: z, layers: "linear(3), tanh, linear(2)"}}
  H: {{inputs: x, layers: "linear(3), tanh, linear(2)"}}
  D: {{inputs: x, layers: "linear(3), tanh, linear(1)"}}
values: {{fake: G(z), v0: "lerp(fake, z, 0.5)"}}
losses: {{judge: "{judge}", deceive: mean(fake), aux: mean(H(x))}}
train:
  batch: 4
  length: 100 steps
  optimizers: {{d: "sgd(D, lr=0.02)", g: "sgd(G, lr=0.05)", h: "sgd(H, lr=0.02)"}}
  step:
    - {{update: g, minimize: deceive}}
    - {{update: d, minimize: judge}}
    - {{update: h, minimize: aux, when: judge > 1}}
    - {{update: {{d: {{minimize: judge}}, g: {{minimize: deceive}}}}}}
"""
    agree(source)


@pytest.mark.parametrize("options", ["momentum=0.5", "momentum=0.5, nesterov=true", "momentum=0.5, dampening=0.25"])
def test_weights_that_get_their_first_gradient_late_step_as_in_torch(options: str) -> None:
    source = f"""
gangraph: 1
name: late
data: {{x: normal(2)}}
networks:
  A: {{inputs: x, parts: {{body: linear(2), head: linear(2)}}, values: {{h: body(x)}}, output: head(h)}}
  B: A(share=A.body)
losses: {{one: mean(A(x) ** 2), both: mean(A(B(x)) ** 2)}}
train:
  batch: 4
  length: 9 steps
  optimizers: {{g: "sgd([A, B], lr=0.1, {options})"}}
  step:
    - {{update: g, minimize: one}}
    - {{update: g, minimize: both}}
"""
    given = dict(item.split("=") for item in options.split(", "))
    run = trainer(read(source))
    networks = copy.deepcopy(dict(run.networks))
    parameters = dict.fromkeys(p for network in networks.values() for p in network.parameters())
    optimizer = torch.optim.SGD(
        parameters, lr=0.1, momentum=0.5, dampening=float(given.get("dampening", 0)), nesterov="nesterov" in given
    )
    for draw in normals(3, 4, 2):
        run.step({"x": draw})
        for called in ("A", "BA"):
            value = draw
            for name in called:
                value = networks[name](value)
            optimizer.zero_grad()
            (value**2).mean().backward()
            optimizer.step()
    for name, network in run.networks.items():
        for mine, theirs in zip(network.parameters(), networks[name].parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("damped", ["A", "B"])
def test_a_late_weight_of_an_entry_with_dampening_steps_as_in_torch(damped: str) -> None:
    """A's head has no gradient in the first update; the entry that has dampening is A, or the other network."""
    source = f"""
gangraph: 1
name: late
data: {{x: normal(2)}}
networks:
  A: {{inputs: x, parts: {{body: linear(2), head: linear(2)}}, values: {{h: body(x)}}, outputs: {{h: h, all: head(h)}}}}
  B: {{inputs: x, layers: linear(2)}}
losses: {{one: mean(A(x).h ** 2) + mean(B(x) ** 2), both: mean(A(B(x)).all ** 2)}}
train:
  batch: 4
  length: 9 steps
  optimizers: {{g: "sgd([{damped}(dampening=0.5), {"AB".replace(damped, "")}], lr=0.1, momentum=0.9)"}}
  step:
    - {{update: g, minimize: one}}
    - {{update: g, minimize: both}}
"""
    run = trainer(read(source))
    a, b = (copy.deepcopy(run.networks[name]) for name in "AB")
    groups = [
        {"params": [*each.parameters()], "dampening": 0.5 * (each is (a, b)["AB".index(damped)])} for each in (a, b)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    body, head = a.get_submodule("body.linear"), a.get_submodule("head.linear")
    for x in normals(3, 4, 2):
        run.step({"x": x})
        for late in (False, True):
            optimizer.zero_grad()
            loss = (head(body(b(x))) ** 2).mean() if late else (body(x) ** 2).mean() + (b(x) ** 2).mean()
            loss.backward()
            optimizer.step()
    for name, network in (("A", a), ("B", b)):
        for mine, theirs in zip(run.networks[name].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


CHAIN = """
gangraph: 1
name: chain
data: {{x: normal(2), z: normal(2)}}
networks:
  A: {{inputs: z, layers: "linear(3), tanh, linear(2)"}}
  B: {{inputs: x, layers: "linear(3), tanh, linear(2)"}}
  C: {{inputs: x, layers: "linear(3), tanh, linear(2)"}}
  X: {{inputs: x, layers: "linear(3), tanh, linear(2)"}}
values: {{a: A(z), b: B(a), c: C(a), d: "lerp(a, z, 0.5)"}}
losses: {{lx: {lx}, lb: {lb}, lc: {lc}}}
train:
  batch: 4
  length: 100 steps
  optimizers: {{a: "sgd(A, lr=0.5)", b: "sgd(B, lr=0.5)", c: "sgd(C, lr=0.5)", x: "sgd(X, lr=0.5)"}}
  step:
{step}
"""
CHAINS = {  # of two networks behind one, trained in updates after one that reads them
    "a loss of both, then each": (
        ("mean(X(b) + X(c))", "mean(b ** 2)", "mean(c ** 2)"),
        ("{update: x, minimize: lx}", "{update: c, minimize: lc}", "{update: {a: {minimize: lb}, b: {minimize: lb}}}"),
    ),
    "one network for each of two updates": (
        ("mean(X(z) * b * c)", "mean(b ** 2)", "mean(c ** 2)"),
        ("{update: x, minimize: lx}", "{update: b, minimize: lb}", "{update: a, minimize: lc}"),
    ),
    "a penalty that a gate and a later update need": (
        ("mean(X(z) * a)", "mean(b ** 2)", "mean(norm(grad(tanh(a), a)))"),
        ("{update: x, minimize: lx}", '{update: x, minimize: lx, when: "lc > -100"}', "{update: a, minimize: lc}"),
    ),
}
LOSSES = (
    ("mean(X(z)*a)", "mean(X(z)*b*c)", "mean(X(a))", "mean(X(b)+X(c))", "mean(X(z)*grad(c,a))"),
    ("mean(b**2)", "mean(b*c)", "mean(b**2)+mean(norm(grad(b,a)))", "mean(norm(grad(B(d),d)))"),
    ("mean(c**2)", "mean(c**2)+mean(norm(grad(c,a)))", "mean(norm(grad(tanh(a),a)))+mean(A(x)**2)",
     "mean(norm(grad(C(d),d)))+mean(norm(grad(c,a)))"),
)  # fmt: skip
UPDATES = (
    "{update: x, minimize: lx}", '{update: x, minimize: lx, when: "lc > -100"}',
    '{update: x, minimize: lx, when: "lb + lc > -9"}', "{update: b, minimize: lb}",
    '{update: b, minimize: lb, when: "lc > 0.1"}', "{update: a, minimize: lc}", "{update: c, minimize: lc}",
    "{update: {a: {minimize: lc}, c: {minimize: lc}}}", "{update: {a: {minimize: lb}, b: {minimize: lb}}}",
    "{update: {a: {minimize: lc}, b: {minimize: lb}}}", "{update: b, minimize: lb, every: 2}",
    "{update: x, minimize: lx, times: 2}", "{update: x, minimize: lx, draw: x}",
)  # fmt: skip


def chain(losses: tuple[str, ...], updates: Iterable[str]) -> str:
    """A chain of networks with these losses and updates."""
    names = dict(zip(("lx", "lb", "lc"), (f'"{loss}"' for loss in losses), strict=True))
    return CHAIN.format(**names, step="\n".join(f"    - {update}" for update in updates))


@pytest.mark.parametrize("case", CHAINS)
def test_a_value_is_shared_with_the_gradient_that_its_update_takes(case: str) -> None:
    agree(chain(*CHAINS[case]))


@pytest.mark.parametrize("seed", range(40))
def test_the_four_plans_of_a_random_chain_agree(seed: int) -> None:
    chosen = random.Random(seed)
    losses = tuple(map(chosen.choice, LOSSES))
    source = chain(losses, [chosen.choice(UPDATES[:3]), *chosen.sample(UPDATES, chosen.randint(2, 4))])
    with contextlib.suppress(SpecError):  # an update of it does not reach what it trains
        found = compare(read(source), 3)
        assert not found.difference


def test_two_gradients_may_pass_one_value() -> None:
    """Seed 3219: the first freed the graph that the second takes."""
    one, two = "mean(grad(tanh(lerp(z, x, 0.5)), z))", "l2(C(x), z) + mean(grad(B(tanh(lerp(z, x, 0.5))), z))"
    agree(chain((one, "mean(b)", two), ['{update: c, minimize: lc, when: "lx > -9"}']))


def test_what_a_gradient_passes_is_given_what_it_is_computed_from() -> None:
    """Seed 1000789: a value that a history and a gradient need, of a call that a segment before had made."""
    networks = "  P: {{inputs: x, values: {{h: linear(2)(x)}}, outputs: {{a: h, b: 2 * h}}}}\n  X:"
    for behind in ("x", "e"):
        loss = f"mean(norm(grad(tanh(B(history(e, 6) + {behind})), x))) + mean(P(z).b)"
        made = CHAIN.replace("  X:", networks).replace('d: "lerp(a, z, 0.5)"', 'e: "lerp(x, P(z).a, 0.5)"')
        agree(made.format(lx="mean(X(x))", lb=f'"{loss}"', lc="mean(c)", step="    - {update: b, minimize: lb}"))
