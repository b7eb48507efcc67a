"""Data of one's own: a folder after `--set`, with natural quoting, and held-out images that are there or are missed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gangraph.check.held_out import trained_on
from gangraph.cli import main
from gangraph.errors import SpecError
from gangraph.language.document.library import shipped
from gangraph.language.expression.model import Call, Literal
from gangraph.pipeline import check_spec, load

FOLDERS = {"cyclegan": ("x.folder", "y.folder"), "pix2pix": ("pair.a", "pair.b")}
SMALL = {
    "cyclegan": ("size=16", "load=18", "filters=2", "blocks=1", "field=16", "train.length='2 steps'"),
    "pix2pix": ("size=32", "load=34", "filters=2", "levels=5", "field=16", "widest=34", "train.length='2 steps'"),
}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two folders with photographs of the same names."""
    random = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for index in range(4):
            pixels = random.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def own(spec: str, *more: str) -> list[str]:
    """The arguments for one's own photographs: one `--set` a folder."""
    paths = [f"data.{place}=photos/{folder}" for place, folder in zip(FOLDERS[spec], "ab", strict=True)]
    return [part for each in (*paths, *more) for part in ("--set", each.replace("'", ""))]


def folder_of(**settings: object) -> object:
    """What `--set data.x.folder=...` comes to in cyclegan's profile for folders."""
    spec = load("cyclegan", profile="folders", set={f"data.x.{key}": value for key, value in settings.items()})
    call = spec.phases[0].data["x"]
    assert isinstance(call, Call)
    if spec.problems:
        raise SpecError(spec.problems)
    found = dict(call.keywords)["folder"]
    return found.value if isinstance(found, Literal) else found


def test_every_spec_with_a_profile_for_folders_is_tried_here() -> None:
    assert {name for name in shipped() if "folders" in load(name).profiles} == set(FOLDERS)


@pytest.mark.parametrize("spec", FOLDERS)
def test_one_setting_a_folder_is_enough_to_train_on_photographs_of_ones_own(
    spec: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", spec, "--profile", "folders", *own(spec, *SMALL[spec])]) == 0
    said = capsys.readouterr().out
    streams = "x, y" if spec == "cyclegan" else "pair"
    assert f"the evaluation reads samples of training: {streams}; others are set by evaluate.data." in said
    assert (photos / "runs" / f"{spec}-folders-001" / "samples" / "latest.png").is_file()


@pytest.mark.parametrize("spec", FOLDERS)
def test_held_out_images_are_those_of_the_folder_unless_given(spec: str) -> None:
    settings = {f"data.{place}": "photos/a" for place in FOLDERS[spec]}
    (checked,) = check_spec(load(spec, profile="folders", set=settings))
    seen = checked.graph.evaluation
    assert seen is not None
    assert trained_on(checked.graph) == tuple(seen.graph.spec.evaluate.data)  # type: ignore[union-attr]
    for name in trained_on(checked.graph):
        source = seen.graph.sources[name]
        assert not source.augment and source.crop is None  # type: ignore[union-attr]  # whole, and not by chance
    given = {f"evaluate.{path}": "photos/held_out" for path in settings}
    (checked,) = check_spec(load(spec, profile="folders", set={**settings, **given}))
    assert trained_on(checked.graph) == ()


def test_a_run_on_held_out_samples_says_nothing_of_training() -> None:
    assert all(trained_on(phase.graph) == () for name in ("cyclegan", "pix2pix") for phase in check_spec(load(name)))


@pytest.mark.parametrize(
    "written",
    [
        "photos/a", "photos", "./a", "../a/b", "/abs/photos", "~/photos", "my photos/a", "a.zip/trainA", "photos-2",
        "2024 trip/a", "photos/Anna's", r"C:\photos\a", "a(1)", "x", "a[1]/b", "éléphants", "a+b", "data/x",
    ],
)  # fmt: skip
def test_a_text_after_set_needs_no_quotes(written: str) -> None:
    assert folder_of(folder=written) == written


@pytest.mark.parametrize("written", ['"photos/a"', "'photos/a'", '"size/4"', '"2024"'])
def test_a_text_in_quotes_stays_one(written: str) -> None:
    assert folder_of(folder=written) == written[1:-1]


def test_a_python_path_is_a_text() -> None:
    assert folder_of(folder=Path("photos") / "a") == "photos/a"


@pytest.mark.parametrize("written", ["photos/size", "load-photos", "min(photos)"])
def test_what_may_be_a_text_or_an_expression_is_refused_with_its_quotes(written: str) -> None:
    with pytest.raises(SpecError) as raised:
        folder_of(folder=written)
    (problem,) = raised.value.problems
    assert problem.code == "GG661"
    assert f"""--set data.x.folder='"{written}"'""" in problem.fix


def test_a_text_with_both_kinds_of_quotes_is_refused() -> None:
    with pytest.raises(SpecError, match="both kinds of quotes"):
        folder_of(folder="""it's "a".png""")


@pytest.mark.parametrize(("path", "value"), [("data.x.folder", "2024"), ("data.x.folder", "size/4")])
def test_an_expression_where_a_text_belongs_is_answered_with_the_quotes_for_a_shell(path: str, value: str) -> None:
    with pytest.raises(SpecError) as raised:
        check_spec(load("cyclegan", profile="folders", set={path: value}))
    assert raised.value.problems[0].fix == f"--set {path}='\"{value}\"'"


def test_numbers_of_a_source_stay_expressions() -> None:
    spec = load("cyclegan", profile="folders", set={"data.x.resize": "load + 4", "data.x.fit": "cover"})
    (checked,) = check_spec(spec)
    source = checked.graph.sources["x"]
    assert (source.resize, source.fit) == (76, "cover")  # type: ignore[union-attr]
    with pytest.raises(SpecError, match="did you mean 'load'"):
        check_spec(load("cyclegan", profile="folders", set={"data.x.resize": "laod"}))


def test_text_params_take_text() -> None:
    assert load("tests/own_data/place.yaml", set={"place": "photos/b"}).phases[0].params["place"] == "photos/b"


def test_a_folder_that_is_given_by_its_place_is_not_set_by_its_name_too(tmp_path: Path) -> None:
    path = tmp_path / "placed.yaml"
    text = Path("tests/errors/layer_without_units.yaml").read_text().replace('"linear(8), ', '"flatten, linear(8), ')
    text = text.replace("linear(0), relu, linear(2)", "linear(768), reshape(3, 16, 16)")
    path.write_text(text.replace('"uniform(2)"', "\"images('photos', size=16)\""))
    with pytest.raises(SpecError) as raised:
        check_spec(load(path, set={"data.x.folder": "others"}))
    (problem,) = (each for each in raised.value.problems if each.severity == "error")
    assert problem.message == "'images' is given 'folder' twice, by its place and by its name"
    assert problem.fix == """write --set data.x='images("others", size=16)'"""
    (checked,) = check_spec(load(path, set={"data.x": 'images("others", size=16)'}))
    assert checked.graph.sources["x"].folder == "others"  # type: ignore[union-attr]  # images has it
