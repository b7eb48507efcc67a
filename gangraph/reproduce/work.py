"""One run of a reproduction, in a process of its own: trained to its end, or resumed, and measured."""

import contextlib
import math
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Thread

import torch

from gangraph.errors import GangraphError, RunError
from gangraph.folder.results import Measured
from gangraph.folder.run_folder import RunFolder
from gangraph.folder.saved_spec import load_text, trained_fingerprint
from gangraph.language.document.parse import Choice, parse
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.run.training import Training
from gangraph.saved.state import read_state
from gangraph.session.run import measure_run, measure_untrained, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run to do: a form of a spec, and a seed."""

    source: str
    profile: str
    variant: str
    settings: tuple[tuple[str, str], ...]
    seed: int
    folder: Path
    device: str

    @property
    def choice(self) -> Choice:
        """The form of the spec; `full` is the one without a variant."""
        return Choice(profile=self.profile, variant=self.variant or None, set=dict(self.settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of a run: its numbers, or why there are none; and those of its networks before their first step."""

    numbers: Mapping[str, Measured] = field(default_factory=dict)
    untrained: Mapping[str, Measured] = field(default_factory=dict)
    evaluations: tuple[Mapping[str, float], ...] = ()  # the metrics over the time of the run
    unevaluated: str = ""  # why there are no evaluations
    seconds: float = 0.0
    trained: bool = False
    failed: str = ""


class StoppedError(RunError):
    """A person stopped the reproduction; everything done so far is kept."""

    exit_code = 130  # as for any command that Ctrl-C ends


_AGAIN_SECONDS = 0.5
_stop: Event | None = None


def begin_worker(threads: int, stop: Event) -> None:
    """Prepare a worker process: how many threads it computes with, and the event that ends it early.

    Only the process that waits handles interrupts. It sets the event; a run in progress is then sent SIGUSR1, ends
    after its step and saves a checkpoint.
    """
    global _stop
    _stop = stop
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_interrupt_after, args=(stop,), daemon=True).start()
    torch.set_num_threads(threads)


def _interrupt_after(stop: Event) -> None:
    stop.wait()
    while stop.is_set():
        os.kill(os.getpid(), signal.SIGUSR1)
        # A run that is still being set up does not handle the signal yet, and nothing tells when it does. So the signal
        # is sent again and again until the process ends, which does not disturb a run that has handled it.
        time.sleep(_AGAIN_SECONDS)


def work_on(task: Task) -> RunResult:
    """Train what is not trained yet, and measure it. A run that fails is a result, not an error.

    Raises:
        StoppedError: the run was stopped before its end, and can be resumed.
    """
    spec = resolve(parse(task.source), task.choice)
    began = time.monotonic()
    try:
        trained = _train(task, spec)
        numbers = measure_run(task.folder, spec, device=task.device)
        untrained = measure_untrained(spec, task.folder / "untrained", seed=task.seed, device=task.device)
        lines = RunFolder(task.folder).lines()
    except StoppedError:
        raise
    except Exception as error:  # whatever one run fails with, the others go on
        named = str(error) if isinstance(error, GangraphError) else f"{type(error).__name__}: {error}"
        return RunResult(failed=named, seconds=time.monotonic() - began)
    evaluations = tuple(_numbers(line["metrics"]) for line in lines if "metrics" in line and line["step"])
    seconds = lines[-1]["seen"] / max(lines[-1]["images_per_second"], 1e-9)
    same = _evaluated_alike(task.folder, spec)
    return RunResult(
        numbers=numbers.results,
        untrained=untrained.results,
        evaluations=evaluations if same else (),
        unevaluated="" if same else "the run was evaluated by other metrics, and only training evaluates again",
        seconds=seconds,
        trained=trained,
    )


def _numbers(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics of one evaluation; one that was not finite is `null` in the file."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def _evaluated_alike(folder: Path, spec: Spec) -> bool:
    """Whether a run was evaluated by the metrics that its spec has now."""
    saved = RunFolder(folder).newest(_saved_spec)
    return _metrics_fingerprint(saved) == _metrics_fingerprint(spec)


def _saved_spec(checkpoint: Path) -> Spec:
    return load_text(read_state(checkpoint).trained, checkpoint)


def _metrics_fingerprint(spec: Spec) -> str:
    phase = spec.phases[-1]
    metrics = replace(phase.evaluate, results={}, result_samples=1) if phase.evaluate else None
    return evaluation_fingerprint(replace(phase, evaluate=metrics))


def _train(task: Task, spec: Spec) -> bool:
    """Train the run to its end. Returns whether there was anything to do."""
    resumes = _is_begun(task, spec)
    if resumes and _is_finished(task.folder):
        return False
    if _stop is not None and _stop.is_set():
        raise StoppedError("stopped")
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / "log.txt").open("a") as log, contextlib.redirect_stdout(log):
        if resumes:
            run(None, resume=task.folder, device=task.device)
        else:
            run(spec, out=task.folder, seed=task.seed, device=task.device)
    if not _is_finished(task.folder):
        raise StoppedError("stopped")
    return True


def _is_begun(task: Task, spec: Spec) -> bool:
    """Whether the folder holds this very run. Another run is renamed; one without a checkpoint is removed."""
    if not task.folder.exists():
        return False
    folder = RunFolder(task.folder)
    with folder.held():  # no process trains here, so it may be removed
        if not folder.checkpoints():
            shutil.rmtree(task.folder)
            return False
    trained, saved = folder.newest(lambda checkpoint: (read_state(checkpoint).trained, _saved_spec(checkpoint)))
    former = trained_fingerprint(trained, saved)
    if former == fingerprint(spec) and trained.seed == task.seed:
        return True
    task.folder.rename(_free(task.folder.with_name(f"{task.folder.name}-{former[:8]}")))
    return False


def _free(path: Path) -> Path:
    """The path, or the first one with a number appended that does not exist."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in range(2, 1000))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def _is_finished(folder: Path) -> bool:
    resume = partial(Training.resume, device="cpu", compile="off", kernels="off")
    return RunFolder(folder).newest(resume).done
