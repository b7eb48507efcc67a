"""Commands on runs: `run`, `measure`, `sample`, `apply`."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gangraph.cli import options
from gangraph.cli import run_options as given
from gangraph.cli.options import Compile, Device, read_spec
from gangraph.errors import UsageError

if TYPE_CHECKING:
    from gangraph.language.spec import Spec


def run(
    spec: given.Trained = None,
    profile: options.Profile = None,
    variant: options.Variant = None,
    settings: options.Settings = None,
    out: given.NewFolder = None,
    seed: given.Seed = None,
    device: given.Computed = Device.auto,
    precision: given.Numbers = None,
    compile: given.Compiled = Compile.auto,
    kernels: given.Fused = None,
    steps: given.Steps = None,
    resume: given.Resume = None,
    begin: given.Start = None,
    weights: options.Weights = None,
    json: options.Json = False,
    no_share: options.NoShare = False,
    no_merge: options.NoMerge = False,
) -> None:
    """Train a spec, or go on with a run."""
    options.use_weights(weights)
    if begin is not None:
        settings = [*(settings or []), given.start_setting(begin)]
    asked = _introduced(spec, profile, variant, settings, resume, sys.stderr if json else sys.stdout)
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


def _introduced(
    spec: str | None,
    profile: str | None,
    variant: str | None,
    settings: list[str] | None,
    resume: str | None,
    output: TextIO,
) -> "Spec | None":
    """What is to be trained, of which a line is printed; None for what a run that goes on trains already."""
    from gangraph.views.spec import introduction

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
    print(said, file=output, flush=True)
    return asked


def _resumed(
    run: str, spec: str | None, profile: str | None, variant: str | None, settings: list[str] | None
) -> tuple["Spec | None", "Spec"]:
    """The spec that a run continues with, None if it continues unchanged; and the spec that it was trained by."""
    from gangraph.folder.saved_spec import asked_of, load_text
    from gangraph.language.document.parse import Choice
    from gangraph.saved.find_checkpoint import begun, readable_checkpoint
    from gangraph.saved.state import read_state
    from gangraph.terminal import tell

    if spec is not None and not begun(run):
        fresh = read_spec(spec, profile, variant, settings)
        return fresh, fresh
    checkpoint, choice = readable_checkpoint(run, None, tell), Choice(profile, variant, options.values_of(settings))
    return asked_of(checkpoint, spec, choice), load_text(read_state(checkpoint).trained, checkpoint)


def measure(
    run: given.RunFolder,
    checkpoint: options.Checkpoint = None,
    spec: given.Newer = None,
    settings: options.Settings = None,
    device: given.Computed = Device.auto,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Measure a trained run: its results and metrics over many samples, and how each was measured."""
    options.use_weights(weights)
    from gangraph.folder.saved_spec import asked_of
    from gangraph.language.document.parse import Choice
    from gangraph.saved.find_checkpoint import readable_checkpoint

    options.there_is(run)
    with options.waiting(f"measuring {run}"):
        good = readable_checkpoint(run, checkpoint, lambda _: None)  # `measure_run` tells of those that are not
        newer = asked_of(good, spec, Choice(set=options.values_of(settings)))
        from gangraph.folder.results import results_lines
        from gangraph.saved.files import json_text
        from gangraph.session.run import measure_run

    found = measure_run(run, newer, which=checkpoint, device=device.value)
    if json:
        print(json_text(asdict(found), indent=1))
        return
    if not found.results:
        raise UsageError(f"the spec of '{run}' measures nothing: give it evaluate: results, or another text by --spec")
    print("\n".join(results_lines(found)))


def sample(
    run: given.RunFolder,
    checkpoint: options.Checkpoint = None,
    name: given.Shown = None,
    count: given.Count = None,
    seed: given.DrawSeed = None,
    text: given.Sentences = None,
    out: given.Picture = None,
    batch: given.Together = None,
    device: given.Computed = Device.auto,
    interval: given.DrawnRange = None,
    settings: options.Settings = None,
    weights: options.Weights = None,
) -> None:
    """Draw samples from a trained run: its grid, what a sampler of its spec shows, or a file for each sample."""
    options.use_weights(weights)
    options.there_is(run)
    values, folder = given.range_of(interval), out is not None and (out.endswith(("/", os.sep)) or Path(out).is_dir())
    if not folder and (batch is not None or values is not None):
        raise UsageError("--batch and --range are for single files: give --out DIR/")
    with options.waiting(f"drawing from {run}"):
        from gangraph.session.sample import sample as draw
        from gangraph.session.singles import sample_files

    asked: dict[str, Any] = {"which": checkpoint, "settings": options.values_of(settings), "device": device.value}
    asked |= {"name": name, "count": count, "seed": seed, "sentences": text or ()}
    where = Path(out) if out is not None else None
    if where is None or not folder:
        print(f"wrote {draw(run, out=where, **asked)}")
        return
    written = sample_files(run, where, batch=batch, interval=values, **asked)
    print(f"wrote {written} file{'s' * (written != 1)} to {where}")


def apply(
    run: given.RunFolder,
    network: given.Network,
    source: given.Source,
    target: given.Target,
    checkpoint: options.Checkpoint = None,
    average: given.Average = False,
    size: given.Size = None,
    device: given.Computed = Device.auto,
    batch: given.Batch = 1,
    memory: given.Memory = 2.9,
    interval: given.MadeRange = None,
    ground: given.Ground = None,
    overwrite: given.Overwrite = False,
) -> None:
    """Translate images with a trained network."""
    pixels, values = given.parse_size(size), given.range_of(interval)
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
        size=pixels,
        device=device.value,
        batch=batch,
        memory=memory,
        interval=values,
        ground=ground,
        overwrite=overwrite,
        say=lambda text: print(text, flush=True),
    )
    print(f"wrote {count} image{'s' * (count != 1)} to {target}")
