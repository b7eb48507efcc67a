"""Samples as files of their own, which tools that measure a generator read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gangraph import Trainer
from gangraph.cli import main
from gangraph.errors import RunError, UsageError
from gangraph.evaluate.evaluation import BoundEvaluation
from gangraph.session.run import run
from gangraph.session.singles import sample_files
from tests.support import read

SPEC = """
gangraph: 1
name: singles
data: {x: world(size=8), z: normal(4)}
networks:
  G: {inputs: z, layers: "linear(192), reshape(3, 8, 8), tanh"}
  L: {inputs: z, layers: "linear(320), reshape(5, 8, 8)"}
  D: {inputs: x, layers: "flatten, linear(1)"}
values: {fake: G(z)}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake)) + mean(L(z))
train:
  batch: 4
  length: 1 steps
  optimizers: {g: "adam([G, L])", d: adam(D)}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
evaluate:
  samples: 6
  grid:
    seen: [x, fake]
    several: "[fake, G(lerp(z, -1 * z, 0.25)), 0.5 * fake + 0.5]"
    loose: [L(z)]
    scores: [D(fake)]
  samplers: {walk: {frames: "[G(lerp(z, -1 * z, k / 2)) for k in 0..2]", samples: 2}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(read(SPEC), out=tmp_path_factory.mktemp("singles") / "run", device="cpu")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_each_sample_is_a_file_and_data_is_left_out(finished: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert sample_files(finished, tmp_path / "out", count=10, say=said.append) == 10
    assert files(tmp_path / "out") == [f"{number:06d}.png" for number in range(10)]
    assert said == ["left out, since no network makes it: x"]
    look = Trainer.resume(finished, device="cpu").evaluate()
    assert look is not None
    expected = ((look.grids["seen"]["fake"] + 1) / 2 * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert all(np.array_equal(pixels(tmp_path / "out" / f"{k:06d}.png"), expected[k]) for k in range(6))


def test_a_sample_depends_on_seed_and_batch_and_not_on_how_many_there_are(finished: Path, tmp_path: Path) -> None:
    for name, how in (("few", {"count": 7}), ("many", {"count": 12}), ("other", {"count": 7, "seed": 3})):
        sample_files(finished, tmp_path / name, batch=5, say=lambda _: None, **how)
    last = [pixels(tmp_path / name / "000006.png") for name in ("few", "many", "other")]
    assert np.array_equal(last[0], last[1]) and not np.array_equal(last[0], last[2])


def test_several_columns_get_a_folder_each(finished: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert sample_files(finished, tmp_path / "out", name="several", count=2, say=said.append) == 6
    assert files(tmp_path / "out") == [
        f"{name}/{number}.png" for name in ("fake", "several-2", "several-3") for number in ("000000", "000001")
    ]
    assert said == ["several-2: G(lerp(z, -1 * z, 0.25))", "several-3: 0.5 * fake + 0.5"]
    fake, unit = (pixels(tmp_path / "out" / name / "000000.png").astype(int) for name in ("fake", "several-3"))
    assert np.abs(fake - unit).max() <= 1  # in [-1, 1] and in [0, 1] the same colours
    assert sample_files(finished, tmp_path / "frames", name="walk", say=said.append) == 6


def test_one_column_is_chosen_by_its_name_and_data_too(finished: Path, tmp_path: Path) -> None:
    assert sample_files(finished, tmp_path / "out", name="x", count=3, say=lambda _: None) == 3
    with pytest.raises(
        UsageError, match=r"there is no grid, sampler or column 'fakes': one of .*; did you mean 'fake'"
    ):
        sample_files(finished, tmp_path / "other", name="fakes")


def test_memory_holds_one_batch_however_many_samples_there_are(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    batch = BoundEvaluation.batch

    def counted(self: BoundEvaluation, *given: object) -> dict[str, torch.Tensor]:
        made = batch(self, *given)  # type: ignore[arg-type]  # passed on
        drawn.extend(len(value) for value in made.values())
        return made

    monkeypatch.setattr(BoundEvaluation, "batch", counted)
    assert sample_files(finished, tmp_path / "out", count=50, batch=20, say=lambda _: None) == 50
    assert drawn == [20, 20, 20]


def test_what_has_no_range_or_is_no_image_is_not_written_as_if_it_were(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the range of L\(z\) is not known: .*--range"):
        sample_files(finished, tmp_path / "loose", name="loose")
    said: list[str] = []
    sample_files(finished, tmp_path / "given", name="loose", interval=(-0.1, 0.1), count=2, say=said.append)
    assert said[0] == "L(z): channels 1-3 of 5" and "lie outside of [-0.1, 0.1] and were clipped" in said[1]
    with pytest.raises(UsageError, match=r"the range of D\(fake\) is not known"):
        sample_files(finished, tmp_path / "scores", name="scores")
    with pytest.raises(RunError, match=r"D\(fake\) is no image, but \[1\] for each sample"):
        sample_files(finished, tmp_path / "more", name="scores", interval=(-1.0, 1.0))


def test_a_folder_that_holds_something_is_left_alone(finished: Path, tmp_path: Path) -> None:
    sample_files(finished, tmp_path / "out", count=2, say=lambda _: None)
    with pytest.raises(UsageError, match=r"is not empty: choose a new folder"):
        sample_files(finished, tmp_path / "out", count=1)
    assert len(files(tmp_path / "out")) == 2


def test_a_folder_is_what_ends_with_a_slash_and_a_grid_stays_the_default(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(finished), "--count", "3", "--out", f"{tmp_path}/out/"]) == 0
    assert capsys.readouterr().out.endswith(f"wrote 3 files to {tmp_path}/out\n")
    assert main(["sample", str(finished), "--out", f"{tmp_path}/grid.png"]) == 0
    assert pixels(tmp_path / "grid.png").shape[0] == 22 + 6 * 98 + 2
    assert main(["sample", str(finished), "--out", f"{tmp_path}/new"]) == 2
    assert "for a file of each sample end it with /" in capsys.readouterr().err
    assert main(["sample", str(finished), "--batch", "3"]) == 2
    assert "--batch and --range are for single files: give --out DIR/" in capsys.readouterr().err


FIXED = """
gangraph: 1
name: fixed_singles
data: {x: "fixed(world(size=8, count=3))", z: "fixed(normal(4))", y: normal(4)}
state: {k: {start: "ones(3, 4)", next: k}}
networks:
  G: {inputs: z, layers: "linear(192), reshape(3, 8, 8), tanh"}
  N: {inputs: z, layers: "linear(192), gaussian_noise(0.1), reshape(3, 8, 8), tanh"}
  T: {inputs: x, layers: "conv2d(3, 1), tanh"}
losses: {near: "l2(G(z), x) + l2(N(z), x) + mean(T(x)) + mean(G(y))"}
train:
  batch: 4
  length: 1 steps
  optimizers: {g: "adam([G, N, T])"}
  step: [{update: g, minimize: near}]
evaluate:
  samples: 4
  mode: train
  grid: {codes: [G(z)], photos: [T(x)], noisy: [N(z)], anew: [G(y)], state: [G(k)]}
"""


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(read(FIXED), out=tmp_path_factory.mktemp("fixed") / "run", device="cpu")


@pytest.mark.parametrize(("name", "there"), [("codes", 4), ("photos", 3)])
def test_no_sample_is_written_twice_where_all_is_fixed(name: str, there: int, fixed: Path, tmp_path: Path) -> None:
    expected = rf"there are no 16 samples: .* made from [xz], fixed; --count {there} writes them all"
    with pytest.raises(UsageError, match=expected):
        sample_files(fixed, tmp_path / "out", name=name, count=16)
    assert not (tmp_path / "out").exists()
    said: list[str] = []
    assert sample_files(fixed, tmp_path / "out", name=name, say=said.append) == there
    assert bool(said) == (there < 4)  # of those that are drawn where nobody asks for a number
    assert len({path.read_bytes() for path in (tmp_path / "out").iterdir()}) == there


def test_a_network_on_a_state_has_as_many_samples_as_the_state_has_rows(fixed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"there are no 4 samples: .*, made without .* drawn; --count 3 writes them all$"
    ):
        sample_files(fixed, tmp_path / "out", name="state", count=4)
    assert sample_files(fixed, tmp_path / "out", name="state") == 3
    assert len([*(tmp_path / "out").iterdir()]) == 3


@pytest.mark.parametrize(("name", "larger"), [("codes", True), ("photos", False), ("state", False)])
def test_a_larger_batch_is_advised_where_it_has_more_samples(
    name: str, larger: bool, fixed: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        sample_files(fixed, tmp_path / "out", name=name, count=5, batch=2)
    assert ("--batch 5 draws as many at once" in str(caught.value)) == larger


def test_a_larger_batch_of_fixed_numbers_has_more_samples(fixed: Path, tmp_path: Path) -> None:
    assert sample_files(fixed, tmp_path / "out", name="codes", count=16, batch=16) == 16
    assert len({path.read_bytes() for path in (tmp_path / "out").iterdir()}) == 16


@pytest.mark.parametrize("name", ["noisy", "anew"])
def test_what_is_drawn_anew_has_no_end(name: str, fixed: Path, tmp_path: Path) -> None:
    assert sample_files(fixed, tmp_path / "out", name=name, count=10) == 10
    assert len({path.read_bytes() for path in (tmp_path / "out").iterdir()}) == 10
