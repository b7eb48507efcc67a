"""Networks that another spec trains, to evaluate a run by: trained once, kept in a cache, loaded frozen."""

import copy
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gangraph.check.initialize import initialize
from gangraph.check.instantiate import NetworkModel
from gangraph.errors import CheckpointError, RunError
from gangraph.folder.results import Measurements, read_results
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.spec import EvaluatorSpec, Spec
from gangraph.run.reporter import Reporter, aside
from gangraph.run.restore import read_network

_SEED = 0  # an evaluator is one network, whoever asks for it


def cache_folder() -> Path:
    """Where what was made once is kept: $GANGRAPH_CACHE, or ~/.cache/gangraph. Raises RunError where there is no ~."""
    chosen = os.environ.get("GANGRAPH_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "gangraph"
    except RuntimeError:
        raise RunError("this user has no home directory: name a folder in $GANGRAPH_CACHE") from None


def place(spec: Spec) -> Path:
    """The run folder of a spec that trains an evaluator."""
    return cache_folder() / "evaluators" / f"{spec.name}-{fingerprint(spec)}"


def prepare(spec: Spec, device: str = "auto") -> None:
    """Train every evaluator that a spec needs and the cache lacks.

    Raises:
        RunError: the training was stopped or failed.
    """
    for evaluator in untrained(spec):
        _results(evaluator, device)


def untrained(spec: Spec) -> tuple[EvaluatorSpec, ...]:
    """The evaluators that a spec needs and the cache lacks."""
    needed = (evaluator for phase in spec.phases if phase.evaluate for evaluator in phase.evaluate.networks.values())
    known = {place(evaluator.spec): evaluator for evaluator in needed}
    return tuple(evaluator for evaluator in known.values() if _known(evaluator) is None)


def facts_of(evaluator: EvaluatorSpec) -> dict[str, Any]:
    """What is known of an evaluator: the spec that trains it, and how good it is by that spec's own results."""
    measured = _results(evaluator, "auto")
    numbers = {name: result.value for name, result in measured.results.items() if result.value is not None}
    return {"spec": evaluator.called, "network": evaluator.network, "fingerprint": measured.fingerprint, **numbers}


def trained_network(
    evaluator: EvaluatorSpec, model: NetworkModel, *, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """The network with its trained weights, frozen and in evaluation mode; trained first if the cache lacks it.

    Raises:
        RunError: the training was stopped or failed, or what is kept of it is damaged.
    """
    _results(evaluator, str(device))
    module = copy.deepcopy(model.module).to_empty(device="cpu")
    initialize(module, model.graph, torch.Generator())
    try:
        read_network(_newest(place(evaluator.spec)), evaluator.network, module)
    except CheckpointError as error:  # an older one is another network
        raise RunError(f"{error}; remove '{place(evaluator.spec)}', and the evaluator is trained again") from None
    return module.to(device=device, dtype=dtype).requires_grad_(False).eval()


def _results(evaluator: EvaluatorSpec, device: str) -> Measurements:
    """The results of the evaluator's own run, which is there whole once it has them."""
    folder = place(evaluator.spec)
    found = _known(evaluator)
    if found is not None:
        return found
    with aside(f"{evaluator.called}: ") as report, _alone(folder, report):
        found = _known(evaluator)
        return found if found is not None else _train(evaluator.spec, folder, device, report)


def _known(evaluator: EvaluatorSpec) -> Measurements | None:
    """The results in the cache, if they are of the whole training and of what the spec measures now."""
    found = read_results(place(evaluator.spec))
    lengths = [phase.length for phase in evaluator.spec.phases]
    steps = sum(length.value for length in lengths if length is not None and length.unit == "steps")
    if found is None or found.step < steps or found.evaluation != evaluation_fingerprint(evaluator.spec.phases[-1]):
        return None
    return found


def _train(spec: Spec, folder: Path, device: str, report: Reporter) -> Measurements:
    # A run may need evaluators, and an evaluator is made by a run.
    from gangraph.evaluate.measure import measure_run
    from gangraph.session.run import run
    from gangraph.session.sample import load_run

    begun = bool(_saved(folder))
    report.say(f"{'going on with' if begun else 'training'} the evaluator, once for this machine, in {folder}")
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)
    if begun:
        run(None, device=device, resume=folder, report=report)
    else:
        run(spec, out=folder, seed=_SEED, device=device, report=report)
    if not load_run(folder).done:
        raise RunError(f"the training of evaluator '{spec.name}' was stopped; the next run that needs it goes on")
    return measure_run(folder, spec)


@contextmanager
def _alone(folder: Path, report: Reporter) -> Iterator[None]:
    """Hold the folder's lock, so that two processes do not train the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say("another process is training the evaluator; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _saved(folder: Path) -> list[Path]:
    return [path for path in sorted((folder / "checkpoints").glob(f"step-{'[0-9]' * 8}")) if path.is_dir()]


def _newest(folder: Path) -> Path:
    found = _saved(folder)
    if not found:
        raise RunError(f"'{folder}' has results but no checkpoint; remove it, and the evaluator is trained again")
    return found[-1]
