"""Checkpoints that earlier versions wrote: they are read, and a run goes on from them to the bit.

`tests/checkpoints/write.py` wrote them. Format 1 lacks the digest, the texts of networks' files, and sizes of streams.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gangraph import Trainer, load
from gangraph.errors import CheckpointError, UsageError
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.spec import Spec
from tests.checkpoints.write import PRECISIONS, SAVED, STEPS, digests, rounding

FOLDER = Path(__file__).parent / "checkpoints"
REFUSED = FOLDER / "refused"  # which trained what this version reads otherwise, or not at all
OLD = [f"format_{number}/{name}" for number in (1, 2) for name in PRECISIONS]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_every_stored_checkpoint_is_tried() -> None:
    written = {str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("state.json")}
    assert written == {*OLD, *(f"refused/{name}" for name in ("held", "long_sum", "swapped"))}


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


def refusal(name: str, spec: Spec | None = None) -> str:
    with pytest.raises((CheckpointError, UsageError)) as caught:
        Trainer.resume(REFUSED / name, spec=spec, device="cpu")
    return str(caught.value)


def corrected(name: str, folder: Path, *changes: tuple[str, str]) -> Spec:
    """The spec of a checkpoint with some of its text replaced."""
    text = json.loads((REFUSED / name / "state.json").read_text(encoding="utf-8"))["extra"]["spec"]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "corrected.yaml").write_text(text, encoding="utf-8")
    return load(folder / "corrected.yaml")


def test_a_held_value_of_several_batches_is_refused_and_goes_on_without_them(tmp_path: Path) -> None:
    assert "GG504: the held value is another one each time that update 'd' repeats" in refusal("held")
    assert "if a run may change that: gangraph run SPEC --resume RUN" in refusal("held")
    resumed = Trainer.resume(REFUSED / "held", spec=corrected("held", tmp_path, (", accumulate: 2", "")), device="cpu")
    assert [str(each) for each in resumed.changes] == ["train.step.0.accumulate: 2 -> nothing"]
    assert resumed.step_count == SAVED


def test_numbers_in_the_wrong_order_are_refused_and_so_is_what_would_train_something_else(tmp_path: Path) -> None:
    """Corrected, the loss is another one: a new run has to begin, and no message says that the old one goes on."""
    assert "GG323: 'low' is above 'high', found low 1, high -1; write clamp(fake, -1, 1)" in refusal("swapped")
    assert "if not, gangraph run SPEC begins a new one" in refusal("swapped")
    mended = corrected("swapped", tmp_path, ("fake, 1, -1", "fake, -1, 1"), ("0.5, -0.5", "-0.5, 0.5"))
    said = refusal("swapped", mended)
    assert "values.cut: clamp(fake, 1, -1) -> clamp(fake, -1, 1)" in said
    assert "as it was it goes on" not in said
    assert "nor does it go on as it was: swapped.yaml:7:40: GG323" in said
    assert said.endswith("without --resume a new run begins")


def test_a_long_sum_is_refused_and_goes_on_to_the_bit_when_it_is_written_in_halves(tmp_path: Path) -> None:
    said = refusal("long_sum")
    assert "was written by another version of gangraph, which reads its spec otherwise" in said
    assert "a sum(...) of more than 50 members was added up in halves" in said
    assert "by a spec that trains the same: gangraph run SPEC --resume RUN" in said
    assert refusal("long_sum", corrected("long_sum", tmp_path, ("0.001", "0.002"))) == said
    halves = [
        (f"sum({each} for i in 1..60)", f"(sum({each} for i in 1..30) + sum({each} for i in 31..60))")
        for each in ("m[i]", "mean(fake) * i")
    ]
    resumed = Trainer.resume(REFUSED / "long_sum", spec=corrected("long_sum", tmp_path, *halves), device="cpu")
    unbroken = json.loads((REFUSED / "long_sum" / "unbroken.json").read_text(encoding="utf-8"))
    assert resumed.changes == ()
    losses = [resumed.train(1) for _ in range(STEPS - SAVED)]
    assert losses == [pytest.approx(each, rel=1e-5) for each in unbroken["losses"]]
    if unbroken["rounds as"] != rounding():
        pytest.skip(f"bits are compared where sums are rounded as by {', '.join(unbroken['rounds as'])}")
    assert losses == unbroken["losses"]
    assert digests(resumed) == unbroken["tensors"]
