"""Claims: what can be written, what is wrong with one, and how it is judged."""

import math
from collections.abc import Mapping

import pytest

from gangraph.folder.results import Measured
from gangraph.language.claims import Measure, claim_problems, margin, measures
from gangraph.language.expression.model import Expression
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import Claim
from gangraph.reproduce.judge import judge
from gangraph.reproduce.work import RunResult
from tests.support import small


def written(text: str) -> Expression:
    return parse_expression(Scalar.of(text, "claim"))


def found(evaluations: tuple[Mapping[str, float], ...] = (), failed: str = "", **numbers: float | None) -> RunResult:
    measured = {name: Measured(value, "" if value is not None else "no weights", {}) for name, value in numbers.items()}
    return RunResult(numbers=measured, evaluations=evaluations, failed=failed)


NUMBERS = {Measure("a", "full"): 3.0, Measure("a", "x"): 1.0, Measure("b", "x,y"): -2.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > a[x]", 2.0),
        ("a[full] < a[x]", -2.0),
        ('abs(b["x, y"]) > 1', 1.0),
        ("2 * a - 1 > a[x] / 2 and a > 2.5", 0.5),
        ("a > 100 or a > 1", 2.0),
        ("not a > 1", -2.0),
        ("-a < max(a[x], 2) + min(1, 2) ** 2", 6.0),
        ("sqrt(a[x]) + exp(0) + log(1) > 1", 1.0),
        ("correlation(a[x], b[full]) > 0.5", 0.25),
        ("correlation(a[x], b[full], start=0.25) > 0.5", 0.5),
    ],
)
def test_the_margin_says_how_far_a_claim_is_from_failing(text: str, expected: float) -> None:
    check = written(text)
    assert list(claim_problems(check, ["a", "b"], ["x", "y"])) == []
    assert margin(check, NUMBERS.__getitem__, lambda _a, _b, start: 0.75 + start) == pytest.approx(expected)


def test_a_claim_names_metrics_of_variants() -> None:
    assert measures(written('a > min(a[x], b["x, y"]) + a')) == tuple(NUMBERS)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("a", "a claim compares numbers", ""),
        ("a + 1", "a claim compares numbers", ""),
        ("1 < a < 3", "a comparison is no number", ""),
        ("a == 3", "a claim compares numbers", ""),
        ("fraction(a) > 1", "a claim has no such function", ""),
        ("mim(a, 2) > 1", "a claim has no such function", "did you mean 'min'?"),
        ("correlation(a, 2) > 1", "correlation takes two metrics", ""),
        ("correlation(a, b, start=1) > 1", "correlation takes two metrics", ""),
        ("correlation(a, b, end=0.5) > 1", "correlation takes two metrics", ""),
        ("abs() > 1", "'abs' takes one number", ""),
        ("exp(a, b) > 1", "'exp' takes one number", ""),
        ("max(a) > 1", "'max' takes several numbers", ""),
        ("a >= 1", "a claim compares numbers", ""),
        ('a["full,x"] > 1', "the spec has no variant 'full'", ""),
        ("a > true", "a claim compares numbers", ""),
        ("a > 'text'", "a claim compares numbers", ""),
        ("alpha > 1", "the spec has no metric 'alpha'", ""),
        ("a[xx] > 1", "the spec has no variant 'xx'", "did you mean 'x'?"),
        ('a["x,z"] > 1', "the spec has no variant 'z'", ""),
    ],
)
def test_a_wrong_claim_is_told_where_and_why(text: str, message: str, fix: str) -> None:
    (problem,) = claim_problems(written(text), ["a", "b"], ["x", "y"])
    assert (problem.message, problem.fix) == (message, fix)


def test_a_claim_is_judged_seed_by_seed() -> None:
    claim = Claim(say="less", source="Table 1", check=written("a[full] < a[x]"), note="why")
    verdict = judge(claim, {"full": [found(a=1.0), found(a=2.0), found(a=5.0)], "x": [found(a=3.0)] * 3})
    assert verdict.margins == (2.0, 1.0, -2.0)
    assert verdict.held
    assert verdict.agreeing == 2
    assert verdict.margin == pytest.approx(1 / 3)
    assert (verdict.why, verdict.note) == ("", "why")


@pytest.mark.parametrize(
    ("findings", "why"),
    [
        ({"full": [found(a=1.0)]}, "variant 'x' was not run"),
        ({"full": [found(a=1.0)], "x": [found(failed="loss is NaN")]}, "x, seed 0: loss is NaN"),
        ({"full": [found(a=1.0)], "x": [found(a=None)]}, r"a[x]: no weights"),
        ({"full": [found(a=1.0)], "x": [found()]}, "a[x]: this form of the spec does not measure it"),
    ],
)
def test_a_claim_without_its_numbers_is_not_judged(findings: Mapping[str, list[RunResult]], why: str) -> None:
    verdict = judge(Claim(say="", source="", check=written("a < a[x]")), findings)
    assert not verdict.judged
    assert not verdict.held
    assert verdict.why == why


@pytest.mark.parametrize("check", ["a ** 0.5 > 1", "sqrt(a) > 1", "a / 0 > 1", "exp(-1000 * a) > 1"])
def test_a_claim_without_a_value_is_not_judged(check: str) -> None:
    verdict = judge(Claim(say="", source="", check=written(check)), {"full": [found(a=-4.0)]})
    assert not verdict.judged
    assert "no value" in verdict.why


def test_a_number_that_is_not_finite_holds_no_claim() -> None:
    evaluations = tuple({"a": float(step), "b": math.nan} for step in range(4))
    claim = Claim(say="", source="", check=written("a > 1 and correlation(a, b) > 0.5"))
    verdict = judge(claim, {"full": [found(evaluations, a=9.0)]})
    assert not verdict.judged
    assert "not finite" in verdict.why


def test_a_correlation_is_over_the_evaluations_that_have_both() -> None:
    evaluations = ({"a": 1.0, "b": 2.0}, {"a": 9.0}, {"a": 2.0, "b": 4.0}, {"a": 3.0, "b": 5.0})
    claim = Claim(say="", source="", check=written("correlation(a, b) > 0"))
    expected = 3 / math.sqrt(2 * 14 / 3)
    assert judge(claim, {"full": [found(evaluations)]}).margin == pytest.approx(expected)
    assert "fewer than three evaluations" in judge(claim, {"full": [found(evaluations[:3])]}).why
    late = Claim(say="", source="", check=written("correlation(a, b, start=0.5) > 0"))
    climb = ({"a": 9.0, "b": -9.0}, *({"a": float(step), "b": float(step)} for step in range(3)))
    assert "fewer than three evaluations" in judge(late, {"full": [found(climb)]}).why
    assert judge(late, {"full": [found((climb[0], *climb))]}).margin == pytest.approx(1.0)
    constant = tuple({"a": 1.0, "b": float(step)} for step in range(5))
    assert "no value" in judge(claim, {"full": [found(constant)]}).why


@pytest.mark.parametrize(
    ("section", "codes"),
    [
        ("claims: [{say: it, check: nothing > 1}]", ["GG231"]),
        ("claims: [{say: it, check: nothing}, {say: it, check: 1 < 2 < 3}]", ["GG230", "GG230", "GG231"]),
        ("reported: [{say: it, metric: nothing, values: {full: 1, other: a}}]", ["GG231", "GG231", "GG305"]),
        ("reported: [{say: it, metric: nothing, values: {full: '\"1\"'}}]", ["GG231", "GG203"]),
        ("variants: {full: {train: {batch: 8}}}", ["GG231"]),
    ],
)
def test_what_a_paper_says_is_checked_with_the_spec(section: str, codes: list[str]) -> None:
    assert sorted(problem.code for problem in small(evaluate=section).problems) == sorted(codes)
