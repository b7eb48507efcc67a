"""Prose in passages, which a terminal shows filled into lines and a page as its own elements."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

WIDTH = 100  # letters of the widest line that is easily read
_NO_BREAK = "\N{NO-BREAK SPACE}"
_OPERATOR = re.compile(r" (\*\*|//|[<>=!]=|[-+*/·<>]) ")


@dataclass(frozen=True, slots=True)
class Passage:
    """A title, a heading or a paragraph with one text, or a list of several."""

    kind: Literal["title", "heading", "paragraph", "list"]
    texts: tuple[str, ...]


Block = tuple[Passage, ...]  # passages that belong together; what follows a heading stands below it


def block_text(block: Block, width: int = WIDTH) -> str:
    """A block in lines of at most `width` letters, indented below a heading; items begin with a dash.

    Only a word that is longer by itself, such as a path, makes a longer line: it is never cut.
    """
    indent = "  " if block[0].kind == "heading" else ""
    return "\n".join(line for passage in block for line in _lines(passage, indent, width))


def _lines(passage: Passage, indent: str, width: int) -> Iterator[str]:
    for text in passage.texts:
        match passage.kind:
            case "title" | "heading":
                yield from filled_lines(text, "", "  ", width)
            case "paragraph":
                yield from filled_lines(text, indent, indent, width)
            case "list":
                yield from filled_lines(text, f"{indent}  - ", f"{indent}    ", width)


def filled_lines(text: str, first: str, others: str, width: int) -> list[str]:
    """Text in lines of at most `width` letters, which begin with `first`, and those after it with `others`.

    A formula breaks before an operator, which so begins the next line, or after a comma. A word is never cut.
    """
    kept = _OPERATOR.sub(rf" \1{_NO_BREAK}", text)
    lines = textwrap.wrap(kept, width, initial_indent=first, subsequent_indent=others,
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [line.replace(_NO_BREAK, " ") for line in lines]
