"""Files that a spec or a command names: only what is a spec or a network is read as one, and nothing else is shown."""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gangraph.cli import main
from gangraph.language.document.library import Files
from tests.support import DEFAULTS, DRAW_ONCE, SMALL

SECRET = "root:x:0:0:a secret that nobody is to read\n"


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(6 * 10**9)  # sparse: it takes no room on the disk


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 100)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _secret(path: Path) -> None:
    path.with_name("secret").write_text(SECRET)
    path.symlink_to(path.with_name("secret"))


HOSTILE = {
    _folder: "it is a folder",
    _pipe: "it is not a regular file",
    _device: "it is not a regular file",
    _huge: "it is larger than 4 MB",
    _binary: "it is not a text file",
}
IN_A_SPEC = HOSTILE | {_secret: "key"}


def spec_with(folder: Path, **parts: str) -> Path:
    step = "\n".join(["  step:", *(f"    - {entry}" for entry in DRAW_ONCE)])
    path = folder / "mine.yaml"
    path.write_text(SMALL.format(**{**DEFAULTS, **parts, "step": step}))
    return path


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and what was said; it took little time and little memory."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = main(command)
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
    out = capsys.readouterr()
    assert "Traceback" not in out.err and "internal error" not in out.err
    assert "secret" not in out.out + out.err.replace("/secret", "")
    return code, out.err


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", ["check", "explain", "run"])
def test_what_is_no_file_of_a_spec_ends_at_once(
    make: Callable[[Path], None], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "spec.yaml")
    code, said = refused([command, str(tmp_path / "spec.yaml")], capsys)
    assert code == 2 and HOSTILE[make] in said


@pytest.mark.parametrize("make", IN_A_SPEC, ids=lambda make: make.__name__)
def test_what_is_no_file_of_a_network_is_told_at_its_call(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "networks").mkdir()
    make(tmp_path / "networks" / "critic.yaml")
    code, said = refused(["check", str(spec_with(tmp_path, networks_d="critic()"))], capsys)
    assert code == 1 and "GG450" in said and IN_A_SPEC[make] in said and "D: critic()" in said


@pytest.mark.parametrize("make", IN_A_SPEC, ids=lambda make: make.__name__)
@pytest.mark.parametrize("called", ["judge", "judge.yaml"])
def test_what_is_no_spec_trains_no_network_and_is_not_shown(
    make: Callable[[Path], None], called: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "judge.yaml")
    written = f'trained("{called}", network="C")'
    code, said = refused(
        ["check", str(spec_with(tmp_path, evaluate=f"evaluate: {{networks: {{C: '{written}'}}}}"))], capsys
    )
    assert code == 1 and "GG450" in said and IN_A_SPEC[make] in said


def test_nothing_of_a_file_of_the_system_is_shown_through_a_spec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = 'trained("/etc/passwd", network="C")'
    path = spec_with(tmp_path, evaluate=f"evaluate: {{networks: {{C: '{written}'}}}}")
    first = Path("/etc/passwd").read_text().splitlines()[0]
    code, said = refused(["check", str(path)], capsys)
    assert code == 1 and first not in said
    plain = spec_with(tmp_path)
    code, said = refused(["check", str(plain), "--set", f"evaluate.networks.C={written}"], capsys)
    assert code == 1 and first not in said


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec_with(tmp_path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    code, said = refused(["check", str(path)], capsys)
    assert code == 2 and "cannot be read: Permission denied" in said


def test_a_shipped_name_is_found_although_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gan").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["show", "gan", "--as", "spec"]) == 0
    assert "name: gan" in capsys.readouterr().out


def test_a_folder_is_not_proposed_as_a_network(tmp_path: Path) -> None:
    (tmp_path / "networks" / "mine.yaml").mkdir(parents=True)
    assert "mine" not in Files(tmp_path).network_names()


def test_a_network_file_that_changes_within_a_moment_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    path = tmp_path / "networks" / "mine.yaml"
    for count in range(20):
        path.write_text(f"inputs: x\nlayers: linear({count + 1})\n")
        found = Files(tmp_path).network("mine")
        assert found is not None and f"value={count + 1}" in repr(found.document.layers)
