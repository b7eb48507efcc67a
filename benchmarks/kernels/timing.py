"""How long a kernel takes, beside plain PyTorch and torch.compile of it, and how near it comes to a plain copy.

Times are of the GPU alone: calls are captured in a CUDA graph, so that launching costs nothing, and rotate through
up to 64 sets of inputs, so that none finds its own in the L2 cache, the smallest rows apart. A clock does the timing;
tests give their own.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from .agreement import Inputs, laid_out, prepare
from .entry import Entry, Row

CONTENDERS = ("eager", "compiled", "kernel")
DTYPES = (torch.float32, torch.bfloat16)
COPY_BYTES = 2**31  # read and written by the copy that bandwidth is measured with
_MILLISECONDS = 20.0  # of calls in one CUDA graph
_REPLAYS = 25
_MOST_SETS = 64

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one call: the median, and the 20 % and 80 % points. `note` says how it was measured otherwise."""

    median: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Clock:
    """Milliseconds of one call, several times; the calls do the same, each on memory of its own."""

    run: Callable[[Sequence[Call]], tuple[Sequence[float], str]]
    cache: int = 0  # bytes that must pass before a call finds nothing of its own in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row in one dtype and direction. `memory` is the most that a call of the kernel allocates, in bytes."""

    kernel: str
    row: Row
    backward: bool
    traffic: int
    timings: Mapping[str, Timing] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)

    def bandwidth(self, contender: str) -> float:
        """Bytes a second, if it moved only what it must."""
        return self.traffic / (self.timings[contender].median * 1e-3)


def measure(calls: Sequence[Call], clock: Clock) -> Timing:
    """Time calls that do the same on different memory."""
    times, note = clock.run(calls)
    ordered = sorted(times)
    last = len(ordered) - 1
    return Timing(median(ordered), ordered[round(0.2 * last)], ordered[round(0.8 * last)], note)


def timed(entry: Entry, device: torch.device | str, clock: Clock) -> Iterator[Measured]:
    """Every timed row in every dtype, forward and forward with backward."""
    for row in (replace(row, dtype=dtype) for row in entry.timed for dtype in DTYPES):
        sets = _sets(entry, row, device, clock)
        for backward in (False, True):
            made = {name: _calls(entry, row, sets, name, backward) for name in CONTENDERS}
            yield Measured(
                kernel=entry.kernel.name,
                row=row,
                backward=backward,
                traffic=entry.traffic(row, backward),
                timings={name: measure(calls, clock) for name, calls in made.items()},
                memory={name: peak for name, calls in made.items() if (peak := peak_memory(calls[0])) is not None},
            )


def _sets(entry: Entry, row: Row, device: torch.device | str, clock: Clock) -> list[Inputs]:
    """As many sets of inputs as it takes for a call to find nothing of its own in the cache."""
    first = prepare(entry, row, device)
    for name in entry.data:
        if (x := first[name]) is not None:
            x.requires_grad_(False)
    size = sum(x.numel() * x.element_size() for x in first.values() if x is not None)
    more = min(math.ceil(clock.cache / max(size, 1)), _MOST_SETS - 1)
    return [first, *({name: _copy(x, row) for name, x in first.items()} for _ in range(more))]


def _copy(x: Tensor | None, row: Row) -> Tensor | None:
    if x is None or not x.is_floating_point():
        return x
    made = laid_out(x.detach().contiguous().clone(), row.layout, len(row.shape))
    return made.detach().requires_grad_(x.requires_grad)


def _calls(entry: Entry, row: Row, sets: Sequence[Inputs], contender: str, backward: bool) -> list[Call]:
    """One call for each set of inputs."""
    impl = "triton" if contender == "kernel" else "reference"
    function: Callable[..., Tensor] = partial(entry.kernel.function, **row.options, impl=impl)
    if contender == "compiled":
        torch._dynamo.reset()  # else dynamo counts the rows before, and gives up at its limit
        function = torch.compile(function, fullgraph=True, dynamic=False)
    if not backward:
        return [partial(_forward, function, inputs) for inputs in sets]
    output = _forward(function, sets[0])
    upstream = laid_out(torch.randn_like(output), row.layout, len(row.shape))
    return [partial(_both, function, inputs, upstream.clone()) for inputs in sets]


def _forward(function: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return function(**inputs)


def _both(function: Callable[..., Tensor], inputs: Inputs, upstream: Tensor) -> tuple[Tensor, ...]:
    leaves = [x for x in inputs.values() if x is not None and x.requires_grad]
    return torch.autograd.grad(function(**inputs), leaves, upstream, allow_unused=True)


def peak_memory(call: Call) -> int | None:
    """Bytes that a call has allocated at its fullest; None without CUDA."""
    if not torch.cuda.is_available():
        return None
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def copy_bandwidth(device: torch.device | str, clock: Clock, size: int = COPY_BYTES) -> float:
    """Bytes a second of a copy from device to device: those read and those written."""
    source = torch.zeros(size // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return size / (measure([partial(target.copy_, source)], clock).median * 1e-3)


def wall_clock(repeats: int = 3) -> Clock:
    """The clock on the wall: right where a call returns once it is done, as on a CPU."""

    def run(calls: Sequence[Call]) -> tuple[list[float], str]:
        calls[0]()
        times = []
        for index in range(repeats):
            start = perf_counter()
            calls[index % len(calls)]()
            times.append((perf_counter() - start) * 1e3)
        return times, "wall clock"

    return Clock(run)


def cuda_clock() -> Clock:
    """CUDA graphs of some 20 ms; where a call cannot be captured, `triton.testing.do_bench`, with a note.

    Untested where there is no GPU.
    """
    properties: Any = torch.cuda.get_device_properties()
    return Clock(_time_on_cuda, cache=3 * int(properties.L2_cache_size))


def _time_on_cuda(calls: Sequence[Call]) -> tuple[list[float], str]:
    count = _count(calls)
    try:
        graph = _captured(calls, count)
    except RuntimeError as error:  # of CUDA or of the caller: something in it cannot be captured
        from triton.testing import do_bench

        torch.cuda.synchronize()
        reason = str(error).partition("\n")[0]
        return do_bench(
            calls[0], return_mode="all"
        ), f"launched one by one, since no CUDA graph could be made: {reason}"
    return [_elapsed(graph.replay) / count for _ in range(_REPLAYS)], ""


def _count(calls: Sequence[Call]) -> int:
    """Calls for one graph: whole rotations, of about `_MILLISECONDS`. Compiles and tunes on the way."""
    for call in calls:
        call()
    rotation = _elapsed(lambda: [call() for call in calls])
    return len(calls) * max(1, round(_MILLISECONDS / max(rotation, 1e-3)))


def _captured(calls: Sequence[Call], count: int) -> torch.cuda.CUDAGraph:
    """A graph of `count` calls. A result lives until its set comes round again, so that outputs rotate as inputs do."""
    side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls[:2]:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph, kept = torch.cuda.CUDAGraph(), [object()] * len(calls)
    with torch.cuda.graph(graph):
        for index in range(count):
            kept[index % len(calls)] = calls[index % len(calls)]()
    graph.replay()
    torch.cuda.synchronize()
    return graph


def _elapsed(call: Call) -> float:
    """Milliseconds on the GPU."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))
