"""Check and time kernels: what `gangraph bench kernels` does. No kernel is timed unless all its rows agree."""

import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter

import torch

from .agreement import Agreement, check
from .entry import Entry, Row
from .timing import Clock, Measured, copy_bandwidth, timed

INTERPRETER = "the Triton interpreter"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures come from."""

    device: str
    driver: str
    python: str
    torch: str
    triton: str
    date: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The correctness rows of one kernel. `largest` is, by dtype, the largest relative error of those that agree."""

    kernel: str
    rows: int
    failures: tuple[Agreement, ...]
    largest: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a run found. `bandwidth` is that of a copy, in bytes a second; 0 where nothing was timed."""

    machine: Machine
    checks: tuple[Checked, ...]
    bandwidth: float = 0.0
    timings: tuple[Measured, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every row of every kernel agreed."""
        return not any(each.failures for each in self.checks)


def bench(
    entries: Iterable[Entry], device: str, clock: Clock | None, progress: Callable[[str], None] = lambda _: None
) -> Results:
    """Check every kernel, and time those that passed if there is a clock."""
    kernels = by_kernel(entries)
    checks = tuple(_checked(kernel, every, device, progress) for kernel, every in kernels.items())
    good = [entry for each in checks if not each.failures for entry in kernels[each.kernel]]
    if clock is None or not good:
        return Results(machine(device), checks)
    progress("copy bandwidth")
    bandwidth = copy_bandwidth(device, clock)
    timings = []
    for entry in good:
        for each in timed(entry, device, clock):
            progress(f"timed {entry.kernel.name}: {label(each.row)}")
            timings.append(each)
    return Results(machine(device), checks, bandwidth, tuple(timings))


def by_kernel(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The entries of each kernel, which may have several: one for each set of parameters it is called with."""
    kernels: dict[str, list[Entry]] = {}
    for entry in entries:
        kernels.setdefault(entry.kernel.name, []).append(entry)
    return kernels


def _checked(kernel: str, entries: Iterable[Entry], device: str, progress: Callable[[str], None]) -> Checked:
    start = perf_counter()
    found = []
    for entry in entries:
        for row in entry.rows:
            progress(f"checking {kernel}: {label(row)}")
            found.append(_agreement(entry, row, device))
    failures = tuple(each for each in found if not each.passed)
    return Checked(kernel, len(found), failures, _largest(found), perf_counter() - start)


def _largest(found: Iterable[Agreement]) -> dict[str, float]:
    """The largest relative error of the rows that passed, by dtype."""
    largest: dict[str, float] = {}
    for each in found:
        if each.passed:
            name = dtype_name(each.row.dtype)
            largest[name] = max(largest.get(name, 0.0), *(error.relative for error in each.errors.values()))
    return largest


def _agreement(entry: Entry, row: Row, device: str) -> Agreement:
    """A kernel that raises fails its row, and the other rows go on."""
    try:
        return check(entry, row, device)
    except Exception as error:  # of any kind: the compiler, the launch and the kernel's own code raise what they meet
        return Agreement(row, message=f"{type(error).__name__}: {error}")


def machine(device: str) -> Machine:
    """This machine, today."""
    cuda = torch.device(device).type == "cuda"
    return Machine(
        device=torch.cuda.get_device_name() if cuda else INTERPRETER,
        driver=_driver() if cuda else "",
        python=platform.python_version(),
        torch=_version("torch"),
        triton=_version("triton"),
        date=date.today().isoformat(),
    )


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def label(row: Row) -> str:
    """A row in one line: name, shape, dtype, layout."""
    return f"{row.name} {'x'.join(map(str, row.shape))} {dtype_name(row.dtype)} {row.layout}"
