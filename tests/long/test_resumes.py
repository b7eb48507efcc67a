"""Random specs that are saved in the middle and resumed: every loss, tensor and state is that of the run that went on.

`python -m pytest -m long -s tests/long/test_resumes.py --count 100` tries 100 specs over 20 steps each, from the seed
in `--first` on. Seeds whose spec has an error are passed over, and so are those of which a loss becomes NaN: the
command says how many there were.
"""

from pathlib import Path

import pytest
import torch

from gangraph.errors import SpecError
from tests.random_state import make, require_unforeseen
from tests.resumes import EndedInNaNError, resumed_apart


@pytest.mark.timeout(0)
def test_random_specs_go_on_to_the_bit(tmp_path: Path, count: int | None, first: int) -> None:
    torch.set_num_threads(1)
    failures, tried, ended, seed = list[str](), 0, 0, first
    while tried < (count or 20):
        seed += 1
        try:
            apart = resumed_apart(make(seed), seed, tmp_path / str(seed))
        except SpecError as error:
            require_unforeseen(error)
            continue
        except EndedInNaNError:
            ended += 1
            continue
        except Exception as error:  # whatever a run ends with is one more spec to look at
            apart = (f"{type(error).__name__}: {error}",)
        tried += 1
        if apart:
            failures.append(f"seed {seed}: {', '.join(apart)}")
            print(failures[-1], flush=True)  # noqa: T201  # with -s, it is read
        elif tried % 20 == 0:
            print(f"{tried} tried, and {ended} ended in NaN, up to seed {seed}", flush=True)  # noqa: T201
    print(f"{tried} tried, and {ended} more ended in NaN", flush=True)  # noqa: T201
    assert ended <= tried, f"{ended} of {ended + tried} specs ended in NaN"
    assert not failures, "\n".join(failures)
