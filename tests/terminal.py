"""A terminal for tests: what a person sees of what is written to it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

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


@contextmanager
def opened() -> Iterator[Terminal]:
    """A terminal of this machine, which holds what nobody has looked at yet."""
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as out:
        yield Terminal(master, out)
    os.close(master)
