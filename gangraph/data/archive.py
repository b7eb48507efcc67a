"""A path to bytes by name: the image files below a folder, a zip file, or a folder inside a zip file; or one file.

Links are followed. Hidden files and folders (`.name`) and `__MACOSX` are left out. Nothing is ever unpacked to disk.
"""

import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from gangraph.data.reading import open_member, read_file, readable, require_density, require_regular, require_size_of
from gangraph.data.walking import files_below, is_hidden, link_notes
from gangraph.errors import DataError, nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
LISTED = 8

_MOST_IN_A_ZIP = 250_000  # files; Python takes seconds to list them, and half a kilobyte for each
_LONGEST_LIST = 64 * 2**20  # bytes of a zip file's own list of its files


@dataclass(frozen=True, slots=True)
class Archive:
    """The image files below one place; `names` are paths relative to it, with `/`, sorted naturally.

    `folders` are those directly inside, with images or without. `others` are the files that are no images, and
    `links` say which links are not followed.
    """

    path: str
    names: tuple[str, ...]
    folders: tuple[str, ...]
    others: tuple[str, ...]
    links: tuple[str, ...]
    open: Callable[[str, int], bytes]

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines on what the place holds and is not read, if only images are read."""
        return self.notes_without(())

    def notes_without(self, read: Container[str]) -> tuple[str, ...]:
        """Lines on what the place holds and is not read; the files in `read` are read besides the images."""
        left = [name for name in self.others if name not in read]
        return (*([passed_over(self.path, left, "the suffix of an image")] if left else []), *self.links)

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a file. Raises OSError, or DataError if they are more than `most` MiB or cannot be read."""
        return self.open(name, most)

    def where(self, name: str) -> str:
        """What messages call a file."""
        return readable(f"{self.path}/{name}")


def open_images(path: str) -> Archive:
    """List the images of a place as `open_archive` does; it may also be one image file. Raises DataError."""
    if not is_image_file(Path(path)):
        return open_archive(path, "a folder, a .zip file or an image")
    file = Path(path).expanduser()
    return Archive(str(file.parent), (file.name,), (), (), (), lambda _, most: read_file(file, most))


def is_image_file(path: Path) -> bool:
    """Whether a file is there that has the suffix of an image."""
    try:
        return path.suffix.lower() in IMAGE_SUFFIXES and path.expanduser().is_file()
    except (OSError, RuntimeError):  # open_archive says what is wrong
        return False


def open_archive(path: str, expected: str = "a folder or a .zip file") -> Archive:
    """List the images below `path`: a folder, `some.zip`, or a folder inside one, `some.zip/trainA`.

    `expected` is what the error for another file says.

    Raises:
        DataError: nothing is at `path`, or no image is below it; the message lists what is there.
    """
    try:
        return _open(Path(path).expanduser(), expected)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home of the user in ~user
        raise DataError(f"'{readable(path)}' cannot be read: {error}") from error


def _open(place: Path, expected: str) -> Archive:
    zipped = next((p for p in (place, *place.parents) if p.suffix.lower() == ".zip" and p.is_file()), None)
    if zipped is not None:
        return _open_zip(zipped, place)
    if not place.exists():
        raise missing("folder", place)
    if not place.is_dir():
        require_regular(place)
        raise DataError(f"'{place}' is a file; expected {expected}")
    return _open_folder(place)


def missing(kind: str, path: Path) -> DataError:
    """The error for a file or folder that is not there; lists what the nearest existing folder holds."""
    absent = path
    while not absent.parent.is_dir():
        absent = absent.parent
    return _missing(kind, path, absent, (child.name for child in absent.parent.iterdir()))


def natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sort key under which `2.jpg` comes before `10.jpg`; equal for no two names."""
    parts = re.split(r"(\d+)", name)
    numbers = [part.lstrip("0") for part in parts[1::2]]
    keys: list[str | tuple[int, str]] = [*parts]
    keys[1::2] = [(len(number), number) for number in numbers]  # no int: digits may be too many for one
    return keys, name


def _open_zip(zipped: Path, place: Path) -> Archive:
    try:
        _require_few(zipped)
        opened = ZipFile(zipped)
    except (BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"'{zipped}' is not a readable zip file: {error}") from error
    listed = {_tidy(info.filename, zipped): info for info in opened.infolist()}
    _require_once(zipped, [_tidy(info.filename, zipped) for info in opened.infolist() if not info.is_dir()])
    files = [name for name, info in listed.items() if not info.is_dir()]
    prefix = "".join(f"{part}/" for part in place.relative_to(zipped).parts)
    inside = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
    if not inside and place != zipped:
        raise _missing_in_zip(zipped, place, files)
    below = (name.removeprefix(prefix) for name in listed if name.startswith(prefix))
    folders = {name.split("/")[0] for name in below if "/" in name or listed[prefix + name].is_dir()}

    def read(name: str, most: int) -> bytes:
        return _unpacked(opened, listed[prefix + name], readable(f"{place}/{name}"), most)

    return _archive(place, inside, folders, (), read)


def _require_few(zipped: Path) -> None:
    """Refuse a zip file whose list of files takes long to read. Raises DataError, OSError."""
    with zipped.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if end is None:
            return  # ZipFile says what is wrong
        size = file.seek(0, os.SEEK_END)
        length = min(end[5], size)
        file.seek(max(0, size - length - 2**17))
        count = file.read().count(b"PK\x01\x02") if length <= _LONGEST_LIST else _MOST_IN_A_ZIP + 1
    if count > _MOST_IN_A_ZIP:
        raise DataError(f"'{zipped}' holds more than {_MOST_IN_A_ZIP:,} files; unpack it into a folder")


def _tidy(name: str, zipped: Path) -> str:
    """A name in a zip file as a plain path."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DataError(f"'{zipped}' holds '{readable(name)}', a path that leads out of it")
    return "/".join(parts)


def _require_once(zipped: Path, names: list[str]) -> None:
    """Refuse a zip file with two names that are equal or differ in case only: unpacked, one file would be lost."""
    counts = Counter(name.casefold() for name in names if not is_hidden(name))
    twice = [name for name in names if counts[name.casefold()] > 1]
    if twice:
        same = [name for name in twice if name.casefold() == twice[0].casefold()]
        shown = " and ".join(f"'{readable(name)}'" for name in dict.fromkeys(same))
        how = "which differ in case only" if len(set(same)) > 1 else f"{len(same)} times"
        raise DataError(f"'{zipped}' holds {shown}, {how}; expected each name once")


def _unpacked(opened: ZipFile, info: ZipInfo, where: str, most: int) -> bytes:
    require_size_of(where, info.file_size, most)
    require_density(where, info.file_size, info.compress_size)
    with open_member(opened, info, where) as file:
        return file.read(info.file_size)


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


def _open_folder(place: Path) -> Archive:
    below = files_below(place)
    folders = [name for name in os.listdir(place) if (place / name).is_dir() and name not in below.back]
    return _archive(place, below.files, folders, below.back, lambda name, most: read_file(place / name, most))


def _archive(
    place: Path, files: Iterable[str], folders: Iterable[str], back: tuple[str, ...], read: Callable[[str, int], bytes]
) -> Archive:
    visible = [name for name in files if not is_hidden(name)]
    images = [name for name in visible if name.lower().endswith(IMAGE_SUFFIXES)]
    if not images:
        expected = " ".join(IMAGE_SUFFIXES)
        raise DataError(f"no images in '{place}'; {_listing(visible)}; expected files ending in {expected}")
    return Archive(
        path=str(place),
        names=tuple(sorted(images, key=natural)),
        folders=tuple(sorted((name for name in folders if not is_hidden(name)), key=natural)),
        others=tuple(name for name in visible if not name.lower().endswith(IMAGE_SUFFIXES)),
        links=link_notes(place, back),
        open=read,
    )


def passed_over(place: str, names: Sequence[str], lack: str) -> str:
    """A line on files of a place that are not read, since they lack something in their names."""
    those = "1 file is" if len(names) == 1 else f"{len(names):,} files are"
    ordered = sorted(names, key=natural)
    shown = ", ".join(map(readable, ordered[:LISTED])) + (", ..." if len(ordered) > LISTED else "")
    return f"{those} not read in '{place}', without {lack}: {shown}"


def _missing(kind: str, path: Path, absent: Path, there: Iterable[str]) -> DataError:
    there = [name for name in there if not is_hidden(name)]
    because = "" if absent == path else f", because there is no '{absent}'"
    hint = nearest(absent.name, there)
    return DataError(f"{kind} '{path}' not found{because}; {_listing(there)}" + (f"; {hint}" if hint else ""))


def _listing(names: Iterable[str]) -> str:
    ordered = sorted(names, key=natural)
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return f"there are {', '.join(map(readable, ordered[:LISTED]))}{more}" if ordered else "nothing is there"
