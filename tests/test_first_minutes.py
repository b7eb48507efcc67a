"""The first minutes: a sign of life before anything slow, helps, completion, and slips that are answered at once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gangraph.cli import _COMMANDS, main
from gangraph.cli.options import waiting
from gangraph.language.document.library import evaluators, shipped
from gangraph.terminal import guarded
from tests.terminal import opened

HELPS = [["--help"], ["bench", "--help"], ["bench", "kernels", "--help"], *([name, "--help"] for name in _COMMANDS)]
# Each command that takes its time, on a terminal and without torch: what is seen of it before torch is asked for.
WITHOUT_TORCH = """
import io, json, sys
sys.modules["torch"] = None
from contextlib import redirect_stderr, redirect_stdout
from gangraph.cli import main
class Terminal(io.StringIO):
    def isatty(self): return True
for arguments in json.loads(sys.argv[1]):
    seen, out = Terminal(), io.StringIO()
    with redirect_stderr(seen), redirect_stdout(out):
        code = main(arguments)
    print(json.dumps([code, seen.getvalue(), out.getvalue()]))
"""


def without_torch(*commands: list[str]) -> list[tuple[int, str, str]]:
    """What each command answers where torch cannot be imported: its code, what it says, what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_a_help_speaks_to_a_person_and_fits_80_columns(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert not re.search(r"\b(Raises|Args|Returns|Yields):", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments", [["show", "unrolled", "--as", "plan"], ["diff", "gan", "wgan"], ["explain", "gan"]], ids=" ".join
)
def test_what_a_person_reads_is_as_wide_as_the_terminal(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (60, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(arguments) == 0
        assert columns - 10 < max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_every_slow_command_gives_a_sign_of_life_before_torch_is_imported(tmp_path: Path) -> None:
    commands = [
        ["check", "gan"], ["show", "gan", "--as", "plan"], ["show", "gan", "--as", "graph"], ["explain", "gan"],
        ["diff", "gan", "dcgan"], ["sample", str(tmp_path)], ["measure", str(tmp_path)], ["report", str(tmp_path)],
        ["apply", str(tmp_path), "--network", "G", "--input", "a", "--output", "b"], ["reproduce", "gan"],
        ["doctor"], ["bench", "kernels"],
    ]  # fmt: skip
    for arguments, (_, seen, _) in zip(commands, without_torch(*commands), strict=True):
        assert re.match(r"\w[^\n]* \.\.\.\r\x1b\[K", seen), f"{arguments}: {seen}"
    ((_, _, printed),) = without_torch(["run", "gan"])
    assert printed.startswith("gan: profile quick")


def test_a_missing_run_is_told_before_torch_is_imported() -> None:
    commands = [
        ["sample", "runs/nothing"], ["measure", "runs/nothing"],
        ["apply", "runs/nothing", "--network", "G", "--input", "a", "--output", "b"],
        ["run", "gan", "--resume", "runs/nothing"],
    ]  # fmt: skip
    for code, said, _ in without_torch(*commands):
        assert (code, said) == (2, "gangraph: there is no run 'runs/nothing'\n")
    report, reproduce = without_torch(["report", "runs/nothing"], ["reproduce", "gann"])
    assert report[:2] == (2, "gangraph: there is no folder 'runs/nothing'\n")
    assert reproduce[0] == 2 and "did you mean 'gan'?" in reproduce[1]


def test_a_misspelt_run_is_answered_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "gan-quick-001").mkdir(parents=True)
    for written in ("gan-quick-001", "runs/gan-quik-001"):
        assert main(["sample", written]) == 2
        assert "did you mean 'runs/gan-quick-001'?" in capsys.readouterr().err


def test_a_sign_of_life_is_gone_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened() as terminal:
        monkeypatch.setattr("sys.stderr", terminal.out)
        with guarded(), waiting("checking gan"):  # as the commands are
            assert terminal.look() == ["checking gan ..."]
        assert terminal.look() == []


def test_elsewhere_than_on_a_terminal_there_is_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("checking gan"):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"gangraph \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_list_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert all(re.search(rf"^ *{name}( |$)", text, re.MULTILINE) for name in (*shipped(), *evaluators()))


def test_list_as_json_has_every_spec_with_its_profiles_and_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in listed["specs"]}
    assert rows.keys() == shipped().keys()
    assert rows["cyclegan"]["year"] == 2017 and rows["cyclegan"]["profiles"] == ["paper", "quick", "folders"]
    assert "no_pool" in rows["cyclegan"]["variants"]
    assert {row["name"] for row in listed["evaluators"]} == set(evaluators())


@pytest.mark.parametrize(
    "arguments", [["check", "gan", "epochs=3"], ["run", "epochs=3", "gan"], ["explain", "gan", "train.step.0.every=2"]]
)
def test_a_bare_setting_is_answered_with_set(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    bare = next(part for part in arguments if "=" in part)
    assert f"a value of the spec is replaced by --set {bare}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["diff", "gan", "wgan", "a=3"], ["check", "nothing", "--set", "a=3"]])
def test_what_is_no_bare_setting_is_not_taken_for_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "is replaced by" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "gan", "--as", "graph", "-o", "x.png"], "the graph is drawn as SVG, and not as .png: -o x.svg"),
        (["show", "gan", "--as", "graph", "-o", "x.txt"], "-o x.svg"),
        (["show", "gan", "--as", "plan", "-o", "x.PDF"], "the plan view is text"),
        (["show", "gan", "--as", "latex", "-o", "x.png"], "the latex view is text"),
        (["explain", "gan", "-o", "x.html"], "an explanation is text"),
        (["diff", "gan", "wgan", "-o", "x.svg"], "a comparison is text"),
    ],
)
def test_a_file_of_another_kind_than_the_view_is_refused(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def completed(line: str, folder: Path) -> set[str]:
    """What bash would offer for the last word of a line."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_GANGRAPH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    script = "import sys; sys.modules['torch'] = None; from gangraph.cli import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gangraph ch", {"check"}),
        ("gangraph check cyc", {"cyclegan"}),
        ("gangraph run cyc", {"cyclegan"}),
        ("gangraph check mi", {"minibatch", "mine.yaml"}),
        ("gangraph run cyclegan --profile ", {"paper", "quick", "folders"}),
        ("gangraph run cyclegan --variant no_pool,cy", {"no_pool,cycle_only"}),
        ("gangraph show gan --as p", {"plan"}),
        ("gangraph sample ru", {"runs/", "runs/gan-quick-001"}),
        ("gangraph run nothing --variant ", set()),
    ],
)
def test_a_shell_completes_names_without_torch(line: str, offered: set[str], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "gan-quick-001"
    run.mkdir(parents=True)
    (run / "environment.json").touch()
    (tmp_path / "mine.yaml").touch()
    assert completed(line, tmp_path) == offered


def test_completion_can_be_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--install-completion" in text and "--show-completion" in text
