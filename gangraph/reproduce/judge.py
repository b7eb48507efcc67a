"""Judge claims by the numbers of a reproduction's runs."""

import math
import statistics
from collections.abc import Mapping, Sequence

from gangraph.language import claims
from gangraph.language.claims import Measure, margin, measures
from gangraph.language.expression.model import unparse
from gangraph.language.spec import Claim
from gangraph.reproduce.outcome import Number, Verdict
from gangraph.reproduce.work import RunResult

Findings = Mapping[str, Sequence[RunResult]]  # variant -> the result of each seed


class MissingError(ValueError):
    """A number that a claim needs was not measured."""


def over_seeds(name: str, found: Sequence[RunResult]) -> Number:
    """One metric of one variant over the seeds."""
    given = [one.numbers.get(name) for one in found]
    reasons = [one.failed or (measured.why if measured else "") for one, measured in zip(found, given, strict=True)]
    return Number(
        values=tuple(measured.value if measured else None for measured in given),
        protocol=next((measured.protocol for measured in given if measured), {}),
        why=next(filter(None, reasons), ""),
    )


def judge(claim: Claim, findings: Findings) -> Verdict:
    """The margins of a claim, seed by seed, and those by untrained networks. A seed that lacks a number is left out."""
    margins, missing = _margins(claim, findings)
    untrained, _ = _margins(claim, {variant: [_before(one) for one in found] for variant, found in findings.items()})
    return Verdict(
        say=claim.say,
        source=claim.source,
        check=unparse(claim.check),
        margins=margins,
        untrained=untrained,
        why=missing,
        note=claim.note,
    )


def _before(one: RunResult) -> RunResult:
    """A run as if it had ended before its first step."""
    return RunResult(numbers=one.untrained, unevaluated="untrained networks have no course", failed=one.failed)


def _margins(claim: Claim, findings: Findings) -> tuple[tuple[float, ...], str]:
    """The margins over the seeds, and why one is missing."""
    seeds = max((len(found) for found in findings.values()), default=0)
    margins, missing = [], ""
    for seed in range(seeds):
        try:
            margins.append(_margin(claim, findings, seed))
        except MissingError as error:
            missing = missing or str(error)
        except (ArithmeticError, ValueError) as error:
            missing = missing or f"the condition has no value: {error}"
    return tuple(margins), "" if len(margins) == seeds else missing


def needed_variants(claim: Claim) -> tuple[str, ...]:
    """The variants that a claim compares."""
    return tuple(dict.fromkeys(measure.variant for measure in measures(claim.check)))


def _margin(claim: Claim, findings: Findings, seed: int) -> float:
    def found(measure: Measure) -> RunResult:
        if measure.variant not in findings:
            raise MissingError(f"variant '{measure.variant}' was not run")
        one = findings[measure.variant][seed]
        if one.failed:
            raise MissingError(f"{measure.variant}, seed {seed}: {one.failed}")
        return one

    def value(measure: Measure) -> float:
        measured = found(measure).numbers.get(measure.metric)
        if measured is None or measured.value is None:
            why = measured.why if measured is not None else "this form of the spec does not measure it"
            raise MissingError(f"{measure}: {why}")
        return measured.value

    def correlation(one: Measure, other: Measure, start: float) -> float:
        return _correlation(one, found(one), other, found(other), start)

    found_margin = margin(claim.check, value, correlation)
    if not math.isfinite(found_margin):
        raise ArithmeticError(f"the margin is {found_margin}")
    return found_margin


def _correlation(one: Measure, of_one: RunResult, other: Measure, of_other: RunResult, start: float) -> float:
    """Pearson's correlation of two metrics over the evaluations of a run, without the first share `start` of them."""
    moments = list(zip(of_one.evaluations, of_other.evaluations, strict=False))
    pairs = [
        (a[one.metric], b[other.metric])
        for a, b in moments[round(start * len(moments)) :]
        if one.metric in a and other.metric in b
    ]
    if of_one.unevaluated:
        raise MissingError(f"{one}: {of_one.unevaluated}")
    if len(pairs) < 3:
        raise MissingError(f"{claims.CORRELATION}: {one} and {other} have fewer than three evaluations")
    if not all(math.isfinite(value) for pair in pairs for value in pair):
        raise MissingError(f"{claims.CORRELATION}: {one} or {other} was not finite in an evaluation")
    return statistics.correlation(*zip(*pairs, strict=True))
