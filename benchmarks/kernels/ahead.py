"""Kernels compiled for NVIDIA GPUs on a machine that has none: what does not compile, and registers that spill.

Every launch of the rows is compiled instead of run: the first of each kernel with all configurations that autotuning
keeps for it, the others until one fits, that is, compiles and spills no registers. GPUs differ in little but their
sizes, so the correctness rows are compiled for one of them only, and the timed rows for all.
`python -m gangraph.benchmarks.ahead` prints it as JSON; TRITON_INTERPRET must not be set.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from .agreement import Inputs, laid_out
from .entry import Entry, Row, entries
from .results import dtype_name

CAPABILITIES = (80, 90)  # A100, and H100 and H200
DTYPES = (torch.float32, torch.bfloat16)
SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes of shared memory that one program can have


@dataclass(frozen=True, slots=True)
class Compiled:
    """One configuration of a launch, which bears a number. `error` says why it did not compile."""

    kernel: str
    launch: int
    capability: int
    dtype: str
    configuration: str
    registers: int = 0
    spilled: int = 0  # bytes of each thread that lie in memory, since its registers did not suffice
    shared: int = 0  # bytes
    error: str = ""

    @property
    def fits(self) -> bool:
        """Whether it compiled, into the GPU's registers and shared memory."""
        return not self.error and not self.spilled and self.shared <= SHARED[self.capability]


def compiled() -> tuple[Compiled, ...]:
    """Everything, from a process of its own: this one may be running the interpreter.

    Raises:
        RuntimeError: the process failed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "gangraph.benchmarks.ahead"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the kernels could not be compiled ahead: {done.stderr.strip()[-2000:]}")
    return tuple(Compiled(**each) for each in json.loads(done.stdout))


def compile_all(every: Iterable[Entry], capability: int) -> Iterator[Compiled]:
    """The launches of all rows in `DTYPES`, forward and backward; of those with the same figures only the first."""
    compiler = _Compiler(capability)
    with compiler.in_place_of_launches():
        for entry in every:
            for row in _rows(entry, capability):
                compiler.dtype = dtype_name(row.dtype)
                _walk(entry, row)
    for number, launch in enumerate(dict.fromkeys(compiler.launches), 1):
        yield from (replace(each, launch=number) for each in launch)


def _rows(entry: Entry, capability: int) -> Iterator[Row]:
    yield from (replace(row, dtype=dtype) for row in entry.timed for dtype in DTYPES)
    if capability == CAPABILITIES[-1]:
        yield from (row for row in entry.rows if row.dtype in DTYPES)


def _walk(entry: Entry, row: Row) -> None:
    """The public function and its gradients, on memory that nobody fills or reads."""
    inputs = _hollow(entry, row)
    output = entry.kernel.function(**inputs, **row.options, impl="triton")
    leaves = [x for x in inputs.values() if x is not None and x.requires_grad]
    torch.autograd.grad(output, leaves, torch.empty_like(output), allow_unused=True)


def _hollow(entry: Entry, row: Row) -> Inputs:
    with FakeTensorMode():
        shapes = {name: x if x is None else x.shape for name, x in entry.inputs(row, torch.Generator()).items()}
    return {name: shape if shape is None else _leaf(shape, row) for name, shape in shapes.items()}


def _leaf(shape: torch.Size, row: Row) -> Tensor:
    rank = len(row.shape)
    with FakeTensorMode():
        strides = laid_out(torch.empty(shape), row.layout, rank).stride()
    return torch.empty_strided(shape, strides, dtype=row.dtype).requires_grad_()


class _Device:
    """What Triton asks its driver before it compiles."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return int(self.target.arch)  # what is compiled is kept by device

    def get_current_stream(self, device: int) -> int:
        return 0


class _Compiler:
    """Compiles launches instead of running them; `launches` holds the configurations that were tried for each."""

    def __init__(self, capability: int) -> None:
        from triton.runtime import JITFunction

        self.device = _Device(capability)
        self.dtype = ""
        self.launches: list[tuple[Compiled, ...]] = []
        self._run = JITFunction.run
        self._complete: set[str] = set()  # kernels of which every configuration has been tried

    @contextmanager
    def in_place_of_launches(self) -> Iterator[None]:
        """While it lasts, a launch compiles and does nothing else, on any device."""
        from triton.runtime import Autotuner, JITFunction, driver

        checks: Any = import_module("gangraph.kernels._triton")
        run, tune, why_not = JITFunction.run, Autotuner.run, checks.why_not
        JITFunction.run = lambda kernel, *args, **kwargs: self._launch(kernel, [{}], *args, **kwargs)
        Autotuner.run = lambda tuner, *args, **kwargs: self._launch(tuner.fn, _kept(tuner, kwargs), *args, **kwargs)
        checks.why_not = lambda *_: ""
        driver.set_active(self.device)
        try:
            yield
        finally:
            JITFunction.run, Autotuner.run, checks.why_not = run, tune, why_not
            driver._active = None

    def _launch(self, kernel: Any, configurations: list[dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        tried: list[Compiled] = []
        for configuration in configurations:
            tried.append(self._compiled(kernel, *args, **kwargs, **configuration))
            if tried[-1].fits and kernel.__name__ in self._complete:
                break
        self._complete.add(kernel.__name__)
        self.launches.append(tuple(tried))

    def _compiled(self, kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Compiled:
        named = ", ".join(f"{name} {kwargs[name]}" for name in kwargs if name.isupper() or name == "num_warps")
        made = Compiled(kernel.__name__, 0, self.device.get_current_device(), self.dtype, named)
        try:
            binary = self._run(kernel, *args, grid=grid, warmup=True, **kwargs)
        except Exception as error:  # of any kind: Triton's compiler raises what it meets
            return replace(made, error=str(error))
        registers, stack = _resources(binary.asm["cubin"])
        return replace(made, registers=registers, spilled=stack, shared=int(binary.metadata.shared))


def _kept(tuner: Any, constants: dict[str, Any]) -> list[dict[str, Any]]:
    """The configurations that autotuning would time."""
    return [configuration.all_kwargs() for configuration in tuner.early_config_prune(tuner.configs, {}, **constants)]


@cache
def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of a thread, as NVIDIA's tool, which comes with Triton, reads the machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_tool("cuobjdump")), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbers = {name: int(number) for name, number in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}
    return numbers["REG"], numbers["STACK"] + numbers["LOCAL"]


def _tool(name: str) -> Path:
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name


if __name__ == "__main__":
    every = tuple(entries())
    found = [asdict(each) for capability in CAPABILITIES for each in compile_all(every, capability)]
    json.dump(found, sys.stdout)
