"""The training loop, what is due after its steps, and who may end it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gangraph.language.expression.model import Quantity
from gangraph.language.spec import Spec
from gangraph.run.engine import Engine
from gangraph.run.loop import PhaseBegan, Stepped, train
from gangraph.run.training import Training
from gangraph.session.schedule import Interval, evaluate_every, save_every
from gangraph.session.signals import Stop
from tests.support import read

PHASES = """
gangraph: 1
name: phases
params: {width: 4}
data: {x: "plane(std=0.3, count=30)", z: normal(2)}
networks:
  G: mlp(widths=[6], outputs=2)
  D: mlp(widths=[width])
losses:
  judge: logistic.critic(real=D(x), fake=D(G(z)))
  fool: logistic.generator(D(G(z)))
train:
  batch: 4
  optimizers: {g: adam(G), d: adam(D)}
  step:
    - {update: g, minimize: fool}
    - {update: d, minimize: judge}
  phases:
    - {name: small, length: 2 steps}
    - {name: large, length: 3 steps, set: {width: 8}}
"""


def training(text: str = PHASES) -> Training:
    return Training(read(text), device="cpu", compile="off")


def test_a_phase_begins_before_its_first_step_and_says_what_is_new() -> None:
    made = training()
    happened = list(train(made, lambda: made.done))
    assert [type(each) for each in happened] == [Stepped, Stepped, PhaseBegan, Stepped, Stepped, Stepped]
    (begun,) = (each for each in happened if isinstance(each, PhaseBegan))
    assert set(begun.fresh) == {"D.layers.linear.weight", "D.layers.linear.bias", "D.layers.linear_2.weight"}
    assert (made.phase, made.phase_start, made.step_count) == (1, 2, 5)


def test_whoever_is_asked_before_a_step_can_end_it_there() -> None:
    made, asked = training(), list[int]()

    def stop() -> bool:
        asked.append(made.step_count)
        return made.step_count == 1

    assert len(list(train(made, stop))) == 1
    assert asked == [0, 1]


def test_at_every_yield_there_is_a_whole_state_and_none_in_a_step_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, step = training(), Engine.step
    inside = list[bool]()

    def watched(self: Engine, *arguments: Any) -> Any:
        inside.append(made.between_steps)
        if self.step_count == 3:
            raise OSError
        return step(self, *arguments)

    monkeypatch.setattr(Engine, "step", watched)
    with pytest.raises(OSError):
        for _ in train(made, lambda: False):
            assert made.between_steps
    assert inside == [False] * 4
    assert not made.between_steps


def every(value: float, unit: Any) -> Quantity:
    length = training().spec.phases[0].length
    assert length is not None
    return Quantity(value, unit, length.span)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(every(2, "steps"), [2, 4]), (every(1.5, "steps"), [2, 3, 5]), (every(8, "images"), [2, 4]), (None, [])],
    ids=["steps", "parts of steps", "images", "never"],
)
def test_what_is_due_is_so_once_for_each_multiple_over_all_phases(
    interval: Quantity | None, expected: list[int]
) -> None:
    made = training()
    due = Interval(interval, made)
    found = [made.step_count for each in train(made, lambda: made.done) if isinstance(each, Stepped) and due.due()]
    assert found == expected


EPOCHS = (
    PHASES.replace("count=30", "count=24").split("  phases:")[0]
    + """
  phases:
    - {length: 1 epochs}
    - {length: 1 epochs, data: {x: "plane(std=0.3, count=12)"}}
    - {length: 4 steps}
    - {length: 0.5 epochs}
    - {length: 1.5 epochs}
"""
)  # of 6, 3, 4, 3 and 9 steps, and 1, 1, 4 / 6, 0.5 and 1.5 epochs


def due_until(made: Training, step: int | None, interval: Quantity) -> Iterator[int]:
    """The steps at which an interval is due, anew from here and from each phase on, as a session asks."""
    due = Interval(interval, made)
    for each in train(made, lambda: made.done or made.step_count == step):
        if isinstance(each, PhaseBegan):
            due = Interval(interval, made)
        elif due.due():
            yield made.step_count


@pytest.mark.parametrize("cut", [None, 3, 6, 9, 14])
def test_epochs_are_counted_over_all_phases_each_by_the_data_of_its_own(cut: int | None, tmp_path: Path) -> None:
    made = training(EPOCHS)
    found = [*due_until(made, cut, every(2, "epochs"))]
    if cut is not None:
        made.save(tmp_path / "cut")
        made = Training.resume(tmp_path / "cut", device="cpu")
        found += due_until(made, None, every(2, "epochs"))
    assert found == [9, 21]
    assert made.position(every(1, "epochs")) == pytest.approx(1 + 1 + 4 / 6 + 0.5 + 1.5)


@pytest.mark.parametrize("times", [1, 2, 3, 6, 7])
def test_a_multiple_of_a_fraction_is_due_where_it_is_reached(times: int) -> None:
    made = training(PHASES.replace("length: 2 steps", "length: 9 steps"))
    due, found = Interval(every(0.1 * times, "kimg"), made), list[int]()
    made.position = lambda _: 0.1 * times * made.step_count  # type: ignore[method-assign, assignment]  # in tenths
    for each in train(made, lambda: made.step_count == 9):
        if isinstance(each, Stepped) and due.due():
            found.append(made.step_count)
    assert found == list(range(1, 10))


def test_an_interval_counts_from_where_the_training_is() -> None:
    made = training()
    for _ in train(made, lambda: made.step_count == 4):
        pass
    assert not Interval(every(4, "steps"), made).due()


def test_a_phase_is_saved_ten_times_unless_the_spec_says_how_often() -> None:
    spec = training().spec
    saved = save_every(spec, spec.phases[1])
    assert saved is not None and (saved.value, saved.unit) == (pytest.approx(0.3), "steps")
    assert evaluate_every(spec.phases[1]) is None
    own: Spec = training(PHASES.replace("  batch: 4\n", "  batch: 4\n  save: 7 steps\n")).spec
    saved = save_every(own, own.phases[1])
    assert saved is not None and saved.value == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_ask_for_an_end_and_are_what_they_were_afterwards(number: signal.Signals) -> None:
    stop, before = Stop(), signal.getsignal(number)
    with stop.listening():
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
    assert signal.getsignal(number) == before
