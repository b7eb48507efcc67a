"""Clips of another number of frames in each batch: how many is drawn, training by hand, resume, and what is checked."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gangraph import Trainer
from gangraph.data.arrays import Npz
from gangraph.data.fixed import FixedStream
from gangraph.data.world.source import World
from gangraph.errors import ArgumentError, SpecError, UsageError
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.pipeline import check_phase, compile_phase
from gangraph.plan.planner import plan
from gangraph.views.data import data_text
from gangraph.vocabulary.series import steps
from tests.plans import PLANS, compare
from tests.support import copy_parameters, deviation, parameter_deviations, read, same, snapshot, trainer

SPEC = """
gangraph: 1
name: clips
data:
  x: world(size=8, view="clip", frames=[3, 6], channels=1, count=40)
  y: world(size=8, view="clip", frames=[3, 6], channels=1, count=40, seed=5)
networks:
  P:
    inputs: clip
    layers:
      - conv_lstm(2), rearrange("t c h w -> c t h w")
      - conv3d(1, [1, 3, 3], padding=[0, 1, 1]), tanh, rearrange("c t h w -> t c h w")
  D: {inputs: clip, layers: "rearrange('t c h w -> t (c h w)'), gru(4), last, linear(1)"}
values: {next: P(x)}
losses:
  error: l2(steps(next, 0, -1), steps(x, 1)) + 0.1 * logistic.generator(D(next)) + 0.2 * l2(P(next), next)
  judge: logistic.critic(real=D(y), fake=D(next))
train:
  batch: 2
  length: 100 steps
  optimizers: {p: "sgd(P, lr=0.1)", d: "sgd(D, lr=0.1)"}
  step: [{update: p, minimize: error}, {update: d, minimize: judge}]
"""


def frames_of(engine: Trainer, source: str, draws: int) -> list[int]:
    return [engine.engine.draws.draw(source, 0)["value"].shape[1] for _ in range(draws)]


def test_each_batch_has_a_number_of_frames_of_its_own_and_all_are_equally_likely() -> None:
    found = frames_of(trainer(read(SPEC)), "x", 400)
    assert set(found) == {3, 4, 5, 6}
    assert max(Counter(found).values()) < 140 and min(Counter(found).values()) > 65  # of 100 each: four deviations
    assert found == frames_of(trainer(read(SPEC)), "x", 400)
    assert found != frames_of(trainer(read(SPEC)), "y", 400)


def test_a_shorter_batch_is_the_beginning_of_the_longest() -> None:
    whole = trainer(read(SPEC.replace("[3, 6]", "6"))).engine.draws
    cut = trainer(read(SPEC)).engine.draws
    for _ in range(6):
        short, long = cut.draw("x", 0)["value"], whole.draw("x", 0)["value"]
        assert torch.equal(short, long[:, : short.shape[1]])


def by_hand(networks: dict[str, torch.nn.Module], x: Tensor, y: Tensor) -> dict[str, float]:
    """One step of plain gradient descent on clips of any length: the predictor, then the critic."""
    predict, score, softplus = networks["P"], networks["D"], torch.nn.functional.softplus
    made = predict(x)
    error = ((made[:, :-1] - x[:, 1:]) ** 2).mean() + 0.1 * softplus(-score(made)).mean()
    error = error + 0.2 * ((predict(made) - made) ** 2).mean()
    descend(error, predict)
    fake = predict(x).detach()
    judge = softplus(-score(y)).mean() + softplus(score(fake)).mean()
    descend(judge, score)
    return {"error": error.item(), "judge": judge.item()}


def descend(loss: Tensor, network: torch.nn.Module) -> None:
    parameters = list(network.parameters())
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.data -= 0.1 * slope


@pytest.mark.parametrize(("share", "merge"), PLANS.values(), ids=list(PLANS))
def test_a_predictor_of_clips_of_several_lengths_trains_as_by_hand(share: bool, merge: bool) -> None:
    engine, drawn = (trainer(read(SPEC), share=share, merge=merge) for _ in range(2))
    networks = {name: trainer(read(SPEC)).networks[name] for name in "PD"}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started, found, seen = snapshot(networks), dict[str, float](), set()
    for number in range(10):
        x, y = (drawn.engine.draws.draw(name, number)["value"] for name in "xy")
        seen.add((x.shape[1], y.shape[1]))
        expected, losses = by_hand(networks, x, y), engine.step()
        found |= {f"{name} {number}": deviation(losses[name], expected[name]) for name in losses}
    found |= dict(parameter_deviations(engine, networks, started, still=1e-9))
    assert {name: d for name, d in found.items() if not d <= 1e-9} == {}
    assert len(seen) > 5 and any(x != y for x, y in seen)


def test_calls_on_clips_that_may_differ_in_length_are_not_merged() -> None:
    merged = [group for update in plan(check_phase(*_phase(SPEC))).step for s in update.segments for group in s.merges]
    assert merged == []
    whole = plan(check_phase(*_phase(SPEC.replace("[3, 6]", "6"))))
    assert [group for update in whole.step for s in update.segments for group in s.merges] != []


def _phase(text: str) -> tuple[Spec, PhaseSpec]:
    spec = read(text)
    return spec, spec.phases[0]


def test_all_plans_of_a_rollout_over_clips_of_several_lengths_agree() -> None:
    rollout = SPEC.replace(
        "values: {next: P(x)}",
        "values:\n  next: P(x)\n  film[0]: x\n  film[k in 1..2]: "
        "cat(film[k-1], reshape(last(P(film[k-1])), 1, 1, 8, 8), dim=1)",
    ).replace("+ 0.2 * l2(P(next), next)", "+ 0.2 * logistic.generator(D(film[2]))")
    made = compare(read(rollout), 6)
    assert made.difference == "" and not made.stopped


def test_micro_batches_and_repeated_draws_have_lengths_of_their_own() -> None:
    text = SPEC.replace("minimize: judge}", "minimize: judge, accumulate: 2, draw: all}")
    made = compare(read(text), 4)
    assert made.difference == "" and not made.stopped


def test_a_run_on_clips_of_several_lengths_resumes_to_the_bit(tmp_path: Path) -> None:
    whole, first = trainer(read(SPEC)), trainer(read(SPEC))
    whole.train(8)
    first.train(3)
    first.save(tmp_path / "saved")
    second = Trainer.resume(tmp_path / "saved", device="cpu")
    second.train(5)
    for name in "PD":
        assert same(second.networks[name].state_dict(), whole.networks[name].state_dict())
    assert second.step() == whole.step()


def test_a_run_does_not_go_on_with_other_numbers_of_frames(tmp_path: Path) -> None:
    first = trainer(read(SPEC))
    first.train(1)
    first.save(tmp_path / "saved")
    other = read(SPEC.replace("[3, 6]", "[2, 6]", 1))
    with pytest.raises(UsageError, match=r"data\.x: .*frames=\[3, 6\].*frames=\[2, 6\]"):
        Trainer.resume(tmp_path / "saved", device="cpu", spec=other)


def test_clips_that_are_given_have_one_of_the_lengths() -> None:
    engine = trainer(read(SPEC))
    for frames in (3, 6):
        engine.step({"x": torch.zeros(2, frames, 1, 8, 8)})
    for frames in (2, 7):
        with pytest.raises(UsageError, match=r"x' is \[B, 3 to 6, 1, 8, 8\] .*; \[2, \d, 1, 8, 8\] was given"):
            engine.step({"x": torch.zeros(2, frames, 1, 8, 8)})


def test_an_evaluation_and_a_fixed_source_have_the_most_frames() -> None:
    spec = read(SPEC + 'evaluate: {samples: 2, metrics: {end: "mean(column(x, 5))"}}\n')
    for seed in range(6):  # by chance all would be of 6 frames once in 4,096 times
        assert trainer(spec, seed=seed).evaluate().metrics.keys() == {"end"}  # type: ignore[union-attr]
    whole = FixedStream(World(size=8, view="clip", frames=(2, 5)), 0)
    assert whole.fields["value"].varies is None and whole.fields["value"].shape == (5, 3, 8, 8)


def test_clips_of_an_array_differ_in_length_too(tmp_path: Path) -> None:
    path = tmp_path / "film.npz"
    np.savez(path, film=np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8))
    text = SPEC.replace('world(size=8, view="clip", frames=[3, 6], channels=1, count=40)',
                        f'npz("{path}", key="film", shape=[1, 6, 8, 8], frames=[3, 6])')  # fmt: skip
    text = text.replace("P(x)", "P(clip)").replace(
        "values: {", "values: {clip: \"rearrange(x, 'c t h w -> t c h w')\", "
    )
    text = text.replace("steps(x, 1)", "steps(clip, 1)")
    engine = trainer(read(text))
    assert len(engine.engine.draws.open("x")) == 15
    assert {engine.engine.draws.draw("x", 0)["value"].shape[2] for _ in range(30)} == {3, 4, 5, 6}
    assert engine.step()["error"] > 0


def test_every_length_is_checked_and_not_only_the_shortest_and_the_longest() -> None:
    pairs = SPEC.replace("t c h w -> t (c h w)'", "(t s) c h w -> t (s c h w)', s=2").replace("[3, 6]", "[4, 6]")
    with pytest.raises(SpecError) as caught:
        check_phase(*_phase(pairs))
    told = [problem.message for problem in caught.value.problems]
    assert len(told) == 2
    assert {text.partition(", in a batch of ")[2] for text in told} == {"'x' of length 5", "'y' of length 5"}


def test_views_tell_the_range_of_lengths() -> None:
    checked = check_phase(*_phase(SPEC))
    assert "[3 to 6, 1, 8, 8]" in data_text(checked)


def test_segments_of_several_lengths_are_not_compiled_and_others_are() -> None:
    program = compile_phase(check_phase(*_phase(SPEC)))
    assert {each.uncompiled for each in program.segments.values()} == {
        "batches of different lengths would each be compiled"
    }
    whole = compile_phase(check_phase(*_phase(SPEC.replace("[3, 6]", "6"))))
    assert {each.uncompiled for each in whole.segments.values()} == {""}


@pytest.mark.parametrize("frames", [[5], [5, 5], [6, 5], [0, 5], [1, 2, 3], [2, 66], "many", [2.5, 5], True, 0])
def test_numbers_of_frames_that_make_no_sense_are_refused(frames: object) -> None:
    for make in (
        lambda: World(size=8, view="clip", frames=frames),  # type: ignore[arg-type]
        lambda: Npz("f.npz", key="k", shape=[1, 5, 8, 8], frames=frames),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentError) as caught:
            make()
        assert caught.value.argument == "frames"


def test_steps_are_those_of_a_slice() -> None:
    x = torch.arange(10.0).reshape(1, 5, 2)
    assert torch.equal(steps(x, 1), x[:, 1:]) and torch.equal(steps(x, 0, -1), x[:, :-1])
    assert torch.equal(steps(x, -2), x[:, 3:]) and torch.equal(steps(x, 1, 3), x[:, 1:3])
    with pytest.raises(ValueError, match="none of the 5 steps is from 7 up to the end"):
        steps(x, 7)
    with pytest.raises(ValueError, match=r"expected steps \[B, T, ...\], but got \[3\]"):
        steps(torch.zeros(3), 1)
