"""The file `metrics.jsonl` of a run: one report a line."""

from collections.abc import Callable, Iterator
from io import BufferedReader
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gangraph.errors import RunError
from gangraph.saved.files import opened, parsed_json
from gangraph.saved.strict import Count, Strict, deviation

FILE = "metrics.jsonl"
_LONGEST = 2**24  # bytes of a line

Numbers = dict[str, float | None]  # None where a number was not finite


class Report(Strict, BaseModel):
    """One line: where the training was, and the numbers of that moment; `open` are shares of open gates by group."""

    step: Count
    epoch: float = 0.0
    seen: Count = 0
    losses: Numbers = {}
    images_per_second: float | None = None
    open: Numbers = {}
    metrics: Numbers = {}


def read_reports(path: Path, say: Callable[[str], None]) -> list[tuple[str, dict[str, Any]]]:
    """Every report of a file, in order: its text and its values; none if there is no file.

    A last line that a killed process left half-written is left out, with a word to `say`.

    Raises:
        RunError: the file cannot be read, or another line is no report; the line is named.
    """
    if not path.exists():
        return []
    try:
        with opened(path) as file:
            lines = [*_lines(file)]
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
            values = parsed_json(text)
        except ValueError as error:
            if number == len(lines) and _torn(line, error):
                say(f"'{path}:{number}': left out the last line, which was not written to its end")
                break
            raise _damaged(path, number, _said(error)) from None
        try:
            found.append((text, Report.model_validate(values).model_dump(exclude_unset=True)))
        except ValidationError as error:
            raise _damaged(path, number, deviation(error)) from None
    return found


def _lines(file: BufferedReader) -> Iterator[bytes]:
    """The lines of a file. One that is too long is cut off, and is no JSON then."""
    while line := file.readline(_LONGEST):
        yield line


def _torn(line: bytes, error: ValueError) -> bool:
    """Whether a line was not written to its end: after a crash there may also be other bytes in place of the rest."""
    return not line.endswith(b"\n") or isinstance(error, JSONDecodeError | UnicodeDecodeError)


def _said(error: ValueError) -> str:
    return f"byte {error.start} is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _damaged(path: Path, number: int, why: str) -> RunError:
    return RunError(f"'{path}:{number}' is damaged: {why}; expected a report with its step: remove the line")
