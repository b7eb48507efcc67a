"""Families of which `explain` and LaTeX write the members once, with a letter for their index."""

import re

import pytest

from gangraph.language.expression.model import unparse
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.pipeline import check_spec
from gangraph.plan.planner import plan
from gangraph.views.explain import explain_text
from gangraph.views.families import families, items_once, listed_once, sentences_once
from gangraph.views.latex import equations
from gangraph.views.sums import with_sums
from tests.support import small


def summed(text: str) -> str:
    """A sum as it is written with its families."""
    return unparse(with_sums(parse_expression(Scalar.of(text, "test"))))


def test_texts_that_differ_in_an_index_alone_are_one() -> None:
    assert items_once(["h[0] = x[0] - y[0]", "z", "h[1] = x[1] - y[1]", "h[2] = x[2] - y[2]"]) == [
        "h[k] = x[k] - y[k] for k in 0..2",
        "z",
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ["F[0](x, 1)", "F[1](x, 1)"],  # two are as short one by one
        ["F[0](x, 1)", "F[1](x, 2)", "F[2](x, 4)"],  # something else differs as well
        ["x[1] - x[0]", "x[2] - x[1]", "x[3] - x[2]"],  # two indices move
        ["h[0][1]", "h[1][2]", "h[2][0]"],
        ["F[0](x)", "F[0](x)", "F[0](x)"],
        ["[1]", "[2]", "[3]"],  # lists of numbers
    ],
)
def test_other_texts_stand_as_they_are(texts: list[str]) -> None:
    assert items_once(texts) == texts


def test_every_text_can_be_had_back_from_its_family() -> None:
    texts = ["h[7][0] + k", "h[7][1] + k", "h[0][1] + k", "h[7][2] + k", "h[2][1] + k", "F[1](h[1])"]
    back = dict[int, str]()
    for family in families(texts):
        for place, index in zip(family.places, family.indices or ("",), strict=True):
            back[place] = re.sub(rf"\[{family.letter}\]", f"[{index}]", family.text) if index else family.text
    assert [back[place] for place in range(len(texts))] == texts
    assert max(len(family.places) for family in families(texts)) == 3


def test_a_letter_that_is_a_name_is_not_the_index() -> None:
    assert items_once(["k * x[0]", "k * x[1]", "k * x[2]"]) == ["k * x[j] for j in 0..2"]


def test_a_list_names_a_range_by_its_ends_and_calls_by_their_index() -> None:
    assert listed_once(["G", "F[0]", "F[1]", "F[2]"]) == "G and F[0] to F[2]"
    assert listed_once(["x[a]", "x[b]", "x[c]"]) == "x[k] for k in [a, b, c]"
    assert listed_once(["D(x)", "D(y)", *(f"F[{i}](x[{i}])" for i in (1, 3, 5))]) == (
        "D(x) and D(y), and F[k](x[k]) for k in [1, 3, 5]"
    )


def test_a_sentence_says_for_which_members_it_holds() -> None:
    said = sentences_once(f"D[{i}](x) and D[{i}](y) run as one call." for i in range(4))
    assert list(said) == ["D[k](x) and D[k](y) run as one call, for each k in 0..3."]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("(f(x[0]) + f(x[1]) + f(x[2])) / 3", "sum(f(x[k]) for k in 0..2) / 3"),
        ("a - f(x[1]) - f(x[2]) - f(x[3])", "a - sum(f(x[k]) for k in 1..3)"),
        ("f(x[0]) - f(x[1]) + f(x[2])", "f(x[0]) - f(x[1]) + f(x[2])"),
        ("x.h[1] + x.h[2] + x.h[3] + 1", "sum(x.h[k] for k in 1..3) + 1"),
        ("f(x[0]) * 2 + f(x[1]) * 3 + f(x[2]) * 4", "f(x[0]) * 2 + f(x[1]) * 3 + f(x[2]) * 4"),
    ],
)
def test_a_sum_over_a_family_is_one(written: str, told: str) -> None:
    assert summed(written) == told


def small_family(weights: str) -> tuple[str, list[str]]:
    """A critic of four networks, of which each answer has a weight: what is explained of it, and its equations."""
    spec = small(
        "{update: d, minimize: judge}",
        more_networks="  C[n in 1..4]: mlp(widths=[4])",
        judge=f'"sum({weights} * mean(C[n](fake)) for n in 1..4)"',
        optimizer_d="sgd([C[n] for n in 1..4], lr=0.1)",
    )
    (phase,) = check_spec(spec)
    return " ".join(explain_text(spec, [plan(phase)]).split()), list(equations(phase))


def test_a_loss_over_a_family_is_one_sum_in_sentences_and_in_mathematics() -> None:
    text, lines = small_family("2")
    assert "judge = sum(2 * mean(C[k](fake)) for k in 1..4)" in text
    assert "The gradient reaches C[1] to C[4] through C[k](fake) for k in 1..4." in text
    assert lines[0].startswith(r"\min_{C_{1}, \ldots, C_{4}} \quad \sum_{k = 1}^{4} 2 \, ")


def test_members_with_numbers_of_their_own_are_written_one_by_one() -> None:
    text, lines = small_family("2 ** n")
    assert "judge = 2 * mean(C[1](fake)) + 4 * mean(C[2](fake))" in text
    assert r"\sum" not in lines[0]
