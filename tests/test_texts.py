"""Sentences of a user's own in place of those of the data: `gangraph sample RUN --text`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gangraph.cli import main
from gangraph.errors import DataError, UsageError
from gangraph.session.run import run
from gangraph.session.sample import sample
from gangraph.session.singles import sample_files
from tests.support import read
from tests.test_time_and_text import photos

SPEC = """
gangraph: 1
name: told
data: {{pair: '{captions}', z: normal(4)}}
networks:
  G:
    inputs: [z, words]
    parts: {{words: "embedding(20, 6), flatten", image: "linear(48), reshape(3, 4, 4), tanh"}}
    output: image(cat(z, words(words)))
  D: {{inputs: x, layers: "flatten, linear(1)"}}
values: {{fake: "G(z, pair.caption)", same: "G(filled(z, 0), pair.caption)"}}
losses:
  judge: logistic.critic(real=D(pair.image), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  length: 1 steps
  optimizers: {{g: "adam(G, lr=1e-2)", d: "adam(D, lr=1e-2)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
evaluate:
  samples: 4
  grid: {{seen: [pair.image, same], other: "[D(fake), fake]", noise: "[G(z, pair.mismatch), fake]"}}
  samplers:
    text: {{show: [same], samples: 2}}
    walk: {{frames: [same, same], samples: 2}}
    plain: {{show: [pair.image], samples: 2}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("told")
    (root / "photos").mkdir()
    folder = photos(root / "photos")
    captions = f'captions("{folder}", size=4, vocabulary=20, length=8)'
    return run(read(SPEC.format(captions=captions).replace("[D(fake), fake]", "[fake]")), out=root / "run")


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def rows(path: Path, columns: int, count: int) -> list[np.ndarray]:
    """The images of the last column of a picture, by sample, without the lines of 2 pixels between them."""
    pixels = pixels_of(path)
    assert pixels.shape[1] % columns == 0
    column = pixels[24:, -pixels.shape[1] // columns :]
    return [each[:-2] for each in np.split(column[: len(column) // count * count], count)]


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other)


def test_each_sample_gets_its_sentence_and_then_they_begin_again(trained: Path, tmp_path: Path) -> None:
    sentences = ("a red fish", "a blue bird .")
    first, second, third, fourth = rows(
        sample(trained, name="text", sentences=sentences, count=4, out=tmp_path / "p.png"), 1, 4
    )
    assert alike(first, third) and alike(second, fourth) and not alike(first, second)
    swapped = rows(sample(trained, name="text", sentences=sentences[::-1], out=tmp_path / "q.png"), 1, 2)
    assert alike(swapped[1], first) and alike(swapped[0], second)


def test_there_are_as_many_samples_as_sentences(trained: Path, tmp_path: Path) -> None:
    shown = [sample(trained, name="text", sentences=["fish"] * n, out=tmp_path / f"{n}.png") for n in (1, 3)]
    heights = [len(pixels_of(path)) - 22 for path in shown]
    assert heights[1] - heights[0] == pytest.approx(heights[0] / 2, abs=2)


def test_sentences_reach_grids_films_and_single_files(trained: Path, tmp_path: Path) -> None:
    drawn = rows(sample(trained, name="seen", sentences=["a red fish"], out=tmp_path / "seen.png"), 2, 4)
    assert alike(drawn[0], drawn[3])
    assert sample(trained, name="walk", sentences=["a red fish"], out=tmp_path / "walk.gif").is_file()
    for name, batch in (("one", 2), ("other", 3)):
        sample_files(trained, tmp_path / name, name="same", sentences=["fish", "bird"], count=5, batch=batch)
    one, other = ([(tmp_path / name / f"{n:06d}.png").read_bytes() for n in range(5)] for name in ("one", "other"))
    assert one == other and one[0] == one[2] == one[4] != one[1] == one[3]


def test_the_words_are_those_of_the_checkpoint_and_need_no_files(trained: Path, tmp_path: Path) -> None:
    expected = sample(trained, name="text", sentences=["a red fish"], out=tmp_path / "with.png").read_bytes()
    moved = tmp_path / "run"
    shutil.copytree(trained, moved)
    folder, gone = trained.parent / "photos", trained.parent / "gone"
    folder.rename(gone)
    try:
        assert sample(moved, name="text", sentences=["a red fish"], out=tmp_path / "o.png").read_bytes() == expected
    finally:
        gone.rename(folder)


@pytest.mark.parametrize(
    ("name", "sentence", "error", "message"),
    [
        ("text", "a red fisch", DataError, "the word 'fisch' is not in the vocabulary of the run; did you mean 'fish'"),
        ("text", "a a a a a a a a", DataError, "has 8 words; expected 1 to 7"),
        ("plain", "a fish", UsageError, "takes the place of one text, and what is drawn reads none"),
        ("noise", "a fish", UsageError, r"reads 2: pair\.\w+ and pair\.\w+"),
    ],
)
def test_what_cannot_be_told_is_refused(
    trained: Path, tmp_path: Path, name: str, sentence: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sample(trained, name=name, sentences=[sentence], out=tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()


def test_the_command_takes_sentences(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sample", str(trained), "--as", "text", "--text", "a red fish", "--text", "a bird"]
    assert main([*asked, "--out", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").is_file()
    assert main([*asked, "--text", "a brid", "--out", str(tmp_path / "q.png")]) != 0
    assert "did you mean 'bird'" in capsys.readouterr().err
