"""Checkpoints that earlier versions wrote: they are read, and a run goes on from them to the bit.

`tests/checkpoints/write.py` wrote them. Format 1 lacks the digest, the texts of networks' files, and sizes of streams.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gangraph import Trainer, load
from gangraph.errors import CheckpointError
from gangraph.folder.checkpoint import read_checkpoint
from tests.checkpoints.write import PRECISIONS, SAVED, STEPS, digests, rounding

FOLDER = Path(__file__).parent / "checkpoints"
OLD = [f"format_{number}/{name}" for number in (1, 2) for name in PRECISIONS]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_every_stored_checkpoint_is_tried() -> None:
    assert sorted(str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("state.json")) == sorted(OLD)


@pytest.mark.parametrize("name", OLD)
def test_state_is_taken_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    resumed = Trainer.resume(FOLDER / name, device="cpu")
    assert resumed.step_count == SAVED
    before, after = read_checkpoint(FOLDER / name), read_checkpoint(resumed.save(tmp_path / "again"))
    assert before.tensors.keys() == after.tensors.keys()
    for key, tensor in before.tensors.items():
        assert tensor.dtype == after.tensors[key].dtype
        assert torch.equal(tensor, after.tensors[key]), key
    old, new = (each.state.model_dump(exclude={"digest", "trained"}) for each in (before, after))
    assert old == new


def test_a_limit_that_was_true_goes_on_as_one(tmp_path: Path) -> None:
    """Earlier versions took `clip_grad_norm: true` for 1; it is refused now, with a way out that works."""
    folder = tmp_path / "old"
    shutil.copytree(FOLDER / "format_1/plain", folder)
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    text = state["extra"]["spec"]
    once = text.replace("minimize: judge", "minimize: judge, clip_grad_norm: true", 1)
    state["extra"] |= {"spec": once, "fingerprint": ""}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"write 1, which is what true stood for .*run SPEC --resume RUN"):
        Trainer.resume(folder, device="cpu")
    corrected = tmp_path / "corrected.yaml"
    corrected.write_text(once.replace("norm: true", "norm: 1"), encoding="utf-8")
    assert Trainer.resume(folder, spec=load(corrected), device="cpu").step_count == SAVED


@pytest.mark.parametrize("name", OLD)
def test_run_goes_on_as_if_it_had_not_been_saved(name: str) -> None:
    unbroken = json.loads((FOLDER / name / "unbroken.json").read_text(encoding="utf-8"))
    resumed = Trainer.resume(FOLDER / name, device="cpu")
    losses = [resumed.train(1) for _ in range(STEPS - SAVED)]
    tolerance = 1e-5 if resumed.precision == "fp32" else 1e-12
    assert losses == [pytest.approx(each, rel=tolerance) for each in unbroken["losses"]]
    if unbroken["rounds as"] != rounding():
        pytest.skip(f"bits are compared where sums are rounded as by {', '.join(unbroken['rounds as'])}")
    assert losses == unbroken["losses"]
    assert digests(resumed) == unbroken["tensors"]
