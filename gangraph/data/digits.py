"""The source `digits`: real handwritten digits that come with scikit-learn, so that nothing is downloaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor
from torch.nn import functional

from gangraph.data.arguments import Size, height_and_width, require_count, require_one_of, require_size
from gangraph.data.source import Field
from gangraph.data.transform import LOWEST, Range
from gangraph.errors import DataError
from gangraph.registry import source

COUNT, SIDE, INK = 1797, 8, 16  # images, pixels of a side as stored, the largest stored value
SPLITS = {"train": range(1257), "val": range(1257, 1527), "test": range(1527, COUNT), "all": range(COUNT)}


@source("digits")
@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 handwritten digits of 13 writers, 8 x 8 pixels: the test part of the UCI set of 1998.

    Args:
        size: height and width of the images, or one number for both; they are resized from 8 pixels, bilinear.
        split: `train` (1,257 images), `val` (270), `test` (270) or `all`.
        seed: which images are in which split; writers are in all of them.
        channels: 1, or 3 equal ones.
        range: `tanh` gives values in [-1, 1], `unit` in [0, 1]; ink is high.

    Raises:
        ValueError: an argument is wrong.
    """

    size: Size = SIDE
    split: str = "train"
    seed: int = 0
    channels: int = 1
    range: Range = "tanh"

    def __post_init__(self) -> None:
        require_size("size", self.size)
        require_one_of("split", self.split, SPLITS)
        require_count("seed", self.seed, least=0)
        require_one_of("channels", self.channels, (1, 3))
        require_one_of("range", self.range, LOWEST)

    @property
    def fields(self) -> Mapping[str, Field]:
        """`image`, [channels, height, width], and `label`, int64: the digit."""
        return {
            "image": Field((self.channels, *height_and_width(self.size)), LOWEST[self.range], 1),
            "label": Field((), 0, 9, torch.int64),
        }

    def open(self) -> "DigitSet":
        """Read the images, which lie in scikit-learn's package.

        Raises:
            DataError: scikit-learn is not installed.
        """
        try:
            data = import_module("sklearn.datasets").load_digits()  # slow to import, and most specs do without it
        except ImportError as error:
            raise DataError(f"source 'digits' needs the package scikit-learn: {error}") from error
        order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(self.seed))
        chosen = order[list(SPLITS[self.split])]
        stored = torch.from_numpy(data.images)[chosen, None].float() / INK
        images = functional.interpolate(stored, size=height_and_width(self.size), mode="bilinear", antialias=True)
        low = LOWEST[self.range]
        scaled = (low + (1 - low) * images).expand(-1, self.channels, -1, -1)
        return DigitSet(scaled, torch.from_numpy(data.target)[chosen].long())


@dataclass(frozen=True, slots=True)
class DigitSet:
    """The opened form of `Digits`: everything in memory."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The samples at `indices`; nothing is random here, so `generator` is not used."""
        chosen = list(indices)
        return {"image": self.images[chosen], "label": self.labels[chosen]}
