"""Sample grids as data of a page: thinned and recompressed until they fit its budget."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

from PIL import Image

from gangraph.errors import RunError
from gangraph.report.reading import Run

BUDGET = 3_400_000  # characters of all pictures of a page together

Steps = Sequence[tuple[int, Path]]


_RATHER_SQUARE = 1.25  # height by width up to which a picture may be one plot, and is shown whole


@dataclass(frozen=True, slots=True)
class Quality:
    """How many frames a film keeps, their largest width in pixels, and the quality of WebP, from 0 to 100."""

    frames: int
    width: int
    level: int


QUALITIES = (
    Quality(25, 1200, 84), Quality(16, 1000, 80), Quality(10, 900, 76), Quality(6, 720, 70),
    Quality(3, 540, 60), Quality(1, 480, 55), Quality(1, 240, 50), Quality(1, 120, 40),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepPicture:
    """A picture at a step; `source` is a data URI, the size is in pixels."""

    step: int
    source: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Reel:
    """One picture of a film over time: of a run, or of a variant."""

    label: str
    frames: tuple[StepPicture, ...]

    @property
    def last(self) -> StepPicture:
        """The picture that is shown at first, and in print."""
        return self.frames[-1]


@dataclass(frozen=True)
class Film:
    """Pictures that one slider moves through training together; `name` is the grid's, '' for the only one."""

    name: str
    reels: tuple[Reel, ...]

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Every step at which any picture changes."""
        return tuple(sorted({frame.step for reel in self.reels for frame in reel.frames}))

    @property
    def script(self) -> dict[str, object]:
        """Steps, the sources of all pictures but the last, which the page contains, and the one shown at each step."""
        return {
            "steps": self.steps,
            "pictures": [[frame.source for frame in reel.frames[:-1]] for reel in self.reels],
            "shown": [
                [max(0, sum(frame.step <= step for frame in reel.frames) - 1) for step in self.steps]
                for reel in self.reels
            ],
        }


def films(runs: Mapping[str, Run], budget: int = BUDGET) -> tuple[Film, ...]:
    """One film for every grid that the runs show, with a picture for each run, by its label.

    Raises:
        RunError: a picture is damaged.
    """
    names = dict.fromkeys(name for run in runs.values() for name in run.samples)
    grids = {name: {label: run.samples[name] for label, run in runs.items() if name in run.samples} for name in names}
    every = [steps for reels in grids.values() for steps in reels.values()]
    for quality in QUALITIES:
        if sum(_estimate(steps, quality) for steps in every) > budget and quality is not QUALITIES[-1]:
            continue
        made = tuple(
            Film(name, tuple(Reel(label, _frames(steps, quality)) for label, steps in reels.items()))
            for name, reels in grids.items()
        )
        if sum(len(frame.source) for film in made for reel in film.reels for frame in reel.frames) <= budget:
            return made
    return ()


def thumbnail(steps: Steps, width: int) -> StepPicture:
    """The last picture, `width` pixels wide; of rows of samples the upper part, 4 wide and 3 high. Raises RunError."""
    step, path = steps[-1]
    image = _opened(path)
    high = image.width * 3 // 4 if image.height > _RATHER_SQUARE * image.width else image.height
    return _encoded(step, image.crop((0, 0, image.width, high)), width, 76)


def _estimate(steps: Steps, quality: Quality) -> int:
    """Characters of a film; pictures of the beginning are noise and take more than the last one."""
    return int(1.1 * min(len(steps), quality.frames) * len(_frames(steps[-1:], quality)[0].source))


def _frames(steps: Steps, quality: Quality) -> tuple[StepPicture, ...]:
    return tuple(
        _encoded(step, _opened(path), quality.width, quality.level) for step, path in thinned(steps, quality.frames)
    )


def thinned(steps: Steps, count: int) -> Steps:
    """At most `count` of the pictures, evenly over training; the last is always among them, the first if it can be."""
    if len(steps) <= count:
        return steps
    kept = [round(i * (len(steps) - 1) / (count - 1)) for i in range(count)] if count > 1 else [-1]
    return [steps[i] for i in kept]


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path).convert("RGB")
    except OSError:
        raise RunError(f"'{path}' is damaged: it is no picture") from None


def _encoded(step: int, image: Image.Image, width: int, level: int) -> StepPicture:
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, format="WEBP", quality=level, method=3)
    text = base64.b64encode(buffer.getvalue()).decode()
    return StepPicture(step, f"data:image/webp;base64,{text}", *image.size)
