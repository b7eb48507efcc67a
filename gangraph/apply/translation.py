"""Runs files of images through a network and writes the results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gangraph.apply.anysize import AnySize
from gangraph.apply.applied import Applied
from gangraph.apply.files import write_image
from gangraph.apply.introduction import preparation_text, size_text
from gangraph.apply.levels import Levels
from gangraph.apply.prepare import Preparation
from gangraph.apply.sizes import Size, meta_copy
from gangraph.check.instantiate import Interval
from gangraph.data.archive import Archive
from gangraph.data.stream import derive_seed
from gangraph.errors import DataError, RunError, UsageError
from gangraph.evaluate.pictures import MANY, image_of_levels
from gangraph.run.training import Training
from gangraph.terminal import Countdown
from gangraph.vocabulary.layers import RandomLayer


@dataclass
class Translation:
    """Runs files of images through a network, writes the results, and collects what the user should know.

    Args:
        training: the trained run.
        found: the network.
        made: the range of what it gives.
        asked: height and width to which images are resized first, if any.
        batch: how many images of one size go through the network together.
        memory: how many bytes the network may use at once.
        say: is called with each line of text for the user.

    Attributes:
        failed: a message for each image that could not be translated.
        clipped: images of which many values lay outside of `made`, with the share of these values.
        distorted: images that have another aspect ratio now, with their size before.

    Raises:
        UsageError: the network takes one size only, and another is asked for.
    """

    training: Training
    found: Applied
    made: Interval
    asked: Size | None
    batch: int
    memory: float
    say: Callable[[str], None]
    failed: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    distorted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        training, found = self.training, self.found
        checked, evaluate = training.checked[training.phase], training.spec.phases[training.phase].evaluate
        model = checked.networks[found.owner]
        in_training = evaluate is not None and evaluate.mode == "train" and not model.graph.spec.frozen
        module = training.networks[found.name].train(in_training)
        plain = meta_copy(model.module, training=in_training)
        self.network = AnySize(
            module, plain, found.options.channels, found.size, self.memory, training.engine.precision
        )
        mixes = model.couples_always or (in_training and model.mixes_samples)
        draws = any(
            isinstance(layer, RandomLayer) and (in_training or not layer.only_in_training) for layer in module.modules()
        )
        if self.batch > 1 and (mixes or draws):
            self.say(f"one image at a time: in '{found.name}' images of a batch would depend on each other")
            self.batch = 1
        if self.network.scaling is None and self.asked not in (None, found.size):
            raise UsageError(
                f"'{found.name}' takes {size_text(found.size)} pixels alone, as it was trained: leave out --size"
            )
        for text in preparation_text(found, self.network.scaling, self.asked):
            self.say(text)
        self.preparation = Preparation(found, self.network.scaling is not None, self.asked)

    def go(self, archive: Archive, plan: Mapping[str, Path]) -> int:
        """Translate every image in `plan`; returns how many were written.

        Raises:
            DataError: some images could not be translated; all others were.
            RunError: a file cannot be written.
        """
        said, count = Countdown("image", len(plan)), 0
        for names, images in self._batches(archive):
            count += self._translate(names, images, archive, plan)
            for _ in names:
                said.one_more()
        self._conclude()
        if self.failed:
            raise DataError(f"{len(self.failed)} of {len(plan)} images could not be translated; {count} were")
        return count

    def _batches(self, archive: Archive) -> Iterator[tuple[list[str], Tensor]]:
        """Batches of consecutive images of one size, as large as `batch` and memory allow, with their names."""
        names: list[str] = []
        images: list[Tensor] = []
        for name in archive.names:
            try:
                image = self._read(archive, name)
            except DataError as error:
                self._fail(str(error))
                continue
            if images and (image.shape != images[0].shape or len(images) == self._room(images[0])):
                yield names, torch.cat(images)
                names, images = [], []
            names.append(name)
            images.append(image)
        if images:
            yield names, torch.cat(images)

    def _room(self, image: Tensor) -> int:
        size = (image.shape[2], image.shape[3])
        return 1 if self.batch == 1 else min(self.batch, max(1, int(self.memory // self.network.needs(size))))

    def _read(self, archive: Archive, name: str) -> Tensor:
        """One image, prepared: [1, C, H, W] on the device."""
        image, before = self.preparation.read(archive, name)
        self._compare(archive.where(name), before, (image.shape[1], image.shape[2]))
        settings = self.training.settings
        return image[None].to(settings.device, settings.dtype)

    def _compare(self, name: str, before: Size, after: Size) -> None:
        """Note an image whose aspect ratio has changed."""
        if before != after and abs(before[0] * after[1] - before[1] * after[0]) > max(*before, *after):
            self.distorted.append(f"{name} {size_text(before)}")

    def _translate(self, names: Sequence[str], images: Tensor, archive: Archive, plan: Mapping[str, Path]) -> int:
        """Run a batch through the network and write the results; returns how many were written."""
        try:
            with torch.random.fork_rng():
                torch.manual_seed(derive_seed(self.training.seed, "apply", names[0]))  # for layers that draw numbers
                made = self.network(images, levels := Levels(self.made))
        except (RunError, RuntimeError, MemoryError) as error:
            for name in names:
                self._fail(f"{archive.where(name)}: {str(error).partition(chr(10))[0] or type(error).__name__}")
            return 0
        for name, image, share in zip(names, made, levels.clipped(len(names)), strict=True):
            if share > MANY:
                self.clipped.append(f"{archive.where(name)} {share:.0%}")
            try:
                write_image(image_of_levels(image), plan[name])
            except OSError as error:
                raise RunError(f"cannot write '{plan[name]}': {error.strerror or error}") from None
        return len(names)

    def _fail(self, message: str) -> None:
        self.failed.append(message)
        self.say(message)

    def _conclude(self) -> None:
        """Tell the user how large images were processed, and which were distorted or clipped."""
        for remark in self.network.remarks:
            self.say(remark)
        if self.distorted:
            how = "stretched" if self.found.options.fit == "stretch" else "cut off"
            which = f"{len(self.distorted)} images have" if len(self.distorted) > 1 else "1 image has"
            self.say(f"{which} another aspect ratio now ({how}): {_some(self.distorted)}")
        if self.clipped:
            low, high = self.made
            self.say(f"values outside of [{low:g}, {high:g}] were clipped: {_some(self.clipped)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
