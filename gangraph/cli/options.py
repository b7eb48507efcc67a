"""The arguments that several commands take, and how they become a spec."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gangraph.cli import completion
from gangraph.errors import SpecError, UsageError, nearest
from gangraph.terminal import plain

if TYPE_CHECKING:
    from gangraph.language.spec import Spec

_NO_TEXT = (
    ".png", ".apng", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf", ".ps", ".eps", ".html",
    ".mp4", ".wav",
)  # fmt: skip
_SYNTAX = "GG1"  # the codes of problems with the text itself

SpecName = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="A path, or the name of a shipped spec.", autocompletion=completion.specs),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="P",
        help="A profile of the spec; 'paper' for the paper's settings.",
        show_default="the spec's own",
        autocompletion=completion.profiles,
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant",
        metavar="V",
        help="A variant of the spec, or several separated by commas.",
        autocompletion=completion.variants,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a value, such as --set train.batch=4; may be repeated."),
]
NoShare = Annotated[bool, typer.Option("--no-share", help="Let every update compute its own values.")]
NoMerge = Annotated[
    bool, typer.Option("--no-merge", help="Call a network once for each use, never along a joined batch.")
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file instead of the terminal.")
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint", metavar="best|latest|STEP", help="Which checkpoint of the run.", show_default="the newest"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]

Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="DIR", help="Where pretrained weights lie.", show_default="$GANGRAPH_WEIGHTS"),
]


class Device(StrEnum):
    """Where a run computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """The numbers that a run computes with."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp64 = "fp64"


class Compile(StrEnum):
    """Whether torch.compile is used; `auto` uses it on CUDA."""

    auto = "auto"
    on = "on"
    off = "off"


class Kernels(StrEnum):
    """Whether the fused kernels are used; `auto` uses them on CUDA."""

    auto = "auto"
    on = "on"
    off = "off"


class ShowAs(StrEnum):
    """What `show` shows."""

    spec = "spec"
    data = "data"
    graph = "graph"
    shapes = "shapes"
    plan = "plan"
    code = "code"
    latex = "latex"
    grid = "grid"


def read_spec(source: str, profile: str | None, variant: str | None, settings: list[str] | None) -> "Spec":
    """The spec in the form that the arguments choose. It is read without torch, so mistakes in the text show at once.

    Raises:
        SpecError: the text does not parse, or there is no such profile, variant or path.
        UsageError: there is no such spec, or a setting is not PATH=VALUE.
    """
    from gangraph.language.document.parse import Choice, parse
    from gangraph.language.resolve.document import resolve

    choice = Choice(profile=profile, variant=variant, set=values_of(settings))
    resolved = resolve(parse(source), choice)
    # While an expression does not parse, the later stages would only make a person wait for torch.
    if any(problem.code.startswith(_SYNTAX) for problem in resolved.problems):
        raise SpecError(resolved.problems)
    return resolved


@contextmanager
def importing() -> Iterator[None]:
    """Import the compiler, and torch with it, without searching what is imported for garbage, then or later.

    A million objects are made that live until the process ends. The searches took a fourth of the time of `check`.
    """
    first = "torch" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
            gc.enable()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal that something is being done, and remove the line afterwards; elsewhere write nothing."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=plain(sys.stderr), flush=True)


def there_is(path: Path | str, what: str = "run") -> None:
    """Require the folder of a run, before anything is loaded that takes time.

    Raises:
        UsageError: nothing is there; the message proposes the nearest folder in runs/.
    """
    if Path(path).exists():
        return
    known = [str(folder) for folder in sorted(Path("runs").glob("*")) if folder.is_dir()]
    found = nearest(str(path), known) or nearest(f"runs/{path}", known)
    raise UsageError(f"there is no {what} '{path}'" + (f"; {found}" if found else ""))


def textual(output: Path | None, view: str) -> None:
    """Refuse to write a text into a file whose suffix is that of something else.

    Raises:
        UsageError: the file's suffix is that of a picture or of a document.
    """
    if output is not None and output.suffix.lower() in _NO_TEXT:
        raise UsageError(f"{view} is text: '{output}' would not be {output.suffix}; take .txt, or no -o at all")


def require_svg(output: Path | None) -> None:
    """Refuse to write a drawing into a file whose suffix is not that of SVG. Raises UsageError."""
    if output is not None and output.suffix.lower() not in (".svg", ""):
        raise UsageError(f"the graph is drawn as SVG, and not as {output.suffix}: -o {output.with_suffix('.svg')}")


def use_weights(folder: Path | None) -> None:
    """Let metrics search a folder for pretrained weights.

    Raises:
        UsageError: there is no such folder.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise UsageError(f"--weights takes a folder; '{folder}' is none")
    os.environ["GANGRAPH_WEIGHTS"] = str(folder)


def values_of(settings: list[str] | None) -> dict[str, str]:
    """The values of `--set` by their paths. Raises UsageError where one is not PATH=VALUE."""
    return dict(_setting(text) for text in settings or ())


def _setting(text: str) -> tuple[str, str]:
    path, equals, value = (part.strip() for part in text.partition("="))
    if not (path and equals and value):
        raise UsageError(f"--set takes PATH=VALUE, such as --set train.batch=4; found '{text}'")
    return path, value


def columns(output: Path | None, widest: int = 100) -> int:
    """How many letters a line of prose takes: as many as the terminal has, at least 40; 80 elsewhere, as in a file."""
    seen = shutil.get_terminal_size().columns if output is None else 80
    return max(40, min(seen, widest))


def emit(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file and say so.

    Raises:
        UsageError: the file cannot be written.
    """
    if output is None:
        print(text.rstrip("\n"))
        return
    try:
        output.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write '{output}': {error.strerror}") from None
    print(f"wrote {output}", file=sys.stderr)
