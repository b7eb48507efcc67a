"""What variables are and begin as, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gangraph.views.printers.words import written

if TYPE_CHECKING:
    from gangraph.check.phase import Checked


def begun_as(checked: Checked) -> Iterator[tuple[str, str]]:
    """Each variable, and what it begins as."""
    yield from ((name, written(start)) for name, start in checked.graph.spec.variables.items())


def numbers_text(checked: Checked, name: str) -> str:
    """`3 x 64 x 64 numbers for each sample`, and without a batch `5 numbers for all samples`."""
    (shape,) = checked.networks[name].shapes.values()
    own = name in checked.per_sample
    sizes = " x ".join(map(str, shape[1:] if own else shape))
    numbers = "one number" if sizes in ("", "1") else f"{sizes} numbers"
    return f"{numbers} for {'each sample' if own else 'all samples'}"
