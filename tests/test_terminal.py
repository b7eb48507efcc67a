"""What a spec, a file name or a plug-in says does not reach the terminal as a command, and errors keep their author."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from gangraph import registry
from gangraph.cli import main
from gangraph.data.source import Field
from gangraph.errors import DataError, Problem, RunError, Span, Text, UsageError, printable
from gangraph.registry import vocabulary
from gangraph.session.reporter import reporter
from tests.support import DEFAULTS, DRAW_ONCE, SMALL, small, trainer

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r"
OBEYED = [chr(n) for n in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2028, 0xFEFF)]


def spec_file(folder: Path, **parts: str) -> Path:
    step = "\n".join(["  step:", *(f"    - {entry}" for entry in DRAW_ONCE)])
    path = folder / "mine.yaml"
    path.write_text(SMALL.format(**{**DEFAULTS, **parts, "step": step}))
    return path


def clean(text: str) -> bool:
    return not any(character in text for character in OBEYED)


def test_what_a_terminal_obeys_is_shown_as_an_escape() -> None:
    assert printable("a\tb\nc") == "a\tb\nc" and printable("é漢🙂") == "é漢🙂"
    assert printable("\x1b[31m") == "\\u001b[31m" and printable("\udc80") == "\\udc80"
    assert clean(printable("".join(OBEYED)))


def test_a_problem_shows_no_control_character_and_its_caret_stays_in_place() -> None:
    text = Text(f"na{ESCAPE}me", f"key: {ESCAPE}value")
    start = text.content.index("value")
    problem = Problem(
        code="GG310", message=ESCAPE, span=Span(text, start, start + 5), found=ESCAPE, inside=(ESCAPE,), reason=ESCAPE,
        expected=ESCAPE, fix=ESCAPE, called_by=(ESCAPE,),
    )  # fmt: skip
    shown = str(problem)
    assert clean(shown)
    line, caret = shown.split("\n")[1:3]
    assert line.index("value") == caret.index("^^^^^")
    assert clean(str(RunError(f"no file '{ESCAPE}'")))


@pytest.mark.parametrize("command", [["check"], ["check", "--json"], ["explain"], ["show", "--as", "spec"]])
@pytest.mark.parametrize(
    "damage",
    [
        ("name: small", 'name: small\nabout: "{}"\npaper: {{title: "{}", venue: "{}"}}'),
        ("name: small", 'name: "{}"'),
        ("fake: G(z)", 'fake: G(z)\n  "{}": G(z)'),
        ("fake: G(z)", 'fake: "G(z) + {}"'),
        ("fool: ", '"{}": 0\n  fool: '),
    ],
)
def test_escapes_in_a_spec_do_not_reach_the_terminal(
    command: list[str], damage: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec_file(tmp_path)
    escaped = json.dumps(ESCAPE)[1:-1]
    path.write_text(
        path.read_text().replace(damage[0], damage[1].replace("{}", escaped).replace("{{", "{").replace("}}", "}"))
    )
    main([*command, str(path)])
    out = capsys.readouterr()
    assert out.out + out.err and clean(out.out + out.err)
    if "--json" in command:
        json.loads(out.out)


def test_escapes_in_names_of_files_and_settings_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec_file(tmp_path)
    odd = tmp_path / f"odd{ESCAPE}.yaml"
    odd.write_text(path.read_text().replace("G(z)", "G(y)"))
    (tmp_path / f"photos{ESCAPE}").mkdir()
    (tmp_path / f"photos{ESCAPE}" / f"a{ESCAPE}.png").write_bytes(b"no image")
    data = f'images(folder="{tmp_path}/photos{ESCAPE}", size=8)'
    commands = (
        ["check", str(odd)],
        ["check", str(tmp_path / f"none{ESCAPE}")],
        ["check", str(path), "--set", f"values.fake={ESCAPE}"],
        ["check", str(path), "--set", f"{ESCAPE}=3"],
        ["check", str(path), "--data", "--set", f"data.x={data}"],
        ["check", str(path), "--profile", ESCAPE],
        ["check", str(path), f"--{ESCAPE}"],
        ["apply", str(tmp_path / f"run{ESCAPE}"), "--network", "G", "--input", "x", "--output", "y"],
    )
    for command in commands:
        assert main(command) != 0
        out = capsys.readouterr()
        assert clean(out.out + out.err), command
        assert "Traceback" not in out.err and "internal error" not in out.err, command


def test_a_report_shows_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    for json_lines in (True, False):
        reporter(json_lines=json_lines).say(f"to {ESCAPE}")
    out = capsys.readouterr()
    assert clean(out.out + out.err)


@pytest.mark.parametrize(
    "ends", ["raise RuntimeError('broken')", "raise SystemExit(0)", "import nothing_of_the_kind", "1 +"]
)
def test_a_plugin_that_raises_or_exits_as_it_is_imported_is_named(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad_plugin.py").write_text(f"{ends}\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("bad", "bad_plugin", "gangraph.plugins")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    registry._loaded.cache_clear()
    sys.modules.pop("bad_plugin", None)
    try:
        with pytest.raises(UsageError, match=r"the plug-in .bad. \(bad_plugin\) cannot be imported: "):
            registry.load_plugins()
        assert main(["check", str(spec_file(tmp_path))]) == 2
        assert "'bad'" in capsys.readouterr().err
    finally:
        monkeypatch.undo()
        registry._loaded.cache_clear()


class _Broken:
    """A source of a plug-in that fails in every way."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error = where, error
        self._fail("made")

    def _fail(self, where: str) -> None:
        if where == self.where:
            raise self.error

    @property
    def fields(self) -> dict[str, Field]:
        return {"value": Field((2,))}

    def open(self) -> "_Broken":
        self._fail("opened")
        return self

    def __len__(self) -> int:
        return 8

    def batch(self, indices: object, generator: torch.Generator) -> dict[str, torch.Tensor]:
        self._fail("read")
        return {"value": torch.zeros(4, 2)}


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3), OSError("gone"), AssertionError()], ids=repr)
@pytest.mark.parametrize("where", ["made", "opened", "read"])
def test_a_source_that_raises_is_named(
    where: str,
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    definitions = dict(vocabulary._definitions)
    monkeypatch.setattr(vocabulary, "_definitions", definitions)
    registry.source("broken")(lambda: _Broken(where, error))
    path = spec_file(tmp_path)
    path.write_text(path.read_text().replace("plane(std=0.3)", "broken()"))
    if where == "made":
        assert main(["check", str(path)]) == 1
        assert "'broken' refuses its arguments" in capsys.readouterr().err
        return
    commands = [["run", str(path), "--steps", "1", "--out", str(tmp_path / "run"), "--device", "cpu"]]
    commands += [["check", str(path), "--data"]] if where == "opened" else []
    for command in commands:
        assert main(command) == 3
        said = capsys.readouterr().err
        assert "data 'x', _Broken of tests.test_terminal, cannot be read: " in said and type(error).__name__ in said


def test_data_that_raises_is_told_by_the_interface_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(small())
    monkeypatch.setattr(type(made.engine.draws.open("x")), "batch", lambda *_: 1 / 0)
    with pytest.raises(DataError, match=r"data 'x', .* cannot be read: ZeroDivisionError"):
        made.step()


@pytest.mark.parametrize("called", [["-m", "gangraph"], ["-m", "gangraph.__main__"], ["-Bm", "gangraph"]])
def test_the_module_imports_nothing_from_the_folder_that_it_is_started_in(called: list[str], tmp_path: Path) -> None:
    for name in ("yaml", "typer", "torch", "numpy", "pydantic", "rich", "difflib", "shlex", "einops", "mine"):
        (tmp_path / f"{name}.py").write_text("print('imported from here')\nraise SystemExit(9)\n")
    spec_file(tmp_path)
    done = subprocess.run(
        [sys.executable, *called, "check", "mine.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "imported from here" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


def test_the_module_can_be_called_with_an_empty_argument() -> None:
    done = subprocess.run([sys.executable, "-m", "gangraph", "", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
