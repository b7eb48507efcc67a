"""Writes checkpoints for `tests/test_old_checkpoints.py`: python tests/checkpoints/write.py FOLDER, with any version.

Each spec beside this file is trained for three steps and saved, and goes on for three more. What it came to stands in
`unbroken.json`: its losses after each step, and a digest of every network's tensors at the end.
"""

import hashlib
import json
import platform
import sys
from dataclasses import replace
from pathlib import Path

import torch

import gangraph

SAVED, STEPS, SEED = 3, 6, 7
PRECISIONS = {"plain": "fp32", "phases": "fp64"}


def digests(trainer: gangraph.Trainer) -> dict[str, str]:
    """Of every tensor of the networks and their averages."""
    return {
        f"{name}.{path}": hashlib.blake2b(tensor.numpy().tobytes(), digest_size=16).hexdigest()
        for name, module in trainer.networks.items()
        for path, tensor in module.state_dict().items()
    }


def rounding() -> list[str]:
    """What decides how sums are rounded: where it is the same, bits are."""
    return [torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.machine()]


def write(folder: Path) -> None:
    """One checkpoint for each spec."""
    torch.set_num_threads(1)
    for name, precision in PRECISIONS.items():
        spec = replace(gangraph.load(Path(__file__).with_name(f"{name}.yaml")), origin="")
        trainer = gangraph.Trainer(spec, device="cpu", seed=SEED, precision=precision)
        trainer.train(SAVED)
        trainer.save(folder / name)
        losses = [trainer.train(1) for _ in range(STEPS - SAVED)]
        unbroken = json.dumps({"losses": losses, "tensors": digests(trainer), "rounds as": rounding()}, indent=1)
        (folder / name / "unbroken.json").write_text(f"{unbroken}\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
