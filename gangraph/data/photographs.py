"""The source `photographs`: two real ones that come with scikit-learn, so that nothing is downloaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from gangraph.data.arguments import require_some_of
from gangraph.data.imageset import ImageSet, Loaded
from gangraph.data.source import Field
from gangraph.data.transform import ImageOptions
from gangraph.errors import DataError
from gangraph.registry import source

NAMES = ("china", "flower")  # each 640 x 427 pixels


@source("photographs")
@dataclass(frozen=True, kw_only=True)
class Photographs(ImageOptions):
    """Two photographs of 640 x 427 pixels: `china`, a temple among trees, and `flower`, a dahlia.

    Args:
        name: `china`, `flower`, or a list of both, which is also what is read without it.
        size, resize, crop, ...: see `ImageOptions`; one of these three is needed. `fit="cover"` keeps proportions.

    Raises:
        ValueError: an argument is wrong, or none states the size.
    """

    name: str | Sequence[str] = field(default=NAMES, kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "name", require_some_of("name", self.name, NAMES))

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value`, the image."""
        return {"value": self.pixels}

    def open(self) -> ImageSet:
        """Find the files, which lie in scikit-learn's package.

        Raises:
            DataError: scikit-learn is not installed, or without its photographs.
        """
        try:
            folder = files("sklearn.datasets.images")
            found = [folder / f"{name}.jpg" for name in self.name]
            data = [file.read_bytes() for file in found]
        except (ImportError, OSError) as error:
            raise DataError(
                f"source 'photographs' needs the photographs of the package scikit-learn: {error}"
            ) from error

        def load(index: int) -> Loaded:
            return {"value": self.decode(data[index])}

        return ImageSet([file.name for file in found], load, self)
