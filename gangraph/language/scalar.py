"""Text that knows where each of its characters was written."""

from __future__ import annotations

from gangraph.errors import Span, Text


class Scalar(str):
    """A YAML scalar, or the text of an expression: a string that knows where each of its characters was written."""

    __slots__ = ("offsets", "quoted", "text")
    text: Text
    offsets: tuple[int, ...]
    quoted: bool

    @classmethod
    def at(cls, value: str, text: Text, offsets: tuple[int, ...], *, quoted: bool = False) -> Scalar:
        """A scalar whose character i stands at `offsets[i]` of `text`; one offset more marks the end."""
        scalar = cls(value)
        scalar.text, scalar.offsets, scalar.quoted = text, offsets, quoted
        return scalar

    @classmethod
    def of(cls, value: str, name: str) -> Scalar:
        """A scalar that stands alone, such as a command-line argument called `name`."""
        return cls.at(value, Text(name, value), tuple(range(len(value) + 1)))

    def part(self, start: int, end: int) -> Span:
        """Where the characters `start` to `end` were written."""
        last = len(self.offsets) - 1
        first = self.offsets[min(start, last)]
        return Span(self.text, first, max(first + 1, self.offsets[min(end - 1, last)] + 1))

    @property
    def span(self) -> Span:
        """Where the whole scalar was written."""
        return self.part(0, max(1, len(self)))
