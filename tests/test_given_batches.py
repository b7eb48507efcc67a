"""Batches that are given to `Trainer.step`: what is not as the source declares it is told before anything moves."""

import re
from collections.abc import Mapping

import pytest
import torch

from gangraph.errors import UsageError
from tests.support import load, same, small, snapshot, trainer

X, Z = torch.zeros(4, 2), torch.zeros(4, 2)
AGAIN = ("{update: d, minimize: judge, times: 3, draw: all}", "{update: g, minimize: fool}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": torch.zeros(4, 3)}, "'x' is [B, 2] with at least one sample; [4, 3] was given"),
        ({"x": torch.zeros(4)}, "'x' is [B, 2] with at least one sample; [4] was given"),
        ({"x": torch.zeros(0, 2)}, "'x' is [B, 2] with at least one sample; [0, 2] was given"),
        ({"x": torch.zeros(())}, "'x' is [B, 2] with at least one sample; [] was given"),
        ({"x": torch.zeros(4, 2, dtype=torch.int64)}, "floating-point numbers; torch.int64 was given"),
        ({"x": torch.zeros(4, 2, dtype=torch.bool)}, "floating-point numbers; torch.bool was given"),
        ({"x": torch.zeros(4, 2, dtype=torch.complex64)}, "floating-point numbers; torch.complex64 was given"),
        ({"x": [[0.0, 0.0]] * 4}, "'x' is drawn once in this step, and 4 batches were given: give one batch"),
        ({"x": X.numpy()}, "'x' is a tensor, not a ndarray"),
        ({"x": None}, "'x' is a tensor, not nothing"),
        ({"x": {"value": X, "more": X}}, "'x' has the fields value, but value, more were given"),
        ({"x": {}}, "'x' has the fields value, but nothing was given"),
        ({"x": X, "z": torch.zeros(3, 2)}, "one size; 4 samples of 'x' and 3 samples of 'z' were given"),
        ({"y": X}, "there is no source 'y' to give; the sources are x, z"),
        ([X, Z], "a mapping, not a list"),
    ],
)
def test_what_is_no_batch_of_a_source_is_told_and_nothing_moves(given: Mapping[str, object], said: str) -> None:
    made = trainer(small())
    before = snapshot(made.networks)
    with pytest.raises(UsageError, match=re.escape(said)):
        made.step(given)  # type: ignore[arg-type]
    assert same(before, snapshot(made.networks)) and made.step_count == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X, "source 'x' is drawn 3 times in this step, and one batch was given: give a list of 3 batches"),
        ([X], "source 'x' is drawn 3 times in this step, and one batch was given"),
        ([X, X], "source 'x' is drawn 3 times in this step, and 2 batches were given"),
        ([X, X, X, X], "source 'x' is drawn 3 times in this step, and 4 batches were given"),
        ([X, X, torch.zeros(4, 5)], "batch 3 of 'x' is [B, 2]"),
        ([X, X, torch.zeros(5, 2)], "4 samples of 'x' and 5 samples of 'x' were given"),
    ],
)
def test_each_draw_of_a_source_has_a_batch_of_its_own(given: object, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        trainer(small(*AGAIN)).step({"x": given})  # type: ignore[dict-item]


def test_as_many_batches_as_draws_are_used_in_their_order() -> None:
    first, second = trainer(small(*AGAIN), seed=1), trainer(small(*AGAIN), seed=1)
    batches = [torch.randn(4, 2, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    assert first.step({"x": batches})["judge"] != second.step({"x": batches[::-1]})["judge"]


def test_every_micro_batch_is_a_draw() -> None:
    step = ("{update: d, minimize: judge, accumulate: 2}", "{update: g, minimize: fool}")
    with pytest.raises(UsageError, match="drawn 2 times"):
        trainer(small(*step)).step({"x": X})
    trainer(small(*step)).step({"x": [X, X], "z": [Z, Z]})


def test_draws_that_depend_on_the_step_are_counted_at_that_step() -> None:
    step = ("{update: d, minimize: judge, draw: all, times: 3 if step == 0 else 1}", "{update: g, minimize: fool}")
    made = trainer(small(*step))
    with pytest.raises(UsageError, match="drawn 3 times"):
        made.step({"x": X})
    made.step({"x": [X, X, X]})
    made.step({"x": X})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": torch.zeros(4, 1, 16, 16)}, "has the fields image, label, but image were given"),
        (torch.zeros(4, 1, 16, 16), "has the fields image, label: give a mapping of them, not a Tensor"),
        ({"image": torch.zeros(4, 1, 16, 16), "label": torch.zeros(4)}, "label holds whole numbers"),
        ({"image": torch.zeros(4, 1, 16, 16), "label": torch.tensor([0, 1, 2, 10])}, "label is from 0 to 9; 0 to 10"),
        ({"image": torch.zeros(4, 1, 16, 16), "label": torch.tensor([0, 1, 2])}, "different numbers of samples"),
        ({"image": torch.zeros(4, 3, 16, 16), "label": torch.tensor([0, 1, 2, 3])}, "image is [B, 1, 16, 16]"),
    ],
)
def test_a_source_with_several_fields_takes_them_all(given: object, said: str) -> None:
    spec = load("acgan")
    name = next(iter(spec.phases[0].data))
    with pytest.raises(UsageError, match=re.escape(said)):
        trainer(spec).step({name: given})  # type: ignore[dict-item]
