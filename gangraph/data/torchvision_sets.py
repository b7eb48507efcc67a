"""The source `torchvision`: its data sets by name. The package is imported when a data set is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from gangraph.data.arguments import Size, require, require_one_of, require_stretch, stretch
from gangraph.data.decode import decoded
from gangraph.data.imageset import ImageSet, Loaded
from gangraph.data.source import Field
from gangraph.data.transform import ImageOptions, Interpolation, Range
from gangraph.errors import DataError
from gangraph.registry import source


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about a data set before it is opened; `side` is None where images differ in size."""

    side: int | None
    channels: int
    label: Field
    splits: tuple[str, ...] = ("train", "test")
    takes_train: bool = False  # torchvision's argument is `train=True`, not `split="train"`


def _class(count: int, low: int = 0) -> Field:
    return Field((), low=low, high=count - 1, dtype=torch.int64)


KNOWN = {
    "MNIST": Known(28, 1, _class(10), takes_train=True),
    "FashionMNIST": Known(28, 1, _class(10), takes_train=True),
    "KMNIST": Known(28, 1, _class(10), takes_train=True),
    "CIFAR10": Known(32, 3, _class(10), takes_train=True),
    "CIFAR100": Known(32, 3, _class(100), takes_train=True),
    "SVHN": Known(32, 3, _class(10), splits=("train", "test", "extra")),
    # Label -1 marks the images of the unlabeled part.
    "STL10": Known(96, 3, _class(10, low=-1), splits=("train", "test", "unlabeled", "train+unlabeled")),
    # The label is 40 attributes, 0 or 1.
    "CelebA": Known(None, 3, Field((40,), 0, 1, torch.int64), splits=("train", "valid", "test", "all")),
    "Flowers102": Known(None, 3, _class(102), splits=("train", "val", "test")),
    "Food101": Known(None, 3, _class(101)),
    "GTSRB": Known(None, 3, _class(43)),
    "OxfordIIITPet": Known(None, 3, _class(37), splits=("trainval", "test")),
}


@source("torchvision")
@dataclass(frozen=True, kw_only=True)
class Torchvision:
    """A torchvision data set. Nothing is downloaded unless `download` is true.

    Args:
        name: for example `MNIST`, `CIFAR10` or `CelebA`.
        root: folder where torchvision keeps its files; `data` if not given.
        split: part of the data set, usually `train` or `test`.
        size: height and width of the images, or one number for both; needed where they differ in size or are not
            square. Others are cut to their largest centred rectangle of that shape and resized.
        channels: 3 or 1; as the data set has it if not given.
        first, count: take `count` images, beginning with image `first`; by default all.
        download: fetch the files if they are not there.
        flip, range, interpolation, augment, skip_corrupt, cache: see `ImageOptions`.

    Raises:
        ValueError: the data set or split is unknown, or an argument is wrong.
    """

    name: str = field(kw_only=False)
    root: str | None = None
    split: str = "train"
    size: Size | None = None
    channels: int | None = None
    first: int = 0
    count: int | None = None
    download: bool = False
    flip: bool = False
    range: Range = "tanh"
    interpolation: Interpolation = "bilinear"
    augment: bool = True
    skip_corrupt: bool = False
    cache: int = 512

    def __post_init__(self) -> None:
        require_one_of("name", self.name, KNOWN)
        require_one_of("split", self.split, KNOWN[self.name].splits)
        require(isinstance(self.download, bool), "download", self.download, "true or false")
        require(self.root is None or isinstance(self.root, str), "root", self.root, "a path to a folder")
        require_stretch(self.first, self.count)
        self._options()  # checks the others

    def _options(self) -> ImageOptions:
        known = KNOWN[self.name]
        return ImageOptions(
            size=known.side if self.size is None else self.size,
            channels=known.channels if self.channels is None else self.channels,
            fit="cover",
            flip=self.flip,
            range=self.range,
            interpolation=self.interpolation,
            augment=self.augment,
            skip_corrupt=self.skip_corrupt,
            cache=self.cache,
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """The arguments that name a folder which has to exist; none if the data set may be downloaded."""
        return () if self.download else ("root",)

    @property
    def fields(self) -> Mapping[str, Field]:
        """`image`, and `label`, int64: the class, or for CelebA its 40 attributes."""
        return {"image": self._options().pixels, "label": KNOWN[self.name].label}

    def open(self) -> ImageSet:
        """Find the files, or fetch them if `download` is true.

        Raises:
            DataError: the files are missing, corrupt or hold too few images, or a package that reads them is not
                installed.
        """
        options = self._options()
        where = Path(self.root or "data").expanduser().absolute()
        samples = self._samples(where)
        chosen = stretch(self.name, len(samples), self.first, self.count)

        def load(index: int) -> Loaded:
            image, label = samples[chosen[index]]
            return {"image": decoded(image, options.rules), "label": torch.as_tensor(label, dtype=torch.int64)}

        names = [f"{self.name} in '{where}', image {index}" for index in chosen]
        return ImageSet(names, load, options)

    def _samples(self, where: Path) -> Any:
        part = {"train": self.split == "train"} if KNOWN[self.name].takes_train else {"split": self.split}
        try:
            return _factory(self.name)(root=str(where), download=self.download, **part)
        except ImportError as error:
            raise DataError(f"torchvision '{self.name}' needs a package: {error}") from error
        except (RuntimeError, OSError, ValueError) as error:
            fix = "put its files there, give root=, or give download=true"
            hint = f"; {fix}" if not self.download else ""
            raise DataError(f"torchvision '{self.name}' not read from '{where}': {error}{hint}") from error


def _factory(name: str) -> Callable[..., Any]:
    # Imported late because it is slow to import and most specs do without it.
    factory: Callable[..., Any] = getattr(import_module("torchvision.datasets"), name)
    return factory
