"""A film of what the evaluations of a run have shown, one look after another."""

import re
from pathlib import Path

from PIL import Image

from gangraph.errors import RunError, UsageError
from gangraph.saved.find_checkpoint import run_of

RATE = 8  # looks a second
_WHITE = (255, 255, 255)


def looks(checkpoint: Path, grid: str) -> list[Image.Image]:
    """The pictures of a grid that the evaluations of a run left in its folder, in order, on frames of one size.

    `grid` is the name in its files, empty for the first. Where pictures differ in size, they stand in the lower left
    corner of the largest, since what varies is the caption.

    Raises:
        UsageError: the checkpoint stands alone, without a run.
        RunError: no evaluation has left a picture of this grid, or one cannot be read.
    """
    run = run_of(checkpoint)
    if run is None:
        raise UsageError(f"'{checkpoint}' is a checkpoint alone, and the film of a grid is of the looks of a run")
    named = re.compile(rf"(\d+){re.escape(f'-{grid}' if grid else '')}\.png")
    found = {int(match[1]): path for path in (run / "samples").glob("*.png") if (match := named.fullmatch(path.name))}
    if not found:
        raise RunError(f"no evaluation has left a picture of {f'grid {grid!r}' if grid else 'the grid'} in '{run}'")
    return _of_one_size([_opened(found[step]) for step in sorted(found)])


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RunError(f"'{path}' cannot be read: {error}") from error


def _of_one_size(shown: list[Image.Image]) -> list[Image.Image]:
    width, height = (max(sides) for sides in zip(*(image.size for image in shown), strict=True))
    framed = []
    for image in shown:
        frame = Image.new("RGB", (width, height), _WHITE)
        frame.paste(image, (0, height - image.height))
        framed.append(frame)
    return framed
