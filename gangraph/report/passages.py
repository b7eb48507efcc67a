"""Plain text that was filled into lines, taken apart again into headings, paragraphs and lists."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Passage:
    """A heading or a paragraph with one text, or a list of several."""

    kind: Literal["heading", "paragraph", "list"]
    texts: tuple[str, ...]


@dataclass(slots=True)
class _Piece:
    indent: int
    item: bool
    text: str

    def continues(self, indent: int) -> bool:
        """Whether a line that begins no item, indented so far, belongs to this piece."""
        return indent > self.indent if self.item else indent == self.indent


def passages(text: str, without: Collection[str] = ()) -> tuple[Passage, ...]:
    """The passages of a text; blocks that begin with one of the lines `without` are left out."""
    blocks = [block.split("\n") for block in text.split("\n\n")]
    return tuple(passage for lines in blocks if lines[0] not in without for passage in _passages(_pieces(lines)))


def _pieces(lines: list[str]) -> list[_Piece]:
    pieces: list[_Piece] = []
    for line in lines:
        body = line.strip()
        indent, item = len(line) - len(line.lstrip()), body.startswith("- ")
        if not item and pieces and pieces[-1].continues(indent):
            pieces[-1].text += f" {body}"
        else:
            pieces.append(_Piece(indent, item, body.removeprefix("- ")))
    return pieces


def _passages(pieces: list[_Piece]) -> Iterator[Passage]:
    """Items in a row are a list; a line over an indented paragraph is its heading."""
    items: list[str] = []
    for i, piece in enumerate(pieces):
        if piece.item:
            items.append(piece.text)
            continue
        if items:
            yield Passage("list", tuple(items))
            items = []
        below = pieces[i + 1] if i + 1 < len(pieces) else piece
        heads = not below.item and below.indent > piece.indent
        yield Passage("heading" if heads else "paragraph", (piece.text,))
    if items:
        yield Passage("list", tuple(items))
