"""What a kernel declares: its name, how often it can be differentiated, and what it stands for in a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor


class OrderError(RuntimeError):
    """A kernel was differentiated more often than its order allows."""


@dataclass(frozen=True, slots=True)
class Step:
    """One layer or op of a pattern, by its usual name.

    `numbers` maps its attributes (of a layer: `weight`, `eps`) and arguments (of an op: `negative_slope`) to the
    kernel's parameters. A step that is `optional` may be absent.
    """

    name: str
    numbers: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """A chain of layers and ops that the kernel computes as one, the output of each the first input of the next.

    The first input of the chain is the kernel's first parameter; `given` are its parameters that are always the same.
    """

    steps: tuple[Step, ...]
    given: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A fused operation.

    Args:
        function: the public function; it takes `impl`.
        order: how often its Triton form can be differentiated; its reference has every order.
        patterns: what it stands for, the longest first.
    """

    function: Callable[..., Tensor]
    order: int
    patterns: tuple[Pattern, ...]

    @property
    def name(self) -> str:
        """The public function's name."""
        return self.function.__name__


def differentiable_once(backward: Any, name: str) -> None:
    """Make a registered backward raise when it is differentiated itself, as under a gradient penalty.

    The backward takes the saved tensors as arguments, so this is noticed even if the incoming gradient is a constant.
    """

    def refuse(ctx: Any, *gradients: Tensor | None) -> NoReturn:
        raise OrderError(
            f"{name} was differentiated twice, and its kernel has order 1: under a gradient penalty call it with "
            "impl='reference', which has every order"
        )

    backward.register_autograd(refuse)
