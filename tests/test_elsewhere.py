"""Networks from elsewhere: of another spec, of a run, of a file; frozen or trained from there; and warm starts."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph import Trainer
from gangraph.cli import main
from gangraph.errors import CheckpointError, RunError, SpecError, UsageError
from gangraph.language.continuation import changes
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.saved.state import TENSORS, read_state
from gangraph.saved.tensors import shapes_in
from gangraph.session.run import run
from tests.support import copy_parameters, deviation, normals, same, snapshot, trainer, worst

STEPS = 25
TOLERANCE = 1e-9
PLANS = [(True, True), (False, True), (True, False), (False, False)]

BASE = """
gangraph: 1
name: base
params: {width: 6}
data: {x: plane(std=0.3), z: normal(2)}
networks:
  G: mlp(widths=[4], outputs=2, activation=tanh)
  D:
    inputs: x
    parts:
      body: linear(width), batch_norm, tanh, dropout(0.5), spectral_norm(linear(5)), tanh
      head: linear(1)
    values: {h: body(x)}
    outputs: {logits: head(h), features: h}
  E: average(G, decay=0.9)
values: {fake: G(z)}
losses:
  judge: logistic.critic(real=D(x).logits, fake=D(fake).logits)
  fool: logistic.generator(D(fake).logits)
train:
  batch: 8
  length: 6 steps
  save: 2 steps
  optimizers: {g: "sgd(G, lr=0.1)", d: "sgd(D, lr=0.1)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
"""
USE = """
gangraph: 1
name: use
data: {{x: plane(std=0.3), z: normal(2)}}
networks:
  G: mlp(widths=[4], outputs=2, activation=tanh)
  A:
    inputs: x
    layers: linear(3), batch_norm, tanh, linear(1)
{networks}
{start}
values: {{fake: G(z)}}
losses:
  {losses}
  judge: logistic.critic(real=A(x), fake=A(fake))
train:
  batch: 4
  length: 100 steps
  optimizers:
    g: sgd(G, lr=0.1)
    a: {critic}
  step:
    - {{update: a, minimize: judge}}
    - {{update: g, minimize: close + logistic.generator(A(fake))}}
{evaluate}
"""
CLOSE = "close: l2(P(fake).features, P(x).features) + 0.1 * mean(P(G(z)).logits)"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def base() -> Path:
    """A run of six steps, with three checkpoints."""
    Path("base.yaml").write_text(BASE)
    return run(gangraph.load("base.yaml"), out=Path("runs/base"), device="cpu")


def use(
    networks: str = "",
    start: str = "",
    losses: str = CLOSE,
    critic: str = "sgd(A, lr=0.1)",
    evaluate: str = "",
    called: str = "use.yaml",
) -> Spec:
    """A spec that takes something from elsewhere."""
    text = USE.format(networks=networks, start=start, losses=losses, critic=critic, evaluate=evaluate)
    Path(called).write_text(text)
    return gangraph.load(called)


FROM_RUN = '  P: from_run("runs/base", network="D")'
TRAINED = '  P: trained("base", network="D")'


def kept(run: Path | str = "runs/base", step: int = 6) -> Mapping[str, nn.Module]:
    """The networks of a checkpoint of the base run, in float64."""
    return Trainer.resume(Path(run, "checkpoints", f"step-{step:08}"), device="cpu", precision="fp64").networks


# Frozen networks


class Critic(nn.Module):
    """The network A of the spec, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Perceptual:
    """The spec `USE` by hand: a critic, and a generator whose fakes look like data to P, which never changes."""

    def __init__(self, engine: Trainer, frozen: nn.Module) -> None:
        self.g = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        self.a = Critic().double()
        copy_parameters(engine.networks["G"], self.g)
        copy_parameters(engine.networks["A"], self.a)
        self.p = frozen.eval().requires_grad_(False)

    def step(self, x: Tensor, z: Tensor) -> dict[str, float]:
        fake = self.g(z)
        judge = functional.softplus(-self.a(x)).mean() + functional.softplus(self.a(fake.detach())).mean()
        self._descend(judge, self.a)
        fool = functional.softplus(-self.a(fake)).mean()
        seen, real = self.p(fake), self.p(x)
        close = ((seen["features"] - real["features"]) ** 2).mean() + 0.1 * seen["logits"].mean()
        self._descend(close + fool, self.g)
        return {"judge": float(judge.detach()), "close": float(close.detach())}

    @staticmethod
    def _descend(loss: Tensor, network: nn.Module) -> None:
        gradients = torch.autograd.grad(loss, [*network.parameters()])
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient


@pytest.mark.parametrize(("share", "merge"), PLANS)
@pytest.mark.parametrize("network", [FROM_RUN, TRAINED])
def test_a_loss_on_a_frozen_network_trains_as_the_loop_by_hand(
    base: Path, network: str, share: bool, merge: bool
) -> None:
    engine = trainer(use(network), share=share, merge=merge)
    before = snapshot({"P": engine.networks["P"]})
    loop = Perceptual(engine, kept()["D"])
    assert same(before, snapshot({"P": loop.p}))
    for x, z in zip(normals(STEPS, 4, 2), normals(STEPS, 4, 2, seed=1), strict=True):
        expected, found = loop.step(x, z), engine.step({"x": x, "z": z})
        assert worst(deviation(found[name], expected[name]) for name in expected) <= TOLERANCE
    for name, mine in (("G", loop.g), ("A", loop.a)):
        theirs = engine.networks[name]
        pairs = zip((*theirs.parameters(), *theirs.buffers()), (*mine.parameters(), *mine.buffers()), strict=True)
        assert worst(deviation(a.detach(), b.detach()) for a, b in pairs) <= TOLERANCE
    assert same(before, snapshot({"P": engine.networks["P"]}))


def test_calls_of_a_frozen_network_merge_although_its_layers_would_mix_samples_in_training(base: Path) -> None:
    losses = "close: l1(P(fake).features, 0.5 * P(G(2 * z)).features)"
    merged = [
        group
        for update in trainer(use(FROM_RUN, losses=losses)).engine.program.plan.updates
        for segment in update.segments
        for group in segment.merges
    ]
    assert any(name.startswith("P_out") for group in merged for name in group)


def test_a_frozen_network_stays_in_evaluation_mode_where_an_evaluation_runs_in_training_mode(base: Path) -> None:
    evaluate = "evaluate: {mode: train, samples: 6, grid: [fake], metrics: {seen: mean(P(fake).features)}}"
    engine = trainer(use(FROM_RUN, evaluate=evaluate))
    before, looks = snapshot(engine.networks), [engine.evaluate(), engine.evaluate()]
    assert looks[0] is not None and looks[1] is not None
    assert looks[0].metrics == looks[1].metrics
    assert not engine.networks["P"].training and engine.networks["A"].training
    assert same(before, snapshot(engine.networks))


def test_an_average_of_a_run_and_a_network_of_an_earlier_step_are_taken(base: Path) -> None:
    networks = '  P: from_run("runs/base", network="E")\n  Q: from_run("runs/base", network="G", step=4)'
    engine = trainer(use(networks, losses="close: l2(P(z), x) + l2(Q(z), x)"))
    assert same(snapshot({"": kept()["E"]}), snapshot({"": engine.networks["P"]}))
    assert same(snapshot({"": kept(step=4)["G"]}), snapshot({"": engine.networks["Q"]}))


def test_a_network_of_a_run_that_took_it_from_another_is_the_first_one_s(base: Path) -> None:
    run(use(FROM_RUN), out=Path("runs/second"), device="cpu", steps=2)
    spec = use('  P: from_run("runs/second", network="P")', called="third.yaml")
    assert same(snapshot({"": kept()["D"]}), snapshot({"": trainer(spec).networks["P"]}))


# Trained from there


def test_an_optimizer_that_names_it_trains_it_from_there(base: Path) -> None:
    losses = f"{CLOSE}\n  more: l2(P(x).logits, P(fake).logits)"
    use(FROM_RUN, losses=losses, critic="sgd([A, P], lr=0.1)")
    Path("use.yaml").write_text(Path("use.yaml").read_text().replace("minimize: judge", "minimize: judge + more"))
    engine = trainer(gangraph.load("use.yaml"))
    begun = snapshot({"": engine.networks["P"]})
    assert same(snapshot({"": kept()["D"]}), begun)
    assert engine.networks["P"].training
    engine.step()
    assert {name for name in begun if not torch.equal(begun[name], snapshot({"": engine.networks["P"]})[name])}
    engine.save("half")
    engine.step()
    resumed = Trainer.resume("half", device="cpu")
    resumed.step()
    assert same(snapshot(engine.networks), snapshot(resumed.networks))


def test_phases_train_a_network_from_elsewhere_and_keep_what_they_trained(base: Path) -> None:
    text = """
gangraph: 1
name: two
data: {x: plane(std=0.3)}
networks:
  P: from_run("runs/base", network="G")
  F: from_run("runs/base", network="D")
losses: {near: "l2(P(x), x) + mean(F(P(x)).logits)"}
train:
  batch: 4
  optimizers: {p: "sgd(P, lr=0.1)"}
  step: [{update: p, minimize: near}]
  phases:
    - {name: first, length: 2 steps}
    - {name: second, length: 2 steps}
"""
    Path("two.yaml").write_text(text)
    engine = trainer(gangraph.load("two.yaml"))
    engine.train(steps=2)
    moved = snapshot({"": engine.networks["P"]})
    engine.next_phase()
    assert same(moved, snapshot({"": engine.networks["P"]}))
    assert not same(moved, snapshot({"": kept()["G"]}))
    assert same(snapshot({"": kept()["D"]}), snapshot({"": engine.networks["F"]}))


# Checkpoints


def test_a_checkpoint_names_a_frozen_network_and_does_not_hold_it(base: Path) -> None:
    made = run(use(FROM_RUN), out=Path("runs/use"), device="cpu", steps=3)
    (checkpoint,) = (made / "checkpoints").glob("step-*")
    state = read_state(checkpoint)
    (text, found) = next(iter(state.trained.elsewhere.items()))
    assert text == 'from_run("runs/base", network="D")'
    assert Path(found.path) == (base / "checkpoints" / "step-00000006").resolve()
    assert found.digest == read_state(Path(found.path)).digest
    trained = Trainer.resume(made, device="cpu")
    assert {name.split("/")[1] for name in shapes_in(checkpoint / TENSORS)} == {"G", "A"}
    assert trained.networks.keys() == {"G", "A", "P"}


@pytest.mark.parametrize("network", [FROM_RUN, TRAINED])
def test_a_run_goes_on_to_the_bit_with_the_weights_that_it_began_with(base: Path, network: str) -> None:
    whole = trainer(use(network))
    whole.train(steps=6)
    half = trainer(use(network))
    half.train(steps=3)
    half.save("half")
    resumed = Trainer.resume("half", device="cpu")
    resumed.train(steps=3)
    assert same(snapshot(whole.networks), snapshot(resumed.networks))


def test_a_run_that_was_trained_further_does_not_change_one_that_goes_on(base: Path) -> None:
    half = trainer(use('  P: from_run("runs/base", network="D")'))
    half.save("half")
    longer = gangraph.load("base.yaml", set={"train.length": "8 steps"})
    run(longer, resume=base, device="cpu")
    assert (base / "checkpoints" / "step-00000008").is_dir()
    assert same(snapshot(half.networks), snapshot(Trainer.resume("half", device="cpu").networks))
    fresh = trainer(gangraph.load("use.yaml"))
    assert not same(snapshot(half.networks), snapshot(fresh.networks))
    assert fingerprint(fresh.spec) != fingerprint(half.spec)


def test_weights_that_changed_under_a_run_are_refused_with_both_digests(base: Path) -> None:
    trainer(use(FROM_RUN)).save("half")
    other = Trainer(gangraph.load("base.yaml"), device="cpu", seed=5)
    other.train(steps=6)
    other.save(base / "checkpoints" / "step-00000006")
    with pytest.raises(CheckpointError, match=r"other weights of from_run.*found digest \w{12}, expected \w{12}"):
        Trainer.resume("half", device="cpu")


def test_another_network_from_elsewhere_cannot_take_its_place_in_a_run(base: Path) -> None:
    made = run(use(FROM_RUN), out=Path("runs/use"), device="cpu", steps=1)
    with pytest.raises(UsageError, match=r'networks.P: from_run\("runs/base", network="D"\).*step=4'):
        run(use('  P: from_run("runs/base", network="D", step=4)'), resume=made, device="cpu")


# Warm starts

PLAIN = "close: l2(fake, x)"


def test_a_named_start_is_what_loading_by_hand_gives(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = trainer(use(start='start: {G: \'from_run("runs/base", network="E")\'}', losses=PLAIN))
    by_hand = trainer(use(losses=PLAIN))
    with torch.no_grad():
        for mine, theirs in zip(by_hand.networks["G"].parameters(), kept()["E"].parameters(), strict=True):
            mine.copy_(theirs)
    assert same(snapshot(engine.networks), snapshot(by_hand.networks))
    for x, z in zip(normals(STEPS, 4, 2), normals(STEPS, 4, 2, seed=1), strict=True):
        assert engine.step({"x": x, "z": z}) == by_hand.step({"x": x, "z": z})
    assert same(snapshot(engine.networks), snapshot(by_hand.networks))
    assert engine.started == ('G begins with from_run("runs/base", network="E"): all 4 tensors',)


def test_a_run_begins_with_every_network_of_another_by_name(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(networks="  E: average(G, decay=0.5)", losses=PLAIN)
    assert (
        main(["run", "use.yaml", "--start", "runs/base", "--out", "runs/use", "--device", "cpu", "--steps", "1"]) == 0
    )
    told = capsys.readouterr().out
    assert 'G begins with from_run("runs/base"): all 4 tensors' in told and "A begins anew" in told
    assert read_state(Path("runs/use/checkpoints/step-00000001")).trained.settings == {"start": 'from_run("runs/base")'}
    engine = trainer(gangraph.load("use.yaml", set={"start": 'from_run("runs/base")'}))
    assert same(snapshot({"": kept()["E"]}), snapshot({"": engine.networks["E"]}))


def test_a_run_goes_on_although_what_it_began_with_is_gone(base: Path) -> None:
    start = 'start: {G: \'from_run("runs/base")\', A: \'file("a.safetensors", names="names.yaml")\'}'
    whole = trainer(use(losses=PLAIN))
    save_file({f"x.{name}": t for name, t in whole.networks["A"].state_dict().items()}, "a.safetensors")
    Path("names.yaml").write_text('"layers.*": x.layers.*\n')
    half = trainer(use(start=start, losses=PLAIN))
    half.train(steps=2)
    half.save("half")
    half.train(steps=2)
    for gone in ("a.safetensors", "names.yaml"):
        Path(gone).unlink()
    base.rename("elsewhere")
    resumed = Trainer.resume("half", device="cpu")
    resumed.train(steps=2)
    assert same(snapshot(half.networks), snapshot(resumed.networks))


def test_what_a_file_holds_and_how_it_is_read_are_part_of_what_is_trained() -> None:
    tensors = {name: tensor.clone() for name, tensor in trainer(use(losses=PLAIN)).networks["A"].state_dict().items()}
    both = {f"{which}.{name}": tensor + which for which in (0, 1) for name, tensor in tensors.items()}
    seen: dict[str, Spec] = {}

    def told(file: Mapping[str, Tensor], table: str) -> Spec:
        save_file(dict(file), "a.safetensors")
        Path("names.yaml").write_text(table)
        spec = use(start='start: {A: \'file("a.safetensors", names="names.yaml")\'}', losses=PLAIN)
        return seen.setdefault(fingerprint(spec), spec)

    first = told(both, '"layers.*": 0.layers.*\n')
    assert told(both, '"layers.*":   0.layers.*  # as before\n') is first
    assert told(both, '"layers.*": 1.layers.*\n') is not first
    other = told({name: tensor + 2 for name, tensor in both.items()}, '"layers.*": 0.layers.*\n')
    assert len(seen) == 3
    (found,) = changes(first, other, 0)
    assert (found.path, found.touches) == ("start.A", "trained") and found.before != found.after


def test_a_run_that_goes_on_is_still_the_run_that_began_with_a_file() -> None:
    tensors = {f"x.{name}": t for name, t in trainer(use(losses=PLAIN)).networks["A"].state_dict().items()}
    save_file(tensors, "a.safetensors")
    Path("names.yaml").write_text('"layers.*": x.layers.*\n')
    start = 'start: {A: \'file("a.safetensors", names="names.yaml")\'}'
    spec = use(start=start, losses=PLAIN)
    half = trainer(spec)
    half.train(steps=2)
    resumed = Trainer.resume(half.save("half"), device="cpu")
    assert fingerprint(resumed.spec) == fingerprint(spec)
    again = Trainer.resume(resumed.save("again"), device="cpu", spec=spec)
    assert again.changes == () and fingerprint(again.spec) == fingerprint(spec)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, "a.safetensors")
    with pytest.raises(UsageError, match=r"start\.A: file\("):
        Trainer.resume("again", device="cpu", spec=use(start=start, losses=PLAIN))


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_of_released_code_is_read_by_a_table_of_names(suffix: str) -> None:
    critic = Critic()
    tensors = {name.replace("layers.", "net."): tensor for name, tensor in critic.state_dict().items()}
    if suffix == "pt":
        torch.save(tensors, "a.pt")
    else:
        save_file(tensors, "a.safetensors")
    Path("names.yaml").write_text(
        "layers.linear.*: net.0.*\nlayers.batch_norm.*: net.1.*\nlayers.linear_2.*: net.3.*\n"
    )
    spec = use(start=f'start: {{A: \'file("a.{suffix}", names="names.yaml")\'}}', losses=PLAIN)
    engine = Trainer(spec, device="cpu")
    assert all(map(torch.equal, engine.networks["A"].state_dict().values(), critic.state_dict().values()))


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_a_file_that_would_execute_something_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"layers.linear.weight": Code()}, "a.pt")
    spec = use(start="start: {A: 'file(\"a.pt\")'}", losses=PLAIN)
    with pytest.raises(RunError, match=r"'.*a\.pt' cannot be read: it holds more than tensors"):
        Trainer(spec, device="cpu")
    assert "run" not in capsys.readouterr().out


def test_a_start_that_does_not_fit_is_refused_with_both_shapes(base: Path) -> None:
    with pytest.raises(SpecError, match=r"do not fit 'A'") as caught:
        Trainer(use(start='start: {A: \'from_run("runs/base", network="G")\'}', losses=PLAIN), device="cpu")
    assert "layers.linear.weight [4, 2]" in str(caught.value)
    assert "layers.linear.weight [3, 2]" in str(caught.value)


def test_a_start_that_gives_nothing_is_refused() -> None:
    Path("other.yaml").write_text(BASE.replace("name: base", "name: other").replace("G", "GG").replace("D", "DD"))
    run(gangraph.load("other.yaml"), out=Path("runs/other"), device="cpu", steps=1)
    with pytest.raises(UsageError, match=r"nothing of from_run\(\"runs/other\"\) fits: it has DD, E and GG"):
        Trainer(use(start='start: from_run("runs/other")', losses=PLAIN), device="cpu")


# Views, and what is hostile


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def test_every_view_tells_where_a_network_comes_from(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(FROM_RUN, start='start: {G: \'from_run("runs/base", network="E")\'}')
    capsys.readouterr()
    call = 'from_run("runs/base", network="D")'
    spec = shown(capsys, "show", "use.yaml", "--as", "spec")
    assert f"P: {call}    # D, frozen, in evaluation mode" in spec
    assert 'start:\n  G: from_run("runs/base", network="E")' in spec
    assert "frozen for good: P" in shown(capsys, "show", "use.yaml", "--as", "plan")
    assert "P is from elsewhere, frozen, in evaluation mode." in shown(capsys, "show", "use.yaml", "--as", "code")
    assert r"P \text{ is given: its parameters stay as they are}" in shown(capsys, "show", "use.yaml", "--as", "latex")
    drawing = shown(capsys, "show", "use.yaml", "--as", "graph").replace("&quot;", '"')
    assert f"D of {call}, frozen, in evaluation mode" in drawing
    told = " ".join(shown(capsys, "explain", "use.yaml").split())
    assert f"The weights of P come from {call}: no optimizer names it, so it stays as it is" in told
    assert 'G: from_run("runs/base", network="E")' in told


def test_two_specs_differ_in_where_weights_come_from(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(FROM_RUN, called="first.yaml")
    use('  P: from_run("runs/base", network="D", step=4)', 'start: from_run("runs/base")', called="second.yaml")
    capsys.readouterr()
    told = " ".join(shown(capsys, "diff", "first.yaml", "second.yaml").split())
    assert 'the origin of P was from_run("runs/base", network="D"), frozen, in evaluation mode, and is now' in told
    assert 'what every network begins with was initialized, and is now from_run("runs/base")' in told


def test_a_run_trains_the_network_that_it_needs_first_and_says_so(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(use(TRAINED), out=Path("runs/use"), device="cpu", steps=1)
    told = capsys.readouterr()
    assert "base: training the network P, which the spec takes from base, once for this machine" in told.err
    assert (made / "base.yaml").read_text() == BASE
    Path("base.yaml").unlink()
    run(None, resume=made, device="cpu", steps=2)
    assert "training the network" not in capsys.readouterr().err


def test_a_weight_that_is_no_number_is_refused(base: Path) -> None:
    trainer = Trainer.resume(base, device="cpu")
    with torch.no_grad():
        next(trainer.networks["D"].parameters()).fill_(float("nan"))
    trainer.save("nan")
    with pytest.raises(CheckpointError, match=r"network/D/.*: found NaN, expected numbers"):
        Trainer(use('  P: from_run("nan", network="D")'), device="cpu")


def test_specs_that_lead_to_each_other_without_end_are_refused() -> None:
    circle = BASE.replace("  E: average", '  C: trained("base", network="D")\n  E: average')
    Path("base.yaml").write_text(circle)
    with pytest.raises(SpecError, match="take networks from each other too many levels deep"):
        gangraph.check_spec(gangraph.load("base.yaml"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff" * 16, "its header claims 18446744073709551615 bytes"),
        (b"\x02\0\0\0\0\0\0\0[]", "it has no header of a safetensors file"),
        (b'\x0d\0\0\0\0\0\0\0{"a":{"b":1}}', "its header gives a tensor no shape"),
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(content: bytes, why: str) -> None:
    Path("a.safetensors").write_bytes(content)
    with pytest.raises(SpecError, match=why):
        gangraph.check_spec(use(start="start: {A: 'file(\"a.safetensors\")'}", losses=PLAIN))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\x80\x02.",
        b"\x80\x02h\x05.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ccollections\nOrderedDict\nK\x01R.",
        b"\x80\x02c__builtin__\neval\n.",
    ],
)
def test_a_file_that_is_no_file_of_weights_is_refused_whatever_torch_raises(content: bytes) -> None:
    Path("a.pt").write_bytes(content)
    with pytest.raises(SpecError, match=r"error GG235: the weights of 'A' cannot be read\n(.*\n)*.*cannot be used: \w"):
        gangraph.check_spec(use(start="start: {A: 'file(\"a.pt\")'}", losses=PLAIN))
    with pytest.raises(RunError, match=r"the weights '.*a\.pt' cannot be read: "):
        Trainer(use(start="start: {A: 'file(\"a.pt\")'}", losses=PLAIN), device="cpu")


def test_a_file_that_holds_no_tensors_by_name_is_refused() -> None:
    torch.save([torch.zeros(2)], "a.pt")
    with pytest.raises(SpecError, match=r"error GG237: the weights do not fit 'A'"):
        gangraph.check_spec(use(start="start: {A: 'file(\"a.pt\")'}", losses=PLAIN))
    with pytest.raises(SpecError, match=r"error GG237: the weights do not fit 'A'"):
        Trainer(use(start="start: {A: 'file(\"a.pt\")'}", losses=PLAIN), device="cpu")


def test_a_table_of_names_at_no_path_is_refused() -> None:
    Path("a.pt").write_bytes(b"")
    with pytest.raises(SpecError, match="error GG450: the table of names cannot be read as one"):
        gangraph.check_spec(use(start='start: {A: \'file("a.pt", names="a\\0b")\'}', losses=PLAIN))
