"""The text of an expression as tokens, each with its place."""

import re
from dataclasses import dataclass
from typing import NoReturn

from gangraph.errors import refuse
from gangraph.language.expression.foreign import LETTERS, described, in_ascii, is_of_name, name_around, symbol_for
from gangraph.language.expression.model import LONGEST_NAME
from gangraph.language.scalar import Scalar

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+\.(?!\.)\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<string>"[^"]*"|'[^']*')
      | (?P<symbol>\*\*|//|<=|>=|==|!=|\.\.|[-+*/%<>=.,()\[\]])""",
    re.VERBOSE,
)
_KEYWORDS = {"if", "else", "for", "in", "and", "or", "not"}
_FIXES = {
    "{": "a mapping has no place inside an expression", "}": "a mapping has no place inside an expression",
    "&": "write 'and'", "|": "write 'or'", "!": "write 'not'", "^": "write '**' for a power",
    "=": "write '==' to compare", '"': "close the quote", "'": "close the quote",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression. `kind` is number, name, string or end; for symbols and keywords it is the text."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(source: Scalar) -> list[Token]:
    """The tokens of a text, and one of the kind `end`. Raises SpecError at a character that begins none."""
    tokens, offset = [], 0
    while offset < len(source):
        found = _TOKEN.match(source, offset)
        if found is None:
            _refuse_character(source, offset)
        kind = str(found.lastgroup)
        text = found.group()
        if kind == "name" and len(text) > LONGEST_NAME:
            refuse_part(source, offset, found.end(), f"a name of {len(text)} characters", f"at most {LONGEST_NAME}")
        if kind == "symbol" or text in _KEYWORDS:
            kind = text
        if kind != "space":
            tokens.append(Token(kind, text, offset, found.end()))
        offset = found.end()
    return [*tokens, Token("end", "", len(source), len(source))]


def refuse_part(source: Scalar, start: int, end: int, found: str, expected: str, fix: str = "") -> NoReturn:
    """Refuse some characters of an expression, at least one. Raises SpecError."""
    told = fix or _FIXES.get(source[start:end], "")
    refuse("GG102", "this expression does not parse", source.part(start, max(end, start + 1)), found, expected, told)


def _refuse_character(source: Scalar, offset: int) -> NoReturn:
    """Refuse a character that begins no token, and the whole name if it is meant to be a part of one."""
    character = source[offset]
    if not character.isascii() and is_of_name(character):
        start, end = name_around(source, offset)
        name = source[start:end]
        found = described(character) + (f" in '{name}'" if name != character else "")
        plain = in_ascii(name)
        refuse_part(source, start, end, found, LETTERS, f"write '{plain}'" if plain else "")
    written = symbol_for(character)
    expected = "a name, a number, a string or an operator"
    refuse_part(source, offset, offset + 1, described(character), expected, f"write '{written}'" if written else "")
