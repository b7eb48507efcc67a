"""Files that appear complete or not at all, JSON that every reader can read, bounded reading of other files."""

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished"  # the end of the name of whatever is being written; what a kill left of it may go


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to; the complete file is then renamed to `path`. If writing fails, nothing is left."""
    unfinished = unfinished_name(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> Path:
    """Write a text beside its place and put it there by renaming. Raises OSError."""
    with whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return path


def unfinished_name(path: Path) -> Path:
    """Where a process writes what will stand at `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")


def abandoned(folder: Path) -> Iterator[Path]:
    """The unfinished files of processes that no longer exist."""
    for path in folder.glob(f".*{UNFINISHED}"):
        process = path.name.removesuffix(UNFINISHED).rpartition(".")[2]
        if not (process.isdecimal() and Path("/proc", process).exists()):
            yield path


def read_json(path: Path, limit: int) -> Any:
    """What a JSON file of at most `limit` bytes holds: finite numbers, and no key twice.

    Raises:
        OSError: it is missing, cannot be read, or is no file.
        ValueError: it is longer, or something else than that.
    """
    with opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is longer than {limit} bytes")
    try:
        return parsed_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from None


def parsed_json(text: str) -> Any:
    """What a text of JSON holds: finite numbers, and no key twice. Raises ValueError where it is something else."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file for reading; a pipe or a device, which may never end, is refused. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    with open(descriptor, "rb") as file:
        yield file


def digest_of(path: Path) -> str:
    """The BLAKE2b digest of a file in hexadecimal. Raises OSError."""
    with opened(path) as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def known_digest(path: Path) -> str:
    """The digest of a file that may be large, computed once for as long as the file stays as it is. Raises OSError."""
    kept = path.stat()
    return _known_digest(path.resolve(), kept.st_mtime_ns, kept.st_size)


@cache
def _known_digest(path: Path, _: int, __: int) -> str:
    return digest_of(path)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"found {name}, expected a finite number")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key}' stands twice")
        found[key] = value
    return found


def json_text(data: object, *, indent: int | None = None) -> str:
    """Plain data as JSON. A number that is NaN or infinite has no form in JSON, and becomes `null`."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(data: object) -> Any:
    match data:
        case float():
            return data if math.isfinite(data) else None
        case Mapping():
            return {key: _finite(value) for key, value in data.items()}
        case list() | tuple():
            return [_finite(item) for item in data]
    return data
