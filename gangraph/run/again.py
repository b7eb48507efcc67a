"""Evaluations of an update's objectives at several points, all of them from one state of its networks."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Again:
    """Repeats the forward pass and the gradients of an update. To be made before the first evaluation.

    Buffers, such as running statistics, change in the first evaluation only. Each further one starts with the buffers
    that the first one started with and leaves those that it left, so that all compute one function of the parameters.
    Histories are mixed in the first evaluation as well; `evaluate` takes what came of it.
    """

    def __init__(self, modules: Iterable[nn.Module], evaluate: Callable[[], Tensor]) -> None:
        self.evaluate = evaluate
        self.buffers = list({id(buffer): buffer for module in modules for buffer in module.buffers()}.values())
        self.before = [buffer.clone() for buffer in self.buffers]

    def __call__(self) -> Tensor:
        """Compute the loss at the present parameters, a number [], and leave its gradient in them."""
        after = [buffer.clone() for buffer in self.buffers]
        self._put(self.before)
        try:
            return self.evaluate()
        finally:
            self._put(after)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """A context in which an error puts the buffers back to what they were before the first evaluation."""
        try:
            yield
        except BaseException:
            self._put(self.before)
            raise

    def _put(self, values: list[Tensor]) -> None:
        for buffer, value in zip(self.buffers, values, strict=True):
            buffer.copy_(value)


class Closure:
    """The closure that an optimizer calls for the loss. Its first call returns the loss of the first evaluation."""

    def __init__(self, again: Again, first: Tensor) -> None:
        self.again, self.first = again, [first]

    def __call__(self) -> Tensor:
        """The loss at the present parameters, a number []; its gradient is left in them."""
        return self.first.pop() if self.first else self.again()


def look_ahead(steps: int, take: Callable[[], None], again: Again, optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Take steps ahead, and leave the gradients of that point in the parameters. What optimizers keep is put back.

    Args:
        steps: how many steps are taken, each from the gradients at the point that the one before it led to.
        take: one step of every group. The caller puts parameters back.
    """
    kept_by = [(optimizer, _state_of(optimizer)) for optimizer in optimizers]
    try:
        for _ in range(steps):
            take()
            again()
    finally:
        for optimizer, state in kept_by:
            optimizer.state.clear()
            optimizer.state.update(state)


def _state_of(optimizer: torch.optim.Optimizer) -> dict[Tensor, Any]:
    """A copy of what an optimizer keeps for each parameter."""
    return {
        parameter: {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}
        for parameter, state in optimizer.state.items()
    }


@contextmanager
def kept(
    parameters: Iterable[nn.Parameter], optimizers: Iterable[torch.optim.Optimizer] = ()
) -> Iterator[Callable[[], None]]:
    """A context with a function that sets parameters back to their present values; an error inside does so, too.

    It then puts back what `optimizers` keep as well, of which their steps change nothing in place.
    """
    states = [(optimizer, dict(optimizer.state)) for optimizer in optimizers]
    pairs = [(parameter, parameter.detach().clone()) for parameter in parameters]

    def back() -> None:
        with torch.no_grad():
            for parameter, value in pairs:
                parameter.copy_(value)

    try:
        yield back
    except BaseException:
        back()
        for optimizer, state in states:
            optimizer.state.clear()
            optimizer.state.update(state)
        raise
