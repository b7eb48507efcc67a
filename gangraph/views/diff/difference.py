"""One difference between two specs, and which names and groups of two phases belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gangraph.graph.model import Graph
from gangraph.language.spec import PhaseSpec
from gangraph.language.update_spec import OptimizerSpec

Section = Literal[
    "data", "networks", "values", "losses", "state", "optimizers", "schedule", "batch", "length", "evaluation"
]  # fmt: skip

_SEVERAL = re.compile(r"(?!eps )\w*[^su]s of ")  # options such as betas


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `before` is empty for what is new, `after` for what is gone."""

    section: Section
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"{self.what} is new: {self.after}"
        if not self.after:
            return f"{self.what} is gone; it was {self.before}"
        was, now = ("were", "are") if _SEVERAL.match(self.what) else ("was", "is")
        return f"{self.what} {was} {self.before}, and {now} now {self.after}"


def sides(first: Iterable[str], second: Iterable[str], pairs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs of names, then what only one side has with an empty name beside it."""
    yield from ((name, pairs.get(name, "")) for name in first)
    yield from (("", name) for name in second if name not in pairs.values())


def trained(graph: Graph) -> set[str]:
    """The nodes that some objective depends on."""
    return graph.below(*(each.loss for update in graph.updates for each in update.objectives))


def groups_of(first: PhaseSpec, second: PhaseSpec) -> dict[str, str]:
    """Optimizer groups by name; those left, where they train the same networks."""
    pairs = {name: name for name in first.optimizers if name in second.optimizers}
    for name, group in first.optimizers.items():
        alike = (n for n, g in second.optimizers.items() if n not in pairs.values() and _members(g) == _members(group))
        if name not in pairs and (match := next(alike, None)):
            pairs[name] = match
    return pairs


def _members(group: OptimizerSpec) -> tuple[str, ...]:
    return tuple(sorted(group.trained))
