"""Prose in passages, which a terminal shows filled into lines and a page as its own elements."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Passage:
    """A title, a heading or a paragraph with one text, or a list of several."""

    kind: Literal["title", "heading", "paragraph", "list"]
    texts: tuple[str, ...]


Block = tuple[Passage, ...]  # passages that belong together; what follows a heading stands below it


def block_text(block: Block) -> str:
    """A block in lines of at most 100 letters, indented below a heading; items begin with a dash."""
    indent = "  " if block[0].kind == "heading" else ""
    return "\n".join(line for passage in block for line in _lines(passage, indent))


def _lines(passage: Passage, indent: str) -> Iterator[str]:
    for text in passage.texts:
        match passage.kind:
            case "title" | "heading":
                yield text
            case "paragraph":
                yield from _filled(text, indent, indent)
            case "list":
                yield from _filled(text, f"{indent}  - ", f"{indent}    ")


def _filled(text: str, first: str, others: str) -> Sequence[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip
