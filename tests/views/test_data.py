"""What `show --as data` tells of sources, with their files and without."""

from pathlib import Path

import numpy as np
import pytest

from gangraph.pipeline import check_spec, load
from gangraph.views.data import data_text
from tests.support import read

SPEC = """
gangraph: 1
name: told
data:
  x: digits(size=8)
  z: normal(2)
  places: permutation(16, count=5)
  kept: {kept}
networks:
  G: mlp(widths=[4], outputs=64)
losses:
  fool: mean(G(z)) + mean(kept)
train:
  batch: 4
  length: 100 steps
  optimizers: {{g: "sgd(G, lr=0.1)"}}
  step: [{{update: g, minimize: fool}}]
"""


def told(kept: str) -> list[str]:
    (phase,) = check_spec(read(SPEC.format(kept=kept)))
    return data_text(phase).splitlines()


def test_a_row_tells_shape_type_range_classes_and_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "kept.npz", x=np.zeros((7, 3), dtype=np.float32))
    rows = [line.split("  ") for line in told(f'npz("{tmp_path / "kept.npz"}", key="x", shape=[3], range="raw")')]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["data", "shape", "dtype", "range", "classes", "samples"],
        ["x.image", "[1, 8, 8]", "float32", "[-1, 1]", "1,257"],
        ["x.label", "[]", "int64", "[0, 9]", "10", "1,257"],
        ["z", "[2]", "float32", "any", "drawn"],
        ["places", "[5]", "int64", "[0, 15]", "16", "drawn"],
        ["kept", "[3]", "float32", "any", "7"],
    ]


def test_without_its_files_a_source_tells_all_but_their_number() -> None:
    lines = told('images("nowhere", size=8)')
    assert lines[5].split() == ["kept", "[3,", "8,", "8]", "float32", "[-1,", "1]", "unknown"]
    assert lines[7:] == ["kept: there is no 'nowhere'"]


@pytest.mark.parametrize("name", ["cyclegan", "acgan", "infogan", "pix2pix", "pixelcnn", "cogan"])
def test_no_line_is_longer_than_80_columns(name: str) -> None:
    for phase in check_spec(load(name, profile="paper")):
        assert max(map(len, data_text(phase).splitlines())) <= 80
