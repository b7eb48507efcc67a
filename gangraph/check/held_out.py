"""Whether the samples of an evaluation were held out from training."""

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from gangraph.data.random import RandomSource
from gangraph.data.source import Source, innermost
from gangraph.data.transform import ImageOptions
from gangraph.graph.model import Graph

# What a source does to a sample, not which samples it has.
_PREPARATION = {field.name for field in fields(ImageOptions)} | {"direction", "frames", "stride"}


def trained_on(graph: Graph) -> tuple[str, ...]:
    """The streams of a training graph's evaluation whose samples are those that training draws."""
    evaluation = graph.evaluation
    if evaluation is None:
        return ()
    below = evaluation.graph.below(*evaluation.every_time, *(node for _, node in evaluation.numbers))
    read = dict.fromkeys(node.target for name, node in evaluation.graph.nodes.items() if name in below)
    known = [_samples(source) for source in graph.sources.values() if not isinstance(source, RandomSource)]
    sources = {name: evaluation.graph.sources[name] for name in read if name in evaluation.graph.sources}
    return tuple(
        name for name, source in sources.items() if not isinstance(source, RandomSource) and _samples(source) in known
    )


def _samples(source: Source) -> tuple[object, ...]:
    """Which samples a source has: its kind and its arguments, except for those that say what is done to a sample."""
    source = innermost(source)
    return (type(source), *_places(source)) if is_dataclass(source) else (source,)


def _places(source: Source) -> Iterator[object]:
    for field in fields(source):  # type: ignore[arg-type]  # sources are dataclasses
        value = getattr(source, field.name)
        if field.name not in _PREPARATION:
            yield os.path.normpath(os.path.expanduser(value)) if isinstance(value, str) else value
