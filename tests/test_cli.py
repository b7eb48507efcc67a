"""The command line: what it prints, what it refuses and how, and what it does not import."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from gangraph.__main__ import start
from gangraph.cli import main
from gangraph.language.document.library import evaluators, shipped
from gangraph.pipeline import check_spec, compile_phase, load
from gangraph.trainer import Trainer
from gangraph.views.code import code_text
from gangraph.views.plan import plan_text

COMMANDS = (
    "run", "check", "show", "explain", "diff", "list", "new", "reproduce", "report", "measure", "sample", "apply",
    "bench", "doctor", "schema",
)  # fmt: skip
BROKEN = (
    "gangraph: 1\nname: broken\ndata:\n  x: world(size=\nnetworks: {}\nlosses: {}\ntrain: {batch: 1, optimizers: {}}\n"
)


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    return str(path)


def modules_after(*arguments: str) -> set[str]:
    """The modules that a command of its own has imported when it ends."""
    script = (
        "import sys; from gangraph.cli import main; main(sys.argv[1:]); sys.stderr.write('|' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("|")[2].split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Usage: gangraph {command}" in capsys.readouterr().out


def test_help_lists_every_command_and_imports_nothing_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert not modules_after("--help") & {"torch", "pydantic", "networkx", "numpy", "yaml"}


@pytest.mark.parametrize("command", [["check"], ["run"], ["show", "--as", "plan"]])
def test_a_slip_in_the_text_is_found_without_torch(command: list[str], broken: str) -> None:
    assert "torch" not in modules_after(*command, broken)


def test_what_a_check_imports_is_not_searched_for_garbage_and_what_it_makes_is() -> None:
    script = (
        "import gc, sys; from gangraph.cli import main; code = main(['check', 'gan']);"
        "sys.exit(code or not gc.isenabled() or gc.get_freeze_count() < 100_000)"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)


def test_a_slip_in_the_text_is_shown_where_it_is(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", broken]) == 1
    message = capsys.readouterr().err
    assert "broken.yaml:4:" in message
    assert "^" in message
    assert "1 error, 0 warnings" in message
    assert "Traceback" not in message


def test_check_as_json_has_the_same_keys_for_an_invalid_spec(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", broken, "--json"]) == 1
    invalid = json.loads(capsys.readouterr().out)
    assert main(["check", "dcgan", "--json"]) == 0
    valid = json.loads(capsys.readouterr().out)
    assert invalid.keys() == valid.keys()
    assert invalid["errors"][0]["line"] == 4
    assert invalid["networks"] == {}
    assert valid["errors"] == []


def test_check_as_json_counts_the_parameters_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "cyclegan", "--profile", "paper", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = {name: network["parameters"] for name, network in found["networks"].items()}
    assert counts == {"G": 11378179, "F": 11378179, "D_x": 2764737, "D_y": 2764737}
    assert found["values"]["fake_y"] == [1, 3, 256, 256]
    assert [update["name"] for update in found["updates"]] == ["translators", "critics"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "cyclgan"], "did you mean 'cyclegan'?"),
        (["check", "dcgan", "--prfile", "paper"], "--profile"),
        (["check", "dcgan", "--set", "train.batch"], "--set takes PATH=VALUE"),
        (["run", "dcgan", "--device", "tpu"], "gangraph run: --device takes auto, cpu or cuda; found 'tpu'"),
        (["run", "dcgan", "--steps", "many"], "--steps takes a whole number of at least 1; found 'many'"),
        (["run", "dcgan", "--steps=-1"], "--steps takes a whole number of at least 1; found '-1'"),
        (["run", "dcgan", "--steps"], "--steps needs a value after it"),
        (["list", "--json=3"], "--json takes no value"),
        (["check"], "gangraph check: SPEC is missing"),
        (["show", "dcgan"], "--as is missing; it takes spec, data, graph,"),
        (["check", "dcgan", "wgan"], "this command takes SPEC; found dcgan wgan"),
        (["list", "dcgan"], "this command takes options only; found dcgan"),
        (
            ["show", "dcgan", "--as", "poem"],
            "--as takes spec, data, graph, shapes, plan, code, latex or grid; found 'poem'",
        ),
        (["show", "world", "--as", "grid"], "a picture needs a file"),
        (["show", "dcgan", "--as", "plan", "-o", "/nowhere/plan.txt"], "cannot write '/nowhere/plan.txt'"),
        (["new", "mine", "--from", "wgangp"], "did you mean 'wgan_gp'?"),
        (["chekc", "dcgan"], "there is no command 'chekc'; did you mean 'check'?"),
        (["dance"], "there is no command 'dance'; there are run, check,"),
    ],
)
def test_wrong_usage_is_answered_with_what_would_work(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message


def test_an_unknown_profile_is_a_problem_of_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "dcgan", "--profile", "qick"]) == 1
    assert "did you mean 'quick'?" in capsys.readouterr().err


def test_an_internal_error_is_one_line_unless_the_traceback_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gangraph.cli.specs.read_spec", lambda *_: 1 / 0)
    assert main(["check", "dcgan"]) == 3
    assert (
        capsys.readouterr().err
        == "gangraph: internal error: ZeroDivisionError: division by zero; run again with --traceback\n"
    )
    assert main(["check", "dcgan", "--traceback"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gangraph.cli.specs.read_spec", interrupt)
    assert main(["check", "dcgan"]) == 130
    assert capsys.readouterr().err == ""


def test_an_interruption_is_quiet_while_modules_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfinished(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "gangraph.cli", Unfinished("gangraph.cli"))
    assert start() == 130


def test_a_reader_that_leaves_is_no_error() -> None:
    piped = f"{sys.executable} -m gangraph schema | head -1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_data_that_cannot_be_read_is_named_and_data_that_is_missing_stops_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.png").write_bytes(b"no image")
    given = ["check", "dcgan", "--profile", "paper", "--data", "--set"]
    assert main([*given, f'data.x.folder="{tmp_path}"']) == 1
    assert "torn.png: not an image" in capsys.readouterr().out
    assert main([*given, 'data.x.folder="/nowhere"']) == 3
    assert "data 'x': " in capsys.readouterr().err


SMALL = """gangraph: 1
name: small
data: {x: 'images(folder="photos", size=8, channels=1)', z: normal(2)}
networks:
  G:
    inputs: z
    layers: [linear(64), "reshape(1, 8, 8)", tanh]
  D:
    inputs: x
    layers: [flatten, linear(1)]
values: {fake: G(z)}
losses: {judge: "logistic.critic(real=D(x), fake=D(fake))", fool: logistic.generator(D(fake))}
train:
  batch: 2
  length: 1 steps
  optimizers: {critic: "adam(D, lr=1e-3)", generator: "adam(G, lr=1e-3)"}
  step: [{update: critic, minimize: judge}, {update: generator, minimize: fool}]
"""


SOURCE = 'images(folder="photos", size=8, channels=1)'
FIXED = SMALL.replace(SOURCE, f"fixed({SOURCE})")


@pytest.mark.parametrize("text", [SMALL, FIXED], ids=["plain", "fixed"])
def test_check_and_run_tell_of_files_that_are_not_read(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8), 100).save("photos/1.png")
    (tmp_path / "photos" / "2.avif").write_bytes(b"")
    (tmp_path / "small.yaml").write_text(text)
    note = "1 file is not read in 'photos', without the suffix of an image: 2.avif"
    assert main(["check", "small.yaml", "--data"]) == 0
    assert f"data 'x': {note}" in capsys.readouterr().out
    assert main(["check", "small.yaml", "--data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [{"message": note, "source": "x"}]
    assert main(["run", "small.yaml"]) == 0
    assert f"source 'x': {note}" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "way"),
    [(SMALL, "--set data.x.folder=PATH names another"), (FIXED, "name another folder in data.x")],
    ids=["plain", "fixed"],
)
def test_a_folder_that_is_not_there_and_files_that_are_corrupt_are_told(
    text: str, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = text.replace("channels=1", "channels=1, skip_corrupt=true")
    (tmp_path / "small.yaml").write_text(text)
    assert main(["check", "small.yaml"]) == 0
    assert f"data 'x': there is no 'photos', so a run would stop; {way}" in " ".join(capsys.readouterr().out.split())
    assert main(["run", "small.yaml"]) == 3
    assert f"; {way}" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8), 100).save("photos/1.png")
    (tmp_path / "photos" / "2.png").write_bytes(b"no image")
    assert main(["check", "small.yaml", "--data"]) == 1
    assert "2.png: not an image" in capsys.readouterr().out
    assert main(["run", "small.yaml"]) == 0
    assert "source 'x': 1 corrupt files were skipped: photos/2.png" in " ".join(capsys.readouterr().out.split())


def test_list_names_every_shipped_spec_with_its_year(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    papers, _, judges = capsys.readouterr().out.partition("\n\nevaluators")
    years = dict(line.split()[:2] for line in papers.split("\n") if re.match(r"\w+ +\d{4} ", line))
    assert years.keys() == shipped().keys()
    assert all(year.isdigit() for year in years.values())
    assert {line.strip() for line in judges.splitlines() if line.startswith("  evaluators/")} == evaluators().keys()


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "networks" in json.loads(capsys.readouterr().out)["properties"]


def test_doctor_says_what_is_there_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", "")  # the option sets it, and this puts it back
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "alexnet_features_imagenet_f16.safetensors").write_bytes(b"")
    assert main(["doctor", "--weights", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"torch {torch.__version__.partition('+')[0]}" in text
    assert f"alexnet, {tmp_path / 'alexnet_features_imagenet_f16.safetensors'}, 0.0 MiB, sha256 e3b0c44298fc" in text
    assert "inception is missing (inception_v3_fid_2015_f16.safetensors or " in text
    assert "patch_loss, of order 1" in text


def test_new_writes_a_spec_that_checks_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine", "--from", "dcgan"]) == 0
    assert main(["check", "mine.yaml"]) == 0
    assert "mine, profile quick" in capsys.readouterr().out
    assert main(["new", "mine", "--from", "wgan"]) == 2
    assert "'mine.yaml' is there already" in capsys.readouterr().err
    assert "name: mine" in Path("mine.yaml").read_text()


@pytest.mark.parametrize(
    ("view", "facts"),
    [
        ("spec", ["fake_y: G(x)", "F: like G, with parameters of its own", "length: 600 steps"]),
        ("shapes", ["fake_y [4, 3, 48, 48] [-1, 1]", "network G, resnet_generator: ", "conv2d(3, 7)"]),
        ("plan", ["differentiates G and F", "G(x) and G(y) run as one call", "at_first(fake_x) from 'translators'"]),
        ("code", ["fake_y = chunk[0]", "generator = least_squares_generator(D_y_out)", 'optimizers["critics"].step()']),
        ("graph", ["<svg", "cyclegan, profile quick"]),
    ],
)
def test_show_holds_what_each_stage_decided(view: str, facts: list[str], tmp_path: Path) -> None:
    target = tmp_path / ("shown.svg" if view == "graph" else "shown.txt")
    assert main(["show", "cyclegan", "--as", view, "--set", "params.size=48", "-o", str(target)]) == 0
    text = " ".join(target.read_text().split())
    assert [fact for fact in facts if fact not in text] == []


def test_show_follows_no_merge(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "cyclegan", "--as", "plan", "--no-merge"]) == 0
    text = capsys.readouterr().out
    assert "merges" not in text
    assert "planned without merging" in text


def test_the_embedded_world_is_drawn_to_a_file(tmp_path: Path) -> None:
    assert main(["show", "world", "--as", "grid", "-o", str(tmp_path / "world.png")]) == 0
    assert (tmp_path / "world.png").read_bytes().startswith(b"\x89PNG")


def test_run_begins_with_the_profile_the_data_and_the_way_to_the_paper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gangraph.session.run.run", lambda *_, **__: Path("runs/1"))
    assert main(["run", "cyclegan"]) == 0
    said = "cyclegan: profile quick, on embedded data (world); the paper's settings: "
    assert capsys.readouterr().out == f"{said}gangraph run cyclegan --profile paper\n"
    assert main(["run", "dcgan", "--profile", "paper"]) == 0
    assert capsys.readouterr().out == "dcgan: the paper's settings, on data/lsun/bedroom_train (images)\n"


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp", "cyclegan"])
def test_the_code_that_is_shown_does_what_the_engine_does(name: str) -> None:
    spec = load(name, set={"train.batch": 2, "params.filters": 4})
    mine, theirs = (Trainer(spec, device="cpu", precision="fp64") for _ in range(2))
    engine = mine.engine
    engine.draws.begin({})

    def draw(source: str) -> object:
        fields = engine.draws.draw(source, 0)
        return next(iter(fields.values())) if len(fields) == 1 else fields

    given = {
        "draw": draw,
        "histories": engine.histories,
        "optimizers": engine.optimizers,
        "parameters_of": engine.parameters.get,
        "now": lambda _: engine.optimizers["translators"].defaults["lr"],
        **engine.networks.callable,
    }
    exec(code_text(engine.program), given)
    theirs.step()
    for network, module in mine.networks.items():
        for parameter, other in zip(module.parameters(), theirs.networks[network].parameters(), strict=True):
            torch.testing.assert_close(parameter, other)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_spec_prints_as_plan_and_as_code_that_compiles(name: str) -> None:
    for checked in check_spec(load(name)):
        for kernels in ("off", "auto"):
            program = compile_phase(checked, kernels=kernels)
            assert plan_text(program).startswith(checked.graph.spec.name)
            compile(code_text(program), name, "exec")
