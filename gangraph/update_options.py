"""The options of an update: its keys that change gradients between the backward pass and the optimizer's step.

Each is one record here, or one of a plug-in: how it is checked, computed, printed and told all follows from it. They
are applied in the order of `UPDATE_OPTIONS`. The records here name their functions instead of holding them, so that
reading a spec does not import torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from string import Template
from typing import Any, TypeVar

from gangraph.registry import load_plugins

Function = TypeVar("Function", bound=Callable[..., Any])

KEYS = frozenset(
    ("update", "minimize", "maximize", "unroll", "draw", "times", "every", "when", "then", "accumulate", "options")
)  # what updates have beside their options: the fields of `UpdateDocument`


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOption:
    """A key of an update whose value is a number over time, for a function that changes gradients in place.

    In `sentence`, `latex` and `caption`, `$value` stands for that number as it is written.
    """

    name: str
    function: str | Callable[..., Any]  # of parameters and a number, or its name in torch; `grad` may be None
    about: str  # for editors, in a few words
    sentence: str  # for `explain`
    latex: str  # for `show --as latex`, in text that follows the objective
    caption: str  # for drawings and plans, in a few words
    compared: str  # what `diff` calls it, before "in update ..."
    least: float | None = None  # the smallest number that it takes

    @property
    def package(self) -> str:
        """The first part of the name of the module that the function is from."""
        name = self.function if isinstance(self.function, str) else self.function.__module__
        return name.partition(".")[0]

    def told(self, template: str, value: str) -> str:
        """One of its texts, with a number in it."""
        return Template(template).substitute(value=value)


def function_of(option: UpdateOption) -> Callable[..., object]:
    """What an option does: a function of parameters and a number that changes their gradients in place."""
    return _named(option.function) if isinstance(option.function, str) else option.function


@cache
def _named(name: str) -> Callable[..., object]:
    found: Callable[..., object] = resolve_name(name)
    return found


UPDATE_OPTIONS: dict[str, UpdateOption] = {}
_OF_ANY_VALUE = ("about", "compared")  # texts in which no value is filled in


def add(option: UpdateOption) -> None:
    """Register an option.

    Raises:
        ValueError: the name is taken or is no name, or a text is none, or has something to fill in that
            nothing is filled in for.
        TypeError: printed code could not import the function by its module and name.
    """
    name = option.name
    if name in UPDATE_OPTIONS:
        raise ValueError(f"the option '{name}' of updates is already registered")
    if name in KEYS or not name.isidentifier():
        why = "updates have a key of that name" if name in KEYS else "it has to be a name as in Python"
        raise ValueError(f"an option of updates cannot be called '{name}': {why}")
    _verify_texts(option)
    if not isinstance(option.function, str):
        _verify_importable(name, option.function)
    UPDATE_OPTIONS[name] = option


def _verify_texts(option: UpdateOption) -> None:
    """Refuse a text that cannot be printed. Raises ValueError."""
    for key in ("about", "sentence", "latex", "caption", "compared"):
        text = getattr(option, key)
        said = f"'{key}' of the option '{option.name}' of updates is {text!r}"
        if not isinstance(text, str):
            raise ValueError(f"{said}, which is no text")
        if key in _OF_ANY_VALUE:
            if "$value" in text or "${value}" in text:
                raise ValueError(f"{said}, in which nothing is filled in: it is said of the option, whatever its value")
            continue
        try:
            option.told(text, "1")
        except (KeyError, ValueError) as error:
            raise ValueError(f"{said}, in which $value is all that is filled in, and $$ is a dollar") from error


def _verify_importable(name: str, function: Callable[..., Any]) -> None:
    """Refuse a function that no import by its module and name finds, as that of printed code. Raises TypeError."""
    called = getattr(function, "__qualname__", repr(function))
    others = (each.function for each in UPDATE_OPTIONS.values() if not isinstance(each.function, str))
    hidden = any(
        function is not other and (function.__module__, called) == (other.__module__, other.__qualname__)
        for other in others
    )
    if hidden or not called.isidentifier():
        why = "another option's function has its name" if hidden else "it has no name in its module"
        raise TypeError(
            f"the option '{name}' of updates cannot be '{called}': {why}, and printed code imports it by that"
        )


def update_option(
    name: str | None = None,
    *,
    about: str,
    sentence: str,
    latex: str,
    caption: str,
    compared: str,
    least: float | None = None,
) -> Callable[[Function], Function]:
    """Register a function of parameters and a number, which changes their gradients in place, as a key of updates."""

    def register(function: Function) -> Function:
        add(
            UpdateOption(
                name=name or str(getattr(function, "__name__", "")),
                function=function,
                about=about,
                sentence=sentence,
                latex=latex,
                caption=caption,
                compared=compared,
                least=least,
            )
        )
        return function

    return register


def is_option(key: str) -> bool:
    """Whether updates have an option of this name; plug-ins are loaded to know what they add."""
    if key not in UPDATE_OPTIONS:
        load_plugins()
    return key in UPDATE_OPTIONS


add(
    UpdateOption(
        name="clip_grad_value",
        function="torch.nn.utils.clip_grad_value_",
        about="each entry of the gradient is limited to this in either direction",
        sentence="Each entry of the gradient is limited to $value.",
        latex=r"\text{each entry of the gradient is limited to } \pm $value",
        caption="each gradient within ±$value",
        compared="the limit on the gradient",
        least=0,
    )
)
add(
    UpdateOption(
        name="clip_grad_norm",
        function="torch.nn.utils.clip_grad_norm_",
        about="the gradient of each group is scaled down to this norm where it is longer",
        sentence="The gradient is scaled down to a norm of $value where it is longer.",
        latex=r"\text{the gradient is scaled to a norm of at most } $value",
        caption="gradient norm at most $value",
        compared="the limit on the norm of the gradient",
        least=0,
    )
)
