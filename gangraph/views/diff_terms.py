"""The terms of losses and objectives of two specs, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from gangraph.graph.model import Graph, Ref
from gangraph.language.expression.model import show
from gangraph.views.difference import Difference, groups_of, sides, trained
from gangraph.views.formulas import constant_text
from gangraph.views.matching import CONSTANT, Matching, Term, terms
from gangraph.views.wording import as_written, ordinal


def loss_differences(matching: Matching) -> Iterator[Difference]:
    """Terms that came or went, and weights that changed; of each loss by name, then of each objective."""
    yield from _Losses(matching).all()


class _Losses:
    """The terms of every loss and of every objective, side by side."""

    def __init__(self, matching: Matching) -> None:
        self.matching = matching
        self.first, self.second = matching.first.graph, matching.second.graph
        self.ours = {self.first.losses[name]: name for name in matching.losses if name in self.first.losses}
        self.theirs = {self.second.losses[n]: n for n in matching.losses.values() if n in self.second.losses}

    def all(self) -> Iterator[Difference]:
        """Losses that an objective depends on, by name, and then objectives."""
        read = trained(self.first), trained(self.second)
        for name, other in self.matching.losses.items():
            ours, theirs = self.first.losses.get(name), self.second.losses.get(other)
            if ours in read[0] or theirs in read[1]:
                yield from self._compared(name, _Sum.of(self.first, ours, self.ours, within=ours),
                                          _Sum.of(self.second, theirs, self.theirs, within=theirs))  # fmt: skip
        first, second = _objectives(self.first), _objectives(self.second)
        for group, other in sides(first, second, groups_of(self.first.spec, self.second.spec)):
            rows = list(zip_longest(first.get(group, ()), second.get(other, ())))
            for number, (ours, theirs) in enumerate(rows, 1):
                which = f"{ordinal(number)} objective" if len(rows) > 1 else "objective"
                yield from self._compared(f"the {which} of {group or other}", _Sum.of(self.first, ours, self.ours),
                                          _Sum.of(self.second, theirs, self.theirs))  # fmt: skip

    def _compared(self, label: str, ours: _Sum, theirs: _Sum) -> Iterator[Difference]:
        gone, new = list(ours.terms), list(theirs.terms)
        for term in ours.terms:
            match = next((each for each in new if self._same(ours, term, theirs, each)), None)
            if match is None:
                continue
            gone.remove(term)
            new.remove(match)
            if (term.weight, term.factors) != (match.weight, match.factors):
                what = "the constant" if term.node == CONSTANT else f"the weight of {ours.inside(term)}"
                yield Difference("losses", f"{what} in {label}", _weight(term), _weight(match))
        gone = [term for term in gone if not _told(ours, term, self.matching.losses, self.second)]
        back = {other: name for name, other in self.matching.losses.items()}
        new = [term for term in new if not _told(theirs, term, back, self.first)]
        yield from _apart(label, ours, gone, theirs, new)

    def _same(self, ours: _Sum, term: Term, theirs: _Sum, other: Term) -> bool:
        """Whether two terms are alike but for their weights. That both are the loss itself is not enough."""
        if CONSTANT in (term.node, other.node):
            return (term.node, term.factors) == (other.node, other.factors)
        if term.node in ours.names or other.node in theirs.names:
            return self.matching.same(Ref(term.node), Ref(other.node))
        return self.matching.same_definition(term.node, other.node)


@dataclass(frozen=True, slots=True)
class _Sum:
    """The terms of a loss or an objective. `names` are the losses among them that both specs have."""

    graph: Graph
    terms: tuple[Term, ...]
    names: Mapping[str, str]

    @classmethod
    def of(cls, graph: Graph, root: str | None, known: Mapping[str, str], within: str | None = None) -> _Sum:
        """The sum at a node; the definition of the loss `within` is looked into."""
        names = {node: name for node, name in known.items() if node != within}
        return cls(graph, () if root is None else terms(graph, root, names), names)

    def inside(self, term: Term) -> str:
        """A term without its weight: by name where both specs have one, else as it is computed."""
        values = {node: name for name, node in reversed(list(self.graph.values.items()))}
        return self.names.get(term.node) or as_written(self.graph, term.node, {**values, **self.names})

    def text(self, term: Term) -> str:
        """A term with its weight."""
        if term.node == CONSTANT:
            return _weight(term)
        if term.factors or term.weight not in (1, -1):
            return f"{_weight(term)} * {self.inside(term)}"
        return self.inside(term) if term.weight == 1 else f"-{self.inside(term)}"


def _told(side: _Sum, term: Term, pairs: Mapping[str, str], other: Graph) -> bool:
    """Whether a term is a loss that the other side defines as nothing, which is said of the loss itself."""
    name = side.names.get(term.node)
    return name is not None and pairs.get(name) not in other.losses


def _apart(label: str, ours: _Sum, gone: list[Term], theirs: _Sum, new: list[Term]) -> Iterator[Difference]:
    """What only one side has: as a change of the whole sum, or term by term."""
    before, after = [ours.text(term) for term in gone], [theirs.text(term) for term in new]
    whole = len(gone) == len(ours.terms) and len(new) == len(theirs.terms)
    if (gone or new) and (whole or len(gone) == len(new) == 1):
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
    return " * ".join([*parts, *map(show, term.factors)])


def _sum(parts: list[str]) -> str:
    return " + ".join(parts).replace("+ -", "- ")
