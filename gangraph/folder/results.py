"""What was measured of a run, and the file `results.json` that keeps it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gangraph.errors import RunError
from gangraph.saved.files import json_text, read_json, write_whole
from gangraph.saved.strict import Count, Strict, deviation

FILE = "results.json"
_LARGEST = 2**24  # bytes


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of trained networks, or None and why there is none; and how it was measured, as plain facts."""

    value: float | None
    why: str
    protocol: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The numbers of a run at a step; `fingerprint` says what was trained and `evaluation` what was measured."""

    fingerprint: str
    evaluation: str
    step: int
    results: Mapping[str, Measured]

    def answers(self, other: "Measurements") -> bool:
        """Whether both are about the same networks and the same evaluation of them."""
        mine, theirs = ((m.fingerprint, m.evaluation, m.step) for m in (self, other))
        return mine == theirs

    def save(self, folder: Path) -> Path:
        """Write `results.json`, whole or not at all."""
        return write_whole(folder / FILE, json_text(asdict(self), indent=1))


def read_results(folder: Path) -> Measurements | None:
    """What a run's `results.json` holds; None if there is none.

    Raises:
        RunError: it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        read = _Results.model_validate(read_json(path, _LARGEST))
    except ValidationError as error:
        raise _damaged(path, deviation(error)) from None
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    results = {name: Measured(**dict(measured)) for name, measured in read.results.items()}
    return Measurements(fingerprint=read.fingerprint, evaluation=read.evaluation, step=read.step, results=results)


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"'{path}' is damaged: {why}; remove it, and measure the run again")


class _Measured(Strict):
    value: float | None
    why: str
    protocol: dict[str, Any]


class _Results(Strict):
    fingerprint: str
    evaluation: str
    step: Count
    results: dict[str, _Measured]


def results_lines(measurements: Measurements) -> list[str]:
    """A table for people: name, value, how it was measured; and how good the evaluators are."""
    rows = [(name, _said(measured), facts_text(measured.protocol)) for name, measured in measurements.results.items()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {value:>{widths[1]}}  {facts}".rstrip() for name, value, facts in rows]
    lines += [f"{name}: {measured.why}" for name, measured in measurements.results.items() if measured.why]
    evaluators = (
        f"judged by {evaluator}"
        for measured in measurements.results.values()
        for evaluator in evaluators_in(measured.protocol)
    )
    return [*lines, *dict.fromkeys(evaluators)]


def facts_text(protocol: Mapping[str, Any]) -> str:
    """The facts of a protocol as one line."""
    own = {key: value for key, value in protocol.items() if key not in ("samples", "batch", "mode", "seed", "step")}
    counts = f"{protocol.get('samples', 0)} samples, {protocol.get('batch', 0)} at a time"
    return ", ".join([counts, *_facts(own)])


def _facts(given: Mapping[str, Any]) -> Iterator[str]:
    """Every fact but lists and evaluators; those of one metric among several in parentheses."""
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from () if _of_evaluator(value) else (f"{key} ({', '.join(_facts(value))})",)
        elif not isinstance(value, list):
            yield f"{key} {('no', 'yes')[value] if isinstance(value, bool) else value}"


def _of_evaluator(facts: Mapping[str, Any]) -> bool:
    """Whether facts are those of an evaluator, and not of a metric."""
    return {"spec", "network"} <= facts.keys()


def evaluators_in(protocol: Mapping[str, Any]) -> Iterator[str]:
    """The evaluators, each with what it is and how good it is by its own results."""
    for name, facts in protocol.items():
        if isinstance(facts, Mapping) and _of_evaluator(facts):
            numbers = [f"{key} {value:.4g}" for key, value in facts.items() if isinstance(value, float)]
            yield f"{name}, network {facts['network']} of {facts['spec']} ({', '.join(numbers)})"


def _said(measured: Measured) -> str:
    return "not measured" if measured.value is None else f"{measured.value:.5g}"
