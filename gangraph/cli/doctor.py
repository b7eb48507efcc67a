"""`doctor`: what this machine has of all that gangraph can use."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gangraph.cli import options


def doctor(weights: options.Weights = None) -> None:
    """Say which versions, devices, kernels and weights are there.

    Raises:
        UsageError: the folder of weights does not exist.
    """
    options.use_weights(weights)
    sections = (
        ("versions", _versions()),
        ("devices", _devices()),
        ("kernels", _kernels()),
        ("weights", _weights()),
    )
    for title, lines in sections:
        with options.waiting(f"looking at {title}"):
            found = list(lines)
        for index, line in enumerate(found):
            print(f"{title if index == 0 else '':<10}{line}")


def _versions() -> Iterator[str]:
    yield f"gangraph {_version('gangraph')}"
    yield f"python {platform.python_version()}"
    for name in ("torch", "torchvision", "triton"):
        yield f"{name} {_version(name)}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed" + (" (only kernels on CUDA need it)" if package == "triton" else "")


def _devices() -> Iterator[str]:
    import torch

    yield f"cpu, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}, {device.name}, {device.total_memory / 2**30:.0f} GiB"
    if not torch.cuda.is_available():
        yield "no CUDA device: --device auto takes the cpu"


def _kernels() -> Iterator[str]:
    import torch

    from gangraph.kernels import catalogue, why_not

    for kernel in catalogue():
        yield f"{kernel.name}, of order {kernel.order}"
    reason = why_not(torch.empty(0, device="cuda" if torch.cuda.is_available() else "cpu"))
    yield (
        f"not used here: {reason}"
        if reason
        else "used by --kernels auto"
        if torch.cuda.is_available()
        else "interpreted"
    )


def _weights() -> Iterator[str]:
    """Each pretrained network: its file with the first digits of its SHA-256, or what cannot be measured without it."""
    from gangraph.vocabulary.pretrained import CATALOGUE, FOLDER, digest, located

    given = os.environ.get(FOLDER)
    if not given:
        yield f"no folder given: --weights DIR, or {FOLDER}"
    elif not Path(given).is_dir():
        yield f"'{given}' is not a folder"
    for name, weights in CATALOGUE.items():
        path = located(name)
        if path is None:
            yield f"{name} is missing ({' or '.join(weights.files)}); needed by {weights.needed_by}"
        else:
            yield f"{name}, {path}, {path.stat().st_size / 2**20:.1f} MiB, sha256 {digest(path)[:12]}"
