"""The images that are read, and the files that the results are written to."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from gangraph.data.archive import Archive, is_image_file
from gangraph.errors import DataError, UsageError
from gangraph.evaluate.pictures import save_image

WRITTEN = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
)  # formats of a single file


def plan_files(
    archive: Archive, source: Path, target: Path, overwrite: bool, say: Callable[[str], None]
) -> dict[str, Path]:
    """The file for the result of each image, by the image's name.

    Raises:
        UsageError: a file would be overwritten without `overwrite`, or is one of the images; or the target is
            a file where a folder is needed, lies in the source, or has no suffix of an image.
        DataError: the name of an image leads out of the folder.
    """
    single = is_image_file(source)
    if single and target.suffix and not target.is_dir():
        if target.suffix.lower() not in WRITTEN:
            raise UsageError(
                f"'{target.name}' is no form in which an image is written: {', '.join(WRITTEN)}, or a folder"
            )
        plan = {archive.names[0]: target}
    else:
        _require_folder(source, target, single)
        plan = {name: target / file for name, file in names_of_files(archive.names, say).items()}
    _require_free(archive, plan, overwrite)
    return plan


def _require_folder(source: Path, target: Path, single: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"--output '{target}' is a file; for more than one image it is a folder")
    inside, place = source.resolve(), target.resolve()
    if not single and (place == inside or inside in place.parents):
        raise UsageError(f"--output '{target}' lies in --input '{source}': choose a folder beside it")


def names_of_files(names: Sequence[str], say: Callable[[str], None]) -> dict[str, PurePosixPath]:
    """A relative path for the result of each image: `a/1.jpg` becomes `a/1.png`, or `a/1.jpg.png` beside another `a/1`.

    Raises:
        DataError: a name leads out of the folder.
    """
    paths = {name: PurePosixPath(name) for name in names}
    for path in paths.values():
        if path.is_absolute() or ".." in path.parts or "\\" in str(path) or ":" in path.parts[0]:
            raise DataError(f"'{path}' is no name for a file inside of a folder")
    stems: dict[str, list[str]] = {}
    for name, path in paths.items():
        stems.setdefault(str(path.with_suffix("")).casefold(), []).append(name)
    files = {name: path.with_suffix(".png") for name, path in paths.items()}
    twins = [name for same in stems.values() if len(same) > 1 for name in same]
    whole = {name: path.with_name(f"{path.name}.png") for name, path in paths.items()}
    files |= {name: whole[name] for name in twins}
    if len({str(file).casefold() for file in files.values()}) < len(files):  # 1.jpg and 1.png beside 1.jpg.png
        files, twins = whole, [*whole]
    if twins:
        say(f"{len(twins)} images have the name of another but for the suffix: they become NAME.SUFFIX.png")
    return files


def _require_free(archive: Archive, plan: Mapping[str, Path], overwrite: bool) -> None:
    """Refuse to overwrite files, and, even with `overwrite`, the images that are read. Raises UsageError."""
    read = {os.path.realpath(archive.where(name)) for name in plan}
    taken = [path for path in plan.values() if path.exists()]
    for path in taken:
        if os.path.realpath(path) in read:
            raise UsageError(f"'{path}' is one of the images that are read: choose another --output")
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise UsageError(f"'{taken[0]}'{more} is there already: choose another --output, or give --overwrite")


def write_image(image: Image.Image, path: Path) -> None:
    """Write an image under a temporary name and rename it, so that no file is left half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)
