"""Load a trained run, to measure it or to draw from it."""

from collections.abc import Mapping
from pathlib import Path

from gangraph.folder.saved_spec import asked_of
from gangraph.language.document.parse import Choice
from gangraph.language.spec import Spec
from gangraph.run.continuing import refuse_training
from gangraph.run.training import Training
from gangraph.saved.find_checkpoint import first_good
from gangraph.terminal import tell


def load_run(
    folder: Path, *, which: str | None = None, settings: Mapping[str, str] | None = None, device: str = "auto"
) -> Training:
    """The training at a run's newest good checkpoint; for others than the newest, a word on standard error.

    Args:
        folder: the run, or a checkpoint.
        which: another checkpoint of the run: `best`, or a step.
        settings: values by path, of `evaluate:` and of where data lies.

    Raises:
        UsageError: there is no such run or checkpoint, or a setting changes what was trained.
        RunError: the checkpoint is damaged.
    """

    def load(checkpoint: Path) -> Training:
        return _resumed(checkpoint, asked_of(checkpoint, None, Choice(set=settings or {})), device)

    training = first_good(folder, which, load, tell)
    refuse_training(training.changes, folder)
    return training


def load_to_measure(folder: Path, spec: Spec | None, which: str | None, device: str) -> tuple[Path, Training]:
    """The checkpoint that is measured, and the training at it, with the `evaluate:` of a newer form of its spec.

    Raises:
        UsageError: there is no such run or checkpoint, or `spec` trains something else.
        RunError: the run has no checkpoint that is good.
    """
    checkpoint, training = first_good(folder, which, lambda path: (path, _resumed(path, spec, device)), tell)
    refuse_training(training.changes, folder)
    return checkpoint, training


def _resumed(checkpoint: Path, spec: Spec | None, device: str) -> Training:
    return Training.resume(checkpoint, device=device, compile="off", kernels="auto", spec=spec)
