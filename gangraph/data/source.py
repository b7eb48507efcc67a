"""What a data source is: fields known before anything is read, items that are pure functions of their index."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gangraph.errors import DataError, GangraphError


@dataclass(frozen=True, slots=True)
class Varying:
    """An axis of a sample, counted without the batch, along which each batch of a run has another length.

    The length is from `least` to the size of the axis, and the same for all samples of a batch.
    """

    axis: int
    least: int


@dataclass(frozen=True, slots=True)
class Field:
    """One tensor of a sample: its shape without the batch, its type, and the values it can take.

    If it is `padded`, samples have different lengths, and the shorter ones end in zeros. The whole numbers of a `text`
    are words or characters, as the data set's `meanings` say, then `<end>` and `<pad>`. If it `varies`, the
    shape is that of the longest batch: a data set gives samples of this shape, and a run keeps the first part of them.
    """

    shape: tuple[int, ...]
    low: float = float("-inf")
    high: float = float("inf")
    dtype: torch.dtype = torch.float32
    padded: bool = False
    text: Literal["", "words", "characters"] = ""
    varies: Varying | None = None


Meanings = Mapping[str, tuple[str, ...]]  # what whole numbers stand for, from 0 on, by field or column


class Dataset(Protocol):
    """An opened source: random access to samples."""

    def __len__(self) -> int:
        """Number of samples; an epoch is that many draws."""
        ...

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The samples at `indices`, stacked: field name -> [len(indices), *field.shape].

        `generator` drives augmentation (crop, flip) and nothing else may be random: the same indices and
        the same generator state give the same tensors, and more indices begin with the samples of fewer.

        Raises:
            DataError: a file is missing or corrupt; the message names it.
        """
        ...


class Source(Protocol):
    """A data source as a spec declares it. Constructing one touches no disk; wrong arguments raise ValueError."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """The tensors of one sample. A source with one field is used as that tensor, others as `name.field`."""
        ...

    def open(self) -> Dataset:
        """Find the files.

        Raises:
            DataError: a folder or file is missing; the message names it and what was expected there.
        """
        ...


def innermost(source: Source) -> Source:
    """The source whose files are read, where it stands in others that change what it gives, as in `fixed(images(...))`.

    Such a source names the one in it `inside`.
    """
    inside: Any = getattr(source, "inside", None)
    return innermost(inside) if callable(getattr(inside, "open", None)) else source  # an argument may be called so too


def places(source: Source) -> tuple[tuple[str, str], ...]:
    """The arguments of a source that name files or folders which have to exist: pairs of argument and path."""
    read = innermost(source)
    named = getattr(read, "paths", ())
    return tuple((name, value) for name in named if (value := getattr(read, name)) is not None)


def missing_places(source: Source) -> list[tuple[str, str]]:
    """The `places` of a source at which nothing is. A path into a zip file is taken to exist if the zip file does."""
    return [(name, path) for name, path in places(source) if not _is_there(Path(path).expanduser())]


def _is_there(path: Path) -> bool:
    return path.exists() or any(parent.suffix.lower() == ".zip" and parent.is_file() for parent in path.parents)


def open_source(called: str, source: Source) -> Dataset:
    """Open a source; `called` is its path in the spec, such as `data.x`.

    Raises:
        DataError: its files are missing or corrupt; the message says which setting names others.
    """
    with reading(called.rpartition("data.")[2], source):
        try:
            return source.open()
        except DataError as error:
            raise DataError(f"{called}: {error}{_setting(called, source)}") from None


@contextmanager
def reading(name: str, source: Source) -> Iterator[None]:
    """Turn whatever a source raises, also one of a plug-in, into a DataError that names the source."""
    try:
        yield
    except (GangraphError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a plug-in can raise anything
        kind, said = type(innermost(source)), f"{type(error).__name__}: {error}".rstrip(": ")
        raise DataError(f"data '{name}', {kind.__name__} of {kind.__module__}, cannot be read: {said}") from error


def meanings(dataset: Dataset) -> Meanings:
    """What the whole numbers of a data set stand for, such as classes and words, by field; empty if it does not say."""
    found: Meanings = getattr(_read(dataset), "meanings", {})
    return found


def notes(dataset: Dataset) -> Sequence[str]:
    """What a user should know about a data set, such as which files are not read."""
    found: Sequence[str] = getattr(_read(dataset), "notes", ())
    return found


def skipped(dataset: Dataset) -> Sequence[str]:
    """The names of the corrupt samples that were passed over so far."""
    found: Sequence[str] = getattr(_read(dataset), "skipped", ())
    return found


def problems(dataset: Dataset) -> Sequence[str]:
    """One `file: reason` for each sample that cannot be read, after all were; empty if a data set cannot tell."""
    verify: Callable[[], Sequence[str]] | None = getattr(_read(dataset), "verify", None)
    return verify() if verify is not None else ()


def _read(dataset: Dataset) -> Dataset:
    """The data set that reads files, which others may stand around, as sources do (`innermost`)."""
    inside: Any = getattr(dataset, "inside", None)
    return _read(inside) if callable(getattr(inside, "batch", None)) else dataset


def finds(source: Source) -> tuple[str, ...]:
    """The fields or columns of a source whose classes, or words, are found in its file."""
    found: tuple[str, ...] = getattr(innermost(source), "finds", ())
    return found


def require_meanings(name: str, before: Meanings, now: Meanings) -> None:
    """Refuse a data set whose whole numbers have another meaning than those that a run was trained with.

    Raises:
        DataError: a field or column, and the first number that differs, are named.
    """
    for field, words in before.items():
        for number, (old, new) in enumerate(zip_longest(words, now.get(field, ()))):
            if old != new:
                raise DataError(
                    f"data '{name}': the number {number} of '{field}' stands for {_quoted(new)}; expected "
                    f"{_quoted(old)}, as when the checkpoint was saved; list them in the spec to keep their numbers"
                )


def _quoted(word: str | None) -> str:
    return "nothing" if word is None else f"'{word}'"


def _setting(called: str, source: Source) -> str:
    gone = [name for name, _ in missing_places(source)]
    return f"; {names_another(called, source, gone[0])}" if gone else ""


def names_another(called: str, source: Source, argument: str) -> str:
    """How a person names another file or folder in an argument of a source; `called` is its path in the spec."""
    if innermost(source) is not source:  # whose arguments no path of a setting reaches
        return f"name another {argument} in {called}"
    return f"--set {called}.{argument}=PATH names another"
