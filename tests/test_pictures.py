"""Pictures: a value becomes a colour by the range that is declared, and what is left out is said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gangraph.check.shown import picture_ranges
from gangraph.evaluate import pictures
from gangraph.evaluate.pictures import clipped, frames, image_of, picture
from gangraph.pipeline import check_spec
from gangraph.session.run import run
from gangraph.session.sample import sample
from tests.support import read

SPEC = """
gangraph: 1
name: pictures
data:
  x: images("{folder}", size=8, range="{range}", augment=false)
  z: normal(4)
networks:
  G: {{inputs: z, layers: "linear(192), reshape(3, 8, 8){last}"}}
  D: {{inputs: x, layers: "flatten, linear(1)"}}
values: {{fake: G(z){values}}}
losses:
  judge: logistic.critic(real=D(x), fake=D({judged}))
  fool: logistic.generator(D({judged}))
train:
  batch: 2
  length: 1 steps
  optimizers: {{g: adam(G), d: adam(D)}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
evaluate:
  samples: 2
  data: {{other: normal(4)}}
  grid: {{seen: "{grid}"}}
"""


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    """Two images of mean 220: no value of them is below the middle of the range."""
    folder = tmp_path / "bright"
    folder.mkdir()
    for index in range(2):
        Image.new("RGB", (8, 8), (220, 215 + index, 225)).save(folder / f"{index}.png")
    return folder


def spec(folder: Path | str, **changes: str) -> str:
    given = {"range": "tanh", "last": ", tanh", "values": "", "judged": "fake", "grid": "[x, fake]"}
    return SPEC.format(folder=folder, **{**given, **changes})


def ranges(text: str) -> list[tuple[float, float] | None]:
    """The ranges of the columns of the grid."""
    (checked,) = check_spec(read(text))
    assert checked.graph.evaluation is not None
    known = picture_ranges(checked)
    return [known.get(node) for _, node in checked.graph.evaluation.grids["seen"]]


# Ranges


@pytest.mark.parametrize("declared", ["tanh", "unit"])
def test_a_bright_image_is_shown_as_bright_as_it_is(bright: Path, tmp_path: Path, declared: str) -> None:
    last = ", tanh" if declared == "tanh" else ", sigmoid"
    folder = run(read(spec(bright, range=declared, last=last)), out=tmp_path / "run")
    shown = np.asarray(Image.open(folder / "samples" / "latest.png"))
    tiles = sorted(tuple(map(int, shown[22 + 2 + 98 * row, 2])) for row in range(2))
    assert tiles == [(220, 215, 225), (220, 216, 225)]
    drawn = np.asarray(Image.open(sample(folder, out=tmp_path / "drawn.png")))
    assert sorted(tuple(map(int, drawn[22 + 2 + 98 * row, 2])) for row in range(2)) == tiles


@pytest.mark.parametrize("interval", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-2.0, 3.0)])
def test_every_level_survives_the_way_into_a_range_and_back(interval: tuple[float, float]) -> None:
    levels = torch.arange(256).reshape(1, 16, 16)
    value = levels / 255 * (interval[1] - interval[0]) + interval[0]
    assert torch.equal(torch.from_numpy(np.array(image_of(value, interval))), levels[0].to(torch.uint8))


def test_data_and_bounded_last_layers_are_shown_in_the_range_that_they_declare() -> None:
    assert ranges(spec("a")) == [(-1, 1), (-1, 1)]
    assert ranges(spec("a", range="unit", last=", sigmoid")) == [(0, 1), (0, 1)]
    assert ranges(spec("a", grid="[clamp(3 * fake, -1, 1), 0.5 * x + 0.5, (x + 1) / 2, x - fake]")) == [
        (-1, 1), (0, 1), (0, 1), (-2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("declared", ["tanh", "unit"])
def test_a_network_without_a_bounded_last_layer_is_shown_as_the_data_that_one_critic_sees(declared: str) -> None:
    expected = (-1, 1) if declared == "tanh" else (0, 1)
    columns = "[fake, G(other), G(lerp(z, other, 0.5)), lerp(G(z), G(other), 0.5), resize(fake, 16)]"
    assert ranges(spec("a", range=declared, last="", grid=columns)) == [expected] * 5
    assert ranges(spec("a", range=declared, last="", judged="resize(crop(fake, 6, 6), 8)")) == [expected] * 2


def test_a_network_without_a_bounded_last_layer_is_shown_as_the_data_that_a_loss_compares_it_with() -> None:
    text = spec("a", range="unit", last="").replace("logistic.generator(D(fake))", "l2(x, fake)")
    assert ranges(text.replace("fake=D(fake)", "fake=D(x)")) == [(0, 1), (0, 1)]


def test_where_nothing_tells_the_range_there_is_none() -> None:
    noisy = "fake + normal(3, 8, 8)"
    assert ranges(spec("a", last="", judged=noisy)) == [(-1, 1), None]
    assert ranges(spec("a", grid="[relu(fake) * exp(fake), normal(3, 8, 8)]")) == [None, None]


def test_what_has_no_range_is_shown_from_lowest_to_highest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(monkeypatch)
    value = torch.linspace(-0.5, 4.25, 64).reshape(1, 1, 8, 8)
    assert np.ptp(np.asarray(picture({"a": value}, {"a": None}))[30:, :]) == 255
    assert said == ["a", "from -0.5 to 4.25"]
    said.clear()
    assert picture({"a": value}, {"a": (-1.0, 5.0)}) is not None
    assert said == ["a"]
    (shown, _) = frames([value, value], [None, None])
    assert said[-1] == "from -0.5 to 4.25" and shown.height == 96 + 15


def test_a_constant_without_a_range_is_grey() -> None:
    shown = picture({"a": torch.full((1, 1, 8, 8), 3.0)}, {"a": None})
    assert shown is not None and shown.getpixel((50, shown.height - 50)) == (128, 128, 128)


def test_values_that_are_clipped_are_counted_in_the_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(monkeypatch)
    value = torch.zeros(2, 3, 10, 10)
    value[:, :, :3] = 1.7
    assert clipped(value, (-1, 1)) == pytest.approx(0.3)
    assert clipped(torch.tensor([1.003, -1.003]), (-1, 1)) == 0  # half a step of 8 bits
    assert picture({"a": value, "b": value / 2}, dict.fromkeys("ab", (-1.0, 1.0))) is not None
    assert said == ["a", "30% clipped", "b"]


def test_points_that_are_not_finite_are_counted_and_the_others_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(monkeypatch)
    points = torch.linspace(-1, 1, 16).reshape(8, 2)
    broken = points.clone()
    broken[0, 0], broken[3, 1] = float("nan"), float("inf")
    whole, shown = picture({"a": points}, {"a": None}), picture({"a": broken}, {"a": None})
    assert said == ["a: 2 of 8 points are not finite"]
    kept = picture({"a": points[[1, 2, 4, 5, 6, 7]]}, {"a": None})
    assert whole is not None and shown is not None and kept is not None and shown.height == whole.height + 15
    assert np.array_equal(np.asarray(shown)[: kept.height], np.asarray(kept))
    for value in (float("nan"), float("inf"), 3e38):
        assert picture({"a": torch.full((8, 2), value), "b": points}, dict.fromkeys("ab")) is not None
    assert said[1:] == ["a: 8 of 8 points are not finite"] * 2


def test_numbers_that_are_not_finite_leave_the_others_their_range(monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(monkeypatch)
    value = torch.linspace(2, 4, 64).reshape(1, 1, 8, 8)
    value[0, 0, 0, 0] = float("nan")
    for draw in (lambda: picture({"a": value}, {"a": None}), lambda: frames([value, value], [None, None])[0]):
        shown = draw()
        assert shown is not None and np.ptp(np.asarray(shown)[40:110]) > 150
        assert "not finite" in said and "from 2.03 to 4" in said
        said.clear()


# Channels, rows and headings


@pytest.mark.parametrize(
    ("channels", "told"), [(1, []), (2, ["2 channels: red,", "green"]), (3, []), (5, ["channels 1-3 of 5"])]
)
def test_images_of_any_number_of_channels_are_shown(
    channels: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = texts(monkeypatch)
    value = torch.stack([torch.full((8, 8), 0.2 * (c + 1)) for c in range(channels)])[None]
    shown = picture({"a": value}, {"a": (0.0, 1.0)})
    assert shown is not None and said == ["a", *told]
    expected = {1: (51, 51, 51), 2: (51, 102, 0)}.get(channels, (51, 102, 153))
    assert shown.getpixel((50, shown.height - 50)) == expected


def test_maps_of_classes_are_shown_and_what_is_no_image_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(monkeypatch)
    columns = {"map": torch.tensor([[[0, 1], [2, 3]]]), "code": torch.zeros(1, 7)}
    shown = picture(columns, {"map": (0.0, 3.0), "code": None})
    assert shown is not None and said == ["map", "no image: code", "[7]"]
    assert [shown.getpixel(at) for at in ((20, 40), (70, 40), (20, 100), (70, 100))] == [
        (level,) * 3 for level in (0, 85, 170, 255)
    ]


def test_a_grid_has_at_most_a_screenful_of_rows_and_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(monkeypatch)
    columns, unit = {name: torch.zeros(500, 3, 64, 64) for name in "abc"}, dict.fromkeys("abc", (0.0, 1.0))
    shown = picture(columns, unit)
    assert shown is not None and shown.height < 1100 and "the first 8 of 500 samples" in said
    said.clear()
    square = picture({"a": columns["a"]}, unit)
    assert square is not None and square.height < 1100 and square.width < 1100
    assert "the first 256 of 500 samples" in said
    said.clear()
    (frame,) = frames([columns["a"]], [(0.0, 1.0)])
    assert frame.height < 1100 and said == ["the first 64 of 500 samples"]


def test_headings_are_names_or_short_forms_and_never_the_beginning_of_an_expression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, image = texts(monkeypatch), torch.zeros(1, 3, 8, 8)
    labels = ["x", "as[0]", "G(z)", "Ss(crossover(w, v, 3, layers))", "x.image", "a_name_that_fills_more_than_a_column"]
    assert picture(dict.fromkeys(labels, image), dict.fromkeys(labels, (0.0, 1.0)), name="mixing") is not None
    assert said[:5] == ["x", "as[0]", "G(z)", "mixing 4", "x.image"]
    assert said[5].startswith("a_name_that") and said[5].endswith("...")
    said.clear()
    assert picture(dict.fromkeys(labels, image), dict.fromkeys(labels, (0.0, 1.0))) is not None
    assert said[3] == "column 4"


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on pictures from now on."""
    said: list[str] = []
    draw = pictures.ImageDraw.Draw

    def listening(canvas: Image.Image) -> ImageDraw.ImageDraw:
        drawing = draw(canvas)
        write = drawing.text
        monkeypatch.setattr(drawing, "text", lambda at, text, **how: (said.append(text), write(at, text, **how)))
        return drawing

    monkeypatch.setattr(pictures.ImageDraw, "Draw", listening)
    return said
