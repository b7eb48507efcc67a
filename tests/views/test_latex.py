"""The mathematics of a spec. `GANGRAPH_GOLDEN=1 pytest tests/views` rewrites the golden files."""

import re
from collections.abc import Iterator
from itertools import chain
from xml.etree import ElementTree

import pytest
from latex2mathml.converter import convert
from readings import SYSTEMS, checked, golden, shipped_form
from torch import Tensor

from gangraph.check.phase import Checked
from gangraph.language.expression.model import Expression
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.registry import loss, vocabulary
from gangraph.views.latex import equations, latex_text, objective
from gangraph.views.printers.latex import Printer, level_of, moment
from gangraph.views.printers.precedence import ATOM, PRODUCT, SUM
from gangraph.views.printers.symbols import number, symbol
from gangraph.views.text import titles

# What the lines are made of; all of it is amsmath's, amssymb's or LaTeX's own.
COMMANDS = {
    "min", "max", "mathbb", "mathrm", "mathcal", "left", "right", "lVert", "rVert", "lvert", "rvert", "nabla", "sigma",
    "log", "mid", "frac", "sum", "textstyle", "text", "widetilde", "overline", "theta", "leftarrow", "sim", "quad",
    "qquad", "times", "lambda", "alpha", "ldots", "cdot", "to", "tanh",
}  # fmt: skip


def commands(line: str) -> Iterator[str]:
    return iter(re.findall(r"\\([a-zA-Z]+)", line))


def balanced(line: str) -> bool:
    depth = 0
    for letter in re.sub(r"\\[{}]", "", line):
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            return False
    return depth == 0


def lines(phase: Checked, kind: str) -> list[str]:
    return [str(line) for line in objective(phase) if line.kind == kind]


def expression(text: str) -> Expression:
    return parse_expression(Scalar.of(text, "test"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_mathematics_of_a_shipped_spec(name: str) -> None:
    spec, phases = shipped_form(name)
    text = latex_text(phases, titles(spec))
    assert text == golden(f"{name}.tex", text)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_line_is_plain_latex_and_becomes_mathml(name: str) -> None:
    _, phases = shipped_form(name)
    made = [equations(phase) for phase in phases]
    assert all(made)
    for line in chain(*made):
        assert balanced(line)
        assert set(commands(line)) <= COMMANDS
        assert line.count(r"\left") - line.count(r"\leftarrow") == line.count(r"\right")
        assert "&" not in line and r"\begin" not in line
        root = ElementTree.fromstring(convert(line))
        assert not any("\\" in (element.text or "") for element in root.iter())


def test_means_are_over_exactly_the_sources_beneath() -> None:
    goals = lines(checked(judge="least_squares.critic(real=D(x), fake=D(fake))"), "objective")
    assert goals[0] == (
        r"\min_{D} \quad \mathbb{E}_{x}\left[(D(x) - 1)^2\right] + \mathbb{E}_{z}\left[D(\mathrm{fake})^2\right]"
        r" \qquad (\mathrm{judge})"
    )


def test_an_average_is_said_to_be_one() -> None:
    phase = checked(more_networks="  T: average(D, decay=0.9)", judge="l2(D(x), T(x)) + logistic.critic(D(x), D(fake))")
    assert lines(phase, "words")[0] == r"T \text{: moving average of } D"


@pytest.mark.parametrize(
    ("names", "later"), [(("lambda_", "Lambda"), r"\mathrm{Lambda}"), (("Lambda", "lambda_"), r"\mathrm{lambda\_}")]
)
def test_networks_have_symbols_of_their_own(names: tuple[str, str], later: str) -> None:
    more = "\n".join(f"  {name}: mlp(widths=[4])" for name in names)
    judge = "logistic.critic(D(x), D(fake)) + mean(Lambda(x) ** 2) + mean(lambda_(x) ** 2)"
    optimizer = f"sgd([D, {', '.join(names)}], lr=0.1)"
    made = equations(checked(more_networks=more, judge=judge, optimizer_d=optimizer))
    assert rf"\min_{{D, \lambda, {later}}}" in "".join(made)
    assert r"\lambda(x)" in "".join(made) and rf"{later}(x)" in "".join(made)
    assert all(ElementTree.fromstring(convert(line)) is not None for line in made)


def test_maximize_shows_what_was_written() -> None:
    phase = checked("{update: d, maximize: judge}", "{update: g, minimize: fool}", judge="mean(D(x)) - mean(D(fake))")
    goal = lines(phase, "objective")[0]
    assert goal.startswith(r"\max_{D} \quad \mathbb{E}_{x}\left[D(x)\right] - \mathbb{E}_{z}")


def test_each_named_loss_of_a_sum_has_its_line_and_its_sign() -> None:
    phase = checked("{update: d, minimize: judge}", "{update: g, minimize: fool - near}", fool=(
        "logistic.generator(D(fake))\n  near: -3 * l1(fake, x)"
    ))  # fmt: skip
    assert lines(phase, "objective")[1:] == [
        r"\min_{G} \quad -\mathbb{E}_{z}\left[\log \sigma(D(\mathrm{fake}))\right] \qquad (\mathrm{fool})",
        r"+ 3 \, \mathbb{E}_{x, z}\left[\lVert \mathrm{fake} - x \rVert_1\right] \qquad (\mathrm{near})",
    ]


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        (1, r"-\log \sigma(D(x))"),
        (0, r"-\log(1 - \sigma(D(x)))"),
        (0.9, r"-0.9 \log \sigma(D(x)) - 0.1 \log(1 - \sigma(D(x)))"),
    ],
)
def test_coefficients_that_are_0_or_1_are_not_shown(target: float, inside: str) -> None:
    goals = lines(checked(judge=f"bce(D(x), {target}) + mean(D(fake))"), "objective")
    assert rf"\mathbb{{E}}_{{x}}\left[{inside}\right]" in goals[0]


def test_a_number_inside_a_fence_is_no_coefficient() -> None:
    @loss("readings_apart", latex=r"E[\lvert $x - $by \rvert]")
    def apart(x: Tensor, by: float) -> Tensor:
        """A plug-in's loss."""
        return (x - by).abs().mean()

    try:
        goals = lines(checked(judge="mean(D(x)) + readings_apart(D(fake), 0)"), "objective")
        assert r"\lvert D(\mathrm{fake}) - 0 \rvert" in goals[0]
    finally:
        vocabulary._definitions.pop("readings_apart")


def test_players_of_a_simultaneous_update_stand_below_each_other() -> None:
    phase = checked("update: {d: {minimize: judge}, g: {minimize: fool}}")
    goals = lines(phase, "objective")
    assert [goal[:9] for goal in goals] == [r"\min_{D} ", r"\min_{G} "]
    assert r"\text{all at once, from the parameters before this update}" in lines(phase, "words")


def test_a_number_over_time_stays_a_symbol() -> None:
    phase = checked(fool="linear(5, 0) * logistic.generator(D(fake))")
    assert any(line.startswith(r"\min_{G} \quad \lambda(t) \, \left(") for line in lines(phase, "objective"))
    assert r"\lambda(t) = \text{5 at first, then linearly to 0 at the end}" in [
        line.replace(r"\text{where } ", "") for line in lines(phase, "definition")
    ]


def test_how_often_and_on_which_draws_is_said_in_words() -> None:
    phase = checked("{update: d, minimize: judge, times: 5, draw: all, then: 'clip(D, -1, 1)'}",
                    "{update: g, minimize: fool, when: step % 2 == 0}")  # fmt: skip
    assert lines(phase, "words") == [
        r"5 \text{ times in a row} \text{, each time on fresh draws of } x \text{ and } z",
        r"\text{then } \theta_{D} \leftarrow \mathrm{clip}(\theta_{D}, -1, 1)",
        r"\text{only in steps where } \mathrm{step} \bmod 2 = 0",
    ]


def test_values_without_gradient_are_marked_and_explained() -> None:
    phase = checked(judge="logistic.critic(real=D(x), fake=D(history(at_first(fake), 6)) + D(detach(fake)))")
    assert [line for line in lines(phase, "definition") if "without" in line] == [
        r"\widetilde{\mathrm{fake}} \text{: } \mathrm{fake} \text{ mixed with its past (a buffer of 6),"
        r" without gradient}",
        r"\overline{\mathrm{fake}} = \mathrm{fake} \text{, without gradient}",
    ]


def test_a_loss_without_latex_is_shown_by_its_name() -> None:
    @loss("readings_far")
    def far(x: Tensor, y: Tensor, power: float = 2.0) -> Tensor:
        """A plug-in's loss."""
        return (x - y).abs().pow(power).mean()

    try:
        phase = checked(fool="logistic.generator(D(fake)) + readings_far(fake, x, power=3)")
        assert r"\mathrm{readings\ far}(\mathrm{fake}, x, \mathrm{power} = 3)" in lines(phase, "objective")[1]
    finally:
        vocabulary._definitions.pop("readings_far")


def test_updates_of_one_name_keep_their_lines_apart() -> None:
    phase = checked("{update: d, minimize: judge}", "{update: d, minimize: judge}", "{update: g, minimize: fool}")
    assert latex_text([phase]).count(r"\min_{D}") == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"), ("D_x", "D_{x}"), ("fake_y", r"\mathrm{fake}_{y}"), ("z2", "z_{2}"), ("lambda", r"\lambda"),
        ("real_pair", r"\mathrm{real}_{\mathrm{pair}}"), ("down[3]", r"\mathrm{down}_{3}"),
        ("pair.a", r"\mathrm{pair}_{a}"), ("a_b_c", "a_{b, c}"),
    ],
)  # fmt: skip
def test_names(name: str, expected: str) -> None:
    assert symbol(name) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(10, "10"), (0.5, "0.5"), (5e-5, r"5 \cdot 10^{-5}"), (1e-4, "0.0001"), (1e-5, "10^{-5}"), (True, "true")],
)
def test_numbers(value: object, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 if step < 25 or step % 500 == 0 else 5", (
            r"100 \text{ if } \mathrm{step} < 25 \text{ or } \mathrm{step} \bmod 500 = 0\text{, else } 5")),
        ("0.1 * 0.5 ** step", r"0.1 \cdot 0.5^{\mathrm{step}}"),
        ("(step + 1) * 2", r"2 \, (\mathrm{step} + 1)"),
        ("2 * (4 * step % 3)", r"2 \, ((4 \, \mathrm{step}) \bmod 3)"),
        ("not not step < 3", r"\text{not }(\text{not }(\mathrm{step} < 3))"),
        ("1 - (2 - step)", r"1 - (2 - \mathrm{step})"),
        ("step // 2", r"\lfloor \mathrm{step} / 2 \rfloor"),
        ("not step < 3", r"\text{not }(\mathrm{step} < 3)"),
    ],
)  # fmt: skip
def test_moments(text: str, expected: str) -> None:
    assert moment(expression(text)) == expected


@pytest.mark.parametrize(
    ("template", "level"),
    [
        ("E[${x}]", ATOM),
        (r"\lVert ${x} \rVert_2", ATOM),
        ("$a + $b", SUM),
        ("-E[${x}]", SUM),
        ("e^{${x}}", PRODUCT),
        ("$a $b", PRODUCT),
    ],
)
def test_how_tightly_a_registered_formula_binds(template: str, level: int) -> None:
    assert level_of(template) == level


def test_every_registered_formula_names_its_own_parameters() -> None:
    for definition in vocabulary.values():
        for formula in (definition.traits.latex, definition.traits.words):
            used = re.findall(r"\$\{?(\w+)", formula) if isinstance(formula, str) else ()
            assert set(used) <= set(definition.signature.parameters), definition.name


@pytest.mark.parametrize(
    ("written", "formula"),
    [
        ('einsum("i c, j c -> i j", q, k + 1)', r"\textstyle\sum_{c} {q}_{i\, c} \, {(k + 1)}_{j\, c}"),
        ('2 * einsum("i i -> i", q)', r"2 \, {q}_{i\, i}"),
        ('einsum("b row c, b c -> b row", q, k)', r"\textstyle\sum_{c} {q}_{b\, \mathrm{row}\, c} \, {k}_{b\, c}"),
        ('reduce(x, "b n c -> b c", "sum")', r"\textstyle\sum_{n} {x}_{b\, n\, c}"),
        ('reduce(x, "b (n k) -> b n", "max", k=2)', r"\max_{k} {x}_{b\, (\, n\, k\, )}"),
        ('rearrange(x, "c h -> h c")', r"{x}_{c\, h \to h\, c}"),
        ('repeat(x, "b -> b n", n=3)', r"{x}_{b \to b\, n}"),
        ("where(y == 2, a, b)", r"\mathrm{where}(y = 2, a, b)"),
    ],
)
def test_the_formula_of_a_pattern_has_its_axes_as_indices(written: str, formula: str) -> None:
    assert Printer().formula(expression(written)).text == formula
