"""Two specs compared phase by phase, and what differs as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gangraph.check.phase import Checked
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.views.diff.data import data_differences, value_differences
from gangraph.views.diff.difference import Difference
from gangraph.views.diff.evaluation import evaluation_differences
from gangraph.views.diff.losses import loss_differences
from gangraph.views.diff.matching import Matching
from gangraph.views.diff.networks import network_differences
from gangraph.views.diff.states import state_differences
from gangraph.views.diff.training import optimizer_differences, schedule_differences
from gangraph.views.passages import filled_lines
from gangraph.views.printers.words import written
from gangraph.views.spec import WIDTH, titles, weights_text

SAME = "no difference in the mathematics"


@dataclass(frozen=True, slots=True)
class SpecComparison:
    """What differs between two specs, and the names that differ although what they stand for does not."""

    differences: tuple[Difference, ...]
    renamed: tuple[tuple[str, str], ...]


def differences(
    first: Spec, second: Spec, checked: tuple[Sequence[Checked], Sequence[Checked]] | None = None
) -> tuple[Difference, ...]:
    """What differs, section by section. `checked` are the phases of both, where they are at hand.

    Raises:
        SpecError: one of the specs is not valid.
    """
    return compare_specs(first, second, checked).differences


def compare_specs(
    first: Spec, second: Spec, checked: tuple[Sequence[Checked], Sequence[Checked]] | None = None
) -> SpecComparison:
    """Compare two specs phase by phase.

    Raises:
        SpecError: one of the specs is not valid.
    """
    ours, theirs = checked or (check_spec(first), check_spec(second))
    found = list(_phases(first, second))
    renamed: list[tuple[str, str]] = []
    for a, b in zip(map(_as_written, ours), map(_as_written, theirs), strict=False):
        matching = Matching(a, b)
        where = f"{a.graph.spec.called}, " if len(ours) > 1 else ""
        found += [replace(each, what=where + each.what) for each in _phase(matching)]
        renamed += matching.renamed
    return SpecComparison(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(renamed)))


def _as_written(checked: Checked) -> Checked:
    """A phase with the values that the spec writes alone; what its objectives look ahead is part of its updates."""
    return replace(checked, graph=checked.graph.as_written)


def _phases(first: Spec, second: Spec) -> Iterator[Difference]:
    names = [", ".join(phase.name for phase in spec.phases) for spec in (first, second)]
    if len(first.phases) != len(second.phases):
        yield Difference("length", "the list of phases", *(name or "one without a name" for name in names))
    starts = [{name: weights_text(each) for name, each in spec.start.items()} for spec in (first, second)]
    for name in (
        name for name in dict.fromkeys((*starts[0], *starts[1])) if starts[0].get(name) != starts[1].get(name)
    ):
        what = f"what {name or 'every network'} begins with"
        yield Difference("networks", what, *(each.get(name, "initialized") for each in starts))


def diff_text(
    first: Spec, second: Spec, comparison: SpecComparison, names: tuple[str, str] = ("", ""), *, width: int = WIDTH
) -> str:
    """The differences under the names of their sections, in lines of at most `width` letters where words allow.

    `names` are what a person called the specs.
    """
    forms = (titles(spec)[0].partition(", phase")[0] for spec in (first, second))
    called = [f"{name}: {form}" if name else form for name, form in zip(names, forms, strict=True)]
    lines = [*filled_lines(called[0], "from ", " " * 7, width), *filled_lines(called[1], "to   ", " " * 7, width)]
    for section in dict.fromkeys(each.section for each in comparison.differences):
        lines += ["", section]
        for each in (each for each in comparison.differences if each.section == section):
            lines += filled_lines(str(each), "  ", " " * 6, width)
    if not comparison.differences:
        lines += ["", SAME]
    if comparison.renamed:
        renamed = ", ".join(f"{a} is called {b}" for a, b in comparison.renamed)
        lines += ["", "names only", *filled_lines(renamed, "  ", " " * 6, width)]
    return "\n".join(lines)


def _phase(matching: Matching) -> Iterator[Difference]:
    """The differences of two phases, in the order of a spec's sections."""
    a, b = matching.first.graph.spec, matching.second.graph.spec
    yield from data_differences(matching, a, b)
    yield from network_differences(matching, a, b)
    yield from value_differences(matching, a, b)
    yield from loss_differences(matching)
    yield from state_differences(matching, a, b)
    yield from optimizer_differences(matching, a, b)
    yield from schedule_differences(matching)
    if a.batch != b.batch:
        yield Difference("batch", "the batch", str(a.batch), str(b.batch))
    if a.length != b.length:
        yield Difference("length", "the length", *(written(p.length) if p.length else "no end" for p in (a, b)))
    yield from evaluation_differences(a, b)
