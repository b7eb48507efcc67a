"""What a run says to a person: where it begins and goes on, what it changes, and how it ended."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gangraph.check.held_out import trained_on
from gangraph.check.lints.rates import rates_over
from gangraph.data.source import notes, skipped
from gangraph.run.training import Training
from gangraph.saved.find_checkpoint import run_of


def continuation(training: Training, checkpoint: Path, folder: Path, sizes: Mapping[str, int]) -> Iterator[str]:
    """Which run goes on, from where, and with which differences.

    Args:
        folder: of the run.
        sizes: samples by stream, as they were when the checkpoint was saved.
    """
    spec = training.spec
    form = f"profile {spec.profile}" + (f", variant {spec.variant}" if spec.variant else "")
    where = run_of(checkpoint) if run_of(checkpoint) == folder else checkpoint
    choices = f"{form}, seed {training.seed}, {training.precision}"
    yield f"continuing {where} at step {training.step_count}: {spec.name}, {choices}"
    for change in training.changes:
        yield f"  {change}"
    for name, size in training.engine.draws.sizes.items():
        if sizes.get(name, size) != size:
            before = f"{sizes[name]} samples -> {size}"
            epoch = f"{training.clock.epoch:g} epochs are behind it by the new size"
            yield f"  data {name}: {before}; it is in another order from here on, and {epoch}"


def beginning(training: Training, folder: Path, steps: int | None) -> Iterator[str]:
    """On which data a run trains, for how long, and notes about it. `steps` is where it should end, if given."""
    draws, graph = training.engine.draws, training.checked[training.phase].graph
    sizes = {name: len(dataset) for name, dataset in draws.datasets.items()}
    streams = ", ".join(f"{name}: {size} samples" for name, size in sizes.items())
    yield f"training on {training.settings.device} in {folder}" + (f" ({streams})" if streams else "")
    yield from training.started
    for name, dataset in draws.datasets.items():
        for note in notes(dataset):
            yield f"source '{name}': {note}"
    if sizes:
        yield from _length(training, max(sizes.values()))
    if steps is not None and training.in_last_phase:
        for warning in rates_over(graph, steps - training.phase_start, max(sizes.values(), default=0)):
            yield f"{warning.message}: {warning.found}"
    if known := trained_on(graph):
        others = ", ".join(f"evaluate.data.{name}" for name in known)
        yield f"the evaluation reads samples of training: {', '.join(known)}; others are set by {others}"
    for segment, why in training.engine.fallbacks.items():
        yield f"segment '{segment}' is not compiled: {why}"


def _length(training: Training, epoch: int) -> Iterator[str]:
    """What a length in epochs or images comes to, where an epoch has so many samples."""
    length, batch = training.present.length, training.present.batch
    if length is not None and length.unit != "steps":
        images = length.value * {"epochs": epoch, "images": 1, "kimg": 1000}[length.unit]
        draws = f"{images / batch:.0f} draws of a batch of {batch}"
        yield f"{length.value:g} {length.unit} = {images:g} images, about {draws}"


def next_phase(training: Training, fresh: Sequence[str]) -> str:
    """That a phase has begun, and which parts of networks are new in it."""
    parts = dict.fromkeys(".".join(path.split(".")[:2]) for path in fresh)
    new = f"; new: {', '.join(parts)}" if parts else ""
    return f"{training.present.called} begins at step {training.step_count}{new}"


def ending(training: Training, folder: Path, seconds: float, *, stopped: bool) -> Iterator[str]:
    """Which files were left out, and how and where the run ended."""
    for name, dataset in training.engine.draws.datasets.items():
        if files := skipped(dataset):
            listed = ", ".join(map(str, files[:5]))
            yield f"source '{name}': {len(files)} corrupt files were skipped: {listed}"
    how = "stopped" if stopped else "finished"
    again = f"; continue with --resume {folder}" if stopped else ""
    yield f"{how} at step {training.step_count} after {seconds:.0f} s: {folder}{again}"
