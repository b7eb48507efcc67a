"""Phases: the loops over them written out, and each laid over the document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from gangraph.errors import Problem, nearest, refuse
from gangraph.language.document.overlay import copy, lay_over
from gangraph.language.document.sections import Sections
from gangraph.language.document.tree import Tree, TreeMapping, TreeSequence
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import literal, members
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope
from gangraph.language.expression.syntax import is_loop, parse_loop
from gangraph.language.names import refuse_odd
from gangraph.language.scalar import Scalar

CARRIES = "optimizers"  # what a phase can take over beside parameters
_MOST = 50  # phases
_OF_TRAINING = ("batch", "length", "optimizers", "step")  # what a phase says of `train:`; its other keys are sections


@dataclass(frozen=True, slots=True)
class WrittenPhase:
    """One phase before it is resolved: the document with it laid over, and what its loops bind."""

    tree: TreeMapping
    number: int
    name: Scalar | None
    sets: tuple[str, ...]
    indices: Mapping[str, Expression]
    carry: Scalar | None = None

    def title(self, sections: Sections) -> str:
        """What the phase is called: as it says, or after its number and what it sets. Raises SpecError."""
        if self.name is not None and "[" in self.name:
            return sections.member(self.name, sections.scope)
        if self.name is not None:
            refuse_odd(self.name, "phase")
            return str(self.name)
        params = sections.params()
        shown = {name: str(params[name]) for name in self.sets if name in params}
        indices = {name: ast.unparse(value) for name, value in self.indices.items()}
        shown |= {name: index for name, index in indices.items() if index not in shown.values()}
        about = ", ".join(f"{name}={value}" for name, value in shown.items())
        return f"phase {self.number}" + (f" ({about})" if about else "")

    def carries(self) -> bool:
        """Whether the state of optimizers is taken over. Raises SpecError."""
        if self.carry is not None and self.carry != CARRIES:
            refuse(
                "GG242",
                "a phase cannot take this over",
                self.carry.span,
                found=str(self.carry),
                expected=f"{CARRIES}; parameters are taken over in any case",
            )
        return self.carry is not None


def written_phases(tree: TreeMapping, sections: Sections) -> Iterator[WrittenPhase]:
    """The phases of a document in their order; without `phases:` it is one. Problems are kept in `sections`."""
    train = tree[Scalar("train")]
    assert isinstance(train, TreeMapping)
    written = train.get(Scalar("phases"))
    base = _with_train(tree, _without(train, "phases"))
    entries = [*islice(_entries(written, sections, {}), _MOST + 1)] if isinstance(written, TreeSequence) else []
    if isinstance(written, TreeSequence) and len(entries) > _MOST:
        sections.problems.append(_too_many(written))
        entries = entries[:1]
    if not entries:
        yield WrittenPhase(base, 1, Scalar.of("train", "train"), (), {})
        return
    for number, (entry, indices) in enumerate(entries, 1):
        name, sets = entry.get(Scalar("name")), entry.get(Scalar("set"))
        carry = entry.get(Scalar("carry"))
        if isinstance(sets, TreeMapping):
            sections.problems.extend(_no_params(sets, sections))
        yield WrittenPhase(
            tree=lay_over(base, _overlay(entry), Scalar.of("phase", "phase")),
            number=number,
            name=name if isinstance(name, Scalar) else None,
            sets=tuple(map(str, sets)) if isinstance(sets, TreeMapping) else (),
            indices=indices,
            carry=carry if isinstance(carry, Scalar) else None,
        )


def _too_many(written: TreeSequence) -> Problem:
    return Problem(
        code="GG452",
        message="there are too many phases",
        span=written.span,
        found=f"more than {_MOST}",
        expected=f"at most {_MOST}; a number that changes more often is one over time, such as linear(0, 1)",
    )


def _entries(
    written: Tree, sections: Sections, indices: Mapping[str, Expression]
) -> Iterator[tuple[TreeMapping, Mapping[str, Expression]]]:
    """Every phase under a list, or one entry, with the indices of the loops around it."""
    for entry in written if isinstance(written, TreeSequence) else [written]:
        assert isinstance(entry, TreeMapping)
        if not any(map(is_loop, entry)):
            yield entry, indices
            continue
        for key, body in entry.items():
            bound = sections.guarded(key, _bound, key, sections, indices)
            for each in [{**indices, **_unknown(key)}] if bound is None else bound:
                yield from _entries(body, sections, each)


def _bound(key: Scalar, sections: Sections, indices: Mapping[str, Expression]) -> list[Mapping[str, Expression]]:
    """The indices within a loop, for each of its members. Raises SpecError."""
    variable, domain = parse_loop(key)
    _refuse_taken(variable, key, sections)
    scope = Scope(definitions=dict(indices), outer=sections.scope)
    found = members(scope.reduce(domain), scope.names())
    return [{**indices, variable: literal(index, key.span)} for index in found]


def _unknown(key: Scalar) -> Mapping[str, Expression]:
    """The index of a loop whose range is wrong: what needs it is left out without another message."""
    words = key.split()
    return {words[1]: ast.Broken(key.span)} if len(words) > 1 else {}


def _refuse_taken(variable: str, key: Scalar, sections: Sections) -> None:
    """An index holds for all of its phase, so a name of the document cannot be one."""
    model = sections.model
    named: dict[str, Mapping[Scalar, object]] = {"params": model.params, "let": model.let, **model.named}
    for section, names in named.items():
        if any(name.partition("[")[0] == variable for name in names):
            start = key.find(variable, len("for "))
            refuse(
                "GG243",
                f"the index of these phases has the name of something under {section}:",
                key.part(start, start + len(variable)),
                found=variable,
                expected="a name of its own, since the index stands for a number in all of the phase",
                fix=f"write set: {{{variable}: ...}} under the loop" if section == "params" else "",
            )


def _no_params(sets: TreeMapping, sections: Sections) -> Iterator[Problem]:
    """A phase sets params that there are: one that is misspelt would change nothing."""
    known = [*map(str, sections.model.params)]
    for key in sets:
        if key not in known:
            yield Problem(
                code="GG201",
                message=f"there is no param '{key}' to set",
                span=key.span,
                found=str(key),
                expected="one of " + ", ".join(known) if known else "a name under params:, and there are none",
                fix=nearest(key, known),
            )


def _overlay(entry: TreeMapping) -> TreeMapping:
    """A phase as an overlay of the document: what is no section belongs to `train:`."""
    overlay, schedule = TreeMapping(), TreeMapping()
    overlay.span = schedule.span = entry.span
    for key, value in entry.items():
        if key == "set":
            overlay[Scalar.at("params", key.text, key.offsets)] = value
        elif key not in ("name", "carry"):
            (schedule if key in _OF_TRAINING else overlay)[key] = value
    overlay[Scalar.at("train", entry.span.text, (entry.span.start,) * 6)] = schedule
    return overlay


def _without(mapping: TreeMapping, key: str) -> TreeMapping:
    twin = copy(mapping)
    twin.pop(Scalar(key), None)
    return twin


def _with_train(tree: TreeMapping, train: TreeMapping) -> TreeMapping:
    twin = copy(tree)
    twin[Scalar("train")] = train
    return twin
