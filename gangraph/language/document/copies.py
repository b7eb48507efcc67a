"""The files that a spec was read from besides its own text: what a complete copy needs."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from gangraph.language.document.library import evaluator_path, network_path
from gangraph.language.spec import EvaluatorSpec, NetworkSpec, Spec


def files_of(spec: Spec) -> dict[str, str]:
    """Text by path, seen from the spec: its bases, every network file and evaluator's spec that it uses."""
    found = dict(spec.bases)
    for phase in spec.phases:
        for made in phase.networks.values():
            if not isinstance(made, NetworkSpec):
                continue
            if made.file is not None:
                found[network_path(made.template)] = made.file.content
            if isinstance(made.weights, EvaluatorSpec):
                found |= _of_evaluator(made.weights, found)
        for evaluator in phase.evaluate.networks.values() if phase.evaluate else ():
            found |= _of_evaluator(evaluator, found)
    return dict(sorted(found.items()))


def _of_evaluator(evaluator: EvaluatorSpec, taken: Mapping[str, str]) -> dict[str, str]:
    """The evaluator's spec and its files: in its folder, or under its own name where another file is there."""
    place = PurePosixPath(evaluator_path(evaluator.called))
    found = {str(place): evaluator.spec.text}
    for path, text in files_of(evaluator.spec).items():
        shared = str(place.parent / path)
        found[shared if taken.get(shared, text) == text else str(place.with_suffix("") / path)] = text
    return found
