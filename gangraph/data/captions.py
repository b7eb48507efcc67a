"""The source `captions`: images with sentences, as tokens."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import torch
from torch import Tensor

from gangraph.data.archive import Archive, open_archive
from gangraph.data.arguments import require, require_count, require_one_of
from gangraph.data.files import existing_file, require_file
from gangraph.data.folders import decode_from, require_path
from gangraph.data.imageset import ImageSet, Loaded
from gangraph.data.reading import read_file, readable
from gangraph.data.source import Field, Meanings
from gangraph.data.table import read_csv
from gangraph.data.transform import ImageOptions
from gangraph.errors import DataError, nearest
from gangraph.registry import source

PAD, END, UNKNOWN = "<pad>", "<end>", "<unk>"
SPECIAL = (PAD, END, UNKNOWN)
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_MOST_WORDS = 100_000
_LARGEST_TEXT = 1  # MiB of a file of captions


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence: where messages say that it stands, and its words or characters in small letters."""

    place: str
    words: tuple[str, ...]


@source("captions")
@dataclass(frozen=True, kw_only=True)
class Captions(ImageOptions):
    """Images with captions, which stand in a text file beside each image or in a table; one is drawn each time.

    Args:
        folder: the images, as for `images`. Captions of `a/1.png` are the lines of `a/1.txt`.
        table: a CSV file with the columns `file`, a path in `folder`, and `caption`, in place of text files.
        length: tokens of a caption, `<end>` included; the rest is `<pad>`.
        vocabulary: how many different tokens there may be, `<pad>`, `<end>` and `<unk>` among them; the words are found
            in the captions, the most frequent first. Or a list of words; of characters, a text that holds each once.
        by: what the tokens are: `words`, or `characters`, a blank among them. All of this then holds for characters.
        unknown: what becomes of other words: `error`, or `<unk>`.
        longer: what becomes of captions that are too long: `error`, or `cut`.
        size, resize, crop, ...: see `ImageOptions`; one of these three is needed.

    Raises:
        ValueError: an argument is wrong, or none states the size.
    """

    folder: str = field(kw_only=False)
    vocabulary: int | Sequence[str]
    length: int
    table: str | None = None
    by: Literal["words", "characters"] = "words"
    unknown: Literal["error", "<unk>"] = "error"
    longer: Literal["error", "cut"] = "error"
    paths: ClassVar = ("folder", "table")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_path("folder", self.folder)
        if self.table is not None:
            require_file("table", self.table)
        require_count("length", self.length, least=2)
        require_one_of("by", self.by, ("words", "characters"))
        require_one_of("unknown", self.unknown, ("error", UNKNOWN))
        require_one_of("longer", self.longer, ("error", "cut"))
        if isinstance(self.vocabulary, int):
            require_count("vocabulary", self.vocabulary, least=len(SPECIAL) + 1, most=_MOST_WORDS)
            return
        kinds = list | tuple if self.by == "words" else list | tuple | str
        listed = isinstance(self.vocabulary, kinds) and bool(self.vocabulary)
        require(listed, "vocabulary", self.vocabulary, 'a number of tokens, or a list of words such as ["a", "red"]')
        for word in self.vocabulary:
            whole = isinstance(word, str) and self._is_token(word) and self.vocabulary.count(word) == 1
            require(whole, "vocabulary", word, f"{self.by} as captions are split into, in small letters and each once")

    @property
    def fields(self) -> Mapping[str, Field]:
        """`image`; `caption` and `mismatch`, tokens of a sentence that belongs to it and of one that does not."""
        told = self.vocabulary
        count = told if isinstance(told, int) else len(told) + len(SPECIAL)
        sentence = Field((self.length,), 0, count - 1, torch.int64, padded=True, text=self.by)
        return {"image": self.pixels, "caption": sentence, "mismatch": sentence}

    @property
    def finds(self) -> tuple[str, ...]:
        """`caption`, if its words are found in the files."""
        return ("caption",) if isinstance(self.vocabulary, int) else ()

    def open(self) -> "CaptionedSet":
        """List the images, and read all captions.

        Raises:
            DataError: the folder or the table is missing, an image has no caption, or a caption is longer or holds
                other words than declared; the message names file and line.
        """
        archive = open_archive(self.folder)
        read: list[str] = []
        captions = self._beside(archive, read) if self.table is None else self._listed(archive, self.table)
        known, notes = self._known(captions)
        numbers = {word: number for number, word in enumerate(known)}
        tokens = [[self._tokens(each, numbers) for each in of_one] for of_one in captions]
        cut = sum(len(each.words) >= self.length for of_one in captions for each in of_one)
        if cut:
            notes.append(f"captions that are cut after {self.length - 1} {self.by}: {cut}")

        def load(index: int) -> Loaded:
            return {"image": decode_from(archive, archive.names[index], self), "row": torch.tensor(index)}

        names = [archive.where(name) for name in archive.names]
        notes = [*archive.notes_without(read), *notes]
        return CaptionedSet(ImageSet(names, load, self, notes, {"caption": known}), tokens)

    def _beside(self, archive: Archive, read: list[str]) -> list[list[Caption]]:
        """The captions in text files beside the images, by image; the names of these files are added to `read`."""
        found, others = [], set(archive.others)
        for name in archive.names:
            beside = str(PurePosixPath(name).with_suffix(".txt"))
            if beside not in others:
                raise DataError(f"'{archive.where(name)}' has no captions: there is no '{archive.where(beside)}'")
            read.append(beside)
            try:
                text = archive.read(beside, _LARGEST_TEXT).decode("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"'{archive.where(beside)}' is no readable text in UTF-8: {error}") from error
            lines = enumerate(text.splitlines(), 1)
            found.append(
                [Caption(f"{archive.where(beside)}:{n}", self._split(line)) for n, line in lines if line.strip()]
            )
            if not found[-1]:
                raise DataError(f"'{archive.where(beside)}' is empty; expected a caption on each line")
        return found

    def _listed(self, archive: Archive, table: str) -> list[list[Caption]]:
        """The captions that a table lists, by image."""
        rows = read_csv(table, ("file", "caption"), ",", read_file(existing_file(table), self.largest))
        found: dict[str, list[Caption]] = {name: [] for name in archive.names}
        for line, name, text in zip(rows.lines, rows.columns["file"], rows.columns["caption"], strict=True):
            if name not in found:
                hint = nearest(str(name), found)
                wrong = f"{table}:{line}: there is no image '{readable(str(name))}' in '{archive.path}'"
                raise DataError(wrong + (f"; {hint}" if hint else ""))
            if not self._split(str(text)):
                raise DataError(f"{table}:{line}: column 'caption' has no value; expected a sentence")
            found[str(name)].append(Caption(f"{table}:{line}", self._split(str(text))))
        alone = next((name for name, told in found.items() if not told), None)
        if alone is not None:
            raise DataError(f"'{archive.where(alone)}' has no caption in '{table}'")
        return list(found.values())

    def _known(self, captions: Sequence[Sequence[Caption]]) -> tuple[tuple[str, ...], list[str]]:
        """The vocabulary, and a note about the words that are not in it. Raises DataError."""
        counts = Counter(word for of_one in captions for each in of_one for word in each.words)
        if isinstance(self.vocabulary, int):
            ordered = sorted(counts, key=lambda word: (-counts[word], word))
            known = (*SPECIAL, *ordered[: self.vocabulary - len(SPECIAL)])
        else:
            known = (*SPECIAL, *self.vocabulary)
        left = sorted(counts.keys() - set(known))
        if left and self.unknown == "error":
            place = next(each.place for of_one in captions for each in of_one if left[0] in each.words)
            why = f"{place}: the {self.by[:-1]} '{left[0]}' is not in the vocabulary"
            if isinstance(self.vocabulary, int):
                why = (
                    f"the captions hold {len(counts)} different {self.by}; expected at most {len(known) - len(SPECIAL)}"
                )
            raise DataError(f"{why}; unknown='{UNKNOWN}' takes others as one")
        return known, [f"different {self.by} that are taken as {UNKNOWN}: {len(left)}"] if left else []

    def _split(self, text: str) -> tuple[str, ...]:
        return split(text, self.by)

    def _is_token(self, word: str) -> bool:
        return word == " " if self.by == "characters" and word.isspace() else self._split(word) == (word,)

    def _tokens(self, caption: Caption, numbers: Mapping[str, int]) -> tuple[int, ...]:
        """The words' numbers and `<end>`, filled with `<pad>`. Raises DataError if there are too many."""
        if len(caption.words) >= self.length and self.longer == "error":
            found = f"{caption.place}: a caption of {len(caption.words)} {self.by} and {END}"
            raise DataError(f"{found}; expected at most {self.length} tokens, as length= declares; or longer='cut'")
        made = [numbers.get(word, numbers[UNKNOWN]) for word in caption.words[: self.length - 1]] + [numbers[END]]
        return (*made, *[numbers[PAD]] * (self.length - len(made)))


Sentence = tuple[int, ...]


class CaptionedSet:
    """The opened form of `Captions`: images and all captions of each."""

    def __init__(self, images: ImageSet, captions: Sequence[Sequence[Sentence]]) -> None:
        self._images, self._captions = images, captions
        everything = {sentence for of_one in captions for sentence in of_one}
        alone = next((i for i, of_one in enumerate(captions) if everything == set(of_one)), None)
        if alone is not None:
            raise DataError(f"every caption is one of '{images.names[alone]}'; expected one that does not belong to it")

    @property
    def skipped(self) -> list[str]:
        """Names of the corrupt images that were passed over so far (with `skip_corrupt`)."""
        return self._images.skipped

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know about the set."""
        return self._images.notes

    @property
    def meanings(self) -> Meanings:
        """The words."""
        return self._images.meanings

    def __len__(self) -> int:
        return len(self._images)

    def verify(self) -> list[str]:
        """Decode every image; one `file: reason` for each that cannot be read."""
        return self._images.verify()

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The images at `indices`, one caption of each, and one of another image that does not belong to it.

        The captions are drawn by a generator of their own, so that none depends on how many images come before it.
        """
        own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
        drawn = self._images.batch(indices, generator)
        chances = torch.rand(len(indices), 3, generator=own, dtype=torch.float64).tolist()
        rows = drawn["row"].tolist()
        pairs = [self._sentences(row, chance) for row, chance in zip(rows, chances, strict=True)]
        captions, others = (torch.tensor(column, dtype=torch.int64) for column in zip(*pairs, strict=True))
        return {"image": drawn["image"], "caption": captions, "mismatch": others}

    def _sentences(self, row: int, chance: Sequence[float]) -> tuple[Sentence, Sentence]:
        """A caption of an image, and one that is not: of the next image, from a drawn one on, that has one."""
        own, count = self._captions[row], len(self._captions)
        start = int(chance[1] * count)
        for step in range(count):
            others = [each for each in self._captions[(start + step) % count] if each not in own]
            if others:
                return own[int(chance[0] * len(own))], others[int(chance[2] * len(others))]
        raise AssertionError("which was refused as the set was opened")


def split(text: str, by: str) -> tuple[str, ...]:
    """The words of a text and its marks of punctuation, or its characters, in small letters."""
    return tuple(_WORD.findall(text.lower())) if by == "words" else tuple(" ".join(text.lower().split()))


def encoded(text: str, field: Field, known: Sequence[str]) -> Tensor:
    """A sentence that is not among the data, as tokens of a field: int64 [length].

    Args:
        field: of a source: how long it is, and whether its tokens are words or characters.
        known: what the numbers stand for, from 0 on, `<end>` and `<pad>` among them.

    Raises:
        DataError: it is empty or too long, or holds a word that is not known; the message names the nearest.
    """
    tokens, (length,), one = split(text, field.text), field.shape, field.text[:-1]
    strange = next((token for token in tokens if token not in known), None)
    if strange is not None:
        near = nearest(strange, [each for each in known if each not in SPECIAL])
        said = f"the text '{text}': the {one} '{strange}' is not in the vocabulary of the run"
        raise DataError(said + (f"; {near}" if near else ""))
    if not 0 < len(tokens) < length:
        raise DataError(f"the text '{text}' has {len(tokens)} {field.text}; expected 1 to {length - 1}")
    numbers = [known.index(token) for token in (*tokens, END, *[PAD] * (length - len(tokens) - 1))]
    return torch.tensor(numbers, dtype=torch.int64)
