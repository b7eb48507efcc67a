"""The options of an update: its keys that change gradients between the backward pass and the optimizer's step.

Each is one record here, or one of a plug-in: how it is checked, computed, printed and told all follows from it. They
are applied in the order of `UPDATE_OPTIONS`. The records here name their functions instead of holding them, so that
reading a spec does not import torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import Any, Unpack

from gangraph.update_keys import Function, Said, UpdateKey, add_table, registering, verify_record


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOption(UpdateKey):
    """A key of an update whose value is a number over time, for a function that changes gradients in place.

    What `diff` calls it stands before "in update ...".
    """

    function: str | Callable[..., Any]  # of parameters and a number, or its name in torch; `grad` may be None


def function_of(option: UpdateOption) -> Callable[..., object]:
    """What an option does: a function of parameters and a number that changes their gradients in place."""
    return _named(option.function) if isinstance(option.function, str) else option.function


@cache
def _named(name: str) -> Callable[..., object]:
    found: Callable[..., object] = resolve_name(name)
    return found


UPDATE_OPTIONS: dict[str, UpdateOption] = {}
add_table(UPDATE_OPTIONS)


def add_option(option: UpdateOption) -> None:
    """Register an option.

    Raises:
        ValueError: the name is taken or is no name, or a text is none, or has something to fill in that
            nothing is filled in for.
        TypeError: printed code could not import the function by its module and name.
    """
    verify_record(option, "option", ("sentence", "latex", "caption"))
    UPDATE_OPTIONS[option.name] = option


def update_option(name: str | None = None, **said: Unpack[Said]) -> Callable[[Function], Function]:
    """Register a function of parameters and a number, which changes their gradients in place, as a key of updates."""
    return registering(name, lambda chosen, function: add_option(UpdateOption(name=chosen, function=function, **said)))


add_option(
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
add_option(
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
