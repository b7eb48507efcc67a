"""From graphs back to expressions: what is printed can be read again, and no view asks for the kinds of nodes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from readings import SYSTEMS, checked, shipped_form

from gangraph.graph.arguments import Ref
from gangraph.graph.kind import Form, NodeKind, kinds
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.expression.static import Scope
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.plan.planner import plan
from gangraph.views.decompile import Decompiled, over_values, over_values_and_losses
from gangraph.views.diff import differences
from gangraph.views.drawing import step_picture
from gangraph.views.explain import explain_text
from gangraph.views.latex import equations
from gangraph.views.plan import phrase
from gangraph.views.printers.text import formula
from gangraph.views.printers.words import written
from gangraph.views.terms import Term, terms
from tests.support import small

E = r"\mathbb{E}_{x, z}"  # the mean over both sources
VIEWS = Path(__file__).parents[2] / "gangraph" / "views"


def read(text: str) -> Expression:
    """An expression as a spec reads it: families and signs of numbers worked out."""
    return Scope().reduce(parse_expression(Scalar.of(text, "test")))


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_decompiled_is_read_back_as_the_same(name: str) -> None:
    _, phases = shipped_form(name)
    for graph in (phase.graph for phase in phases):
        for decompiled in (over_values_and_losses(graph), over_values(graph), Decompiled(graph, {})):
            nodes = (*graph.values.values(), *graph.losses.values())
            found = [decompiled.definition(node) for node in nodes]
            assert found
            assert [read(unparse(each)) for each in found] == found


def test_a_value_stands_by_its_name_and_else_for_what_it_is() -> None:
    graph = checked(fool="logistic.generator(D(G(z)))").graph
    node = graph.losses["fool"]
    assert unparse(over_values(graph).definition(node)) == "logistic.generator(D(fake))"
    assert unparse(Decompiled(graph, {}).definition(node)) == "logistic.generator(D(G(z)))"
    assert unparse(over_values_and_losses(graph).of(node)) == "fool"


def test_terms_have_their_numbers_and_moving_factors_before_them() -> None:
    found = terms(read("2 * (a - 3 * (b - c)) + linear(1, 0) * d / 4 - 1 - 2"), {"c": read("e + 5")})
    values = {"a": (2, ()), "b": (-6, ()), "e": (6, ()), "d": (0.25, (read("linear(1, 0)"),))}
    assert {unparse(term.value): (term.weight, term.factors) for term in found if term.value is not None} == values
    assert [term for term in found if term.value is None] == [Term(None, 27)]


@pytest.fixture
def blend() -> Iterator[None]:
    """A kind of node that no view has ever heard of: the mean of two values."""
    kinds.add(
        NodeKind(
            name="views_blend",
            arguments=(Ref, Ref),
            like=0,
            infer=lambda inference, node: inference.types[node.inputs[0]],
            write=lambda writer, node: writer.function(node, lambda a, b: (a + b) / 2),
            form=Form("views_blend(a, b)"),
        )
    )
    try:
        yield
    finally:
        kinds._records.pop("views_blend")


def blended(second: str) -> Spec:
    """A spec with a value of that kind."""
    return small(
        more_values=f"  mix: views_blend(fake, {second})", fool=f"mean(D(mix)) + mean(views_blend({second}, mix))"
    )


@pytest.mark.usefixtures("blend")
def test_a_kind_that_no_view_has_heard_of_is_printed_by_all() -> None:
    (phase,) = check_spec(blended("x"))
    graph = phase.graph
    mix = over_values(graph).definition(graph.values["mix"])
    assert written(mix) == formula(mix) == phrase(graph, graph.values["mix"], named=False) == "views_blend(fake, x)"
    lines = equations(phase)
    assert r"\mathrm{mix} = \mathrm{views\ blend}(\mathrm{fake}, x)" in lines
    assert rf"{E}\left[\mathrm{{views\ blend}}(x, \mathrm{{mix}})\right]" in " ".join(lines)
    figures = step_picture(graph, {}).figures
    assert (figures["mix"].kind, figures["mix"].head, figures["mix"].name) == ("op", "views_blend", "mix")
    assert "mean(views_blend(x, mix))" in " ".join(figures["fool"].lines)


@pytest.mark.usefixtures("blend")
def test_a_kind_that_no_view_has_heard_of_is_told_and_compared() -> None:
    first, second = blended("x"), blended("fake")
    told = " ".join(explain_text(first, [plan(phase) for phase in check_spec(first)]).split())
    assert "- fool = mean(D(mix)) + mean(views_blend(x, mix))" in told
    assert [str(each) for each in differences(first, second)] == [
        "mix was views_blend(fake, x), and is now views_blend(fake, fake)",
        "a term of fool was mean(views_blend(x, mix)), and is now mean(views_blend(fake, mix))",
    ]
    assert differences(first, first) == ()


def test_no_view_asks_for_the_kind_of_a_node() -> None:
    asks = re.compile(r"\bnode\.kind\b|\.nodes\[\w+\]\.kind\b|\bn\.kind\b")
    found = {path.name: asks.findall(path.read_text()) for path in VIEWS.rglob("*.py")}
    assert {name: lines for name, lines in found.items() if lines} == {}
