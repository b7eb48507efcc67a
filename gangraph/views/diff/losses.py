"""The terms of losses and objectives of two specs, side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from gangraph.graph.model import Graph
from gangraph.language.expression.model import Expression, Name, unparse
from gangraph.views.decompile import Decompiled
from gangraph.views.diff.difference import Difference, groups_of, sides, trained
from gangraph.views.diff.matching import Matching
from gangraph.views.printers.words import constant_text, written
from gangraph.views.terms import Term, terms
from gangraph.views.wording import ordinal


def loss_differences(matching: Matching) -> Iterator[Difference]:
    """Terms that came or went, and weights that changed; of each loss by name, then of each objective."""
    yield from _Losses(matching).all()


class _Losses:
    """The terms of every loss and of every objective, side by side."""

    def __init__(self, matching: Matching) -> None:
        self.matching = matching
        self.first, self.second = matching.first.graph, matching.second.graph
        self.ours = _Side.of(self.first, matching.losses)
        self.theirs = _Side.of(self.second, matching.losses.values())

    def all(self) -> Iterator[Difference]:
        """Losses that an objective depends on, by name, and then objectives."""
        read = trained(self.first), trained(self.second)
        for name, other in self.matching.losses.items():
            ours, theirs = self.first.losses.get(name), self.second.losses.get(other)
            if ours in read[0] or theirs in read[1]:
                yield from self._compared(name, self.ours.loss(ours), self.theirs.loss(theirs))
        first, second = _objectives(self.first), _objectives(self.second)
        for group, other in sides(first, second, groups_of(self.first.spec, self.second.spec)):
            rows = list(zip_longest(first.get(group, ()), second.get(other, ())))
            for number, (ours, theirs) in enumerate(rows, 1):
                which = f"{ordinal(number)} objective" if len(rows) > 1 else "objective"
                sums = self.ours.objective(ours), self.theirs.objective(theirs)
                yield from self._compared(f"the {which} of {group or other}", *sums)

    def _compared(self, label: str, ours: Terms, theirs: Terms) -> Iterator[Difference]:
        gone, new = list(ours), list(theirs)
        for term in ours:
            match = next((each for each in new if self._same(term, each)), None)
            if match is None:
                continue
            gone.remove(term)
            new.remove(match)
            if (term.weight, term.factors) != (match.weight, match.factors):
                what = "the constant" if term.value is None else f"the weight of {written(term.value)}"
                yield Difference("losses", f"{what} in {label}", _weight(term), _weight(match))
        back = {other: name for name, other in self.matching.losses.items()}
        gone = [term for term in gone if not _told(self.ours, term, self.matching.losses, self.second)]
        new = [term for term in new if not _told(self.theirs, term, back, self.first)]
        whole = len(gone) == len(ours) and len(new) == len(theirs)
        yield from _apart(label, list(map(_text, gone)), list(map(_text, new)), whole=whole)

    def _same(self, term: Term, other: Term) -> bool:
        """Whether two terms are alike but for their weights. That both are the loss itself is not enough."""
        if term.value is None or other.value is None:
            return term.value is other.value and term.factors == other.factors
        if self.ours.name(term) or self.theirs.name(other):
            return self.matching.same(term.value, other.value)
        return self.matching.alike(term.value, other.value)


Terms = tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """The sums of one spec, over the names of its values and of those losses that the other has too."""

    decompiled: Decompiled
    names: Collection[str]
    values: Mapping[str, Expression]

    @classmethod
    def of(cls, graph: Graph, losses: Iterable[str]) -> _Side:
        """The sums of a graph; `losses` are the names that both specs have."""
        common = {graph.losses[name]: name for name in losses if name in graph.losses}
        decompiled = Decompiled(graph, {**graph.value_names, **common})
        values = {name: decompiled.definition(node) for name, node in graph.values.items()}
        return cls(decompiled, set(common.values()), values)

    def loss(self, node: str | None) -> Terms:
        """The terms of what a loss is defined as; none where there is no such loss."""
        return terms(self.decompiled.definition(node), self.values) if node is not None else ()

    def objective(self, node: str | None) -> Terms:
        """The terms of an objective, which may be a loss by its name; none where there is no such objective."""
        return terms(self.decompiled.of(node), self.values) if node is not None else ()

    def name(self, term: Term) -> str:
        """The name of the loss that a term is, if both specs have it."""
        return term.value.id if isinstance(term.value, Name) and term.value.id in self.names else ""


def _text(term: Term) -> str:
    """A term with its weight."""
    if term.value is None:
        return _weight(term)
    if term.factors or term.weight not in (1, -1):
        return f"{_weight(term)} * {written(term.value)}"
    return written(term.value) if term.weight == 1 else f"-{written(term.value)}"


def _told(side: _Side, term: Term, pairs: Mapping[str, str], other: Graph) -> bool:
    """Whether a term is a loss that the other side does not define, which is reported for the loss itself."""
    name = side.name(term)
    return bool(name) and pairs.get(name) not in other.losses


def _apart(label: str, before: list[str], after: list[str], *, whole: bool) -> Iterator[Difference]:
    """What one side alone has: as a change of the whole sum, or term by term."""
    if (before or after) and (whole or len(before) == len(after) == 1):
        yield Difference("losses", label if whole else f"a term of {label}", _sum(before), _sum(after))
        return
    yield from (Difference("losses", f"a term of {label}", text, "") for text in before)
    yield from (Difference("losses", f"a term of {label}", "", text) for text in after)


def _objectives(graph: Graph) -> dict[str, list[str]]:
    """What each group minimises, update by update."""
    found: dict[str, list[str]] = {}
    for update in graph.updates:
        for each in update.objectives:
            found.setdefault(each.group, []).append(each.loss)
    return found


def _weight(term: Term) -> str:
    parts = [constant_text(term.weight)] if term.weight != 1 or not term.factors else []
    return " * ".join([*parts, *map(unparse, term.factors)])


def _sum(parts: list[str]) -> str:
    return " + ".join(parts).replace("+ -", "- ")
