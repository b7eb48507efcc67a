"""The files below a folder, for every source that reads folders.

Links are followed. Hidden files and folders (`.name`) and `__MACOSX` are left out.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from gangraph.data.reading import readable
from gangraph.errors import DataError


@dataclass(frozen=True, slots=True)
class Below:
    """What lies below a folder.

    Attributes:
        files: paths seen from the folder, with `/`, in no order.
        back: links to a folder above them, which are not followed; paths likewise.
    """

    files: tuple[str, ...]
    back: tuple[str, ...]


def files_below(place: Path) -> Below:
    """The files below a folder. Links back to a folder above are not followed; every folder is visited once.

    Raises:
        OSError: a folder cannot be read.
        DataError: two links, or a link and a folder, lead to one folder.
    """
    met = {_identity(place): place}
    files: list[str] = []
    back: list[str] = []
    for folder, inside, names in os.walk(place, followlinks=True, onerror=_raise):
        inside[:] = sorted(name for name in inside if not is_hidden(name))
        for name in [*inside]:
            path = Path(folder, name)
            before = met.setdefault(_identity(path), path)
            if before in path.parents:
                back.append(path.relative_to(place).as_posix())
                inside.remove(name)
            elif before != path:
                found = f"'{readable(str(before))}' and '{readable(str(path))}' are one folder, by a link"
                raise DataError(f"{found}; its files would count twice")
        prefix = "" if Path(folder) == place else f"{os.path.relpath(folder, place)}/"
        files += [prefix + name for name in names if not is_hidden(name)]
    return Below(tuple(files), tuple(back))


def is_hidden(name: str) -> bool:
    """Whether a path, with `/`, is left out."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def link_notes(place: Path, back: tuple[str, ...]) -> tuple[str, ...]:
    """Lines on the links below a folder that are not followed."""
    links = (readable(f"{place}/{name}") for name in back)
    return tuple(f"'{link}' is a link to a folder above it, and is not followed" for link in links)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _raise(error: OSError) -> None:
    raise error
