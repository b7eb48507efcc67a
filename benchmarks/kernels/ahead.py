"""Kernels compiled for NVIDIA GPUs on a machine that has none: what does not compile, and registers that spill.

Every launch of the rows is compiled instead of run, with each configuration that autotuning would try.
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
    seen: set[tuple[Compiled, ...]] = set()
    for entry in every:
        for row in _rows(entry):
            with _recorded(capability, dtype_name(row.dtype)) as launches:
                _walk(entry, row)
            for launch in launches:
                if launch not in seen:
                    seen.add(launch)
                    yield from (replace(each, launch=len(seen)) for each in launch)


def _rows(entry: Entry) -> Iterator[Row]:
    yield from (replace(row, dtype=dtype) for row in entry.timed for dtype in DTYPES)
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


@contextmanager
def _recorded(capability: int, dtype: str) -> Iterator[list[tuple[Compiled, ...]]]:
    """While it lasts, a launch compiles all its configurations and does nothing else; what came of each launch."""
    from triton.runtime import Autotuner, JITFunction, driver

    checks: Any = import_module("gangraph.kernels._triton")
    launches: list[tuple[Compiled, ...]] = []
    run, tune, why_not = JITFunction.run, Autotuner.run, checks.why_not

    def compile_one(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Compiled:
        named = ", ".join(f"{name} {kwargs[name]}" for name in kwargs if name.isupper() or name == "num_warps")
        made = Compiled(kernel.__name__, 0, capability, dtype, named)
        try:
            kernel = run(kernel, *args, grid=grid, warmup=True, **kwargs)
            registers, stack = _resources(kernel.asm["cubin"])
            return replace(made, registers=registers, spilled=stack, shared=int(kernel.metadata.shared))
        except Exception as error:  # of any kind: Triton's compiler raises what it meets
            return replace(made, error=str(error))

    def launch(kernel: Any, *args: Any, **kwargs: Any) -> None:
        launches.append((compile_one(kernel, *args, **kwargs),))

    def launch_tuned(tuner: Any, *args: Any, **kwargs: Any) -> None:
        given = [{**kwargs, **configuration.all_kwargs()} for configuration in tuner.configs]
        launches.append(tuple(compile_one(tuner.fn, *args, **each) for each in given))

    driver.set_active(_Device(capability))
    JITFunction.run, Autotuner.run, checks.why_not = launch, launch_tuned, lambda *_: ""
    try:
        yield launches
    finally:
        JITFunction.run, Autotuner.run, checks.why_not = run, tune, why_not
        driver._active = None


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
