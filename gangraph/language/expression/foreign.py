"""Characters that have no place in an expression: what they are called, and how they are written in ASCII."""

import unicodedata

LETTERS = "names of the letters a-z and A-Z, digits and _"
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!=", "…": "..",
    "²": "** 2", "³": "** 3", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'",
}  # fmt: skip
# Letters that are no other letter with a mark.
_SPELLED = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d",
     "Đ": "D", "ı": "i"}
)  # fmt: skip
_GREEK = {unicodedata.lookup(f"GREEK SMALL LETTER {name}"): name.lower().replace("lamda", "lambda") for name in (
    "ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "IOTA", "KAPPA", "LAMDA", "MU", "NU", "XI",
    "OMICRON", "PI", "RHO", "SIGMA", "TAU", "UPSILON", "PHI", "CHI", "PSI", "OMEGA",
)}  # fmt: skip


def is_of_name(character: str) -> bool:
    """Whether a character is meant to be a part of a name: a letter or digit of any script, or a mark on one."""
    return character == "_" or character.isalpha() or character.isdecimal() or unicodedata.combining(character) > 0


def name_around(text: str, offset: int) -> tuple[int, int]:
    """Where the name that a character is meant to be a part of begins and ends."""
    start = end = offset
    while start > 0 and is_of_name(text[start - 1]):
        start -= 1
    while end < len(text) and is_of_name(text[end]):
        end += 1
    return start, end


def described(character: str) -> str:
    """A character and what Unicode calls it: `'ö' (LATIN SMALL LETTER O WITH DIAERESIS)`."""
    called = unicodedata.name(character, f"U+{ord(character):04X}")
    return f"{character!r} ({called})" if not character.isascii() else repr(character)


def in_ascii(text: str) -> str:
    """The nearest form of a name in ASCII, or an empty string if a character has none."""
    greek = "".join(_GREEK.get(character, character) for character in text.translate(_SPELLED))
    plain = "".join(c for c in unicodedata.normalize("NFKD", greek) if not unicodedata.combining(c))
    return plain if plain.isascii() and plain.isidentifier() else ""


def symbol_for(character: str) -> str:
    """What an expression writes in place of a symbol, or an empty string."""
    return _SYMBOLS.get(character, "")
