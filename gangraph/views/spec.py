"""A resolved spec as text in the form of a spec. None of this imports torch."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from gangraph.errors import Span
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.spec import (
    AverageSpec,
    EvaluateSpec,
    EvaluatorSpec,
    NetworkSpec,
    PhaseSpec,
    SamplerSpec,
    Spec,
    Weights,
)
from gangraph.language.spec_fields import counts
from gangraph.language.tied import tied_to
from gangraph.language.update_spec import Entry, Objective, UpdateSpec

WIDTH = 110
EMBEDDED = ("world", "plane")
RANDOM = ("normal", "uniform", "categorical", "bernoulli", "permutation")


def table(rows: Iterable[Sequence[str]], *, indent: str = "", right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in aligned columns; the columns numbered in `right` are aligned there."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (
        [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    )
    return [(indent + "  ".join(row)).rstrip() for row in cells]


def titles(spec: Spec) -> list[str]:
    """A heading for each phase: the spec, its profile and variant."""
    form = f"{spec.name}, profile {spec.profile}" + (f", variant {spec.variant}" if spec.variant else "")
    if len(spec.phases) == 1:
        return [form]
    return [f"{form}, {_title(phase, len(spec.phases))}" for phase in spec.phases]


def _title(phase: PhaseSpec, count: int) -> str:
    """`phase 2 of 5: warm`; of a phase without a name of its own `phase 2 of 5 (size=8)`."""
    own = phase.name.removeprefix(f"phase {phase.number}") if phase.called == phase.name else f": {phase.name}"
    return f"phase {phase.number} of {count}{own}"


def introduction(spec: Spec, source: str) -> str:
    """The first line of a run: which profile on which data, and how to run the paper's settings."""
    calls = [call for call in spec.phases[0].data.values() if isinstance(call, ast.Call)]
    named = [(unparse(call.function), call) for call in calls]
    embedded = dict.fromkeys(name for name, _ in named if name in EMBEDDED)
    stored = dict.fromkeys(f"{_place(call)} ({name})" for name, call in named if name not in (*EMBEDDED, *RANDOM))
    parts = [*stored] + ([f"embedded data ({', '.join(embedded)})"] if embedded else [])
    data = f", on {' and '.join(parts)}" if parts else ""
    variant = f", variant {spec.variant}" if spec.variant else ""
    if spec.profile == "paper":
        settings = "the paper's settings" if spec.paper is not None and not spec.base else "as written"
        return f"{spec.name}: {settings}{variant}{data}"
    paper = f"gangraph run {source} --profile paper"
    return f"{spec.name}: profile {spec.profile}{variant}{data}; the paper's settings: {paper}"


def _place(call: ast.Call) -> str:
    """Where a source finds its data: the first text among its arguments."""
    given = (*call.arguments, *(value for _, value in call.keywords))
    return next(
        (item.value for item in given if isinstance(item, ast.Literal) and isinstance(item.value, str)), unparse(call)
    )


def spec_text(spec: Spec) -> str:
    """The resolved spec, in the manner of a spec: params are numbers, families are written out."""
    (title, *_) = titles(spec)
    form = title.partition(", phase")[0]
    lines = [
        f"# {form}, resolved: what is left when params, families and overlays are worked out",
        *([f"# laid over {spec.base}"] if spec.base else []),
        f"name: {spec.name}",
    ]
    if spec.about:
        lines.append(f"about: {spec.about}")
    if spec.paper is not None:
        lines.append(f"paper: {spec.paper.title}" + (f" ({spec.paper.year})" if spec.paper.year else ""))
    if spec.start:
        lines += ["", "start:"]
        lines += [f"  {name or 'every network by name'}: {weights_text(each)}" for name, each in spec.start.items()]
    for phase in spec.phases:
        lines += ["", f"# ---- {_title(phase, len(spec.phases))}"] if len(spec.phases) > 1 else []
        lines += _phase_lines(phase)
    if spec.claims:
        lines += ["", "claims:", *(f"  {unparse(claim.check)}    # {claim.say}" for claim in spec.claims)]
    return "\n".join(lines)


def _phase_lines(phase: PhaseSpec) -> Iterator[str]:
    if phase.params:
        yield from ("", "params:")
        yield from (f"  {name}: {_constant(value)}" for name, value in phase.params.items())
    yield from _names("data", phase.data)
    yield from _networks(phase)
    yield from _names("variables", phase.variables)
    yield from _names("values", phase.values)
    yield from _names("losses", phase.losses)
    for section in dict.fromkeys(state.section for state in phase.states.values()):
        yield from ("", f"{section}:")
        for name, state in phase.states.items():
            if state.section == section:
                yield f"  {name}:"
                yield from (f"    {key}: {unparse(each)}" for key, each in {**state.written, **state.schedule}.items())
    yield from _training(phase)
    if phase.evaluate is not None:
        yield from _evaluate_lines(phase.evaluate)


def _networks(phase: PhaseSpec) -> Iterator[str]:
    """The networks; one that is like another before it in all but its shares is said to be so."""
    yield from ("", "networks:") if phase.networks.keys() - phase.variables else ()
    printed: dict[str, NetworkSpec] = {}
    for name, network in phase.networks.items():
        if name in phase.variables:
            continue
        if isinstance(network, AverageSpec):
            yield f"  {name}: average({network.of}, decay={unparse(network.decay)}, buffers={network.buffers})"
            continue
        if network.weights is not None:
            yield f"  {name}: {weights_text(network.weights)}    # {network.template}, {fixity(network)}"
            continue
        twin = next((other for other, known in printed.items() if _same(known, network)), None)
        printed[name] = network
        yield from (_twin_line(name, network, twin),) if twin else _network_lines(name, network)


def _training(phase: PhaseSpec) -> Iterator[str]:
    """The length of the phase, its optimizers and its step."""
    yield from ("", "train:", f"  batch: {phase.batch}")
    if phase.length is not None:
        yield f"  length: {unparse(phase.length)}"
    if phase.carries:
        yield "  carry: optimizers"
    yield "  optimizers:"
    for group in phase.optimizers.values():
        entries = ", ".join(map(entry_text, group.entries))
        options = "".join(f", {key}={unparse(value)}" for key, value in group.options.items())
        yield f"    {group.name}: {group.kind}([{entries}]{options})"
    yield "  step:"
    for update in phase.updates:
        yield from (f"    {line}" for line in update_lines(update))


def fixity(network: NetworkSpec) -> str:
    """Whether a network from elsewhere stays as it is."""
    return "frozen, in evaluation mode" if network.frozen else "trained from there"


def _constant(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_constant, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _names(section: str, names: Mapping[str, Expression], indent: str = "") -> list[str]:
    lines = [f"{indent}{section}:", *(f"{indent}  {name}: {unparse(value)}" for name, value in names.items())]
    return [*([] if indent else [""]), *lines] if names else []


def _twin_line(name: str, network: NetworkSpec, twin: str) -> str:
    if not network.shares:
        return f"  {name}: like {twin}, with parameters of its own"
    return f"  {name}: like {twin}, sharing {_shares(network)}"


def _shares(network: NetworkSpec) -> str:
    """`G.trunk, G.up`: the parts that are another network's."""
    return ", ".join(f"{owner}.{part}" for owner, parts in tied_to(network).items() for part in parts)


def _same(first: NetworkSpec, second: NetworkSpec) -> bool:
    parts = ("template", "inputs", "draws", "draws_once", "parts", "values", "outputs", "init")
    return all(getattr(first, part) == getattr(second, part) for part in parts)


def _network_lines(name: str, network: NetworkSpec) -> Iterator[str]:
    yield f"  {name}:" + (f"    # {network.template}" if network.template != name else "")
    yield f"    inputs: {', '.join(network.given)}"
    once = "    # once for all calls" if network.draws_once else ""
    yield from (line + once * (index == 0) for index, line in enumerate(_names("draw", network.draws, "    ")))
    for part, chain in network.parts.items():
        yield from textwrap.wrap(
            f"{part}: {', '.join(map(unparse, chain))}",
            WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        )
    yield from _names("values", network.values, "    ")
    if "" in network.outputs:
        yield f"    output: {unparse(network.outputs[''])}"
    else:
        yield from _names("outputs", network.outputs, "    ")
    if network.shares:
        yield f"    share: [{_shares(network)}]"
    if network.init:
        yield f"    init: {{{', '.join(f'{kind}: {unparse(scheme)}' for kind, scheme in network.init.items())}}}"


def update_lines(update: UpdateSpec) -> Iterator[str]:
    """One entry of `step:`, as it is written in full."""
    only = update.objectives[0]
    if len(update.objectives) == 1 and only.when is None:
        yield f"- update: {only.group}"
        yield f"  {aim(only.sign)}: {unparse(only.expression)}"
        yield from (f"  {each}" for each in _unroll(only))
    else:
        yield "- update:"
        for each in update.objectives:
            parts = (f"{aim(each.sign)}: {_goal(each)}", *_unroll(each))
            yield f"    {each.group}: {{{', '.join(parts)}}}"
    if update.ahead:
        yield f"  unroll: {{steps: {update.ahead}, gradient: false}}"
    for field in fields(update):
        value = getattr(update, field.name)
        told = field.name in ("objectives", "ahead") or isinstance(value, Span)
        if counts(field) and not told and value is not None and value != field.default:
            yield from (f"  {line}" for line in _field_lines(field.name, value))


def _field_lines(name: str, value: Any) -> Iterator[str]:
    """A field of an update: a table as its keys, a list as its entries. That nothing is drawn is said."""
    if isinstance(value, Mapping):
        yield from (f"{key}: {_plain(written)}" for key, written in value.items())
    elif value or name == "draw":
        yield f"{name}: [{', '.join(map(_plain, value))}]" if isinstance(value, tuple) else f"{name}: {_plain(value)}"


def _plain(value: Any) -> str:
    """An expression as it is written, a name with its place as the name, and what is neither as Python has it."""
    name = value[0] if isinstance(value, tuple) else value
    return unparse(name) if isinstance(name, get_args(Expression)) else str(name)


def _unroll(objective: Objective) -> Iterator[str]:
    """How far an objective looks ahead, as it is written."""
    if (ahead := objective.unroll) is not None:
        goal = f"{aim(ahead.objective.sign)}: {unparse(ahead.objective.expression)}"
        yield f"unroll: {{update: {ahead.objective.group}, {goal}, steps: {ahead.steps}}}"


def _goal(objective: Objective) -> str:
    return unparse(objective.expression) + (f", when: {unparse(objective.when)}" if objective.when is not None else "")


def aim(sign: int) -> str:
    """The key under which an objective is written."""
    return "minimize" if sign > 0 else "maximize"


def _evaluate_lines(evaluate: EvaluateSpec) -> Iterator[str]:
    yield from ("", "evaluate:")
    if evaluate.every is not None:
        yield f"  every: {unparse(evaluate.every)}"
    yield from (f"  samples: {evaluate.samples}", f"  mode: {evaluate.mode}")
    if evaluate.results:
        yield f"  result_samples: {evaluate.result_samples}"
    yield from _names("data", evaluate.data, "  ")
    if evaluate.networks:
        yield "  networks:"
        yield from (f"    {name}: {evaluator_text(evaluator)}" for name, evaluator in evaluate.networks.items())
    yield from _names("values", evaluate.values, "  ")
    yield from _grid_lines(evaluate)
    yield from _sampler_lines(evaluate)
    yield from _names("metrics", evaluate.metrics, "  ")
    yield from _names("results", evaluate.results, "  ")
    if evaluate.best is not None:
        yield f"  best: {evaluate.best[0]}({evaluate.best[1]})"


def _grid_lines(evaluate: EvaluateSpec) -> Iterator[str]:
    grids = {name: f"[{', '.join(map(unparse, columns))}]" for name, columns in evaluate.grids.items()}
    if tuple(grids) == ("",):
        yield f"  grid: {grids['']}"
    elif grids:
        yield "  grid:"
        yield from (f"    {name}: {columns}" for name, columns in grids.items())


def _sampler_lines(evaluate: EvaluateSpec) -> Iterator[str]:
    if evaluate.samplers:
        yield "  samplers:"
    for name, sampler in evaluate.samplers.items():
        yield f"    {name}:"
        yield from (f"      {line}" for line in sampler_lines(sampler))


def sampler_lines(sampler: SamplerSpec) -> Iterator[str]:
    """What a sampler is, key by key."""
    yield f"{'frames' if sampler.moving else 'show'}: [{', '.join(map(unparse, sampler.columns))}]"
    if sampler.above is not None:
        yield f"above: {unparse(sampler.above)}"
    yield f"samples: {sampler.samples}"
    if sampler.rate is not None:
        yield f"rate: {sampler.rate}"


def weights_text(weights: Weights) -> str:
    """The call that names weights from elsewhere."""
    return evaluator_text(weights) if isinstance(weights, EvaluatorSpec) else weights.written


def evaluator_text(evaluator: EvaluatorSpec) -> str:
    """The call that names an evaluator's network, with the settings of its spec."""
    settings = "".join(f", {path.removeprefix('params.')}={value}" for path, value in evaluator.spec.settings)
    return f'trained("{evaluator.called}", network="{evaluator.network}"{settings})'


def entry_text(entry: Entry) -> str:
    """What an optimizer group lists, as a spec writes it: `G.mapping(lr=0.001)`."""
    options = ", ".join(f"{key}={unparse(value)}" for key, value in entry.options.items())
    return f"{entry.place.written}({options})" if options else entry.place.written
