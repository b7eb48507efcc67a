"""The command `reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gangraph.cli import options
from gangraph.cli.options import Device
from gangraph.errors import UsageError

if TYPE_CHECKING:
    from gangraph.reproduce.outcome import Outcome

_PAGE = Path("docs/results.md")


def reproduce(
    spec: Annotated[
        str | None, typer.Argument(metavar="SPEC", help="A spec's file, or the name of one that ships.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every spec that ships, and pages of results.")] = False,
    profile: options.Profile = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="A,B",
            help="Only these; 'full' is the spec without a variant, 'a+b' two laid over one another.",
            show_default="those that claims name",
        ),
    ] = None,
    settings: options.Settings = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Runs of each variant.")] = 3,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at a time.")] = 1,
    device: Annotated[Device, typer.Option("--device", help="'auto' takes CUDA where there is one.")] = Device.auto,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Its folder.", show_default="runs/reproduction/NAME-PROFILE"),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Also write a page; with --all a table, and a page a system in the folder of the same name.",
            show_default=f"{_PAGE} with --all",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a claim does not hold.")] = False,
    weights: options.Weights = None,
) -> None:
    """Run the variants of a spec over seeds, and judge what its paper claims."""
    if (spec is None) == (not every):
        raise UsageError("name one spec, or take --all")
    if every and (variants or settings or out):
        raise UsageError("--all takes no --variants, --set or --out: they belong to one spec")
    if every and page and not page.suffix:
        raise UsageError(
            f"--page takes a file such as '{page}.md': the pages of the systems go into the folder '{page}'"
        )

    options.use_weights(weights)

    from gangraph.language.document.library import find_spec, shipped

    if spec is not None:
        find_spec(spec)  # a mistake in its name is shown before anything is loaded
    with options.waiting("loading PyTorch"):
        from gangraph.reproduce.reproduction import Request
        from gangraph.reproduce.reproduction import reproduce as start
        from gangraph.reproduce.tables import outcome_text

    def request(source: str) -> Request:
        return Request(
            source=source,
            profile=profile,
            variants=tuple(name.replace("+", ",") for name in variants.split(",")) if variants else (),
            seeds=seeds,
            settings=options.values_of(settings),
            device=device.value,
            jobs=jobs,
            out=out,
        )

    target = page or (_PAGE if every else None)
    if target is not None:
        (target.with_suffix("") if every else target.parent).mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for name in shipped() if every else [spec or ""]:
        outcomes.append(start(request(name)))
        print(outcome_text(outcomes[-1]), end="\n\n", flush=True)
    if target is not None:
        _write_pages(outcomes, target, every=every)
    if strict and not all(verdict.held for outcome in outcomes for verdict in outcome.verdicts):
        raise typer.Exit(1)


def _write_pages(outcomes: "list[Outcome]", target: Path, *, every: bool) -> None:
    """Write the page of an outcome; of `every` spec a table, and a page for each in the folder of the same name."""
    from gangraph.reproduce.tables import results_page, system_page

    if not every:
        options.emit(system_page(outcomes[0]), target)
        return
    options.emit(results_page(outcomes, target.stem), target)
    for outcome in outcomes:
        options.emit(system_page(outcome, f"../{target.name}"), target.with_suffix("") / f"{outcome.name}.md")
