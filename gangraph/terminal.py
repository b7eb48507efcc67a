"""What goes to the terminal: text, in which no file, spec or data set can hide a command to it."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from gangraph.errors import printable


class Guarded:
    """A stream of text on which control characters are shown, and not obeyed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text; what draws a bar of its own may go back to the beginning of its line."""
        back = "\r" * text.startswith("\r")
        self.stream.write(back + printable(text[len(back) :]))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def plain(stream: TextIO) -> TextIO:
    """The stream itself, for what draws with control characters of its own."""
    return stream.stream if isinstance(stream, Guarded) else stream


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and standard error for a while."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Guarded(plain(stream)) if stream is not None else None for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def tell(text: str) -> None:
    """A sentence on standard error, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


class Countdown:
    """Says on standard error how far something is that takes long; nothing where it does not."""

    patience = 5.0  # seconds without a word

    def __init__(self, what: str, count: int) -> None:
        self.what, self.count, self.done, self.began = what, count, 0, time.monotonic()
        self.due = self.began + self.patience

    def one_more(self) -> None:
        """Count one, and say so if nothing was said for a while."""
        self.done += 1
        now = time.monotonic()
        if now < self.due or self.done == self.count:
            return
        self.due = now + self.patience
        left = (now - self.began) / self.done * (self.count - self.done)
        print(f"{self.what} {self.done} of {self.count}, {left:.0f} s left", file=sys.stderr, flush=True)
