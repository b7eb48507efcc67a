"""What a run found, as text for the terminal and as JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .agreement import Agreement
from .entry import Row
from .goals import misses
from .results import INTERPRETER, Checked, Machine, Results, dtype_name, label
from .timing import CONTENDERS, Measured

HEADER = ("row", "shape", "dtype", "pass", *(f"{name}, ms" for name in CONTENDERS), "spread", "GB/s", "of copy", "MB")
TEXT_COLUMNS = 4  # the first columns hold words, the others numbers


def text(results: Results) -> str:
    """The checks, then a table for each kernel that was timed, then the goals that were missed."""
    return "\n".join(_text(results))


def _text(results: Results) -> Iterator[str]:
    yield where(results.machine)
    for each in results.checks:
        yield from _checked(each)
    if not results.bandwidth:
        yield _untimed(results)
        return
    yield f"a copy moves {results.bandwidth / 1e9:.0f} GB/s, reading and writing"
    for kernel in dict.fromkeys(each.kernel for each in results.timings):
        yield from ("", kernel, *aligned([HEADER, *rows(results, kernel)]))
    yield from notes(results)
    missed = [f"{what(miss.measured)}: {miss.found}; the goal is {miss.goal}" for miss in misses(results)]
    yield from ("", *(missed or ["every goal is reached"]))


def where(machine: Machine) -> str:
    """Device and versions in one line."""
    device = f"{machine.device}, driver {machine.driver}" if machine.driver else machine.device
    versions = f"torch {machine.torch}, triton {machine.triton}, python {machine.python}"
    return f"{device}; {versions}; {machine.date}"


def _checked(each: Checked) -> Iterator[str]:
    if each.failures:
        yield f"{each.kernel}: {len(each.failures)} of {each.rows} rows disagree with the reference; it is not timed"
        yield from (f"    {label(failure.row)}: {failure.message}" for failure in each.failures)
    else:
        largest = ", ".join(f"{name} {error:.1e}" for name, error in each.largest.items())
        yield f"{each.kernel}: {each.rows} rows agree in {each.seconds:.1f} s; largest errors: {largest}"


def _untimed(results: Results) -> str:
    if results.machine.device == INTERPRETER:
        return "no CUDA device: the rows ran under the Triton interpreter, which says nothing of speed"
    return "nothing was timed"


def rows(results: Results, kernel: str) -> list[tuple[str, ...]]:
    """The cells of a kernel's table, for `HEADER`."""
    return [_cells(each, results.bandwidth) for each in results.timings if each.kernel == kernel]


def _cells(each: Measured, bandwidth: float) -> tuple[str, ...]:
    kernel, reached = each.timings["kernel"], each.bandwidth("kernel")
    return (
        each.row.name,
        "x".join(map(str, each.row.shape)),
        dtype_name(each.row.dtype),
        direction(each),
        *(f"{each.timings[name].median:.4f}" for name in CONTENDERS),
        f"{kernel.low:.4f}-{kernel.high:.4f}",
        f"{reached / 1e9:.0f}",
        f"{reached / bandwidth:.0%}",
        " / ".join(f"{each.memory[name] / 1e6:.0f}" if name in each.memory else "-" for name in CONTENDERS),
    )


def direction(each: Measured) -> str:
    """What was timed."""
    return "forward and backward" if each.backward else "forward"


def what(each: Measured) -> str:
    """A timed row in one line."""
    return f"{each.kernel}, {label(each.row)}, {direction(each)}"


def notes(results: Results) -> list[str]:
    """What was measured in another way than the rest, once for each way."""
    found: dict[str, list[str]] = {}
    for each in results.timings:
        for name, timing in each.timings.items():
            if timing.note:
                found.setdefault(timing.note, []).append(f"{what(each)} ({name})")
    return [f"{note}: {len(which)} timings, the first of {which[0]}" for note, which in found.items()]


def aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines, words to the left and numbers to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = (
            f"{cell:<{w}}" if i < TEXT_COLUMNS else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def as_json(results: Results) -> dict[str, Any]:
    """All figures: times in milliseconds, sizes in bytes, bandwidths in bytes a second."""
    return {
        "machine": asdict(results.machine),
        "passed": results.passed,
        "checks": [_check_json(each) for each in results.checks],
        "copy_bandwidth": results.bandwidth or None,
        "timings": [_timing_json(each, results.bandwidth) for each in results.timings],
        "misses": [{"row": what(miss.measured), "goal": miss.goal, "found": miss.found} for miss in misses(results)],
    }


def _check_json(each: Checked) -> dict[str, Any]:
    return {
        "kernel": each.kernel,
        "rows": each.rows,
        "failures": [_failure_json(failure) for failure in each.failures],
        "largest_errors": dict(each.largest),
        "seconds": each.seconds,
    }


def _failure_json(failure: Agreement) -> dict[str, Any]:
    return {**_row_json(failure.row), "message": failure.message}


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "row": row.name,
        "shape": list(row.shape),
        "dtype": dtype_name(row.dtype),
        "layout": row.layout,
        "options": {name: _plain(value) for name, value in row.options.items()},
    }


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _timing_json(each: Measured, bandwidth: float) -> dict[str, Any]:
    return {
        "kernel": each.kernel,
        **_row_json(each.row),
        "backward": each.backward,
        "traffic": each.traffic,
        "contenders": {name: _contender_json(each, name, bandwidth) for name in each.timings},
    }


def _contender_json(each: Measured, name: str, bandwidth: float) -> Mapping[str, Any]:
    reached = each.bandwidth(name)
    return {
        **asdict(each.timings[name]),
        "bandwidth": reached,
        "share_of_copy": reached / bandwidth,
        "peak_memory": each.memory.get(name),
    }


def markdown(header: Sequence[str], table: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of a Markdown page."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in table)
