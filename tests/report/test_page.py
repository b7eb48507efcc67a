"""Pages as text: what they hold, that they are well-formed and small, and how `report` answers wrong usage."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from gangraph.cli import main
from gangraph.report.page import write_report
from tests.report.folders import PROTOCOL, SPEC, write_reproduction, write_run

LIMIT = 5_000_000
VOID = {"meta", "link", "img", "input", "br", "hr"}
STYLE = (Path(__file__).parents[2] / "gangraph" / "report" / "templates" / "style.css").read_text()


class Page(HTMLParser):
    """Reads a page strictly: every element that opens closes in its place."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def check(page: Page) -> None:
    """What every page promises: unique ids, labels that lead somewhere, text for pictures, nothing from elsewhere."""
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    for _, found in page.elements:
        assert set((found.get("aria-labelledby") or "").split()) <= set(ids)
        assert (found.get("href") or "#").partition("#")[0] or (found.get("href") or "#")[1:] in {*ids, ""}
    assert all(found.get("alt") for found in page.all("img"))
    assert all((found.get("src") or "").startswith("data:image/") for found in page.all("img"))
    assert all(found.get("aria-label") or found.get("aria-labelledby") for found in page.all("svg"))
    assert not [
        found for tag in ("script", "iframe", "object", "audio", "video") for found in page.all(tag) if "src" in found
    ]
    assert not re.search(r"@import|url\((?!['\"]?data:)", STYLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reproduction(tmp_path_factory.mktemp("report") / "small", pictures=("", "walk"))


@pytest.fixture(scope="module")
def reproduction(folder: Path) -> Path:
    return write_report(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = {
        "fid": {"value": 12.5, "why": "", "protocol": PROTOCOL},
        "kid": {"value": None, "why": "weights are missing", "protocol": {}},
    }
    return write_report(write_run(tmp_path_factory.mktemp("report") / "run", results=results))


def test_a_reproduction_says_everything_in_order(reproduction: Path) -> None:
    page = Page(reproduction)
    check(page)
    said = (
        "Points <b>in</b> the plane", "A. Author", "Two players & a <plane>.",
        "Claims: 1 of 2 held, 1 could not be judged", "Objective",
        "Graph", "Plan", "Update 1 of 2: d", "Networks", "Samples", "walk", "Curves", "Results", "error on points",
        "0.1050 ± 0.0071", "0.25", "How each number was measured", "full, slow: inception.safetensors is not",
        "Claims", "error[slow] < error", "Deviations from the paper", "The plane stands for photos.", "Environment",
        "gangraph run small.yaml --set train.batch=4", "Spec", "gangraph : 1",
    )  # fmt: skip
    start = page.text.index(said[0], page.text.index("gangraph · reproduction"))
    places = [page.text.find(words, start) for words in said]
    assert -1 not in places, said[places.index(-1)]
    section = dict(zip(said, places, strict=True))
    assert section["0.1050 ± 0.0071"] < section["How each number was measured"] < section["Deviations from the paper"]
    headings = re.findall(r'<section id="(\w+)"', reproduction.read_text())
    assert headings == ["verdict", "objective", "graph", "plan", "networks", "samples", "curves", "results", "claims",
                        "deviations", "environment", "spec"]  # fmt: skip
    assert len(list(page.all("math"))) > 3


def test_a_run_has_its_own_page_without_claims(run: Path) -> None:
    page = Page(run)
    check(page)
    assert "Claims" not in page.text
    assert "Deviations" not in page.text
    assert "12.5" in page.text
    assert "weights are missing" in page.text
    charts = [found["aria-label"] for found in page.all("svg") if found.get("aria-label")]
    assert [str(label).partition(" ")[0] for label in charts] == ["error", "judge", "fool"]


def test_what_a_spec_says_is_never_markup(reproduction: Path) -> None:
    text = reproduction.read_text()
    assert "<b>in</b>" not in text
    assert "Two players &amp; a &lt;plane&gt;" in text


@pytest.mark.parametrize("lacks", ["samples", "checkpoints", "metrics.jsonl", "resolved.txt"])
def test_a_run_without_one_of_its_parts_has_a_page(tmp_path: Path, lacks: str) -> None:
    folder = write_run(tmp_path / "run")
    (shutil.rmtree if (folder / lacks).is_dir() else os.remove)(folder / lacks)
    page = Page(write_report(folder))
    check(page)
    assert ("Samples" in page.text) == (lacks != "samples")
    assert ("saved no checkpoint" in page.text) == (lacks == "checkpoints")
    assert ("Curves" in page.text) == (lacks != "metrics.jsonl")


def test_a_spec_that_is_not_accepted_any_more_is_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", text=SPEC.replace("fake: G(z)", "fake: G(nowhere)"))
    page = Page(write_report(folder))
    assert "does not accept the spec any more: there is nothing called 'nowhere'." in page.text


def test_a_reproduction_without_its_runs_still_has_its_verdicts(tmp_path: Path) -> None:
    folder = write_reproduction(tmp_path / "small")
    for variant in ("full", "slow"):
        shutil.rmtree(folder / variant)
    page = Page(write_report(folder))
    check(page)
    assert "Claims: 1 of 2 held, 1 could not be judged" in page.text
    assert "Curves" not in page.text


def test_runs_without_a_checkpoint_or_samples_are_passed_over(tmp_path: Path) -> None:
    folder = write_reproduction(tmp_path / "small")
    for lacks in ("checkpoints", "samples"):
        shutil.rmtree(folder / "full" / "seed-0" / lacks)
    page = Page(write_report(folder))
    check(page)
    assert "saved no checkpoint" not in page.text and "Of the variant slow" not in page.text
    alternatives = {str(found["alt"]).partition(" at ")[0] for found in page.all("img")}
    assert alternatives == {"Grid of samples of full", "Grid of samples of slow"}


def test_a_page_says_what_holds_a_claim_and_doubles_no_full_stop(tmp_path: Path) -> None:
    folder = write_reproduction(tmp_path / "small")
    path = folder / "reproduction.json"
    outcome = json.loads(path.read_text())
    outcome["about"] += "."
    outcome["reported"][0]["source"] = ""
    path.write_text(json.dumps(outcome))
    text = Page(write_report(folder)).text
    assert "is above 0 in the mean over the seeds and for most seeds by themselves" in text
    assert "Two players & a <plane>. " in text and "<plane>.." not in text
    assert "reported," not in text and "error on points reported" in text


def test_a_heavy_run_stays_under_the_limit(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures=("a", "b"), reports=4, size=(800, 800))
    names = [f"loss_{i}" for i in range(12)]
    lines = ({"step": step, "losses": {name: (step * len(name)) % 7 for name in names}} for step in range(5000))
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert sum(path.stat().st_size for path in folder.rglob("*.png")) > 2 * LIMIT
    page = write_report(folder)
    assert 0 < page.stat().st_size < LIMIT
    sources = re.findall(r"data:image/webp;base64,[^\"]+", page.read_text())
    assert len(sources) == len(set(sources)) > 2
    assert len(list(Page(page).all("img"))) == 2


def test_the_validator_finds_no_error(reproduction: Path, run: Path) -> None:
    jar = os.environ.get("VNU_JAR", "")
    if not (Path(jar).is_file() and shutil.which("java")):
        pytest.skip("the Nu HTML checker is not here: VNU_JAR names its jar")
    done = subprocess.run(
        ["java", "-jar", jar, "--errors-only", "--format", "text", reproduction, run], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def colours(scheme: str) -> dict[str, str]:
    """The variables of a colour scheme; the dark one replaces some of the light one's."""
    rules = re.findall(r":root\{([^}]*)\}", STYLE)
    found = dict(re.findall(r"--(\w+):(#\w+)", rules[0]))
    return found | (dict(re.findall(r"--(\w+):(#\w+)", rules[1])) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(scheme: str) -> None:
    found = colours(scheme)
    pairs = [(text, ground) for text in ("ink", "soft", "accent") for ground in ("ground", "panel")] + [
        ("on", "accent")
    ]
    for text, ground in pairs:
        bright, dark = sorted((luminance(found[text]), luminance(found[ground])), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, (scheme, text, ground)
    assert all(first != second for first, second in pairwise(found.values()))


def test_the_command_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_run(tmp_path / "run"), tmp_path / "page.html"
    assert main(["report", str(folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert out.stat().st_size > 10_000
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 2, "there is no folder 'nowhere'"),
        (["."], 2, "'.' holds neither a run (spec.yaml, environment.json) nor a reproduction (reproduction.json)"),
        ([], 2, "report takes one folder, found none"),
        (["run", "run"], 2, "report takes one folder, found 2"),
        (["damaged"], 3, "damaged/environment.json' is damaged"),
        (["run", "--out", "nowhere/page.html"], 2, "cannot write 'nowhere/page.html'"),
        (["--gallery"], 2, "there is no folder 'runs'"),
        (["--gallery", "empty"], 2, "there is no run and no reproduction in empty"),
    ],
)
def test_wrong_usage_is_answered_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    write_run(tmp_path / "run", checkpoint=False)
    write_run(tmp_path / "damaged")
    (tmp_path / "damaged" / "environment.json").write_text("{")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == code
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_every_phase_has_its_own_drawing_and_plan(tmp_path: Path) -> None:
    phases = "  phases:\n    - {name: short, length: 50 steps}\n    - {name: long, length: 50 steps, batch: 6}\n"
    text = SPEC.partition("variants:")[0].replace("  length: 100 steps\n", phases)
    page = Page(write_report(write_run(tmp_path / "run", text=text)))
    check(page)
    assert page.text.count("phase 1 of 2: short") == page.text.count("phase 2 of 2: long") > 3
    assert [found["id"] for found in page.all("svg") if "id" in found] == ["graph-1", "graph-2"]
