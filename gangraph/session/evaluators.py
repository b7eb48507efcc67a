"""Networks that other specs train, for evaluations: trained once, kept in a cache, loaded frozen."""

import copy
import fcntl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gangraph.check.initialize import initialize
from gangraph.check.instantiate import NetworkModel
from gangraph.errors import CheckpointError, RunError
from gangraph.evaluate.evaluation import Evaluator, evaluation_of, evaluators_called
from gangraph.folder.cache import newest_checkpoint, place
from gangraph.folder.results import Measurements, read_results
from gangraph.language.fingerprint import evaluation_fingerprint
from gangraph.language.spec import EvaluatorSpec, NetworkSpec, Spec
from gangraph.lower.model import EvaluationPart
from gangraph.run.engine import Engine
from gangraph.run.restore import restore_network
from gangraph.session.reporter import Reporter, aside

EVALUATOR = "the evaluator"  # what a network is called that evaluations alone need


def untrained_networks(spec: Spec) -> dict[str, EvaluatorSpec]:
    """The networks that other specs train, that a spec trains with, and that the cache lacks, by what they are called.

    Of several that one training gives, it is the first.
    """
    weights = {
        name: made.weights
        for phase in spec.phases
        for name, made in phase.networks.items()
        if isinstance(made, NetworkSpec) and isinstance(made.weights, EvaluatorSpec)
    }
    untrained = _untrained(reversed(weights.values()))
    return {
        f"the network {name}, which the spec takes from {evaluator.called}": evaluator
        for name, evaluator in weights.items()
        if any(evaluator is each for each in untrained)
    }


def untrained_evaluators(spec: Spec) -> tuple[EvaluatorSpec, ...]:
    """The evaluators that a spec needs and the cache lacks."""
    evaluations = (phase.evaluate for phase in spec.phases if phase.evaluate)
    return _untrained(evaluator for each in evaluations for evaluator in each.networks.values())


def _untrained(needed: Iterable[EvaluatorSpec]) -> tuple[EvaluatorSpec, ...]:
    known = {place(evaluator.spec): evaluator for evaluator in needed}
    return tuple(evaluator for evaluator in known.values() if _known(evaluator) is None)


@dataclass(frozen=True, slots=True)
class EvaluatorCache:
    """The evaluators of this machine. `train` trains a spec into a folder on a device, or goes on there, and measures.

    It is also told what the trained network is called.
    An evaluator that is there is loaded; one that is not is trained first, by one process while others wait for it.
    """

    train: Callable[[str, Spec, Path, str, Reporter], Measurements]

    def prepare(self, needed: Iterable[tuple[str, EvaluatorSpec]], device: str = "auto") -> None:
        """Train the networks that the cache lacks, each with what it is called.

        Raises:
            RunError: the training was stopped or failed.
        """
        for called, evaluator in needed:
            self._results(called, evaluator, device)

    def load(self, engine: Engine, part: EvaluationPart) -> dict[str, Evaluator]:
        """The evaluators that a part of an evaluation calls, by name, on the engine's device and in its precision.

        Raises:
            RunError: the training of one was stopped or failed, or what is kept of it is damaged.
        """
        checked, settings = engine.program.plan.checked, engine.settings
        found = {}
        for name in evaluators_called(evaluation_of(engine), part):
            evaluator = evaluation_of(engine).evaluators[name]
            measured = self._results(EVALUATOR, evaluator, str(settings.device))
            network = load_trained(evaluator, checked.evaluators[name]).to(settings.device, settings.dtype)
            found[name] = Evaluator(network=network, facts=_facts(evaluator, measured))
        return found

    def _results(self, called: str, evaluator: EvaluatorSpec, device: str) -> Measurements:
        """The results of the evaluator's own run, which is there whole once it has them."""
        folder = place(evaluator.spec)
        found = _known(evaluator)
        if found is not None:
            return found
        with aside(f"{evaluator.called}: ") as report, _alone(called, folder, report):
            found = _known(evaluator)
            return found if found is not None else self.train(called, evaluator.spec, folder, device, report)


def load_trained(evaluator: EvaluatorSpec, model: NetworkModel) -> nn.Module:
    """The network with its trained weights from the cache, frozen and in evaluation mode.

    Raises:
        RunError: it is not there, or damaged.
    """
    module = copy.deepcopy(model.module).to_empty(device="cpu")
    initialize(module, model.graph, torch.Generator())
    try:
        restore_network(newest_checkpoint(evaluator), evaluator.network, module)
    except CheckpointError as error:  # an older one is another network
        raise RunError(f"{error}; remove '{place(evaluator.spec)}', and it is trained again") from None
    return module.requires_grad_(False).eval()


def _facts(evaluator: EvaluatorSpec, measured: Measurements) -> dict[str, Any]:
    """The spec that trains an evaluator, and how good it is by that spec's own results."""
    numbers = {name: result.value for name, result in measured.results.items() if result.value is not None}
    return {"spec": evaluator.called, "network": evaluator.network, "fingerprint": measured.fingerprint, **numbers}


def _known(evaluator: EvaluatorSpec) -> Measurements | None:
    """The results in the cache, if they are of the whole training and of what the spec measures now."""
    found = read_results(place(evaluator.spec))
    lengths = [phase.length for phase in evaluator.spec.phases]
    steps = sum(length.value for length in lengths if length is not None and length.unit == "steps")
    if found is None or found.step < steps or found.evaluation != evaluation_fingerprint(evaluator.spec.phases[-1]):
        return None
    return found


@contextmanager
def _alone(called: str, folder: Path, report: Reporter) -> Iterator[None]:
    """Hold the folder's lock, so that two processes do not train the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say(f"another process is training {called}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
