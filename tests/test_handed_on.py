"""A run that can be handed on: a copy of its folder elsewhere is enough, and so is one checkpoint."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gangraph import Trainer, UsageError
from gangraph.cli import main
from gangraph.errors import CheckpointError, DataError
from gangraph.language.document.parse import Choice, parse
from gangraph.language.resolve.document import resolve
from gangraph.run.loading import load_run
from gangraph.saved.state import read_state
from gangraph.session.run import run as start
from tests.test_evaluators import JUDGE

NETWORK = """
inputs: x
params: {width: 4}
layers: conv2d(width, 3, padding=1), tanh, conv2d(3, 3, padding=1), tanh
"""
SPEC = """
gangraph: 1
name: own
data:
  x: images(folder="photos", size=8)
networks:
  G: body(width=3)
  D: {inputs: x, layers: "conv2d(2, 3, stride=2), leaky_relu(0.2), conv2d(1, 3), flatten"}
values: {fake: G(x)}
losses:
  judge: least_squares.critic(real=D(x), fake=D(fake))
  fool: least_squares.generator(D(fake))
train:
  batch: 2
  length: 4 steps
  save: 1 steps
  optimizers: {g: "adam(G, lr=1e-2)", d: "adam(D, lr=1e-2)"}
  step:
    - {update: d, minimize: judge}
    - {update: g, minimize: fool}
evaluate:
  every: 1 steps
  samples: 2
  result_samples: 4
  data: {n: "normal(3, 8, 8)"}
  networks:
    J: trained("judges/judge", network="C")
  grid:
    made: [G(n)]
    real: [x, fake]
  metrics: {size: mean(abs(G(n)))}
  results: {away: mean(J(normal(2)).side)}
  best: min(size)
"""


def photos(folder: Path, count: int = 5, size: int = 8) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


def written(folder: Path, spec: str = SPEC) -> Path:
    (folder / "networks").mkdir(parents=True, exist_ok=True)
    (folder / "judges").mkdir(exist_ok=True)
    (folder / "networks" / "body.yaml").write_text(NETWORK)
    (folder / "judges" / "judge.yaml").write_text(JUDGE)
    (folder / "own.yaml").write_text(spec)
    return folder / "own.yaml"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three of four steps, trained where spec, networks, evaluator and photos are removed afterwards."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("there")
    os.chdir(folder)
    written(folder)
    photos(folder / "photos")
    start(resolve(parse("own.yaml"), Choice()), out=folder / "run", device="cpu", steps=3)
    os.chdir(here)
    for name in ("own.yaml", "networks", "judges", "photos"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    yield folder / "run"


@pytest.fixture
def copy(_trained: Path, tmp_path: Path) -> Path:
    """The run in another folder, without anything that it was made from."""
    shutil.copytree(_trained, tmp_path / "elsewhere" / "copy")
    return Path("elsewhere/copy")


def test_a_run_folder_holds_every_file_that_its_spec_calls_and_is_a_spec_itself(copy: Path) -> None:
    there = sorted(str(path.relative_to(copy)) for path in copy.rglob("*.yaml"))
    assert there == ["judges/judge.yaml", "networks/body.yaml", "spec.yaml"]
    assert (copy / "networks" / "body.yaml").read_text() == NETWORK
    assert main(["check", str(copy / "spec.yaml")]) == 0


def test_a_copy_without_its_sources_is_sampled_measured_and_reported_without_data(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(copy), "--out", "made.png"]) == 0
    assert main(["measure", str(copy), "--device", "cpu"]) == 0
    assert main(["report", str(copy)]) == 0
    said = capsys.readouterr()
    assert "away" in said.out and Path("made.png").is_file(), said.err
    assert "does not accept the spec" not in (copy / "report.html").read_text()


def test_a_copy_goes_on_where_its_data_lies_now(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--resume", str(copy), "--device", "cpu"]) == 3
    told = capsys.readouterr().err
    assert "data.x: folder 'photos' not found" in told and "--set data.x.folder=PATH" in told
    photos(Path("moved"))
    assert main(["run", "--resume", str(copy), "--device", "cpu", "--set", 'data.x.folder="moved"']) == 0
    assert 'data.x: images("photos", size=8) -> ' in capsys.readouterr().out.replace("folder=", "")
    assert load_run(copy).done


def test_a_picture_of_data_says_which_setting_names_it_and_takes_it(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["sample", str(copy), "--as", "real", "--out", "real.png"]
    assert main(asked) == 3
    assert "--set data.x.folder=PATH" in capsys.readouterr().err
    photos(Path("moved"))
    assert main([*asked, "--set", 'data.x.folder="moved"']) == 0
    assert main([*asked, "--set", "train.optimizers.g.lr=1"]) == 2
    assert "train.optimizers.g.lr: 0.01 -> 1" in capsys.readouterr().err


def test_files_that_were_edited_beside_the_spec_are_not_what_a_run_is_read_from(copy: Path) -> None:
    photos(Path("photos"))
    written(Path(), SPEC.replace("lr=1e-2", "lr=5"))
    Path("networks/body.yaml").write_text(NETWORK.replace("tanh", "sigmoid"))
    networks = load_run(copy).networks
    assert "sigmoid" not in str(networks["G"])


def test_a_spec_whose_network_files_are_gone_goes_on_with_the_copies(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(Path())
    photos(Path("photos"))
    shutil.rmtree("networks")
    shutil.rmtree("judges")
    assert main(["run", str(path), "--resume", str(copy), "--device", "cpu"]) == 0
    assert " -> " not in capsys.readouterr().out


def test_a_network_file_that_was_edited_is_refused_by_its_layers(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(Path())
    Path("networks/body.yaml").write_text(NETWORK.replace("tanh", "sigmoid"))
    assert main(["run", str(path), "--resume", str(copy), "--device", "cpu"]) == 2
    assert "networks.G.layers: " in capsys.readouterr().err


@pytest.mark.parametrize("which", ["best", "latest", "2", "3"])
def test_a_checkpoint_can_be_named(which: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = read_state(
        copy / "checkpoints" / {"latest": "step-00000003", "best": "best"}.get(which, f"step-0000000{which}")
    ).step
    assert main(["sample", str(copy), "--checkpoint", which]) == 0
    assert f"samples/sample-{step:08d}.png" in capsys.readouterr().out
    assert main(["measure", str(copy), "--checkpoint", which, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == step
    assert main(["report", str(copy), "--checkpoint", which]) == 0


def test_numbers_of_an_earlier_checkpoint_leave_those_of_the_newest(copy: Path) -> None:
    assert main(["measure", str(copy), "--device", "cpu"]) == 0
    newest = (copy / "results.json").read_text()
    assert main(["measure", str(copy), "--checkpoint", "2", "--device", "cpu"]) == 0
    assert (copy / "results.json").read_text() == newest
    assert json.loads((copy / "checkpoints" / "step-00000002" / "results.json").read_text())["step"] == 2


def test_a_checkpoint_that_is_not_there_is_told_with_those_that_are(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(copy), "--checkpoint", "7"]) == 2
    assert "has no checkpoint '7': one of latest, best, 1, 2, 3" in capsys.readouterr().err


def test_what_was_saved_from_python_is_named_as_a_run_is(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos(Path("photos"))
    saved = Trainer.resume(copy, device="cpu").save("saved")
    shutil.rmtree(copy)
    assert main(["sample", str(saved)]) == 0
    assert main(["measure", str(saved), "--device", "cpu"]) == 0
    assert main(["report", str(saved)]) == 0
    assert main(["run", "--resume", str(saved), "--device", "cpu"]) == 0
    assert "continuing saved at step 3" in capsys.readouterr().out
    assert load_run(Path("runs/own-paper-001")).done
    assert Trainer.resume(saved).step_count == 3


def test_an_earlier_checkpoint_goes_on_in_a_folder_of_its_own(copy: Path) -> None:
    photos(Path("photos"))
    before = sorted(path.name for path in copy.rglob("*"))
    assert main(["run", "--resume", str(copy / "checkpoints" / "step-00000002"), "--device", "cpu"]) == 0
    assert sorted(path.name for path in copy.rglob("*")) == before
    made = Path("runs/own-paper-001")
    assert load_run(made).done
    steps = [json.loads(line)["step"] for line in (made / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 4


def test_a_checkpoint_of_an_older_version_goes_on(copy: Path) -> None:
    """It has no copies: the files beside its spec are read, and it says if they have changed."""
    written(Path())
    photos(Path("photos"))
    path = copy / "checkpoints" / "step-00000003" / "state.json"
    data = json.loads(path.read_text())
    for key in ("files", "plugins", "sizes", "changed", "device"):
        del data["extra"][key]
    path.write_text(json.dumps({**data, "extra": {**data["extra"], "origin": str(Path.cwd())}}))
    assert Trainer.resume(copy, device="cpu").train(steps=1).keys() == {"judge", "fool"}
    Path("networks/body.yaml").write_text(NETWORK.replace("tanh", "sigmoid"))
    with pytest.raises(UsageError, match="the file of a network that 'own' calls has changed"):
        Trainer.resume(copy, device="cpu")


def test_copies_in_a_checkpoint_are_written_nowhere_else(copy: Path) -> None:
    path = copy / "checkpoints" / "step-00000003" / "state.json"
    data = json.loads(path.read_text())
    data["extra"]["spec"] = data["extra"]["spec"].replace("judges/judge", "../judge")
    data["extra"]["files"]["../judge.yaml"] = data["extra"]["files"].pop("judges/judge.yaml")
    path.write_text(json.dumps(data))
    for older in ("step-00000001", "step-00000002"):  # either would be taken in its place
        shutil.rmtree(copy / "checkpoints" / older)
    with pytest.raises(CheckpointError, match=r"there is no spec '../judge'"):
        start(None, resume=copy, out=Path("inside/out"), device="cpu")
    assert not Path("inside").exists()


@pytest.mark.parametrize("where", ["data", "evaluate"])
def test_a_run_whose_data_is_missing_makes_no_folder_and_names_all_that_is(where: str) -> None:
    more = "" if where == "data" else '    x: images(folder="held/out", size=8)\n'
    spec = SPEC.replace('  data: {n: "normal(3, 8, 8)"}\n', f"  data:\n    n: normal(3, 8, 8)\n{more}")
    spec = spec.replace(
        '  x: images(folder="photos", size=8)',
        '  x: images(folder="photos", size=8)\n  y: images(folder="others", size=8)',
    )
    path = written(Path(), spec.replace("real=D(x)", "real=D(y)"))
    with pytest.raises(DataError) as error:
        start(resolve(parse(path)), device="cpu")
    told = str(error.value)
    assert "data.x: folder 'photos' not found" in told and "data.y: folder 'others' not found" in told
    assert ("evaluate.data.x: folder 'held/out' not found" in told) == (where == "evaluate")
    assert not Path("runs").exists()


def test_missing_data_of_a_later_phase_is_found_before_the_first_begins() -> None:
    photos(Path("photos"))
    phases = 'phases: [{length: 2 steps}, {length: 2 steps, data: {x: "images(folder=\\"later\\", size=8)"}}]'
    path = written(Path(), SPEC.replace("length: 4 steps", phases))
    with pytest.raises(DataError, match="folder 'later' not found"):
        start(resolve(parse(path)), device="cpu")
    assert not Path("runs").exists()


def test_check_says_which_data_would_be_missing_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    path = written(Path())
    assert main(["check", str(path)]) == 0
    told = capsys.readouterr().out
    assert "data 'x': there is no 'photos', so a run would stop; --set data.x.folder=PATH names another" in told
    assert main(["check", str(path), "--json"]) == 0
    assert [note["source"] for note in json.loads(capsys.readouterr().out)["notes"]] == ["x"]
    photos(Path("photos"))
    assert main(["check", str(path)]) == 0
    assert "photos" not in capsys.readouterr().out
