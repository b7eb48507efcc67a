"""A path to bytes by name: the image files below a folder, a zip file, or a folder inside a zip file."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from gangraph.errors import DataError, nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
LISTED = 8


@dataclass(frozen=True, slots=True)
class Archive:
    """The image files below one place; `names` are paths relative to it, with `/`, sorted naturally."""

    path: str
    names: tuple[str, ...]
    read: Callable[[str], bytes]

    def where(self, name: str) -> str:
        """What messages call a file."""
        return f"{self.path}/{name}"


def open_archive(path: str) -> Archive:
    """List the images below `path`: a folder, `some.zip`, or a folder inside one, `some.zip/trainA`.

    Raises:
        DataError: nothing is at `path`, or no image is below it; the message lists what is there.
    """
    place = Path(path).expanduser()
    zipped = next((p for p in (place, *place.parents) if p.suffix.lower() == ".zip" and p.is_file()), None)
    if zipped is not None:
        return _open_zip(zipped, place)
    if place.is_file():
        raise DataError(f"'{place}' is a file; expected a folder or a .zip file")
    if not place.is_dir():
        raise missing("folder", place)
    return _archive(place, _walk(place), lambda name: (place / name).read_bytes())


def missing(kind: str, path: Path) -> DataError:
    """The error for a file or folder that is not there; lists what the nearest existing folder holds."""
    absent = path
    while not absent.parent.is_dir():
        absent = absent.parent
    return _missing(kind, path, absent, (child.name for child in absent.parent.iterdir()))


def natural(name: str) -> list[str | int]:
    """Sort key under which `2.jpg` comes before `10.jpg`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _open_zip(zipped: Path, place: Path) -> Archive:
    try:
        opened = ZipFile(zipped)
    except (BadZipFile, OSError) as error:
        raise DataError(f"'{zipped}' is not a readable zip file: {error}") from error
    prefix = "".join(f"{part}/" for part in place.relative_to(zipped).parts)
    files = [name for name in opened.namelist() if not name.endswith("/")]
    inside = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
    if not inside:
        raise _missing_in_zip(zipped, place, files)
    return _archive(place, inside, lambda name: opened.read(prefix + name))


def _missing_in_zip(zipped: Path, place: Path, files: list[str]) -> DataError:
    absent = place
    while absent.parent != zipped:
        parent = absent.parent.relative_to(zipped).as_posix()
        if any(name.startswith(f"{parent}/") for name in files):
            break
        absent = absent.parent
    depth = len(absent.parent.relative_to(zipped).parts)
    above = "".join(f"{part}/" for part in absent.parent.relative_to(zipped).parts)
    return _missing("folder", place, absent, {n.split("/")[depth] for n in files if n.startswith(above)})


def _walk(place: Path) -> Iterator[str]:
    for folder, _, files in os.walk(place):
        for name in files:
            yield (Path(folder) / name).relative_to(place).as_posix()


def _archive(place: Path, files: Iterable[str], read: Callable[[str], bytes]) -> Archive:
    visible = [name for name in files if not _is_hidden(name)]
    images = [name for name in visible if name.lower().endswith(IMAGE_SUFFIXES)]
    if not images:
        expected = " ".join(IMAGE_SUFFIXES)
        raise DataError(f"no images in '{place}'; {_listing(visible)}; expected files ending in {expected}")
    return Archive(str(place), tuple(sorted(images, key=natural)), read)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _missing(kind: str, path: Path, absent: Path, there: Iterable[str]) -> DataError:
    there = [name for name in there if not _is_hidden(name)]
    because = "" if absent == path else f", because there is no '{absent}'"
    hint = nearest(absent.name, there)
    return DataError(f"{kind} '{path}' not found{because}; {_listing(there)}" + (f"; {hint}" if hint else ""))


def _listing(names: Iterable[str]) -> str:
    ordered = sorted(names, key=natural)
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return f"there are {', '.join(ordered[:LISTED])}{more}" if ordered else "nothing is there"
