"""Where a run begins: in a new folder, or at a checkpoint of one that goes on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gangraph.check.reads import streams_read
from gangraph.data.random import RandomSource
from gangraph.data.source import open_source
from gangraph.errors import DataError, UsageError
from gangraph.folder.find_run import find_trained
from gangraph.folder.run_folder import RunFolder, refuse_taken
from gangraph.language.spec import Spec
from gangraph.run.training import Training
from gangraph.saved.find_checkpoint import first_good, is_run, results_folder
from gangraph.session.environment import environment_of, going_on
from gangraph.terminal import tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asks of a run, as in `session/run.py`. None is the default, or as the run that goes on had it.

    `training` makes or resumes one.
    """

    spec: Spec | None
    out: Path | None = None
    seed: int | None = None
    device: str = "auto"
    precision: str | None = None
    compile: str = "auto"
    kernels: str | None = None
    share: bool | None = None
    merge: bool | None = None
    resume: str | Path | None = None
    training: type[Training] = Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A training with its data opened, in a folder whose lock is held.

    Attributes:
        checkpoint: from where it goes on; None where it begins.
        sizes: samples by stream, as they were when the checkpoint was saved.
        note: a word about why no run goes on, where one was looked for.
    """

    training: Training
    folder: RunFolder
    checkpoint: Path | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


@contextmanager
def opened_session(asked: Asked) -> Iterator[Opened]:
    """Make what is asked for, and hold its folder.

    Raises:
        SpecError: the spec has errors.
        UsageError: the run cannot go on with what is asked for.
        DataError: some data of the run is missing; nothing was written.
        RunError: another process trains in the folder, or no checkpoint is good.
    """
    place, note = _place(asked)
    if place is None and asked.out is not None:
        refuse_taken(asked.out)
    with ExitStack() as stack:
        found = RunFolder(place) if place is not None and is_run(place) else None
        elsewhere = found is not None and asked.out is not None and asked.out.resolve() != found.path.resolve()
        continued = None if elsewhere else found  # elsewhere, its checkpoint begins a folder of its own
        if continued is not None:
            stack.enter_context(continued.held())
        checkpoint, training = _training(asked, place if found is None or found.checkpoints() else None)
        sizes = dict(training.engine.draws.sizes)
        open_data(training)
        if continued is not None:
            _go_on(continued, training, checkpoint)
        folder = continued or _begin(training, checkpoint, asked.out, stack)
        yield Opened(training=training, folder=folder, checkpoint=checkpoint, sizes=sizes, note=note)


def _place(asked: Asked) -> tuple[Path | None, str]:
    """The run, or the checkpoint, to go on from; or none, and why there is none."""
    if asked.resume is None:
        return None, ""
    if str(asked.resume) != "auto":
        place = Path(asked.resume)
        if not place.is_dir():
            raise UsageError(f"there is no run '{asked.resume}'")
        return (place if is_run(place) else results_folder(place)), ""  # a run's newest checkpoint is the run
    if asked.spec is None:
        raise UsageError("--resume auto looks for the run of a spec: name the spec")
    folders = [asked.out] if asked.out is not None else sorted(Path("runs").glob("*"))
    begun, none = find_trained(asked.spec, asked.seed or 0, asked.precision, folders)
    return (None if begun is None else begun.run), none


def _training(asked: Asked, place: Path | None) -> tuple[Path | None, Training]:
    """A new training; or the one at the newest good checkpoint of a place, and that checkpoint."""
    if place is not None:
        return first_good(place, None, partial(_resumed, asked), tell)
    if asked.spec is None:
        raise UsageError("nothing to train: name a spec, or a run to go on with")
    return None, asked.training(
        asked.spec,
        device=asked.device,
        seed=asked.seed or 0,
        precision=asked.precision or "fp32",
        compile=asked.compile,
        share=asked.share is not False,
        merge=asked.merge is not False,
        kernels=asked.kernels or "auto",
    )


def _resumed(asked: Asked, checkpoint: Path) -> tuple[Path, Training]:
    training = asked.training.resume(
        checkpoint,
        device=asked.device,
        compile=asked.compile,
        kernels=asked.kernels,
        spec=asked.spec,
        seed=asked.seed,
        precision=asked.precision,
        share=asked.share,
        merge=asked.merge,
    )
    return checkpoint, training


def _go_on(folder: RunFolder, training: Training, checkpoint: Path | None) -> None:
    """Make a folder that of the run that goes on, or of one that ended before its first checkpoint."""
    if checkpoint is None:
        tell(f"'{folder.path}' ended before its first checkpoint, and begins anew")
    folder.forget_after(training.step_count if checkpoint is not None else -1)
    if checkpoint is None or training.changes:
        folder.describe(training.spec, environment_of(training), going_on(training))


def _begin(training: Training, checkpoint: Path | None, out: Path | None, stack: ExitStack) -> RunFolder:
    """A new folder; with the reports of the run that the checkpoint is of, where it goes on from one."""
    folder = RunFolder.create(training.spec, out)
    stack.enter_context(folder.held())
    refuse_taken(folder.path)  # by a run that began and ended meanwhile
    folder.describe(training.spec, environment_of(training), going_on(training))
    if checkpoint is not None:
        folder.take_over(checkpoint, training.step_count)
        folder.forget_after(training.step_count)
    return folder


def open_data(training: Training) -> None:
    """Open the data of all phases, evaluations and measurements, so that what is missing is named before a run begins.

    Raises:
        DataError: some is missing; all of it is named.
    """
    draws, missing = training.engine.draws, list[str]()
    own = {name for name in training.engine.program.plan.sources if not isinstance(draws.sources[name], RandomSource)}
    others = streams_read(training.checked[training.phase :])
    opens: list[Callable[[], object]] = [partial(draws.open, name) for name in sorted(own)]
    known = [repr(draws.sources[name]) for name in own]
    opens += [partial(open_source, path, source) for path, source in others.items() if repr(source) not in known]
    for opening in opens:
        try:
            opening()
        except DataError as error:
            missing.append(str(error))
    if missing:
        raise DataError("\n".join(missing))
