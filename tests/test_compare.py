"""Folders of images that are compared, image by image."""

import json
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from PIL import Image
from torch import Tensor

from gangraph.apply.compare import compare, enlarged
from gangraph.cli import main
from gangraph.errors import DataError, UsageError
from gangraph.vocabulary.metrics.images import psnr, ssim
from gangraph.vocabulary.ops import resize
from tests.metrics.shared import SHARED, image, needs_shared

SET5 = SHARED / "sr_benchmarks" / "set5_x4.zip"


def picture(path: Path, height: int, width: int, seed: int) -> Tensor:
    """A file of noise that was written, and its pixels [1, 3, H, W] in [-1, 1]."""
    levels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.numpy()).save(path)
    return levels.permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Two pairs of images of different sizes, in the folders `made` and `true`."""
    sizes = {"b/1.png": (36, 32), "a.png": (40, 48)}
    return {
        name: (picture(tmp_path / "made" / name, *size, seed=2), picture(tmp_path / "true" / name, *size, seed=3))
        for name, size in sizes.items()
    }


def test_each_pair_is_measured_by_itself_and_then_the_mean_is_taken(
    tmp_path: Path, pairs: dict[str, tuple[Tensor, Tensor]]
) -> None:
    found = compare(tmp_path / "made", tmp_path / "true", luminance=True, border=2)
    assert found.each.keys() == pairs.keys()
    for name, (x, y) in pairs.items():
        assert found.each[name]["psnr"] == pytest.approx(float(psnr(x, y, luminance=True, border=2)), rel=1e-6)
        assert found.each[name]["ssim"] == pytest.approx(float(ssim(x, y, luminance=True, border=2)), rel=1e-6)
    assert found.means["psnr"] == pytest.approx(sum(each["psnr"] for each in found.each.values()) / 2)
    assert found.protocol["psnr"]["border"] == 2


def test_a_metric_without_weights_is_left_out_and_the_reason_told(
    tmp_path: Path, pairs: dict[str, tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "x" / "1.png", 40, 40, seed=1)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path / "nothing"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    found = compare(tmp_path / "x", tmp_path / "x")
    assert set(found.means) == {"psnr", "ssim"}
    assert "alexnet" in found.missing["lpips"]


def test_images_of_another_size_are_refused_or_enlarged(tmp_path: Path) -> None:
    picture(tmp_path / "small" / "1.png", 12, 15, seed=1)
    picture(tmp_path / "large" / "1.jpg", 48, 60, seed=2)
    with pytest.raises(DataError, match=r"has 15x12 pixels, and .* 60x48; expected one size, or give --enlarge"):
        compare(tmp_path / "small", tmp_path / "large")
    with pytest.raises(DataError, match="not larger than its reference"):
        compare(tmp_path / "large", tmp_path / "small", enlarge="bicubic")
    assert compare(tmp_path / "small", tmp_path / "large", enlarge="nearest").means["psnr"] < 15


def test_a_bicubic_kernel_has_the_constant_of_the_benchmarks() -> None:
    """A bright line at the middle of a row, four times as long: Keys' weights with a = -1/2."""
    line = torch.full((1, 3, 9, 9), -1.0)
    line[..., 4] = 0.0
    found = (enlarged(line, (36, 36), "bicubic")[0, 0, 16] + 1) * 127.5
    apart = [abs((place + 0.5) / 4 - 4.5) for place in range(36)]
    weights = [
        1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0 for d in apart
    ]
    assert found.tolist() == pytest.approx([round(max(0, 127.5 * weight)) for weight in weights], abs=1e-3)


def test_what_has_no_partner_or_no_such_enlargement_is_said(
    tmp_path: Path, pairs: dict[str, tuple[Tensor, Tensor]]
) -> None:
    (tmp_path / "true" / "a.png").unlink()
    with pytest.raises(DataError, match=r"no partner for .*made/a\.png"):
        compare(tmp_path / "made", tmp_path / "true")
    with pytest.raises(UsageError, match="--enlarge is one of nearest, bilinear, bicubic; found 'cubic'"):
        compare(tmp_path / "made", tmp_path / "true", enlarge="cubic")  # type: ignore[arg-type]


def test_two_files_may_have_two_names_and_folders_of_one_file_may_not(tmp_path: Path) -> None:
    one, other = tmp_path / "x" / "a.png", tmp_path / "y" / "b.png"
    for path in (one, other):
        picture(path, 32, 32, seed=1)
    assert compare(one, other).means["ssim"] == pytest.approx(1)
    with pytest.raises(DataError, match=r"no partner for .*x/a\.png, .*y/b\.png"):
        compare(one.parent, other.parent)


def test_an_image_that_is_too_small_for_a_metric_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "x" / "tiny.png", 8, 8, seed=1)
    with pytest.raises(DataError, match=r"tiny\.png: ssim cannot measure it"):
        compare(tmp_path / "x", tmp_path / "x")


@needs_shared
def test_bicubic_interpolation_of_set5_has_its_published_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """28.42 dB and 0.810 for a factor of 4 in papers, whole images."""
    asked = ["compare", f"{SET5}/LRx4", f"{SET5}/HR", "--enlarge", "bicubic", "--luminance", "--border", "4", "--json"]
    assert main(asked) == 0
    means = json.loads(capsys.readouterr().out)["means"]
    assert means["psnr"] == pytest.approx(28.42, abs=0.02)
    assert means["ssim"] == pytest.approx(0.810, abs=0.002)


@needs_shared
def test_small_images_are_made_as_those_of_the_benchmark() -> None:
    """Within a level of MATLAB's, but for one number in the five images (MATLAB seems to round between its two passes).

    Not at the border, where MATLAB mirrors the image.
    """
    with ZipFile(SET5) as archive:
        for index in range(1, 6):
            true, low = (image(BytesIO(archive.read(f"{folder}/{index:03}.png"))) for folder in ("HR", "LRx4"))
            made = resize(true[None].float(), (low.shape[1], low.shape[2]), "bicubic")[0].clamp(0, 255).round()
            apart = (made - low.float()).abs()[:, 2:-2, 2:-2]
            assert float(apart.max()) <= 2
            assert int((apart > 1).sum()) <= 1
            assert float(apart.mean()) < 0.2
