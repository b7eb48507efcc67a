"""A photograph of 4,000 x 3,000 pixels through CycleGAN's generators, and a transform network, within 4 GB.

    python -m pytest -m long tests/long/test_large_image.py

takes some minutes on two cores. `tests/test_anysize.py` holds the short forms: tiles stay below the bound of memory.
"""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gangraph
from gangraph.session.run import run

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("name", "network", "params", "said"),
    [
        ("cyclegan", "G", {"filters": 16}, "images keep their size"),
        ("cyclegan", "G", {"filters": 32}, "they are approximate"),
        ("johnson", "T", {"filters": 32, "blocks": 5, "normed": "batch_norm"}, "which changes nothing"),
        ("johnson", "T", {"filters": 32, "blocks": 5, "normed": "instance_norm(affine=true)"}, "they are approximate"),
    ],
)
def test_a_large_photograph_fits_into_4_gb(
    tmp_path: Path, name: str, network: str, params: dict[str, object], said: str
) -> None:
    y, x = np.mgrid[:3000, :4000]
    colours = np.stack([120 + 100 * np.sin(x / 90), 90 + y / 30, 160 + 60 * np.cos((x + y) / 50)], -1)
    Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "photo.jpg", quality=95)
    spec = gangraph.load(name, profile="quick", set={f"params.{key}": value for key, value in params.items()})
    folder = run(spec, out=tmp_path / "run", steps=1, device="cpu")
    given = ["apply", str(folder), "--network", network, "--device", "cpu"]
    given += ["--input", str(tmp_path / "photo.jpg"), "--output", str(tmp_path / "made.png")]
    done = subprocess.run([sys.executable, "-m", "gangraph", *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr
    with Image.open(tmp_path / "made.png") as made:
        assert made.size == (4000, 3000)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 4e9
