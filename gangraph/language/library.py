"""Where specs and networks are found: next to the user's spec, or shipped with the package."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

from gangraph.errors import Text, UsageError, nearest
from gangraph.language.schema import NetworkDocument, read_network
from gangraph.language.tree import read_tree


def shipped(folder: str = "") -> dict[str, Path]:
    """Name to path of every paper's spec that gangraph ships; of every network, or of every evaluator in `folder`."""
    return {path.stem: path for path in sorted(_yaml_files(Path(str(files("gangraph.specs"))) / folder))}


def evaluators() -> dict[str, Path]:
    """`evaluators/NAME` to path of every spec that gangraph ships to train a network that judges others."""
    return {f"evaluators/{name}": path for name, path in shipped("evaluators").items()}


def find_spec(source: str | Path) -> tuple[Path | None, str]:
    """The path and the text of a spec.

    Raises:
        UsageError: there is no such file, and no shipped spec of that name; proposes the nearest.
    """
    path, known = Path(source), {**shipped(), **evaluators()}
    if not path.is_file() and str(source) in known:
        path = known[str(source)]
    if not path.is_file():
        near = nearest(str(source), known) or nearest(path.stem, known)
        raise UsageError(
            f"no spec '{source}': it is neither a file nor one of {', '.join(known)}" + (f"; {near}" if near else "")
        )
    try:
        return path, path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"'{source}' is not a text file: {error.reason} at byte {error.start}") from None


def network_names(origin: Path | None) -> list[str]:
    """The networks that a spec in the folder `origin` can call."""
    own = (path.stem for path in _yaml_files(origin / "networks")) if origin else ()
    return sorted({*own, *shipped("networks")})


def find_network(name: str, origin: Path | None) -> NetworkDocument | None:
    """The network called `name`: from `networks/` next to the spec, else as shipped; None if there is none.

    Raises:
        SpecError: the network's file does not parse.
    """
    own = origin / "networks" / f"{name}.yaml" if origin else None
    path = own if own is not None and own.is_file() else shipped("networks").get(name)
    return _read(path, path.stat().st_mtime_ns) if path else None


@cache
def _read(path: Path, _: int) -> NetworkDocument:
    return read_network(read_tree(Text(display(path), path.read_text(encoding="utf-8"))))


def display(path: Path) -> str:
    """The path in messages: shipped files are `specs/...` wherever they are installed."""
    home = Path(str(files("gangraph.specs")))
    return f"specs/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _yaml_files(folder: Path) -> Iterator[Path]:
    return folder.glob("*.yaml")
