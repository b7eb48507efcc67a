"""`apply`: images through a trained network, as they are."""

import re
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gangraph.apply.apply import apply
from gangraph.apply.files import names_of_files
from gangraph.cli import main
from gangraph.data.folders import Images
from gangraph.errors import DataError, UsageError
from gangraph.run.loading import load_run
from gangraph.session.run import run
from tests.support import read

SPEC = """
gangraph: 1
name: applied
data:
  x: images("{x}", size=16, {options})
  z: normal(4)
networks:
  G: {{inputs: x, layers: "conv2d(4, 3, stride=2, padding=1), relu, conv_transpose2d(3, 4, stride=2, padding=1), tanh"}}
  GA: average(G, decay=0.5)
  big: {{inputs: x, layers: "conv2d(3, 3, padding=1), dropout(0.5), upsample(2), tanh"}}
  flat: {{inputs: x, layers: "flatten, linear(768), reshape(3, 16, 16), tanh"}}
  loose: {{inputs: x, layers: "conv2d(3, 3, padding=1)"}}
  same: {{inputs: x, layers: "clamp(-1, 1)"}}
  D: {{inputs: x, layers: "conv2d(1, 3, stride=2, padding=1), sigmoid"}}
  P: {{inputs: x, layers: "conv2d(3, 3, padding=1)"}}
  M:
    inputs: [x, z]
    parts: {{one: "conv2d(3, 3, padding=1)", other: "linear(3)"}}
    output: "tanh(one(x) + planes(other(z), x))"
  maker: {{inputs: z, layers: "linear(768), reshape(3, 16, 16), tanh"}}
  bn: {{inputs: x, layers: "conv2d(4, 3, padding=1), batch_norm, conv2d(3, 3, padding=1), tanh"}}
values: {{fake: G(x), mixed: "M(x, z)", flatter: flat(x), drawn: maker(z), free: loose(x), normed: bn(x)}}
losses:
  judge: mean(D(x)) - mean(D(fake))
  fool: mean(D(fake)) + l1(fake, x) + l1(mixed, x) + l1(flatter, x) + l1(drawn, x) + mean(free) + l1(normed, x)
  tell: l2(big(x), resize(x, 32)) + bernoulli_nll(P(x), 0.5 * x + 0.5)
train:
  batch: 2
  length: 1 steps
  optimizers: {{g: "adam([G, M, flat, maker, loose, bn])", d: adam(D), t: "adam([big, P])"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}, {{update: t, minimize: tell}}]
evaluate:
  samples: 2
  grid: [x, fake, same(x), GA(x), free]
  mode: {mode}
"""


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours that differ everywhere, none of them dark."""
    y, x = np.mgrid[:height, :width]
    colours = np.stack([200 + 50 * x / width, 210 + 40 * y / height, 220 + 30 * np.sin(x + y + seed)], -1)
    return Image.fromarray(colours.clip(0, 255).astype(np.uint8))


def trained(folder: Path, options: str = "interpolation=bicubic", mode: str = "eval") -> Path:
    (folder / "x").mkdir(parents=True)
    for index in range(2):
        photo(20, 16, index).save(folder / "x" / f"{index}.png")
    text = SPEC.format(x=folder / "x", options=options.replace("=bicubic", '="bicubic"'), mode=mode)
    return run(read(text), out=folder / "run", device="cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("applied"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for index, name in enumerate(("1.png", "a/1.jpg", "a/deep/2.png", "b/1.png", "b/1.jpg")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(33 + index, 21, index).save(path)
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class Heard(list[str]):
    """What was said, and a way to say it."""

    def __call__(self, text: str) -> None:
        self.append(text)

    @property
    def whole(self) -> str:
        return "\n".join(self)


# Files


def test_subfolders_and_names_are_kept_and_equal_stems_stay_apart(finished: Path, photos: Path, tmp_path: Path) -> None:
    said = Heard()
    assert apply(finished, "G", photos, tmp_path / "out", say=said) == 5
    assert names(tmp_path / "out") == {"1.png", "a/1.png", "a/deep/2.png", "b/1.png.png", "b/1.jpg.png"}
    assert "2 images have the name of another" in said.whole
    assert all(
        size_of(tmp_path / "out" / made) == size_of(photos / given)
        for made, given in (("1.png", "1.png"), ("a/1.png", "a/1.jpg"), ("b/1.jpg.png", "b/1.jpg"))
    )


def test_a_zip_file_gives_what_its_folder_gives(finished: Path, photos: Path, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in names(photos):
            archive.write(photos / name, name)
    apply(finished, "G", photos, tmp_path / "one", say=Heard())
    apply(finished, "G", tmp_path / "photos.zip", tmp_path / "other", say=Heard())
    assert names(tmp_path / "one") == names(tmp_path / "other")
    assert all(
        np.array_equal(pixels(tmp_path / "one" / n), pixels(tmp_path / "other" / n)) for n in names(tmp_path / "one")
    )


def test_one_image_becomes_a_file_or_goes_into_a_folder(finished: Path, photos: Path, tmp_path: Path) -> None:
    assert apply(finished, "G", photos / "a" / "1.jpg", tmp_path / "new" / "made.png", say=Heard()) == 1
    assert apply(finished, "G", photos / "a" / "1.jpg", tmp_path / "folder", say=Heard()) == 1
    assert np.array_equal(pixels(tmp_path / "new" / "made.png"), pixels(tmp_path / "folder" / "1.png"))
    assert apply(finished, "G", photos / "a" / "1.jpg", tmp_path / "made.webp", say=Heard()) == 1
    with pytest.raises(UsageError, match=r"'made.gif' is no form in which an image is written: .png"):
        apply(finished, "G", photos / "a" / "1.jpg", tmp_path / "made.gif", say=Heard())


def test_nothing_is_written_over_and_an_image_that_is_read_never(finished: Path, photos: Path, tmp_path: Path) -> None:
    before = {name: (photos / name).read_bytes() for name in names(photos)}
    for target in (photos, photos / "out"):
        with pytest.raises(UsageError, match=r"lies in --input"):
            apply(finished, "G", photos, target, overwrite=True, say=Heard())
    with pytest.raises(UsageError, match=r"is one of the images that are read"):
        apply(finished, "G", photos / "1.png", photos, overwrite=True, say=Heard())
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(UsageError, match=r"is one of the images that are read"):
        apply(finished, "G", photos / "1.png", tmp_path / "link" / "1.png", overwrite=True, say=Heard())
    apply(finished, "G", photos, tmp_path / "out", say=Heard())
    with pytest.raises(UsageError, match=r"1.png' and 4 more is there already: .* --overwrite"):
        apply(finished, "G", photos, tmp_path / "out", say=Heard())
    assert apply(finished, "G", photos, tmp_path / "out", overwrite=True, say=Heard()) == 5
    assert {name: (photos / name).read_bytes() for name in names(photos)} == before
    with pytest.raises(UsageError, match=r"is a file; for more than one image it is a folder"):
        apply(finished, "G", photos, tmp_path / "out" / "1.png", say=Heard())


def test_a_name_that_leads_out_of_the_folder_is_refused(finished: Path, photos: Path, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.write(photos / "1.png", "a/../../../1.png")
    with pytest.raises(DataError):
        apply(finished, "G", tmp_path / "evil.zip", tmp_path / "deep" / "out", say=Heard())
    assert not (tmp_path / "deep").exists() and not (tmp_path.parent / "1.png").exists()


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_translated(
    finished: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a" / "broken.png").write_bytes((photos / "1.png").read_bytes()[:90])
    given = ["apply", str(finished), "--network", "G", "--input", str(photos), "--output", str(tmp_path / "out")]
    assert main(given) == 3
    heard = capsys.readouterr()
    assert f"{photos}/a/broken.png: " in heard.out
    assert "1 of 6 images could not be translated; 5 were" in heard.err
    assert len(names(tmp_path / "out")) == 5


def test_images_stand_upright(finished: Path, tmp_path: Path) -> None:
    image, turned = photo(30, 20), Image.Exif()
    turned[274] = 6
    image.rotate(90, expand=True).save(tmp_path / "turned.png", exif=turned)
    image.save(tmp_path / "upright.png")
    for name in ("turned", "upright"):
        apply(finished, "same", tmp_path / f"{name}.png", tmp_path / "out", say=Heard())
    assert np.array_equal(pixels(tmp_path / "out" / "turned.png"), np.asarray(image))
    assert np.array_equal(pixels(tmp_path / "out" / "upright.png"), np.asarray(image))


def test_transparent_images_are_laid_on_the_ground_that_is_given(finished: Path, tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    with pytest.raises(DataError, match=r"1 of 1 images could not be translated"):
        apply(finished, "same", tmp_path / "clear.png", tmp_path / "out", say=(heard := Heard()))
    assert "clear.png" in heard.whole and "ground=" in heard.whole
    apply(finished, "same", tmp_path / "clear.png", tmp_path / "out", ground="#ff8000", say=Heard())
    assert pixels(tmp_path / "out" / "clear.png").reshape(-1, 3).tolist() == [[255, 128, 0]] * 64
    with pytest.raises(UsageError, match=r"--ground: .*a colour such as"):
        apply(finished, "same", tmp_path / "clear.png", tmp_path / "other", ground="no colour", say=Heard())


# Pixels


@pytest.mark.parametrize("options", ["", 'range="unit"', "channels=1", 'channels=1, range="unit"'])
def test_a_network_that_changes_nothing_gives_every_byte_back(tmp_path: Path, options: str) -> None:
    grey = "channels=1" in options
    text = f"""
gangraph: 1
name: plain
data: {{x: 'images("{tmp_path}/x", size=16, {options})'}}
networks:
  same: {{inputs: x, layers: "clamp({-1 + ("unit" in options)}, 1)"}}
  D: {{inputs: x, layers: "flatten, linear(1)"}}
losses: {{judge: mean(D(x))}}
train: {{batch: 1, length: 1 steps, optimizers: {{d: adam(D)}}, step: [{{update: d, minimize: judge}}]}}
evaluate: {{samples: 1, grid: [x, same(x)]}}
"""
    (tmp_path / "x").mkdir()
    levels = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    bright = photo(40, 30).convert("L") if grey else photo(40, 30)
    levels.save(tmp_path / "x" / "levels.png")
    bright.save(tmp_path / "x" / "bright.png")
    finished = run(read(text), out=tmp_path / "run", device="cpu")
    assert apply(finished, "same", tmp_path / "x", tmp_path / "out", say=Heard()) == 2
    assert np.array_equal(pixels(tmp_path / "out" / "bright.png"), np.asarray(bright))
    assert np.array_equal(
        pixels(tmp_path / "out" / "levels.png"), np.asarray(levels if grey else levels.convert("RGB"))
    )
    assert 215 < pixels(tmp_path / "out" / "bright.png").mean() < 230


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (16, 16), (17, 31), (64, 3)])
def test_an_image_of_any_size_keeps_it(finished: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    photo(*size).save(tmp_path / "1.png")
    apply(finished, "G", tmp_path / "1.png", tmp_path / "out", say=Heard())
    apply(finished, "big", tmp_path / "1.png", tmp_path / "out" / "big.png", say=Heard())
    assert size_of(tmp_path / "out" / "1.png") == size
    assert size_of(tmp_path / "out" / "big.png") == (2 * size[0], 2 * size[1])


def expected(finished: Path, image: Path, network: str, **options: str) -> np.ndarray:
    """What a network gives for an image that its source prepares."""
    module = load_run(finished, device="cpu").networks[network].eval()
    source = Images(str(image.parent), size=16, augment=False, **options).open()  # type: ignore[arg-type]  # plain words
    index = [Path(name).name for name in source.names].index(image.name)
    with torch.no_grad():
        made: Tensor = module(source.batch([index], torch.Generator())["value"])
    return ((made[0] + 1) / 2 * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fit": "stretch", "interpolation": "nearest"}, "stretched"),
        ({"fit": "cover", "interpolation": "bicubic"}, "cut off"),
    ],
)
def test_a_network_of_one_size_is_given_images_as_its_source_prepares_them_and_that_is_said(
    tmp_path: Path, options: dict[str, str], said: str
) -> None:
    finished = trained(tmp_path / "of", ", ".join(f'{key}="{value}"' for key, value in options.items()))
    (tmp_path / "in").mkdir()
    photo(200, 130).save(tmp_path / "in" / "wide.png")
    photo(48, 48).save(tmp_path / "in" / "square.png")
    heard = Heard()
    apply(finished, "flat", tmp_path / "in", tmp_path / "out", say=heard)
    for name in ("wide.png", "square.png"):
        assert np.array_equal(
            pixels(tmp_path / "out" / name), expected(finished, tmp_path / "in" / name, "flat", **options)
        )
    assert "it takes 16x16 pixels alone: images are resized to 16" in heard.whole
    assert f"1 image has another aspect ratio now ({said}): {tmp_path}/in/wide.png 200x130" in heard.whole
    with pytest.raises(UsageError, match=r"'flat' takes 16x16 pixels alone, as it was trained: leave out --size"):
        apply(finished, "flat", tmp_path / "in", tmp_path / "other", size=(32, 32), say=Heard())


def test_a_size_that_is_asked_for_is_reached_as_the_source_resizes(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photo(200, 130).save(tmp_path / "in" / "wide.png")
    heard = Heard()
    apply(finished, "G", tmp_path / "in", tmp_path / "out", size=(16, 16), say=heard)
    made = expected(finished, tmp_path / "in" / "wide.png", "G", interpolation="bicubic")
    assert np.array_equal(pixels(tmp_path / "out" / "wide.png"), made)
    assert "images are resized to 16x16 (fit=stretch, interpolation=bicubic)" in heard.whole
    assert "1 image has another aspect ratio now (stretched)" in heard.whole


def test_images_that_go_through_together_come_out_as_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(7):
        photo(20 if index < 5 else 24, 18, index).save(tmp_path / "in" / f"{index}.png")
    apply(finished, "G", tmp_path / "in", tmp_path / "one", say=Heard())
    apply(finished, "G", tmp_path / "in", tmp_path / "three", batch=3, say=Heard())
    differences = [
        np.abs(pixels(tmp_path / "one" / n).astype(int) - pixels(tmp_path / "three" / n)).max()
        for n in names(tmp_path / "one")
    ]
    assert len(differences) == 7 and max(differences) <= 1


def test_the_mode_of_the_evaluation_holds_and_images_of_a_batch_do_not_mix(tmp_path: Path) -> None:
    finished, heard = trained(tmp_path / "of", mode="train"), Heard()
    (tmp_path / "in").mkdir()
    for index in range(2):
        photo(16, 16, 5 * index).save(tmp_path / "in" / f"{index}.png")
    apply(finished, "bn", tmp_path / "in", tmp_path / "out", batch=2, say=heard)
    assert "one image at a time" in heard.whole
    module = load_run(finished, device="cpu").networks["bn"].train()
    given = torch.from_numpy(np.array(photo(16, 16))).permute(2, 0, 1)[None] / 127.5 - 1
    made = (module(given)[0] + 1) / 2 * 255
    assert np.array_equal(pixels(tmp_path / "out" / "0.png"), made.detach().round().byte().permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("mode", "alone"), [("eval", False), ("train", True)])
def test_a_layer_that_draws_numbers_in_training_alone_parts_batches_in_that_mode_alone(
    mode: str, alone: bool, finished: Path, tmp_path: Path
) -> None:
    heard, place = Heard(), finished if mode == "eval" else trained(tmp_path / "of", mode=mode)
    photo(16, 16).save(tmp_path / "0.png")
    apply(place, "big", tmp_path / "0.png", tmp_path / "out", batch=2, say=heard)
    assert ("one image at a time" in heard.whole) == alone


# Networks


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("D", r"it gives \[1, 8, 8\], which the spec neither shows nor compares with an image"),
        ("P", r"it gives \[3, 16, 16\], which the spec neither shows nor compares with an image"),
        ("M", r"it takes x \[3, 16, 16\], z \[4\], not one image"),
        ("maker", r"it takes z \[4\], not one image"),
    ],
)
def test_a_network_that_does_not_turn_one_image_into_one_is_refused_and_those_that_do_are_named(
    finished: Path, photos: Path, tmp_path: Path, network: str, message: str
) -> None:
    those = r"; those that can are G, GA, big, flat, loose, same, bn$"
    with pytest.raises(UsageError, match=f"'{network}' cannot be applied to images: {message}.*{those}"):
        apply(finished, network, photos, tmp_path / "out", say=Heard())
    assert not (tmp_path / "out").exists()


def test_a_wrong_name_is_answered_with_the_nearest(finished: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no network 'flut'; did you mean 'flat'\?; those that can are G"):
        apply(finished, "flut", photos, tmp_path / "out", say=Heard())


def test_an_average_is_applied_by_its_own_name_or_by_that_of_its_network(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    apply(finished, "GA", photos, tmp_path / "own", say=Heard())
    apply(finished, "G", photos, tmp_path / "asked", average=True, say=Heard())
    apply(finished, "GA", photos, tmp_path / "both", average=True, say=Heard())
    made = [pixels(tmp_path / name / "1.png") for name in ("own", "asked", "both")]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    with pytest.raises(UsageError, match=r"the run keeps no average of 'flat'; its averages are GA"):
        apply(finished, "flat", photos, tmp_path / "out", average=True, say=Heard())


def test_where_the_range_is_not_known_it_is_asked_for(finished: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the range of what 'loose' gives is not known.*give --range"):
        apply(finished, "loose", photos, tmp_path / "out", say=Heard())
    heard = Heard()
    apply(finished, "loose", photos, tmp_path / "out", interval=(0.0, 0.01), say=heard)
    assert re.search(r"values outside of \[0, 0.01\] were clipped: .*/1.png \d+%", heard.whole)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--size", "12x", "--size takes pixels, such as 256 or 640x480"),
        ("--size", "0", "--size takes pixels"),
        ("--range", "1,0", "--range takes tanh, unit, or LOW,HIGH"),
        ("--range", "nan,1", "--range takes tanh, unit, or LOW,HIGH"),
        ("--network", "G", "there is no run"),
    ],
)
def test_a_wrong_option_is_told_at_once(
    option: str, value: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["apply", str(tmp_path / "no"), "--network", "G", "--input", "a", "--output", "b", option, value]
    assert main(given) == 2
    assert told in capsys.readouterr().err


def test_no_two_images_become_one_file(tmp_path: Path) -> None:
    given = ["1.jpg", "1.png", "1.jpg.png", "2.png"]
    assert len({str(file) for file in names_of_files(given, lambda _: None).values()}) == len(given)
