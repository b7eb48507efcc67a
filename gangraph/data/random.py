"""Random sources: `normal`, `uniform`, `categorical` and `bernoulli`, drawn afresh for every batch."""

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
    """Classes, all equally likely: an index, or a vector with a single one."""

    classes: int

    @property
    def value(self) -> Field:
        """A class index, or a one-hot vector."""
        if self.shape:
            return Field(self.shape, low=0, high=1)
        return Field((), low=0, high=self.classes - 1, dtype=torch.int64)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw indices, or one-hot vectors if the shape has a last axis for the classes."""
        drawn = torch.randint(self.classes, shape[:1], generator=generator, device=generator.device)
        return torch.nn.functional.one_hot(drawn, self.classes).to(dtype) if self.shape else drawn


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
def categorical(classes: int, one_hot: bool = False) -> RandomSource:
    """A class, all equally likely: an int64 index, or a float vector of zeros and a single one.

    Raises:
        ValueError: `classes` is not a positive whole number.
    """
    require_count("classes", classes)
    require(isinstance(one_hot, bool), "one_hot", one_hot, "true or false")
    return Categorical((classes,) if one_hot else (), classes)


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
