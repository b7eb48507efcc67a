"""Reproductions as text for a terminal, and as pages of Markdown."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from gangraph.folder.results import evaluators_in, facts_text
from gangraph.reproduce.outcome import Outcome, VariantOutcome, Verdict
from gangraph.views.spec import table

Row = tuple[str, ...]


def outcome_text(outcome: Outcome) -> str:
    """The paper's table beside ours, the verdicts and the deviations."""
    runs = f"{len(outcome.variants)} variants over {len(outcome.seeds)} seeds"
    settings = "".join(f", {path}={value}" for path, value in outcome.settings.items())
    lines = [f"{outcome.name}, profile {outcome.profile}{settings}: {runs}", ""]
    rows = list(_number_rows(outcome))
    lines += table(rows, indent="  ", right=frozenset(range(1, len(rows[0]))))
    lines += ["", f"claims: {tally(outcome)}"]
    for verdict in outcome.verdicts:
        lines += _verdict_lines(verdict)
    if outcome.deviations:
        lines += ["", "deviations from the paper:", *(f"  {deviation}" for deviation in outcome.deviations)]
    return "\n".join(lines)


def tally(outcome: Outcome) -> str:
    """How many claims held, in words."""
    held, judged = sum(v.held for v in outcome.verdicts), sum(v.judged for v in outcome.verdicts)
    left, void = len(outcome.verdicts) - judged, sum(v.void for v in outcome.verdicts)
    more = (f", {void} void" if void else "") + (f", {left} could not be judged" if left else "")
    return f"{held} of {judged} held{more}"


def results_page(outcomes: Sequence[Outcome], folder: str = "results") -> str:
    """The page of all reproductions: one line a system, which links to its page in `folder`."""
    head = ("system", "profile", "variants", "seeds", "claims held", "hours of training")
    lines = _markdown([head, *(_summary_row(outcome, folder) for outcome in outcomes)])
    return "\n".join([_HEADER.format(folder=folder), "", *lines]) + "\n"


def system_page(outcome: Outcome, index: str = "") -> str:
    """The page of one reproduction: its numbers beside the paper's, its claims, protocols and deviations.

    `index` is the address of the page of all reproductions, which explains how to read the numbers; without one, this
    page explains it itself.
    """
    explained = f"[All systems, and how to read these numbers]({index})." if index else _READING
    lines = [f"# {outcome.name}", "", _citation(outcome), "", f"`{outcome.command}`", "", explained, ""]
    lines += [*_markdown(list(_number_rows(outcome))), ""]
    lines += _markdown([_VERDICTS, *map(_verdict_row, outcome.verdicts)])
    notes = [f"- {verdict.say}: {verdict.note}" for verdict in outcome.verdicts if verdict.note]
    lines += ["", *notes] if notes else []
    lines += ["", "How each number was measured:", "", *_protocols(outcome)]
    if outcome.deviations:
        lines += ["", "Deviations from the paper:", "", *(f"- {deviation}" for deviation in outcome.deviations)]
    return "\n".join(lines) + "\n"


_READING = """\
A number is the mean over the seeds ± their standard deviation. A claim is *held* if it is true of the mean over the
seeds and of most seeds by themselves; beside it stand its margin (the difference between the two sides of the
comparison) and how many seeds hold it by themselves. One that untrained networks hold too shows nothing: it is *void*.
These are small networks on embedded data: *not held* says that the claim was not seen at this scale; it says nothing
about the paper's claim at the paper's scale."""

_HEADER = f"""\
# Results

What became of the claims of the papers, at the size of the profiles named here. `gangraph reproduce --all` writes this
page and the page of each system in [{{folder}}]({{folder}}); `gangraph reproduce NAME` runs a single system.

{_READING}"""

_VERDICTS = ("claim", "from", "condition", "verdict", "margin", "seeds")


def _summary_row(outcome: Outcome, folder: str) -> Row:
    counts = str(len(outcome.variants)), str(len(outcome.seeds))
    link = f"[{outcome.name}]({folder}/{outcome.name}.md)"
    return link, outcome.profile, *counts, tally(outcome), f"{outcome.seconds / 3600:.1f}"


def _citation(outcome: Outcome) -> str:
    """The paper, and what the spec says about itself."""
    paper = outcome.paper
    credit = ", ".join(filter(None, (paper.get("authors", ""), paper.get("year", ""))))
    cited = (f"*{paper['title']}*" + (f" ({credit})" if credit else "") + ". ") if paper else ""
    return f"{cited}{outcome.about.removesuffix('.')}."


def _number_rows(outcome: Outcome) -> Iterator[Row]:
    """One row for each variant and one column for each metric, after the columns of what the paper reports for it."""
    metrics = list(dict.fromkeys(name for variant in outcome.variants for name in variant.numbers))
    reported = {name: [table for table in outcome.reported if table.metric == name] for name in metrics}
    titles = ((*(f"paper's {table.say}" for table in reported[name]), name) for name in metrics)
    yield ("variant", *chain(*titles))
    for variant in outcome.variants:
        cells: list[str] = []
        for name in metrics:
            cells += [_plain(table.values.get(variant.name)) for table in reported[name]]
            cells.append(_number(variant, name))
        yield (variant.name, *cells)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _number(variant: VariantOutcome, name: str) -> str:
    number = variant.numbers.get(name)
    if number is None or number.mean is None:
        return "-" if number is None else "not measured"
    return f"{number.mean:.4g}" + (f" ± {number.spread:.2g}" if number.spread is not None else "")


def _verdict(verdict: Verdict) -> str:
    if not verdict.judged:
        return "not judged"
    return "void" if verdict.void else "held" if verdict.held else "not held"


def _margin(verdict: Verdict) -> str:
    spread = f" ± {verdict.spread:.2g}" if verdict.spread is not None else ""
    return f"{verdict.margin:.4g}{spread}" if verdict.judged else ""


def _seeds(verdict: Verdict) -> str:
    return f"{verdict.agreeing} of {len(verdict.margins)}"


def _verdict_lines(verdict: Verdict) -> Iterator[str]:
    source = f" ({verdict.source})" if verdict.source else ""
    yield f"  {_verdict(verdict):<10}  {verdict.say}{source}"
    if verdict.judged:
        yield f"              {verdict.check}: margin {_margin(verdict)}, {_seeds(verdict)} seeds"
    for more in filter(None, (_void(verdict), verdict.why, verdict.note)):
        yield f"              {more}"


def _void(verdict: Verdict) -> str:
    return f"untrained networks hold it by {statistics.fmean(verdict.untrained):.4g}" if verdict.void else ""


def _verdict_row(verdict: Verdict) -> Row:
    seeds = "; ".join(filter(None, (_seeds(verdict), _void(verdict)))) if verdict.judged else verdict.why
    name = _verdict(verdict)
    shown = f"**{name}**" if name in ("not held", "void") else name
    return verdict.say, verdict.source, f"`{verdict.check}`", shown, _margin(verdict), seeds


def _protocols(outcome: Outcome) -> Iterator[str]:
    """How every metric was measured, and by which evaluators, each named once."""
    numbers = {name: number for variant in reversed(outcome.variants) for name, number in variant.numbers.items()}
    for name, number in sorted(numbers.items()):
        yield f"- {name}: {facts_text(number.protocol) if number.protocol else number.why}"
    for evaluator in dict.fromkeys(
        evaluator for number in numbers.values() for evaluator in evaluators_in(number.protocol)
    ):
        yield f"- evaluated by {evaluator}"


def _markdown(rows: Iterable[Row]) -> list[str]:
    head, *body = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body)]
