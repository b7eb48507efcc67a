"""How a run looks on terminals of several widths, and elsewhere."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import IO

import pytest

from gangraph.runtime.report import Reporter, reporter

_PIECE = re.compile(r"\x1b\[(?P<count>\d*)(?P<code>[AK])|\x1b\[[?\d;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+")


@dataclass
class Screen:
    """What a person sees of the bytes that a terminal gets: lines, of which later ones may be written over."""

    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0

    def feed(self, text: str) -> None:
        for found in _PIECE.finditer(text):
            piece, code = found.group(), found["code"]
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif code == "A":
                self.row = max(0, self.row - int(found["count"] or 1))
            elif code == "K":
                self.lines[self.row] = ""
            elif not piece.startswith("\x1b"):
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + piece + line[self.column + len(piece) :]
                self.column += len(piece)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


@dataclass
class Terminal:
    """A terminal to write to, and its screen."""

    master: int
    out: IO[str]
    screen: Screen = field(default_factory=Screen)

    @contextmanager
    def report(self, width: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reporter]:
        """What a run tells, on this terminal."""
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm-256color")
        with redirect_stdout(self.out), reporter(json_lines=False) as told:
            yield told

    def look(self) -> list[str]:
        """The lines that are seen now."""
        self.out.flush()
        os.set_blocking(self.master, False)
        try:
            while text := os.read(self.master, 65536).decode():
                self.screen.feed(text)
        except BlockingIOError:
            pass
        return self.screen.shown


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as out:
        yield Terminal(master, out)
    os.close(master)


def line(step: int) -> dict[str, object]:
    losses = dict.fromkeys(("fool", "forward", "backward", "identity", "judge_x", "judge_y"), 0.123456)
    return {"step": step, "images_per_second": 12.3, "losses": losses, "metrics": {"error_y": 0.5}}


def refreshed(report: Reporter, step: int, share: float) -> None:
    report.progress(line(step), share)
    report.bar.refresh()  # type: ignore[attr-defined]  # as it does by itself, ten times a second


@pytest.mark.parametrize(("width", "losses"), [(180, 6), (120, 3), (80, 1), (60, 0), (40, 0), (30, 0)])
def test_a_narrow_terminal_keeps_bar_percentage_and_time_and_drops_losses_first(
    width: int, losses: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal.report(width, monkeypatch) as report:
        refreshed(report, 0, 0.0)
        refreshed(report, 12345, 0.42)
        (shown,) = terminal.look()
    assert len(shown) <= width
    assert "━" in shown and " 42% ETA " in shown and re.search(r"(\d+|-):(\d\d|--):(\d\d|--)", shown)
    assert sum(name in shown for name in ("fool", "forward", "backward", "identity", "judge_x", "judge_y")) == losses
    assert ("step 12345" in shown) == (width >= 40)


def test_nothing_of_the_bar_is_left_behind(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal.report(80, monkeypatch) as report:
        report.say("training on cpu")
        refreshed(report, 1, 0.5)
        report.say("finished at step 2")
    assert terminal.look() == ["training on cpu", "finished at step 2"]


def test_a_long_sentence_is_left_to_the_terminal_to_wrap(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "continue with --resume " + "/a/long/path" * 8  # which is copied whole
    with terminal.report(40, monkeypatch) as report:
        report.say(said)
    assert terminal.look() == [said]


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(json_lines=False) as report:
        report.say("training on cpu")
        report.progress(line(3), 0.5)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "training on cpu"
    assert second.startswith("step 3  12.3 images/s  fool 0.1235  forward 0.1235") and "\x1b" not in second
