"""Runs that are killed: a process that has imported everything forks one child for each run and kills it when asked to.

`python -m tests.kills` reads tasks as lines of JSON and answers each with a line. It never trains by itself: autograd
does not work in a child whose parent has used it.
"""

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

STEPS = 4

# Phases, gates that remember, histories, an average, metrics and the best of them.
EVERYTHING = """
gangraph: 1
name: everything
data:
  x: plane(std=0.3, count=30)
  z: normal(2)
networks:
  G: mlp(widths=[6], outputs=2)
  D: mlp(widths=[4])
  G_ema: average(G, decay=0.9)
values: {fake: G(z)}
losses:
  judge: logistic.critic(real=D(x), fake=D(history(at_first(fake), 5)))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  save: 1 steps
  keep: 2
  optimizers: {g: "adam(G, lr=1e-2)", d: "sgd(D, lr=1e-2, momentum=0.9)"}
  step:
    - {update: g, minimize: fool, when: "hysteresis(running(fool), low=0.1, high=0.2)"}
    - {update: d, minimize: judge}
  phases:
    - {name: first, length: 3 steps}
    - {name: second, length: 5 steps, batch: 3}
evaluate:
  every: 1 steps
  samples: 4
  metrics: {distance: "mean(D(x)) - mean(D(fake))"}
  best: max(distance)
"""
# Little of what takes long and has nothing to do with kills: looks, pictures, evaluators.
PLAIN = {"train.save": "1 steps", "train.length": f"{STEPS} steps", "evaluate.every": "2 steps"}
VAE_GAN = ("distance", "distance_rec", "seen_before", "seen")
FORMS: Mapping[str, Mapping[str, object]] = {
    "cyclegan": {**PLAIN, "evaluate.results.iou_x": "none", "evaluate.results.iou_y": "none"},
    "vae_gan": {**PLAIN, **{f"evaluate.results.{name}": "none" for name in VAE_GAN}},
    "wgan_gp": {**PLAIN, "evaluate.results.quality": "none"},
    "everything": {},
}


def spec_of(form: str) -> Any:
    """A spec in its tiny form."""
    from tests.support import load, read

    settings = {key.replace(".", "__"): value for key, value in FORMS[form].items()}
    return load(form, **settings) if settings else read(EVERYTHING)


# ---------------------------------------------------------------------------
# In the child


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@contextmanager
def counted(at: int) -> Iterator[list[int]]:
    """Count what a save does to files, and be killed before number `at`; of a file that is written, half stays."""
    from gangraph.folder import checkpoint
    from gangraph.folder.run_folder import RunFolder

    count, saving = [0], [False]

    def counts(function: Callable[..., Any], *, halves: bool = False) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not saving[0]:
                return function(*arguments, **options)
            count[0] += 1
            if count[0] == at:
                if halves:
                    function(*arguments, **options)
                    os.truncate(arguments[1], os.path.getsize(arguments[1]) // 2)
                _die()
            return function(*arguments, **options)

        return wrapped

    def saves(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            saving[0] = True
            try:
                return function(*arguments, **options)
            finally:
                saving[0] = False

        return wrapped

    for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "open"):
        setattr(os, name, counts(getattr(os, name)))
    io.open = builtins.open = counts(io.open)  # type: ignore[assignment]  # an overloaded function
    checkpoint.save_file = counts(checkpoint.save_file, halves=True)
    for name in ("save", "keep_best"):
        setattr(RunFolder, name, saves(getattr(RunFolder, name)))
    yield count


def _child(form: str, folder: Path, resume: bool, at: int) -> None:
    from gangraph.session import record, run

    record._SECONDS = -1.0  # every step is a line
    with counted(at) as count:
        place = {"resume": folder} if resume else {"out": folder}
        run.run(spec_of(form), **place, seed=3, device="cpu", json=True)
    folder.with_name(f"{folder.name}.count").write_text(str(count[0]))


def serve() -> None:
    """Answer tasks until there are no more."""
    import torch

    import gangraph.session.run  # noqa: F401  # which everything else follows

    torch.set_num_threads(1)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if not child:
            log = os.open(f"{task['folder']}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                _child(task["form"], Path(task["folder"]), task["resume"], task["at"])
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        status, seconds = _waited(child, task["after"])
        sys.stdout.write(json.dumps({"status": status, "seconds": seconds}) + "\n")
        sys.stdout.flush()


def _waited(child: int, after: float | None) -> tuple[int, float]:
    """The child's status and its seconds of processor time, of which it is left `after`: others do not count."""
    while True:
        found, status, used = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        if after is not None and _used(child) >= after:
            os.kill(child, signal.SIGKILL)
            after = None
        time.sleep(0.002)  # no child tells that it has come so far: it is looked for


def _used(process: int) -> float:
    """Processor time so far, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------
# In the test


@dataclass
class Server:
    """The process that forks."""

    process: "subprocess.Popen[str]"

    def run(
        self, form: str, folder: Path, *, resume: bool = False, at: int = 0, after: float | None = None
    ) -> tuple[int, float]:
        """A run, or what comes after its kill; its exit status and how long it computed."""
        task = {"form": form, "folder": str(folder), "resume": resume, "at": at, "after": after}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["seconds"]


@contextmanager
def server() -> Iterator[Server]:
    """A process that forks runs."""
    command = [sys.executable, "-m", "tests.kills"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield Server(process)
        assert process.stdin is not None
        process.stdin.close()


def made(folder: Path) -> dict[str, Any]:
    """What a run left that does not depend on time: checkpoints and pictures as bytes, numbers as they are."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("checkpoints", "samples")
        for path in folder.glob(f"{part}/**/*")
        if path.is_file()
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [{key: value for key, value in line.items() if key != "images_per_second"} for line in lines]
    return found


@dataclass(frozen=True)
class Whole:
    """What an unbroken run left, how long it took, and what its saves did to files."""

    made: Mapping[str, Any]
    seconds: float
    operations: int


def whole_of(server: Server, form: str, folder: Path) -> Whole:
    """A run that nobody killed."""
    status, seconds = server.run(form, folder)
    assert status == 0, folder.with_name(f"{folder.name}.log").read_text()
    return Whole(made(folder), seconds, int(folder.with_name(f"{folder.name}.count").read_text()))


def check_kill(
    server: Server, form: str, whole: Whole, folder: Path, *, at: int = 0, after: float | None = None
) -> bool:
    """Kill a run, let it go on, and compare what it leaves; whether it was killed before its end."""
    log = folder.with_name(f"{folder.name}.log")
    status, _ = server.run(form, folder, at=at, after=after)
    said = f"{form}, killed at operation {at}, after {after} s\n"
    assert status in (0, -signal.SIGKILL), said + log.read_text()
    again, _ = server.run(form, folder, resume=(folder / "environment.json").is_file())  # or it never began
    assert again == 0, said + log.read_text()
    found = made(folder)
    assert found.keys() == whole.made.keys(), said + log.read_text()
    assert [name for name in found if found[name] != whole.made[name]] == [], said + log.read_text()
    return status != 0


if __name__ == "__main__":
    serve()
