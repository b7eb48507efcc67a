"""What goes wrong around a run: each fault is one line that names it, and nothing that was saved is lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import torch
from safetensors import SafetensorError

from gangraph import RunError, UsageError
from gangraph.cli import main
from gangraph.errors import CheckpointError, DataError
from gangraph.faults import fault_of
from gangraph.folder import cache, checkpoint
from gangraph.folder.lock import locked
from gangraph.folder.run_folder import RunFolder
from gangraph.language.spec import Spec
from gangraph.report.reading import Run
from gangraph.report.reading import read as read_folder
from gangraph.run.engine import Engine
from gangraph.run.loading import load_run
from gangraph.session.run import measure_run, run
from tests.support import small

EVALUATE = "evaluate: {every: 2 steps, samples: 4, metrics: {m: mean(D(x))}, best: max(m)}"
EIGHT = "  length: 8 steps\n  save: 2 steps"


def spec() -> Spec:
    return small(length=EIGHT, evaluate=EVALUATE)


class Told:
    """A reporter that keeps what is said, and does something at the first numbers beyond a step."""

    def __init__(self, step: int = 0, act: Callable[[], object] = lambda: None) -> None:
        self.said: list[str] = []
        self.step, self.act, self.acted = step, act, False

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, line: Any, share: float) -> None:
        if line["step"] >= self.step and not self.acted:
            self.acted = True
            self.act()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


def numbers(folder: Path) -> list[int]:
    """The steps of a run's checkpoints."""
    return [int(path.name.removeprefix("step-")) for path in RunFolder(folder).checkpoints()]


def tensors(path: Path) -> bytes:
    return (path / "tensors.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    return run(spec(), out=tmp_path_factory.mktemp("whole") / "run", device="cpu")


@pytest.fixture
def done(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


# ---------------------------------------------------------------------------
# What lies in the folder of a run


def test_a_damaged_newest_checkpoint_is_passed_over_and_the_run_ends_with_the_same_bits(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tensors(RunFolder(done).latest())
    (RunFolder(done).latest() / "tensors.safetensors").write_bytes(b"")
    run(spec(), resume=done, device="cpu")
    said = capsys.readouterr().err
    assert "step-00000008' cannot be used: tensors.safetensors: " in said and "; the one before it is taken" in said
    assert "step-00000008' is not gone on from, and is kept as 'step-00000008.aside-" in said
    assert tensors(RunFolder(done).latest()) == expected
    assert numbers(done)[-1] == 8


def test_every_reader_of_a_run_passes_a_damaged_checkpoint_over(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (RunFolder(done).latest() / "state.json").write_text("")
    assert load_run(done, device="cpu").step_count == 6
    assert measure_run(done, device="cpu").step == 6
    read = read_folder(done)
    assert isinstance(read, Run) and read.trained is not None
    assert capsys.readouterr().err.count("the one before it is taken") == 3


def test_a_run_without_one_good_checkpoint_names_the_first_fault(done: Path) -> None:
    for path in RunFolder(done).checkpoints():
        (path / "state.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"state\.json: it: found"):
        run(spec(), resume=done, device="cpu")


def test_foreign_files_among_the_checkpoints_are_none(done: Path) -> None:
    place = done / "checkpoints"
    for name in ("step-99999999", "notes.txt"):
        (place / name).write_text("")
    for name in ("step-9", "step-00000099.bak", "old", "step-of-mine", ".DS_Store"):
        (place / name).mkdir()
    assert numbers(done) == [4, 6, 8]
    run(spec(), resume=done, device="cpu")
    assert (place / "step-of-mine").is_dir() and (place / "step-99999999").is_file()


def test_a_checkpoint_between_its_renames_is_read_and_put_back(done: Path) -> None:
    newest = RunFolder(done).latest()
    newest.rename(newest.with_name(f".{newest.name}.former"))
    best = done / "checkpoints" / "best"
    value = RunFolder(done).best()
    best.rename(best.with_name(".best.former"))
    assert numbers_of(done) == [4, 6, 8] and RunFolder(done).best() == value
    assert load_run(done, device="cpu").step_count == 8
    run(spec(), resume=done, device="cpu")
    assert newest.is_dir() and best.is_dir()


def numbers_of(folder: Path) -> list[int]:
    return [checkpoint.read_checkpoint(path).state.step for path in RunFolder(folder).checkpoints()]


def test_what_a_killed_save_left_is_cleared_away(done: Path) -> None:
    for place in (done / "checkpoints", done / "samples", done):
        place.mkdir(exist_ok=True)
    (done / "checkpoints" / ".step-00000009.999999999.unfinished").mkdir()
    (done / "samples" / ".latest.png.999999999.unfinished").write_text("")
    run(spec(), resume=done, device="cpu")
    assert not list(done.rglob("*.unfinished"))


@pytest.mark.parametrize("torn", [b'{"step": 8, "los\xff', b'{"step": 8, "los', b"\0\0\0\n", b"[" * 200_000])
def test_a_last_line_of_metrics_that_a_kill_tore_is_left_out_with_a_word(
    torn: bytes, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = done / "metrics.jsonl"
    lines = metrics.read_bytes()
    number = lines.count(b"\n") + 1
    metrics.write_bytes(lines + torn)
    assert isinstance(read := read_folder(done), Run) and len(read.lines) == number - 1
    said = f"metrics.jsonl:{number}': left out the last line, which was not written to its end"
    assert said in capsys.readouterr().err
    run(spec(), resume=done, device="cpu")
    assert said in capsys.readouterr().err
    assert all(json.loads(line) for line in metrics.read_text().splitlines())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"step": 8, "los', "Unterminated string"),
        ("[" * 200_000, "it is nested too deeply"),
        ("7", "it: found 7"),
        ('{"losses": {}}', "the key 'step' is missing"),
        ('{"step": 1.5}', "step: found 1.5"),
        ('{"step": true}', "step: found True"),
        ('{"step": -1}', "step: found -1"),
        ('{"step": 1, "losses": {"fool": "0.5"}}', "losses.fool: found '0.5'"),
        ('{"step": 1, "losses": {"fool": true}}', "losses.fool: found True"),
        ('{"step": 1, "losses": {"fool": NaN}}', "found NaN, expected a finite number"),
        ('{"step": 1, "metrics": [1]}', "metrics: found [1]"),
        ('{"step": 1, "step": 2}', "the key 'step' stands twice"),
        ('{"step": 1, "odd": 2}', "there is no key 'odd'"),
    ],
)
def test_a_line_of_metrics_that_is_no_report_is_an_error_with_its_place(line: str, said: str, done: Path) -> None:
    metrics = done / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join([lines[0], line + "\n", *lines[1:]]))
    for reads in (read_folder, lambda folder: RunFolder(folder).lines()):
        with pytest.raises(RunError) as raised:
            reads(done)
        assert str(raised.value).startswith(f"'{metrics}:2' is damaged: {said}")
        assert str(raised.value).endswith("; expected a report with its step: remove the line")
    with pytest.raises(RunError, match=r"metrics\.jsonl:2' is damaged"):
        run(spec(), resume=done, device="cpu")


def test_a_pipe_in_place_of_metrics_does_not_block(done: Path) -> None:
    (done / "metrics.jsonl").unlink()
    os.mkfifo(done / "metrics.jsonl")
    with pytest.raises(RunError, match=r"cannot read '.*metrics\.jsonl': it is no file"):
        RunFolder(done).lines()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"value": "a"}', '{"step": 2}', "[" * 100_000])
def test_the_metric_of_the_best_that_cannot_be_read_is_none_with_a_word(
    content: str, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (done / "checkpoints" / "best" / "metric.json").write_text(content)
    assert RunFolder(done).best() is None
    assert "metric.json' cannot be read: " in capsys.readouterr().err


def test_a_run_that_ended_before_its_first_checkpoint_begins_anew(
    whole: Path, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(done / "checkpoints")
    (done / "checkpoints").mkdir()
    run(spec(), resume=done, device="cpu")
    assert "ended before its first checkpoint, and begins anew" in capsys.readouterr().err
    assert tensors(RunFolder(done).latest()) == tensors(RunFolder(whole).latest())


# ---------------------------------------------------------------------------
# Two processes, signals


def test_two_processes_cannot_train_in_one_folder(done: Path) -> None:
    message = rf"run '.*run' is in use by process {os.getpid()} on .*: wait for it to end, or take another folder"
    with locked(done):
        with pytest.raises(RunError, match=message):
            run(spec(), resume=done, device="cpu")
        shutil.copytree(done / "checkpoints", done.parent / "kept")
        (done / "metrics.jsonl").unlink()
        with pytest.raises(RunError, match=message):
            run(spec(), out=done, device="cpu")
    with locked(done):  # which the one before has given back
        pass


def test_the_lock_of_a_killed_process_is_free(done: Path) -> None:
    (done / ".lock").write_text("process 1 on earth\n")
    run(spec(), resume=done, device="cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_saves_and_ends_the_run(number: int, tmp_path: Path) -> None:
    told = Told(3, lambda: os.kill(os.getpid(), number))
    folder = run(spec(), out=tmp_path / "run", device="cpu", report=told)
    assert told.said[-1].startswith("stopped at step 4 ") and numbers(folder)[-1] == 4
    assert run(spec(), resume=folder, device="cpu", report=(again := Told())) == folder
    assert again.said[-1].startswith("finished at step 8 ")


def test_a_run_that_shall_outlive_its_terminal_does(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        told = Told(3, lambda: os.kill(os.getpid(), signal.SIGHUP))
        run(spec(), out=tmp_path / "run", device="cpu", report=told)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert told.said[-1].startswith("finished at step 8 ")


def test_further_interrupts_during_the_last_save_do_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gangraph.session.record._SECONDS", -1.0)  # so that every step is told
    save = checkpoint.save_file

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        save(*arguments)

    told = Told(
        1, lambda: (os.kill(os.getpid(), signal.SIGINT), monkeypatch.setattr(checkpoint, "save_file", interrupted))
    )
    folder = run(small(length="  length: 90 steps\n  save: 50 steps"), out=tmp_path / "run", device="cpu", report=told)
    assert len(numbers(folder)) == 1 and told.said[-1].startswith("stopped at step ")
    assert "saving a checkpoint after this step; Ctrl-\\ ends at once" in capfd.readouterr().err


# ---------------------------------------------------------------------------
# What the system refuses


@pytest.mark.parametrize("step", [3, 5])
def test_a_report_that_cannot_be_written_ends_the_run_with_all_it_did_saved(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = RunFolder.append

    def full(self: RunFolder, line: Any) -> None:
        if line["step"] >= step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl")
        append(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", full)
        message = (
            rf"step {step + 1}: 'metrics.jsonl' cannot be read or written: No space left on device; .*0{step + 1}$"
        )
        with pytest.raises(RunError, match=message):
            run(spec(), out=tmp_path / "run", device="cpu")
    assert numbers(tmp_path / "run")[-1] == step + 1
    run(spec(), resume=tmp_path / "run", device="cpu")


def test_data_of_an_evaluation_that_goes_away_ends_the_run_with_all_it_did_saved(tmp_path: Path) -> None:
    def gone() -> None:
        raise DataError("'photos/1.png' is not there any more")

    with pytest.raises(RunError, match=r"'photos/1.png' is not there any more; .*06$"):
        run(spec(), out=tmp_path / "run", device="cpu", report=Told(6, gone))
    assert numbers(tmp_path / "run")[-1] == 6


def test_a_seed_that_no_checkpoint_could_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a seed is a whole number below 2"):
        run(spec(), out=tmp_path / "run", device="cpu", seed=2**64)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = checkpoint.save_file, []

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", full)
    message = r"checkpoint '.*step-00000006' cannot be written: .*No space left .*; the last good checkpoint is .*0004"
    with pytest.raises(RunError, match=message):
        run(small(length=EIGHT), out=tmp_path / "run", device="cpu")
    assert numbers(tmp_path / "run") == [2, 4]


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A small file system of its own, where that is allowed."""
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True).returncode
    ):
        pytest.skip("mounting needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mounted(tmp_path / "full", "-o", "size=48k"):
        with pytest.raises(RunError, match="No space left on device") as raised:
            run(spec(), out=tmp_path / "full" / "run", device="cpu")
        assert "\n" not in str(raised.value)


def test_a_read_only_folder_is_told_in_a_line(done: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "fixed"):
        place = shutil.copytree(done, tmp_path / "fixed" / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "fixed")], check=True)
        with pytest.raises((RunError, OSError), match="Read-only file system"):
            run(spec(), resume=place, device="cpu")
        assert load_run(place, device="cpu").step_count == 8


def test_a_folder_that_goes_away_meanwhile_is_told_in_a_line_and_what_was_done_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gangraph.session.record._SECONDS", -1.0)  # so that every step is told
    told = Told(3, lambda: (tmp_path / "run").rename(tmp_path / "gone"))
    with pytest.raises(
        RunError, match=r"^step \d+: .*No such file or directory; the last good checkpoint is "
    ) as raised:
        run(spec(), out=tmp_path / "run", device="cpu", report=told)
    assert "\n" not in str(raised.value)
    assert (numbers(tmp_path / "gone"), numbers(tmp_path / "run")) == ([2], [4])


@pytest.mark.parametrize("below", ["", "/run", "/a/run"])
def test_a_run_on_a_file_is_refused_before_anything_else(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"a run is a folder, and '.*file' is a file: choose another --out"):
        run(spec(), out=Path(f"{tmp_path / 'file'}{below}"), device="cpu")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_on_a_run_is_refused(done: Path) -> None:
    with pytest.raises(UsageError, match="already holds a run"):
        run(spec(), out=done, device="cpu")


NO_MEMORY = (
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_memory_that_runs_out_in_a_step_is_told_and_that_step_is_not_saved(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Engine.step

    def short(self: Engine, *arguments: Any) -> Any:
        if self.step_count == 3:
            raise error
        return step(self, *arguments)

    monkeypatch.setattr(Engine, "step", short)
    message = (
        r"step 3: memory ran out \(.*\); a smaller train.batch needs less; the last good checkpoint is .*00000002$"
    )
    with pytest.raises(RunError, match=message):
        run(spec(), out=tmp_path / "run", device="cpu")


def test_other_errors_are_no_faults_of_the_system() -> None:
    assert fault_of(ValueError("a")) is None
    assert fault_of(RuntimeError("shapes cannot be multiplied")) is None
    assert fault_of(ValueError("a text that speaks of memory: Cannot allocate memory")) is None


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANGRAPH_CACHE", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RunError, match=r"no home directory: name a folder in \$GANGRAPH_CACHE"):
        cache.cache_folder()


# ---------------------------------------------------------------------------
# The command


def command(line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A shell's line, in which $G is the command."""
    made = {**os.environ, "G": f"{sys.executable} -m gangraph", "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run(["bash", "-c", line], env=made, capture_output=True, text=True, timeout=120, errors="replace")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$G list >&-", 3, "gangraph: standard output is closed; send it to /dev/null if nobody is to read it\n"),
        ("$G list >/dev/full", 3, "gangraph: a file cannot be read or written: No space left on device\n"),
        ("$G list 2>&- >/dev/null", 0, ""),
        ("$G list <&- >/dev/null", 0, ""),
        ("$G list | head -1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
        ("$G show nothing 2>&-", 2, ""),
    ],
)
def test_closed_output_is_a_line_and_a_code(line: str, code: int, said: str) -> None:
    found = command(line)
    assert (found.returncode, found.stderr) == (code, said)


def test_an_ascii_locale_can_print_everything(tmp_path: Path) -> None:
    ascii = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    broken = tmp_path / "broken.yaml"
    broken.write_text("gangraph: 1\nname: größe\nnet: ä\n", encoding="utf-8")
    found = command(f"$G show {broken} --as spec", **ascii)
    assert found.returncode == 1 and "error GG" in found.stderr
    assert command("$G list", **ascii).returncode == 0


def test_a_user_whom_nobody_knows_has_a_name_for_torch() -> None:
    """As in a container: neither the system nor the environment names the user."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("taking another user needs root and setpriv")
    reads = "--inh-caps +dac_read_search --ambient-caps +dac_read_search"  # where the interpreter is root's
    code = "import gangraph, getpass; print(getpass.getuser())"
    unnamed = "env -u HOME -u USER -u LOGNAME -u LNAME -u USERNAME"
    line = f"{unnamed} setpriv --reuid=12345 --regid=12345 --clear-groups {reads} {sys.executable} -c '{code}'"
    assert command(line).stdout == "user12345\n"


def test_what_the_system_refuses_any_command_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/root/.cache/gangraph")

    monkeypatch.setattr("gangraph.cli.specs.read_spec", refused)
    assert main(["show", "gan", "--as", "spec"]) == 3
    assert capsys.readouterr().err == "gangraph: '/root/.cache/gangraph' cannot be read or written: Permission denied\n"
