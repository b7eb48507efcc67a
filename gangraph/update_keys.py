"""What the keys of an update have in common that are one record each, here or in a plug-in.

There are two kinds: those that say when and how often an update runs (`gangraph.update_schedule`), and those that
change gradients before the optimizer steps (`gangraph.update_options`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import Template
from typing import Any, Literal, NotRequired, TypedDict, TypeVar

from gangraph.registry import load_plugins

Function = TypeVar("Function", bound=Callable[..., Any])

KEYS = frozenset(
    ("update", "minimize", "maximize", "unroll", "draw", "then", "schedule", "options")
)  # what updates have beside their records: the fields of `UpdateDocument`


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKey:
    """A key of an update whose value is a number or a condition, and everything that is said of it.

    In the texts `$value` stands for the value as it is written, but not in `about` and `compared`, said of any value.
    """

    name: str
    about: str  # for editors, in a few words
    sentence: str  # for `explain`
    latex: str  # for `show --as latex`, in text that follows the objective
    caption: str  # for drawings and plans, in a few words
    compared: str  # what `diff` calls it
    least: float | None = None  # the smallest number that it takes
    function: str | Callable[..., Any] | None = None  # what it does, or the name of that

    @property
    def package(self) -> str:
        """The first part of the name of the module that the function is from."""
        name = self.function if isinstance(self.function, str) else getattr(self.function, "__module__", "gangraph")
        return name.partition(".")[0]

    def told(self, template: str, value: str) -> str:
        """One of its texts, with what is written in it."""
        return Template(template).substitute(value=value)


class Said(TypedDict):
    """What a decorator that registers a key takes: the fields of an `UpdateKey`."""

    about: str
    sentence: str
    latex: str
    caption: str
    compared: str
    least: NotRequired[float | None]


def registering(name: str | None, add: Callable[[str, Function], None]) -> Callable[[Function], Function]:
    """A decorator that adds a function under a name, which is its own if there is none."""

    def register(function: Function) -> Function:
        add(name or str(getattr(function, "__name__", "")), function)
        return function

    return register


_OF_ANY_VALUE = ("about", "compared")  # texts in which no value is filled in
_TABLES: list[Mapping[str, UpdateKey]] = []


def add_table(records: Mapping[str, UpdateKey]) -> None:
    """Make a table of records known, so that no name is in two of them."""
    _TABLES.append(records)


def verify_record(record: UpdateKey, what: Literal["option", "key"], texts: Iterable[str]) -> None:
    """Refuse a record that could not be written, told or printed; `texts` are its fields with a `$value`.

    Raises:
        ValueError: the name is taken or is no name, or a text has something to fill in that nothing is filled in for.
        TypeError: printed code could not import the function by its module and name.
    """
    name, said = record.name, f"the {what} '{record.name}' of updates"
    if any(name in records for records in _TABLES):
        raise ValueError(f"{said} is already registered")
    if name in KEYS or not name.isidentifier():
        why = "updates have a key of that name" if name in KEYS else "it has to be a name as in Python"
        raise ValueError(f"{'an' if what == 'option' else 'a'} {what} of updates cannot be called '{name}': {why}")
    for key in texts:
        _verify_text(record, key, said)
    for key in _OF_ANY_VALUE:
        _verify_plain(getattr(record, key), key, said)
    if callable(record.function):
        _verify_importable(record.function, what, said)


def _verify_text(record: UpdateKey, key: str, said: str) -> None:
    """Refuse a text that cannot be printed. Raises ValueError."""
    text = getattr(record, key)
    try:
        record.told(text, "1")
    except (KeyError, TypeError, ValueError) as error:
        filled = "in which $value is all that is filled in, and $$ is a dollar"
        raise ValueError(f"'{key}' of {said} is {text!r}, {filled}") from error


def _verify_plain(text: object, key: str, said: str) -> None:
    """Refuse a text with a value in it where none is filled in. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"'{key}' of {said} is {text!r}, expected a text")
    if "$value" in text or "${value}" in text:
        why = "a text about any value, in which nothing is filled in"
        raise ValueError(f"'{key}' of {said} is {text!r}, expected {why}")


def _verify_importable(function: Callable[..., Any], what: str, said: str) -> None:
    """Refuse a function that no import by its module and name finds, as that of printed code. Raises TypeError."""
    called = getattr(function, "__qualname__", repr(function))
    others = (each.function for records in _TABLES for each in records.values() if callable(each.function))
    hidden = any(
        function is not other and (function.__module__, called) == (other.__module__, other.__qualname__)
        for other in others
    )
    if hidden or not called.isidentifier():
        why = f"another {what}'s function has its name" if hidden else "it has no name in its module"
        raise TypeError(f"{said} cannot be '{called}': {why}, and printed code imports it by that")


def is_in(records: Mapping[str, object], key: str) -> bool:
    """Whether a table has a record of this name; plug-ins are loaded to know what they add."""
    if key not in records:
        load_plugins()
    return key in records
