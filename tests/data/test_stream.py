"""Streams and random draws: pure functions of position and seed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import current_thread

import pytest
import torch
from torch import Tensor

from gangraph.data.random import RandomSource, bernoulli, categorical, normal, uniform
from gangraph.data.stream import Stream, derive_seed
from gangraph.errors import DataError
from gangraph.registry import vocabulary


class Numbers:
    """A data set of its own indices, with noise from the generator; index `broken` cannot be read."""

    def __init__(self, length: int, broken: int | None = None) -> None:
        self.length = length
        self.broken = broken
        self.threads: list[str] = []

    def __len__(self) -> int:
        return self.length

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        self.threads.append(current_thread().name)
        if self.broken in indices:
            raise DataError(f"{self.broken}.png: not an image")
        return {"index": torch.tensor(indices), "noise": torch.rand(len(indices), generator=generator)}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_epoch_holds_every_index_once_in_a_new_order() -> None:
    stream = Stream(Numbers(10), "photos", 0, 4)
    drawn = [index for position in range(0, 40, 4) for index in stream.indices(position)]
    epochs = [drawn[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_batch_depends_on_its_position_alone() -> None:
    stream = Stream(Numbers(10), "photos", 0, 4)
    forward = [stream.batch(position) for position in range(0, 40, 4)]
    for position in reversed(range(0, 40, 4)):
        assert same(Stream(Numbers(10), "photos", 0, 4).batch(position), forward[position // 4])
        assert same(stream.batch(position), forward[position // 4])


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    stream = Stream(Numbers(7), "photos", 0, 1)
    assert stream.indices(0, 20) == [index for position in range(20) for index in stream.indices(position)]


def test_a_batch_may_be_larger_than_the_data_set() -> None:
    assert Counter(Stream(Numbers(3), "photos", 0, 9).indices(0)) == {0: 3, 1: 3, 2: 3}


@pytest.mark.parametrize(("name", "seed"), [("photos", 1), ("drawings", 0)])
def test_another_seed_or_name_gives_another_order(name: str, seed: int) -> None:
    assert Stream(Numbers(50), name, seed, 50).indices(0) != Stream(Numbers(50), "photos", 0, 50).indices(0)


def test_prefetching_changes_no_batch() -> None:
    plain, numbers = Stream(Numbers(10), "photos", 0, 4), Numbers(10)
    with Stream(numbers, "photos", 0, 4, prefetch=True) as ahead:
        for position, batch in ((0, 4), (4, 4), (8, 4), (0, 4), (4, 3), (7, 3), (99, 4)):
            assert same(ahead.batch(position, batch), plain.batch(position, batch))
    assert {name.split("_")[0] for name in numbers.threads} == {"MainThread", "gangraph-photos"}


def test_an_error_in_the_background_reaches_the_caller() -> None:
    order = Stream(Numbers(8), "photos", 0, 4).indices(0, 8)
    with Stream(Numbers(8, broken=order[5]), "photos", 0, 4, prefetch=True) as stream:
        stream.batch(0)
        with pytest.raises(DataError, match="not an image"):
            stream.batch(4)


def test_a_closed_stream_still_gives_batches() -> None:
    stream = Stream(Numbers(8), "photos", 0, 4, prefetch=True)
    first = stream.batch(0)
    stream.close()
    assert same(stream.batch(0), first)


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="source 'photos' has no samples"):
        Stream(Numbers(0), "photos", 0, 4)


def test_seeds_are_stable_and_depend_on_every_part() -> None:
    assert derive_seed(0, "photos", 3) == 1_423_944_475_674_861_758
    assert len({derive_seed(0, "a"), derive_seed(1, "a"), derive_seed(0, "b"), derive_seed(0, "a", 0)}) == 4
    assert all(0 <= derive_seed(part) < 2**63 for part in range(1000))


# Random sources


@pytest.mark.parametrize(
    "source",
    [
        normal(3, 4, 4),
        normal(),
        uniform(1, low=-1),
        uniform(),
        categorical(10),
        categorical(10, one_hot=True),
        bernoulli(5, p=0.2),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_draws_have_the_declared_shape_type_and_range(source: RandomSource, dtype: torch.dtype) -> None:
    (field,) = source.fields.values()
    drawn, again = (source.draw(6, torch.Generator().manual_seed(0), "cpu", dtype) for _ in range(2))
    assert torch.equal(drawn, again)
    assert drawn.shape == (6, *field.shape)
    assert drawn.dtype == (dtype if field.dtype.is_floating_point else field.dtype)
    assert field.low <= drawn.min() <= drawn.max() <= field.high


@pytest.mark.parametrize(
    ("source", "mean", "std"),
    [
        (normal(4, mean=2, std=3), 2, 3),
        (uniform(4, low=-1, high=3), 1, 4 / 12**0.5),
        (categorical(5), 2, 2**0.5),
        (bernoulli(4, p=0.2), 0.2, 0.4),
    ],
)
def test_draws_have_the_declared_moments(source: RandomSource, mean: float, std: float) -> None:
    drawn = source.draw(20_000, torch.Generator().manual_seed(0), "cpu", torch.float64).double()
    assert drawn.mean().item() == pytest.approx(mean, abs=0.05)
    assert drawn.std().item() == pytest.approx(std, abs=0.05)


def test_one_hot_draws_have_a_single_one() -> None:
    drawn = categorical(7, one_hot=True).draw(50, torch.Generator().manual_seed(0), "cpu", torch.float32)
    assert torch.equal(drawn.sum(1), torch.ones(50))
    assert drawn.count_nonzero() == 50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normal(3, 0), "normal: found 0, expected a whole number of at least 1"),
        (lambda: normal(3, std=-1), "std: found -1, expected 0 or more"),
        (lambda: uniform(low=1), "high: found 1.0, expected more than low=1"),
        (lambda: uniform(high="1"), "high: found '1', expected a number"),  # type: ignore[arg-type]
        (lambda: categorical(True), "classes: found true, expected a whole number"),
        (lambda: bernoulli(p=2), "p: found 2, expected a probability in"),
    ],
)
def test_a_wrong_argument_says_what_was_found_and_expected(make: Callable[[], RandomSource], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_random_sources_are_marked_as_random() -> None:
    names = ("normal", "uniform", "categorical", "bernoulli")
    assert all(vocabulary[name].traits.random for name in names)
