"""The photographs that come with scikit-learn, and sources that read one file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from gangraph.data.folders import Classes, Images, Pairs
from gangraph.data.photographs import Photographs
from gangraph.errors import DataError


def opened(source: Photographs | Images, *indices: int) -> Tensor:
    return source.open().batch(indices, torch.Generator())["value"]


def test_pixels_are_those_of_scikit_learn() -> None:
    both = opened(Photographs(size=(427, 640), range="unit"), 0, 1)
    for image, name in zip(both, ("china.jpg", "flower.jpg"), strict=True):
        assert torch.equal(image * 255, torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1).float())


def test_a_name_or_a_list_of_names_chooses() -> None:
    both = opened(Photographs(size=8), 0, 1)
    assert torch.equal(opened(Photographs("flower", size=8), 0), both[1:])
    assert torch.equal(opened(Photographs(["flower", "china"], size=8), 0, 1), both.flip(0))
    assert len(Photographs("china", size=8).open()) == 1 and len(Photographs(size=8).open()) == 2


def test_they_take_the_arguments_of_images_and_have_the_declared_shape() -> None:
    source = Photographs("china", resize=(60, 90), crop=48, channels=1, fit="cover")
    image = opened(source, 0)
    assert image.shape == (1, *source.fields["value"].shape) == (1, 1, 48, 48)
    assert -1 <= image.min() < 0 < image.max() <= 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "chian", "size": 8}, "did you mean 'china'"),
        ({"name": ["china", "china"], "size": 8}, "each name once"),
        ({"name": 3, "size": 8}, "names out of china, flower"),
        ({"name": "china"}, "the side of the images"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Photographs(**wrong)  # type: ignore[arg-type]


def test_absent_photographs_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gangraph.data.photographs.files", lambda _: tmp_path)
    with pytest.raises(DataError, match=r"needs the photographs of the package scikit-learn: .*flower\.jpg"):
        Photographs("flower", size=8).open()


def picture(path: Path, width: int = 8) -> Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (8, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


def test_images_reads_one_file(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "1.PNG")
    picture(tmp_path / "2.png")
    source = Images(str(tmp_path / "1.PNG"), size=8)
    assert len(source.open()) == 1 and list(source.open().names) == [str(tmp_path / "1.PNG")]
    assert torch.equal(opened(source, 0)[0], pixels)


def test_pairs_reads_one_file(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "1.png", width=16)
    pair = Pairs(str(tmp_path / "1.png"), size=8).open().batch([0], torch.Generator())
    assert torch.equal(pair["a"][0], pixels[..., :8]) and torch.equal(pair["b"][0], pixels[..., 8:])


def test_one_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "words.png").write_text("words")
    with pytest.raises(DataError, match=r"notes.txt' is a file; expected a folder, a .zip file or an image"):
        Images(str(tmp_path / "notes.txt"), size=8).open()
    with pytest.raises(DataError, match=r"words.png: not an image"):
        opened(Images(str(tmp_path / "words.png"), size=8), 0)
    with pytest.raises(DataError, match=r"folder '.*3.png' not found; there are notes.txt, words.png"):
        Images(str(tmp_path / "3.png"), size=8).open()


def test_one_file_has_no_class(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        Classes(str(tmp_path / "1.png"), size=8).open()
