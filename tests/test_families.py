"""Families where training is written: phases and updates in loops, optimizer groups, and how all of it is called."""

import pytest

import gangraph
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.expression.model import unparse
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.views.code import code_text
from gangraph.views.spec import titles, update_lines
from tests.support import changed, read, snapshot, trainer

FAMILIES = """
gangraph: 1
name: families
params: {{width: 4, batch_of: {{4: 5, 8: 6}}}}
data:
  x: plane(std=0.3)
  z[k in 0..2]: normal(2)
networks:
  G[k in 0..2]: mlp(widths=[3], outputs=2)
  D[k in 0..2]: mlp(widths=[width])
values:
  fake[k in 0..2]: G[k](z[k])
losses:
  judge[k in 0..2]: logistic.critic(real=D[k](x), fake=D[k](fake[k]))
  fool[k in 0..2]: logistic.generator(D[k](fake[k]))
train:
  batch: 4
{length}
  optimizers:
    critic[k in 0..2]: sgd(D[k], lr=0.1 * 2 ** k)
    generators: adam([G[k] for k in 0..2], lr=1e-2)
  step:
{step}
"""
LOOP = """    - for k in 0..2:
        - {update: "critic[k]", minimize: "judge[k]", draw: "[x, z[k]]"}
    - {update: generators, minimize: "sum(fool[k] for k in 0..2)"}"""
WRITTEN_OUT = """    - {update: "critic[0]", minimize: "judge[0]", draw: "[x, z[0]]"}
    - {update: "critic[1]", minimize: "judge[1]", draw: "[x, z[1]]"}
    - {update: "critic[2]", minimize: "judge[2]", draw: "[x, z[2]]"}
    - {update: generators, minimize: "fool[0] + fool[1] + fool[2]"}"""
PHASES = """  phases:
    - {length: 2 steps}
    - for r in [4, 8]:
        - name: fade[r]
          set: {width: r}
          batch: batch_of[r]
          length: r steps
          losses: {"judge[k in 0..2]": "r * logistic.critic(real=D[k](x), fake=D[k](fake[k]))"}
          values: {"fake[k in 0..2]": "G[k](z[k]) / r"}
          optimizers: {generators: "adam([G[k] for k in 0..2], lr=1e-2 / r)"}
        - for s in 1..2: {set: {width: r}, length: 2 * s steps}"""


def families(step: str = LOOP, length: str = "  length: 10 steps", **changes: str) -> Spec:
    """A GAN of three levels; `changes` are settings with `__` for dots."""
    text = FAMILIES.format(step=step, length=length)
    return resolve(parse_text(text), Choice(set={key.replace("__", "."): each for key, each in changes.items()}))


def steps_of(spec: Spec) -> list[str]:
    """The updates of the first phase, written in full."""
    return [line for update in spec.phases[0].updates for line in update_lines(update)]


def test_a_loop_over_updates_is_what_it_stands_for() -> None:
    looped = families().phases[0].updates
    assert steps_of(families()) == steps_of(families(WRITTEN_OUT))
    assert [update.name for update in looped] == ["critic[0]", "critic[1]", "critic[2]", "generators"]
    assert trainer(families()).train(steps=3) == trainer(families(WRITTEN_OUT)).train(steps=3)


@pytest.mark.parametrize(
    "step",
    [
        '    - for k in 0..2: {update: "critic[k]", minimize: "judge[k]", draw: "[x, z[k]]"}',
        '    - for k in [0, 1]: {update: "critic[k]", minimize: "judge[k]", draw: "[x, z[k]]"}\n'
        '    - {update: "critic[1 + 1]", minimize: "judge[2]", draw: "[x, z[2]]"}',
        "    - for j in 0..0:\n        - for k in j..2 * (j + 1):\n"
        '            - {update: "critic[k]", minimize: "judge[k]", draw: "[x, z[k]]"}',
    ],
    ids=["one entry", "a list of indices", "loops in loops"],
)
def test_forms_of_a_loop(step: str) -> None:
    last = '\n    - {update: generators, minimize: "fool[0] + fool[1] + fool[2]"}'
    assert steps_of(families(step + last)) == steps_of(families(WRITTEN_OUT))


def test_every_part_of_an_update_may_use_the_index() -> None:
    step = """    - for k in 0..2:
        - update: critic[k]
          minimize: judge[k]
          every: k + 1
          when: step > k
          then: clip(D[k], -1 - k, 1 + k)
          accumulate: k + 1
          clip_grad_norm: 10 / (k + 1)
          unroll: {update: generators, minimize: "fool[k]", steps: k}
    - {update: generators, minimize: "sum(fool[k] for k in 0..2)"}"""
    last = families(step).phases[0].updates[2]
    assert {name: unparse(written) for name, written in last.schedule.items()} == {
        "every": "3",
        "when": "step > 2",
        "accumulate": "3",
    }
    assert [unparse(each) for each in (*last.then, *last.options.values())] == [
        "clip(D[2], -3, 3)",
        "3.3333333333333335",
    ]
    ahead = last.objectives[0].unroll
    assert ahead is not None and (ahead.steps, unparse(ahead.objective.expression)) == (2, "fool[2]")


def test_groups_of_a_simultaneous_update_may_be_a_family() -> None:
    spec = families('    - update: {"critic[k in 0..2]": {minimize: "judge[k]"}, generators: {minimize: "fool[0]"}}')
    (update,) = spec.phases[0].updates
    assert [each.group for each in update.objectives] == ["critic[0]", "critic[1]", "critic[2]", "generators"]


def test_optimizers_of_a_family_have_options_and_networks_of_their_own() -> None:
    run = trainer(families())
    rates = [run.engine.optimizers[f"critic[{k}]"].param_groups[0]["lr"] for k in range(3)]
    assert rates == [0.1, 0.2, 0.4]
    (group,) = run.engine.optimizers["generators"].param_groups
    assert len(group["params"]) == 3 * 4
    before = snapshot(run.networks)
    run.step()
    assert changed(before, snapshot(run.networks)) == set(run.networks)


def test_a_loop_over_phases_gives_each_its_own_form() -> None:
    first, fade, stable, longer, *rest = families(length=PHASES).phases
    lengths = [phase.length.value for phase in (first, fade, stable, longer, *rest) if phase.length is not None]
    assert lengths == [2, 4, 2, 4, 8, 2, 4]
    assert [phase.batch for phase in (first, fade, stable, rest[0])] == [4, 5, 4, 6]
    assert [phase.params["width"] for phase in (first, fade, stable, rest[0])] == [4, 4, 4, 8]
    assert (
        unparse(rest[0].losses["judge[0]"]).startswith("8 * ")
        and unparse(rest[0].values["fake[1]"]) == "G[1](z[1]) / 8"
    )
    assert unparse(rest[0].optimizers["generators"].options["lr"]) == "0.00125"
    assert unparse(stable.losses["judge[0]"]).startswith("logistic")


def test_phases_have_names_that_tell_them_apart() -> None:
    spec = families(length=PHASES)
    assert [phase.name for phase in spec.phases] == [
        "phase 1",
        "fade[4]",
        "phase 3 (width=4, s=1)",
        "phase 4 (width=4, s=2)",
        "fade[8]",
        "phase 6 (width=8, s=1)",
        "phase 7 (width=8, s=2)",
    ]
    assert titles(spec)[1:3] == [
        "families, profile paper, phase 2 of 7: fade[4]",
        "families, profile paper, phase 3 of 7 (width=4, s=1)",
    ]
    assert spec.phases[1].called == "phase 2, 'fade[4]'" and spec.phases[2].called == "phase 3 (width=4, s=1)"


def test_all_phases_of_loops_train_in_turn() -> None:
    run = trainer(families(length=PHASES))
    run.train()
    assert (run.phase, run.step_count, run.done) == (6, 26, True)


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("train__step__0__0__minimize", "2 * judge[k]", "2 * judge[2]"),
        ("train__step__1__minimize", "fool[1]", "judge[2]"),
    ],
)
def test_a_setting_goes_through_a_loop(path: str, value: str, found: str) -> None:
    updates = families(**{path: value}).phases[0].updates
    assert unparse(updates[2].objectives[0].expression) == found
    expected = "fool[1]" if "__1__" in path else "fool[0] + fool[1] + fool[2]"
    assert unparse(updates[3].objectives[0].expression) == expected


def test_a_setting_reaches_phases_in_loops() -> None:
    spec = families(length=PHASES, train__phases__1__0__length="3 steps", train__phases__1__1__length="s steps")
    assert [phase.length.value for phase in spec.phases if phase.length is not None] == [2, 3, 1, 2, 3, 1, 2]


def test_a_setting_names_a_family_by_its_key() -> None:
    spec = families(**{"train.optimizers.critic[k in 0..2].lr": "0.5 * k", "networks.D[k in 0..2].widths": "[k + 1]"})
    optimizers = spec.phases[0].optimizers
    assert [unparse(optimizers[f"critic[{k}]"].options["lr"]) for k in range(3)] == ["0.0", "0.5", "1.0"]
    assert check_spec(spec)[0].networks["D[2]"].parameters == 3 * 3 + 4


def test_a_setting_that_leads_nowhere_in_a_loop_says_what_is_there() -> None:
    with pytest.raises(gangraph.SpecError, match="one of 0"):
        families(train__step__0__1__minimize="1")


def test_code_of_families_is_python() -> None:
    text = code_text(compile_phase(check_spec(families())[0]))
    compile(text, "step", "exec")
    assert "def critic_1(" in text and 'optimizers["critic[1]"].step()' in text


@pytest.mark.parametrize(
    ("written", "steps"),
    [("3 * 5 steps", 15), ("w steps", 6), ("w * 2 steps", 12), ("10 steps / 5", 2), ("(w + 1) kimg", 7), ("t[1]", 9)],
)
def test_arithmetic_of_lengths(written: str, steps: int) -> None:
    text = FAMILIES.format(step=LOOP, length=f"  length: {written}").replace(
        "params: {", "params: {w: 6, t: {1: 9 steps}, "
    )
    (phase,) = read(text).phases
    assert phase.length is not None and phase.length.value == steps
    assert phase.length.unit == ("kimg" if "kimg" in written else "steps")
