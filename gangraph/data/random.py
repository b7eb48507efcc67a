"""Random sources, drawn afresh for every batch: `normal`, `uniform`, `categorical`, `bernoulli` and `permutation`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gangraph.data.arguments import require, require_count, require_counts
from gangraph.data.source import Field
from gangraph.registry import source


@dataclass(frozen=True, slots=True)
class RandomSource(ABC):
    """Random tensors of one shape; `fields` has the one field `value`."""

    shape: tuple[int, ...]

    @property
    @abstractmethod
    def value(self) -> Field:
        """One draw, without the batch."""

    @abstractmethod
    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw `shape` in `dtype` (float32 or float64) on the generator's device."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value`, the drawn tensor."""
        return {"value": self.value}

    def draw(self, batch: int, generator: torch.Generator, device: torch.device | str, dtype: torch.dtype) -> Tensor:
        """Draw [batch, *shape] on `device`: whole numbers as int64, others as `dtype`.

        The numbers are drawn on the generator's device and then moved, so a seed gives the same numbers on every
        device. Half precision is rounded from the float32 draw.
        """
        precision = torch.float64 if dtype == torch.float64 else torch.float32
        drawn = self.sample((batch, *self.shape), generator, precision)
        declared = self.value.dtype
        return drawn.to(device=device, dtype=dtype if declared.is_floating_point else declared)


@dataclass(frozen=True, slots=True)
class Normal(RandomSource):
    """Independent Gaussian numbers."""

    mean: float
    std: float

    @property
    def value(self) -> Field:
        """Unbounded numbers."""
        return Field(self.shape)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw mean + std * standard normal."""
        drawn = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
        return drawn * self.std + self.mean


@dataclass(frozen=True, slots=True)
class Uniform(RandomSource):
    """Independent numbers, evenly spread over [low, high)."""

    low: float
    high: float

    @property
    def value(self) -> Field:
        """Numbers between the bounds."""
        return Field(self.shape, low=self.low, high=self.high)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw low + (high - low) * standard uniform."""
        drawn = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
        return drawn * (self.high - self.low) + self.low


@dataclass(frozen=True, slots=True)
class Categorical(RandomSource):
    """Classes, all equally likely: indices, or vectors with a single one along a last axis of the shape."""

    classes: int
    one_hot: bool = False

    @property
    def value(self) -> Field:
        """Class indices, or one-hot vectors."""
        if self.one_hot:
            return Field(self.shape, low=0, high=1)
        return Field(self.shape, low=0, high=self.classes - 1, dtype=torch.int64)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw indices, or one-hot vectors."""
        places = shape[:-1] if self.one_hot else shape
        drawn = torch.randint(self.classes, places, generator=generator, device=generator.device)
        return torch.nn.functional.one_hot(drawn, self.classes).to(dtype) if self.one_hot else drawn


@dataclass(frozen=True, slots=True)
class Permutation(RandomSource):
    """The numbers from 0 on in a random order for each sample, or the first few of it; the shape is how many."""

    count: int

    @property
    def value(self) -> Field:
        """Places from 0 to count - 1."""
        return Field(self.shape, low=0, high=self.count - 1, dtype=torch.int64)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw an order for each sample by itself."""
        orders = [torch.randperm(self.count, generator=generator, device=generator.device) for _ in range(shape[0])]
        return torch.stack([order[: shape[1]] for order in orders])


@dataclass(frozen=True, slots=True)
class Bernoulli(RandomSource):
    """Independent zeros and ones."""

    p: float

    @property
    def value(self) -> Field:
        """Zeros and ones, as floats."""
        return Field(self.shape, low=0, high=1)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw 1 with probability p."""
        drawn = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
        return (drawn < self.p).to(dtype)


@source("normal", random=True)
def normal(*shape: int, mean: float = 0.0, std: float = 1.0) -> RandomSource:
    """Gaussian numbers of a shape: `normal(128)` is a vector, `normal(3, 64, 64)` an image.

    Raises:
        ValueError: a size is not a positive whole number, or `std` is negative.
    """
    require_counts("normal", shape)
    _require_number("mean", mean)
    _require_number("std", std)
    require(std >= 0, "std", std, "0 or more")
    return Normal(shape, mean, std)


@source("uniform", random=True)
def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> RandomSource:
    """Numbers spread evenly over [low, high); without a shape, one number for each sample.

    Raises:
        ValueError: a size is not a positive whole number, or `high` is not above `low`.
    """
    require_counts("uniform", shape)
    _require_number("low", low)
    _require_number("high", high)
    require(low < high, "high", high, f"more than low={low}")
    return Uniform(shape, low, high)


@source("categorical", random=True)
def categorical(classes: int, one_hot: bool = False, count: int | None = None) -> RandomSource:
    """A class, all equally likely: an int64 index, or a float vector of zeros and a single one; with `count` several.

    Raises:
        ValueError: `classes` or `count` is not a positive whole number.
    """
    require_count("classes", classes)
    require(isinstance(one_hot, bool), "one_hot", one_hot, "true or false")
    if count is not None:
        require_count("count", count)
    several = () if count is None else (count,)
    return Categorical((*several, classes) if one_hot else several, classes, one_hot)


@source("permutation", random=True)
def permutation(size: int, count: int | None = None) -> RandomSource:
    """The places from 0 to size - 1 in a random order for each sample, int64; with `count` the first ones of it.

    `argsort(uniform(), dim=0)` is a random order of the samples of a batch.

    Raises:
        ValueError: `size` or `count` is not a positive whole number, or `count` is above `size`.
    """
    require_count("size", size)
    require_count("count", size if count is None else count)
    require(count is None or count <= size, "count", count, f"at most size={size}")
    return Permutation((size if count is None else count,), size)


@source("bernoulli", random=True)
def bernoulli(*shape: int, p: float = 0.5) -> RandomSource:
    """Zeros and ones, as floats; 1 with probability `p`.

    Raises:
        ValueError: a size is not a positive whole number, or `p` is outside [0, 1].
    """
    require_counts("bernoulli", shape)
    _require_number("p", p)
    require(0 <= p <= 1, "p", p, "a probability in [0, 1]")
    return Bernoulli(shape, p)


def _require_number(name: str, found: object) -> None:
    require(isinstance(found, int | float) and not isinstance(found, bool), name, found, "a number")
