"""The value of one `--set`: an expression, or a text without its quotes where a text belongs.

A text is taken only for what cannot be an expression, since a name in it is none of the spec's: `photos/a`. What may
be either is refused with the quotes that it needs.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from gangraph.errors import SpecError, refuse
from gangraph.language.document.tree import Tree, TreeMapping, TreeSequence
from gangraph.language.expression.model import Expression, Literal, Name, walk
from gangraph.language.expression.numbers import FUNCTIONS
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as it was given, and the names that it may use; None for a name that is not a single constant."""

    written: Scalar
    names: Mapping[str, Expression | None]

    def in_place_of(self, old: Tree) -> Scalar:
        """The value where the scalar `old` stood. Raises SpecError where it may be a text or an expression."""
        return self._taken(text=isinstance(old, Scalar) and _is_text(_parsed(old)))

    def as_argument(self, old: Expression | None, *, of_data: bool) -> Scalar:
        """The value of a keyword that was `old`, or was not there: a source's may be a text. Raises SpecError."""
        known = self.names.get(old.id) if isinstance(old, Name) else old
        return self._taken(text=_is_text(known) or (old is None and of_data))

    def _taken(self, *, text: bool) -> Scalar:
        value = self.written
        if not text or value[:1] in ('"', "'", "["):
            return value
        parsed = _parsed(value)
        names = {node.id for node in walk(parsed) if isinstance(node, Name)} if parsed is not None else set()
        if parsed is not None and names <= self.names.keys():
            return value
        mark = "'" if '"' in value else '"'
        if names & self.names.keys() or mark in value:
            self._refuse_either(names, mark)
        return Scalar.of(f"{mark}{value}{mark}", value.text.name)

    def _refuse_either(self, names: set[str], mark: str) -> NoReturn:
        ours, theirs = sorted(names & self.names.keys()), sorted(names - self.names.keys())
        quoted = shlex.quote(f"{mark}{self.written}{mark}")
        refuse(
            "GG661",
            "this may be a text or an expression" if ours else "a text cannot have both kinds of quotes",
            self.written.span,
            str(self.written),
            reason=f"this spec knows {', '.join(ours)}, and does not know {', '.join(theirs)}" if ours else "",
            expected="a text in quotes, or an expression over names that are known before a run",
            fix=f"for the text: {self.written.text.name}={quoted}" if ours else "",
        )


def static_names(document: TreeMapping) -> dict[str, Expression | None]:
    """What an expression can name before a run: params, `let` names, indices, functions of numbers."""
    found: dict[str, Expression | None] = dict.fromkeys(("params", *FUNCTIONS, *_indices(document)))
    for section in ("params", "let"):
        inside = document.get(Scalar(section))
        for key, value in inside.items() if isinstance(inside, TreeMapping) else ():
            found[key.partition("[")[0]] = _parsed(value) if isinstance(value, Scalar) else None
    return found


def _indices(tree: Tree) -> Iterator[str]:
    """The indices of all loops and families: `k` of `for k in 0..2` and of `x[k in 0..2]`."""
    for key, inside in tree.items() if isinstance(tree, TreeMapping) else ():
        yield from re.findall(r"(?:^for |\[)\s*(\w+)\s+in ", key)
        yield from _indices(inside)
    for inside in tree if isinstance(tree, TreeSequence) else ():
        yield from _indices(inside)


def _is_text(old: Expression | None) -> bool:
    return isinstance(old, Literal) and isinstance(old.value, str)


def _parsed(written: Scalar) -> Expression | None:
    """The expression, or None where it is none."""
    try:
        return parse_expression(written)
    except SpecError:
        return None
