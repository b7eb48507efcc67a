"""The options of an update: its keys that change gradients between the backward pass and the optimizer's step.

Each is one record here, or one of a plug-in: how it is checked, computed, printed and told all follows from it. They
are applied in the order of `UPDATE_OPTIONS`. A record names its function instead of holding it, so that reading a spec
does not import torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from string import Template
from typing import Any, TypeVar

from gangraph.registry import load_plugins

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOption:
    """A key of an update whose value is a number over time, for a function that changes gradients in place.

    In the texts `$value` stands for that number as it is written.
    """

    name: str
    function: str  # the dotted name of `function(parameters, number)`; a parameter without gradient has `grad` None
    about: str  # for editors, in a few words
    sentence: str  # for `explain`
    latex: str  # for `show --as latex`, in text that follows the objective
    caption: str  # for drawings and plans, in a few words
    compared: str  # what `diff` calls it, before "in update ..."
    least: float | None = None  # the smallest number that it takes

    def told(self, template: str, value: str) -> str:
        """One of its texts, with a number in it."""
        return Template(template).substitute(value=value)


@cache
def function_of(option: UpdateOption) -> Callable[..., object]:
    """What an option does: a function of parameters and a number that changes their gradients in place."""
    found: Callable[..., object] = resolve_name(option.function)
    return found


UPDATE_OPTIONS: dict[str, UpdateOption] = {}


def add(option: UpdateOption) -> None:
    """Register an option. Raises ValueError if there is one of that name."""
    if option.name in UPDATE_OPTIONS:
        raise ValueError(f"the option '{option.name}' of updates is already registered")
    UPDATE_OPTIONS[option.name] = option


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
                name=name or function.__name__,
                function=f"{function.__module__}.{function.__qualname__}",
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
    )
)
