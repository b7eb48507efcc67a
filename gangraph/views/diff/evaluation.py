"""How the evaluations of two specs differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import get_args

from gangraph.language.expression.model import Expression
from gangraph.language.spec import (
    EvaluateSpec,
    EvaluatorSpec,
    PhaseSpec,
    SamplerSpec,
)
from gangraph.views.diff.difference import Difference
from gangraph.views.printers.words import taken_away, written
from gangraph.views.spec import evaluator_text, sampler_lines


def evaluation_differences(a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    """Everything that an evaluation is which is another, came or went."""
    ours, theirs = (dict(_looks(phase.evaluate)) for phase in (a, b))
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield Difference("evaluation", name, ours.get(name, ""), theirs.get(name, ""))


_LOOKS = {"every": "the time between evaluations", "samples": "the number of samples", "mode": "the networks' mode",
          "best": "what chooses the best checkpoint", "metrics": "metric", "values": "value", "results": "result",
          "grids": "the picture", "samplers": "sampler", "data": "source",
          "result_samples": "the number of samples for results", "networks": "evaluator"}  # fmt: skip


def _looks(evaluate: EvaluateSpec | None) -> Iterator[tuple[str, str]]:
    """Everything that an evaluation states, by name."""
    for part in dataclasses.fields(evaluate) if evaluate is not None else ():
        value = getattr(evaluate, part.name)
        what = _LOOKS.get(part.name, part.name.replace("_", " "))
        if part.name == "best" and value is not None:
            yield what, f"{value[0]}({value[1]})"
        elif isinstance(value, Mapping):
            yield from (
                (f"{what} {name}".strip(), _plain(each)) for name, each in value.items() if not taken_away(each)
            )
        elif value is not None:
            yield what, _plain(value)


def _plain(value: object) -> str:
    """A part of an evaluation as a spec writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, get_args(Expression)):
        return written(value)
    if isinstance(value, SamplerSpec):
        return ", ".join(sampler_lines(value))
    return evaluator_text(value) if isinstance(value, EvaluatorSpec) else str(value)
