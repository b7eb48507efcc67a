"""Tables of names: how another program's file calls the tensors of a network."""

from collections.abc import Iterable
from pathlib import Path

from gangraph.errors import SpecError, Text
from gangraph.language.document.library import UnreadableError, file_text
from gangraph.language.document.tree import read_tree
from gangraph.language.scalar import Scalar

Table = tuple[tuple[str, str], ...]


def names_table(path: Path) -> Table:
    """Pairs of our name and theirs, in the order of a YAML file. A `*` in both stands for the same text.

    Raises:
        UnreadableError: there is no such file, or it is no mapping of texts.
    """
    try:
        tree = read_tree(Text(str(path), file_text(path, str(path))))
    except SpecError as error:
        raise UnreadableError(str(path), error.problems[0].message) from None
    if not all(isinstance(value, Scalar) for value in tree.values()):
        raise UnreadableError(str(path), "it is no mapping of names")
    pairs = tuple((str(ours), str(theirs)) for ours, theirs in tree.items())
    for number, (ours, theirs) in enumerate(pairs, 1):
        if ours.count("*") > 1 or theirs.count("*") > ours.count("*"):
            raise UnreadableError(str(path), f"entry {number} has more than one * on the left, or more on the right")
    return pairs


def their_name(ours: str, table: Iterable[tuple[str, str]]) -> str:
    """What a file calls the tensor that we call so, by the first line that fits; the same name where none does."""
    for pattern, theirs in table:
        before, star, after = pattern.partition("*")
        if not star and pattern == ours:
            return theirs
        fits = len(ours) >= len(before) + len(after) and ours.startswith(before) and ours.endswith(after)
        if star and fits:
            return theirs.replace("*", ours[len(before) : len(ours) - len(after)])
    return ours
