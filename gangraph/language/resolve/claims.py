"""The `claims:` and `reported:` of a spec: what its paper says, checked against the names that the spec has."""

from collections.abc import Iterator

from gangraph.errors import Problem, SpecError, nearest, refuse
from gangraph.language.claims import FULL, claim_problems, measures_at, unknown
from gangraph.language.document import schema
from gangraph.language.document.overlay import overlays
from gangraph.language.document.parse import Choice, ParsedDocument, chosen_tree
from gangraph.language.document.sections import Sections
from gangraph.language.document.tree import Tree, TreeMapping
from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.scalar import Scalar
from gangraph.language.spec import Claim, Reported


def resolve_claims(document: ParsedDocument, sections: Sections) -> tuple[Claim, ...]:
    """The claims; what is wrong in them is added to the sections' problems."""
    metrics, variants = measured_names(document), tuple(document.overlays("variants"))
    written = sections.model.claims
    sections.problems.extend(_taken(document))
    for claim in written:
        wrong = list(claim_problems(claim.check, metrics, variants))
        sections.problems.extend(wrong or _unmeasured(document, claim.check))
    return tuple(
        Claim(say=str(claim.say), source=str(claim.source or ""), check=claim.check, note=str(claim.note or ""))
        for claim in written
    )


def resolve_reported(document: ParsedDocument, sections: Sections) -> tuple[Reported, ...]:
    """The numbers that the paper reports; what is wrong in them is added to the sections' problems."""
    metrics, variants = measured_names(document), (FULL, *document.overlays("variants"))
    tables = []
    for table in sections.model.reported:
        sections.problems.extend(_unknown(table, metrics, variants))
        numbers = {
            key.replace(" ", ""): sections.guarded(key, _number, sections, value) for key, value in table.values.items()
        }
        known = {variant: number for variant, number in numbers.items() if number is not None}
        tables.append(
            Reported(say=str(table.say), source=str(table.source or ""), metric=str(table.metric), values=known)
        )
    return tuple(tables)


def _taken(document: ParsedDocument) -> Iterator[Problem]:
    for key, _ in document.overlays("variants").values():
        if key == FULL:
            message = f"'{FULL}' is what claims call the spec without a variant"
            yield Problem(code="GG231", message=message, span=key.span, found=FULL, expected="another name")


def measured_names(document: ParsedDocument) -> tuple[str, ...]:
    """The metrics and results that the document names in any of its profiles and variants."""
    profiles = [tree for _, tree in document.overlays("profiles").values()]
    refined = [tree for profile in profiles for _, tree in overlays(profile, "variants").values()]
    variants = [tree for _, tree in document.overlays("variants").values()]
    trees = (document.tree, *profiles, *variants, *refined)
    return tuple(dict.fromkeys(name for tree in trees for name in _measured(tree)))


def _unmeasured(document: ParsedDocument, check: Expression) -> Iterator[Problem]:
    """The metrics of a claim that their variant has in no profile, so that no reproduction could judge it."""
    for measure, span in measures_at(check):
        known = _measured_by(document, measure.variant)
        if known is not None and measure.metric not in known:
            whose = "the spec without a variant" if measure.variant == FULL else f"variant '{measure.variant}'"
            yield Problem(
                code="GG231",
                message=f"{whose} does not measure '{measure.metric}' in any profile",
                span=span,
                found=str(measure),
                expected="one of " + ", ".join(known) if known else "none: it measures nothing",
                fix=nearest(measure.metric, known),
            )


def _measured_by(document: ParsedDocument, variant: str) -> tuple[str, ...] | None:
    """What a variant measures in any profile; None where the overlays are broken, which is told by itself."""
    names: dict[str, None] = {}
    for profile in ("paper", *document.overlays("profiles")):
        try:
            tree, _ = chosen_tree(document, Choice(profile=profile, variant=None if variant == FULL else variant))
        except SpecError:
            return None
        names |= dict.fromkeys(_measured(tree))
    return tuple(names)


def _measured(tree: Tree) -> Iterator[str]:
    """The metrics and results that a tree states; one that is `none` is taken away."""
    evaluate = tree.get(Scalar("evaluate")) if isinstance(tree, TreeMapping) else None
    for section in ("metrics", "results"):
        inside = evaluate.get(Scalar(section)) if isinstance(evaluate, TreeMapping) else None
        yield from (
            (str(name) for name, body in inside.items() if body != "none") if isinstance(inside, TreeMapping) else ()
        )


def _unknown(table: schema.ReportedDocument, metrics: tuple[str, ...], variants: tuple[str, ...]) -> Iterator[Problem]:
    yield from unknown("metric", table.metric, table.metric.span, metrics)
    for variant in table.values:
        for name in variant.split(","):
            yield from unknown("variant", name.strip(), variant.span, variants)


def _number(sections: Sections, written: Expression) -> float:
    value = constant(sections.scope.reduce(written))
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("GG203", "a paper reports numbers", written.span, found=unparse(written), expected="a number")
    return float(value)
