"""What an objective asks for and what its losses are, in words."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gangraph.graph.model import Graph
from gangraph.language.expression.model import Expression, Name
from gangraph.views.decompile import Decompiled, over_values_and_losses
from gangraph.views.families import families, listed_once
from gangraph.views.printers.registered import definition_of
from gangraph.views.printers.words import in_words, over_time, written
from gangraph.views.sums import with_sums
from gangraph.views.terms import Term, terms


@dataclass(frozen=True)
class Objectives:
    """The objectives and losses of a graph in words, over the names of its values and losses."""

    graph: Graph

    @cached_property
    def decompiled(self) -> Decompiled:
        """The graph as expressions."""
        return over_values_and_losses(self.graph)

    @cached_property
    def values(self) -> Mapping[str, Expression]:
        """What the names of values stand for, which sums are split into."""
        return {name: self.decompiled.definition(node) for name, node in self.graph.values.items()}

    def aim(self, objective: str) -> str:
        """The goal of an objective that is minimised: `make judge smaller, and 2 times bound larger`.

        A constant is left out, since nothing moves it.
        """
        moving = [term for term in terms(self.decompiled.of(objective), self.values) if term.value is not None]
        sides = ([self._term(term) for term in moving if (term.weight < 0) == larger] for larger in (False, True))
        wanted = (f"{_summed(side)} {how}" for side, how in zip(sides, ("smaller", "larger"), strict=True) if side)
        return f"make {', and '.join(wanted)}"

    def losses(self, objective: str, told: Collection[str] = ()) -> Iterator[tuple[str, str]]:
        """The named losses that an objective reads, in the spec's order, but for those told: each, and what it is."""
        beneath = self.graph.below(objective)
        read = {name: node for node, name in self.graph.loss_names.items() if node in beneath and name not in told}
        for name in (name for name in self.graph.spec.losses if name in read):
            yield name, f"{name} = {self._loss(self.decompiled.definition(read[name]))}"

    def _loss(self, definition: Expression) -> str:
        """The formula of a loss, and in words what it does not say itself."""
        found = terms(definition, self.values)
        formula = written(with_sums(definition))
        says_more = any(term.factors or self._is_loss(term) for term in found)
        return f"{formula}: {self._in_words(found)}" if says_more else formula

    def _in_words(self, found: Iterable[Term]) -> str:
        """A sum in words, term by term; those that differ in an index alone as one sum."""
        signed = [f"{'minus' if term.weight < 0 else 'plus'} {self._term(term)}" for term in found]
        said = []
        for family in families(signed):
            sign, _, term = family.text.partition(" ")
            said.append(f"{sign} the sum over {family.over} of {term}" if family.letter else family.text)
        return ", ".join(said).removeprefix("plus ")

    def _is_loss(self, term: Term) -> bool:
        """Whether a term is a call of a registered loss, whose words say more than the call."""
        definition = definition_of(term.value, self.graph.networks) if term.value is not None else None
        return definition is not None and definition.kind == "loss"

    def _term(self, term: Term) -> str:
        """A term in words, without its sign."""
        weight = [f"{abs(term.weight):g}"] if abs(term.weight) != 1 or term.value is None else []
        factors = [f"({over_time(factor)})" for factor in term.factors]
        value = [] if term.value is None else [self._value(term.value)]
        return " times ".join([*weight, *factors, *value])

    def _value(self, value: Expression) -> str:
        return value.id if isinstance(value, Name) else in_words(value, self.graph.networks)


def _summed(parts: list[str]) -> str:
    return f"the sum of {listed_once(parts)}" if len(parts) > 1 else parts[0]
