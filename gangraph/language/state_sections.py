"""The sections of a spec for what a step leaves to the next, as `state:`: one record each, here or in a plug-in.

Each entry of such a section is a state: a tensor that begins as something and becomes something else at the end of a
step. A record says which keys an entry has, and writes from them what it begins as and what it becomes. All else
follows from these two: names, overlays, checks, plan, code, what a run saves, restores and hands over, and every view.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gangraph.errors import SpecError
from gangraph.language.expression.model import Call, Expression, Name, walk
from gangraph.language.expression.schedule import TIME
from gangraph.language.expression.substitute import substitute
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar

KEYS = frozenset((  # of specs and their phases, which are no sections of states
    "gangraph", "base", "name", "about", "paper", "default_profile", "params", "let", "data", "networks", "variables",
    "start", "values", "losses", "states", "train", "evaluate", "profiles", "variants", "claims", "reported",
    "set", "batch", "length", "optimizers", "step", "carry",
))  # fmt: skip
TIMES = {  # what every entry may have besides
    "every": "only when step is a multiple of this",
    "when": "only when this condition on time holds",
}
ITSELF = "self"  # in the texts of a record, the state as it is


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateSection:
    """A section of states.

    `start` and `next` are expressions in which a key stands for what is written under it, and `self` for the state as
    the step has it. What a state begins as is a number, `zeros(3, 8)` or `ones(3, 8)`, known before the run.
    """

    name: str
    called: str  # what messages call one of its entries
    about: str  # for editors, in a few words
    keys: Mapping[str, str]  # what an entry has to have, each with a few words for editors
    start: str
    next: str
    module: str  # where it is registered

    @property
    def package(self) -> str:
        """The first part of the name of that module."""
        return self.module.partition(".")[0]

    def written(self, text: str, given: Mapping[str, Expression], name: str, at: Scalar) -> Expression:
        """`start` or `next` of an entry, from what its keys hold; what the record adds stands `at` its name."""
        written = parse_expression(Scalar.at(text, at.text, (at.span.start,) * (len(text) + 1)))
        filled: Expression = substitute({**given, ITSELF: Name(name, at.span)}, written)
        return filled


STATE_SECTIONS: dict[str, StateSection] = {}


def state_section(
    name: str, *, called: str, about: str, keys: Mapping[str, str], start: str, next: str, module: str
) -> None:
    """Register a section of states; `module` is the one that does so, its `__name__`.

    Raises:
        ValueError: the name is taken or is no name, a key has a meaning already or is not used, or `start` or `next`
            is no expression over the keys.
    """
    said = f"the section '{name}'"
    if name in STATE_SECTIONS or name in KEYS:
        raise ValueError(f"{said} is already there")
    for word in (name, *keys):
        if not word.isidentifier() or (word in keys and word in (*TIMES, *TIME, ITSELF)):
            raise ValueError(f"{said} cannot have the name or key '{word}'")
    used = _names(said, "start", start) | _names(said, "next", next)
    if ITSELF in _names(said, "start", start):
        raise ValueError(f"'start' of {said} is {start!r}, in which there is no '{ITSELF}' yet")
    if odd := used - {*keys, *TIME, ITSELF}:
        raise ValueError(f"{said} uses '{min(odd)}', which is none of its keys: {', '.join(keys)}")
    if idle := keys.keys() - used:
        raise ValueError(f"{said} uses its key '{min(idle)}' nowhere")
    STATE_SECTIONS[name] = StateSection(
        name=name, called=called, about=about, keys=dict(keys), start=start, next=next, module=module
    )


def _names(said: str, key: str, text: str) -> set[str]:
    """The names in a text of a record, without those of what it calls. Raises ValueError."""
    try:
        written = parse_expression(Scalar.of(text, key))
    except SpecError as error:
        raise ValueError(f"'{key}' of {said} is {text!r}: {error.problems[0].message}") from None
    called = {id(node.function) for node in walk(written) if isinstance(node, Call)}
    return {node.id for node in walk(written) if isinstance(node, Name) and id(node) not in called}


state_section(
    "state",
    called="state",
    about="numbers and tensors that a step leaves to the next",
    keys={
        "start": "a number, zeros(3, 8) or ones(3, 8); static",
        "next": "what it becomes, over the values at the end of the step; no gradient passes",
    },
    start="start",
    next="next",
    module=__name__,
)
