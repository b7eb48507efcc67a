"""The report of a run or of a reproduction: one HTML file that needs nothing else."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gangraph.errors import UsageError
from gangraph.language.claims import FULL
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.spec import Reported
from gangraph.report.curves import Chart, chart
from gangraph.report.numbers import MISSING, deviating, duration, number_text
from gangraph.report.pictures import Film, films
from gangraph.report.reading import Points, Reproduction, Run, read
from gangraph.report.system import System, load_system
from gangraph.reproduce.outcome import Number, Verdict
from gangraph.reproduce.tables import tally
from gangraph.saved.files import write_whole

_COLUMNS = 8  # of a grid, that its text alternative names at most
_KEY = re.compile(r"^(\s*(?:- )?)([\w.]+)(:)(?=\s|$)")
_COMMENT = re.compile(r"(?:^|\s)#")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table of results: what was measured here, or what a paper reports."""

    name: str
    note: str
    cells: Mapping[str, str]  # by variant
    reported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HowMeasured:
    """How a number was measured; `missing` says of which variants it is not known, and why."""

    name: str
    protocol: Mapping[str, Any]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """What a spec says of a grid: its name and its columns."""

    title: str
    columns: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContents:
    """Everything that a page shows, in the order in which it shows it."""

    kind: str
    name: str
    title: str
    paper: Mapping[str, str]
    about: str
    facts: Mapping[str, str]
    system: System | str
    films: tuple[Film, ...]
    grids: Mapping[str, Grid]
    losses: tuple[Chart, ...]
    metrics: tuple[Chart, ...]
    seeds: int
    variants: tuple[str, ...]
    columns: tuple[Column, ...]
    measures: tuple[HowMeasured, ...]
    environment: Mapping[str, Any]
    text: str
    verdicts: tuple[Verdict, ...] = ()
    tally: str = ""  # how many claims held, in words
    deviations: tuple[str, ...] | None = None
    reported: tuple[Reported, ...] = ()


def write_report(folder: Path, out: Path | None = None, which: str | None = None) -> Path:
    """Write the page of a run or of a reproduction; by default `report.html` in its folder.

    Args:
        which: the checkpoint of a run up to which it goes: `best`, or a step.

    Raises:
        UsageError: the folder holds neither, or the page cannot be written.
        RunError: a file in the folder is damaged.
    """
    found = read(folder, which)
    report = of_run(found) if isinstance(found, Run) else of_reproduction(found)
    return write(out or found.folder / "report.html", rendered("report.html", report=report))


def of_run(run: Run) -> PageContents:
    """The report of a run."""
    system = load_system(run.trained, str(run.environment.get("kernels", "auto")))
    label = run.variant or FULL
    facts = {"profile": run.profile, "variant": run.variant, "seed": f"{run.environment.get('seed', '')}"}
    return PageContents(
        kind="run",
        name=run.folder.resolve().name,
        title=_title(system, run.name),
        paper=_paper(system),
        about=system.spec.about if isinstance(system, System) else "",
        facts={name: value for name, value in {**facts, **_size(system), **_progress(run)}.items() if value},
        system=system,
        films=films({"": run}),
        grids=_grids(system),
        losses=tuple(chart(name, {"": (points,)}) for name, points in run.curves("losses").items()),
        metrics=tuple(chart(name, {"": (points,)}) for name, points in run.curves("metrics").items()),
        seeds=1,
        variants=(label,) if run.results else (),
        columns=_columns({label: run.results}, ()),
        measures=_measures({label: run.results}),
        environment=_environment(run.environment),
        text=run.text,
    )


def of_reproduction(found: Reproduction) -> PageContents:
    """The report of a reproduction. Its graph, plan and networks are the spec's without a variant, or a variant's.

    The runs may be older than the spec that they were judged by: its training is the same, its claims and metrics may
    differ.
    """
    outcome = found.outcome
    known = [run.trained for every in found.runs.values() for run in every if run.trained]
    first = min(known, key=lambda trained: trained.variant != "", default=None)
    judged = first.model_copy(update={"spec": outcome.spec}) if first is not None else None
    kernels = str(outcome.environment.get("kernels", "auto"))
    system = load_system(judged, kernels)
    numbers = {variant.name: variant.numbers for variant in outcome.variants}
    facts = {
        "profile": outcome.profile,
        "variants": f"{len(outcome.variants)}",
        "seeds": f"{len(outcome.seeds)}",
        **_size(system),
        "computed for": duration(outcome.seconds),
    }
    return PageContents(
        kind="reproduction",
        name=outcome.name,
        title=outcome.paper.get("title") or outcome.name,
        paper={key: str(value) for key, value in outcome.paper.items()},
        about=outcome.about,
        facts=facts,
        system=system,
        films=films(_pictured(found.runs)),
        grids=_grids(system),
        losses=_charts(found.runs, "losses"),
        metrics=_charts(found.runs, "metrics"),
        seeds=len(outcome.seeds),
        variants=tuple(numbers),
        columns=_columns(numbers, outcome.reported),
        measures=_measures(numbers),
        environment=_environment(outcome.environment),
        text=outcome.spec,
        verdicts=outcome.verdicts,
        tally=tally(outcome),
        deviations=outcome.deviations,
        reported=outcome.reported,
    )


def _environment(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The environment, with a command as a person types it."""
    command = found.get("command")
    return {**found, "command": shlex.join(map(str, command))} if isinstance(command, list) else found


def _pictured(runs: Mapping[str, tuple[Run, ...]]) -> dict[str, Run]:
    """The first run of every variant that has pictures."""
    first = {name: next((run for run in every if run.samples), None) for name, every in runs.items()}
    return {name: run for name, run in first.items() if run is not None}


def _title(system: System | str, name: str) -> str:
    return system.spec.paper.title if isinstance(system, System) and system.spec.paper is not None else name


def _paper(system: System | str) -> Mapping[str, str]:
    if isinstance(system, str) or system.spec.paper is None:
        return {}
    paper = system.spec.paper
    return {"authors": paper.authors, "venue": paper.venue, "year": paper.year, "arxiv": paper.arxiv}


def _size(system: System | str) -> dict[str, str]:
    if isinstance(system, str):
        return {}
    count = sum(network.total for network in system.phases[-1].networks)
    return {"parameters": f"{count:,}"}


def _grids(system: System | str) -> dict[str, Grid]:
    """The grids of the last phase, by the names in their files; the first grid has an empty name."""
    evaluate = system.spec.phases[-1].evaluate if isinstance(system, System) else None
    grids = enumerate(evaluate.grids.items()) if evaluate is not None else ()
    return {name if index else "": Grid(name, _few(columns)) for index, (name, columns) in grids}


def _few(columns: Sequence[Expression]) -> str:
    shown = ", ".join(map(unparse, columns[:_COLUMNS]))
    return shown + f" and {len(columns) - _COLUMNS} more" * (len(columns) > _COLUMNS)


def _progress(run: Run) -> dict[str, str]:
    if not run.lines:
        return {"steps": "none yet"}
    speed = run.lines[-1].get("images_per_second", 0)
    return {
        "steps": f"{run.steps:,}",
        "images": f"{run.lines[-1].get('seen', 0):,}",
        "images a second": number_text(speed),
    }


def _charts(runs: Mapping[str, tuple[Run, ...]], section: Any) -> tuple[Chart, ...]:
    curves: dict[str, dict[str, list[Points]]] = {}
    for variant, every in runs.items():
        for run in every:
            for name, points in run.curves(section).items():
                curves.setdefault(name, {}).setdefault(variant, []).append(points)
    return tuple(chart(name, seeds) for name, seeds in curves.items())


def _columns(numbers: Mapping[str, Mapping[str, Number]], reported: Sequence[Reported]) -> tuple[Column, ...]:
    """Every number, and after it what the paper reports for it."""
    columns = []
    for name in dict.fromkeys(name for found in numbers.values() for name in found):
        cells = {
            variant: deviating(found[name].mean, found[name].spread) if name in found else MISSING
            for variant, found in numbers.items()
        }
        columns.append(Column(name=name, note="", cells=cells))
        columns += [_reported(item, numbers) for item in reported if item.metric == name]
    known = {column.name for column in columns}
    return (*columns, *(_reported(item, numbers) for item in reported if item.metric not in known))


def _reported(item: Reported, variants: Iterable[str]) -> Column:
    values = {name: number_text(value) for name, value in item.values.items()}
    cells = {variant: values.get(variant, MISSING) for variant in variants}
    return Column(name=item.say, note=item.source, cells=cells, reported=True)


def _measures(numbers: Mapping[str, Mapping[str, Number]]) -> tuple[HowMeasured, ...]:
    """The protocol of every number; a fact in which variants differ is listed by variant."""
    made = []
    for name in dict.fromkeys(name for found in numbers.values() for name in found):
        known = {variant: found[name] for variant, found in numbers.items() if name in found}
        keys = dict.fromkeys(key for item in known.values() for key in item.protocol)
        facts = {key: {variant: item.protocol.get(key) for variant, item in known.items()} for key in keys}
        made.append(
            HowMeasured(
                name=name,
                protocol={key: _common(values) for key, values in facts.items()},
                missing=_missing({variant: item.why for variant, item in known.items() if item.why}),
            )
        )
    return tuple(made)


def _missing(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """Every reason once, after the variants that it applies to."""
    variants = {why: [name for name, other in reasons.items() if other == why] for why in reasons.values()}
    return tuple(f"{', '.join(names)}: {why}" for why, names in variants.items())


def _common(values: Mapping[str, Any]) -> Any:
    first, *others = values.values()
    return first if all(other == first for other in others) else values


def rendered(template: str, **context: Any) -> str:
    """A page from its template; every text is escaped."""
    environment = Environment(
        loader=PackageLoader("gangraph.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.globals["deviating"] = deviating
    environment.filters |= {"spec_marked": spec_marked, "fact": fact}
    return environment.get_template(template).render(**context)


def write(path: Path, text: str) -> Path:
    """Write a page, whole or not at all. Raises UsageError where that is not possible."""
    try:
        return write_whole(path, text)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from None


def fact(value: Any) -> str:
    """A fact without nested facts, as text."""
    match value:
        case None:
            return MISSING
        case bool():
            return "yes" if value else "no"
        case float():
            return number_text(value)
        case list() | tuple():
            return ", ".join(map(fact, value)) or "none"
    return str(value)


def spec_marked(text: str) -> Markup:
    """A spec's text with its comments and keys marked."""
    return Markup("\n").join(_line_marked(line) for line in text.rstrip("\n").split("\n"))


def _line_marked(line: str) -> Markup:
    starts = (found.start() for found in _COMMENT.finditer(line))
    cut = next((start for start in starts if not any(line[:start].count(quote) % 2 for quote in "\"'")), len(line))
    code, comment = line[:cut], line[cut:]
    if key := _KEY.match(code):
        shown = Markup("{}<b>{}</b>{}").format(key[1], key[2], code[key.end(2) :])
    else:
        shown = escape(code)
    return shown + Markup("<i>{}</i>").format(comment) if comment else shown
