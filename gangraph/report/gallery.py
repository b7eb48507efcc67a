"""The gallery: a page over all runs and reproductions below some folders, with their own pages behind it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gangraph.errors import RunError, UsageError
from gangraph.report.numbers import deviating, number_text
from gangraph.report.page import rendered, write, write_report
from gangraph.report.pictures import StepPicture, thumbnail
from gangraph.report.reading import Reproduction, Run, holds_run, is_reproduction, read
from gangraph.reproduce.tables import tally

PAGE = "report.html"
_WIDTHS = {60: 480, 200: 320, 600: 200}  # the width of thumbnails, in pixels, by how many there are at most
_SMALLEST = 120
_NUMBERS = 4  # how many numbers a card shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the gallery shows of a run or a reproduction; `problem` says why it cannot be read."""

    name: str
    folder: str
    page: str = ""
    form: str = ""
    verdict: str = ""
    held: bool = False  # whether every claim that was judged held
    numbers: Mapping[str, str]
    picture: StepPicture | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """The cards of one kind."""

    title: str
    cards: tuple[Card, ...]


def write_gallery(folders: Sequence[Path], out: Path | None = None) -> tuple[Path, ...]:
    """Write the gallery, by default `gallery.html` in the first folder, and the pages that are missing or too old.

    A run or reproduction that cannot be read, or whose page cannot be written, is shown with the reason.

    Returns:
        Everything that was written, the gallery last.

    Raises:
        UsageError: there is no such folder, nothing is found in any, or the gallery cannot be written.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"there is no folder '{folder}'")
    found = tuple(dict.fromkeys(place for folder in folders for place in contents(folder)))
    if not found:
        raise UsageError(f"there is no run and no reproduction in {', '.join(map(str, folders))}")
    target = out or folders[0] / "gallery.html"
    width = next((width for count, width in _WIDTHS.items() if len(found) <= count), _SMALLEST)
    written: list[Path] = []
    groups: dict[str, list[Card]] = {"Reproductions": [], "Runs": []}
    for place in found:
        group = "Reproductions" if is_reproduction(place) else "Runs"
        groups[group].append(_card(place, target, width, written))
    shown = tuple(Group(title, tuple(cards)) for title, cards in groups.items() if cards)
    return (*written, write(target, rendered("gallery.html", groups=shown)))


def contents(folder: Path) -> Iterator[Path]:
    """Every run and reproduction in a folder, by name; the runs of a reproduction belong to it."""
    if is_reproduction(folder) or holds_run(folder):
        yield folder
        return
    for below in sorted(folder.iterdir()):
        if below.is_dir() and not below.is_symlink() and not below.name.startswith("."):
            yield from contents(below)


def _card(place: Path, gallery: Path, width: int, written: list[Path]) -> Card:
    """The card of a run or reproduction; its page is added to `written` if it was."""
    try:
        found = read(place)
        page = place / PAGE
        if not page.exists() or page.stat().st_mtime < _changed(place):
            written.append(write_report(place, page))
        link = quote(Path(os.path.relpath(page, gallery.parent)).as_posix())
        return _run_card(found, link, width) if isinstance(found, Run) else _reproduction_card(found, link, width)
    except (RunError, UsageError) as error:
        return Card(name=place.name, folder=str(place), numbers={}, problem=str(error))


def _changed(place: Path) -> float:
    """When something that a page shows was last written."""
    shown = (*place.rglob("*.json"), *place.rglob("metrics.jsonl"), *place.rglob("samples/*.png"))
    return max((path.stat().st_mtime for path in shown), default=0.0)


def _run_card(run: Run, link: str, width: int) -> Card:
    measured = {name: deviating(item.mean, None) for name, item in run.results.items() if item.known}
    last = {name: number_text(points[-1][1]) for name, points in run.curves("metrics").items()}
    losses = {name: number_text(points[-1][1]) for name, points in run.curves("losses").items()}
    parts = (run.profile, run.variant, f"seed {run.environment['seed']}" if "seed" in run.environment else "")
    return Card(
        name=run.name,
        folder=str(run.folder),
        page=link,
        form=" · ".join(filter(None, (*parts, f"{run.steps:,} steps"))),
        numbers=_few({**last, **measured} or losses),
        picture=_picture((run,), width),
    )


def _reproduction_card(found: Reproduction, link: str, width: int) -> Card:
    outcome = found.outcome
    judged = [verdict for verdict in outcome.verdicts if verdict.judged]
    first = outcome.variants[0] if outcome.variants else None
    numbers = {name: deviating(item.mean, item.spread) for name, item in first.numbers.items()} if first else {}
    count, seeds = len(outcome.variants), len(outcome.seeds)
    return Card(
        name=outcome.name,
        folder=str(found.folder),
        page=link,
        form=f"{outcome.profile} · {count} variant{'s' * (count != 1)} · {seeds} seed{'s' * (seeds != 1)}",
        verdict=f"claims: {tally(outcome)}" if outcome.verdicts else "",
        held=bool(judged) and all(verdict.held for verdict in judged),
        numbers=_few(numbers),
        picture=_picture(tuple(run for runs in found.runs.values() for run in runs), width),
    )


def _picture(runs: Sequence[Run], width: int) -> StepPicture | None:
    """The last grid of the first run that has one."""
    steps = next((grid for run in runs for grid in run.samples.values()), None)
    return thumbnail(steps, width) if steps else None


def _few(numbers: Mapping[str, str]) -> dict[str, str]:
    return dict(list(numbers.items())[:_NUMBERS])
