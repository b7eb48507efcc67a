"""`doctor`: what this machine has of all that gangraph can use."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")


def doctor(
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="DIR", help="Where optional weights lie.", show_default="$GANGRAPH_WEIGHTS"),
    ] = None,
) -> None:
    """Say which versions, devices, kernels and weights are there."""
    place = weights or (Path(found) if (found := os.environ.get("GANGRAPH_WEIGHTS")) else None)
    sections = (
        ("versions", _versions()),
        ("devices", _devices()),
        ("kernels", _kernels()),
        ("weights", _weights(place)),
    )
    for title, lines in sections:
        for index, line in enumerate(lines):
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


def _weights(place: Path | None) -> Iterator[str]:
    if place is None:
        yield "no folder given: --weights DIR, or GANGRAPH_WEIGHTS; nothing that ships needs one"
    elif not place.is_dir():
        yield f"'{place}' is not a folder"
    else:
        found = sorted(path for path in place.rglob("*") if path.suffix in WEIGHT_FILES)
        yield from (f"{path.relative_to(place)}, {path.stat().st_size / 2**20:.1f} MiB" for path in found)
        if not found:
            yield f"none in '{place}' ({', '.join(WEIGHT_FILES)})"
