"""Files of images through a trained network, into files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gangraph.apply.applied import applicable
from gangraph.apply.files import plan_files
from gangraph.apply.sizes import Size
from gangraph.apply.translation import Translation
from gangraph.check.instantiate import Interval
from gangraph.data.archive import open_images
from gangraph.data.transform import ImageOptions
from gangraph.errors import UsageError
from gangraph.run.loading import load_run

MEMORY = 2.9  # GiB that a network may use at once, so that the process stays below 4


def apply(
    run: Path,
    network: str,
    source: Path,
    target: Path,
    *,
    which: str | None = None,
    average: bool = False,
    size: Size | None = None,
    device: str = "auto",
    batch: int = 1,
    memory: float = MEMORY,
    interval: Interval | None = None,
    ground: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Send images through a trained network, one file after another; returns how many were written.

    Images are prepared in the way of the source that the spec feeds to the network. They keep their size if the network
    takes any size; else they are resized in the way of that source. Results are PNG files with the names of the images,
    in the same subfolders.

    Args:
        run: the folder of a run.
        network: the name of a network in its spec.
        source: an image, a folder, a zip file, or a folder in one.
        target: a folder; for one image also a file.
        which: the checkpoint, such as `best`; by default the newest that is not damaged.
        average: use the network's moving average.
        size: height and width to which images are resized first, by the source's `fit` and `interpolation`.
        batch: how many images of one size go through the network together.
        memory: how many GiB the network may use at once; larger images are cut into overlapping tiles.
        interval: the lowest and highest value that the network gives; needed where the spec does not tell.
        ground: the colour that transparent images are laid on, in place of the source's.
        overwrite: replace files that exist.
        say: is called with each line of text about what is done, and what failed.

    Raises:
        UsageError: there is no such network, it cannot be applied to images, the range of what it gives is not known,
            or files would be overwritten.
        DataError: there is no image, or some images could not be translated; the others were.
        RunError: a result cannot be written.
    """
    archive = open_images(str(source))
    for note in archive.notes:
        say(note)
    plan = plan_files(archive, source, target, overwrite, say)
    training = load_run(run, which=which, device=device)
    checked = training.checked[training.phase]
    found = applicable(checked, network, average=average)
    if ground is not None:
        found = replace(found, options=_grounded(found.options, ground))
    made = interval or found.made
    if made is None:
        raise UsageError(
            f"the range of what '{found.name}' gives is not known: its last layer is not bounded, and the spec does "
            "not compare it with images of one range; give --range, such as --range tanh"
        )
    return Translation(training, found, made, size, max(1, batch), memory * 2**30, say).go(archive, plan)


def _grounded(options: ImageOptions, ground: str) -> ImageOptions:
    try:
        return replace(options, ground=ground)
    except ValueError as error:
        raise UsageError(f"--ground: {error}") from None
