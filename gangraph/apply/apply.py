"""Images through a trained network: files in, files out."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from gangraph.apply.anysize import AnySize, Size, bare
from gangraph.apply.applied import Applied, applied
from gangraph.check.instantiate import Interval
from gangraph.data.archive import IMAGE_SUFFIXES, Archive, open_archive
from gangraph.data.decode import Picture
from gangraph.data.imageset import corrupt
from gangraph.data.reading import read_file
from gangraph.data.stream import derive_seed
from gangraph.data.transform import LOWEST, ImageOptions
from gangraph.errors import DataError, RunError, UsageError
from gangraph.evaluate.pictures import MANY, clipped, image_of, save_image
from gangraph.run.reporter import Countdown
from gangraph.run.trainer import Trainer
from gangraph.session.sample import load_run
from gangraph.vocabulary.layers import RandomLayer

WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")  # what a single file may be written as
MEMORY = 2.9  # GiB that a network may use at once, so that the process stays below 4


def apply(
    run: Path,
    network: str,
    source: Path,
    target: Path,
    *,
    which: str | None = None,
    average: bool = False,
    size: Size | None = None,
    device: str = "auto",
    batch: int = 1,
    memory: float = MEMORY,
    interval: Interval | None = None,
    ground: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Send images through a trained network, one file after another; returns how many were written.

    Images are prepared as the source does that the spec gives to the network. They keep their size where the network
    takes any size; else they are resized as the source says. Results are PNG files under the names and in the
    subfolders of the images.

    Args:
        source: an image, a folder, a zip file, or a folder in one.
        target: a folder; for one image also a file.
        average: take the network's moving average.
        size: height and width to which images are resized first, by the source's `fit` and `interpolation`.
        batch: how many images of one size go through the network together.
        memory: how many GiB the network may use at once; larger images are cut into overlapping tiles.
        interval: the range of what the network gives, where the spec does not tell.
        ground: the colour that transparent images are laid on, where the source states none or another.
        overwrite: replace files that are there already.
        say: is told what is done, and what could not be.

    Raises:
        UsageError: there is no such network, it cannot be applied to images, or files would be overwritten.
        DataError: there is no image, or some could not be translated; all others were.
    """
    archive = _opened(source)
    for note in archive.notes:
        say(note)
    plan = _planned(archive, source, target, overwrite, say)
    trainer = load_run(run, which=which, device=device)
    checked = trainer.checked[trainer.phase]
    found = applied(checked, network, average=average)
    if ground is not None:
        found = replace(found, options=_grounded(found.options, ground))
    made = interval or found.made
    if made is None:
        raise UsageError(
            f"the range of what '{found.name}' gives is not known: its last layer is not bounded, and the spec does "
            "not compare it with images of one range; give --range, such as --range tanh"
        )
    work = _Work(trainer, found, made, size, max(1, batch), memory * 2**30, say)
    return work.go(archive, plan)


def _grounded(options: ImageOptions, ground: str) -> ImageOptions:
    try:
        return replace(options, ground=ground)
    except ValueError as error:
        raise UsageError(f"--ground: {error}") from None


# Files


def _opened(source: Path) -> Archive:
    """The images of a place; a single file is a place of one."""
    if source.is_file() and source.suffix.lower() in IMAGE_SUFFIXES:
        return Archive(str(source.parent), (source.name,), (), (), lambda _, most: read_file(source, most))
    return open_archive(str(source))


def _planned(
    archive: Archive, source: Path, target: Path, overwrite: bool, say: Callable[[str], None]
) -> dict[str, Path]:
    """Where each image's result goes. Raises UsageError where a file would be lost."""
    single = source.is_file() and source.suffix.lower() in IMAGE_SUFFIXES
    if single and target.suffix and not target.is_dir():
        if target.suffix.lower() not in WRITTEN:
            raise UsageError(
                f"'{target.name}' is no form in which an image is written: {', '.join(WRITTEN)}, or a folder"
            )
        plan = {archive.names[0]: target}
    else:
        _require_folder(source, target, single)
        plan = {name: target / file for name, file in _files(archive.names, say).items()}
    _require_free(archive, plan, overwrite)
    return plan


def _require_folder(source: Path, target: Path, single: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"--output '{target}' is a file; for more than one image it is a folder")
    inside, place = source.resolve(), target.resolve()
    if not single and (place == inside or inside in place.parents):
        raise UsageError(f"--output '{target}' lies in --input '{source}': choose a folder beside it")


def _files(names: Sequence[str], say: Callable[[str], None]) -> dict[str, PurePosixPath]:
    """A file for each image: its name as .png, or behind its whole name where two have one stem."""
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
    """Refuse to write over what is there, and always over an image that is read."""
    read = {os.path.realpath(archive.where(name)) for name in plan}
    taken = [path for path in plan.values() if path.exists()]
    for path in taken:
        if os.path.realpath(path) in read:
            raise UsageError(f"'{path}' is one of the images that are read: choose another --output")
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise UsageError(f"'{taken[0]}'{more} is there already: choose another --output, or give --overwrite")


def _written(image: Image.Image, path: Path) -> None:
    """Write an image beside its place and put it there by renaming."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)


# Images


@dataclass
class _Work:
    """A network at work on files, and what there is to tell about them."""

    trainer: Trainer
    found: Applied
    made: Interval
    asked: Size | None
    batch: int
    memory: float
    say: Callable[[str], None]
    failed: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    distorted: list[str] = field(default_factory=list)
    resized: int = 0

    def __post_init__(self) -> None:
        trainer, found = self.trainer, self.found
        checked, evaluate = trainer.checked[trainer.phase], trainer.spec.phases[trainer.phase].evaluate
        training = evaluate is not None and evaluate.mode == "train"
        model = checked.networks[found.owner]
        module = trainer.networks[found.name].train(training)
        plain = bare(model.module, training=training)
        self.network = AnySize(module, plain, found.options.channels, found.size, self.memory, trainer.engine.precision)
        mixes = model.couples_always or (training and model.mixes_samples)
        draws = any(
            isinstance(layer, RandomLayer) and (training or not layer.only_in_training) for layer in module.modules()
        )
        if self.batch > 1 and (mixes or draws):
            self.say(f"one image at a time: in '{found.name}' images of a batch would depend on each other")
            self.batch = 1
        if self.network.follows is None and self.asked not in (None, found.size):
            raise UsageError(
                f"'{found.name}' takes {_named(found.size)} pixels alone, as it was trained: leave out --size"
            )
        self._introduce()

    def _introduce(self) -> None:
        """Say how images are prepared."""
        found, options = self.found, self.found.options
        like = f"as {found.like} is: " if found.like else ""
        colours, (low, high) = "grey" if options.channels == 1 else "colour", found.given
        self.say(f"{found.name} is given images {like}{colours} in [{low:g}, {high:g}]")
        self.say(self._about_sizes())

    def _about_sizes(self) -> str:
        follows, options = self.network.follows, self.found.options
        how = f"fit={options.fit}, interpolation={options.interpolation}"
        if follows is None:
            whole = options.resize or options.size
            resized = f"images are resized to {whole} ({how})" if whole else "images keep their scale"
            cropped = f", and the centre {options.crop} is cut out" if options.crop else ""
            return f"it takes {_named(self.found.size)} pixels alone: {resized}{cropped}"
        if self.asked is not None:
            return f"images are resized to {_named(self.asked)} ({how})"
        filled = (
            f", filled up to multiples of {_named(follows.multiple)} and cut back" if max(follows.multiple) > 1 else ""
        )
        factors = dict.fromkeys(str(factor) for factor in follows.factor)
        factor = "" if list(factors) == ["1"] else f", times {' and '.join(factors)}"
        return f"images keep their size{factor}{filled}"

    def go(self, archive: Archive, plan: Mapping[str, Path]) -> int:
        """Translate all; returns how many were written. Raises DataError if some were not."""
        said, count = Countdown("image", len(plan)), 0
        for names, images in self._batches(archive):
            count += self._translate(names, images, archive, plan)
            for _ in names:
                said.one_more()
        self._conclude()
        if self.failed:
            raise DataError(f"{len(self.failed)} of {len(plan)} images could not be translated; {count} were")
        return count

    def _batches(self, archive: Archive) -> Iterator[tuple[list[str], Tensor]]:
        """Images of one size that follow each other, as many as may go together."""
        names: list[str] = []
        images: list[Tensor] = []
        for name in archive.names:
            try:
                image = self._read(archive, name)
            except DataError as error:
                self._fail(str(error))
                continue
            if images and (image.shape != images[0].shape or len(images) == self._room(images[0])):
                yield names, torch.cat(images)
                names, images = [], []
            names.append(name)
            images.append(image)
        if images:
            yield names, torch.cat(images)

    def _room(self, image: Tensor) -> int:
        size = (image.shape[2], image.shape[3])
        return 1 if self.batch == 1 else min(self.batch, max(1, int(self.memory // self.network.needs(size))))

    def _read(self, archive: Archive, name: str) -> Tensor:
        """One image, prepared: [1, C, H, W] on the device."""
        options = self.found.options
        try:
            decoded = options.decode(archive.read(name, options.largest // 4))
            prepared = self._prepared(options, decoded)
        except DataError:
            raise
        except Exception as error:  # see ImageSet: decoders raise nearly anything
            raise corrupt(archive.where(name), error) from error
        before = decoded[0].height, decoded[0].width
        self._compare(archive.where(name), before, (prepared.shape[1], prepared.shape[2]))
        settings = self.trainer.settings
        return self._scaled(prepared)[None].to(settings.device, settings.dtype)

    def _prepared(self, options: ImageOptions, decoded: Picture) -> Tensor:
        if self.network.follows is None:
            return options.arrange(options.prepare(decoded), (0.5, 0.5, 1.0))
        if self.asked is not None:
            return replace(options, size=self.asked, resize=None, crop=None).prepare(decoded)
        return replace(options, size=None, resize=None, crop=1).prepare(decoded)  # which leaves the size as it is

    def _scaled(self, image: Tensor) -> Tensor:
        low, high = self.found.given
        if (low, high) == (LOWEST[self.found.options.range], 1):
            return self.found.options.scale(image)
        return replace(self.found.options, range="unit").scale(image) * (high - low) + low

    def _compare(self, name: str, before: Size, after: Size) -> None:
        """Keep in mind what became of an image's size."""
        if before == after:
            return
        self.resized += 1
        if abs(before[0] * after[1] - before[1] * after[0]) > max(*before, *after):
            self.distorted.append(f"{name} {_named(before)}")

    def _translate(self, names: Sequence[str], images: Tensor, archive: Archive, plan: Mapping[str, Path]) -> int:
        """Images through the network into their files; how many were written."""
        try:
            with torch.random.fork_rng():
                torch.manual_seed(derive_seed(self.trainer.seed, "apply", names[0]))  # for layers that draw numbers
                made = self.network(images)
        except (RunError, RuntimeError, MemoryError) as error:
            for name in names:
                self._fail(f"{archive.where(name)}: {str(error).partition(chr(10))[0] or type(error).__name__}")
            return 0
        for name, image in zip(names, made.float().cpu(), strict=True):
            share = clipped(image, self.made)
            if share > MANY:
                self.cut.append(f"{archive.where(name)} {share:.0%}")
            try:
                _written(image_of(image, self.made), plan[name])
            except OSError as error:
                raise RunError(f"cannot write '{plan[name]}': {error.strerror or error}") from None
        return len(names)

    def _fail(self, message: str) -> None:
        self.failed.append(message)
        self.say(message)

    def _conclude(self) -> None:
        """Say what was done to sizes and values."""
        for remark in self.network.remarks:
            self.say(remark)
        if self.distorted:
            how = "stretched" if self.found.options.fit == "stretch" else "cut off"
            which = f"{len(self.distorted)} images have" if len(self.distorted) > 1 else "1 image has"
            self.say(f"{which} another aspect ratio now ({how}): {_some(self.distorted)}")
        if self.cut:
            low, high = self.made
            self.say(f"values outside of [{low:g}, {high:g}] were clipped: {_some(self.cut)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _named(size: Size) -> str:
    """A size as people write it, width first."""
    return f"{size[1]}x{size[0]}"
