"""Sources of files: what they declare, read, and say when something is wrong. No data set is needed."""

import gzip
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gangraph.data.arrays import Npz
from gangraph.data.counting import samples_here
from gangraph.data.digits import Digits
from gangraph.data.fixed import fixed
from gangraph.data.folders import Classes, Images, Pairs
from gangraph.data.idx import Idx
from gangraph.data.random import RandomSource, normal
from gangraph.data.source import Dataset, Field, Source, innermost, missing_places, notes, places
from gangraph.data.torchvision_sets import Torchvision
from gangraph.errors import ArgumentError, DataError
from gangraph.registry import vocabulary
from tests.data import files

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data sets in {SHARED}")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(seed: int, width: int = 8, height: int = 8) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()


def fill(folder: Path, *names: str, width: int = 8, height: int = 8) -> str:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(noise(seed, width, height)))
    return str(folder)


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


# Reading images


def test_images_are_read_in_natural_order(tmp_path: Path) -> None:
    folder = fill(tmp_path, "10.png", "9.png", "deep/1.png")
    batch = Images(folder, size=8).open().batch([0, 1, 2], seeded())
    assert torch.equal(batch["value"], torch.stack([pixels(noise(seed)) for seed in (1, 0, 2)]))


def test_a_folder_inside_a_zip_reads_like_a_folder(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.writestr("trainA/1.png", png(noise(1)))
        archive.writestr("trainB/1.png", png(noise(2)))
        archive.writestr("__MACOSX/trainB/1.png", b"")
    opened = Images(f"{tmp_path}/both.zip/trainB", size=8).open()
    assert torch.equal(opened.batch([0], seeded())["value"][0], pixels(noise(2)))
    assert len(Images(f"{tmp_path}/both.zip", size=8).open()) == 2


@pytest.mark.parametrize("values", ["tanh", "unit"])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_have_the_declared_shape_and_range(tmp_path: Path, values: str, channels: int) -> None:
    source = Images(fill(tmp_path, "1.png"), resize=12, crop=6, channels=channels, range=values)  # type: ignore[arg-type]
    (field,) = source.fields.values()
    value = source.open().batch([0, 0], seeded())["value"]
    assert value.shape == (2, *field.shape) == (2, channels, 6, 6)
    assert value.dtype == field.dtype
    assert field.low <= value.min()
    assert value.min() < (field.low + field.high) / 2 < value.max() <= field.high


def test_a_missing_folder_is_named_with_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path, "trainA/1.png", "trainB/1.png", "testA/1.png", "testB/1.png")
    with pytest.raises(DataError) as caught:
        Images(f"{tmp_path}/trainC", size=8).open()
    expected = f"folder '{tmp_path}/trainC' not found; there are testA, testB, trainA, trainB; did you mean '"
    assert str(caught.value).startswith(expected)


def test_a_missing_folder_in_a_zip_is_named_with_what_is_there(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("train/cat/1.png", png(noise(1)))
        archive.writestr("test/cat/1.png", png(noise(1)))
    place = f"{tmp_path}/x.zip"
    with pytest.raises(DataError, match=f"folder '{place}/train/dog' not found; there are cat"):
        Images(f"{place}/train/dog", size=8).open()
    with pytest.raises(DataError, match=f"because there is no '{place}/valid'; there are test, train"):
        Images(f"{place}/valid/dog", size=8).open()


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"no images in '.*'; there are notes.txt; expected files ending in .png"):
        Images(str(tmp_path), size=8).open()


def test_links_to_folders_are_followed_and_links_back_lead_nowhere(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "1.png", "deep/2.png")
    photos = tmp_path / "photos"
    fill(photos, "0.png")
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "loop").symlink_to(photos)
    opened = Images(str(photos), size=8).open()
    assert [name.removeprefix(f"{photos}/") for name in opened.names] == ["0.png", "linked/1.png", "linked/deep/2.png"]
    assert opened.notes == (f"'{photos}/loop' is a link to a folder above it, and is not followed",)
    (photos / "again").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"'.*/again' and '.*/linked' are one folder, by a link; its files would count"):
        Images(str(photos), size=8).open()


def test_what_is_not_read_is_told_and_hidden_files_are_not(tmp_path: Path) -> None:
    fill(tmp_path, "1.PNG", ".hidden.png", "__MACOSX/1.png", ".folder/1.png")
    for name in ("notes.txt", "photo", "2.avif", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    opened = Images(str(tmp_path), size=8).open()
    assert len(opened) == 1
    those = "2.avif, notes.txt, photo"
    assert opened.notes == (f"3 files are not read in '{tmp_path}', without the suffix of an image: {those}",)


def zipped(path: Path, *names: str) -> str:
    with warnings.catch_warnings(action="ignore"), ZipFile(path, "w") as archive:  # of a name that occurs twice
        for seed, name in enumerate(names):
            archive.writestr(name, png(noise(seed)) if not name.endswith("/") else b"")
    return str(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.png", "a/1.png"), "holds 'a/1.png', 2 times; expected each name once"),
        (("a/1.png", "./a//1.png"), "holds 'a/1.png', 2 times; expected each name once"),
        (("a/1.png", "A/1.PNG"), "holds 'a/1.png' and 'A/1.PNG', which differ in case only"),
        (("1.png", "a/../../1.png"), "holds 'a/../../1.png', a path that leads out of it"),
    ],
)
def test_a_name_that_a_zip_holds_twice_or_that_leads_out_is_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Images(zipped(tmp_path / "x.zip", *names), size=8).open()


def test_a_zip_with_plain_names_reads_like_a_folder_whatever_they_begin_with(tmp_path: Path) -> None:
    opened = Images(zipped(tmp_path / "x.zip", "./b/1.png", "/a/1.png", "inner.zip"), size=8).open()
    assert [name.rpartition(".zip/")[2] for name in opened.names] == ["a/1.png", "b/1.png"]
    assert opened.notes[0].endswith("without the suffix of an image: inner.zip")


def test_numbers_in_names_are_sorted_by_value_and_no_two_names_are_equal(tmp_path: Path) -> None:
    names = ["10.png", "9.png", "09.png", "1" * 5000 + ".png", "a2.png", "a10.png"]
    opened = Images(zipped(tmp_path / "x.zip", *names), size=8).open()
    order = [name.rpartition("/")[2].replace("1" * 400, "1") for name in opened.names]
    assert [*order[:3], *order[4:]] == ["09.png", "9.png", "10.png", "a2.png", "a10.png"]
    assert "..." in order[3]  # messages show a part of so long a name


# Crop and flip


def test_flip_mirrors_about_half_of_the_images(tmp_path: Path) -> None:
    value = Images(fill(tmp_path, "1.png"), size=8, flip=True).open().batch([0] * 100, seeded())["value"]
    mirrored = [torch.equal(image, pixels(noise(0)).flip(-1)) for image in value]
    assert 30 < sum(mirrored) < 70
    assert all(m or torch.equal(image, pixels(noise(0))) for m, image in zip(mirrored, value, strict=True))


def test_without_augmentation_the_crop_is_the_centre(tmp_path: Path) -> None:
    source = Images(fill(tmp_path, "1.png"), crop=4, flip=True, augment=False)
    assert torch.equal(source.open().batch([0], seeded())["value"][0], pixels(noise(0))[:, 2:6, 2:6])


def test_random_crops_reach_every_place_and_depend_on_the_generator_alone(tmp_path: Path) -> None:
    opened = Images(fill(tmp_path, "1.png"), crop=6).open()
    first, again = (opened.batch([0] * 100, seeded(1))["value"] for _ in range(2))
    assert torch.equal(first, again)
    assert len({image.numpy().tobytes() for image in first}) == 9


def test_cover_keeps_the_aspect_ratio(tmp_path: Path) -> None:
    folder = fill(tmp_path, "1.png", width=12, height=8)
    value = Images(folder, size=8, fit="cover").open().batch([0], seeded())["value"][0]
    assert torch.equal(value, pixels(noise(0, 12, 8))[:, :, 2:10])


# Pairs and classes


@pytest.mark.parametrize(("direction", "left", "right"), [("AtoB", "a", "b"), ("BtoA", "b", "a")])
def test_side_by_side_pairs_are_split(tmp_path: Path, direction: str, left: str, right: str) -> None:
    folder = fill(tmp_path, "1.png", width=16)
    batch = Pairs(folder, size=8, direction=direction).open().batch([0], seeded())  # type: ignore[arg-type]
    whole = torch.cat([batch[left][0], batch[right][0]], dim=-1)
    assert torch.equal(whole, pixels(noise(0, 16)))


def test_both_images_of_a_pair_get_the_same_crop_and_flip(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", "1.png", "2.png"), fill(tmp_path / "b", "1.png", "2.png")
    source = Pairs(a=a, b=b, resize=12, crop=6, flip=True)
    batch = source.open().batch([0, 1] * 10, seeded())
    assert torch.equal(batch["a"], batch["b"])
    assert len({image.numpy().tobytes() for image in batch["a"]}) > 10


def test_an_image_without_partner_is_named(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", "1.png", "2.png"), fill(tmp_path / "b", "1.png")
    with pytest.raises(DataError, match=r"no partner for .*/a/2.png; expected the same file names"):
        Pairs(a=a, b=b, size=8).open()


def test_aligned_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", "1.png"), fill(tmp_path / "b", "1.png", width=10)
    with pytest.raises(DataError, match=r"differ in size \(a is 8x8, b is 10x8\); give resize="):
        Pairs(a=a, b=b, crop=4).open().batch([0], seeded())


def test_labels_count_class_folders_in_natural_order(tmp_path: Path) -> None:
    opened = Classes(fill(tmp_path, "c10/1.png", "c2/1.png", "c2/2.png"), size=8, classes=2).open()
    assert opened.batch([0, 1, 2], seeded())["label"].tolist() == [0, 0, 1]


def test_one_folder_too_high_proposes_the_folder_below(tmp_path: Path) -> None:
    folder = fill(tmp_path, "train/cat/1.png")
    with pytest.raises(DataError, match=r"not directly inside a class folder.*did you mean '.*/train'\?"):
        Classes(folder, size=8).open()


def test_a_wrong_number_of_classes_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path, "cat/1.png", "dog/1.png")
    with pytest.raises(DataError, match=r"found 2 class folders in .*: cat, dog; expected classes=10"):
        Classes(folder, size=8, classes=10).open()


def test_two_images_of_one_stem_are_two_images_but_no_two_partners(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", "1.png", "2.png", "2.PNG"), fill(tmp_path / "b", "1.png", "2.png")
    assert len(Images(a, size=8).open()) == 3
    for first, second in ((a, b), (b, a)):
        with pytest.raises(
            DataError, match=r"/a/2.PNG and .*/a/2.png differ in their suffixes only; expected one partner"
        ):
            Pairs(a=first, b=second, size=8).open()


def test_pairs_may_differ_in_depth_size_orientation_and_format(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 2**16, (6, 4, 3), dtype=np.uint16)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(files.png(levels, 2, orientation=6))
    grey = tmp_path / "b"
    grey.mkdir()
    noise(1, 12, 8).convert("L").save(grey / "1.tiff")
    batch = Pairs(a=str(tmp_path / "a"), b=str(grey), size=(4, 6), range="unit").open().batch([0], seeded())
    turned = np.rot90(levels, -1).astype(np.float32) / np.float32(65535)
    assert torch.equal(batch["a"][0].permute(1, 2, 0), torch.from_numpy(turned.copy()))
    assert batch["b"].shape == (1, 3, 4, 6)


@pytest.mark.parametrize("packed", [False, True])
def test_an_empty_class_folder_is_named_and_never_renumbers(tmp_path: Path, packed: bool) -> None:
    if packed:
        place = zipped(tmp_path / "x.zip", "ant/1.png", "bee/", "cat/1.png")
    else:
        place = fill(tmp_path / "x", "ant/1.png", "cat/1.png", ".hidden/1.png")
        (tmp_path / "x" / "bee").mkdir()
        (tmp_path / "x" / "bee" / "notes.txt").write_text("none yet")
    with pytest.raises(
        DataError, match=f"class folder '{place}/bee' holds no image; remove it, or it would be a class"
    ):
        Classes(place, size=8).open()


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "1.png")
    fill(tmp_path / "x", "ant/1.png")
    (tmp_path / "x" / "bee").symlink_to(tmp_path / "elsewhere")
    assert Classes(str(tmp_path / "x"), size=8, classes=2).open().batch([0, 1], seeded())["label"].tolist() == [0, 1]


# Sizes


@pytest.mark.parametrize(
    "options",
    [
        {"size": [6, 10]},
        {"resize": [8, 12], "crop": [6, 10]},
        {"crop": (6, 10)},
        {"resize": 12, "crop": [6, 10], "flip": True},
        {"size": [6, 10], "fit": "cover"},
    ],
)
def test_images_need_not_be_square(tmp_path: Path, options: dict[str, object]) -> None:
    place = fill(tmp_path / "x", "a/1.png", "b/1.png", width=20, height=9)
    for source in (Images(place, **options), Classes(place, **options), Pairs(a=place, b=place, **options)):  # type: ignore[arg-type]
        for name, field in source.fields.items():
            batch = source.open().batch([0, 1], seeded())
            assert batch[name].shape == (2, *field.shape)
            assert field.shape in ((), (3, 6, 10))


def test_cover_cuts_the_largest_box_of_the_shape_asked_for(tmp_path: Path) -> None:
    wide = fill(tmp_path / "wide", "1.png", width=20, height=8)
    value = Images(wide, size=[8, 12], fit="cover").open().batch([0], seeded())["value"][0]  # type: ignore[arg-type]
    assert torch.equal(value, pixels(noise(0, 20, 8))[:, :, 4:16])
    high = fill(tmp_path / "high", "1.png", width=12, height=14)
    value = Images(high, size=[8, 12], fit="cover").open().batch([0], seeded())["value"][0]  # type: ignore[arg-type]
    assert torch.equal(value, pixels(noise(0, 12, 14))[:, 3:11])


def test_a_crop_larger_than_the_image_on_one_side_is_refused(tmp_path: Path) -> None:
    (problem,) = Images(fill(tmp_path, "1.png", width=20), crop=[9, 10]).open().verify()  # type: ignore[arg-type]
    assert problem.endswith("1.png: 20x8 is smaller than crop=[9, 10]; give resize=")
    with pytest.raises(ValueError, match=r"crop: found .9, 10., expected at most resize=.8, 12."):
        Images("x", resize=(8, 12), crop=(9, 10))


# Corrupt files


def with_corrupt(tmp_path: Path) -> str:
    folder = fill(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "1.png").write_bytes(png(noise(0))[:60])
    (tmp_path / "3.png").write_text("no image")
    return folder


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    opened = Images(with_corrupt(tmp_path), size=8).open()
    with pytest.raises(DataError, match=r"3.png: not an image$"):
        opened.batch([2], seeded())


def test_the_corrupt_file_of_a_pair_is_named(tmp_path: Path) -> None:
    good = fill(tmp_path / "good", "1.png", "2.png", "3.png")
    opened = Pairs(a=good, b=with_corrupt(tmp_path / "bad"), size=8).open()
    with pytest.raises(DataError, match=r"^[^ ]*/bad/3.png: not an image$"):
        opened.batch([2], seeded())


def test_skip_corrupt_takes_the_next_good_image_and_records_the_name(tmp_path: Path) -> None:
    folder = with_corrupt(tmp_path)
    opened = Images(folder, size=8, skip_corrupt=True).open()
    value = opened.batch([0, 1, 2, 0], seeded())["value"]
    assert torch.equal(value, pixels(noise(1)).expand(4, -1, -1, -1))
    assert opened.skipped == [f"{folder}/1.png", f"{folder}/3.png"]


def test_skip_corrupt_stops_where_nothing_is_good(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no image")
    with pytest.raises(DataError, match="none of the 1 samples can be read"):
        Images(str(tmp_path), size=8, skip_corrupt=True).open().batch([0], seeded())


def test_a_file_whose_pixels_are_not_known_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = fill(tmp_path / "x", "1.png")
    noise(0).convert("RGBA").save(tmp_path / "x" / "2.png")
    glass = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    glass.save(tmp_path / "x" / "3.png")
    opened = Images(folder, size=8).open()
    reason = 'is transparent in part; give ground=, the colour to lay it on, such as ground="white"'
    assert opened.verify() == [f"{folder}/3.png: {reason}"]
    with pytest.raises(DataError, match=r"3.png: is transparent in part"):
        opened.batch([0, 1, 2], seeded())
    white = Images(folder, size=8, ground="white").open().batch([2], seeded())["value"]
    assert torch.equal(white, torch.ones(1, 3, 8, 8))


def test_a_file_that_changes_under_a_run_is_named(tmp_path: Path) -> None:
    opened = Images(fill(tmp_path, "1.png", "2.png"), size=8, cache=0).open()
    opened.batch([0, 1], seeded())
    fill(tmp_path, "1.png", width=30, height=20)
    assert opened.batch([0], seeded())["value"].shape == (1, 3, 8, 8)
    (tmp_path / "1.png").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"1.png: not an image"):
        opened.batch([0], seeded())
    (tmp_path / "2.png").unlink()
    os.mkfifo(tmp_path / "2.png")
    with pytest.raises(DataError, match=r"2.png is a pipe; expected a file"):
        opened.batch([1], seeded())


def test_verify_lists_every_problem(tmp_path: Path) -> None:
    problems = Images(with_corrupt(tmp_path), size=8).open().verify()
    assert [problem.split("/")[-1].split(":")[0] for problem in problems] == ["1.png", "3.png"]


def test_verify_finds_images_smaller_than_the_crop(tmp_path: Path) -> None:
    (problem,) = Images(fill(tmp_path, "1.png"), crop=9).open().verify()
    assert problem.endswith("1.png: 8x8 is smaller than crop=9; give resize=")


def test_a_decoded_image_is_kept_and_not_read_again(tmp_path: Path) -> None:
    opened = Images(fill(tmp_path, "1.png"), size=8, cache=1).open()
    first = opened.batch([0], seeded())
    (tmp_path / "1.png").unlink()
    assert torch.equal(opened.batch([0], seeded())["value"], first["value"])


def test_without_a_cache_every_use_reads_the_file(tmp_path: Path) -> None:
    opened = Images(fill(tmp_path, "1.png"), size=8, cache=0).open()
    opened.batch([0], seeded())
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"1.png: .*No such file"):
        opened.batch([0], seeded())


def test_the_cache_stays_within_its_room(tmp_path: Path) -> None:
    opened = Images(fill(tmp_path, "1.png", "2.png"), size=512, cache=1).open()
    opened.batch([0, 1], seeded())
    (tmp_path / "1.png").unlink()
    opened.batch([0], seeded())
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"2.png"):
        opened.batch([1], seeded())


# Arrays


def test_npz_reads_images_stored_channels_last(tmp_path: Path) -> None:
    stored = np.stack([np.array(noise(seed)) for seed in range(3)])
    np.savez(tmp_path / "x.npz", photos=stored, classes=[0, 1, 2])
    source = Npz(f"{tmp_path}/x.npz", key="photos", shape=[3, 8, 8], labels="classes")
    batch = source.open().batch([2], seeded())
    assert torch.equal(batch["value"][0], pixels(noise(2)))
    assert batch["label"].tolist() == [2]


def test_npz_takes_other_arrays_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", points=[[0.5, -3.0], [2.0, 1.0]])
    opened = Npz(f"{tmp_path}/x.npz", key="points", shape=[2], range="raw").open()
    assert opened.batch([0], seeded())["value"].tolist() == [[0.5, -3.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "photo"}, r"no array 'photo' in '.*'; there are photos; did you mean 'photos'\?"),
        (
            {"shape": [3, 9, 9]},
            r"has shape \[2, 8, 8, 3\]; expected \[1 or more, 3, 9, 9\], channels first or last",
        ),
        ({"labels": "photos"}, r"holds uint8 of shape \[2, 8, 8, 3\]; expected labels: whole numbers"),
        ({"file": "no.npz"}, "file 'no.npz' not found"),
        ({"file": __file__}, "not a readable .npz file of plain arrays"),
    ],
)
def test_npz_errors_say_what_was_found(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    np.savez(tmp_path / "x.npz", photos=np.zeros((2, 8, 8, 3), np.uint8))
    declared = {"file": f"{tmp_path}/x.npz", "key": "photos", "shape": [3, 8, 8]} | arguments
    with pytest.raises(DataError, match=message):
        Npz(**declared).open()  # type: ignore[arg-type]


@pytest.mark.parametrize("order", "<>")
def test_npz_reads_numbers_of_either_byte_order(tmp_path: Path, order: str) -> None:
    floats = np.arange(6).reshape(3, 2).astype(f"{order}f4")
    deep = np.arange(0, 65536, 4369).reshape(1, 4, 4, 1).astype(f"{order}u2")
    columns = np.asfortranarray(floats)
    np.savez(tmp_path / "x.npz", floats=floats, deep=deep, columns=columns, labels=np.arange(3).astype(f"{order}i2"))
    for key in ("floats", "columns"):
        opened = Npz(f"{tmp_path}/x.npz", key=key, shape=[2], range="raw", labels="labels").open()
        batch = opened.batch([2, 0], seeded())
        assert batch["value"].tolist() == [[4, 5], [0, 1]]
        assert batch["label"].tolist() == [2, 0]
    images = Npz(f"{tmp_path}/x.npz", key="deep", shape=[1, 4, 4], range="unit").open().batch([0], seeded())["value"]
    assert torch.equal(images.flatten(), torch.arange(16).float() / 15)


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        ([[1.0], [np.nan]], "float32", "sample 1 of 'a' is not finite as float32"),
        ([[1e300]], "float32", "sample 0 of 'a' is not finite as float32"),
        (np.array([[2**64 - 1]], np.uint64), "int64", "sample 0 of 'a' is not finite as int64"),
        ([[0.5]], "int64", "holds float64; expected numbers for dtype='int64'"),
        ([[1j]], "float32", "holds complex128; expected numbers for dtype='float32'"),
        ([["x"]], "float32", "holds <U1; expected numbers"),
        (np.array([[None]]), "float32", "holds Python objects, which are never unpickled"),
        (np.zeros((0, 1)), "float32", r"has shape \[0, 1\]; expected \[1 or more, 1\]"),
    ],
)
def test_numbers_that_would_change_on_the_way_are_refused(
    tmp_path: Path, array: object, dtype: str, message: str
) -> None:
    np.savez(tmp_path / "x.npz", a=np.asarray(array))
    with pytest.raises(DataError, match=message):
        Npz(f"{tmp_path}/x.npz", key="a", shape=[1], range="raw", dtype=dtype).open()  # type: ignore[arg-type]


def test_npz_says_how_a_single_array_becomes_a_set(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    message = r"is one array without a name \(.npy\); expected an .npz file; numpy.savez\(\"x.npz\", photos=array\)"
    with pytest.raises(DataError, match=message):
        Npz(f"{tmp_path}/x.npy", key="photos", shape=[1], range="raw").open()


def test_an_array_that_is_called_label_is_a_field_like_others_and_never_lost(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((2, 3), np.uint8), "label": np.array([[0, 255], [51, 0]], np.uint8), "y": np.arange(2)}
    np.savez(tmp_path / "a.npz", **arrays)
    source = Npz(f"{tmp_path}/a.npz", key=["x", "label"], shape=[[3], [2]], range="unit")
    made = source.open().batch([1], seeded())["label"]
    assert made.shape == (1, *source.fields["label"].shape) and made.tolist() == [[pytest.approx(0.2), 0.0]]
    expected = r"key: found 'label', expected names that differ, .*; y becomes the field 'label'"
    with pytest.raises(ArgumentError, match=expected):
        Npz(f"{tmp_path}/a.npz", key=["x", "label"], shape=[[3], [2]], range="unit", labels="y")


def test_negative_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 1)), labels=[0, -1])
    with pytest.raises(DataError, match=r"array 'labels' of '.*' holds the label -1; expected 0 or more"):
        Npz(f"{tmp_path}/x.npz", key="a", shape=[1], range="raw", labels="labels").open()


def test_idx_reads_labels_of_larger_numbers_and_refuses_unknown_classes(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(idx(np.zeros((3, 28, 28), np.uint8)))
    labels = np.array([1, 300, 2], ">i4")
    (tmp_path / "l").write_bytes(bytes((0, 0, 12, 1)) + np.array([3], ">u4").tobytes() + labels.tobytes())
    opened = Idx(f"{tmp_path}/i", labels=f"{tmp_path}/l", classes=301, size=[14, 28]).open()  # type: ignore[arg-type]
    batch = opened.batch([0, 1, 2], seeded())
    assert batch["label"].tolist() == [1, 300, 2]
    assert batch["image"].shape == (3, 1, 14, 28)
    with pytest.raises(DataError, match=r"holds the label 300; expected 0 to 255; give classes= if there are more"):
        Idx(f"{tmp_path}/i", labels=f"{tmp_path}/l").open()


def in_two_parts(data: bytes) -> bytes:
    return gzip.compress(data[:9]) + gzip.compress(data[9:])


@pytest.mark.parametrize("compress", [bytes, gzip.compress, in_two_parts])
def test_idx_reads_images_and_labels(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "i").write_bytes(compress(idx(np.full((2, 28, 28), 255, np.uint8))))
    (tmp_path / "l").write_bytes(compress(idx(np.array([7, 2], np.uint8))))
    source = Idx(f"{tmp_path}/i", labels=f"{tmp_path}/l", size=32, classes=10)
    batch = source.open().batch([1, 0], seeded())
    assert torch.equal(batch["image"], torch.ones(2, 1, 32, 32))
    assert batch["label"].tolist() == [2, 7]


def test_idx_refuses_other_files_and_truncated_ones(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx(np.array([7, 2], np.uint8)))
    with pytest.raises(DataError, match=r"starts with 00 00 08 01; expected 00 00 08 03 \(idx3-ubyte\)"):
        Idx(f"{tmp_path}/labels").open()
    (tmp_path / "cut").write_bytes(idx(np.zeros((2, 4, 4), np.uint8))[:-1])
    with pytest.raises(DataError, match=r"holds 31 bytes of data; its header announces shape \[2, 4, 4\]"):
        Idx(f"{tmp_path}/cut").open()


def test_a_stretch_of_a_set_is_taken_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(idx(np.arange(6, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)))
    (tmp_path / "l").write_bytes(idx(np.arange(6, dtype=np.uint8)))
    part = Idx(f"{tmp_path}/i", labels=f"{tmp_path}/l", size=8, range="unit", first=2, count=3).open()
    batch = part.batch([0, 2], seeded())
    assert len(part) == 3
    assert batch["label"].tolist() == [2, 4]
    assert torch.equal(batch["image"][:, 0, 0, 0] * 255, torch.tensor([2.0, 4.0]))
    assert len(Idx(f"{tmp_path}/i", size=8, first=5).open()) == 1
    with pytest.raises(DataError, match="holds 6 samples, too few for first=4, count=3"):
        Idx(f"{tmp_path}/i", size=8, first=4, count=3).open()
    with pytest.raises(ValueError, match="first: found -1, expected a whole number of at least 0"):
        Idx(f"{tmp_path}/i", first=-1)


# torchvision


def test_torchvision_reads_what_is_on_disk(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 28, 28), np.uint8)))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.array([3, 4], np.uint8)))
    source = Torchvision("MNIST", root=str(tmp_path), size=32, channels=3)
    batch = source.open().batch([1], seeded())
    assert torch.equal(batch["image"], -torch.ones(1, *source.fields["image"].shape))
    assert batch["label"].tolist() == [4]
    wide = Torchvision("MNIST", root=str(tmp_path), size=(14, 28))
    assert wide.open().batch([0], seeded())["image"].shape == (1, *wide.fields["image"].shape) == (1, 1, 14, 28)
    second = Torchvision("MNIST", root=str(tmp_path), first=1).open()
    assert len(second) == 1
    assert second.batch([0], seeded())["label"].tolist() == [4]


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "STL10", "CelebA"])
def test_torchvision_without_its_files_says_where_it_looked(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' not read from '{tmp_path}'.*give download=true"):
        Torchvision(name, root=str(tmp_path), size=32).open()


# Wrong arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Images("x"), "size: found none, expected the side of the images in pixels, or .height, width.: size="),
        (lambda: Images("x", size=0), "size: found 0, expected a whole number of at least 1"),
        (lambda: Images("x", size=8, crop=8), "size: found 8, expected size= alone"),
        (lambda: Images("x", resize=8, crop=9), "crop: found 9, expected at most resize=8"),
        (lambda: Images("x", size=8, channels=2), "channels: found 2, expected 1 or 3"),
        (lambda: Images("x", size=8, range="tan"), "expected 'tanh' or 'unit'; did you mean 'tanh'"),  # type: ignore[arg-type]
        (lambda: Images("x", size=8, flip=1), "flip: found 1, expected true or false"),  # type: ignore[arg-type]
        (lambda: Pairs("x", a="y", size=8), "found .'a', 'folder'., expected folder=, or a= with b="),
        (lambda: Npz("x", key="y", shape=[3, 0]), "shape: found 0, expected a whole number"),
        (lambda: Npz("x", key="y", shape=[3, 8, 8], frames=4), r"expected \[C, 4, H, W\], since frames=4"),
        (lambda: Torchvision("MINST"), "name: found 'MINST', expected .*; did you mean 'MNIST'"),
        (lambda: Torchvision("CelebA"), "size: found none"),
        (lambda: Torchvision("STL10", split="extra"), "split: found 'extra', expected 'train', 'test', "),
    ],
)
def test_a_wrong_argument_says_what_was_found_and_expected(make: Callable[[], Source], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_source_is_registered_under_its_name() -> None:
    made = {
        "images": Images,
        "pairs": Pairs,
        "classes": Classes,
        "npz": Npz,
        "idx": Idx,
        "torchvision": Torchvision,
    }
    assert {name: vocabulary[name].function for name in made} == made


# Real data


def opened_as_declared(source: Source) -> Dataset:
    opened = source.open()
    batch = opened.batch([0, len(opened) - 1], seeded())
    for name, field in source.fields.items():
        assert batch[name].shape == (2, *field.shape)
        assert batch[name].dtype == field.dtype
        assert field.low <= batch[name].min() <= batch[name].max() <= field.high
    return opened


@needs_shared
@pytest.mark.parametrize(("part", "count"), [("trainA", 75), ("trainB", 72), ("testA", 19), ("testB", 18)])
def test_apples_and_oranges_are_read_whole(part: str, count: int) -> None:
    source = Images(f"{SHARED}/unpaired_apple2orange/apple2orange_128.zip/{part}", resize=72, crop=64, flip=True)
    opened = source.open()
    assert len(opened_as_declared(source)) == count
    assert opened.verify() == []


@needs_shared
def test_cityscapes_pairs_are_aligned() -> None:
    place = f"{SHARED}/paired_cityscapes/cityscapes_256.zip"
    source = Pairs(a=f"{place}/trainA", b=f"{place}/trainB", resize=72, crop=64, flip=True)
    opened = opened_as_declared(source)
    assert len(opened) == 70
    batch = opened.batch(range(70), seeded())
    # The label map paints the sky (70, 130, 180): in the photo that is the bright part.
    sky = (batch["a"] * 127.5 + 127.5 - torch.tensor([70, 130, 180])[:, None, None]).abs().amax(1) < 20
    bright = batch["b"].mean(1)
    assert bright[sky].mean() > bright[~sky].mean() + 0.3


@needs_shared
def test_cifar_has_ten_classes_of_a_hundred() -> None:
    source = Classes(f"{SHARED}/cifar10_1200/cifar10_jpeg_1200.zip/train", size=32, classes=10)
    labels = opened_as_declared(source).batch(range(1000), seeded())["label"]
    assert labels.bincount().tolist() == [100] * 10


@needs_shared
def test_mnist_digits_are_the_known_ones() -> None:
    place = f"{SHARED}/mnist/t10k"
    source = Idx(f"{place}-images-idx3-ubyte.gz", labels=f"{place}-labels-idx1-ubyte.gz", range="unit", classes=10)
    batch = opened_as_declared(source).batch(range(10_000), seeded())
    assert batch["label"][:5].tolist() == [7, 2, 1, 0, 4]
    assert batch["image"].mean().item() == pytest.approx(0.1325, abs=1e-4)


@needs_shared
def test_video_clips_are_runs_of_frames() -> None:
    file = f"{SHARED}/video_clips/clips_64.npz"
    clips = Npz(file, key="carphone", shape=[3, 16, 64, 64], frames=16)
    frames = Npz(file, key="carphone", shape=[3, 64, 64]).open().batch(range(5, 21), seeded())["value"]
    opened = opened_as_declared(clips)
    assert len(opened) == 60 - 16 + 1
    assert torch.equal(opened.batch([5], seeded())["value"][0], frames.transpose(0, 1))


def test_a_field_without_bounds_is_unbounded() -> None:
    assert Npz("x", key="y", shape=[2], range="raw").fields == {"value": Field((2,))}


# Sources in others


def test_what_stands_around_a_source_hides_nothing_of_it(tmp_path: Path) -> None:
    source = Images(str(tmp_path / "photos"), size=8, channels=1)
    around = fixed(source)
    assert not isinstance(around, RandomSource)
    assert missing_places(around) == missing_places(source) == [("folder", str(tmp_path / "photos"))]
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8), 100).save(tmp_path / "photos" / "1.png")
    (tmp_path / "photos" / "2.avif").write_bytes(b"")
    assert notes(around.open()) == notes(source.open()) != ()
    assert samples_here("data.x", around) == 1


def test_the_number_of_fixed_samples_is_told_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def opened(source: Torchvision) -> Dataset:
        asked.append(source.download)
        raise DataError("nothing")

    monkeypatch.setattr(Torchvision, "open", opened)
    assert samples_here("data.x", fixed(Torchvision("CIFAR10", size=32, download=True))) == "nothing"  # type: ignore[arg-type]  # it is a stream
    assert asked == [False]


@pytest.mark.parametrize("inner", [Digits(), normal(2)])
def test_what_is_fixed_is_not_fixed_again(inner: object) -> None:
    with pytest.raises(ArgumentError, match="a source that is not fixed yet"):
        fixed(fixed(inner), seed=1)


def test_an_argument_called_inside_that_is_no_source_stands_around_none() -> None:
    @dataclass(frozen=True)
    class Member:
        """A source of a plug-in that reads a member of an archive."""

        archive: str
        inside: str
        paths: ClassVar = ("archive",)

    member = Member("a.zip", "train")
    assert innermost(member) is member  # type: ignore[arg-type, comparison-overlap]  # as a plug-in would have it
    assert places(member) == (("archive", "a.zip"),)  # type: ignore[arg-type]
