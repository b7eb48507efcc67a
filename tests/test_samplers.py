"""Samplers: pictures of a trained run that are drawn when they are asked for."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from gangraph import Trainer
from gangraph.cli import app
from gangraph.errors import RunError, SpecError, UsageError
from gangraph.evaluate.film import save_film
from gangraph.evaluate.pictures import frames, picture
from gangraph.language.expression.model import unparse
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.pipeline import check_spec
from gangraph.registry import vocabulary
from gangraph.session.run import run
from gangraph.session.sample import sample
from gangraph.views.diff import differences
from gangraph.vocabulary.coupled import BatchError
from tests.support import read

SPEC = """
gangraph: 1
name: samplers
data: {{x: world(size=8), z: normal(4), other: normal(4)}}
networks:
  G: {{inputs: z, layers: "linear(192), reshape(3, 8, 8), tanh"}}
  D: {{inputs: x, layers: "flatten, linear(1)"}}
values: {{fake: G(z)}}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  length: 2 steps
  optimizers: {{g: adam(G), d: adam(D)}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
evaluate:
  samples: 6
  grid: {{seen: [fake], both: [x, fake]}}
  metrics: {{spread: mean(abs(fake))}}
  results: {{brightness: mean(fake + 0 * G(normal(4)))}}
  {samplers}
"""
SAMPLERS = """samplers:
    pairs: {show: "[G(z), G(other)]", samples: 5}
    walk: {frames: "[G(lerp(z, other, k / 3)) for k in 0..3]", rate: 5}
    mixing: {show: "[G(z) if k < 0 else G(z + pick(other, k)) for k in [-1, 0, 1, 2]]", above: G(other), samples: 3}"""


def spec(samplers: str = SAMPLERS.replace("[G(z), G(other)]", "[G(z), G(other)]")) -> str:
    return SPEC.format(samplers=samplers)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(read(spec()), out=tmp_path_factory.mktemp("runs") / "run")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_sampler_shows_columns_of_as_many_samples_as_it_says(trained: Path) -> None:
    shown = pixels(sample(trained, name="pairs"))
    tile = 8 * 12 + 2  # pixels of an enlarged image, and the gap
    assert shown.shape[:2] == (22 + 5 * tile + 2, 2 * (tile + 2))
    assert sample(trained, name="pairs").name == "pairs-00000002.png"
    assert pixels(sample(trained, name="pairs", count=2)).shape[0] == 22 + 2 * tile + 2


def test_frames_are_an_animation_at_their_rate(trained: Path) -> None:
    written = sample(trained, name="walk")
    assert written.suffix == ".gif"
    with Image.open(written) as shown:
        assert (getattr(shown, "n_frames", 1), shown.info["duration"], shown.info["loop"]) == (4, 200, 0)


def test_the_frames_go_from_the_first_value_to_the_last(trained: Path, tmp_path: Path) -> None:
    trainer = Trainer.resume(trained)
    evaluation = trainer.evaluate(6)
    assert evaluation is not None
    (first,) = evaluation.grids["seen"].values()
    with Image.open(sample(trained, name="walk")) as shown:
        begins = np.asarray(shown.convert("RGB")).astype(int)
    expected = np.asarray(frames([first, first], [(-1.0, 1.0)] * 2)[0]).astype(int)
    assert np.abs(begins - expected).mean() < 12  # a GIF has 256 colours


def test_every_pair_of_two_batches_under_one_of_them(trained: Path) -> None:
    tile = 8 * 12 + 2
    assert pixels(sample(trained, name="mixing")).shape[:2] == (22 + 4 * tile + 2, 4 * (tile + 2))


def test_what_stands_above_is_aligned_to_the_last_columns() -> None:
    columns = {name: torch.full((2, 3, 4, 4), value) for name, value in (("a", 0.2), ("b", 0.4), ("c", 0.6))}
    above = torch.stack([torch.full((3, 4, 4), 0.8), torch.full((3, 4, 4), 0.9)])
    unit = (0.0, 1.0)
    made = picture(columns, dict.fromkeys(columns, unit), above=above, above_range=unit, first=1)
    assert made is not None
    shown, size = np.asarray(made), 96
    heads = [int(shown[22 + 2 + size // 2, (size + 4) * i + 2 + size // 2, 0]) for i in range(3)]
    below = [int(shown[22 + size + 4 + size // 2, (size + 4) * i + 2 + size // 2, 0]) for i in range(3)]
    assert heads == [255, 204, 230]
    assert below == [51, 102, 153]


def test_another_seed_draws_other_samples(trained: Path, tmp_path: Path) -> None:
    same = [pixels(sample(trained, name="pairs", out=tmp_path / f"{i}.png")) for i in range(2)]
    other = pixels(sample(trained, name="pairs", seed=1, out=tmp_path / "other.png"))
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], other)
    assert np.array_equal(same[0], pixels(sample(trained, name="pairs", seed=0, out=tmp_path / "own.png")))


def test_grids_are_drawn_by_name_too(trained: Path) -> None:
    assert np.array_equal(pixels(sample(trained)), pixels(sample(trained, name="seen")))
    assert pixels(sample(trained, name="both")).shape[1] > pixels(sample(trained, name="seen")).shape[1]


def test_samplers_change_no_number_and_no_fingerprint() -> None:
    plain, rich = read(spec("")), read(spec())
    assert fingerprint(plain) == fingerprint(rich)
    assert evaluation_fingerprint(plain.phases[0]) == evaluation_fingerprint(rich.phases[0])


def test_a_picture_leaves_the_run_as_it_is(trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file() and "samples" not in path.parts}
    sample(trained, name="walk")
    assert before == {path: path.read_bytes() for path in before}


def test_an_unknown_name_is_told_with_the_nearest(trained: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no sampler 'wlk': one of pairs, walk, mixing, seen, both; did you mean 'walk'"
    ):
        sample(trained, name="wlk")
    told = CliRunner().invoke(app, ["sample", str(trained), "--as", "wlk"])
    assert told.exit_code == 1


def test_an_animation_is_no_png(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"written as \.gif or \.apng or \.mp4, not as 'walk\.png'"):
        sample(trained, name="walk", out=tmp_path / "walk.png")
    with pytest.raises(UsageError, match=r"written as \.png, not as 'pairs\.mp4'"):
        sample(trained, name="pairs", out=tmp_path / "pairs.mp4")


def test_an_apng_has_the_frames_as_they_are(trained: Path, tmp_path: Path) -> None:
    with Image.open(sample(trained, name="walk", out=tmp_path / "walk.apng")) as shown:
        assert (getattr(shown, "n_frames", 1), shown.info["duration"], shown.info["loop"]) == (4, 200, 0)
        made = np.asarray(shown.convert("RGB")).astype(int)
    with Image.open(sample(trained, name="walk")) as gif:
        near = np.asarray(gif.convert("RGB")).astype(int)
    assert made.shape == near.shape and 0 < np.abs(made - near).mean() < 12


def test_a_film_needs_a_package_that_is_named_before_anything_is_drawn(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"needs the package av: pip install 'gangraph\[video\]'; 'walk\.gif' and"):
        sample(trained, name="walk", out=tmp_path / "new" / "walk.mp4")
    assert not (tmp_path / "new").exists()


def test_a_film_has_the_frames_at_their_rate_and_even_sides(tmp_path: Path) -> None:
    import av

    shown = [Image.new("RGB", (31, 20), (colour, 128, 255 - colour)) for colour in (0, 100, 200)]
    save_film(shown, tmp_path / "walk.mp4", rate=5)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]
    with av.open(str(tmp_path / "walk.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.width, stream.height) == (3, 5, 32, 20)
        found = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    for frame, made in zip(shown, found, strict=True):
        assert np.abs(made[4:-4, 4:-8] - np.asarray(frame)[4:-4, 4:-7]).max() < 12


def test_too_few_samples_to_pick_from(trained: Path) -> None:
    with pytest.raises(RunError, match="a batch of 2 has no sample 2"):
        sample(trained, name="mixing", count=2)


def test_pick_puts_one_sample_in_every_place() -> None:
    pick = vocabulary["pick"].function
    x = torch.arange(6.0).reshape(3, 2)
    assert pick(x, 1).tolist() == [[2.0, 3.0]] * 3
    with pytest.raises(BatchError, match="counted from 0"):
        pick(x, -1)


def test_more_samples_leave_those_above_where_they_were(trained: Path) -> None:
    tile = 8 * 12 + 2
    some, more = (pixels(sample(trained, name="mixing", count=count))[22 : 22 + tile] for count in (4, 8))
    assert np.array_equal(some, more)
    assert (more[:, :tile] == 255).all()  # what is alone at the left, and under nothing


def test_a_family_of_samplers() -> None:
    members = 'samplers: {"walk[k in 1..2]": {show: "G(k * z)", samples: k}}'
    evaluate = read(spec(members)).phases[0].evaluate
    assert evaluate is not None
    shown = {name: (*map(unparse, sampler.columns), sampler.samples) for name, sampler in evaluate.samplers.items()}
    assert shown == {"walk[1]": ("G(1 * z)", 1), "walk[2]": ("G(2 * z)", 2)}


@pytest.mark.parametrize(
    ("written", "code", "found"),
    [
        ('"../walk": {show: [fake]}', "GG102", "'..'"),
        ('walk: {show: "[fake if k > 3 for k in 1..3]"}', "GG232", "none"),
        ("walk: {frames: none}", "GG232", "none"),
        ("walk: {show: [fake, x], above: x}", "GG232", "6 samples above 2 columns"),
        ("walk: {show: [z, other], above: z, samples: 2}", "GG561", "[4, 2]"),
    ],
    ids=["a name that is a path", "no column", "nothing", "more above than columns", "points under points"],
)
def test_what_is_wrong_with_a_sampler(written: str, code: str, found: str) -> None:
    text = spec(f"samplers: {{{written}}}").replace("normal(4)", "normal(2)")
    with pytest.raises(SpecError) as error:
        check_spec(read(text))
    problem = next(problem for problem in error.value.problems if problem.severity == "error")
    assert (problem.code, problem.found) == (code, found)


def test_a_difference_between_samplers_is_told_as_a_spec_writes_it() -> None:
    first, second = read(spec("samplers: {walk: {frames: [fake, x]}}")), read(spec("samplers: {}"))
    (told,) = map(str, differences(first, second))
    assert told == "sampler walk is gone; it was frames: [fake, x], samples: 6, rate: 12"


def test_a_picture_of_a_grid_is_that_of_a_look_and_needs_no_metric(trained: Path, tmp_path: Path) -> None:
    assert np.array_equal(pixels(sample(trained, name="seen")), pixels(trained / "samples" / "latest.png"))
    strict = spec("").replace("mean(abs(fake))", '"frechet_distance(flatten(x), flatten(fake))"')
    folder = run(read(strict), out=tmp_path / "run")
    assert sample(folder, count=1).is_file()  # one sample, of which there is no such distance


def looked(folder: Path) -> list[int]:
    """After which steps a run has left a picture of its first grid."""
    return sorted(int(path.stem) for path in (folder / "samples").glob("*.png") if path.stem.isdigit())


def test_a_grid_as_a_film_is_what_each_evaluation_has_shown(trained: Path, tmp_path: Path) -> None:
    for name, ending in (("seen", ""), ("both", "-both")):
        paths = [trained / "samples" / f"{step:08d}{ending}.png" for step in looked(trained)]
        with Image.open(sample(trained, name=name, out=tmp_path / f"{name}.apng")) as film:
            assert film.n_frames == len(paths) > 0
            for place, path in enumerate(paths):
                film.seek(place)
                look = pixels(path)
                assert np.array_equal(np.asarray(film.convert("RGB"))[-len(look) :, : look.shape[1]], look)


def test_the_first_grid_is_the_film_and_repeats(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    Image.new("RGB", (4, 3), "blue").save(folder / "samples" / "00000001.png")
    with Image.open(sample(folder, out=tmp_path / "first.gif")) as film:
        assert (film.n_frames, film.info["duration"], film.info["loop"]) == (len(looked(folder)), 120, 0)


def test_looks_of_other_heights_stand_on_one_ground(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    Image.new("RGB", (4, 3), "red").save(folder / "samples" / "00000000.png")
    with Image.open(sample(folder, name="seen", out=tmp_path / "looks.apng")) as film:
        frame = np.asarray(film.convert("RGB"))
    assert frame.shape == pixels(trained / "samples" / "00000002.png").shape
    assert (frame[-3:, :4] == (255, 0, 0)).all() and (frame[:-3] == 255).all()


@pytest.mark.parametrize("chosen", [{"count": 2}, {"seed": 1}, {"which": "latest"}, {"sentences": ("a",)}])
def test_a_film_of_a_grid_chooses_nothing(trained: Path, tmp_path: Path, chosen: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="takes no --checkpoint, --count, --seed or --text"):
        sample(trained, name="seen", out=tmp_path / "looks.gif", **chosen)  # type: ignore[arg-type]


def test_a_film_of_looks_that_are_gone_or_broken(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    (folder / "samples" / "00000002.png").write_text("no image")
    with pytest.raises(RunError, match=r"00000002\.png' cannot be read"):
        sample(folder, name="seen", out=tmp_path / "looks.gif")
    for path in (folder / "samples").glob("*-both.png"):
        path.unlink()
    with pytest.raises(RunError, match="no evaluation has left a picture of grid 'both'"):
        sample(folder, name="both", out=tmp_path / "looks.gif")
    alone = Path(shutil.copytree(next((folder / "checkpoints").glob("step-*")), tmp_path / "alone"))
    with pytest.raises(UsageError, match="a checkpoint alone"):
        sample(alone, name="seen", out=tmp_path / "looks.gif")
