"""Specs with several updates of one group: every view names the update that is meant, and shows each once."""

import re
from pathlib import Path

import pytest

from gangraph.pipeline import check_spec, compile_phase, load
from gangraph.plan.planner import plan
from gangraph.views.code import code_text
from gangraph.views.diff import compare_specs, diff_text
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import equations, latex_text
from gangraph.views.plan import plan_text
from gangraph.views.printers.latex import Formula, scaled
from gangraph.views.printers.precedence import POWER
from gangraph.views.wording import ordinal
from tests.views.readings import checked

SPEC = load(Path(__file__).parent / "two_updates.yaml")
(PHASE,) = check_spec(SPEC)
NAMES = ["critic", "critic", "generator", "critic", "critic", "generator"]


def parts(text: str, heading: str) -> list[str]:
    """What a view says of each update."""
    return [" ".join(part.split()) for part in re.split(heading, text)[1:]]


def test_explain_names_the_update_that_computed_a_value() -> None:
    told = parts(explain_text(SPEC, [plan(PHASE)]), r"Update \d of 6: ")
    reused = [re.search(r"fake is not computed again: update (\d \(\w+\)) has it", part) for part in told]
    assert [found and found[1] for found in reused] == [
        None, "1 (critic)", "1 (critic)", None, "4 (critic)", "4 (critic)",
    ]  # fmt: skip


def test_explain_names_the_update_that_a_value_is_computed_ahead_for() -> None:
    told = parts(explain_text(SPEC, [plan(PHASE)]), r"Update \d of 6: ")
    ahead = [re.search(r"because update (\d \(\w+\)) will differentiate it", part) for part in told]
    assert [found and found[1] for found in ahead] == ["3 (generator)", None, None, "6 (generator)", None, None]


@pytest.mark.parametrize("view", ["plan", "code"])
def test_plan_and_code_name_the_update_that_computed_a_value(view: str) -> None:
    program = compile_phase(PHASE)
    text = plan_text(program) if view == "plan" else code_text(program)
    told = parts(text, r"(?:update|# Update) \d of 6: ")
    reused = [
        re.search(r"fake (?:is )?from update (\d \(\w+\)): nothing beneath it has changed", part) for part in told
    ]
    assert [found and found[1] for found in reused] == [
        None, "1 (critic)", "1 (critic)", None, "4 (critic)", "4 (critic)",
    ]  # fmt: skip
    shared = re.findall(r"[sS]hared with update (\d \(\w+\)), which differentiates it", text)
    assert shared == ["3 (generator)", "6 (generator)"]


def test_an_update_whose_name_is_its_own_is_called_by_it() -> None:
    text = plan_text(compile_phase(checked("{update: d, minimize: judge}", "{update: g, minimize: fool}")))
    assert "fake from 'd'" in text and "shared with 'g'" in text


def test_latex_shows_each_update_once_also_where_a_loop_wrote_them() -> None:
    told = parts(latex_text([PHASE]), r"% update \d of 6: ")
    assert [part.split()[0] for part in told] == NAMES
    assert [part.count(r"\min") for part in told] == [1] * 6


def test_diff_says_which_objective_of_a_group_is_gone() -> None:
    gan = load("gan")
    text = " ".join(diff_text(SPEC, gan, compare_specs(SPEC, gan), ("a", "b")).split())
    assert "the second objective of critic is gone" in text and "the second objective of generator is gone" in text


def test_the_drawing_numbers_every_update() -> None:
    text = draw(PHASE.graph, title="two", subtitle="", shapes={})
    assert all(f">{number}<" in text for number in range(1, 7))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("8 * (0.5 * mean(D(fake)))", r"4 \, "),
        ("(mean(D(fake)) * 2) * 0.25", r"0.5 \, "),
        ("2 * (8 * mean(D(fake)) * -1)", r"-16 \, "),
        ("-(3 * mean(D(fake)))", r"-3 \, "),
        ("0.1 * (3 * mean(D(fake)))", r"0.3 \, "),
        ("0.5 * (2 * mean(D(fake)))", ""),
        ("-1 * (-1 * mean(D(fake)))", ""),
    ],
)
def test_numbers_that_meet_are_multiplied(written: str, shown: str) -> None:
    (phase,) = check_spec(load(Path(__file__).parent / "two_updates.yaml", set={"losses.odd": f"mean(z) + {written}"}))
    (line,) = [line for line in equations(phase) if "odd" in line]
    sign = "-" if shown.startswith("-") else "+"
    assert rf" {sign} {shown.removeprefix('-')}\mathbb{{E}}_{{z}}\left[D(" in line
    assert not re.search(r"\d \\, -?\d", line)


def test_a_power_of_a_number_is_kept_apart_by_a_dot() -> None:
    assert scaled(8, Formula("2^{x}", POWER)).text == r"8 \cdot 2^{x}"


def test_places_are_words() -> None:
    assert [ordinal(n) for n in (1, 6, 7, 11, 21, 22, 113)] == [
        "first",
        "sixth",
        "7th",
        "11th",
        "21st",
        "22nd",
        "113th",
    ]
