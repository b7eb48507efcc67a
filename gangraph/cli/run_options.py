"""The arguments of the commands on runs, and what their texts mean."""

import math
from pathlib import Path
from typing import Annotated

import typer

from gangraph.cli import completion
from gangraph.cli.options import Compile, Device, Kernels, Precision
from gangraph.errors import UsageError

_LARGEST = 100_000  # pixels of a side that --size takes

RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="The folder of a run, or a checkpoint: one of a run, or what was saved.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
Computed = Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")]

# run
Trained = Annotated[
    str | None,
    typer.Argument(
        metavar="SPEC",
        help="A path, or the name of a shipped spec.",
        show_default=False,
        autocompletion=completion.specs,
    ),
]
NewFolder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The run's folder.", show_default="the next one in runs/")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Everything random is a function of it.", show_default="0"),
]
Numbers = Annotated[
    Precision | None, typer.Option("--precision", help="'bf16' is mixed precision.", show_default="fp32")
]
Compiled = Annotated[Compile, typer.Option("--compile", help="torch.compile; 'auto' uses it on CUDA.")]
Fused = Annotated[
    Kernels | None,
    typer.Option(
        "--kernels",
        help="Fused kernels; 'auto' uses them on CUDA, 'off' is the plain form.",
        show_default="auto, or as a resumed run had it",
    ),
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Stop after this many steps in all.")]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN|auto",
        help="Go on with a run, or with the one under runs/ that trains just this. "
        "What is not given is as the run had it.",
        autocompletion=completion.runs,
    ),
]

Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="RUN",
        help="Begin with the weights of a run, by name where shapes fit, as start: in a spec does.",
        autocompletion=completion.runs,
    ),
]

# measure
Newer = Annotated[
    str | None,
    typer.Option("--spec", metavar="SPEC", help="A newer text of the run's spec; its evaluate: is measured."),
]

# sample
Shown = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="A sampler or a grid of the spec.", show_default="the first grid"),
]
Count = Annotated[
    int | None, typer.Option("--count", metavar="N", min=1, help="How many samples.", show_default="the spec's")
]
DrawSeed = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Of what is drawn.", show_default="the run's")
]
Sentences = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="SENTENCE", help="In place of the text that is read; once for each sample."),
]
Picture = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE|DIR/", help="Where the picture goes; with DIR/, a file for each sample."),
]
Together = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", min=1, help="With DIR/: drawn at once.", show_default="the spec's samples"),
]
DrawnRange = Annotated[
    str | None,
    typer.Option("--range", metavar="R", help="With DIR/: tanh, unit or LOW,HIGH.", show_default="the spec's"),
]

# apply
Network = Annotated[
    str, typer.Option("--network", metavar="G", help="The network, or an average, by its name in the spec.")
]
Source = Annotated[
    Path, typer.Option("--input", metavar="PATH", help="An image, a folder, or a zip file, with its subfolders.")
]
Target = Annotated[
    Path, typer.Option("--output", metavar="PATH", help="A folder for the results; for one image also a file.")
]
Average = Annotated[bool, typer.Option("--average", help="Use the network's moving average.")]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="N|WxH", help="Resize images first.", show_default="as they are if possible"),
]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="How many images of one size at once.")]
Memory = Annotated[
    float, typer.Option("--memory", metavar="GIB", min=0.01, help="Above this, an image is cut into tiles.")
]
MadeRange = Annotated[
    str | None,
    typer.Option(
        "--range", metavar="R", help="Of what the network gives: tanh, unit or LOW,HIGH.", show_default="the spec's"
    ),
]
Ground = Annotated[
    str | None,
    typer.Option("--ground", metavar="COLOUR", help="Under transparent images.", show_default="the source's"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


def start_setting(run: str) -> str:
    """`--start RUN` as the `--set` that it stands for. Raises UsageError."""
    if '"' in run:
        raise UsageError(f"--start takes the folder of a run without quotes in its name; found '{run}'")
    return f'start=from_run("{run}")'


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width of `N` or `WxH`. Raises UsageError."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) <= _LARGEST for side in sides):
        raise UsageError(f"--size takes pixels, such as 256 or 640x480 (width first); found '{text}'")
    return int(sides[-1]), int(sides[0])


def range_of(text: str | None) -> tuple[float, float] | None:
    """A range by the names that sources use, or by its ends. Raises UsageError."""
    if text is None:
        return None
    ends = {"tanh": "-1,1", "unit": "0,1"}.get(text, text).split(",")
    try:
        low, high = map(float, ends)
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise UsageError(f"--range takes tanh, unit, or LOW,HIGH such as 0,255; found '{text}'")
    return low, high
