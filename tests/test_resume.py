"""A run that was killed and resumed ends with the same bits as one that was not."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gangraph import Trainer
from gangraph.errors import SpecError
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.spec import Spec
from tests.random_state import make, require_unforeseen
from tests.resumes import EndedInNaNError, resumed_apart
from tests.support import load, read, trainer

STEPS = 4

# Trains, saves, and goes on until someone ends it. What comes after the save must not matter.
SCRIPT = """
import json, sys
from pathlib import Path
import torch
from gangraph import Trainer
from gangraph.errors import SpecError
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve

torch.set_num_threads(1)
task = json.loads(sys.stdin.read())
document = parse_text(task["text"], origin=Path(task["origin"]) if task["origin"] else None)
spec = resolve(document, Choice(task["profile"], task["variant"], task["settings"]))
trainer = Trainer(spec, device="cpu", seed=3, precision="fp32")
trainer.train(steps=task["steps"])
trainer.save(task["folder"])
while True:
    trainer.train(steps=1)
"""

TWO_PHASES = """
gangraph: 1
name: growing
params: {width: 4}
data:
  x: plane(std=0.3, count=30)
  z: normal(2)
networks:
  G: mlp(widths=[6], outputs=2)
  D: mlp(widths=[width])
  G_ema: average(G, decay=0.9)
values: {fake: G(z)}
losses:
  judge: logistic.critic(real=D(x), fake=D(history(at_first(fake), 5)))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  optimizers:
    g: adam(G, lr=linear(1e-3, 0, end=4 epochs))
    d: adam(D, lr=1e-3 * (1 - progress))
  step:
    - {update: g, minimize: fool}
    - {update: d, minimize: judge}
  phases:
    - {name: small, length: 5 steps}
    - {name: large, length: 4 epochs, batch: 7, set: {width: 8}}
"""


# A generator that grows: its new layer is faded in, and optimizers go on with what they have of the old ones.
GROWING = """
gangraph: 1
name: fading
params: {width: 4, fade: false}
data:
  x: plane(std=0.3, count=30)
  z: normal(2)
networks:
  G:
    inputs: [z, alpha]
    parts:
      start: linear(4), tanh
      block[k in [4, 8]]: linear(4), batch_norm, tanh
      point[k in [2, 4, 8]]: linear(2)
    values:
      h[2]: start(z)
      h[4]: block[4](h[2])
      h[8]: block[8](h[4])
    output: lerp(point[width / 2](h[width / 2]), point[width](h[width]), alpha) if fade else point[width](h[width])
  D: mlp(widths=[width])
  G_ema: average(G, decay=0.9)
values:
  alpha: linear(0 if fade else 1, 1)
  fake: G(z, alpha)
losses:
  judge: logistic.critic(real=D(x), fake=D(history(at_first(fake), 5)))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  optimizers:
    g: adam(G, lr=1e-2)
    d: adam(D, lr=1e-3 * (1 - progress))
  step:
    - {update: g, minimize: fool}
    - {update: d, minimize: judge}
  phases:
    - {length: 3 steps}
    - for w in [4, 8]:
        - {name: "fade[w]", set: {width: w, fade: true}, length: 6 steps, batch: w, carry: optimizers}
        - {set: {width: w}, length: 2 epochs, carry: optimizers}
"""


def forms() -> Iterator[tuple[str, Spec, int]]:
    """Specs, and after how many steps each is killed."""
    yield "cyclegan", load("cyclegan"), STEPS
    yield "inpainting", load("inpainting"), STEPS
    short = {f"train__phases__{number}__length": f"{length} steps" for number, length in enumerate((2, 2, 100))}
    yield "dance, across its phases", load("dance", **short), STEPS
    yield "deformation", load("deformation", train__phases__0__length="2 steps"), STEPS
    yield "dualgan", load("dualgan"), STEPS
    yield "geometry", load("geometry", variant="shape"), STEPS
    yield "cut", load("cut"), STEPS
    yield "vqgan", load("vqgan"), STEPS
    yield "adain_style", load("adain_style"), STEPS
    yield "gatys", load("gatys"), STEPS
    yield "inversion", load("inversion"), STEPS
    yield "igan, from a search to an edit", load("igan", params__lengths="[4 steps, 9 steps]"), STEPS
    yield "deepsim", load("deepsim", variant="official_code"), STEPS
    yield "srgan", load("srgan"), STEPS
    yield "mgan, across both phases", load("mgan"), STEPS
    yield "autoencoder", load("autoencoder"), STEPS
    yield "pgn, batches of several lengths", load("pgn", variant="both"), STEPS
    yield "wgan_gp", load("wgan_gp", networks__G_ema="average(G, decay=0.9)"), STEPS
    yield "began", load("began"), STEPS
    yield "johnson", load("johnson"), STEPS
    yield "cin", load("cin"), STEPS
    yield "two phases", read(TWO_PHASES), 7
    yield "end of a phase", read(GROWING), 3
    yield "middle of a fade", read(GROWING), 6
    yield "end of a fade", read(GROWING), 9
    yield "middle of a later fade", read(GROWING), 28


def train_and_kill(spec: Spec, steps: int, folder: Path) -> None:
    """Let a process train and save to `folder`, and kill it while it goes on."""
    task: dict[str, object] = {
        "text": spec.text,
        "profile": spec.profile,
        "variant": spec.variant or None,
        "settings": dict(spec.settings),
    }
    task["origin"] = spec.origin
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write(json.dumps({**task, "steps": steps, "folder": str(folder)}))
            process.stdin.close()
            deadline = time.monotonic() + 120
            while not folder.exists():
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, "no checkpoint appeared"
                time.sleep(0.02)
            time.sleep(0.1)  # somewhere in a later step
            assert process.poll() is None
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


def assert_same_checkpoints(first: Path, second: Path) -> None:
    """Every tensor bit by bit, then the files as they are."""
    ours, theirs = read_checkpoint(first), read_checkpoint(second)
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert [name for name in ours.tensors if not torch.equal(ours.tensors[name], theirs.tensors[name])] == []
    assert ours.state == theirs.state
    for name in ("tensors.safetensors", "state.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize(("spec", "steps"), [pytest.param(spec, steps, id=name) for name, spec, steps in forms()])
def test_killed_and_resumed_run_ends_with_the_same_bits(spec: Spec, steps: int, tmp_path: Path) -> None:
    whole = trainer(spec, seed=3, precision="fp32")
    expected = whole.train(steps=2 * steps)
    whole.save(tmp_path / "whole")

    train_and_kill(spec, steps, tmp_path / "killed")
    resumed = Trainer.resume(tmp_path / "killed", device="cpu")
    assert resumed.step_count == steps
    assert resumed.train(steps=steps) == expected
    resumed.save(tmp_path / "resumed")
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "resumed")


def test_these_checkpoints_hold_histories_averages_and_optimizers(tmp_path: Path) -> None:
    kinds: set[str] = set()
    for name, spec, _ in forms():
        run = trainer(spec)
        run.train(steps=3)
        if name == "cyclegan":
            assert all(history.count == history.size for history in run.engine.histories.values())
        tensors = read_checkpoint(run.save(tmp_path / name)).tensors
        kinds |= {path.partition("/")[0] for path in tensors}
    assert kinds == {"network", "average", "optimizer", "history", "state"}


def test_resuming_in_the_second_phase_goes_on_there(tmp_path: Path) -> None:
    first = trainer(read(TWO_PHASES))
    first.train(steps=7)
    assert first.phase == 1
    clock, seen = first.clock, first.seen
    resumed = Trainer.resume(first.save(tmp_path / "second"), device="cpu")
    assert (resumed.phase, resumed.clock, resumed.seen) == (1, clock, seen)
    assert first.train() == resumed.train()
    assert first.step_count == resumed.step_count
    assert resumed.done


@pytest.mark.parametrize("steps", [3, 5, 9, 12, 24, 27, 30])
def test_resuming_in_any_phase_ends_with_the_same_bits(steps: int, tmp_path: Path) -> None:
    whole = trainer(read(GROWING))
    expected = whole.train()
    assert whole.phase == 4
    first = trainer(read(GROWING))
    first.train(steps=steps)
    resumed = Trainer.resume(first.save(tmp_path / "first"), device="cpu")
    assert resumed.train() == expected
    assert_same_checkpoints(whole.save(tmp_path / "whole"), resumed.save(tmp_path / "resumed"))


@pytest.mark.parametrize("first", range(0, 5_000, 1_000))
def test_a_random_spec_goes_on_to_the_bit(first: int, tmp_path: Path) -> None:
    """tests/long/test_resumes.py tries a hundred."""
    for seed in range(first, first + 1_000):
        try:
            assert resumed_apart(make(seed), seed, tmp_path) == ()
        except EndedInNaNError:
            continue
        except SpecError as error:
            require_unforeseen(error)
            continue
        return
    pytest.fail("no spec trains to its end")


def test_saving_a_resumed_run_at_once_gives_the_same_checkpoint(tmp_path: Path) -> None:
    first = trainer(load("cyclegan"))
    first.train(steps=3)
    first.save(tmp_path / "first")
    Trainer.resume(tmp_path / "first", device="cpu").save(tmp_path / "second")
    assert_same_checkpoints(tmp_path / "first", tmp_path / "second")
