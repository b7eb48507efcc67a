"""Names that definitions cannot have, and how an author is told."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import gangraph.data.sources
import gangraph.vocabulary  # noqa: F401  # what there is already
from gangraph import layer, op, optimizer
from gangraph.errors import UsageError
from gangraph.graph.kinds import Form, NodeKind, kinds
from gangraph.registry import FORMS, _loaded, load_plugins, optimizers, vocabulary
from tests.plugin import installed

KIND = """
from gangraph.graph.kinds import Form, NodeKind, kinds

kinds.add(NodeKind(name="{name}", infer=lambda _, __: None, write=lambda _, __: None, form=Form("{name}()")))
"""
OP = """
from gangraph import op

@op("fine")
def fine(x): return x

@op("{name}")
def named(x): return x
"""


def same(x: float) -> float:
    """An op."""
    return x


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    _loaded.cache_clear()
    yield tmp_path
    _loaded.cache_clear()


def test_forms_are_those_of_the_kinds() -> None:
    assert set(kinds.forms) == FORMS


@pytest.mark.parametrize("name", [*sorted(FORMS), "average", "sum", "trained"])
def test_a_form_of_the_language_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"an op cannot be called '{name}', a form of the language"):
        op(name)(same)
    with pytest.raises(ValueError, match=f"a layer cannot be called '{name}', a form of the language"):
        layer(name)(same)
    assert name not in vocabulary


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="there is already an op called 'abs'"):
        layer("abs")(same)
    with pytest.raises(ValueError, match="there is already a layer called 'linear'"):
        op("linear")(same)
    with pytest.raises(ValueError, match="there is already an optimizer called 'adam'"):
        optimizer("adam")(optimizers["adam"].function)


def test_a_kind_spelled_as_a_call_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="there is already an op called 'mean'"):
        kinds.add(NodeKind(name="mean", infer=lambda _, __: None, write=lambda _, __: None, form=Form("mean(value)")))
    assert "mean" not in kinds


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (KIND, "mean", "there is already an op called 'mean'"),
        (OP, "grad", "an op cannot be called 'grad', a form of the language"),
        (OP, "abs", "there is already an op called 'abs'"),
        (KIND + OP, "mirrored", "an op cannot be called 'mirrored', a form of the language"),
    ],
)
def test_the_plug_in_is_named_as_often_as_it_is_asked_for(folder: Path, text: str, name: str, said: str) -> None:
    with installed("wrong", "gangraph_wrong", text.replace("{name}", name), folder):
        for _ in range(2):
            with pytest.raises(UsageError, match=rf"the plug-in 'wrong' .*ValueError: {re.escape(said)}"):
                load_plugins()


def test_a_plug_in_that_comes_first_is_the_one_that_is_named(folder: Path) -> None:
    script = "from gangraph.registry import load_plugins\ntry: load_plugins()\nexcept Exception as error: print(error)"
    with installed("wrong", "gangraph_wrong", OP.replace("{name}", "abs"), folder):
        path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        said = subprocess.run(
            [sys.executable, "-c", script], env=path, capture_output=True, text=True, check=True
        ).stdout
    assert "the plug-in 'wrong'" in said
    assert "there is already an op called 'abs'" in said


@pytest.mark.parametrize("made", [same, Path, torch.optim.lr_scheduler.StepLR])
def test_what_is_no_optimizer_is_refused(made: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"the optimizer 'steps' is <.*>, expected a subclass of torch.optim.Optimizer"):
        optimizer("steps")(made)
    assert "steps" not in optimizers
