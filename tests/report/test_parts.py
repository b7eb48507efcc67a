"""The parts of a page: numbers, curves, pictures and the marked text of a spec."""

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gangraph.errors import RunError
from gangraph.report.curves import Scale, averaged, binned, chart
from gangraph.report.numbers import deviating, duration, number_text
from gangraph.report.page import spec_marked
from gangraph.report.pictures import QUALITIES, films, thinned, thumbnail
from gangraph.report.reading import read_run
from gangraph.report.system import inlined
from tests.report.folders import picture, write_run


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (-3, "−3"), (1234567, "1,234,567"), (1e-7, "1e−07"), (25.0, "25")]
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [
        (0.06731, 0.00213, "0.0673 ± 0.0021"),
        (-25.38, 1.26, "−25.4 ± 1.3"),
        (1234.5, 310.0, "1,234 ± 310"),
        (2.3e-8, 1.1e-9, "2.3e−08 ± 1.1e−09"),
        (0.5, 1.1e-9, "0.5 ± 1.1e−09"),
        (0.123456, 1.1e-5, "0.123456 ± 0.000011"),
        (0.5, None, "0.5"),
        (0.5, 0.0, "0.5"),
        (None, None, "–"),
    ],
)
def test_a_deviation_says_how_many_digits_count(mean: float | None, spread: float | None, text: str) -> None:
    assert deviating(mean, spread) == text


@pytest.mark.parametrize(("seconds", "text"), [(42, "42 s"), (600, "10 min"), (5230, "1 h 27 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_many_reports_become_means_over_intervals() -> None:
    points = tuple((step, float(step % 2)) for step in range(10_001))
    line = binned(points, 10_000)
    assert len(line) == 121
    assert line[-1] == (10_000, 0.0)
    assert all(abs(value - 0.5) < 0.01 for _, value in line[:-1])


def test_few_reports_stay_as_they_are() -> None:
    points = ((0, 3.0), (50, 2.0), (100, 1.0))
    assert binned(points, 100) == points


def test_seeds_are_averaged_at_every_point_of_those_that_reach_it() -> None:
    lines = (((0, 1.0), (50, 2.0), (100, 3.0)), ((25, 3.0), (75, 5.0)))
    assert averaged(lines) == (
        (0, 1.0, 1.0, 1.0), (25, 2.25, 1.5, 3.0), (50, 3.0, 2.0, 4.0), (75, 3.75, 2.5, 5.0), (100, 3.0, 3.0, 3.0),
    )  # fmt: skip


def test_a_seed_that_ended_early_is_said_and_cuts_nothing() -> None:
    long = tuple((step, 2.0) for step in range(1, 1001))
    (panel,) = chart("loss", {"a": [long, ((1, 4.0),)]}).panels
    assert panel.note == "1 of 2 seeds ended early, at step 1"
    label = ElementTree.fromstring(panel.svg).get("aria-label") or ""
    assert label.endswith("2 at step 1,000, mean of 2 seeds; 1 of 2 seeds ended early, at step 1")
    (panel,) = chart("loss", {"a": [long, long]}).panels
    assert panel.note == ""


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "ticks"),
    [
        (0.0, 1.0, False, ("0.0", "0.5", "1.0")),
        (-2.1, 2.1, False, ("−2", "0", "2")),
        (0.6931, 0.6935, False, ("0.6931", "0.6932", "0.6933", "0.6934", "0.6935")),
        (-4e4, 0.0, False, ("−40,000", "−30,000", "−20,000", "−10,000", "0")),
        (0.04, 0.6, True, ("0.05", "0.1", "0.2", "0.5")),
        (0.001, 1000.0, True, ("0.001", "0.1", "10", "1000")),
    ],
)
def test_ticks_are_round(low: float, high: float, logarithmic: bool, ticks: tuple[str, ...]) -> None:
    found = Scale(steps=10, low=low, high=high, logarithmic=logarithmic).ticks
    assert tuple(label for _, label in found) == ticks
    assert all(low - 1e-9 <= value <= high + 1e-9 for value, _ in found)


def test_a_chart_has_a_panel_for_each_variant_on_one_scale() -> None:
    made = chart(
        "error", {"a": [((0, 2.0), (10, 1.0)), ((0, 4.0), (10, 1.5))], "b": [((0, 3.0), (10, 2.0))], "c": [()]}
    )
    assert [panel.title for panel in made.panels] == ["a", "b"]
    assert not made.logarithmic and not made.cut
    first, second = (ElementTree.fromstring(panel.svg) for panel in made.panels)
    assert first.get("aria-label") == "error of a over training: 3 at step 0, 1.25 at step 10, mean of 2 seeds"
    styles = [path.get("class") for path in first.iter("path")]
    assert (styles.count("seed"), styles.count("band"), styles.count("mean")) == (2, 1, 1)
    assert not [path for path in second.iter("path") if path.get("class") in ("seed", "band")]
    ticks = [[t.text for t in svg.iter("text") if t.get("class") == "tick"] for svg in (first, second)]
    assert ticks[0] == ticks[1]


def test_values_over_orders_of_magnitude_are_drawn_on_a_logarithmic_scale() -> None:
    assert chart("loss", {"": [((0, 100.0), (1, 1.0), (2, 0.1))]}).logarithmic
    assert not chart("loss", {"": [((0, 100.0), (1, 1.0), (2, -0.1))]}).logarithmic


def test_a_spike_runs_along_the_edge_and_is_said() -> None:
    points = tuple((step, -1.0 - 0.01 * step if step != 50 else -9e6) for step in range(110))
    made = chart("loss", {"": [points]})
    assert made.cut
    (svg,) = (ElementTree.fromstring(panel.svg) for panel in made.panels)
    line = next(path.get("d") for path in svg.iter("path") if path.get("class") == "mean")
    heights = [float(point.split()[1]) for point in line.removeprefix("M").split("L")]  # type: ignore[union-attr]
    assert all(0 <= y <= 190 for y in heights)


def test_noise_of_the_last_digits_is_not_enlarged() -> None:
    (panel,) = chart("loss", {"": [((0, 0.5), (10, 0.5000001))]}).panels
    line = next(path.get("d") for path in ElementTree.fromstring(panel.svg).iter("path") if path.get("class") == "mean")
    first, last = (float(point.split()[1]) for point in (line or "").removeprefix("M").split("L"))
    assert abs(first - last) < 1


@pytest.mark.parametrize("points", [((0, 1.0),), ((0, 1.0), (10, 1.0)), ((5, 0.0),)])
def test_a_flat_or_single_value_can_be_drawn(points: tuple[tuple[int, float], ...]) -> None:
    (panel,) = chart("loss", {"": [points]}).panels
    assert "nan" not in panel.svg
    ElementTree.fromstring(panel.svg)


@pytest.mark.parametrize(("count", "kept"), [(20, [*range(11)]), (3, [0, 5, 10]), (2, [0, 10]), (1, [10])])
def test_thinned_films_keep_their_ends(count: int, kept: list[int]) -> None:
    steps = [(step, Path()) for step in range(11)]
    assert [step for step, _ in thinned(steps, count)] == kept


def test_films_hold_every_grid_of_every_run_within_the_budget(tmp_path: Path) -> None:
    runs = {
        name: read_run(write_run(tmp_path / name, pictures=grids, reports=30, size=(120, 80)))
        for name, grids in (("a", ("", "walk")), ("b", ("",)))
    }
    budget = 60_000
    made = films(runs, budget)
    assert [(film.name, [reel.label for reel in film.reels]) for film in made] == [("", ["a", "b"]), ("walk", ["a"])]
    assert 0 < sum(len(frame.source) for film in made for reel in film.reels for frame in reel.frames) <= budget
    assert all(reel.last.step == 100 for film in made for reel in film.reels)
    assert len(made[0].steps) < 30
    whole = films(runs, 10**9)
    assert len(whole[0].steps) == QUALITIES[0].frames
    assert (whole[0].reels[0].last.width, whole[0].reels[0].last.height) == (120, 80)


def test_pictures_that_fit_no_budget_are_left_out(tmp_path: Path) -> None:
    assert films({"": read_run(write_run(tmp_path / "run"))}, 10) == ()


def test_a_film_shows_for_every_step_the_newest_picture(tmp_path: Path) -> None:
    runs = {"a": read_run(write_run(tmp_path / "a", reports=3)), "b": read_run(write_run(tmp_path / "b", reports=5))}
    (film,) = films(runs)
    assert film.steps == (0, 25, 50, 75, 100)
    assert film.script["shown"] == [[0, 0, 1, 1, 2], [0, 1, 2, 3, 4]]


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "samples" / "00000100.png").write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"00000100\.png' is damaged"):
        films({"": read_run(folder)})


@pytest.mark.parametrize(
    ("size", "shown"),
    [((400, 1000), (200, 150)), ((320, 340), (200, 212)), ((960, 340), (200, 71))],
    ids=["rows of samples: the upper part", "one plot: whole", "several plots: whole"],
)
def test_a_thumbnail_shows_plots_whole_and_of_rows_the_upper_part(
    size: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    picture(size, 0).save(tmp_path / "last.png")
    made = thumbnail([(7, tmp_path / "last.png")], 200)
    assert (made.step, made.width, made.height) == (7, *shown)


def test_the_text_of_a_spec_is_escaped_and_marked() -> None:
    text = 'let: {hue: "#fff"}  # a <comment>\n- {x: 1}\n  b.c: d'
    assert spec_marked(text) == (
        "<b>let</b>: {hue: &#34;#fff&#34;} <i> # a &lt;comment&gt;</i>\n- {x: 1}\n  <b>b.c</b>: d"
    )


def test_a_drawing_keeps_its_ids_and_styles_to_itself() -> None:
    svg = (
        '<svg role="img" aria-labelledby="title about"><title id="title">t</title><desc id="about">d</desc>'
        "<style>text,.m{fill:red}.b{x:y}\n@media (prefers-color-scheme:dark){text{fill:blue}}</style></svg>"
    )
    assert inlined(svg, "g") == (
        '<svg role="img" id="g" aria-labelledby="g-title g-about"><title id="g-title">t</title>'
        '<desc id="g-about">d</desc>'
        "<style>#g text,#g .m{fill:red}#g .b{x:y}"
        "@media screen and (prefers-color-scheme:dark){#g text{fill:blue}}</style></svg>"
    )


def test_the_scale_bends_only_what_is_logarithmic() -> None:
    straight = Scale(steps=1, low=1.0, high=100.0, logarithmic=False)
    bent = Scale(steps=1, low=1.0, high=100.0, logarithmic=True)
    assert math.isclose(bent.y(10.0), (bent.y(1.0) + bent.y(100.0)) / 2)
    assert straight.y(10.0) > bent.y(10.0)
