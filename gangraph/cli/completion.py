"""What a shell completes: specs, their profiles and variants, and runs. None of this imports torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from gangraph.errors import GangraphError


def specs(incomplete: str) -> list[str]:
    """Shipped specs, and YAML files and folders below the path that was begun."""
    from gangraph.language.document.library import evaluators, shipped

    return [*_beginning((*shipped(), *evaluators()), incomplete), *_paths(incomplete, ".yaml")]


def profiles(context: typer.Context, incomplete: str) -> list[str]:
    """The profiles of the spec that was named before."""
    return list(_beginning(("paper", *_overlays(context, "profiles")), incomplete))


def variants(context: typer.Context, incomplete: str) -> list[str]:
    """The variants of the spec that was named before; after a comma, those that may follow."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _beginning(_overlays(context, "variants"), last)]


def runs(incomplete: str) -> list[str]:
    """Folders of runs: those under runs/, and below the path that was begun."""
    found = (str(path.parent) for path in Path("runs").glob("*/environment.json"))
    return sorted({*_beginning(found, incomplete), *_paths(incomplete)})


def _overlays(context: typer.Context, section: str) -> Iterable[str]:
    from gangraph.language.document.parse import parse

    named = context.params.get("spec") or next(iter(context.args), "")  # arguments are sorted in after options
    try:
        return parse(named).overlays(section)
    except GangraphError:
        return ()


def _beginning(names: Iterable[str], incomplete: str) -> Iterator[str]:
    return (name for name in names if name.startswith(incomplete))


def _paths(incomplete: str, suffix: str | None = None) -> Iterator[str]:
    """Folders, and files of a suffix, whose paths begin like this."""
    folder, slash, start = incomplete.rpartition("/")
    try:
        inside = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return
    for path in inside:
        if path.name.startswith(start) and not path.name.startswith("."):
            if path.is_dir():
                yield f"{folder}{slash}{path.name}/"
            elif path.suffix == suffix:
                yield f"{folder}{slash}{path.name}"
