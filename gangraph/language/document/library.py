"""Where specs and networks are found: next to the user's spec, shipped with the package, or copied into a run."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

from gangraph.errors import Text, UsageError, nearest
from gangraph.language.document.schema import NetworkDocument
from gangraph.language.document.tree import read_tree
from gangraph.language.document.validate import read_network
from gangraph.saved.state import Found

_LARGEST = 4_000_000  # bytes, four for each character of the longest spec
_KEY = r"(?:^|[{,])\s*[\"']?(?:%s)[\"']?\s*:"  # at the beginning of a line, or in a flow mapping
_NETWORK_KEY = re.compile(_KEY % "|".join(NetworkDocument.model_fields), re.MULTILINE)
_SPEC_KEY = re.compile(_KEY % "gangraph", re.MULTILINE)


class UnreadableError(UsageError):
    """A file exists and is no spec or network; `reason` says why, without showing its contents."""

    def __init__(self, called: str, reason: str) -> None:
        self.called, self.reason = called, reason
        super().__init__(f"'{called}' is no spec: {reason}")


def shipped(folder: str = "") -> dict[str, Path]:
    """Name to path of every paper's spec that gangraph ships; of every network, or of every evaluator in `folder`."""
    return {path.stem: path for path in sorted(_yaml_files(Path(str(files("gangraph.specs"))) / folder))}


def pretrained() -> dict[str, Path]:
    """Name to path of every table that says how torchvision calls the tensors of a shipped network."""
    return shipped("pretrained")


def evaluators() -> dict[str, Path]:
    """`evaluators/NAME` to path of every spec that gangraph ships to train an evaluator."""
    return {f"evaluators/{name}": path for name, path in shipped("evaluators").items()}


def find_spec(source: str | Path) -> tuple[Path | None, str]:
    """The path and the text of a spec.

    Raises:
        UsageError: there is no such file, and no shipped spec of that name; proposes the nearest.
    """
    path, known = Path(source), {**shipped(), **evaluators()}
    if not os.path.isfile(path) and str(source) in known:
        path = known[str(source)]
    if not os.path.exists(path):
        near = nearest(str(source), known) or nearest(path.stem, known)
        raise UsageError(
            f"no spec '{source}': it is neither a file nor one of {', '.join(known)}" + (f"; {near}" if near else "")
        )
    return path, file_text(path, str(source))


def require_spec(source: Path | str) -> None:
    """Refuse a file that does not declare itself a spec: nothing of another file may be shown.

    Raises:
        UnreadableError: it is none.
        UsageError: there is no such file.
    """
    _require_key(find_spec(source)[1], str(source))


def _spec_text(path: Path, called: str) -> str:
    """The text of a file that declares itself a spec. Raises UnreadableError."""
    return _require_key(file_text(path, called), called)


def _require_key(text: str, called: str) -> str:
    if not _SPEC_KEY.search(text):
        raise UnreadableError(called, "it does not have the key 'gangraph:'")
    return text


def file_text(path: Path, called: str) -> str:
    """The text of a regular file that is no larger than a spec can be; messages call it so. Raises UnreadableError."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would block
        with open(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise UnreadableError(called, "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file")
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # a path with a NUL in it is none
        reason = "it is a folder" if path.is_dir() else f"it cannot be read: {_why(error)}"
        raise UnreadableError(called, reason) from None
    if len(content) > _LARGEST:
        raise UnreadableError(called, f"it is larger than {_LARGEST // 10**6} MB")
    try:
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableError(called, f"it is not a text file: {error.reason} at byte {error.start}") from None


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a spec calls: copies that a run keeps, else what lies in the spec's folder, else what ships.

    `copies` are texts by path, such as `networks/unet.yaml`; what is among them is looked for nowhere else. `more` are
    the folders of the spec's bases, which come after its own. `spare` are copies that are used for what is in none of
    these folders. `found` says, for a run that goes on, where it found weights from elsewhere, by the calls that name
    them. `depth` is how many specs led here, each taking a network from the next.
    """

    folder: Path | None = None
    copies: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, Found] | None = None
    depth: int = 0
    more: tuple[Path, ...] = ()
    spare: Mapping[str, str] = field(default_factory=dict)

    def network_names(self) -> list[str]:
        """The networks that the spec can call."""
        return sorted({*self._names("networks"), *shipped("networks")})

    def network(self, name: str) -> "NetworkFile | None":
        """The file of the network called `name`; None if there is none.

        Raises:
            SpecError: the network's file does not parse.
            UnreadableError: there is something of that name beside the spec which is no file of a network.
        """
        copy = network_path(name)
        own = self._beside_spec(copy)
        text = self._copied(copy, own)
        if text is not None:
            return _parsed(Text(copy, text))
        path = own or shipped("networks").get(name)
        if path is None:
            return None
        content = file_text(path, display(path))
        if not _NETWORK_KEY.search(content):
            raise UnreadableError(display(path), "it has no key of a network, such as 'inputs:'")
        return _parsed(Text(display(path), content))

    def evaluator_names(self) -> list[str]:
        """The specs that are there to train evaluators."""
        return sorted({*(f"evaluators/{name}" for name in self._names("evaluators")), *evaluators()})

    def evaluator(self, called: str) -> "Path | Copy | None":
        """Where the spec is that this one calls so: a path below its folder, or a shipped name."""
        path = evaluator_path(called)
        own = self._beside_spec(path) if _is_below(called) else None
        text = self._copied(path, own) if _is_below(called) else None
        if text is not None:
            return Copy(path, text, self._beside(path))
        return own or {**shipped(), **evaluators()}.get(called)

    def base_names(self, above: "BaseFile | None" = None) -> list[str]:
        """The names that `base:` may have: shipped specs, and files in the folder of the spec that has it."""
        folder = self.folder if above is None else above.folder
        beside = sorted(path.name for path in _yaml_files(folder)) if folder else []
        return [*shipped(), *evaluators(), *beside]

    def base(self, called: str, above: "BaseFile | None" = None) -> "BaseFile | None":
        """The spec that `base: CALLED` means, in the spec itself or in its base `above`; None if there is none.

        A name is a shipped spec; a path ends with `.yaml` and leads to a file beside the one that names it, or below.

        Raises:
            UnreadableError: the file is no spec.
        """
        if called.endswith(".yaml"):
            if not _is_below(called):
                return None
            folder = self.folder if above is None else above.folder
            path = folder / called if folder else None
            copy = str((PurePosixPath(above.copy).parent if above else PurePosixPath()) / called)
        else:  # a run's folder has its own copy of it
            copy = f"shipped/{called}.yaml"
            path = self._beside_spec(copy) or {**shipped(), **evaluators()}.get(called)
        found = path if path is not None and os.path.lexists(path) else None
        text = self._copied(copy, found)
        if text is not None:
            return BaseFile(copy, Text(copy, text), path.parent if path else None)
        if found is None:
            return None
        return BaseFile(copy, Text(display(found), _spec_text(found, display(found))), found.parent)

    def has_base(self, called: str, above: "BaseFile | None" = None) -> bool:
        """Whether there is a file, or a shipped spec, for a base of this name."""
        try:
            return self.base(called, above) is not None
        except UnreadableError:
            return False

    def _beside_spec(self, path: str) -> Path | None:
        """What lies at a path in the spec's folder, or else in those of its bases, the nearest first."""
        folders = (*((self.folder,) if self.folder else ()), *self.more)
        return next((folder / path for folder in folders if os.path.lexists(folder / path)), None)

    def _copied(self, path: str, found: Path | None) -> str | None:
        """The copy to use in place of the file at a path: one of `copies`, or if there is no file one of `spare`."""
        return self.copies.get(path, self.spare.get(path) if found is None else None)

    def _beside(self, path: str) -> "Files":
        """The files of a copied spec: those in its folder, before them those that are under its own name."""
        place = PurePosixPath(path)
        folders = ("" if place.parent == PurePosixPath() else f"{place.parent}/", f"{place.with_suffix('')}/")
        inner = {
            copy.removeprefix(folder): text
            for folder in folders
            for copy, text in {**self.spare, **self.copies}.items()
            if copy.startswith(folder)
        }
        return Files(self.folder / place.parent if self.folder else None, inner)

    def _names(self, folder: str) -> set[str]:
        copied = (PurePosixPath(path) for path in (*self.copies, *self.spare))
        folders = (*((self.folder,) if self.folder else ()), *self.more)
        own = {path.stem for each in folders for path in _yaml_files(each / folder)}
        return own | {path.stem for path in copied if path.parent == PurePosixPath(folder)}


def shipped_network(name: str) -> "NetworkFile":
    """The file of a network that gangraph ships."""
    path = shipped("networks")[name]
    return _parsed(Text(display(path), file_text(path, display(path))))


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The file of a network, as text and read."""

    text: Text
    document: NetworkDocument


@dataclass(frozen=True, slots=True)
class BaseFile:
    """A spec that another is laid over: the path of a copy of it, its text, and the folder of the files it calls."""

    copy: str
    text: Text
    folder: Path | None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folder, if there is one."""
        return (self.folder,) if self.folder is not None else ()


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


@lru_cache(maxsize=256)
def _parsed(text: Text) -> NetworkFile:
    return NetworkFile(text, read_network(read_tree(text)))


def display(path: Path) -> str:
    """The path in messages: shipped files are `specs/...` wherever they are installed."""
    home = Path(str(files("gangraph.specs")))
    return f"specs/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _yaml_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*.yaml") if path.is_file())
