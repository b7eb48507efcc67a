"""Commands on runs: `run`, `measure`, `sample`, `apply`."""

import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gangraph.cli import completion, options
from gangraph.cli.options import Compile, Device, Kernels, Precision, read_spec
from gangraph.errors import UsageError

_LARGEST = 100_000  # pixels of a side that --size takes

RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False, autocompletion=completion.runs),
]


def run(
    spec: options.SpecName,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder.", show_default="the next one in runs/"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Everything random is a function of it.")] = 0,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    precision: Annotated[Precision, typer.Option("--precision", help="'bf16' is mixed precision.")] = Precision.fp32,
    compile: Annotated[
        Compile, typer.Option("--compile", help="torch.compile; 'auto' uses it on CUDA.")
    ] = Compile.auto,
    kernels: Annotated[
        Kernels | None,
        typer.Option(
            "--kernels",
            help="Fused kernels; 'auto' uses them on CUDA, 'off' is the plain form.",
            show_default="auto, or as a resumed run had it",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Stop after this many steps in all.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN|auto",
            help="Go on with a run, or with the latest one.",
            autocompletion=completion.runs,
        ),
    ] = None,
    weights: options.Weights = None,
    json: options.Json = False,
    no_share: options.NoShare = False,
    no_merge: options.NoMerge = False,
) -> None:
    """Train a spec."""
    from gangraph.views.text import introduction

    options.use_weights(weights)
    if resume not in (None, "auto"):
        options.there_is(resume)
    resolved = read_spec(spec, profile, variant, settings)
    print(introduction(resolved, spec), file=sys.stderr if json else sys.stdout, flush=True)

    with options.waiting("loading PyTorch"):
        from gangraph.runtime.run import run as start

    start(
        resolved,
        out=out,
        seed=seed,
        device=device.value,
        precision=precision.value,
        compile=compile.value,
        kernels=kernels.value if kernels else None,
        steps=steps,
        resume=resume,
        share=not no_share,
        merge=not no_merge,
        json=json,
    )


def measure(
    run: RunFolder,
    spec: Annotated[
        str | None,
        typer.Option("--spec", metavar="SPEC", help="A newer text of the run's spec; its evaluate: is measured."),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Measure a trained run: its results and metrics over many samples, and how each was measured."""
    options.use_weights(weights)
    options.there_is(run)
    with options.waiting(f"measuring {run}"):
        from gangraph.runtime.files import json_text
        from gangraph.runtime.measure import measure_run, under_choices_of
        from gangraph.runtime.results import results_lines

    newer = under_choices_of(run, spec) if spec is not None else None
    found = measure_run(run, newer, device=device.value)
    if json:
        print(json_text(asdict(found), indent=1))
        return
    if not found.results:
        raise UsageError(f"the spec of '{run}' measures nothing: give it evaluate: results, or another text by --spec")
    print("\n".join(results_lines(found)))


def sample(
    run: RunFolder,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="A sampler or a grid of the spec.", show_default="the first grid"),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="How many samples.", show_default="the spec's")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="Of what is drawn.", show_default="the run's")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE|DIR/", help="Where the picture goes; with DIR/, a file for each sample."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", metavar="N", min=1, help="With DIR/: drawn at once.", show_default="the spec's samples"
        ),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    interval: Annotated[
        str | None,
        typer.Option("--range", metavar="R", help="With DIR/: tanh, unit or LOW,HIGH.", show_default="the spec's"),
    ] = None,
    weights: options.Weights = None,
) -> None:
    """Draw samples from a trained run: its grid, what a sampler of its spec shows, or a file for each sample."""
    options.use_weights(weights)
    options.there_is(run)
    given, folder = _interval(interval), out is not None and (out.endswith(("/", os.sep)) or Path(out).is_dir())
    if not folder and (batch is not None or given is not None):
        raise UsageError("--batch and --range are for single files: give --out DIR/")
    with options.waiting(f"drawing from {run}"):
        from gangraph.runtime.singles import sample_files
        from gangraph.runtime.trained import sample as draw

    where = Path(out) if out is not None else None
    if where is None or not folder:
        print(f"wrote {draw(run, name=name, count=count, seed=seed, out=where, device=device.value)}")
        return
    written = sample_files(
        run, where, name=name, count=count, seed=seed, batch=batch, device=device.value, interval=given
    )
    print(f"wrote {written} file{'s' * (written != 1)} to {where}")


def apply(
    run: RunFolder,
    network: Annotated[
        str, typer.Option("--network", metavar="G", help="The network, or an average, by its name in the spec.")
    ],
    source: Annotated[
        Path, typer.Option("--input", metavar="PATH", help="An image, a folder, or a zip file, with its subfolders.")
    ],
    target: Annotated[
        Path, typer.Option("--output", metavar="PATH", help="A folder for the results; for one image also a file.")
    ],
    average: Annotated[bool, typer.Option("--average", help="Use the network's moving average.")] = False,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="N|WxH", help="Resize images first.", show_default="as they are if possible"),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="How many images of one size at once.")] = 1,
    memory: Annotated[
        float, typer.Option("--memory", metavar="GIB", min=0.01, help="Above this, an image is cut into tiles.")
    ] = 2.9,
    interval: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="R", help="Of what the network gives: tanh, unit or LOW,HIGH.", show_default="the spec's"
        ),
    ] = None,
    ground: Annotated[
        str | None,
        typer.Option("--ground", metavar="COLOUR", help="Under transparent images.", show_default="the source's"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Translate images with a trained network."""
    asked, given = _size(size), _interval(interval)
    options.there_is(run)
    with options.waiting(f"loading {run}"):
        from gangraph.runtime.apply import apply as translate

    count = translate(
        run,
        network,
        source,
        target,
        average=average,
        size=asked,
        device=device.value,
        batch=batch,
        memory=memory,
        interval=given,
        ground=ground,
        overwrite=overwrite,
        say=lambda text: print(text, flush=True),
    )
    print(f"wrote {count} image{'s' * (count != 1)} to {target}")


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width of `N` or `WxH`. Raises UsageError."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) <= _LARGEST for side in sides):
        raise UsageError(f"--size takes pixels, such as 256 or 640x480 (width first); found '{text}'")
    return int(sides[-1]), int(sides[0])


def _interval(text: str | None) -> tuple[float, float] | None:
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
