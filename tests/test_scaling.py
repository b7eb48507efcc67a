"""What is twice as long takes twice the work, counted in calls of functions, and long sums and chains go through."""

import sys
from collections.abc import Callable

import pytest

from benchmarks.scaling import written
from gangraph.check.phase import Checked
from gangraph.language.expression.model import Binary, Expression, summands, unparse
from gangraph.language.expression.size import too_large
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase, compile_phase
from gangraph.plan.planner import plan
from gangraph.views.code import code_text
from gangraph.views.diff import compare_specs
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text


def checked(spec: Spec) -> Checked:
    return check_phase(spec, spec.phases[0])


def a_sum(terms: int) -> str:
    """A value that is a sum of terms which are all different."""
    return "  total: fake" + "".join(f" {'+-'[i % 2]} fake * {1.5 + i / 7919:.6f}" for i in range(terms - 1))


def expression(text: str) -> Expression:
    return parse_expression(Scalar.of(text, "test"))


def calls_of(action: Callable[[], object]) -> int:
    """How many functions of Python are called by an action."""
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    "stage",
    [
        lambda text: written(text),
        lambda text: compile_phase(checked(written(text))),
        lambda text: latex_text([checked(written(text))]),
        lambda text: explain_text(written(text), [plan(checked(written(text)))]),
    ],
    ids=["resolve", "lower", "latex", "explain"],
)
def test_a_sum_of_twice_the_terms_takes_twice_the_work(stage: Callable[[str], object]) -> None:
    stage(a_sum(3))  # what is imported and remembered once
    short, long = (calls_of(lambda terms=terms: stage(a_sum(terms))) for terms in (500, 1000))
    assert short < long < 2.3 * short


def test_a_sum_of_a_thousand_terms_is_added_from_left_to_right() -> None:
    spec = written(a_sum(1000))
    program = compile_phase(checked(spec))
    nodes = program.plan.checked.graph.nodes
    node, terms = nodes[program.plan.checked.graph.values["total"]], 1
    while node.target in ("add", "sub"):
        first, second = node.inputs
        assert nodes[second].target == "mul"
        node, terms = nodes[first], terms + 1
    assert (node.id, terms) == ("fake", 1000)
    assert code_text(program).count("fake") > 1000
    assert not compare_specs(spec, written(a_sum(1000))).differences
    assert compare_specs(spec, written(a_sum(1000).replace("1.500126", "2.5"))).differences


def test_long_sums_are_printed_and_compared() -> None:
    text = "a" + " - b * 2 + (c - d)" * 1500
    one, other = expression(text), expression(text)
    assert unparse(one) == text
    assert one == other and hash(one) == hash(other)
    assert one != expression(text.replace("a -", "e -"))
    assert len(summands(one)[1]) == 3000


def test_a_number_over_time_at_the_start_of_a_sum_is_one_value() -> None:
    graph = checked(written("  total: step / 10 + 1 - progress + fake + step")).graph
    scalars = [unparse(node.expression) for node in graph.nodes.values() if node.expression is not None]
    assert scalars == ["step / 10 + 1 - progress", "step"]


def test_nesting_is_bounded_as_before() -> None:
    right = expression("a")
    for _ in range(100):
        right = Binary("+", expression("a"), right, right.span)
    assert too_large(right)
    assert not too_large(expression("a" + " + a" * 5000))
    assert too_large(expression("a" + " + a" * 9500), parts=19_000)


@pytest.mark.parametrize("layers", ["linear(2), tanh, " * 500 + "linear(2)", "linear(2), " + "tanh, " * 1500 + "tanh"])
def test_a_network_may_be_a_chain_of_a_thousand_layers(layers: str) -> None:
    model = checked(written("  total: fake", layers=layers)).networks["G"]
    assert len(model.graph.nodes) == layers.count(",") + 2


def test_planning_twice_the_updates_takes_twice_the_work() -> None:
    values = "\n".join(f"  v{i}: tanh(fake * {1 + i / 7919:.6f})" for i in range(200))
    total = "  total: " + " + ".join(f"v{i}" for i in range(200))
    few, many = (checked(written(f"{values}\n{total}", updates=updates)) for updates in (20, 40))
    plan(few)  # what is derived once from a graph
    plan(many)
    short, long = calls_of(lambda: plan(few)), calls_of(lambda: plan(many))
    assert short < long < 2.2 * short
