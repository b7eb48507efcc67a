"""Plug-ins for tests: layers as they have them, those that keep state told or untold, and modules as if installed."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gangraph.graph.kinds import kinds
from gangraph.language.state_sections import STATE_SECTIONS
from gangraph.registry import Definition, _loaded, optimizers, vocabulary
from gangraph.traits import traits_of
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.update_schedule import SCHEDULE_KEYS


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


def fail(*_: object) -> Any:
    """What a kind of node is asked, answered with an error."""
    raise RuntimeError("not today")


def registered(patch: pytest.MonkeyPatch, name: str, function: Callable[..., Any], **traits: Any) -> None:
    """Register a layer until the test ends."""
    definition = Definition(name, "layer", function, inspect.signature(function), traits_of("layer", name, traits))
    patch.setitem(vocabulary._definitions, name, definition)


def for_every_test(name: str, module: str, text: str) -> Callable[[Path], Iterator[None]]:
    """A fixture of a test file with which a module is as if it were installed."""

    @pytest.fixture(autouse=True)
    def plugin(tmp_path: Path) -> Iterator[None]:
        with installed(name, module, text, tmp_path):
            yield

    return plugin


@contextmanager
def installed(name: str, module: str, text: str, folder: Path) -> Iterator[None]:
    """A module as if it were installed with an entry point of that name. Afterwards what it registered is gone."""
    (folder / f"{module}.py").write_text(text)
    package = folder / f"{module}-0.1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 0.1.0\n")
    (package / "entry_points.txt").write_text(f"[gangraph.plugins]\n{name} = {module}\n")
    names, steppers, forms = set(vocabulary), set(optimizers), set(kinds)
    options, schedule, sections = set(UPDATE_OPTIONS), set(SCHEDULE_KEYS), set(STATE_SECTIONS)
    reserved = set(vocabulary._reserved)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            _loaded.cache_clear()
            yield
    finally:
        for added in set(vocabulary) - names:
            del vocabulary._definitions[added]
        for added in set(optimizers) - steppers:
            del optimizers._definitions[added]
        for added in set(UPDATE_OPTIONS) - options:
            del UPDATE_OPTIONS[added]
        for added in set(SCHEDULE_KEYS) - schedule:
            del SCHEDULE_KEYS[added]
        for added in set(STATE_SECTIONS) - sections:
            del STATE_SECTIONS[added]
        for added in set(kinds) - forms:
            del kinds._records[added]
        vocabulary._reserved.intersection_update(reserved)
        sys.modules.pop(module, None)
        importlib.invalidate_caches()
        _loaded.cache_clear()
