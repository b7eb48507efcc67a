"""`gangraph check --fix`: the fixes that are unique, written into the text of a spec."""

import difflib
import shutil
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from gangraph.errors import Edit, Problem, SpecError, UsageError
from gangraph.language.document.library import find_spec
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve
from gangraph.saved.files import whole

_ROUNDS = 20  # what a fix lets a check find is fixed as well


def fix_spec(source: str, choice: Choice) -> str:
    """Fix what can be fixed in the file of a spec, and give the difference as text; empty if there was nothing.

    Everything else of the text stays as it is, comments and layout included. The file is replaced as a whole.

    Raises:
        UsageError: there is no such spec, it is one that gangraph ships, or its file cannot be written.
    """
    path, before = find_spec(source)
    if path is None or path.resolve().is_relative_to(Path(str(files("gangraph.specs"))).resolve()):
        raise UsageError(
            f"'{source}' ships with gangraph and stays as it is: gangraph new mine --from {source} copies it"
        )
    after = fixed_text(before, str(path), path.parent, choice)
    if after == before:
        return ""
    _write(path.resolve(), after)
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), str(path))
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines).rstrip("\n")


def fixed_text(text: str, name: str, origin: Path | None, choice: Choice) -> str:
    """The text with every unique fix, and with those that show up after these."""
    for _ in range(_ROUNDS):
        edits = [problem.edit for problem in _problems(text, name, origin, choice)]
        changed = _edited(text, name, [edit for edit in edits if edit is not None])
        if changed == text:
            break
        text = changed
    return text


def _edited(text: str, name: str, edits: Iterable[Edit]) -> str:
    """The text after edits of it; of two that overlap the first, since the other is found again."""
    mine = {(edit.span.start, edit.span.end, edit.replacement) for edit in edits if edit.span.text.name == name}
    made, end = "", 0
    for start, stop, replacement in sorted(mine):
        if start >= end:
            made += text[end:start] + replacement
            end = stop
    return made + text[end:]


def _problems(text: str, name: str, origin: Path | None, choice: Choice) -> tuple[Problem, ...]:
    """All that a check finds."""
    from gangraph.pipeline import check_spec

    try:
        spec = resolve(parse_text(text, name=name, origin=origin), choice)
        return tuple(lint for phase in check_spec(spec) for lint in phase.lints)
    except SpecError as error:
        return error.problems


def _write(path: Path, text: str) -> None:
    try:
        if b"\r\n" in path.read_bytes():
            text = text.replace("\n", "\r\n")
        with whole(path) as unfinished:
            unfinished.write_bytes(text.encode())
            shutil.copymode(path, unfinished)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from None
