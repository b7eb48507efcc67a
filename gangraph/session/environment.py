"""The environment of a run: the facts in its `environment.json`."""

import os
import platform
import sys
from importlib.metadata import version
from typing import Any

import torch

from gangraph.folder.plugins import plugin_versions
from gangraph.run.training import Training

_VERSIONS = ("gangraph", "torch", "torchvision", "numpy", "safetensors")


def environment_of(training: Training) -> dict[str, Any]:
    """Versions, device, seed and the command."""
    return {
        "command": sys.argv,
        "versions": {name: version(name) for name in _VERSIONS} | {"python": platform.python_version()},
        "device": _device_name(training.settings.device),
        "threads": torch.get_num_threads(),
        "seed": training.seed,
        "precision": training.precision,
        "compiled": training.settings.compile,
        "not compiled": training.engine.fallbacks,
        "kernels": training.kernels,
        "plugins": plugin_versions(),
    }


def going_on(training: Training) -> dict[str, Any] | None:
    """Where a run goes on, and what changes about it; None for one that begins."""
    if not training.step_count:
        return None
    return {"step": training.step_count, "command": sys.argv, "changes": [str(each) for each in training.changes]}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"
