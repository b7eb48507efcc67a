"""How a run looks on terminals of several widths, and elsewhere."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import pytest

from gangraph.session.reporter import Reporter, reporter
from tests.terminal import Terminal, opened


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with opened() as made:
        yield made


@contextmanager
def telling(terminal: Terminal, width: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reporter]:
    """What a run tells, on a terminal of a width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    with redirect_stdout(terminal.out), reporter(json_lines=False) as told:
        yield told


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
    with telling(terminal, width, monkeypatch) as report:
        refreshed(report, 0, 0.0)
        refreshed(report, 12345, 0.42)
        (shown,) = terminal.look()
    assert len(shown) <= width
    assert "━" in shown and " 42% ETA " in shown and re.search(r"(\d+|-):(\d\d|--):(\d\d|--)", shown)
    assert sum(name in shown for name in ("fool", "forward", "backward", "identity", "judge_x", "judge_y")) == losses
    assert ("step 12345" in shown) == (width >= 40)


def test_nothing_of_the_bar_is_left_behind(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with telling(terminal, 80, monkeypatch) as report:
        report.say("training on cpu")
        refreshed(report, 1, 0.5)
        report.say("finished at step 2")
    assert terminal.look() == ["training on cpu", "finished at step 2"]


def test_sentences_wrap_at_words_and_a_path_stays_whole(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/a/long/path" * 8  # which is copied whole
    with telling(terminal, 40, monkeypatch) as report:
        report.say(f"finished at step 100 after 2000 s: continue with --resume {path}")
    assert terminal.look() == ["finished at step 100 after 2000 s:", "continue with --resume", path]


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(json_lines=False) as report:
        report.say("training on cpu")
        report.progress(line(3), 0.5)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "training on cpu"
    assert second.startswith("step 3  12.3 images/s  fool 0.1235  forward 0.1235") and "\x1b" not in second
