"""Real images and pretrained networks for tests of metrics, where they are there."""

import os
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

SHARED = Path(os.environ.get("GANGRAPH_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
WEIGHTS = SHARED / "pretrained"
needs_shared = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"no real data and weights in {SHARED}")


def image(file: Path | BytesIO) -> Tensor:
    """An image file as levels [3, H, W], uint8."""
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)


def signed(levels: Tensor) -> Tensor:
    """Levels of 8 bits in [-1, 1]."""
    return levels.float() / 127.5 - 1


def patch(name: str) -> Tensor:
    """One of the example patches of the authors of LPIPS, [1, 3, 64, 64] in [-1, 1]."""
    return signed(image(WEIGHTS / f"{name}.png"))[None]


def enlarged(index: int) -> tuple[Tensor, Tensor]:
    """Image `index` of Set5 from its quarter size by bicubic interpolation, and itself: [1, 3, H, W] in [-1, 1]."""
    with ZipFile(SHARED / "sr_benchmarks" / "set5_x4.zip") as archive:
        small, large = (Image.open(BytesIO(archive.read(f"{folder}/{index:03}.png"))) for folder in ("LRx4", "HR"))
        pair = small.convert("RGB").resize(large.size, Image.Resampling.BICUBIC), large.convert("RGB")
    made, true = (signed(torch.from_numpy(np.array(each)).permute(2, 0, 1))[None] for each in pair)
    return made, true


def photos(count: int, start: int = 0) -> Tensor:
    """Real photos [count, 3, 128, 128], uint8."""
    with ZipFile(SHARED / "photos_imagenet200" / "imagenet200_128.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[start : start + count]
        return torch.stack([image(BytesIO(archive.read(name))) for name in names])


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Noise in [-1, 1)."""
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    """Gaussian numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
