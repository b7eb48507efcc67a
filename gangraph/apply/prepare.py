"""Files of images to tensors as a network takes them."""

from dataclasses import dataclass, replace

from torch import Tensor

from gangraph.apply.applied import Applied
from gangraph.apply.sizes import Size
from gangraph.data.archive import Archive
from gangraph.data.decode import Picture
from gangraph.data.imageset import corrupt
from gangraph.data.transform import LOWEST, ImageOptions
from gangraph.errors import DataError


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares images in the way of the source that the spec feeds to a network.

    Args:
        found: the network.
        any_size: whether it takes images of any size; else they are resized to the size that it was trained on.
        asked: height and width to which images are resized, for a network that takes any size.
    """

    found: Applied
    any_size: bool
    asked: Size | None

    def read(self, archive: Archive, name: str) -> tuple[Tensor, Size]:
        """One image [C, H, W] in the network's range, and its height and width in the file.

        Raises:
            DataError: it cannot be read.
        """
        options = self.found.options
        try:
            decoded = options.decode(archive.read(name, options.largest // 4))
            prepared = self._prepared(options, decoded)
        except DataError:
            raise
        except Exception as error:  # see ImageSet: decoders raise nearly anything
            raise corrupt(archive.where(name), error) from error
        return self._scaled(prepared), (decoded[0].height, decoded[0].width)

    def _prepared(self, options: ImageOptions, decoded: Picture) -> Tensor:
        if not self.any_size:
            return options.arrange(options.prepare(decoded), (0.5, 0.5, 1.0))
        if self.asked is not None:
            return replace(options, size=self.asked, resize=None, crop=None).prepare(decoded)
        return replace(options, size=None, resize=None, crop=1).prepare(decoded)  # which leaves the size as it is

    def _scaled(self, image: Tensor) -> Tensor:
        low, high = self.found.given
        if (low, high) == (LOWEST[self.found.options.range], 1):
            return self.found.options.scale(image)
        return replace(self.found.options, range="unit").scale(image) * (high - low) + low
