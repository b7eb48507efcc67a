"""Where a user's input is wrong, what was found, what was expected, and the nearest fix.

The whole tree:

    GangraphError
    +-- SpecError     a spec is invalid; holds every `Problem` found        exit code 1
    +-- UsageError    a command or an API call was used wrongly             exit code 2
    +-- RunError      a valid spec failed while it ran                      exit code 3
        +-- DataError    a file or folder of data is missing or corrupt
        +-- WeightsError a file of pretrained weights is missing or corrupt
        +-- CheckpointError a checkpoint is missing, damaged, or of something else
            +-- MissingPluginError it needs a plug-in that is not installed, and so do those before it

Beside it, a source refuses an argument with `ArgumentError`, a ValueError that the check puts where it is written.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher, get_close_matches
from typing import Literal, NoReturn

Severity = Literal["error", "warning"]

MOST_PROBLEMS = 50  # that a message shows
WIDEST = 160  # characters of one line that a message shows
# What a terminal obeys instead of showing it: control characters but tab and newline, marks of direction, half pairs.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with what a terminal would obey, or could not encode, as an escape that JSON and YAML read too."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of input and the name that messages call it by."""

    name: str
    content: str = field(repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        before = self.content[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    def line(self, number: int) -> str:
        """Line `number` (from 1) without its line break; empty beyond the end."""
        lines = self.content.split("\n")
        return lines[number - 1].rstrip("\r") if number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `start` to `end` of a text."""

    text: Text
    start: int
    end: int

    @property
    def characters(self) -> str:
        """What stands there."""
        return self.text.content[self.start : self.end]

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.text.position(self.start)[0]

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.text.position(self.start)[1]

    def __str__(self) -> str:
        line, column = self.text.position(self.start)
        return f"{printable(self.text.name)}:{line}:{column}"

    def excerpt(self) -> str:
        """The source line with a caret under the span."""
        line, column = self.text.position(self.start)
        source = _OBEYED.sub("?", self.text.line(line))  # one for one, so that the caret stays in its place
        width = max(1, min(self.end - self.start, len(source.rstrip()) - column + 1))
        cut = max(0, column - WIDEST // 2) if len(source) > WIDEST else 0
        shown, before = source[cut : cut + WIDEST], source[cut : column - 1]
        gutter = f"{line:>5} | "
        indent = "".join("\t" if character == "\t" else " " for character in before)
        return f"{gutter}{shown}\n{' ' * (len(gutter) - 2)}| {indent}{'^' * min(width, WIDEST - len(before))}"


@dataclass(frozen=True, slots=True)
class Edit:
    """A fix that `check --fix` can write: what stands at the span becomes the replacement."""

    span: Span
    replacement: str


class Renaming(str):
    """The proposal to write another name, which is the only one that is near; `written` is the name as it is."""

    __slots__ = ("meant", "written")
    written: str
    meant: str

    @classmethod
    def of(cls, written: str, meant: str) -> "Renaming":
        """The proposal to write `meant` in the place of `written`."""
        said = cls(f"did you mean '{meant}'?")
        said.written, said.meant = written, meant
        return said

    def edit(self, span: Span) -> Edit | None:
        """The renaming at a span, if the name stands there once as a whole word."""
        places = [*re.finditer(rf"(?<!\w){re.escape(self.written)}(?!\w)", span.characters)]
        if len(places) != 1:
            return None
        start = span.start + places[0].start()
        return Edit(Span(span.text, start, start + len(self.written)), self.meant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a spec. `code` is stable and has a section in docs/errors.md.

    `inside` says what met where inside a network, `reason` what a library said, and `called_by` which calls of
    the spec led to a line in the file of a network. `mend` is the fix as an edit, where only one can be meant.
    """

    code: str
    message: str
    span: Span
    found: str = ""
    inside: tuple[str, ...] = ()
    reason: str = ""
    expected: str = ""
    fix: str = ""
    called_by: tuple[str, ...] = ()
    severity: Severity = "error"
    mend: Edit | None = None

    @property
    def edit(self) -> Edit | None:
        """The fix that can be written, if there is one and no other: of a name that is misspelt, the nearest."""
        return self.fix.edit(self.span) if self.mend is None and isinstance(self.fix, Renaming) else self.mend

    def __str__(self) -> str:
        parts = [f"{self.span}: {self.severity} {self.code}: {_shortened(self.message)}", self.span.excerpt()]
        texts = (
            ("found", (self.found,)),
            ("inside", self.inside),
            ("reason", (self.reason,)),
            ("expected", (self.expected,)),
            ("fix", (self.fix,)),
            ("called by", self.called_by),
        )
        for label, lines in texts:
            for index, text in enumerate(filter(None, lines)):
                parts.append(f"    {label + ':' if index == 0 else '':<10} {_shortened(text)}")
        return "\n".join(parts)

    def as_json(self) -> dict[str, str | int | list[str]]:
        """The problem as plain data, for `--json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "file": self.span.text.name,
            "line": self.span.line,
            "column": self.span.column,
            "found": self.found,
            "inside": list(self.inside),
            "reason": self.reason,
            "expected": self.expected,
            "fix": self.fix,
            "called_by": list(self.called_by),
        }


class GangraphError(Exception):
    """Base of every error that a user can cause."""

    exit_code = 3

    def __str__(self) -> str:
        return printable(super().__str__())


class SpecError(GangraphError):
    """A spec, or a part of it, has no meaning.

    `problems` holds everything found, in the order of the text; the message shows the first. There are none where
    they have been told already.
    """

    exit_code = 1

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted_problems(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        more = len(self.problems) - MOST_PROBLEMS
        shown = [str(problem) for problem in self.problems[:MOST_PROBLEMS]]
        return "\n\n".join([*shown, *([f"and {more:,} more problems"] if more > 0 else [])])


def refuse(
    code: str, message: str, span: Span, found: str = "", expected: str = "", fix: str = "", reason: str = ""
) -> NoReturn:
    """Refuse a part of a spec. Raises SpecError with the one problem."""
    problem = Problem(code=code, message=message, span=span, found=found, expected=expected, fix=fix, reason=reason)
    raise SpecError([problem]) from None


def give_up() -> NoReturn:
    """Refuse what depends on something that has been refused already. Raises SpecError without problems."""
    raise SpecError([])


def shown(value: object) -> str:
    """A constant as a spec writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else repr(value)


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    each = list(names)
    return f"{', '.join(each[:-1])} and {each[-1]}" if len(each) > 1 else "".join(each)


class ArgumentError(ValueError):
    """An argument of a source is wrong: its name, what was found, what was expected, and perhaps the nearest fix."""

    def __init__(self, argument: str, found: object, expected: str, fix: str = "") -> None:
        super().__init__(argument, found, expected, fix)
        self.argument, self.expected, self.fix = argument, expected, fix
        self.found = shown(found)

    def __str__(self) -> str:
        return f"{self.argument}: found {self.found}, expected {self.expected}" + (f"; {self.fix}" if self.fix else "")


class UsageError(GangraphError):
    """A command, or a call of the Python interface, was used wrongly."""

    exit_code = 2


class RunError(GangraphError):
    """A valid spec failed while it ran."""


class DataError(RunError):
    """A file or folder of data is missing, empty or corrupt."""


class WeightsError(RunError):
    """A file of pretrained weights is missing or corrupt."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged, or of something else; an older one may be good."""


class MissingPluginError(CheckpointError):
    """A checkpoint needs a plug-in that is not installed. It is not damaged, and an older one would need it as well."""


def sorted_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Without repetitions, sorted by file and position.

    Problems of one kind at one place become one, with the callers of all: members of a family share their text.
    """
    first: dict[tuple[str, Span], Problem] = {}
    callers: dict[tuple[str, Span], tuple[str, ...]] = {}
    for problem in problems:
        place = (problem.code, problem.span)
        first.setdefault(place, problem)
        callers[place] = tuple(dict.fromkeys((*callers.get(place, ()), *problem.called_by)))
    unique = [replace(problem, called_by=callers[place]) for place, problem in first.items()]
    return tuple(sorted(unique, key=lambda p: (p.span.text.name, p.span.start, p.code)))


def _shortened(text: str) -> str:
    """On one line, and no longer than a person reads."""
    line = printable(re.sub(r"\s*\n\s*", " ", text))
    return line if len(line) <= 4 * WIDEST else f"{line[: 4 * WIDEST]} ..."


def called_by(problem: Problem, name: str, call: Span) -> Problem:
    """The problem, and where it stands in another file the call of `name` that led there."""
    if problem.span.text == call.text:
        return problem
    return replace(problem, called_by=(f"{call}  {name}: {call.text.content[call.start : call.end]}",))


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like another, if one is; best of all one of the same letters, in another order."""
    found = get_close_matches(name, list(known), n=5, cutoff=0.6)
    same = (each for each in found if sorted(each) == sorted(name))
    return next(same, found[0] if found else None)


def nearest(name: str, known: Iterable[str], after: str = "") -> str:
    """A sentence that proposes the closest known name, or an empty string if there is none, or none but the same.

    In place of a family it is a member, with what stands `after` the name, such as the arguments of a call.
    """
    known = list(known)
    members = [each for each in known if each.startswith(f"{name}[")]
    if members:
        last = f" to {members[-1]}" if len(members) > 1 else ""
        return f"'{name}' is a family, {members[0]}{last}: write one of them, such as {members[0]}{after}"
    found = closest(name, known)
    if found is None or found == name:
        return ""
    return Renaming.of(name, found) if _stands_out(name, found, known) else f"did you mean '{found}'?"


def _stands_out(name: str, found: str, known: list[str]) -> bool:
    """Whether no other known name is nearly as like `name` as the one that was found."""
    likeness = {each: SequenceMatcher(None, each, name).ratio() for each in {*known}}
    return all(likeness[found] - likeness[each] > 0.1 for each in likeness if each != found)
