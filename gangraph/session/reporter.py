"""Reports of a run in progress: a live line on a terminal, plain lines elsewhere, JSON lines on request."""

import sys
import textwrap
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from gangraph.errors import printable
from gangraph.saved.files import json_text
from gangraph.terminal import plain


class Reporter(Protocol):
    """What a run reports its progress to."""

    def say(self, text: str) -> None:
        """A sentence for a person."""
        ...

    def progress(self, line: Mapping[str, Any], share: float) -> None:
        """The numbers of a report, and how much of the run is done, from 0 to 1."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def reporter(*, json_lines: bool) -> Reporter:
    """The reporter that suits where the output goes."""
    if json_lines:
        return _Json()
    return _Terminal() if sys.stdout.isatty() else _Plain()


def _numbers(line: Mapping[str, Any]) -> list[str]:
    opened = {f"open/{group}": share for group, share in line.get("open", {}).items()}
    numbers = {**line["losses"], **opened, **line.get("metrics", {})}
    return [f"{name} {value:.4g}" for name, value in numbers.items()]


def aside(prefix: str) -> Reporter:
    """A reporter for work on the side: lines on standard error, each behind a prefix."""
    return _Aside(prefix)


class _Plain:
    """One line at the start, then whenever another twentieth of the run is done."""

    def __init__(self) -> None:
        self.next_share = 0.0
        self.began: tuple[float, float] | None = None  # when the first report came, and how much was done by then

    def say(self, text: str) -> None:
        self.write(text)

    def write(self, text: str) -> None:
        """One line of output."""
        print(printable(text), flush=True)

    def progress(self, line: Mapping[str, Any], share: float) -> None:
        if share < self.next_share and "metrics" not in line:
            return
        self.next_share = share + 0.05
        said = f"step {line['step']}  {line['images_per_second']:.1f} images/s  {'  '.join(_numbers(line))}"
        self.write(said + self._left(share))

    def _left(self, share: float) -> str:
        """How long the rest takes at the speed so far; a resumed run did not begin at 0."""
        now = time.monotonic()
        since, done = self.began = self.began or (now, share)
        return f"  ETA {(now - since) / (share - done) * (1 - share):.0f} s" if share > done else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class _Aside(_Plain):
    """The same on standard error, behind a prefix that says what is going on."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def write(self, text: str) -> None:
        print(self.prefix + printable(text), file=sys.stderr, flush=True)


class _Json(_Plain):
    """Every report as a line of JSON; sentences go to standard error."""

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def progress(self, line: Mapping[str, Any], share: float) -> None:
        print(json_text(line), flush=True)


class _Terminal:
    """A bar with its percentage and the time that is left, then as many numbers as the terminal is wide for."""

    def __init__(self) -> None:
        self.console = Console(file=plain(sys.stdout))
        bar = max(4, min(24, self.console.width // 4))
        numbers = _Numbers(self.console, taken=bar + len(" 100% ETA 10:00:00 "))
        columns = (BarColumn(bar), TextColumn("{task.percentage:>3.0f}% ETA"), TimeRemainingColumn(), numbers)
        # Steps may take long: a shorter period would have seen too few of them to tell the time that is left.
        self.bar = Progress(*columns, console=self.console, transient=True, speed_estimate_period=600)
        self.task, self.fresh = self.bar.add_task("", total=1.0, numbers=()), True

    def say(self, text: str) -> None:
        width = self.console.width  # paths are left whole, so that they can be copied
        lines = (
            textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
            for line in printable(text).split("\n")
        )
        self.console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)

    def progress(self, line: Mapping[str, Any], share: float) -> None:
        numbers = (f"step {line['step']}", f"{line['images_per_second']:.1f} images/s", *_numbers(line))
        if self.fresh:  # a resumed run does not begin at 0: what was done before says nothing about its speed
            self.bar.reset(self.task, completed=share)  # type: ignore[arg-type]  # rich counts in fractions as well
            self.fresh = False
        self.bar.update(self.task, completed=share, numbers=numbers)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()


class _Numbers(ProgressColumn):
    """The first numbers of a report, as many as fit beside what is `taken` of the terminal's width."""

    def __init__(self, console: Console, taken: int) -> None:
        super().__init__()
        self.console, self.taken = console, taken

    def render(self, task: Task) -> Text:
        shown, width = "", self.console.width - self.taken
        for number in task.fields["numbers"]:
            longer = f"{shown}  {number}" if shown else number
            if len(longer) > width:
                break
            shown = longer
        return Text(shown, no_wrap=True)
