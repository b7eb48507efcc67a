"""One thread a test: the tests run side by side, and sums in one order are the same everywhere."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
torch.backends.cudnn.allow_tf32 = False  # convolutions on CUDA are compared in float32
if not torch.cuda.is_available():  # Triton reads this when it decorates a kernel, so before any of gangraph is imported
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--count", type=int, default=None, help="how many cases a long run takes; by default its own few")
    parser.addoption("--first", type=int, default=0, help="the seed with which a long run begins")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever lies under tests/long is marked `long`."""
    here = Path(__file__).parent / "long"
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.long)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int | None:
    """How many cases a long run was asked to take."""
    asked: int | None = request.config.getoption("--count")
    return asked


@pytest.fixture
def first(request: pytest.FixtureRequest) -> int:
    """The seed of the first case of a long run."""
    seed: int = request.config.getoption("--first")
    return seed
