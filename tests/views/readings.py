"""What the tests of the readings share: the shipped specs, golden files, and a small spec with parts replaced."""

import os
from functools import cache
from pathlib import Path

from gangraph.check.phase import Checked
from gangraph.language.document.library import shipped
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, load
from tests.support import small

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("GANGRAPH_GOLDEN"))
SYSTEMS = tuple(shipped())


@cache
def shipped_form(name: str, profile: str | None = None, variant: str | None = None) -> tuple[Spec, tuple[Checked, ...]]:
    """A shipped spec and its checked phases."""
    spec = load(name, profile=profile, variant=variant)
    return spec, check_spec(spec)


def checked(*step: str, **parts: str) -> Checked:
    """The one phase of a small spec."""
    (phase,) = check_spec(small(*step, **parts))
    return phase


def golden(name: str, text: str) -> str:
    """What a golden file holds, or should hold from now on."""
    path = GOLDEN / name
    if REWRITE:
        path.write_text(text + "\n")
    return path.read_text().removesuffix("\n") if path.exists() else ""
