"""The gallery: what it finds, what it writes again and what it says of folders that cannot be read."""

import os
from pathlib import Path

import pytest

from gangraph.cli import main
from gangraph.report.gallery import places, write_gallery
from tests.report.folders import write_reproduction, write_run
from tests.report.test_page import Page, check


def test_runs_of_a_reproduction_belong_to_it(tmp_path: Path) -> None:
    write_reproduction(tmp_path / "deep" / "small")
    write_run(tmp_path / "a run")
    (tmp_path / ".hidden").mkdir()
    write_run(tmp_path / ".hidden" / "run")
    assert [path.relative_to(tmp_path).as_posix() for path in places(tmp_path)] == ["a run", "deep/small"]


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
    assert "1 of 3 claims held" in page.text
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


def test_a_gallery_may_lie_elsewhere(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", pictures=(), checkpoint=False)
    (tmp_path / "pages").mkdir()
    *_, gallery = write_gallery([tmp_path / "runs"], tmp_path / "pages" / "all.html")
    page = Page(gallery)
    check(page)
    assert [found["href"] for found in page.all("a")] == ["../runs/one/report.html"]
    assert "no picture" in page.text
