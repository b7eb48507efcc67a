"""The gallery: what it finds, what it writes again and what it says of folders that cannot be read."""

import json
import os
from pathlib import Path

import pytest

from gangraph.cli import main
from gangraph.report.gallery import contents, write_gallery
from tests.report.folders import write_reproduction, write_run
from tests.report.test_page import Page, check


def test_runs_of_a_reproduction_belong_to_it(tmp_path: Path) -> None:
    write_reproduction(tmp_path / "deep" / "small")
    write_run(tmp_path / "a run")
    (tmp_path / ".hidden").mkdir()
    write_run(tmp_path / ".hidden" / "run")
    assert [path.relative_to(tmp_path).as_posix() for path in contents(tmp_path)] == ["a run", "deep/small"]


def test_the_gallery_writes_what_is_missing_or_too_old_and_links_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduction, run = write_reproduction(tmp_path / "small"), write_run(tmp_path / "a run")
    assert main(["report", "--gallery", str(tmp_path)]) == 0
    gallery = tmp_path / "gallery.html"
    pages = [run / "report.html", reproduction / "report.html"]
    assert capsys.readouterr().out.split("\n")[:-1] == [f"wrote {path}" for path in (*pages, gallery)]
    page = Page(gallery)
    check(page)
    assert {found["href"] for found in page.all("a")} == {"a%20run/report.html", "small/report.html"}
    assert "claims: 1 of 2 held, 1 could not be judged" in page.text
    assert "quick · 2 variants · 2 seeds" in page.text
    assert "paper · seed 0 · 100 steps" in page.text
    assert page.text.index("2 variants") < page.text.index("seed 0")

    assert write_gallery([tmp_path]) == (gallery,)
    newer = pages[0].stat().st_mtime + 10
    os.utime(run / "metrics.jsonl", (newer, newer))
    assert write_gallery([tmp_path]) == (pages[0], gallery)


def test_a_folder_that_cannot_be_read_is_shown_with_the_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "good", checkpoint=False)
    (write_run(tmp_path / "bad") / "environment.json").write_text("{")
    *_, gallery = write_gallery([tmp_path])
    page = Page(gallery)
    assert "cannot be read" in page.text
    assert "environment.json' is damaged" in page.text
    assert [found["href"] for found in page.all("a")] == ["good/report.html", "good/report.html"]


def test_one_bad_folder_does_not_cost_the_others_their_cards(tmp_path: Path) -> None:
    odd, short = write_run(tmp_path / "odd"), write_reproduction(tmp_path / "small")
    (odd / "metrics.jsonl").write_text('{"step": 1, "losses": {"judge": "high"}}\n')
    report = (short / "slow" / "seed-1" / "metrics.jsonl").read_text().split("\n")[0]
    (short / "slow" / "seed-1" / "metrics.jsonl").write_text(report)
    (write_run(tmp_path / "taken") / "report.html").mkdir()
    newer = (tmp_path / "taken" / "report.html").stat().st_mtime + 10
    os.utime(tmp_path / "taken" / "metrics.jsonl", (newer, newer))
    *_, gallery = write_gallery([tmp_path])
    page = Page(gallery)
    assert "metrics.jsonl:1' is damaged: losses.judge: found" in page.text
    assert "cannot write" in page.text
    assert "small/report.html" in {found["href"] for found in page.all("a")}
    assert "1 of 2 seeds ended early, at step 0" in Page(short / "report.html").text


def marks(page: Page) -> list[str | None]:
    return [found["class"] for found in page.all("span") if "mark" in (found["class"] or "").split()]


@pytest.mark.parametrize(("margins", "mark"), [((0.2, 0.1), "mark held"), ((-0.2, 0.1), "mark")])
def test_a_card_is_marked_as_held_where_all_judged_claims_are(
    tmp_path: Path, margins: tuple[float, ...], mark: str
) -> None:
    path = write_reproduction(tmp_path / "small", seeds=1) / "reproduction.json"
    outcome = json.loads(path.read_text())
    outcome["verdicts"][1]["margins"] = margins
    path.write_text(json.dumps(outcome))
    *_, gallery = write_gallery([tmp_path])
    assert marks(Page(gallery)) == [mark]


def test_a_gallery_may_lie_elsewhere(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", pictures=(), checkpoint=False)
    (tmp_path / "pages").mkdir()
    *_, gallery = write_gallery([tmp_path / "runs"], tmp_path / "pages" / "all.html")
    page = Page(gallery)
    check(page)
    assert [found["href"] for found in page.all("a")] == ["../runs/one/report.html"]
    assert "no picture" in page.text
