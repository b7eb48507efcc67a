"""Broken specs and the exact text that people read. `GANGRAPH_GOLDEN=1 pytest tests/test_errors.py` rewrites it."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gangraph.codes import CODES
from gangraph.errors import ArgumentError, SpecError
from gangraph.graph.kinds import Form, kinds
from gangraph.language.document.parse import parse_text
from gangraph.language.resolve.document import resolve
from gangraph.pipeline import check_spec, load
from gangraph.views.errors_page import errors_page
from tests.plugin import CountingInSecret, fail, registered

ROOT = Path(__file__).parent.parent
SPECS = sorted(Path("tests/errors").glob("*.yaml")) if Path("tests/errors").is_dir() else []
REWRITE = bool(os.environ.get("GANGRAPH_GOLDEN"))


def report(spec: Path) -> str:
    """Everything that is said about a spec; its first line may choose `# set: path=value` and the like."""
    choice = re.match(r"# (set|profile|variant): (.*)", spec.read_text())
    chosen: dict[str, object] = {"profile": "paper"}
    if choice:
        what, value = choice.groups()
        chosen[what] = dict([value.split("=", 1)]) if what == "set" else value
    try:
        checked = check_spec(load(spec, **chosen))
    except SpecError as error:
        return f"{error}\n"
    return "\n\n".join(str(lint) for phase in checked for lint in phase.lints) + "\n"


def ours(text: str) -> str:
    """The message, without torch's own words where torch is not the version that the goldens were written with."""
    return text if torch.__version__.startswith("2.11.") else re.sub(r"(?m)^    reason: .*\n", "", text)


def golden(path: Path, text: str) -> str:
    """What the file holds, or should hold from now on."""
    if REWRITE:
        path.write_text(text)
    return path.read_text() if path.exists() else ""


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_message(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "count_calls" in spec.read_text():
        registered(monkeypatch, "count_calls", CountingInSecret)
    if "fragile(" in spec.read_text():
        kind = replace(kinds["detach"], name="fragile", form=Form("fragile(value)"), infer=fail)
        monkeypatch.setitem(kinds._records, kind.name, kind)
    text = report(spec)
    assert ours(text) == ours(golden(spec.with_suffix(".txt"), text))


def test_every_spec_has_its_message() -> None:
    assert {path.stem for path in Path("tests/errors").glob("*.txt")} == {spec.stem for spec in SPECS}
    assert len(SPECS) >= 242


def test_every_code_is_covered() -> None:
    texts = "".join(path.read_text() for path in Path("tests/errors").glob("*.txt"))
    assert sorted(set(re.findall(r"(?:error|warning) (GG\d+)", texts))) == sorted(CODES)


def test_what_another_phase_uses_is_not_unused() -> None:
    checked = check_spec(load("tests/fuzz/images.yaml", profile="paper"))
    assert [phase.lints for phase in checked] == [(), ()]


def test_no_message_names_a_place_on_this_machine() -> None:
    texts = "".join(path.read_text() for path in Path("tests/errors").glob("*.txt"))
    assert str(ROOT) not in texts and "0x" not in texts


def test_errors_page_is_up_to_date() -> None:
    page = Path("docs/errors.md")
    assert errors_page() == golden(page, errors_page())


@pytest.mark.parametrize("cut", ["detach(D(x))", "at_first(D(x))", "D(detach(x))", "history(D(x), 5)", "D(x) > 0.5"])
def test_a_gradient_that_is_cut_off_is_one_of_nothing(cut: str) -> None:
    text = Path("tests/errors/gradient_of_nothing.yaml").read_text().replace("grad(D(x), z)", f"grad({cut}, x)")
    with pytest.raises(SpecError) as error:
        check_spec(resolve(parse_text(text, name="cut.yaml")))
    (problem,) = (problem for problem in error.value.problems if problem.severity == "error")
    assert problem.code == "GG503"
    assert problem.found == f"{cut} is not computed from x, or only through what stops gradients"


def test_an_objective_behind_an_op_without_a_gradient_reaches_nothing() -> None:
    text = Path("tests/errors/gradient_of_nothing.yaml").read_text().replace("grad(D(x), z)", "grad(D(x), x)")
    text = text.replace("logistic.generator(D(fake))", "mean(D(fake) > 0)")
    with pytest.raises(SpecError, match=r"GG501: the objective of .* does not reach G"):
        check_spec(resolve(parse_text(text, name="cut.yaml")))


@pytest.mark.parametrize(
    ("found", "written"),
    [(True, "true"), (None, "none"), ((1, False, "a"), "[1, false, 'a']"), ("a", "'a'"), (-1.5, "-1.5")],
)
def test_a_source_shows_an_argument_as_a_spec_writes_it(found: object, written: str) -> None:
    assert str(ArgumentError("flip", found, "another")) == f"flip: found {written}, expected another"
