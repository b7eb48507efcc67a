"""The digits that come with scikit-learn."""

import pytest
import torch
from sklearn.datasets import load_digits

from gangraph.data.digits import COUNT, SPLITS, Digits


def test_every_image_is_in_one_split_with_its_own_label() -> None:
    parts = [Digits(split=split, range="unit").open() for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [1257, 270, 270] == [len(SPLITS[s]) for s in ("train", "val", "test")]
    stored = {tuple(image.flatten()): label for image, label in zip(*_stored(), strict=True)}
    assert len(stored) == COUNT
    found = {
        tuple((image * 16).round().int().flatten().tolist()): int(label)
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    }
    assert found == stored


def _stored() -> tuple[list[list[int]], list[int]]:
    data = load_digits()
    return data.images.reshape(COUNT, -1).astype(int), data.target.tolist()


def test_images_have_the_declared_size_and_range() -> None:
    for size in (8, 28):
        source = Digits(size=size)
        field, batch = source.fields["image"], source.open().batch(range(100), torch.Generator())
        assert batch["image"].shape == (100, *field.shape) and batch["image"].dtype == field.dtype
        assert (batch["image"].min(), batch["image"].max()) == (-1, 1) == (field.low, field.high)
        assert batch["label"].dtype == torch.int64 and set(batch["label"].tolist()) == set(range(10))
    large = Digits(size=24).open().batch([3], torch.Generator())["image"]
    small = Digits(size=8).open().batch([3], torch.Generator())["image"]
    assert torch.nn.functional.avg_pool2d(large, 3) == pytest.approx(small, abs=0.5)


def test_three_channels_are_equal() -> None:
    source = Digits(size=16, channels=3)
    images = source.open().batch([5, 6], torch.Generator())["image"]
    assert images.shape == (2, *source.fields["image"].shape) == (2, 3, 16, 16)
    assert torch.equal(images, images[:, :1].expand(-1, 3, -1, -1))


def test_a_seed_chooses_the_splits() -> None:
    first, again, other = (Digits(seed=seed).open().labels for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"split": "tset"}, "did you mean 'test'"), ({"size": 0}, "size: "), ({"range": "raw"}, "tanh")]
)
def test_wrong_arguments_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Digits(**wrong)  # type: ignore[arg-type]


def test_digits_need_not_be_square() -> None:
    source = Digits(size=(12, 20), channels=3)
    assert source.open().batch([0, 1], torch.Generator())["image"].shape == (2, *source.fields["image"].shape)
    assert source.fields["image"].shape == (3, 12, 20)
