"""`bench kernels`: check the fused kernels against plain PyTorch, and time them where there is a GPU."""

import json as jsons
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from gangraph.cli import options
from gangraph.errors import UsageError, nearest
from gangraph.terminal import plain

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
    """Check every kernel against plain PyTorch, then time it where there is a GPU; no speed is told of a wrong one."""
    if only and page:
        raise UsageError("a page is about every kernel: give --only or --page")
    if find_spec("triton") is None:
        raise UsageError(
            "the kernels need Triton, which is not installed here: pip install triton (it has Linux wheels)"
        )
    with options.waiting("loading PyTorch"):
        timed = _prepared()
        chosen = _chosen(only)
    with _progress() as say:
        results = _of("results").bench(chosen, "cuda" if timed else "cpu", _clock() if timed else None, say)
        written = _written(page, results, say) if page else []
    report = _of("report")
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


def _of(module: str) -> Any:
    """A module of the benchmarks. By its name: the folder lies beside the package, where type checkers do not look."""
    return import_module(f"gangraph.benchmarks.{module}")


def _clock() -> Any:
    return _of("timing").cuda_clock()


def _chosen(only: str | None) -> list[Any]:
    every = list(_of("entry").entries())
    names = list(dict.fromkeys(entry.kernel.name for entry in every))
    if only is not None and only not in names:
        raise UsageError(f"no kernel '{only}': one of {', '.join(names)}; {nearest(only, names)}".removesuffix("; "))
    return [entry for entry in every if only in (None, entry.kernel.name)]


def _written(page: Path, results: Any, say: Callable[[str], None]) -> list[Path]:
    say("compiling for GPUs that may not be here")
    ahead = _of("ahead").compiled()
    catalogue = import_module("gangraph.kernels").catalogue()
    try:
        written: list[Path] = _of("page").write(page, catalogue, results, ahead)
    except OSError as error:
        raise UsageError(f"cannot write '{error.filename or page}': {error.strerror}") from None
    return written


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is being done: a line of a terminal that changes, elsewhere lines."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(file=plain(sys.stderr)).status("") as status:
        yield lambda text: status.update(escape(text))
