"""`report`: runs and reproductions as pages that open anywhere."""

from pathlib import Path
from typing import Annotated

import typer

from gangraph.cli import completion, options
from gangraph.errors import UsageError


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN|REPRODUCTION",
            help="The folder of a run or of a reproduction.",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page.", show_default="report.html, or gallery.html, in the folder"
        ),
    ] = None,
    gallery: Annotated[
        bool,
        typer.Option(
            "--gallery",
            help="One page over all that is found below the given folders, runs/ by default, and a page for each.",
        ),
    ] = False,
    checkpoint: options.Checkpoint = None,
) -> None:
    """Write a run or a reproduction as one HTML page."""
    given = folders or []
    if not gallery and len(given) != 1:
        raise UsageError(
            f"report takes one folder, found {len(given) or 'none'}; for a page over several: gangraph report --gallery"
        )
    for folder in given:
        options.there_is(folder, "folder")
    if gallery:
        with options.waiting("looking for runs"):
            from gangraph.report.gallery import write_gallery

        written = write_gallery(given or [Path("runs")], out)
    else:
        with options.waiting(f"reading {given[0]}"):
            from gangraph.report.page import write_report

        written = (write_report(given[0], out, checkpoint),)
    for path in written:
        print(f"wrote {path}")
