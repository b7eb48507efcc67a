"""Where specs and networks are found: next to the user's spec, shipped with the package, or copied into a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

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


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a spec calls: copies that a run keeps, else what lies in the spec's folder, else what ships.

    `copies` are texts by path, as `networks/unet.yaml`; what is among them is looked for nowhere else.
    """

    folder: Path | None = None
    copies: Mapping[str, str] = field(default_factory=dict)

    def network_names(self) -> list[str]:
        """The networks that the spec can call."""
        return sorted({*self._names("networks"), *shipped("networks")})

    def network(self, name: str) -> "NetworkFile | None":
        """The file of the network called `name`; None if there is none.

        Raises:
            SpecError: the network's file does not parse.
        """
        copy = network_path(name)
        if copy in self.copies:
            return _parsed(Text(copy, self.copies[copy]))
        own = self.folder / copy if self.folder else None
        path = own if own is not None and own.is_file() else shipped("networks").get(name)
        return _read(path, path.stat().st_mtime_ns) if path else None

    def evaluator_names(self) -> list[str]:
        """The specs that are there to train evaluators."""
        return sorted({*(f"evaluators/{name}" for name in self._names("evaluators")), *evaluators()})

    def evaluator(self, called: str) -> "Path | Copy | None":
        """Where the spec is that this one calls so: a path below its folder, or a shipped name."""
        path = evaluator_path(called)
        if path in self.copies:
            return Copy(path, self.copies[path], self._beside(path))
        if self.folder is not None and _is_below(called) and (self.folder / path).is_file():
            return self.folder / path
        return {**shipped(), **evaluators()}.get(called)

    def _beside(self, path: str) -> "Files":
        """The files of a copied spec: those in its folder, before them those that are under its own name."""
        place = PurePosixPath(path)
        folders = ("" if place.parent == PurePosixPath() else f"{place.parent}/", f"{place.with_suffix('')}/")
        inner = {
            copy.removeprefix(folder): text
            for folder in folders
            for copy, text in self.copies.items()
            if copy.startswith(folder)
        }
        return Files(self.folder / place.parent if self.folder else None, inner)

    def _names(self, folder: str) -> set[str]:
        copied = (PurePosixPath(path) for path in self.copies)
        own = {path.stem for path in _yaml_files(self.folder / folder)} if self.folder else set()
        return own | {path.stem for path in copied if path.parent == PurePosixPath(folder)}


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The file of a network, as text and read."""

    text: Text
    document: NetworkDocument


@dataclass(frozen=True, slots=True)
class Copy:
    """The text of a spec that a run keeps a copy of, and the files that it calls."""

    path: str
    text: str
    files: Files


def network_path(name: str) -> str:
    """Where the file of a network stands, seen from the spec that calls it."""
    return f"networks/{name}.yaml"


def evaluator_path(called: str) -> str:
    """Where the spec of an evaluator stands, seen from the spec that calls it so."""
    return called if called.endswith(".yaml") else f"{called}.yaml"


def _is_below(called: str) -> bool:
    path = PurePosixPath(called)
    return not path.is_absolute() and ".." not in path.parts


@cache
def _read(path: Path, _: int) -> NetworkFile:
    return _parsed(Text(display(path), path.read_text(encoding="utf-8")))


def _parsed(text: Text) -> NetworkFile:
    return NetworkFile(text, read_network(read_tree(text)))


def display(path: Path) -> str:
    """The path in messages: shipped files are `specs/...` wherever they are installed."""
    home = Path(str(files("gangraph.specs")))
    return f"specs/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _yaml_files(folder: Path) -> Iterator[Path]:
    return folder.glob("*.yaml")
