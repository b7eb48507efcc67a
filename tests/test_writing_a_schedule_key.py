"""A key that says in which steps an update runs costs one file: a function and its record. Here a plug-in adds it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gangraph.cli.specs import schema
from gangraph.errors import RunError, SpecError
from gangraph.folder.plugins import plugins_of
from gangraph.language.continuation import changes
from gangraph.language.document.schema import UpdateDocument
from gangraph.language.expression.model import Expression
from gangraph.language.expression.schedule import Clock, evaluate
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.language.update_spec import UpdateSpec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.registry import load_plugins
from gangraph.run.key_values import repetitions
from gangraph.update_keys import KEYS
from gangraph.update_options import UPDATE_OPTIONS, UpdateOption, add_option
from gangraph.update_schedule import SCHEDULE_KEYS, ScheduleKey, add_schedule_key, divides, holds, update_guard
from gangraph.views.code import code_text
from gangraph.views.diff import compare_specs
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import check_json
from tests.plugin import for_every_test
from tests.support import DRAW_ONCE, read, refused, resumes_to_the_bit, small, trainer

PLUGIN = '''
from gangraph import update_guard


@update_guard(
    "from_step",
    least=0,
    about="only from this step on",
    sentence="It runs only from step $value on.",
    latex=r"\\text{only from step } $value",
    caption="from step $value on",
    compared="the first step of update {}",
    stated="step $value",
    usual="step 0",
)
def from_step(step, first):
    """Whether a step is not before the first."""
    return step >= first
'''
TEXTS = dict.fromkeys(("sentence", "latex", "caption"), "by $value") | {"about": "odd", "compared": "what {} does"}
_plugin = for_every_test("starting", "gangraph_starting", PLUGIN)


def delayed(first: str = "2", more: str = "") -> Spec:
    """Two players, of whom the critic begins later."""
    return small(f'{{update: d, minimize: judge, from_step: "{first}"{more}}}', DRAW_ONCE[1])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("-1", "error GG225: a number of at least 0 belongs here"),
        ("true", "error GG225: a number of at least 0 belongs here"),
        ("judge", "error GG307: 'judge' is no number over time"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(written: str, said: str) -> None:
    assert f"spec:24:48: {said}" in refused(delayed(written))


def test_an_epoch_needs_data_to_count() -> None:
    spec = read(delayed("2 + epoch").text.replace("plane(std=0.3)", "normal(2)"))
    assert "GG505: a number over time in epochs needs data to count" in refused(spec)


def test_a_number_over_time_is_compared_as_the_run_goes_on() -> None:
    run = trainer(delayed("1 - step"))
    run.train(steps=2)
    with pytest.raises(RunError, match="spec:24:48: from_step is -1 at step 2, below 0"):
        run.train(steps=1)


def test_a_misspelt_key_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="unknown key 'from_stp'") as caught:
        small("{update: d, minimize: judge, from_stp: 2}")
    (problem,) = caught.value.problems
    assert problem.fix == "did you mean 'from_step'?"
    assert "times, every, when, accumulate, from_step, clip_grad_norm" in problem.expected


@pytest.mark.parametrize("key", ["schedule", "schedule of an update"])
def test_the_keys_stand_beside_the_others(key: str) -> None:
    for value in ("{from_step: 2}", "3", "[1]"):
        with pytest.raises(SpecError, match=f"GG201: unknown key '{key}'"):
            small(f"{{update: d, minimize: judge, from_step: 2, {key}: {value}}}")


def test_editors_learn_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    load_plugins()
    schema()
    keys = json.loads(capsys.readouterr().out)["$defs"]["UpdateDocument"]["properties"]
    assert keys["from_step"]["description"] == "only from this step on"
    assert keys["every"]["description"] == "only when step is a multiple of this"
    assert not any(" " in key for key in keys)


def test_the_update_runs_from_that_step_on() -> None:
    run = trainer(delayed())
    for step in range(4):
        before = [parameter.clone() for parameter in run.networks["D"].parameters()]
        run.train(steps=1)
        same = all(map(torch.equal, before, run.networks["D"].parameters()))
        assert same == (step < 2)


def test_one_that_fails_is_told_with_its_module_and_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(step: int, first: float) -> bool:
        raise ArithmeticError("no such step")

    load_plugins()
    fails.__module__ = "gangraph_starting"
    monkeypatch.setitem(SCHEDULE_KEYS, "from_step", replace(SCHEDULE_KEYS["from_step"], function=fails))
    who = "at step 0, the key 'from_step' of the plug-in's module 'gangraph_starting' fails"
    with pytest.raises(RunError, match=rf"^spec:\d+:\d+: {who}: ArithmeticError: no such step$"):
        trainer(delayed()).train(steps=1)


def test_a_held_value_that_it_passes_over_is_told_by_its_name() -> None:
    step = "{update: d, minimize: judge, from_step: 2, times: 2}"
    parts = {"more_values": "  kept: at_first(fake)", "judge": "mean(D(kept))", "fool": "l2(fake, kept)"}
    assert "found:     from_step: in update 'd'" in refused(small(step, DRAW_ONCE[1], **parts))


def test_nothing_of_it_is_offered_to_later_updates() -> None:
    plain, guarded = (compile_phase(check_spec(spec)[0]) for spec in (small(*DRAW_ONCE), delayed()))
    assert plain.plan.updates[1].reuses
    assert not guarded.plan.updates[1].reuses


@pytest.mark.parametrize("step", [0, 1, 2])
def test_the_printed_code_runs_alike(step: int) -> None:
    x, z = (torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    mine, theirs = trainer(delayed("1", ", when: step < 2")), trainer(delayed("1", ", when: step < 2"))
    engine = mine.engine
    text = code_text(engine.program)
    assert "from gangraph_starting import from_step" in text
    assert "if step < 2 and from_step(step, 1):\n" in text
    given = {
        "draw": {"x": x, "z": z}.get,
        "optimizers": engine.optimizers,
        "parameters_of": engine.parameters.get,
        "step": step,
        **engine.networks.callable,
    }
    exec(text, given)
    theirs.engine.step_count = step
    theirs.step({"x": x, "z": z})
    for name, network in theirs.networks.items():
        for one, other in zip(mine.networks[name].parameters(), network.parameters(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("keys", "condition"),
    [
        ("every: 2", "step % 2 == 0"),
        ("every: 2 + step", "divides(step, 2 + step)"),
        ("every: 6 // 2", "step % 3 == 0"),
        ("when: step < 1 or step > 3", "step < 1 or step > 3"),
        ("every: 2, when: step < 1 or step > 3", "step % 2 == 0 and (step < 1 or step > 3)"),
        ("every: 'linear(2, 5)'", 'divides(step, now("linear(2, 5)"))'),
    ],
)
def test_conditions_are_printed_as_they_are_decided(keys: str, condition: str) -> None:
    spec = small(f"{{update: d, minimize: judge, {keys}}}", DRAW_ONCE[1])
    assert f"\nif {condition}:\n" in code_text(compile_phase(check_spec(spec)[0]))


@pytest.mark.parametrize("every", ["3", "linear(1, 3)", "linear(0, 2)", "step // 4", "2.6 * progress", "1 + progress"])
def test_the_printed_condition_is_what_the_run_decides(every: str) -> None:
    spec = small(f"{{update: d, minimize: judge, every: '{every}'}}", DRAW_ONCE[1])
    run, number = trainer(spec), spec.phases[0].updates[0].schedule["every"]
    (line,) = (line for line in code_text(run.engine.program).splitlines() if line.startswith("if "))
    for step in range(12):
        clock = Clock(step=step, progress=step / 12)
        given = {
            "step": step,
            "progress": step / 12,
            "divides": divides,
            "now": lambda _, at=clock: evaluate(number, at),
        }
        printed = eval(line.removeprefix("if ").removesuffix(":"), given)
        assert printed == bool(repetitions(run.engine.program.plan.updates[0], clock))


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ("3", "3"),
        ("5 if step < 2 else 1", "5 if step < 2 else 1"),
        ("1 + step // 4", "1 + step // 4"),
        ("linear(1, 3)", 'round(now("linear(1, 3)"))'),
        ("1 + progress", "round(1 + progress)"),
    ],
)
def test_how_often_is_printed_as_it_is_rounded(times: str, count: str) -> None:
    spec = small(f"{{update: d, minimize: judge, times: '{times}'}}", DRAW_ONCE[1])
    assert f"\nfor repetition in range({count}):\n" in code_text(compile_phase(check_spec(spec)[0]))


def test_every_view_tells_it() -> None:
    spec = delayed("2", ", times: 3")
    (checked,) = check_spec(spec)
    program = compile_phase(checked)
    assert "    from_step: 2" in spec_text(spec)
    assert "update 1 of 2: d (3 times in a row; from step 2 on)" in plan_text(program)
    said = " ".join(explain_text(spec, [program.plan]).split())
    assert "It runs only from step 2 on. It runs 3 times in a row." in said
    assert r"\text{only from step } 2" in latex_text([checked])
    assert "3 times in a row; from step 2 on" in draw(checked.graph)
    first, second = check_json(spec, [checked])["updates"]
    keys = ("times", "every", "accumulate", "from_step")
    assert [first[key] for key in keys] == ["3", None, 1, "2"]
    assert [second[key] for key in keys] == [None, None, 1, None]


def test_a_number_over_time_is_not_taken_for_one_that_is_known() -> None:
    (checked,) = check_spec(delayed("step", ", accumulate: 3"))
    timing = checked.graph.updates[0].timing
    assert (timing.number("accumulate"), checked.graph.updates[1].timing.number("accumulate")) == (3, 1)
    with pytest.raises(ValueError, match="'from_step' is not known before the run"):
        timing.number("from_step")


def test_it_is_part_of_what_differs() -> None:
    plain, two, five = small(*DRAW_ONCE), delayed(), delayed("5")
    assert len({fingerprint(each) for each in (plain, two, five)}) == 3
    (found,) = compare_specs(two, five).differences
    told = ("the first step of update d", "step 2", "step 5")
    assert (found.what, found.before, found.after) == told
    (found,) = (each for each in compare_specs(plain, two).differences if "first step" in each.what)
    assert (found.before, found.after) == ("step 0", "step 2")
    (change,) = changes(two, five, 0)
    assert (str(change), change.touches) == ("train.step.0.from_step: 2 -> 5", "now")


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    assert resumes_to_the_bit(delayed("3"), tmp_path)


def test_a_run_remembers_which_plug_in_it_came_from() -> None:
    assert plugins_of(delayed()) == {"starting": "gangraph-starting 0.1.0"}
    assert plugins_of(small("{update: d, minimize: judge, every: 2}")) == {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Widened(UpdateSpec):
    """An update with fields that no view knows of."""

    pace: Expression | None = None
    marks: tuple[str, ...] = ()
    beats: int = 1


def test_a_new_field_of_updates_is_forgotten_by_nothing() -> None:
    spec = delayed()
    (phase,) = spec.phases
    first, second = phase.updates
    known = {each.name: getattr(first, each.name) for each in fields(first)}
    pace = first.schedule["from_step"]

    def widened(**more: Any) -> Spec:
        return replace(spec, phases=(replace(phase, updates=(Widened(**known, **more), second)),))

    one, other = widened(), widened(pace=pace, marks=("a", "b"), beats=3)
    assert (fingerprint(one), spec_text(one), changes(spec, one, 0)) == (fingerprint(spec), spec_text(spec), ())
    assert fingerprint(other) != fingerprint(spec)
    assert all(f"    {line}\n" in spec_text(other) for line in ("pace: 2", "marks: [a, b]", "beats: 3"))
    found = changes(spec, other, 0)
    assert {each.touches for each in found} == {"trained"}
    told = ("pace: nothing -> 2", "marks.0: nothing -> a", "marks.1: nothing -> b", "beats: nothing -> 3")
    assert [str(each) for each in found] == [f"train.step.0.{each}" for each in told]


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="the key 'every' of updates is already registered"):
        add_schedule_key(SCHEDULE_KEYS["every"])
    with pytest.raises(ValueError, match="the option 'every' of updates is already registered"):
        add_option(UpdateOption(name="every", function="torch.nn.utils.clip_grad_value_", **TEXTS))
    with pytest.raises(ValueError, match="the key 'clip_grad_norm' of updates is already registered"):
        update_guard("clip_grad_norm", **TEXTS)(holds)
    assert SCHEDULE_KEYS.keys().isdisjoint(UPDATE_OPTIONS)


@pytest.mark.parametrize("name", [*sorted(KEYS), "no name", "1st", ""])
def test_a_name_that_updates_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"a key of updates cannot be called '{name}'"):
        add_schedule_key(ScheduleKey(name=name, **TEXTS))


def test_the_names_that_are_taken_are_those_of_the_document() -> None:
    assert set(UpdateDocument.model_fields) == KEYS


@pytest.mark.parametrize("text", ["$valu", "costs 3$", "${}"])
@pytest.mark.parametrize("key", ["sentence", "latex", "caption", "stated", "code"])
def test_a_text_that_cannot_be_printed_is_refused_at_once(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' of the key 'odd' of updates is "):
        add_schedule_key(ScheduleKey(name="odd", **{**TEXTS, key: text}))
    assert "odd" not in SCHEDULE_KEYS


def test_what_is_compared_names_the_update() -> None:
    with pytest.raises(ValueError, match=r"'compared' of the key 'odd' of updates is 'by', in which \{\} is"):
        add_schedule_key(ScheduleKey(name="odd", **{**TEXTS, "compared": "by"}))


@pytest.mark.parametrize("key", ["about", "compared"])
def test_a_value_in_what_is_said_of_any_value_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' of the key 'odd' of updates is .* in which nothing is filled in"):
        add_schedule_key(ScheduleKey(name="odd", **{**TEXTS, key: "{} by $value"}))
    assert "odd" not in SCHEDULE_KEYS


def test_what_may_keep_an_update_from_running_is_known_to_the_plan() -> None:
    with pytest.raises(ValueError, match="the key 'odd' of updates has a function, so it has to be conditional"):
        add_schedule_key(ScheduleKey(name="odd", function=holds, **TEXTS))
    assert "odd" not in SCHEDULE_KEYS


def test_a_function_that_no_import_finds_is_refused() -> None:
    def local(step: int, number: float) -> bool:
        return step > number

    functions: list[Callable[[int, float], bool]] = [local, lambda step, number: True]
    for function in functions:
        with pytest.raises(TypeError, match=r"the key 'odd' of updates cannot be .* it has no name in its module"):
            update_guard("odd", **TEXTS)(function)
    assert "odd" not in SCHEDULE_KEYS


def test_the_printed_rhythm_over_time_is_that_of_the_run() -> None:
    spec = small('{update: d, minimize: judge, every: "linear(1, 3)"}', DRAW_ONCE[1])
    text = code_text(compile_phase(check_spec(spec)[0]))
    assert "from gangraph.update_schedule import divides" in text
    (line,) = (line for line in text.splitlines() if "divides(" in line)
    numbers = [1 + 0.2 * step for step in range(10)]  # linear(1, 3) in a run of 10 steps
    given = {"divides": divides}
    ran = [eval(line[3:-1], given | {"step": step, "now": lambda _, n=n: n}) for step, n in enumerate(numbers)]
    assert ran == [True, True, True, False, True, False, True, False, False, True]
