"""The page docs/kernels.md and its plot, made from the catalogue and from what a run found."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangraph.kernels import Kernel, Pattern, Step

from .agreement import TOLERANCES
from .ahead import CAPABILITIES, Compiled
from .goals import EPILOGUE, EPILOGUE_GAIN, LARGE, SHARE, misses
from .report import HEADER, direction, markdown, notes, rows, what, where
from .results import Results, dtype_name
from .timing import CONTENDERS, Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT = Path("images", "kernels.png")
_COMMAND = "gangraph bench kernels --page docs/kernels.md"
_COLORS = {"eager": "#8a8a8a", "compiled": "#0072b2", "kernel": "#d55e00"}
_FILLS = {"float32": "full", "bfloat16": "none"}
_HEAD = f"""# Kernels

Fused Triton kernels for what GAN training computes beside its convolutions. This page is made by
`{_COMMAND}`."""
_RUN = f"""## How to run

```console
$ gangraph bench kernels               # check every kernel, then time it where there is a GPU
$ gangraph bench kernels --only gdl    # one kernel
$ gangraph bench kernels --json        # all figures
$ {_COMMAND}
```

A kernel is timed only if all its rows agree with the reference. Without a GPU the rows run under the Triton
interpreter, and nothing is timed."""


def write(path: Path, catalogue: Sequence[Kernel], results: Results, ahead: Sequence[Compiled] = ()) -> list[Path]:
    """Write the page, and the plot beside it if there is something to plot; the files written."""
    path.write_text(page(catalogue, results, ahead), encoding="utf-8")
    if not results.timings:
        return [path]
    target = path.parent / PLOT
    target.parent.mkdir(parents=True, exist_ok=True)
    plot(results, target)
    return [path, target]


def page(catalogue: Sequence[Kernel], results: Results, ahead: Sequence[Compiled] = ()) -> str:
    """The page as Markdown."""
    parts = (_kernels(catalogue), _correctness(results), _ahead(ahead), _speed(results))
    kernels, *found = ("\n".join(part).strip() for part in parts)
    return "\n\n".join(part for part in (_HEAD, kernels, _RUN, *found) if part) + "\n"


def _kernels(catalogue: Sequence[Kernel]) -> Iterator[str]:
    yield from ("## What there is", "")
    yield from ("Order says how often the kernel can be differentiated; its reference has every order.", "")
    yield from markdown(("kernel", "order", "meaning", "stands for"), (_kernel(each) for each in catalogue))


def _kernel(kernel: Kernel) -> tuple[str, ...]:
    meaning = (kernel.function.__doc__ or "").partition("\n")[0].replace("|", "\\|")
    return (f"`{kernel.name}`", str(kernel.order), meaning, "; ".join(_pattern(each) for each in kernel.patterns))


def _pattern(pattern: Pattern) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in pattern.given.items())
    return " → ".join(_step(step) for step in pattern.steps) + (f" ({given})" if given else "")


def _step(step: Step) -> str:
    return f"[`{step.name}`]" if step.optional else f"`{step.name}`"


def _correctness(results: Results) -> Iterator[str]:
    yield from ("## Correctness", "", f"Checked on {where(results.machine)}.", "")
    yield (
        "Output and every gradient are compared with the reference in float64 on the same numbers: the largest "
        "||found - right|| / ||right|| of all rows. New memory is full of NaN, and a second run gives the same numbers."
    )
    names = [dtype_name(dtype) for dtype in TOLERANCES]
    allowed = ("allowed", "", *(f"{limit.relative:.0e}" for limit in TOLERANCES.values()))
    table = [
        (f"`{c.kernel}`", f"{c.rows - len(c.failures)} of {c.rows}", *(_error(c.largest.get(name)) for name in names))
        for c in results.checks
    ]
    yield from ("", *markdown(("kernel", "rows that agree", *names), [*table, allowed]))
    if not results.passed:
        yield from ("", "**Not every row agrees; kernels with such rows are not timed.**")


def _error(largest: float | None) -> str:
    return "-" if largest is None else f"{largest:.1e}"


def _ahead(ahead: Sequence[Compiled]) -> Iterator[str]:
    if not ahead:
        return
    yield from ("## Compiled ahead", "")
    yield (
        "Launches of rows in float32 and bfloat16, forward and backward, compiled for NVIDIA GPUs without one. Of the "
        "configurations that autotuning chooses from, the figures are those of the first that spills least. "
        f"Timed rows for every GPU, correctness rows for sm_{CAPABILITIES[-1]} only."
    )
    groups: dict[tuple[str, int], dict[int, list[Compiled]]] = {}
    for each in ahead:
        groups.setdefault((each.kernel, each.capability), {}).setdefault(each.launch, []).append(each)
    header = ("kernel function", "GPU", "launches", "registers", "spilled bytes", "failures")
    yield from ("", *markdown(header, (_function(*key, [*each.values()]) for key, each in sorted(groups.items()))))


def _function(kernel: str, capability: int, launches: list[list[Compiled]]) -> tuple[str, ...]:
    failures = sum(bool(each.error) for launch in launches for each in launch)
    best = [min((c for c in launch if not c.error), key=lambda c: c.spilled, default=None) for launch in launches]
    good = [each for each in best if each is not None]
    registers = f"{min(c.registers for c in good)}-{max(c.registers for c in good)}" if good else "-"
    spilled = str(max(c.spilled for c in good)) if good else "-"
    return (f"`{kernel}`", f"sm_{capability}", str(len(launches)), registers, spilled, str(failures))


def _speed(results: Results) -> Iterator[str]:
    yield from ("## Speed", "")
    if not results.timings:
        yield f"Not measured yet: no GPU was at hand. To measure: `{_COMMAND}`"
        return
    yield (
        f"Measured on {where(results.machine)}. A copy from device to device moves {results.bandwidth / 1e9:.0f} GB/s, "
        "reading and writing; `of copy` is the kernel's bandwidth beside it, counting what the operation must move. "
        "Times are medians of CUDA graphs that rotate through sets of inputs, so that large ones are not in the cache; "
        "the spread goes from 20 % to 80 %. "
        f"`MB` is what a call allocates at its fullest: {', '.join(CONTENDERS)}."
    )
    yield from ("", f"![The share of a copy's bandwidth that each contender reaches]({PLOT.as_posix()})")
    for kernel in dict.fromkeys(each.kernel for each in results.timings):
        yield from ("", f"### {kernel}", "", *markdown(HEADER, rows(results, kernel)))
    yield from ("", *(f"- {note}" for note in notes(results)))
    yield from ("", "### Goals that are missed", "", _goals(), "")
    missed = [(what(miss.measured), miss.goal, miss.found) for miss in misses(results)]
    yield from markdown(("row", "goal", "found"), missed) if missed else ["None."]


def _goals() -> str:
    return (
        f"From {LARGE // 10**6} MB on, {SHARE[False]:.0%} of a copy's bandwidth forward and {SHARE[True]:.0%} forward "
        f"and backward; never slower than torch.compile; `{EPILOGUE}` {EPILOGUE_GAIN:g} times as fast as plain PyTorch."
    )


def plot(results: Results, path: Path) -> None:
    """Share of a copy's bandwidth over the bytes that a row has to move: a row of panels for each kernel."""
    from matplotlib.figure import Figure

    kernels = list(dict.fromkeys(each.kernel for each in results.timings))
    figure = Figure(figsize=(10, 2.5 * len(kernels) + 0.6), layout="constrained")
    panels: Any = figure.subplots(len(kernels), 2, squeeze=False, sharex=True, sharey=True)
    for line, kernel in zip(panels, kernels, strict=True):
        for panel, backward in zip(line, (False, True), strict=True):
            every = [each for each in results.timings if (each.kernel, each.backward) == (kernel, backward)]
            _panel(panel, f"{kernel}, {direction(every[0])}", every, results.bandwidth)
        line[0].set_ylabel("share of a copy")
    for panel in panels[-1]:
        panel.set_xlabel("bytes that have to move")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


def _panel(panel: "Axes", title: str, every: Sequence[Measured], bandwidth: float) -> None:
    for name in CONTENDERS:
        for dtype, fill in _FILLS.items():
            chosen = sorted((each for each in every if dtype_name(each.row.dtype) == dtype), key=lambda m: m.traffic)
            shares = [each.bandwidth(name) / bandwidth for each in chosen]
            panel.plot(
                [each.traffic for each in chosen], shares, marker="o", markersize=4, linewidth=0.8, fillstyle=fill,
                color=_COLORS[name], label=f"{name}, {dtype}",
            )  # fmt: skip
    panel.axhline(1, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.set_title(title, loc="left", fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
