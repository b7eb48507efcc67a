"""`bench kernels`: check the fused kernels against plain PyTorch, and time them where there is a GPU."""

import json as jsons
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gangraph.cli import options
from gangraph.errors import UsageError, nearest
from gangraph.terminal import plain

if TYPE_CHECKING:
    from gangraph.benchmarks.entry import Entry
    from gangraph.benchmarks.results import Results

_INTERPRET = "TRITON_INTERPRET"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def bench() -> None:
    """Check and time parts of gangraph on this machine."""


@app.command()
def kernels(
    only: Annotated[str | None, typer.Option("--only", metavar="NAME", help="One kernel.", show_default="all")] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Also write the results as a Markdown page.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Check every kernel against plain PyTorch, then time it where there is a GPU; a wrong kernel is not timed."""
    if only and page:
        raise UsageError("a page is about every kernel: give --only or --page")
    if find_spec("triton") is None:
        raise UsageError(
            "the kernels need Triton, which is not installed here: pip install triton (it has Linux wheels)"
        )
    with options.waiting("loading PyTorch"):
        timed = _prepared()
        chosen = _chosen(only)
    from gangraph.benchmarks import report
    from gangraph.benchmarks.results import bench as run
    from gangraph.benchmarks.timing import cuda_clock

    with _progress() as say:
        results = run(chosen, "cuda" if timed else "cpu", cuda_clock() if timed else None, say)
        written = _written(page, results, say) if page else []
    print(jsons.dumps(report.as_json(results), indent=2) if json else report.text(results))
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    if not results.passed:
        raise typer.Exit(1)


def _prepared() -> bool:
    """Whether there is a GPU to time on. If not, the interpreter is chosen, before any kernel is imported."""
    import torch

    if not torch.cuda.is_available():
        os.environ[_INTERPRET] = "1"
    return os.environ.get(_INTERPRET) != "1"


def _chosen(only: str | None) -> list["Entry"]:
    """What is checked: every kernel, or the one of this name. Raises UsageError if there is none."""
    from gangraph.benchmarks.entry import entries

    every = list(entries())
    names = list(dict.fromkeys(entry.kernel.name for entry in every))
    if only is not None and only not in names:
        raise UsageError(f"no kernel '{only}': one of {', '.join(names)}; {nearest(only, names)}".removesuffix("; "))
    return [entry for entry in every if only in (None, entry.kernel.name)]


def _written(page: Path, results: "Results", say: Callable[[str], None]) -> list[Path]:
    """Write the results as a page and its pictures. Raises UsageError where a file cannot be written."""
    from gangraph.benchmarks.ahead import compiled
    from gangraph.benchmarks.page import write
    from gangraph.kernels import catalogue

    say("compiling for GPUs that may not be here")
    ahead = compiled()
    try:
        return write(page, catalogue(), results, ahead)
    except OSError as error:
        raise UsageError(f"cannot write '{error.filename or page}': {error.strerror}") from None


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show what is being done: on a terminal one line that changes, elsewhere one line for each thing."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(file=plain(sys.stderr)).status("") as status:
        yield lambda text: status.update(escape(text))
