"""What a run goes on with: differences that are applied and told, and those that are refused by name."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gangraph import Trainer, UsageError
from gangraph.cli import main
from gangraph.folder.run_folder import RunFolder
from gangraph.language.continuation import changes
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve
from gangraph.saved.find_checkpoint import numbered, results_folder, run_of
from gangraph.session.run import run as start
from tests.test_resume import assert_same_checkpoints

SPEC = """
gangraph: 1
name: going
default_profile: quick
params: {width: 4, rate: 0.1, std: 0.3}
data:
  x: plane(std=std, count=40)
  z: normal(2)
networks:
  G: {inputs: z, layers: "linear(width), tanh, linear(2)"}
  D: mlp(widths=[width])
  E: average(G, decay=0.9)
values:
  fake: G(z)
losses:
  judge: logistic.critic(real=D(x), fake=D(history(held(fake), 5)))
  fool: logistic.generator(D(fake)) + linear(1, 0) * mean(fake ** 2)
train:
  batch: 4
  length: 6 steps
  save: 2 steps
  optimizers:
    g: adam(G, lr=linear(1e-2, 0))
    d: sgd(D, lr=rate)
  step:
    - {update: g, minimize: fool}
    - {update: d, minimize: judge, times: 2}
evaluate:
  grid: [fake]
  samples: 4
  metrics: {spread: mean(abs(fake))}
  best: max(spread)
profiles:
  quick: {train: {batch: 4}}
variants:
  slow: {params: {rate: 0.01}}
  longer: {train: {length: 9 steps}}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("going.yaml").write_text(SPEC)


@pytest.fixture(scope="module")
def _begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("begun")
    spec = resolve(parse_text(SPEC, name="going.yaml"), Choice())
    yield start(spec, out=folder / "run", device="cpu", steps=4)


@pytest.fixture
def begun(_begun: Path) -> Path:
    """A run of six steps that was stopped after four."""
    shutil.copytree(_begun, "runs/going-quick-001")
    return Path("runs/going-quick-001")


def gangraph(*arguments: str) -> int:
    return main(["run", *arguments, "--device", "cpu"])


def state(run: Path) -> Mapping[str, object]:
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    found: Mapping[str, object] = json.loads((newest / "state.json").read_text())["extra"]
    return found


def test_a_run_goes_on_as_it_was_to_the_bit_without_its_spec(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = start(resolve(parse_text(SPEC, name="going.yaml"), Choice()), out=Path("whole"), device="cpu")
    Path("going.yaml").unlink()
    assert gangraph("--resume", str(begun)) == 0
    said = capsys.readouterr().out
    assert f"continuing {begun} at step 4: going, profile quick, seed 0, fp32" in said
    assert " -> " not in said
    assert_same_checkpoints(whole / "checkpoints" / "step-00000006", begun / "checkpoints" / "step-00000006")


APPLIED = [
    ("train.length=8 steps", "train.length: 6 steps -> 8 steps"),
    ("train.optimizers.g.lr=linear(1e-2, 1e-3)", "train.optimizers.g.lr: linear(0.01, 0) -> linear(0.01, 0.001)"),
    ("params.rate=0.2", "train.optimizers.d.lr: 0.1 -> 0.2"),
    ("train.optimizers.d.weight_decay=0.1", "train.optimizers.d.weight_decay: nothing -> 0.1"),
    ("train.batch=5", "train.batch: 4 -> 5"),
    ("train.step.1.times=3", "train.step.1.times: 2 -> 3"),
    ("train.step.1.when=step % 2 == 0", "train.step.1.when: nothing -> step % 2 == 0"),
    ("train.step.0.clip_grad_norm=1", "train.step.0.clip_grad_norm: nothing -> 1"),
    ("train.save=3 steps", "train.save: 2 steps -> 3 steps"),
    ("train.keep=1", "train.keep: 3 -> 1"),
    ("evaluate.every=1 steps", "evaluate.every: nothing -> 1 steps"),
    ("evaluate.metrics.other=mean(x)", "evaluate.metrics.other: nothing -> mean(x)"),
    ("networks.E=average(G, decay=0.5)", "networks.E.decay: 0.9 -> 0.5"),
    (
        "losses.fool=logistic.generator(D(fake)) + linear(1, 0.5) * mean(fake ** 2)",
        "+ linear(1, 0.5) * mean(fake ** 2)",
    ),
    ("data.x.count=20", "data x: 40 samples -> 20"),
]


@pytest.mark.parametrize(("setting", "told"), APPLIED, ids=[setting for setting, _ in APPLIED])
def test_what_changes_nothing_of_what_is_trained_is_applied_and_told(
    setting: str, told: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gangraph("--resume", str(begun), "--set", setting) == 0
    assert told in capsys.readouterr().out
    path, _, value = setting.partition("=")
    assert state(begun)["settings"] == {path: value}
    assert told.partition(": ")[2].partition(" samples")[0] in (begun / "environment.json").read_text() + told


REFUSED = [
    (["--set", "params.width=5"], "params.width: 4 -> 5", "networks.G.layers: linear(4), tanh, linear(2) -> "),
    (["--set", "losses.fool=logistic.generator(D(fake))"], "losses.fool: ", "mean(fake ** 2) -> "),
    (["--set", "values.fake=2 * G(z)"], "values.fake: G(z) -> 2 * G(z)", ""),
    (["--set", "train.optimizers.d=adam(D)"], "train.optimizers.d: sgd(D) -> adam(D)", ""),
    (["--set", "train.optimizers.d.momentum=0.9"], "train.optimizers.d.momentum: nothing -> 0.9", ""),
    (["--set", "train.optimizers.g.amsgrad=true"], "train.optimizers.g.amsgrad: nothing -> true", ""),
    (["--set", "train.step.1.draw=all"], "train.step.1.draw: the step's draws -> ", ""),
    (["--set", "train.step.1.then=clip(D, -1, 1)"], "train.step.1.then.0: nothing -> clip(D, -1, 1)", ""),
    (["--set", "train.step.1.when=judge < 3"], "train.step.1.when: nothing -> judge < 3", ""),
    (["--set", "train.step.0.minimize=fool + 1"], "train.step.0.minimize: fool -> fool + 1", ""),
    (["--set", "networks.D.widths=[5]"], "networks.D.", "5"),
    (["--set", 'networks.E=average(G, decay=0.9, buffers="average")'], "networks.E: average(G, buffers=copy) ->", ""),
    (["--set", "data.x.std=0.6"], "data.x: plane(std=0.3, count=40) ([2] in [", "-> plane(std=0.6, count=40) (["),
    (["--set", "data.z=uniform(2)"], "data.z: normal(2) -> uniform(2)", ""),
    (["--set", "data.x=uniform(2)"], "data.x: plane(std=0.3, count=40) -> uniform(2)", ""),
    (["--seed", "1"], "seed: 0 -> 1", ""),
]


@pytest.mark.parametrize(("asked", "told", "more"), REFUSED, ids=[" ".join(each[0]) for each in REFUSED])
def test_what_would_make_another_system_is_refused_by_name(
    asked: list[str], told: str, more: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in begun.rglob("*"))
    code = gangraph("--resume", str(begun), *asked)
    said = capsys.readouterr()
    assert (code, said.out.count("continuing")) == (2, 0), said.err
    assert told in said.err and more in said.err
    assert f"gangraph run --resume {begun}" in said.err
    assert sorted(path.name for path in begun.rglob("*")) == before


def test_auto_takes_the_run_that_trains_just_this_and_not_the_one_that_was_touched_last(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for variant, seed in (("slow", "0"), ("longer", "0"), ("", "1")):
        chosen = ["--variant", variant] if variant else []
        assert gangraph("going.yaml", *chosen, "--seed", seed, "--steps", "1", "--out", f"runs/{variant}{seed}") == 0
    capsys.readouterr()
    assert gangraph("going.yaml", "--resume", "auto", "--steps", "5") == 0
    assert f"continuing {begun} at step 4" in capsys.readouterr().out
    assert gangraph("going.yaml", "--variant", "slow", "--resume", "auto", "--steps", "2") == 0
    assert "continuing runs/slow0 at step 1" in capsys.readouterr().out
    assert gangraph("going.yaml", "--seed", "1", "--resume", "auto", "--steps", "2") == 0
    assert "continuing runs/1 at step 1" in capsys.readouterr().out


def test_auto_takes_the_furthest_of_several_and_says_when_there_is_none(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gangraph("going.yaml", "--steps", "1") == 0
    capsys.readouterr()
    assert gangraph("going.yaml", "--resume", "auto", "--steps", "5") == 0
    assert f"continuing {begun} at step 4" in capsys.readouterr().out
    assert gangraph("going.yaml", "--set", "rate=0.5", "--resume", "auto", "--steps", "1") == 0
    told = capsys.readouterr().out
    assert "no run here trains this with seed 0, so one begins" in told
    assert "train.optimizers.d.lr: 0.1 -> 0.5; --resume runs/going-quick-00" in told
    assert (Path("runs") / "going-quick-003").is_dir()


def test_another_spec_is_refused_and_the_run_is_told_by_its_own_name(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gangraph("gan", "--resume", str(begun)) == 2
    said = capsys.readouterr()
    assert said.out.startswith("going: profile quick")
    assert f"'{begun}' is a run of 'going', profile quick, and cannot go on as 'gan'" in said.err


def test_other_precision_is_applied_and_told(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gangraph("--resume", str(begun), "--precision", "fp64") == 0
    assert "precision: fp32 -> fp64" in capsys.readouterr().out
    assert state(begun)["precision"] == "fp64"
    assert state(begun)["changed"] == [{"step": 4, "path": "precision", "before": "fp32", "after": "fp64"}]


def test_python_applies_and_refuses_the_same(begun: Path) -> None:
    document = parse_text(SPEC, name="going.yaml")
    longer = resolve(document, Choice(set={"train.length": "8 steps"}))
    trainer = Trainer.resume(begun, device="cpu", spec=longer)
    assert [str(change) for change in trainer.changes] == ["train.length: 6 steps -> 8 steps"]
    trainer.train()
    assert trainer.step_count == 8
    with pytest.raises(UsageError, match=r"params\.width: 4 -> 5"):
        Trainer.resume(begun, device="cpu", spec=resolve(document, Choice(set={"width": "5"})))
    with pytest.raises(UsageError, match="seed: 0 -> 2"):
        Trainer.resume(begun, device="cpu", seed=2)


PHASES = "phases: [{length: 2 steps}, {length: 4 steps}, {length: 3 steps, set: {width: 6}}]"


def test_a_phase_that_is_to_come_may_be_another_and_one_that_is_over_may_not(tmp_path: Path) -> None:
    document = parse_text(SPEC.replace("length: 6 steps", PHASES), name="going.yaml")
    run = start(resolve(document, Choice()), out=tmp_path / "run", device="cpu", steps=4)
    later = resolve(document, Choice(set={"train.phases.2.set.width": "3", "train.phases.2.length": "1 steps"}))
    trainer = Trainer.resume(run, device="cpu", spec=later)
    assert "phase 3" in str(trainer.changes[0]) and all(change.touches == "now" for change in trainer.changes)
    assert trainer.train().keys() == {"judge", "fool"} and trainer.step_count == 7
    first = PHASES.replace("{length: 2 steps}", "{length: 2 steps, set: {width: 7}}")
    with pytest.raises(UsageError, match=r"phase 1.*networks\.G\.layers"):
        Trainer.resume(run, device="cpu", spec=resolve(parse_text(SPEC.replace("length: 6 steps", first))))


LONE = """
gangraph: 1
name: lone
data: {x: plane(std=0.3)}
networks:
  N: {inputs: x, parts: {inputs: linear(2), body: linear(2)}, values: {h: body(inputs(x))}, outputs: {h: h, all: 2 * h}}
losses: {low: mean(N(x).h ** 2) + mean(N(x).all)}
train:
  batch: 4
  length: 6 steps
  optimizers: {n: "sgd(N, lr=0.1)"}
  step:
    - update: {n: {minimize: low, when: low > 0.1}}
      when: step > 3
"""


@pytest.mark.parametrize(
    ("before", "after", "path", "touches"),
    [
        ("low > 0.1", "low > 0.7", "train.step.0.update.n.when", "trained"),
        ("step > 3", "step > 4", "train.step.0.when", "now"),
        ("h: body(inputs(x))", "h: 2 * body(inputs(x))", "networks.N.values.h", "trained"),
        ("h: h,", "h: 3 * h,", "networks.N.outputs.h", "trained"),
        ("inputs: linear(2)", "inputs: linear(3)", "networks.N.parts.inputs", "trained"),
    ],
)
def test_things_of_one_name_at_several_places_are_told_apart(before: str, after: str, path: str, touches: str) -> None:
    saved, asked = (resolve(parse_text(text), Choice()) for text in (LONE, LONE.replace(before, after)))
    (found,) = changes(saved, asked, 0)
    assert (found.path, found.touches) == (path, touches)


@pytest.mark.parametrize("section", ["values", "losses"])
def test_a_loss_may_be_called_like_an_option_and_is_still_what_was_trained(section: str) -> None:
    other = SPEC.replace(f"{section}:\n", f"{section}:\n  momentum: 0.5 * mean(G(z))\n").replace(
        "+ linear", "+ momentum + linear" if section == "losses" else "+ mean(momentum) + linear"
    )
    saved, asked = (resolve(parse_text(text), Choice()) for text in (other, other.replace("0.5 *", "0.6 *")))
    assert {(each.path, each.touches) for each in changes(saved, asked, 0)} == {(f"{section}.momentum", "trained")}


def test_a_damaged_note_of_the_environment_does_not_keep_a_run_from_going_on(begun: Path) -> None:
    for text in ("", "[]", '{"resumed": 1'):
        (begun / "environment.json").write_text(text)
        assert main(["run", "--resume", str(begun), "--set", "train.keep=2", "--device", "cpu"]) == 0


def test_the_thousandth_run_has_a_place() -> None:
    for number in ("999", "1000"):
        Path("runs", f"going-quick-{number}").mkdir(parents=True)
    spec = resolve(parse_text(SPEC), Choice())
    assert RunFolder.create(spec, None).path == Path("runs/going-quick-1001")


def test_a_checkpoint_is_known_from_within_its_folder(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, newest = begun.resolve(), numbered(begun)[-1].name
    monkeypatch.chdir(begun / "checkpoints")
    assert run_of(Path(newest)) == run == results_folder(Path(newest))
