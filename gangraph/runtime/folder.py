"""The run folder: what a run leaves behind, and where it is found again.

spec.yaml          the spec as it was written
resolved.txt       the same with profile, variant and settings applied
environment.json   versions, device, seed and the command
metrics.jsonl      one line per report: step, losses, metrics, images per second
results.json       what was measured of the trained networks, and how
events.out...      the same for TensorBoard
samples/           grids by step, and latest.png
checkpoints/       step-00000100, ... the last few and `best`
"""

import json
import math
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from gangraph.errors import RunError, UsageError
from gangraph.language.spec import Spec
from gangraph.runtime.files import json_text, write_whole
from gangraph.runtime.trainer import Trainer
from gangraph.views.text import spec_text

_VERSIONS = ("gangraph", "torch", "torchvision", "numpy", "safetensors")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder on disk that holds one run."""

    path: Path

    @classmethod
    def create(cls, spec: Spec, out: Path | None) -> "RunFolder":
        """A fresh folder: `out`, or the next free number under runs/.

        Raises:
            UsageError: `out` already holds a run.
        """
        path = out or _next_free(Path("runs"), run_name(spec))
        if (path / "metrics.jsonl").exists():
            raise UsageError(f"'{path}' already holds a run: choose another --out, or continue it with --resume {path}")
        for name in ("samples", "checkpoints"):
            (path / name).mkdir(parents=True, exist_ok=True)
        return cls(path)

    def describe(self, trainer: Trainer) -> None:
        """Write down what runs, and where."""
        (self.path / "spec.yaml").write_text(trainer.spec.text)
        (self.path / "resolved.txt").write_text(spec_text(trainer.spec))
        environment = {
            "command": sys.argv,
            "versions": {name: version(name) for name in _VERSIONS} | {"python": platform.python_version()},
            "device": _device_name(trainer.settings.device),
            "threads": torch.get_num_threads(),
            "seed": trainer.seed,
            "precision": trainer.precision,
            "compiled": trainer.settings.compile,
            "not compiled": trainer.engine.fallbacks,
            "kernels": trainer.kernels,
        }
        (self.path / "environment.json").write_text(json_text(environment, indent=1))

    def writer(self, step: int) -> SummaryWriter:
        """TensorBoard's writer, which forgets events after `step` (they will be written again)."""
        return SummaryWriter(str(self.path), purge_step=step or None)

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; numbers that are not finite are `null` there."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json_text(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the lines of metrics.jsonl beyond `step`: a resumed run writes them again."""
        metrics = self.path / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        write_whole(metrics, "".join(f"{line}\n" for line in kept))

    def save_picture(self, step: int, image: Image.Image, grid: str = "") -> Path:
        """Write a grid as PNG under its step and as latest; `grid` is its name where there are several."""
        ending = f"-{grid}.png" if grid else ".png"
        path = self.path / "samples" / f"{step:08d}{ending}"
        image.save(path)
        image.save(self.path / "samples" / f"latest{ending}")
        return path

    def save(self, trainer: Trainer, keep: int) -> Path:
        """Write a checkpoint and drop all but the last `keep`."""
        path = trainer.save(self.path / "checkpoints" / f"step-{trainer.step_count:08d}")
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old)
        return path

    def keep_best(self, trainer: Trainer, value: float) -> None:
        """Write the checkpoint called `best`, with the metric that made it so."""
        folder = trainer.save(self.path / "checkpoints" / "best")
        (folder / "metric.json").write_text(json.dumps({"step": trainer.step_count, "value": value}))

    def best(self) -> float | None:
        """The metric of the best checkpoint so far; one that is not finite is of none."""
        path = self.path / "checkpoints" / "best" / "metric.json"
        value = json.loads(path.read_text())["value"] if path.exists() else None
        return value if value is not None and math.isfinite(value) else None

    def checkpoints(self) -> list[Path]:
        """The numbered checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("step-*"))

    def latest(self) -> Path:
        """The newest checkpoint.

        Raises:
            RunError: there is none.
        """
        found = self.checkpoints()
        if not found:
            raise RunError(f"'{self.path}' holds no checkpoint; a run folder has checkpoints/step-...")
        return found[-1]


def run_name(spec: Spec) -> str:
    """Name, profile and variant: `NAME-quick`, `NAME-quick-VARIANT`."""
    return "-".join(filter(None, (spec.name, spec.profile, spec.variant.replace(",", "-"))))


def find_run(spec: Spec, resume: str | Path) -> RunFolder | None:
    """The run to continue: a folder, or for `auto` the newest under runs/ of the same name, if there is one.

    Raises:
        UsageError: the folder is not there.
    """
    if str(resume) != "auto":
        if not Path(resume).is_dir():
            raise UsageError(f"there is no run '{resume}'")
        return RunFolder(Path(resume))
    found = [path for path in Path("runs").glob(f"{run_name(spec)}-[0-9]*") if RunFolder(path).checkpoints()]
    return RunFolder(max(found, key=os.path.getmtime)) if found else None


def _next_free(parent: Path, name: str) -> Path:
    numbers = (int(path.name.rpartition("-")[2]) for path in parent.glob(f"{name}-[0-9][0-9][0-9]"))
    return parent / f"{name}-{max(numbers, default=0) + 1:03d}"


def _device_name(device: torch.device) -> str:
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu ({platform.machine()}, {os.cpu_count()} cores)"
    )
