"""Commands on runs: `run`, `measure`, `sample`, `apply`."""

import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gangraph.cli import completion, options
from gangraph.cli.options import Compile, Device, Kernels, Precision, read_spec
from gangraph.errors import UsageError

_LARGEST = 100_000  # pixels of a side that --size takes

if TYPE_CHECKING:
    from gangraph.language.spec import Spec

RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="The folder of a run, or a checkpoint: one of a run, or what was saved.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]


def run(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC",
            help="A path, or the name of a shipped spec.",
            show_default=False,
            autocompletion=completion.specs,
        ),
    ] = None,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder.", show_default="the next one in runs/"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="Everything random is a function of it.", show_default="0"),
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="'bf16' is mixed precision.", show_default="fp32")
    ] = None,
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
            help="Go on with a run, or with the one under runs/ that trains just this. "
            "What is not given is as the run had it.",
            autocompletion=completion.runs,
        ),
    ] = None,
    weights: options.Weights = None,
    json: options.Json = False,
    no_share: options.NoShare = False,
    no_merge: options.NoMerge = False,
) -> None:
    """Train a spec, or go on with a run."""
    from gangraph.views.spec import introduction

    options.use_weights(weights)
    if resume is None or resume == "auto":
        if spec is None:
            raise UsageError("name a spec to train, or a run to go on with: gangraph run --resume RUN")
        asked: Spec | None = read_spec(spec, profile, variant, settings)
        shown = asked
    else:
        options.there_is(resume)
        asked, shown = _resumed(resume, spec, profile, variant, settings)
    assert shown is not None
    said = introduction(shown, spec) if asked is shown and spec else f"{shown.name}: profile {shown.profile}"
    print(said, file=sys.stderr if json else sys.stdout, flush=True)

    with options.waiting("loading PyTorch"):
        from gangraph.session.run import run as start

    start(
        asked,
        out=out,
        seed=seed,
        device=device.value,
        precision=precision.value if precision else None,
        compile=compile.value,
        kernels=kernels.value if kernels else None,
        steps=steps,
        resume=resume,
        share=False if no_share else None,
        merge=False if no_merge else None,
        json=json,
    )


def _resumed(
    run: str, spec: str | None, profile: str | None, variant: str | None, settings: list[str] | None
) -> tuple["Spec | None", "Spec"]:
    """The spec that a run continues with, None if it continues unchanged; and the spec that it was trained by."""
    from gangraph.folder.saved import asked_of, begun, load_text, readable
    from gangraph.folder.state import read_state
    from gangraph.language.document.parse import Choice
    from gangraph.run.reporter import tell

    if spec is not None and not begun(run):
        fresh = read_spec(spec, profile, variant, settings)
        return fresh, fresh
    checkpoint, choice = readable(run, None, tell), Choice(profile, variant, options.values_of(settings))
    return asked_of(checkpoint, spec, choice), load_text(read_state(checkpoint).extra, checkpoint)


def measure(
    run: RunFolder,
    checkpoint: options.Checkpoint = None,
    spec: Annotated[
        str | None,
        typer.Option("--spec", metavar="SPEC", help="A newer text of the run's spec; its evaluate: is measured."),
    ] = None,
    settings: options.Settings = None,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Measure a trained run: its results and metrics over many samples, and how each was measured."""
    options.use_weights(weights)
    from gangraph.folder.saved import asked_of, readable
    from gangraph.language.document.parse import Choice

    options.there_is(run)
    with options.waiting(f"measuring {run}"):
        good = readable(run, checkpoint, lambda _: None)  # `measure_run` tells of those that are not
        newer = asked_of(good, spec, Choice(set=options.values_of(settings)))
        from gangraph.evaluate.measure import measure_run
        from gangraph.folder.files import json_text
        from gangraph.folder.results import results_lines

    found = measure_run(run, newer, which=checkpoint, device=device.value)
    if json:
        print(json_text(asdict(found), indent=1))
        return
    if not found.results:
        raise UsageError(f"the spec of '{run}' measures nothing: give it evaluate: results, or another text by --spec")
    print("\n".join(results_lines(found)))


def sample(
    run: RunFolder,
    checkpoint: options.Checkpoint = None,
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
    settings: options.Settings = None,
    weights: options.Weights = None,
) -> None:
    """Draw samples from a trained run: its grid, what a sampler of its spec shows, or a file for each sample."""
    options.use_weights(weights)
    options.there_is(run)
    given, folder = _interval(interval), out is not None and (out.endswith(("/", os.sep)) or Path(out).is_dir())
    if not folder and (batch is not None or given is not None):
        raise UsageError("--batch and --range are for single files: give --out DIR/")
    with options.waiting(f"drawing from {run}"):
        from gangraph.session.sample import sample as draw
        from gangraph.session.singles import sample_files

    where = Path(out) if out is not None else None
    asked = {"which": checkpoint, "settings": options.values_of(settings), "name": name, "count": count, "seed": seed}
    if where is None or not folder:
        print(f"wrote {draw(run, out=where, device=device.value, **asked)}")  # type: ignore[arg-type]  # by name
        return
    written = sample_files(run, where, batch=batch, device=device.value, interval=given, **asked)  # type: ignore[arg-type]  # by name
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
    checkpoint: options.Checkpoint = None,
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
        from gangraph.apply.apply import apply as translate

    count = translate(
        run,
        network,
        source,
        target,
        which=checkpoint,
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
