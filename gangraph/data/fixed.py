"""`fixed(source)`: the same samples in every draw, in training and in evaluations alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gangraph.data.arguments import require
from gangraph.data.random import RandomSource
from gangraph.data.source import Dataset, Field, Source
from gangraph.registry import source

_PLAIN = (int, float, str, tuple, type(None))
_BLOCK = 16  # samples of a random source that are drawn at once


@dataclass(frozen=True, slots=True)
class FixedStream:
    """A source whose every batch consists of its first samples, repeated if the batch is larger than the data set."""

    inside: Source
    seed: int

    @property
    def fields(self) -> Mapping[str, Field]:
        """Those of the source; what differs in length is always as long as it can be."""
        return {name: replace(field, varies=None) for name, field in self.inside.fields.items()}

    def open(self) -> Dataset:
        """Open the source. Raises DataError."""
        return _FixedDataset(self.inside.open(), self.seed)


@dataclass(frozen=True, slots=True)
class _FixedDataset:
    """A data set that gives its first samples, whichever are asked for."""

    inside: Dataset
    seed: int

    def __len__(self) -> int:
        return len(self.inside)

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """As many samples as there are indices: the first ones, in order, augmented in the same way every time."""
        first = [place % len(self.inside) for place in range(len(indices))]
        return self.inside.batch(first, torch.Generator(generator.device).manual_seed(self.seed))


@dataclass(frozen=True, slots=True)
class FixedRandom(RandomSource):
    """A random source that draws the same numbers every time."""

    source: RandomSource
    seed: int

    @property
    def value(self) -> Field:
        """The field of the source."""
        return self.source.value

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw from the source's own seed; `generator` is not used.

        A sample depends on the seed and its place alone: whole blocks are drawn, however many samples are asked for,
        because the numbers of torch.randn depend on how many there are.
        """
        own = torch.Generator(generator.device).manual_seed(self.seed)
        count, block = shape[0], (_BLOCK, *shape[1:])
        return torch.cat([self.source.sample(block, own, dtype) for _ in range(0, count, _BLOCK)])[:count]


@source("fixed")
def fixed(source: object, seed: int = 0) -> Source | RandomSource:
    """The same samples in every draw: the first of a stream, `fixed(images("photos", size=64))`, or one random draw.

    Two that are written alike are alike; another `seed` gives other random numbers, and other crops and flips.

    Raises:
        ValueError: `source` is no source, or fixed already, or `seed` is negative.
    """
    require(seed >= 0, "seed", seed, "0 or more")
    require(not isinstance(source, _PLAIN), "source", source, 'a source, such as images("photos", size=64)')
    require(not isinstance(source, FixedStream | FixedRandom), "source", "fixed(...)", "a source that is not fixed yet")
    if isinstance(source, RandomSource):
        return FixedRandom(source.shape, source, seed)
    return FixedStream(source, seed)  # type: ignore[arg-type]  # what calls of sources make


def is_fixed(source: Source | RandomSource) -> bool:
    """Whether every draw of a source is the same."""
    return isinstance(source, FixedStream | FixedRandom)
