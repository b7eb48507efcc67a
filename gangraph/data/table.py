"""The source `table`: rows of a CSV or Parquet file, with a declared type for each column."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from gangraph.data.archive import natural
from gangraph.data.arguments import require, require_count, require_one_of, require_stretch, stretch
from gangraph.data.files import existing_file, require_file
from gangraph.data.reading import read_file, readable
from gangraph.data.source import Field, Meanings
from gangraph.data.transform import LOWEST
from gangraph.errors import ArgumentError, DataError, nearest
from gangraph.registry import source

Columns = Mapping[str, Sequence[object]]

_MOST_CLASSES = 1024  # a column with more is one of names, not of classes
_LISTED = 6


@source("table")
@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a CSV or Parquet file, with a declared type for each column that is read.

    Args:
        file: path of the file. A CSV file begins with the names of its columns, in UTF-8; one that ends in .parquet is
            read by the package pyarrow.
        numbers: columns of numbers, each as [name, low, high]: every number lies between the two, or is one of them.
        categories: columns of classes: [name, "first", "second", ...] counts them in this order from 0, and
            [name, 12] says that there are 12, which are found in the file and counted in natural order.
        range: `tanh` and `unit` scale numbers from [low, high] to [-1, 1] and [0, 1], `raw` gives them as they are.
        grouped: one field `numbers` [columns] and one field `categories` [columns] in place of one for each column.
        first, count: take `count` rows, beginning with row `first` after the names; by default all.
        separator: what stands between the columns of a CSV file.
        largest: how much memory the file may take, in MiB.

    Raises:
        ValueError: an argument is wrong.
    """

    file: str = field(kw_only=False)
    numbers: Sequence[Sequence[str | float]] = ()
    categories: Sequence[Sequence[str | int]] = ()
    range: str = "tanh"
    grouped: bool = False
    first: int = 0
    count: int | None = None
    separator: str = ","
    largest: int = 1024
    paths: ClassVar = ("file",)

    def __post_init__(self) -> None:
        require_file("file", self.file)
        require_one_of("range", self.range, (*LOWEST, "raw"))
        require_stretch(self.first, self.count)
        require_count("largest", self.largest)
        require(
            isinstance(self.separator, str) and len(self.separator) == 1, "separator", self.separator, "a character"
        )
        for argument, columns, check in (
            ("numbers", self.numbers, _check_number),
            ("categories", self.categories, _check_category),
        ):
            require(isinstance(columns, list | tuple), argument, columns, "a list of columns, each a list")
            for column in columns:
                check(column)
        names = [str(column[0]) for column in (*self.numbers, *self.categories)]
        require(bool(names), "numbers", [], 'a column at least, such as [["age", 0, 120]]')
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, "categories", twice, "each column once")
        if not self.grouped:
            _require_fields(names)

    @property
    def fields(self) -> Mapping[str, Field]:
        """A field without a shape for each column, or `numbers` and `categories`; classes are int64."""
        numbers = {str(name): self._number(low, high) for name, low, high in self.numbers}  # type: ignore[arg-type]  # checked
        classes = {str(name): _classes(told) for name, *told in self.categories}
        fields = {name: Field((), low, high) for name, (low, high) in numbers.items()}
        fields |= {name: Field((), 0, count - 1, torch.int64) for name, count in classes.items()}
        if not self.grouped:
            return fields
        grouped = {}
        if numbers:
            low, high = min(low for low, _ in numbers.values()), max(high for _, high in numbers.values())
            grouped["numbers"] = Field((len(numbers),), low, high)
        if classes:
            grouped["categories"] = Field((len(classes),), 0, max(classes.values()) - 1, torch.int64)
        return grouped

    @property
    def finds(self) -> tuple[str, ...]:
        """The columns of which the classes are found in the file."""
        return tuple(str(name) for name, *told in self.categories if not isinstance(told[0], str))

    def open(self) -> "RowSet":
        """Read the columns into memory.

        Raises:
            DataError: the file or a column is missing, or a value is missing, not of its column's type, or out of its
                range; the message names row and column.
        """
        rows = _read(self.file, self._names, self.separator, self.largest)
        columns: dict[str, Tensor] = {}
        for name, low, high in self.numbers:
            columns[str(name)] = self._scaled(rows.numbers(str(name), float(low), float(high)), float(low), float(high))
        meanings = {}
        for name, *told in self.categories:
            meanings[str(name)] = known = rows.classes(str(name), told)
            columns[str(name)] = rows.indices(str(name), known)
        chosen = stretch(self.file, len(rows), self.first, self.count)
        taken = {name: values[chosen.start : chosen.stop] for name, values in columns.items()}
        return RowSet(self._grouped(taken) if self.grouped else taken, meanings)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(str(column[0]) for column in (*self.numbers, *self.categories))

    def _number(self, low: float, high: float) -> tuple[float, float]:
        return (low, high) if self.range == "raw" else (LOWEST[self.range], 1.0)

    def _scaled(self, values: Tensor, low: float, high: float) -> Tensor:
        if self.range == "raw":
            return values.float()
        least = LOWEST[self.range]
        return (least + (1 - least) * (values - low) / (high - low)).float()

    def _grouped(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        groups = {"numbers": self.numbers, "categories": self.categories}
        return {
            name: torch.stack([columns[str(column[0])] for column in group], 1)
            for name, group in groups.items()
            if group
        }


@dataclass(frozen=True, slots=True)
class RowSet:
    """The opened form of `Table`: columns in memory, and what the numbers of its classes stand for."""

    columns: Mapping[str, Tensor]
    meanings: Meanings

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Mapping[str, Tensor]:
        """The rows at `indices`; nothing is random here, so `generator` is not used."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        return {name: values[chosen] for name, values in self.columns.items()}


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a file as they stand there, and where messages say that each row is."""

    file: str
    columns: Columns
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, name: str, low: float, high: float) -> Tensor:
        """A column of numbers, float64. Raises DataError."""
        made = [self._as_number(name, row, low, high) for row in range(len(self))]
        return torch.tensor(made, dtype=torch.float64)

    def _as_number(self, name: str, row: int, low: float, high: float) -> float:
        found = self._present(name, row, f"a number from {low:g} to {high:g}")
        try:
            number = float(found)  # type: ignore[arg-type]  # which says so itself if it cannot be
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(found, bool) or not low <= number <= high:
            raise self._wrong(name, row, found, f"a number from {low:g} to {high:g}, as numbers= declares")
        return number

    def classes(self, name: str, told: Sequence[str | int]) -> tuple[str, ...]:
        """The classes of a column in the order of their numbers. Raises DataError."""
        listed = [each for each in told if isinstance(each, str)]
        if listed:
            return tuple(listed)
        expected = "a class"
        found = sorted({self._as_class(name, row, expected) for row in range(len(self))}, key=natural)
        if len(found) != told[0]:
            there = ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
            raise DataError(
                f"column '{name}' of '{self.file}' holds {len(found)} classes: {there}; expected {told[0]}, as "
                "categories= declares"
            )
        return tuple(found)

    def indices(self, name: str, known: Sequence[str]) -> Tensor:
        """The classes of a column as whole numbers, int64. Raises DataError."""
        numbers = {each: index for index, each in enumerate(known)}
        listed = ", ".join(known[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
        found = []
        for row in range(len(self)):
            text = self._as_class(name, row, f"one of {listed}")
            if text not in numbers:
                raise self._wrong(name, row, text, f"one of {listed}, as categories= declares", nearest(text, known))
            found.append(numbers[text])
        return torch.tensor(found, dtype=torch.int64)

    def _as_class(self, name: str, row: int, expected: str) -> str:
        found = self._present(name, row, expected)
        return found.strip() if isinstance(found, str) else str(found)

    def _present(self, name: str, row: int, expected: str) -> object:
        found = self.columns[name][row]
        if found is None or (isinstance(found, str) and not found.strip()):
            raise DataError(f"{self.file}:{self.lines[row]}: column '{name}' has no value; expected {expected}")
        return found

    def _wrong(self, name: str, row: int, found: object, expected: str, fix: str = "") -> DataError:
        shown = readable(str(found))[:60]
        hint = f"; {fix}" if fix else ""
        return DataError(f"{self.file}:{self.lines[row]}: column '{name}' holds '{shown}'; expected {expected}{hint}")


def _read(file: str, names: Sequence[str], separator: str, most: int) -> Rows:
    """The columns of a file. Raises DataError."""
    path = existing_file(file)
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(file, names, read_file(path, most))
        return read_csv(file, names, separator, read_file(path, most))
    except OSError as error:
        raise DataError(f"'{file}' cannot be read: {error}") from error


def read_csv(file: str, names: Sequence[str], separator: str, content: bytes) -> Rows:
    """The columns of a CSV file, which begins with their names. Raises DataError."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True)
        head = [name.strip() for name in next(reader, [])]
        _require_columns(file, names, head)
        columns: dict[str, list[object]] = {name: [] for name in names}
        places = {name: head.index(name) for name in names}
        lines = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(head):
                raise DataError(
                    f"{file}:{reader.line_num}: has {len(row)} columns; expected {len(head)}, as the first line"
                )
            lines.append(reader.line_num)
            for name, place in places.items():
                columns[name].append(row[place])
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' is not a readable CSV file in UTF-8: {error}") from error
    return Rows(file, columns, lines)


def _read_parquet(file: str, names: Sequence[str], content: bytes) -> Rows:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError(f"'{file}' needs the package pyarrow: pip install 'gangraph[parquet]'") from error
    try:
        opened = parquet.ParquetFile(arrow.BufferReader(content))
        _require_columns(file, names, opened.schema_arrow.names)
        columns: dict[str, list[Any]] = opened.read(columns=list(names)).to_pydict()
    except arrow.ArrowException as error:
        raise DataError(f"'{file}' is not a readable Parquet file: {error}") from error
    return Rows(file, columns, range(1, len(columns[names[0]]) + 1))


def _require_columns(file: str, names: Sequence[str], head: Sequence[str]) -> None:
    for name in names:
        if head.count(name) != 1:
            what = "no column" if name not in head else "more than one column"
            there = f"there are {', '.join(map(readable, head))}" if any(head) else "the file is empty"
            hint = nearest(name, head) if name not in head else ""
            raise DataError(f"'{file}' has {what} '{name}'; {there}" + (f"; {hint}" if hint else ""))


def _classes(told: Sequence[str | int]) -> int:
    return told[0] if isinstance(told[0], int) else len(told)


def _check_number(column: object) -> None:
    expected = 'columns such as ["age", 0, 120]: name, least and greatest'
    if not isinstance(column, list | tuple) or len(column) != 3 or not isinstance(column[0], str):
        raise ArgumentError("numbers", column, expected)
    _, low, high = column
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (low, high))
    require(numbers and low < high, "numbers", column, expected)


def _check_category(column: object) -> None:
    expected = 'columns such as ["city", "paris", "rome"] or ["city", 12]: name and classes, or their number'
    if not isinstance(column, list | tuple) or len(column) < 2 or not isinstance(column[0], str):
        raise ArgumentError("categories", column, expected)
    _, *told = column
    if len(told) == 1 and isinstance(told[0], int) and not isinstance(told[0], bool):
        require(2 <= told[0] <= _MOST_CLASSES, "categories", column, f"from 2 to {_MOST_CLASSES} classes")
        return
    texts = all(isinstance(each, str) for each in told)
    fix = "" if texts else f"write {[column[0], *map(str, told)]}".replace("'", '"')
    require(texts and len(told) > 1, "categories", column, expected, fix)
    require(len(set(told)) == len(told), "categories", column, "each class once")


def _require_fields(names: Sequence[str]) -> None:
    """Refuse columns that cannot be named in an expression."""
    for name in names:
        expected = "names of letters, digits and _; or grouped=true, which makes no field of each column"
        require(name.isidentifier() and name.isascii(), "numbers", name, expected)
