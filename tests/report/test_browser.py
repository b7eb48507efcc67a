"""Pages in a headless browser: they fit phones, ask the network for nothing, and their slider and drawing work."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gangraph.report.gallery import write_gallery
from gangraph.report.page import write_report
from tests.report.folders import write_reproduction, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SCREENS = ((360, 800), (1280, 900))


@pytest.fixture(scope="module")
def browser() -> Iterator["api.Browser"]:
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("browser")
    reproduction = write_report(write_reproduction(place / "small", reports=5, size=(900, 300)))
    run = write_report(write_run(place / "run", reports=5))
    return {"reproduction": reproduction, "run": run, "gallery": write_gallery([place])[-1]}


class Tab:
    """A page in a browser, and whatever it complained about or asked for."""

    def __init__(
        self, browser: "api.Browser", path: Path, screen: tuple[int, int] = SCREENS[1], **options: str
    ) -> None:
        self.context = browser.new_context(viewport={"width": screen[0], "height": screen[1]}, **options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(path.as_uri())

    def _asked(self, address: str) -> None:
        if not address.startswith(("data:", "file:")):
            self.said.append(address)

    def __enter__(self) -> "api.Page":
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()
        assert self.said == []


@pytest.mark.parametrize("name", ["reproduction", "run", "gallery"])
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_its_screen(
    browser: "api.Browser", pages: dict[str, Path], name: str, screen: tuple[int, int], scheme: str
) -> None:
    with Tab(browser, pages[name], screen, color_scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(16, 21, 28)")
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_every_picture_has_a_name_that_is_read_aloud(browser: "api.Browser", pages: dict[str, Path]) -> None:
    with Tab(browser, pages["reproduction"]) as page:
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        pictures = page.get_by_role("img")
        assert pictures.count() == 1 + 2 + 2 * 3  # the drawing, a grid of each variant, and their panels
        assert page.locator("svg[role=img]").count() + page.locator("img").count() == pictures.count()
        assert page.evaluate("[...document.images].every(image => image.alt.startsWith('Grid of samples of '))")


def test_the_slider_moves_all_pictures_through_training(browser: "api.Browser", pages: dict[str, Path]) -> None:
    with Tab(browser, pages["reproduction"]) as page:
        slider, image = page.get_by_role("slider", name="Training step"), page.locator("img").first
        last = image.get_attribute("src")
        assert slider.get_attribute("aria-valuetext") == "step 100"
        slider.focus()
        page.keyboard.press("ArrowLeft")
        before = image.get_attribute("src")
        assert before != last
        assert slider.get_attribute("aria-valuetext") == "step 75"
        assert "at step 75" in (image.get_attribute("alt") or "")
        page.keyboard.press("Home")
        assert page.locator("output").first.text_content() == "step 0"
        page.keyboard.press("End")
        assert image.get_attribute("src") == last


def test_a_picture_can_be_enlarged_and_the_drawing_zoomed(browser: "api.Browser", pages: dict[str, Path]) -> None:
    with Tab(browser, pages["reproduction"]) as page:
        button = page.get_by_role("button", name="Show slow larger")
        before = button.bounding_box()
        button.press("Enter")
        after = button.bounding_box()
        assert before and after and after["width"] > 1.2 * before["width"]
        assert button.get_attribute("aria-pressed") == "true"
        drawing = page.locator(".drawing svg")
        fitted = drawing.bounding_box()
        page.get_by_role("button", name="Enlarge the drawing").click()
        larger = drawing.bounding_box()
        assert fitted and larger and larger["width"] > 1.3 * fitted["width"]
        page.get_by_role("button", name="Fit the drawing").click()
        again = drawing.bounding_box()
        assert again and again["width"] == pytest.approx(fitted["width"])


def test_without_scripts_the_last_pictures_are_shown(browser: "api.Browser", pages: dict[str, Path]) -> None:
    with Tab(browser, pages["reproduction"], java_script_enabled=False) as page:
        assert page.locator("img").first.get_attribute("alt") == "Grid of samples of full at step 100"
        assert not page.get_by_role("slider").is_visible()
        assert not page.get_by_role("button", name="Enlarge the drawing").is_visible()


def test_paper_is_light_and_shows_what_is_folded(
    browser: "api.Browser", pages: dict[str, Path], tmp_path: Path
) -> None:
    with Tab(browser, pages["reproduction"], color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.querySelector('.drawing .bg')).fill") == "rgb(255, 255, 255)"
        assert not page.get_by_role("slider").is_visible()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("[...document.querySelectorAll('details')].every(details => details.open)")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
        page.pdf(path=str(tmp_path / "page.pdf"))
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
