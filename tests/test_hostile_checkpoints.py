"""Checkpoints that nobody's run wrote: each is one error that names the file and the key, soon and in little memory."""

import json
import os
import random
import resource
import shutil
import signal
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gangraph import RunError, Trainer, UsageError
from gangraph.errors import CheckpointError
from gangraph.registry import optimizers
from gangraph.saved.files import digest_of
from tests.support import read, trainer

# Everything that a checkpoint can hold: a stream, a history, gates that remember, an average, counts, two optimizers.
SPEC = """
gangraph: 1
name: full
data:
  x: plane(std=0.3, count=30)
  z: normal(2)
networks:
  G: {inputs: [z], layers: "linear(4), batch_norm, tanh, linear(2)"}
  D: mlp(widths=[4])
  G_ema: average(G, decay=0.9)
values: {fake: G(z)}
losses:
  judge: logistic.critic(real=D(x), fake=D(history(at_first(fake), 5)))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  optimizers: {g: "adam(G, lr=1e-3)", d: "sgd(D, lr=1e-3, momentum=0.9)"}
  step:
    - {update: g, minimize: fool, when: "hysteresis(running(judge_now), low=0.1, high=0.2)"}
    - {update: d, minimize: judge}
  phases:
    - {name: first, length: 2 steps}
    - {name: second, length: 9 steps, batch: 3}
profiles: {quick: {}}
""".replace("judge_now", "fool")

SECONDS, MEMORY = 10, 2**30
HISTORY = "history"

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good checkpoint in the middle of the second phase."""
    run = trainer(read(SPEC), precision="fp32")
    run.train(steps=4)
    assert run.phase == 1 and run.phase_start == 2
    folder = run.save(tmp_path_factory.mktemp("hostile") / "good")
    assert Trainer.resume(folder, device="cpu").step_count == 4
    return folder


@contextmanager
def limited() -> Iterator[None]:
    """So much time, and so much more address space than the process has."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"longer than {SECONDS} s")

    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, limits[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------------------
# How a checkpoint is changed


def state(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "state.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return apply


def put(value: object, *keys: str | int) -> Change:
    """Write a value under keys."""

    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return state(change)


def drop(*keys: str) -> Change:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        del data[keys[-1]]

    return state(change)


def text(content: str | bytes, name: str = "state.json") -> Change:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return apply


def replaced(old: str, new: str) -> Change:
    """Other text for a piece of state.json."""

    def apply(folder: Path) -> None:
        path = folder / "state.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return apply


def instead(make: Callable[[Path], object], name: str = "state.json") -> Change:
    """Something else where a file belongs."""

    def apply(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return apply


def both(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for change in changes:
            change(folder)

    return apply


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "tensors.safetensors"
        data = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(data)
        save_file({name: tensor.contiguous() for name, tensor in data.items()}, path)

    return apply


def tensor(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    def apply(data: dict[str, Tensor]) -> None:
        data[name] = change(data[name])

    return tensors(apply)


def renamed(old: str, new: str) -> Change:
    return tensors(lambda data: data.update({new: data.pop(old)}))


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """What the file says of its tensors, over the same data."""

    def apply(folder: Path) -> None:
        path = folder / "tensors.safetensors"
        content = path.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        data = json.loads(content[8 : 8 + size])
        change(data)
        made = json.dumps(data).encode()
        path.write_bytes(struct.pack("<Q", len(made)) + made + content[8 + size :])

    return apply


def content(change: Callable[[bytes], bytes]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "tensors.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return apply


def sparse(size: int, name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return instead(make, name)


W, EXP, SQ, STEP = (
    "network/G/layers.linear.weight",
    "optimizer/g/0.exp_avg",
    "optimizer/g/0.exp_avg_sq",
    "optimizer/g/0.step",
)
MOMENTUM, POOL, T = "optimizer/d/0.momentum_buffer", f"history/{HISTORY}/samples", "tensors.safetensors"
LOOSE = put("", "extra", "fingerprint")  # which tells of a changed text before anything else is looked at
DEEP = "[" * 200_000 + "]" * 200_000

CASES: Mapping[str, tuple[Change, str]] = {
    # state.json as a file
    "no JSON": (text("{"), "state.json: Expecting property name"),
    "empty": (text(""), "state.json: Expecting value"),
    "a list": (text("[]"), "state.json: it: found [], expected"),
    "null": (text("null"), "state.json: it: found None, expected"),
    "a number": (text("3"), "state.json: it: found 3"),
    "no UTF-8": (text(b'{"step": "\xff"}'), "state.json: byte 10 is no UTF-8"),
    "NaN": (replaced('"step": 4', '"step": NaN'), "found NaN, expected a finite number"),
    "Infinity": (replaced('"step": 4', '"step": -Infinity'), "found -Infinity"),
    "a key twice": (replaced('"step": 4', '"step": 4, "step": 5'), "the key 'step' stands twice"),
    "a key twice inside": (replaced('"phase": 1', '"phase": 1, "phase": 0'), "the key 'phase' stands twice"),
    "too large a number": (replaced('"step": 4', '"step": 1e400'), "step: found inf"),
    "a number of many digits": (replaced('"step": 4', f'"step": {"9" * 5000}'), "state.json: Exceeds the limit"),
    "deep": (replaced('"step": 4', f'"step": {DEEP}'), "nested too deeply"),
    "deep objects": (text('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    "long": (replaced('"step": 4', f'"step": 4, "a": "{" " * 2**24}"'), "longer than 16777216 bytes"),
    "endless": (instead(lambda path: path.symlink_to("/dev/zero")), "state.json: it is no file"),
    "sparse": (sparse(2**40, "state.json"), "longer than 16777216 bytes"),
    "missing": (instead(lambda path: None), "state.json: No such file"),
    "a pipe": (instead(os.mkfifo), "state.json: it is no file"),
    "a folder": (instead(Path.mkdir), "state.json: it is no file"),
    "a link to itself": (instead(lambda path: path.symlink_to(path)), "state.json: Too many levels of symbolic links"),
    # its keys
    "format of the future": (put(3, "format"), "format: found 3"),
    "format as text": (put("2", "format"), "format: found '2'"),
    "no format": (drop("format"), "the key 'format' is missing"),
    "no step": (drop("step"), "the key 'step' is missing"),
    "an odd key": (put(1, "steps"), "there is no key 'steps'"),
    "step -1": (put(-1, "step"), "step: found -1, expected greater than or equal to 0"),
    "step true": (put(True, "step"), "step: found True, expected a valid integer"),
    "step 1.5": (put(1.5, "step"), "step: found 1.5"),
    "step as text": (put("4", "step"), "step: found '4'"),
    "step beyond what counts": (put(2**63, "step"), "step: found 9223372036854775808"),
    "step null": (put(None, "step"), "step: found None"),
    "step before its phase": (put(1, "step"), "extra.phase_start: found 2, expected at most the step, 1"),
    "digest of others": (put("0" * 128, "digest"), "key 'digest'"),
    "digest short": (put("0", "digest"), "digest: found '0'"),
    "digest a number": (put(0, "digest"), "digest: found 0"),
    "shared, which nothing is": (put("network/G/", "shared", "network/D/"), "shared.network/D/: found network/G/"),
    "shared a list": (put([], "shared"), "shared: found []"),
    "positions a list": (put([6], "positions"), "positions: found [6]"),
    "position -1": (put(-1, "positions", "x"), "positions.x: found -1"),
    "position beyond": (put(2**64, "positions", "x"), "positions.x: found 18446744073709551616"),
    "position of noise": (put(3, "positions", "z"), "positions.z: the spec has no such stream"),
    "position of nothing": (put(3, "positions", "y"), "positions.y: the spec has no such stream"),
    "no position": (drop("positions", "x"), "the key 'positions.x' is missing"),
    "histories null": (put(None, "histories"), "histories: found None"),
    "no history": (drop("histories", HISTORY), f"histories.{HISTORY}"),
    "an odd history": (put({"count": 0, "calls": 0}, "histories", "h"), "histories.h"),
    "history above its size": (put(6, "histories", HISTORY, "count"), f"histories.{HISTORY}.count: found 6"),
    "history of -1": (put(-1, "histories", HISTORY, "count"), f"histories.{HISTORY}.count: found -1"),
    "history never called": (put(0, "histories", HISTORY, "calls"), f"histories.{HISTORY}.count: found 5 samples after 0"),
    "history called half a time": (put(0.5, "histories", HISTORY, "calls"), f"histories.{HISTORY}.calls: found 0.5"),
    "history with more": (put(1, "histories", HISTORY, "size"), f"there is no key 'histories.{HISTORY}.size'"),
    "gates an object": (put({}, "gates"), "gates: found {}"),
    "gates of no update": (put([], "gates"), "gates: found 0, expected one for each of 2"),
    "gates of more updates": (state(lambda s: s["gates"].append({})), "gates: found 3"),
    "no gates": (drop("gates"), "gates: found 0"),
    "a gate of nothing": (put([1.0], "gates", 1, "d"), "gates.1.d: found [1.0], expected no such gate"),
    "a gate that forgot": (put([], "gates", 0, ""), "gates.0.: found []"),
    "a gate of another type": (put([True, True], "gates", 0, ""), "gates.0.: found [True, True]"),
    "a gate of numbers": (put([0.5, 0.5], "gates", 0, ""), "gates.0.: found [0.5, 0.5]"),
    "a gate of text": (put(["a", True], "gates", 0, ""), "gates.0"),
    "a gate of lists": (put([[], True], "gates", 0, ""), "gates.0"),
    "a gate beyond": (both(put([12345.0, True], "gates", 0, ""), replaced("12345.0", "1e999")), "gates.0"),
    # what was trained
    "extra a list": (put([], "extra"), "extra"),
    "an odd key inside": (put(1, "extra", "steps"), "there is no key 'extra.steps'"),
    "phase 2 of 2": (put(2, "extra", "phase"), "extra.phase: found 2, but the spec has 2"),
    "phase -1": (put(-1, "extra", "phase"), "extra.phase: found -1"),
    "phase true": (put(True, "extra", "phase"), "extra.phase: found True"),
    "the phase before": (put(0, "extra", "phase"), "extra.phase: found 0"),
    "phase_start as text": (put("2", "extra", "phase_start"), "extra.phase_start: found '2'"),
    "phase_start of later": (put(5, "extra", "phase_start"), "extra.phase_start: found 5"),
    "seen_before 0.5": (put(0.5, "extra", "seen_before"), "extra.seen_before: found 0.5"),
    "seed null": (put(None, "extra", "seed"), "extra.seed: found None"),
    "seed as text": (put("0", "extra", "seed"), "extra.seed: found '0'"),
    "seed beyond": (put(2**70, "extra", "seed"), "extra.seed: found 1180591620717411303424"),
    "precision fp16": (put("fp16", "extra", "precision"), "extra.precision: found 'fp16', expected 'fp32', 'bf16' or"),
    "another precision": (put("fp64", "extra", "precision"), "float32, expected"),
    "share 1": (put(1, "extra", "share"), "extra.share: found 1"),
    "merge null": (put(None, "extra", "merge"), "extra.merge: found None"),
    "kernels maybe": (put("maybe", "extra", "kernels"), "extra.kernels: found 'maybe'"),
    "spec null": (put(None, "extra", "spec"), "extra.spec: found None"),
    "spec empty": (put("", "extra", "spec"), "extra.spec"),
    "spec of no YAML": (put("{a: [", "extra", "spec"), "extra.spec"),
    "spec of a list": (put("- a\n", "extra", "spec"), "extra.spec"),
    "spec with a slip": (both(LOOSE, replaced("minimize: fool", "minimize: fooled")), "extra.spec: its text has errors: full.yaml:"),
    "spec of a larger network": (both(LOOSE, replaced("linear(4)", "linear(90000), linear(90000)")), f"'{W}': found [4, 2] float32, expected [90000, 2]"),
    "profile that is not there": (put("slow", "extra", "profile"), "extra.spec: its text has errors"),
    "profile a list": (put([], "extra", "profile"), "extra.profile: found []"),
    "variant that is not there": (put("odd", "extra", "variant"), "extra.spec: its text has errors"),
    "settings a list": (put([], "extra", "settings"), "extra.settings: found []"),
    "settings of numbers": (put({"train.batch": 3}, "extra", "settings"), "extra.settings.train.batch: found 3"),
    "settings that are not there": (put({"train.batches": "3"}, "extra", "settings"), "extra.spec: its text has errors"),
    "origin with NUL": (put("a\0b", "extra", "origin"), "extra.origin: found"),
    "name of lines": (put("a\nb", "extra", "name"), "extra.name: found"),
    "name that colours": (put("\x1b[31m", "extra", "name"), "extra.name: found '\\x1b[31m'"),
    "name of 5000": (put("a" * 5000, "extra", "name"), "extra.name: found"),
    **{
        f"no {key}": (drop("extra", key), f"the key 'extra.{key}' is missing")
        for key in ("spec", "name", "profile", "variant", "settings", "origin", "fingerprint", "seed", "precision",
                    "phase", "phase_start", "seen_before", "share", "merge", "kernels")
    },
    # tensors.safetensors as a file
    "no tensors": (instead(lambda path: None, T), f"{T}: No such file"),
    "tensors empty": (text("", T), T),
    "tensors of text": (text("a" * 100, T), f"{T}: its header claims"),
    "tensors cut": (content(lambda data: data[:-7]), T),
    "tensors cut in the header": (content(lambda data: data[:100]), T),
    "tensors and more": (content(lambda data: data + b"\0" * 8), T),
    "a header of 2^60": (content(lambda data: struct.pack("<Q", 2**60) + data[8:]), f"{T}: its header claims 1152921504606846976"),
    "a header beyond the end": (content(lambda data: struct.pack("<Q", 10**6) + data[8:]), T),
    "a header of no JSON": (content(lambda data: data[:8] + b"[" + data[9:]), T),
    "tensors sparse": (sparse(2**40, T), T),
    "tensors a pipe": (instead(os.mkfifo, T), f"{T}: it is no file"),
    "tensors endless": (instead(lambda path: path.symlink_to("/dev/zero"), T), f"{T}: it is no file"),
    "tensors a folder": (instead(Path.mkdir, T), f"{T}: it is no file"),
    "offsets beyond": (header(lambda h: h[W].update(data_offsets=[0, 2**40])), T),
    "offsets backwards": (header(lambda h: h[W].update(data_offsets=[32, 0])), T),
    "offsets negative": (header(lambda h: h[W].update(data_offsets=[-32, 0])), T),
    "offsets of another": (header(lambda h: h[W].update(data_offsets=h[EXP]["data_offsets"])), T),
    "a shape that lies": (header(lambda h: h[W].update(shape=[4, 2**40])), T),
    "a shape of overflow": (header(lambda h: h[W].update(shape=[2**33, 2**33])), T),
    "a type that nobody has": (header(lambda h: h[W].update(dtype="F7")), T),
    "a type of another size": (header(lambda h: h[W].update(dtype="F16")), T),
    "a type of the same size": (header(lambda h: h[W].update(dtype="I32")), f"'{W}': found [4, 2] int32, expected [4, 2] float32"),
    "another shape of the size": (header(lambda h: h[W].update(shape=[2, 4])), f"'{W}': found [2, 4] float32, expected [4, 2]"),
    "one bit": (content(lambda data: data[:-1] + bytes([data[-1] ^ 1])), "key 'digest'"),
    # networks, averages
    "a parameter is missing": (tensors(lambda t: t.pop(W)), f"'{W}' is missing"),
    "a parameter too much": (tensors(lambda t: t.update({"network/G/odd": torch.zeros(1)})), "no place for 'network/G/odd'"),
    "a network too much": (tensors(lambda t: t.update({"network/H/odd": torch.zeros(1)})), "no place for 'network/H/odd'"),
    "a parameter cut": (tensor(W, lambda t: t[:-1]), f"'{W}': found [3, 2] float32, expected [4, 2] float32"),
    "a parameter of float64": (tensor(W, Tensor.double), f"'{W}': found [4, 2] float64"),
    "a parameter of NaN": (tensor(W, lambda t: t * float("nan")), f"'{W}': found NaN"),
    "a count of float": (tensor("network/G/layers.batch_norm.num_batches_tracked", Tensor.float), "num_batches_tracked': found [] float32"),
    "an average cut": (tensor("average/G_ema/layers.linear.weight", lambda t: t[:, :1]), "'average/G_ema/layers.linear.weight': found [4, 1]"),
    "no average": (tensors(lambda t: [t.pop(n) for n in [*t] if n.startswith("average/")]), "'average/G_ema/"),
    "no part": (text(struct.pack("<Q", 2) + b"{}", T), "is missing"),
    # optimizers
    "a moment cut": (tensor(EXP, lambda t: t[:-1]), f"'{EXP}': found [3, 2] float32, expected [4, 2] float32"),
    "a moment of one number": (tensor(EXP, lambda t: t[0, 0].clone()), f"'{EXP}': found [] float32"),
    "a moment of none": (tensor(EXP, lambda t: t[:0]), f"'{EXP}': found [0, 2] float32"),
    "a moment of float64": (tensor(EXP, Tensor.double), f"'{EXP}': found [4, 2] float64"),
    "a moment of whole numbers": (tensor(EXP, Tensor.long), f"'{EXP}': found [4, 2] int64"),
    "a moment of NaN": (tensor(EXP, lambda t: t * float("nan")), f"'{EXP}': found NaN"),
    "a square below 0": (tensor(SQ, lambda t: t - 1), f"'{SQ}': found -1"),
    "no moment": (tensors(lambda t: t.pop(EXP)), f"'{EXP}' is missing"),
    "a moment of another key": (renamed(EXP, "optimizer/g/0.odd"), "is missing"),
    "a moment too much": (tensors(lambda t: t.update({"optimizer/g/0.odd": t[EXP].clone()})), "no place for 'optimizer/g/0.odd'"),
    "an index beyond": (tensors(lambda t: t.update({"optimizer/g/99.exp_avg": t[EXP].clone()})), "no place for 'optimizer/g/99.exp_avg'"),
    "an index of -1": (tensors(lambda t: t.update({"optimizer/g/-1.exp_avg": t[EXP].clone()})), "no place for 'optimizer/g/-1.exp_avg'"),
    "an index that is none": (tensors(lambda t: t.update({"optimizer/g/x.exp_avg": t[EXP].clone()})), "no place for 'optimizer/g/x"),
    "an optimizer too much": (tensors(lambda t: t.update({"optimizer/h/0.step": t[STEP].clone()})), "no place for 'optimizer/h/0.step'"),
    "no step of an optimizer": (tensors(lambda t: t.pop(STEP)), f"'{STEP}' is missing"),
    "a step of a shape": (tensor(STEP, lambda t: t.reshape(1)), f"'{STEP}': found [1] float32, expected [] float32"),
    "a step of float64": (tensor(STEP, Tensor.double), f"'{STEP}': found [] float64"),
    "a step of -1": (tensor(STEP, lambda t: t * 0 - 1), f"'{STEP}': found -1"),
    "half a step": (tensor(STEP, lambda t: t * 0 + 0.5), f"'{STEP}': found 0.5"),
    "an endless step": (tensor(STEP, lambda t: t * float("inf")), f"'{STEP}': found inf"),
    "a buffer cut": (tensor(MOMENTUM, lambda t: t[:1]), f"'{MOMENTUM}': found [1, 2]"),
    # histories
    "no samples": (tensors(lambda t: t.pop(POOL)), f"'{POOL}' is missing"),
    "samples cut": (tensor(POOL, lambda t: t[:-1]), f"'{POOL}': found [4, 2] float32, expected [5, 2] float32"),
    "samples of another shape": (tensor(POOL, lambda t: t.reshape(2, 5)), f"'{POOL}': found [2, 5]"),
    "samples of whole numbers": (tensor(POOL, Tensor.int), f"'{POOL}': found [5, 2] int32"),
    "samples of nothing": (tensors(lambda t: t.update({"history/h/samples": t[POOL].clone()})), "no place for 'history/h/samples'"),
}  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_checkpoint_is_one_error_that_names_the_key(case: str, saved: Path, tmp_path: Path) -> None:
    change, named = CASES[case]
    folder = tmp_path / "bad"
    shutil.copytree(saved, folder)
    change(folder)
    with limited(), pytest.raises(CheckpointError) as raised:
        Trainer.resume(folder, device="cpu")
    message = str(raised.value)
    assert named in message
    assert message.startswith(f"checkpoint '{folder}' cannot be used: ")
    assert "\n" not in message and len(message) < 600 + len(str(folder))


@pytest.mark.parametrize("kind", ["missing", "a file", "empty"])
def test_a_folder_that_is_no_checkpoint_is_named(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    if kind == "a file":
        folder.write_text("")
    elif kind == "empty":
        folder.mkdir()
    with pytest.raises(CheckpointError if kind == "empty" else UsageError, match=r"bad'"):
        Trainer.resume(folder, device="cpu")


VALUES = (None, True, -1, 0, 1, 7, 2**70, 0.5, 1e300, "", "a", "\x1b", [], [1], [[]], {}, {"a": 1})


def places(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate(folder: Path, random: random.Random) -> None:
    """One random change of state.json, of the header of the tensors, or of a byte of either."""
    path = folder / random.choice(["state.json", "tensors.safetensors"])
    if random.random() < 0.3:
        content = bytearray(path.read_bytes())
        content[random.randrange(min(len(content), 4000))] = random.randrange(256)
        path.write_bytes(bytes(content))
    else:
        (state if path.name == "state.json" else header)(lambda data: _mutate(data, random))(folder)


def _mutate(data: Any, random: random.Random) -> None:
    place = random.choice([*places(data)])
    for key in place[:-1]:
        data = data[key]
    if random.random() < 0.3:
        del data[place[-1]]
    else:
        data[place[-1]] = random.choice(VALUES)


def test_randomly_changed_checkpoints_resume_or_are_one_error(saved: Path, tmp_path: Path) -> None:
    survived = 0
    for seed in range(150):
        folder = tmp_path / f"{seed}"
        shutil.copytree(saved, folder)
        mutate(folder, random.Random(seed))
        try:
            with limited():
                Trainer.resume(folder, device="cpu").step()
            survived += 1
        except (RunError, UsageError) as error:
            assert "\n" not in str(error), seed
        shutil.rmtree(folder)
    assert survived < 75  # whatever else was written there


# ---------------------------------------------------------------------------
# What each optimizer keeps

KEPT = """
gangraph: 1
name: kept
data: {x: normal(3), y: normal(3)}
networks: {G: {inputs: z, layers: "linear(3)"}}
losses: {near: "l2(G(x), y)"}
train:
  batch: 4
  length: 9 steps
  optimizers: {g: "OPTIMIZER"}
  step: [{update: g, minimize: near}]
"""
OPTIONS = {"lbfgs": ", max_iter=2, history_size=3", "sgd": ", momentum=0.9", "adam": ", amsgrad=true"}
OPTIONS |= {"rmsprop": ", centered=true, momentum=0.5"}
SIGNED = {"exp_avg", "momentum_buffer", "grad_avg", "direction", "old_dirs", "old_stps", "d", "prev_flat_grad"}
SIGNED |= {"t", "prev_loss"}  # which may have either sign


@pytest.fixture(scope="module", params=sorted(optimizers))
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An optimizer, and a checkpoint after some of its steps that a run goes on from."""
    name = request.param
    run = trainer(read(KEPT.replace("OPTIMIZER", f"{name}(G{OPTIONS.get(name, '')})")), precision="fp32")
    run.train(steps=3)
    folder = run.save(tmp_path_factory.mktemp("kept") / name)
    Trainer.resume(folder, device="cpu").step()
    return name, folder


def test_every_number_that_an_optimizer_keeps_has_bounds(kept: tuple[str, Path], tmp_path: Path) -> None:
    names = [name for name in load_file(kept[1] / T) if name.startswith("optimizer/g/0.")]
    assert names
    for name in names:
        key = name.rpartition(".")[2]
        if key not in SIGNED:
            found = _told_of(kept[1], tmp_path, tensor(name, lambda t: torch.full_like(t, -1)))
            assert f"'{name}': found -1, expected" in found


@pytest.mark.parametrize("kept", ["lbfgs"], indirect=True)
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("count", 10**9, "1000000000 pairs, expected at most 3"),
        ("count", -7, "found -7, expected a count"),
        ("n_iter", 2**62, "found 4.61169e+18, expected a count up to"),
        ("n_iter", 500, "500 iterations, expected at most one for each of"),
        ("n_iter", 0, "expected at most 3, and one for each of 0 iterations"),
        ("func_evals", -1, "found -1"),
        ("ro", -1, "found -1, expected numbers from 0"),
        ("ro", float("inf"), "found inf"),
        ("H_diag", -1, "found -1"),
        ("t", float("inf"), "found inf, expected finite numbers"),
        ("prev_loss", float("-inf"), "found -inf, expected finite numbers"),
        ("d", float("inf"), "found inf, expected finite numbers"),
        ("old_dirs", float("inf"), "found inf, expected finite numbers"),
    ],
)
def test_counts_and_numbers_of_lbfgs_fit_each_other(
    kept: tuple[str, Path], key: str, value: float, said: str, tmp_path: Path
) -> None:
    def everywhere(data: dict[str, Tensor]) -> None:
        data |= {name: torch.full_like(t, value) for name, t in data.items() if name.endswith(f".{key}")}

    assert said in _told_of(kept[1], tmp_path, tensors(everywhere))


@pytest.mark.parametrize("kept", ["lbfgs"], indirect=True)
def test_the_parameters_of_lbfgs_are_stepped_together(kept: tuple[str, Path], tmp_path: Path) -> None:
    first = "optimizer/g/0."

    def one_alone(data: dict[str, Tensor]) -> None:
        for name in [name for name in data if name.startswith("optimizer/g/1.")]:
            del data[name]

    assert "expected a state of each parameter, or of none" in _told_of(kept[1], tmp_path, tensors(one_alone))
    for key in ("n_iter", "count", "t", "ro"):
        said = _told_of(kept[1], tmp_path, tensor(f"{first}{key}", lambda t: t * 0))
        assert f".{key}': found" in said


def _told_of(good: Path, place: Path, change: Change) -> str:
    """What is said of a changed checkpoint, whose digest is that of what it holds now."""
    folder = place / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    change(folder)
    put(digest_of(folder / T), "digest")(folder)
    with limited(), pytest.raises(CheckpointError) as raised:
        Trainer.resume(folder, device="cpu")
    return str(raised.value)
