"""Parts that several networks have: one set of layers, one place in every count, optimizer and checkpoint."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import softplus

from gangraph import Trainer
from gangraph.errors import SpecError
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import NetworkSpec, Spec
from gangraph.pipeline import check_spec, compile_phase, load
from gangraph.run.restore import restore_network
from gangraph.views.diff import compare_specs
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import objective
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import check_json, check_text
from tests import support
from tests.support import deviation, normals, random_spec, read, same, snapshot, trainer, worst

TOLERANCE = 1e-9
PLANS = [(True, True), (True, False), (False, True), (False, False)]

TEXT = """
gangraph: 1
name: coupled
data:
  x: normal(2)
  y: normal(2)
  z: normal(3)
networks:
  G_a: {{inputs: z, parts: {{trunk: "linear(4), tanh", head: linear(2)}}, output: head(trunk(z))}}
  G_b: G_a({share_g})
  D_a: {{inputs: x, parts: {{first: "linear(5), tanh", score: linear(1)}}, output: score(first(x))}}
  D_b: D_a({share_d})
  E_a: average(G_a, decay=0.9)
  E_b: average(G_b, decay=0.9)
losses:
  judge: logistic.critic(real=D_a(x), fake=D_a(G_a(z))) + logistic.critic(real=D_b(y), fake=D_b(G_b(z)))
  fool: logistic.generator(D_a(G_a(z))) + logistic.generator(D_b(G_b(z)))
  fool_b: logistic.generator(D_b(G_b(z)))
train:
  batch: 4
  length: 20 steps
  optimizers:
    g: adam({group}, lr=1e-2)
    d: adam([D_a, D_b], lr=1e-2)
  step:
{step}
"""
BOTH, ALONE = "[G_a, G_b]", "G_b"
JUDGE, FOOL = "{update: d, minimize: judge}", "{update: g, minimize: fool}"
ORDERS = {
    "critics first": (JUDGE, FOOL),
    "generators first": (FOOL, JUDGE),
    "at once": ("{update: {d: {minimize: judge}, g: {minimize: fool}}}",),
    "through one of them": (JUDGE, "{update: g, minimize: fool_b}"),
}


def coupled(*step: str, group: str = BOTH, share_g: str = "share=G_a.trunk", share_d: str = "share=D_a.score") -> Spec:
    """Two generators with one trunk and two critics with one score."""
    entries = "\n".join(f"    - {entry}" for entry in step or (JUDGE, FOOL))
    return read(TEXT.format(step=entries, group=group, share_g=share_g, share_d=share_d))


class Loop:
    """The same system by hand: the layers that are shared are one module each."""

    def __init__(self, group: str, order: str) -> None:
        self.layers = {name: nn.Linear(*sizes).double() for name, sizes in SIZES.items()}
        names = ["trunk", "head_b"] if group == ALONE else ["trunk", "head_a", "head_b"]
        self.generators = torch.optim.Adam([p for name in names for p in self.layers[name].parameters()], lr=1e-2)
        critics = ("first_a", "first_b", "score")
        self.critics = torch.optim.Adam([p for name in critics for p in self.layers[name].parameters()], lr=1e-2)
        self.order = order

    def take(self, run: Trainer) -> None:
        """The parameters that the engine starts with."""
        for name, (network, path) in PLACES.items():
            self.layers[name].load_state_dict(run.networks[network].get_submodule(path).state_dict())

    def judge(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        pairs = ((self._score("a", x), self._fake("a", z)), (self._score("b", y), self._fake("b", z)))
        return sum((softplus(-real).mean() + softplus(fake).mean() for real, fake in pairs), torch.zeros(()))

    def fool(self, z: Tensor) -> Tensor:
        return softplus(-self._fake("a", z)).mean() + self.fool_b(z)

    def fool_b(self, z: Tensor) -> Tensor:
        return softplus(-self._fake("b", z)).mean()

    def _fake(self, domain: str, z: Tensor) -> Tensor:
        made: Tensor = self.layers[f"head_{domain}"](torch.tanh(self.layers["trunk"](z)))
        return self._score(domain, made)

    def _score(self, domain: str, image: Tensor) -> Tensor:
        score: Tensor = self.layers["score"](torch.tanh(self.layers[f"first_{domain}"](image)))
        return score

    def step(self, x: Tensor, y: Tensor, z: Tensor) -> dict[str, float]:
        """One step, in the order that was asked for."""
        fool = ("fool_b", self.fool_b) if self.order == "through one of them" else ("fool", self.fool)
        moves: list[tuple[str, Callable[[], Tensor], torch.optim.Optimizer]] = [
            ("judge", lambda: self.judge(x, y, z), self.critics),
            (fool[0], lambda: fool[1](z), self.generators),
        ]
        if self.order == "generators first":
            moves.reverse()
        losses, waiting = {}, []
        for name, loss, optimizer in moves:
            found = loss()
            losses[name] = found.item()
            parameters = optimizer.param_groups[0]["params"]
            gradients = torch.autograd.grad(found, parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            waiting.append(optimizer)
            while waiting and (self.order != "at once" or name == moves[-1][0]):
                waiting.pop(0).step()
        return losses


SIZES = {"trunk": (3, 4), "head_a": (4, 2), "head_b": (4, 2), "first_a": (2, 5), "first_b": (2, 5), "score": (5, 1)}
PLACES = {
    "trunk": ("G_a", "trunk.linear"),
    "head_a": ("G_a", "head.linear"),
    "head_b": ("G_b", "head.linear"),
    "first_a": ("D_a", "first.linear"),
    "first_b": ("D_b", "first.linear"),
    "score": ("D_b", "score.linear"),
}


@pytest.mark.parametrize(("share", "merge"), PLANS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("group", [BOTH, ALONE])
def test_engine_agrees_with_the_loop_by_hand_after_five_steps(group: str, order: str, share: bool, merge: bool) -> None:
    if group == BOTH and order == "through one of them":
        group = "[G_b, G_a]"  # the head of G_a is in the group, and gets no gradient
    run = trainer(coupled(*ORDERS[order], group=group), share=share, merge=merge)
    loop = Loop(ALONE if group == ALONE else BOTH, order)
    loop.take(run)
    before = snapshot(run.networks)
    for x, y, z in zip(normals(5, 4, 2), normals(5, 4, 2, seed=1), normals(5, 4, 3, seed=2), strict=True):
        expected = loop.step(x, y, z)
        found = run.step({"x": x, "y": y, "z": z})
        assert worst(deviation(found[name], expected[name]) for name in expected) <= TOLERANCE
    for name, (network, path) in PLACES.items():
        for mine, theirs in zip(
            run.networks[network].get_submodule(path).parameters(), loop.layers[name].parameters(), strict=True
        ):
            assert deviation(mine.detach(), theirs.detach()) <= TOLERANCE
    assert not torch.equal(before["G_a.trunk.linear.weight"], run.networks["G_a"].state_dict()["trunk.linear.weight"])


def test_shared_part_is_one_module_with_parameters_that_an_optimizer_holds_once() -> None:
    run = trainer(coupled())
    assert run.networks["G_a"].get_submodule("trunk") is run.networks["G_b"].get_submodule("trunk")
    assert run.networks["G_a"].get_submodule("head") is not run.networks["G_b"].get_submodule("head")
    held = run.engine.parameters["g"]
    assert len(held) == len({id(p) for p in held}) == 6
    (phase,) = run.checked
    assert [phase.own_parameters(name) for name in ("G_a", "G_b", "D_a", "D_b")] == [26, 10, 21, 15]
    assert check_json(run.spec, run.checked)["parameters"] == 26 + 10 + 21 + 15
    assert check_json(run.spec, run.checked)["networks"]["G_b"]["shared"] == {
        "trunk": {"owner": "G_a", "parameters": 16}
    }


def test_shared_part_starts_as_its_owner_makes_it_and_the_rest_as_without_sharing() -> None:
    joined, apart = trainer(coupled()), trainer(coupled(share_g="", share_d=""))
    ours, theirs = snapshot(joined.networks), snapshot(apart.networks)
    other = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert other == {f"{name}.{kind}" for name in ("G_b.trunk.linear", "E_b.trunk.linear", "D_b.score.linear")
                     for kind in ("weight", "bias")}  # fmt: skip
    assert same(snapshot({"": joined.networks["G_a"]}), snapshot({"": apart.networks["G_a"]}))


def test_group_of_one_network_moves_the_average_of_the_other_in_its_shared_part_alone() -> None:
    run = trainer(coupled(group=ALONE))
    before = snapshot(run.networks)
    run.step()
    after = snapshot(run.networks)
    moved = {name for name in after if name.startswith(("G", "E")) and not torch.equal(before[name], after[name])}
    assert {name.rpartition(".")[0] for name in moved} == {
        "G_a.trunk.linear", "G_b.trunk.linear", "G_b.head.linear",
        "E_a.trunk.linear", "E_b.trunk.linear", "E_b.head.linear",
    }  # fmt: skip
    for kind in ("weight", "bias"):
        expected = 0.9 * before[f"G_a.trunk.linear.{kind}"] + 0.1 * after[f"G_a.trunk.linear.{kind}"]
        assert torch.allclose(after[f"E_a.trunk.linear.{kind}"], expected, rtol=1e-12)
        assert torch.equal(after[f"E_a.trunk.linear.{kind}"], after[f"E_b.trunk.linear.{kind}"])
    copies = [run.networks[name].get_submodule("trunk") for name in ("E_a", "E_b")]
    assert copies[0] is not copies[1]


def test_what_follows_an_update_changes_the_networks_that_share_too() -> None:
    step = ("{update: g, minimize: fool, then: 'clip(D_a, -0.01, 0.01)'}", "{update: d, minimize: judge}")
    spec = coupled("{update: d, minimize: judge}", *step)
    planned, plain = trainer(spec), trainer(spec, share=False, merge=False)
    for _ in range(3):
        found, expected = planned.step(), plain.step()
        assert worst(deviation(found[name], expected[name]) for name in expected) <= TOLERANCE
    score = planned.networks["D_b"].get_submodule("score.linear.weight".rpartition(".")[0])
    assert float(next(score.parameters()).detach().abs().max()) < 0.05


def test_checkpoint_holds_shared_parts_once_and_each_network_is_read_alone(tmp_path: Path) -> None:
    run = trainer(coupled())
    run.train(steps=2)
    folder = run.save(tmp_path / "saved")
    stored = load_file(folder / "tensors.safetensors")
    assert "network/G_a/trunk.linear.weight" in stored and "network/G_b/trunk.linear.weight" not in stored
    assert "average/E_b/trunk.linear.weight" in stored
    module = trainer(coupled(share_g=""), seed=7).networks["G_b"]
    restore_network(folder, "G_b", module)
    assert same(snapshot({"": module}), snapshot({"": run.networks["G_b"]}))


def test_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    spec = coupled(group=ALONE)
    whole, first = trainer(spec, precision="fp32"), trainer(spec, precision="fp32")
    expected = whole.train(steps=6)
    first.train(steps=3)
    resumed = Trainer.resume(first.save(tmp_path / "half"), device="cpu")
    assert resumed.train(steps=3) == expected
    assert same(snapshot(resumed.networks), snapshot(whole.networks))
    ours, theirs = (read_checkpoint(run.save(tmp_path / f"{i}")) for i, run in enumerate((resumed, whole)))
    assert ours.state == theirs.state
    assert all(torch.equal(ours.tensors[name], tensor) for name, tensor in theirs.tensors.items())
    assert resumed.networks["G_a"].get_submodule("trunk") is resumed.networks["G_b"].get_submodule("trunk")


PHASES = """
gangraph: 1
name: joining
params: {joined: false}
data: {x: normal(2), z: normal(2)}
networks:
  B: {inputs: z, parts: {trunk: "linear(4), tanh", head: linear(2)}, output: head(trunk(z)),
    share: "[A.trunk] if joined else none"}
  A: {inputs: z, parts: {trunk: "linear(4), tanh", head: linear(2)}, output: head(trunk(z))}
losses: {far: "l2(A(z), x) + l2(B(z), x)"}
train:
  batch: 4
  optimizers: {all: "adam([A, B], lr=1e-2)"}
  step: [{update: all, minimize: far}]
  phases:
    - {name: apart, length: 2 steps}
    - {name: joined, length: 2 steps, set: {joined: true}}
    - {name: apart_again, length: 2 steps, set: {joined: false}}
"""


def test_phase_that_joins_networks_takes_the_owners_part_over_and_one_that_parts_them_copies_it() -> None:
    run = trainer(read(PHASES))
    run.train(steps=2)
    owners, others = (snapshot({"": run.networks[name].get_submodule("trunk")}) for name in "AB")
    assert not same(owners, others)
    assert run.next_phase() == []
    assert run.networks["A"].get_submodule("trunk") is run.networks["B"].get_submodule("trunk")
    assert same(snapshot({"": run.networks["B"].get_submodule("trunk")}), owners)
    run.train(steps=2)
    joined = snapshot({"": run.networks["A"].get_submodule("trunk")})
    assert run.next_phase() == []
    assert run.networks["A"].get_submodule("trunk") is not run.networks["B"].get_submodule("trunk")
    assert all(same(snapshot({"": run.networks[name].get_submodule("trunk")}), joined) for name in "AB")


CHAIN = """
gangraph: 1
name: chain
data: {x: normal(4), z: normal(4)}
networks:
  A:
    inputs: z
    parts:
      block: linear(4), spectral_norm(linear(4)), batch_norm
      up[k in 1..3]: block, linear(4)
      last: linear(4)
    output: last(up[3](up[2](up[1](z))))
  B: A(share=[A.up[k] for k in 1..2])
  C: A(share=[B.up[2], A.last])
  D: A(share=[C.up, B.last])
losses: {far: "l2(A(z), x) + l2(B(z), x) + l2(C(z), x) + l2(D(z), x)"}
train:
  batch: 4
  length: 4 steps
  optimizers: {all: "adam([A, B, C, D], lr=1e-2)"}
  step: [{update: all, minimize: far}]
"""


def test_parts_that_are_shared_on_belong_to_their_first_owner_with_all_that_they_consist_of() -> None:
    run = trainer(read(CHAIN))
    made = {name: network for name, network in run.spec.phases[0].networks.items() if isinstance(network, NetworkSpec)}
    owners = {name: {share.part: share.network for share in network.shares} for name, network in made.items()}
    assert owners["B"] == {"up[1]": "A", "block": "A", "up[2]": "A"}
    assert owners["C"] == {"up[2]": "A", "block": "A", "last": "A"}
    assert owners["D"] == {"up[1]": "C", "block": "A", "up[2]": "A", "up[3]": "C", "last": "B"}
    part = {name: dict(network.named_children()) for name, network in run.networks.items()}
    assert len({id(part[name]["block"]) for name in "ABCD"}) == 1
    assert part["D"]["up_2"] is part["A"]["up_2"] and part["D"]["up_3"] is part["C"]["up_3"]
    assert part["D"]["up_3"] is not part["A"]["up_3"] and part["D"]["last"] is part["B"]["last"]
    run.train(steps=2)
    frozen = run.engine.networks.frozen["D"]
    assert all(
        mine.data_ptr() == theirs.data_ptr()
        for mine, theirs in zip(frozen.state_dict().values(), part_of(run, "D"), strict=True)
    )


def part_of(run: Trainer, name: str) -> Iterator[Tensor]:
    """Every parameter and buffer of a network."""
    yield from run.networks[name].state_dict().values()


COUPLED = """
  G: {{inputs: z, parts: {{body: '{0}', last: linear(2)}}, output: last(body(z))}}
  D: {{inputs: x, layers: '{1}, linear(1)'}}
  H: {{inputs: x, share: G.body, parts: {{body: '{0}', last: linear(2)}}, output: last(body(x))}}
"""


@pytest.mark.parametrize("seed", range(24))
def test_random_systems_with_a_shared_part_train_the_same_planned_or_plain(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = support.RANDOM.index("  G: {{"), support.RANDOM.index("  E: average")
    monkeypatch.setattr(support, "RANDOM", support.RANDOM[:start] + COUPLED.lstrip("\n") + support.RANDOM[end:])
    spec = random_spec(seed)
    try:
        plain, *others = (trainer(spec, share=share, merge=merge) for share, merge in reversed(PLANS))
    except SpecError as error:
        assert {problem.code for problem in error.problems} <= {"GG501", "GG503", "GG504"}
        return
    expected = [plain.step() for _ in range(3)]
    for other in others:
        for losses in expected:
            found = other.step()
            assert worst(deviation(found[name], losses[name]) for name in losses) <= 1e-8
    assert plain.networks["G"].get_submodule("body") is plain.networks["H"].get_submodule("body")


def test_first_network_that_a_run_calls_stores_a_part_whose_owner_it_does_not_call() -> None:
    spec = coupled("{update: g, minimize: fool_b}", group="G_b")
    text = spec.text.replace("judge: logistic.critic(real=D_a(x), fake=D_a(G_a(z))) + ", "judge: ")
    text = text.replace("fool: logistic.generator(D_a(G_a(z))) + ", "fool: ").replace(
        "  E_a: average(G_a, decay=0.9)\n", ""
    )
    text = text.replace("D_b: D_a(share=D_a.score)", "D_b: D_a").replace("[D_a, D_b]", "D_b")
    run = trainer(read(text))
    assert "G_a" not in run.networks and run.checked[0].tied_parts == {}
    run.train(steps=2)


INIT = """
gangraph: 1
name: starts
data: {x: normal(3), z: normal(5)}
networks:
  G:
    inputs: z
    init: {linear: "constant(2)", head: zeros, "up[2]": "constant(3)", up: "constant(4)", bias: "constant(0.125)"}
    parts: {trunk: "linear(4), batch_norm", "up[k in 1..2]": "linear(4), relu", head: linear(3)}
    output: head(up[2](up[1](trunk(z))))
losses: {far: "l2(G(z), x)"}
train: {batch: 4, length: 1 steps, optimizers: {g: "sgd(G, lr=0.1)"}, step: [{update: g, minimize: far}]}
"""


def test_part_comes_before_its_family_and_that_before_the_kind_of_layer() -> None:
    state = trainer(read(INIT)).networks["G"].state_dict()
    weights = {"trunk.linear": 2.0, "up_1.linear": 4.0, "up_2.linear": 3.0, "head.linear": 0.0, "trunk.batch_norm": 1.0}
    for place, expected in weights.items():
        assert bool((state[f"{place}.weight"] == expected).all()), place
        assert bool((state[f"{place}.bias"] == 0.125).all()), place


def test_default_for_biases_is_torchs_own_beside_a_scheme_for_weights() -> None:
    run = trainer(read(INIT.replace("constant(0.125)", "default")))
    assert float(run.networks["G"].state_dict()["trunk.linear.bias"].abs().max()) > 0.01


def test_readings_say_what_is_shared() -> None:
    spec, other = coupled(group=ALONE), coupled(group=ALONE, share_g="")
    checked, apart = check_spec(spec), check_spec(other)
    (program,) = (compile_phase(each) for each in checked)
    assert "  G_b: like G_a, sharing G_a.trunk" in spec_text(spec).splitlines()
    assert "10  parameters and 16 in trunk of G_a" in check_text(spec, checked)
    assert "together" in check_text(spec, checked) and "together" not in check_text(
        coupled(share_g="", share_d=""), check_spec(coupled(share_g="", share_d=""))
    )
    assert "G_b, and what G_a shares with it" in plan_text(program)
    told = " ".join(explain_text(spec, [program.plan]).split())
    assert "In G_b, trunk is G_a's, the very same layers: 10 of its parameters are its own." in told
    assert "Adam changes the parameters of G_b, and so the parts that G_a shares with it" in told
    assert "The gradient reaches G_b through G_a(z) and G_b(z)." in told
    assert any(line.right == r"\text{trunk of } G_{b} \text{ is that of } G_{a}" for line in objective(checked[0]))
    assert "trunk shared with G_a" in draw(checked[0].graph)
    found = compare_specs(spec, other)
    assert "what G_b shares was G_a.trunk, and is now nothing" in [str(each) for each in found.differences]
    assert fingerprint(spec) != fingerprint(other)
    assert apart[0].own_parameters("G_b") == 26


def test_networks_of_cogan_have_the_sizes_that_the_paper_states() -> None:
    (phase,) = check_spec(load("cogan", profile="paper"))
    own = {name: phase.own_parameters(name) for name in phase.networks}
    shared = {name: sum(tie.parameters for tie in tied_parts) for name, tied_parts in phase.tied_parts.items()}
    assert own == {"G_a": 7_833_476 + 4_609, "G_b": 4_609, "D_a": 426_553 + 520, "D_b": 520}
    assert shared == {"G_b": 7_833_476, "D_b": 426_553}


def test_another_network_from_a_definition_in_place_sees_the_names_of_the_spec() -> None:
    text = """
gangraph: 1
name: twins
params: {width: 3}
data: {z: normal(2)}
networks:
  G: {params: {depth: 1}, inputs: z, parts: {a: "linear(width * depth)", b: linear(1)}, values: {h: a(z)}, output: b(h)}
  H: G(depth=2)
  F: G(share=G.a)
losses: {loss: mean(G(z) + H(z) + F(z))}
train: {batch: 2, length: 1 steps, optimizers: {g: "sgd([G, H, F])"}, step: [{update: g, minimize: loss}]}
"""
    networks = trainer(read(text)).networks
    widths = {name: networks[name].get_parameter("a.linear.weight").shape[0] for name in networks}
    assert widths == {"G": 3, "H": 6, "F": 3}
