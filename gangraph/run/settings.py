"""How a program runs, apart from what it computes: on which device, in which precision, compiled or not."""

from dataclasses import dataclass
from typing import get_args

import torch

from gangraph.errors import UsageError
from gangraph.kernels import why_not
from gangraph.lower.fusing import Kernels

PRECISIONS = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}  # the type of parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a program runs, apart from what it computes."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    compile: bool = False
    seed: int = 0


def choose_settings(device: str, precision: str, compile: str, seed: int) -> Settings:
    """The settings that a person names. Raises UsageError where there are none of that name, or no such device."""
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision '{precision}': one of {', '.join(PRECISIONS)}")
    if compile not in ("auto", "on", "off"):
        raise UsageError(f"compile is auto, on or off, not '{compile}'")
    if not -(2**64) < seed < 2**64:
        raise UsageError(f"a seed is a whole number below 2 ** 64, not {seed}")
    chosen = choose_device(device)
    return Settings(
        device=chosen,
        dtype=PRECISIONS[precision],
        autocast=precision == "bf16",
        compile=compile == "on" or (compile == "auto" and chosen.type == "cuda"),
        seed=seed,
    )


def choose_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one. Raises UsageError."""
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if chosen.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"there is no device '{name}': auto, cpu or cuda")
    count = torch.cuda.device_count() if chosen.startswith("cuda") else 0
    if chosen.startswith("cuda") and not (count and torch.cuda.is_available()):
        why = "no GPU and driver are found" if torch.version.cuda else "this PyTorch is built for the CPU alone"
        raise UsageError(f"no CUDA device: {why}; take device cpu, or auto, which takes CUDA where there is one")
    number = chosen.partition(":")[2]
    if ":" in chosen and not (number.isdecimal() and int(number) < max(count, 1)):
        raise UsageError(f"there is no device '{name}': {chosen.partition(':')[0]}:0 to {max(count, 1) - 1}")
    return torch.device(chosen)


def choose_kernels(asked: str, device: torch.device) -> Kernels:
    """Of the fused kernels that are asked for, those that a device can use. Raises UsageError."""
    if asked not in get_args(Kernels):
        raise UsageError(f"kernels is auto, on or off, not '{asked}'")
    if asked == "on" and (reason := why_not(torch.empty(0, device=device))):
        raise UsageError(f"kernels cannot be on: {reason}")
    chosen: Kernels = "off" if asked == "auto" and device.type != "cuda" else asked  # type: ignore[assignment]  # looked up above
    return chosen
