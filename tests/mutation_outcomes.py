"""What becomes of a mutated spec, checked in this process or run for two steps in a child; its time and memory."""

import contextlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from gangraph.errors import GangraphError, SpecError, UsageError
from gangraph.language.document.parse import Choice, parse
from gangraph.language.resolve.document import resolve
from gangraph.pipeline import check_spec
from tests.mutations import Mutant, mutant

SECONDS = 10.0  # of processor time, for one check
MEMORY = 2 * 2**30
NOT_RUN = ("refused", "needs an evaluator", "too large")
DOCUMENTED = ("valid", "ran", *NOT_RUN, "RunError", "NotFiniteError", "DataError", "WeightsError")


class Hang(BaseException):
    """A check takes too long. Not an Exception, so that nothing in the compiler can catch it."""


@contextlib.contextmanager
def guarded(seconds: float) -> Iterator[None]:
    """Break off what computes longer, on a machine that may do other things too, or waits for a hundred times that."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hang("".join(traceback.format_stack(frame)[-3:]))

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, 100 * seconds))
    before = [signal.signal(number, ring) for number, _, _ in timers]
    for _, timer, limit in timers:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for (number, timer, _), former in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, former)


def peak_memory() -> int:
    """The most memory that this process held since `forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Measure the peak from now on."""
    Path("/proc/self/clear_refs").write_text("5")


@dataclass(frozen=True)
class Outcome:
    """How one mutant ended: `kind` is `valid`, `refused` or what is wrong with the product."""

    seed: int
    kind: str
    said: str
    codes: tuple[str, ...]
    seconds: float
    clock: float
    memory: int
    made: Mutant = field(repr=False)


def place_of(error: BaseException) -> str:
    """The innermost line of gangraph, by which failures of one kind are counted together."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "/gangraph/" in f.filename or "/site-packages/" not in f.filename
    ]
    last = frames[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} ({last.name})"


def checked(seed: int, folder: Path) -> Outcome:
    """Check the mutant of a seed as `gangraph check` does."""
    made = mutant(seed)
    path = made.write(folder)
    forget_peak()
    clock, began = time.monotonic(), time.process_time()
    kind, said, codes = "valid", "", ()
    try:
        with guarded(SECONDS), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            check_spec(resolve(parse(path), Choice(profile="paper", variant=made.variant)))
    except (SpecError, UsageError) as error:
        problems = getattr(error, "problems", ())
        kind, said = "refused", str(error)
        assert all(problem.as_json() for problem in problems)
        assert said
        codes = tuple(dict.fromkeys(p.code for p in problems if p.severity == "error")) or (type(error).__name__,)
    except Hang as error:
        kind, said = "hang", str(error)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind, said = place_of(error), "".join(traceback.format_exception(error))
    seconds, memory = time.process_time() - began, peak_memory()
    if kind in ("valid", "refused") and warned:
        kind, said = f"warns: {warned[0].category.__name__}", str(warned[0].message)
    if kind in ("valid", "refused") and seconds > SECONDS:
        kind = "slow"
    if kind in ("valid", "refused") and memory > MEMORY:
        kind = "large"
    return Outcome(seed, kind, said, codes, seconds, time.monotonic() - clock, memory, made)


def ran(seed: int, folder: Path, *, wait: float = 30) -> Outcome:
    """Take two steps of a mutant that passes check, with its looks, in a child of this process."""
    made = mutant(seed, to_run=True)
    path = made.write(folder)
    clock = time.monotonic()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of threads, of which the child uses none
        child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            out.write(_run(made, path, folder / "run", wait))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told, contextlib.suppress(Hang), guarded(wait):
        text = told.read()
        _, status, usage = os.wait4(child, 0)
        kind, _, said = text.partition("\n")
        slow = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
        kind = kind or ("too slow" if slow else f"died of {status}")
        spent = usage.ru_utime + usage.ru_stime
        return Outcome(seed, kind, said, (), spent, time.monotonic() - clock, usage.ru_maxrss * 1024, made)
    os.kill(child, signal.SIGKILL)
    os.wait4(child, 0)
    return Outcome(seed, "too slow", "", (), wait, time.monotonic() - clock, 0, made)


def _run(made: Mutant, path: Path, out: Path, wait: float) -> str:
    from gangraph.session.reporter import aside
    from gangraph.session.run import run

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (round(wait), round(wait) + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + 3 * MEMORY,) * 2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        spec = resolve(parse(path), Choice(profile="paper", variant=made.variant))
        checked_phases = check_spec(spec)
    except (SpecError, UsageError):
        return "refused\n"
    except BaseException as error:
        return f"check: {place_of(error)}\n" + "".join(traceback.format_exception(error))
    try:
        if any(phase.evaluators for phase in checked_phases):
            return "needs an evaluator\n"
        if any(sum(model.parameters for model in phase.networks.values()) > 3_000_000 for phase in checked_phases):
            return "too large\n"
        run(spec, out=out, device="cpu", steps=2, report=aside(""))
        return "ran\n"
    except GangraphError as error:
        return f"{type(error).__name__}\n{error}"
    except BaseException as error:
        return f"{place_of(error)}\n" + "".join(traceback.format_exception(error))


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def summary(outcomes: Iterable[Outcome]) -> str:
    """The counts of a long run, its slowest and its largest, and every failure by its kind."""
    outcomes = list(outcomes)
    kinds = Counter(outcome.kind for outcome in outcomes)
    codes = Counter(code for outcome in outcomes for code in outcome.codes)
    slowest, largest = max(outcomes, key=lambda o: o.seconds), max(outcomes, key=lambda o: o.memory)
    return "\n".join(
        [
            f"{len(outcomes)} mutants: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
            "refused by code: " + ", ".join(f"{code} {count}" for code, count in codes.most_common()),
            f"slowest: seed {slowest.seed}, {slowest.seconds:.1f} s computing, {slowest.clock:.1f} s on the clock",
            f"largest: seed {largest.seed}, {largest.memory / 2**20:.0f} MiB",
        ]
    )


def shown(outcome: Outcome) -> str:
    """One failure: its kind, what was done to the spec, and what was raised."""
    steps = "\n  ".join(outcome.made.steps)
    return f"seed {outcome.seed}, {outcome.made.spec}: {outcome.kind}\n  {steps}\n{outcome.said[-3000:]}"


def examine_checks(count: int, folder: Path, *, first: int = 0) -> None:
    """Check the mutants of `count` seeds; prints a summary, and fails where one ends otherwise than documented."""
    check_spec(resolve(parse("gan")))  # what is imported late does not count
    outcomes = [_in_folder(checked, seed, folder) for seed in range(first, first + count)]
    _judge(outcomes, ("valid", "refused"))


def examine_runs(count: int, folder: Path, *, first: int = 0) -> None:
    """Run `count` mutants that pass check for two steps; as `examine_checks`."""
    outcomes: list[Outcome] = []
    seed = first
    while sum(outcome.kind not in NOT_RUN for outcome in outcomes) < count:
        outcomes.append(_in_folder(ran, seed, folder))
        seed += 1
    _judge(outcomes, DOCUMENTED)


def _in_folder(act: Callable[[int, Path], Outcome], seed: int, folder: Path) -> Outcome:
    place = folder / str(seed)
    try:
        outcome = act(seed, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if outcome.kind not in DOCUMENTED:
        print(f"\n{shown(outcome)}", flush=True)
    return outcome


def _judge(outcomes: list[Outcome], good: tuple[str, ...]) -> None:
    print(f"\n{summary(outcomes)}")
    bad = [outcome for outcome in outcomes if outcome.kind not in good]
    assert not bad, "\n\n".join(map(shown, bad[:20]))
