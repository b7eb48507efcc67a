"""The script that sets everything up: what it says, what it leaves, and that it is done once. Nothing is fetched."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# In place of Python: makes a .venv whose own python is this script again, and pip as the test wants it.
PYTHON = """#!/bin/sh
echo "$@" >> calls
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip"*) echo "Collecting torch"; exit $(cat pip_ends_with) ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a Python that fetches nothing."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "pip_ends_with").write_text("0")
    return tmp_path


def set_up(checkout: Path, python: str = "python") -> subprocess.CompletedProcess[str]:
    environment = {"PYTHON": str(checkout / python), "PATH": "/usr/bin:/bin"}
    return subprocess.run([checkout / "scripts" / "setup"], env=environment, capture_output=True, text=True)


def stamps(checkout: Path) -> list[str]:
    return sorted(path.name for path in (checkout / ".venv").glob(".installed-*"))


def test_setting_up_says_what_it_fetches_and_how_large_it_is(checkout: Path) -> None:
    done = set_up(checkout)
    assert done.returncode == 0 and done.stdout == ""  # standard output belongs to the command that follows
    first, *rest = done.stderr.splitlines()
    assert "GB" in first and "PyTorch" in first
    assert rest[0] == "Collecting torch" and "ready" in rest[-1]


def test_a_second_time_does_nothing_at_all(checkout: Path) -> None:
    set_up(checkout)
    (checkout / "calls").unlink()
    assert set_up(checkout).stderr == ""
    assert not (checkout / "calls").exists()


def test_a_set_up_that_fails_is_told_and_done_again(checkout: Path) -> None:
    (checkout / "pip_ends_with").write_text("1")
    done = set_up(checkout)
    assert done.returncode == 3 and stamps(checkout) == []
    assert "did not end well" in done.stderr.splitlines()[-1]
    (checkout / "pip_ends_with").write_text("0")
    assert set_up(checkout).returncode == 0 and len(stamps(checkout)) == 1


def test_other_versions_are_installed_even_where_they_were_before(checkout: Path) -> None:
    set_up(checkout)
    before = (checkout / "constraints.txt").read_text()
    (checkout / "constraints.txt").write_text("other")
    set_up(checkout)
    (checkout / "constraints.txt").write_text(before)
    (checkout / "calls").unlink()
    set_up(checkout)
    assert "-m pip install" in (checkout / "calls").read_text()
    assert len(stamps(checkout)) == 1


def test_no_python_is_told(checkout: Path) -> None:
    done = set_up(checkout, "nowhere")
    assert done.returncode == 2
    assert "Python 3.11" in done.stderr


def test_every_package_is_in_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    links = ("gangraph.kernels", "gangraph.specs", "gangraph.benchmarks")  # which a walk does not follow
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "gangraph").rglob("__init__.py")}
    assert set(listed) == found | set(links)
