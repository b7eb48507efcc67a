"""Sources of image files, in folders or zip files: `images`, `pairs` and `classes`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import torch

from gangraph.data.archive import Archive, natural, open_archive, open_images
from gangraph.data.arguments import require, require_count, require_one_of
from gangraph.data.decode import Picture
from gangraph.data.imageset import ImageSet, Loaded, corrupt
from gangraph.data.source import Field
from gangraph.data.transform import ImageOptions
from gangraph.errors import DataError
from gangraph.registry import source


@source("images")
@dataclass(frozen=True, kw_only=True)
class Images(ImageOptions):
    """All images below a folder, a zip file, or a folder inside a zip file, or one image file; no labels.

    Args:
        folder: the place, for example `photos`, `photos.zip`, `photos.zip/trainA` or `photos/1.jpg`.
        size, resize, crop, ...: see `ImageOptions`; one of these three is needed.

    Raises:
        ValueError: an argument is wrong, or none states the size.
    """

    folder: str = field(kw_only=False)
    paths: ClassVar = ("folder",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_path("folder", self.folder)

    @property
    def fields(self) -> Mapping[str, Field]:
        """`value`, the image."""
        return {"value": self.pixels}

    def open(self) -> ImageSet:
        """List the images.

        Raises:
            DataError: the folder is missing or holds no image.
        """
        archive = open_images(self.folder)

        def load(index: int) -> Loaded:
            return {"value": decode_from(archive, archive.names[index], self)}

        return ImageSet([archive.where(name) for name in archive.names], load, self, archive.notes)


@source("pairs")
@dataclass(frozen=True, kw_only=True)
class Pairs(ImageOptions):
    """Aligned images: side by side in one file, or in two folders under the same names.

    Args:
        folder: files that hold a pair each, or one such file, `a` on the left and `b` on the right.
        a: folder of the first images; a file's partner in `b` has the same name, without suffix.
        b: folder of the second images.
        direction: `BtoA` exchanges `a` and `b`.
        size, resize, crop, ...: see `ImageOptions`; one of these three is needed. Both images of a pair
            get the same crop and flip.

    Raises:
        ValueError: an argument is wrong, none states the size, or not exactly one of `folder` and `a`
            with `b` is given.
    """

    folder: str | None = field(default=None, kw_only=False)
    a: str | None = None
    b: str | None = None
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    paths: ClassVar = ("folder", "a", "b")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"folder": self.folder, "a": self.a, "b": self.b}
        paths = {name: path for name, path in given.items() if path is not None}
        require(set(paths) in ({"folder"}, {"a", "b"}), "pairs", sorted(paths), "folder=, or a= with b=")
        for name, path in paths.items():
            require_path(name, path)
        require_one_of("direction", self.direction, ("AtoB", "BtoA"))

    @property
    def fields(self) -> Mapping[str, Field]:
        """`a` and `b`, two images of one size."""
        return {"a": self.pixels, "b": self.pixels}

    def open(self) -> ImageSet:
        """List the images and match them.

        Raises:
            DataError: a folder is missing or empty, or an image of one folder has no partner in the other.
        """
        if self.a is not None and self.b is not None:
            return self._open_matched(open_archive(self.a), open_archive(self.b))
        assert self.folder is not None
        return self._open_side_by_side(open_images(self.folder))

    def _open_side_by_side(self, archive: Archive) -> ImageSet:
        def load(index: int) -> Loaded:
            return self._directed(*_halves(decode_from(archive, archive.names[index], self)))

        return ImageSet([archive.where(name) for name in archive.names], load, self, archive.notes)

    def _open_matched(self, left: Archive, right: Archive) -> ImageSet:
        matched = matched_names(left, right)

        def load(index: int) -> Loaded:
            a, b = matched[index]
            return self._directed(decode_from(left, a, self), decode_from(right, b, self))

        names = [f"{left.where(a)} with {right.where(b)}" for a, b in matched]
        return ImageSet(names, load, self, left.notes + right.notes)

    def _directed(self, left: Picture, right: Picture) -> Loaded:
        return {"a": left, "b": right} if self.direction == "AtoB" else {"a": right, "b": left}


@source("classes")
@dataclass(frozen=True, kw_only=True)
class Classes(ImageOptions):
    """Images with labels: one folder of files for each class, as in `train/cat/1.jpg`.

    Labels count the class folders from 0 in natural order of their names.

    Args:
        folder: the folder of the class folders; may be in a zip file.
        classes: how many there must be; the label's range is not known without it.
        size, resize, crop, ...: see `ImageOptions`; one of these three is needed.

    Raises:
        ValueError: an argument is wrong, or none states the size.
    """

    folder: str = field(kw_only=False)
    paths: ClassVar = ("folder",)
    classes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_path("folder", self.folder)
        if self.classes is not None:
            require_count("classes", self.classes)

    @property
    def fields(self) -> Mapping[str, Field]:
        """`image`, and `label`, the int64 index of its class."""
        high = self.classes - 1 if self.classes else float("inf")
        return {"image": self.pixels, "label": Field((), low=0, high=high, dtype=torch.int64)}

    def open(self) -> ImageSet:
        """List the images and their classes.

        Raises:
            DataError: the folder is missing or empty, an image lies outside or deep inside a class folder,
                or there are not as many classes as declared.
        """
        archive = open_archive(self.folder)
        known = sorted({_class_of(archive, name) for name in archive.names}, key=natural)
        if empty := [folder for folder in archive.folders if folder not in known]:
            found = f"class folder '{archive.where(empty[0])}' holds no image"
            raise DataError(f"{found}; remove it, or it would be a class that is never drawn")
        if self.classes not in (None, len(known)):
            found = f"found {len(known)} class folders in '{archive.path}': {', '.join(known)}"
            raise DataError(f"{found}; expected classes={self.classes}")
        labels = {name: torch.tensor(index) for index, name in enumerate(known)}

        def load(index: int) -> Loaded:
            name = archive.names[index]
            return {"image": decode_from(archive, name, self), "label": labels[_class_of(archive, name)]}

        where = [archive.where(name) for name in archive.names]
        return ImageSet(where, load, self, archive.notes, {"label": tuple(known)})


def require_path(name: str, path: object) -> None:
    """Raise ArgumentError unless an argument can be the path of a folder."""
    require(isinstance(path, str) and bool(path) and "\0" not in path, name, path, "a path to a folder or a zip file")


def decode_from(archive: Archive, name: str, options: ImageOptions) -> Picture:
    """An image of an archive, upright. Raises DataError, which names it."""
    try:
        return options.decode(archive.read(name, options.largest // 4))
    except DataError:
        raise
    except Exception as error:  # see ImageSet: decoders raise nearly anything
        raise corrupt(archive.where(name), error) from error


def _halves(picture: Picture) -> tuple[Picture, Picture]:
    width, height = picture[0].size
    middle, odd = divmod(width, 2)
    if odd:
        raise ValueError(f"is {width} pixels wide; expected two images of equal width side by side")
    left = tuple(band.crop((0, 0, middle, height)) for band in picture)
    return left, tuple(band.crop((middle, 0, width, height)) for band in picture)


def matched_names(left: Archive, right: Archive) -> list[tuple[str, str]]:
    """The files of two places that have the same names without their suffixes. Raises DataError for one left over."""
    a, b = _by_stem(left), _by_stem(right)
    only_a = [left.where(name) for stem, name in a.items() if stem not in b]
    only_b = [right.where(name) for stem, name in b.items() if stem not in a]
    alone = only_a + only_b
    if alone:
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        expected = "expected the same file names, apart from suffixes, in both folders"
        raise DataError(f"no partner for {', '.join(alone[:3])}{more}; {expected}")
    return [(name, b[stem]) for stem, name in a.items()]


def _by_stem(archive: Archive) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in archive.names:
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in found:
            twice = f"{archive.where(found[stem])} and {archive.where(name)}"
            raise DataError(f"{twice} differ in their suffixes only; expected one partner for each image")
        found[stem] = name
    return found


def _class_of(archive: Archive, name: str) -> str:
    folder, *rest = name.split("/")
    if len(rest) == 1:
        return folder
    expected = f"expected {archive.path}/CLASS/FILE"
    hint = f"; did you mean '{archive.path}/{folder}'?" if rest else ""
    raise DataError(f"'{archive.where(name)}' is not directly inside a class folder; {expected}{hint}")
