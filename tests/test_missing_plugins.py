"""A run that needs a plug-in which is not installed here: it is told once, and nothing is called damaged."""

from pathlib import Path

import pytest

import gangraph
from gangraph.errors import MissingPluginError
from gangraph.report.system import load_system
from gangraph.saved.find_checkpoint import first_good
from gangraph.saved.state import FILE, read_state
from tests.plugin import installed
from tests.support import small, trainer

PLUGIN = '''
from torch import Tensor

from gangraph import op


@op("twice")
def twice(x: Tensor) -> Tensor:
    """2 x."""
    return 2 * x
'''
GONE = "it was trained with the plug-in 'doubling' (gangraph-doubling 0.1.0), which is not installed here"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with three checkpoints, whose plug-in is gone afterwards."""
    with installed("doubling", "gangraph_doubling", PLUGIN, tmp_path):
        made = trainer(small(judge="logistic.critic(real=D(x), fake=D(twice(fake)))"))
        for step in (1, 2, 3):
            made.train(steps=1)
            made.save(tmp_path / "run" / "checkpoints" / f"step-{step:08d}")
    return tmp_path / "run"


def resumed(run: Path, said: list[str]) -> gangraph.Trainer:
    """The run, gone on with from its newest checkpoint that is good."""
    return first_good(run, None, lambda checkpoint: gangraph.Trainer.resume(checkpoint, device="cpu"), said.append)


def test_it_is_told_once_of_the_newest_checkpoint(run: Path) -> None:
    said: list[str] = []
    with pytest.raises(MissingPluginError) as caught:
        resumed(run, said)
    newest = run / "checkpoints" / "step-00000003"
    assert (str(caught.value), said) == (f"checkpoint '{newest}' cannot be used: {GONE}", [])


def test_a_damaged_one_is_still_passed_over(run: Path) -> None:
    said: list[str] = []
    (run / "checkpoints" / "step-00000003" / FILE).write_text("{")
    with pytest.raises(MissingPluginError, match="step-00000002' cannot be used: it was trained with the plug-in"):
        resumed(run, said)
    assert [text.partition("; ")[2] for text in said] == ["the one before it is taken"]


def test_a_page_says_so_in_place_of_a_drawing(run: Path) -> None:
    state = read_state(run / "checkpoints" / "step-00000003")
    assert load_system(state.trained, "off") == f"The system cannot be shown: {GONE}."
