"""Reproduce a paper: the variants of its spec over several seeds, trained, measured, and its claims judged."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gangraph.errors import RunError, UsageError, nearest
from gangraph.folder.lock import locked
from gangraph.language.claims import FULL
from gangraph.language.document.parse import Choice, ParsedDocument, parse
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.reproduce.judge import judge, needed_variants, over_seeds
from gangraph.reproduce.outcome import Outcome, VariantOutcome
from gangraph.reproduce.work import RunResult, StoppedError, Task, begin_worker, work_on
from gangraph.session.run import prepare
from gangraph.views.diff import differences
from gangraph.views.printers.words import taken_away

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to reproduce, and how.

    Args:
        source: a spec's file, or the name of one that gangraph ships.
        profile: by default the spec's own.
        variants: by default those that its claims name, and those of which it measures what a paper reports.
        seeds: how many; they are 0, 1, ...
        settings: values by path, as for `--set`.
        jobs: runs at a time; the processor's cores are shared among them.
        out: the reproduction's folder; by default runs/reproduction/NAME-PROFILE.
    """

    source: str
    profile: str | None = None
    variants: tuple[str, ...] = ()
    seeds: int = 3
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    jobs: int = 1
    out: Path | None = None


def reproduce(request: Request, say: Say = print) -> Outcome:
    """Run what is not run yet, measure what is not measured yet, judge, and write `reproduction.json`.

    Raises:
        SpecError: a form of the spec has errors.
        UsageError: there is no such variant, or the spec claims nothing.
        StoppedError: the reproduction was stopped; the same call goes on with it.
    """
    document = parse(request.source)
    main = resolve(document, Choice(profile=request.profile, set=request.settings))
    specs = {name: _form(document, request, main, name) for name in _chosen(request, document, main)}
    for spec in specs.values():
        check_spec(spec)
        if any(phase.length is None for phase in spec.phases):
            raise UsageError(f"'{spec.name}' states no length to train for: give train: length:, or --set train.length")
    for spec in specs.values():
        prepare(spec, request.device)
    folder = request.out or Path("runs") / "reproduction" / f"{main.name}-{main.profile}"
    tasks = [_task(request, main, folder, name, seed) for seed in range(request.seeds) for name in specs]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "reproduction"):
        found = _work_all(tasks, request.jobs, say)
    findings = {name: [found[folder / name / f"seed-{seed}"] for seed in range(request.seeds)] for name in specs}
    outcome = Outcome(
        name=main.name,
        profile=main.profile,
        about=main.about,
        paper=_paper(main),
        spec=main.text,
        origin=request.source,
        seeds=tuple(range(request.seeds)),
        variants=tuple(_variant(name, specs[name], found) for name, found in findings.items()),
        reported=main.reported,
        verdicts=tuple(judge(claim, findings) for claim in main.claims),
        deviations=_deviations(document, main),
        environment=_environment(tasks),
        seconds=sum(one.seconds for one in found.values()),
        settings=request.settings,
    )
    outcome.save(folder)
    return outcome


def _form(document: ParsedDocument, request: Request, main: Spec, variant: str) -> Spec:
    chosen = None if variant == FULL else variant
    return resolve(document, Choice(profile=main.profile, variant=chosen, set=request.settings))


def _chosen(request: Request, document: ParsedDocument, spec: Spec) -> tuple[str, ...]:
    """The variants to run: those asked for, or those of claims, and of reported numbers that are measured."""
    for name in (part for variant in request.variants for part in variant.split(",")):
        if name not in (FULL, *spec.variants):
            near = nearest(name, spec.variants)
            known = ", ".join((FULL, *spec.variants))
            raise UsageError(f"there is no variant '{name}': one of {known}" + (f"; {near}" if near else ""))
    if request.variants:
        return request.variants
    named = [variant for claim in spec.claims for variant in needed_variants(claim)]
    reported = ((variant, table.metric) for table in spec.reported for variant in table.values if variant not in named)
    named += [variant for variant, metric in reported if metric in _measured(_form(document, request, spec, variant))]
    if not named:
        raise UsageError(f"'{spec.name}' claims nothing that could be judged: write claims:, or name --variants")
    return tuple(dict.fromkeys((*((FULL,) if FULL in named else ()), *named)))


def _measured(spec: Spec) -> frozenset[str]:
    """The names of all that a form of a spec measures."""
    evaluations = (phase.evaluate for phase in spec.phases if phase.evaluate is not None)
    written = (item for evaluate in evaluations for item in {**evaluate.metrics, **evaluate.results}.items())
    return frozenset(name for name, value in written if not taken_away(value))


def _task(request: Request, main: Spec, folder: Path, variant: str, seed: int) -> Task:
    return Task(
        source=request.source,
        profile=main.profile,
        variant="" if variant == FULL else variant,
        settings=tuple(request.settings.items()),
        seed=seed,
        folder=folder / variant / f"seed-{seed}",
        device=request.device,
    )


def _work_all(tasks: Sequence[Task], jobs: int, say: Say) -> Mapping[Path, RunResult]:
    """The result of every task, by its folder. Raises StoppedError once all runs that were begun are saved."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    # Never more threads than this process was given, for example by OMP_NUM_THREADS: threads that share a core wait for
    # each other.
    threads = max(1, min((os.cpu_count() or 1) // jobs, torch.get_num_threads()))
    found: dict[Path, RunResult] = {}
    began = time.monotonic()
    with ProcessPoolExecutor(jobs, context, begin_worker, (threads, stop)) as pool, _ended_by_signals():
        futures = _submitted(pool, tasks)
        try:
            for future in as_completed(futures):
                task = futures[future]
                found[task.folder] = future.result()
                say(_progress(task, found[task.folder], len(found), len(tasks), time.monotonic() - began))
        except BrokenProcessPool:
            raise RunError(
                f"the process of a run was killed, perhaps for memory, with {len(found)} of {len(tasks)} runs done; "
                "the same command goes on from here, with fewer --jobs if memory is short"
            ) from None
        except (KeyboardInterrupt, StoppedError):
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise StoppedError(
                f"stopped with {len(found)} of {len(tasks)} runs done; the same command goes on from here"
            ) from None
    return found


def _submitted(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> Mapping[Future[RunResult], Task]:
    """Submit the tasks. The pool's processes begin with interrupts blocked, which would kill them while they import."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(work_on, task): task for task in tasks}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as Ctrl-C does."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup asks
    numbers = (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _progress(task: Task, found: RunResult, done: int, total: int, spent: float) -> str:
    name = f"{task.variant or FULL}, seed {task.seed}"
    if found.failed:
        return f"[{done}/{total}] {name}: failed: {found.failed}"
    numbers = ", ".join(f"{key} {one.value:.4g}" for key, one in found.numbers.items() if one.value is not None)
    how = f"trained in {found.seconds:.0f} s" if found.trained else "was there"
    return f"[{done}/{total}] {name}: {how}; {numbers}; about {spent / done * (total - done):.0f} s left"


def _variant(name: str, spec: Spec, found: Sequence[RunResult]) -> VariantOutcome:
    metrics = dict.fromkeys(metric for one in found for metric in one.numbers)
    evaluate = spec.phases[-1].evaluate
    named = {**evaluate.metrics, **evaluate.results} if evaluate else {}
    return VariantOutcome(
        name=name,
        runs=tuple(f"{name}/seed-{seed}" for seed in range(len(found))),
        numbers={metric: over_seeds(metric, found) for metric in metrics or named},
    )


def _paper(spec: Spec) -> Mapping[str, str]:
    paper = spec.paper
    if paper is None:
        return {}
    stated = {key: getattr(paper, key) for key in ("title", "authors", "year", "arxiv", "venue")}
    return {key: value for key, value in stated.items() if value}


def _deviations(document: ParsedDocument, spec: Spec) -> tuple[str, ...]:
    """Where training under the profile and the settings of the request differs from the paper's settings."""
    found = differences(resolve(document, Choice(profile="paper")), spec)
    return tuple(str(difference) for difference in found if difference.section != "evaluation")


def _environment(tasks: Sequence[Task]) -> Mapping[str, object]:
    """The environment of the first run that wrote one."""
    files: Iterator[Path] = (task.folder / "environment.json" for task in tasks)
    written = next((path for path in files if path.exists()), None)
    found: Mapping[str, object] = json.loads(written.read_text()) if written is not None else {}
    return {key: value for key, value in found.items() if key not in ("command", "seed")}
