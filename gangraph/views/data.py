"""The data of a spec as a table: what each source gives, known before anything is read."""

import textwrap
from collections.abc import Iterator, Mapping

import torch

from gangraph.check.phase import Checked
from gangraph.data.counting import samples_here
from gangraph.data.lengths import sizes_said
from gangraph.data.random import RandomSource
from gangraph.data.source import Field, Source
from gangraph.views.spec import table

_WIDTH = 80
Sources = Mapping[str, Source | RandomSource]


def data_text(checked: Checked, *, title: str = "") -> str:
    """A row for each field of each source: its shape without the batch, type, range, classes and number of samples.

    Whole numbers from 0 to an end are classes. Random sources are drawn and have no samples. Where files are not
    there, the rest is known all the same, and the reason stands below the table. Evaluation's own data follow.
    """
    graph, spec = checked.graph, checked.graph.spec
    parts = [*_table("data", {name: graph.sources[name] for name in spec.data if name in graph.sources})]
    if graph.evaluation is not None and spec.evaluate is not None:
        own = graph.evaluation.graph.sources
        parts += _table("evaluate.data", {name: own[name] for name in spec.evaluate.data if name in own})
    return "\n\n".join([*([title] if title else []), *(parts or ["no data"])])


def _table(section: str, sources: Sources) -> Iterator[str]:
    """A table, and why numbers of samples are not known; nothing for a section without sources."""
    rows, unknown = [(section, "shape", "dtype", "range", "classes", "samples")], []
    for name, source in sources.items():
        count = "drawn" if isinstance(source, RandomSource) else samples_here(f"{section}.{name}", source)
        if isinstance(count, str) and count != "drawn":
            unknown.append(f"{name}: {count}")
            count = "unknown"
        told = f"{count:,}" if isinstance(count, int) else count
        for field, made in source.fields.items():
            rows.append((name if len(source.fields) == 1 else f"{name}.{field}", *_described(made), told))
    if rows[1:]:
        yield "\n".join(table(rows, right=frozenset((4, 5))))
    if unknown:
        folded = (textwrap.fill(each, _WIDTH, subsequent_indent="  ", break_long_words=False) for each in unknown)
        yield "\n".join(folded)


def _described(field: Field) -> tuple[str, str, str, str]:
    """Shape, type, range and number of classes."""
    low, high = field.low, field.high
    classes = f"{high + 1:g}" if field.dtype == torch.int64 and low == 0 and high < float("inf") else ""
    span = "any" if (low, high) == (float("-inf"), float("inf")) else f"[{low:g}, {high:g}]"
    return f"[{', '.join(sizes_said(field))}]", str(field.dtype).removeprefix("torch."), span, classes
