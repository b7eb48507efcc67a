"""Layers as plug-ins have them, for tests: those that keep state, told or untold."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gangraph.registry import Definition, vocabulary


class Counting(nn.Module):
    """Divide by the number of calls so far, which it keeps in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def reset_parameters(self) -> None:
        """No call."""
        self.calls.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if self.training:
            self.calls += 1
        return x / (1 + self.calls.clone())


class CountingInSecret(nn.Module):
    """The same with a number that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        self.calls += 1
        return x / (1 + self.calls)


class Shrinking(nn.Module):
    """A parameter that every call makes smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        with torch.no_grad():
            self.gain *= 0.9
        return x * self.gain.clone()


class Masking(nn.Module):
    """Multiply by a constant that it keeps in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * self.mask


def registered(patch: pytest.MonkeyPatch, name: str, function: Callable[..., Any], **traits: Any) -> None:
    """Register a layer until the test ends."""
    patch.setitem(
        vocabulary._definitions, name, Definition(name, "layer", function, inspect.signature(function), traits)
    )
