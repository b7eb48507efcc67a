"""Networks are measured, and their numbers are written into the folder of their run."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from gangraph.folder.results import Measured, Measurements, read_results
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.spec import Spec
from gangraph.run.loading import load_to_measure
from gangraph.run.training import Training
from gangraph.saved.find_checkpoint import LATEST, is_run, results_folder
from gangraph.saved.state import read_state

Measure = Callable[[Training, Collection[str]], dict[str, Measured]]


def measure_checkpoint(
    folder: Path, spec: Spec | None, measure: Measure, *, which: str | None, device: str
) -> Measurements:
    """Measure what `results.json` does not answer yet, and write it. `session/run.py` says more."""
    checkpoint, training = load_to_measure(folder, spec, which, device)
    place = folder if which in (None, LATEST) and is_run(folder) else results_folder(checkpoint)
    return _completed(place, training, measure, read_state(checkpoint).trained.fingerprint)


def measure_beginning(training: Training, place: Path, measure: Measure) -> Measurements:
    """Measure networks before their first step, in the last phase, and write `results.json` into a folder of its own.

    `session/run.py` says more.
    """
    while not training.in_last_phase:
        training.next_phase()
    return _completed(place, training, measure)


def _completed(place: Path, training: Training, measure: Measure, trained: str = "") -> Measurements:
    """Measure what the `results.json` of a folder does not answer yet, and write it."""
    asked = Measurements(
        fingerprint=trained or fingerprint(training.spec),
        evaluation=evaluation_fingerprint(training.present),
        step=training.step_count,
        results={},
    )
    before = read_results(place)
    answered = before is not None and before.answers(asked)
    known = before.results if before is not None and answered else {}
    evaluation = training.checked[training.phase].graph.evaluation
    names = [name for name, _ in evaluation.numbers] if evaluation is not None else []
    fresh = measure(training, [name for name in names if name not in known or known[name].why])
    found = replace(asked, results={name: fresh.get(name) or known[name] for name in names})
    if fresh or not answered:
        place.mkdir(parents=True, exist_ok=True)
        found.save(place)
    return found
