"""What differs between two specs as mathematics: terms, weights, networks and updates, and not lines of YAML."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from gangraph.build.arguments import shown
from gangraph.check.phase import Checked
from gangraph.errors import SpecError
from gangraph.graph.model import Graph, Lookahead
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import literal
from gangraph.language.expression.model import Expression, show
from gangraph.language.expression.static import Scope
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import (
    AverageSpec,
    EvaluateSpec,
    EvaluatorSpec,
    NetworkSpec,
    OptimizerSpec,
    PhaseSpec,
    SamplerSpec,
    Spec,
)
from gangraph.language.tied import tied_to
from gangraph.pipeline import check_spec
from gangraph.registry import optimizers, vocabulary
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.decompile import over_values_and_losses
from gangraph.views.diff_terms import loss_differences
from gangraph.views.difference import Difference, groups_of, sides, trained
from gangraph.views.matching import Matching, layers
from gangraph.views.plan import listed
from gangraph.views.printers.words import constant_text, over_time, taken_away, written
from gangraph.views.spec import WIDTH, evaluator_text, sampler_lines, titles

SAME = "no difference in the mathematics"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two specs, and the names that differ although what they stand for does not."""

    differences: tuple[Difference, ...]
    renamed: tuple[tuple[str, str], ...]


def differences(
    first: Spec, second: Spec, checked: tuple[Sequence[Checked], Sequence[Checked]] | None = None
) -> tuple[Difference, ...]:
    """What differs, section by section. `checked` are the phases of both, where they are at hand.

    Raises:
        SpecError: one of the specs is not valid.
    """
    return compare(first, second, checked).differences


def compare(
    first: Spec, second: Spec, checked: tuple[Sequence[Checked], Sequence[Checked]] | None = None
) -> Comparison:
    """Compare two specs phase by phase.

    Raises:
        SpecError: one of the specs is not valid.
    """
    ours, theirs = checked or (check_spec(first), check_spec(second))
    found = list(_phases(first, second))
    renamed: list[tuple[str, str]] = []
    for a, b in zip(map(_as_written, ours), map(_as_written, theirs), strict=False):
        matching = Matching(a, b)
        where = f"{a.graph.spec.called}, " if len(ours) > 1 else ""
        found += [replace(each, what=where + each.what) for each in _phase(matching)]
        renamed += matching.renamed
    return Comparison(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(renamed)))


def _as_written(checked: Checked) -> Checked:
    """A phase with the values that the spec writes alone; what its objectives look ahead is part of its updates."""
    return replace(checked, graph=checked.graph.as_written)


def _phases(first: Spec, second: Spec) -> Iterator[Difference]:
    names = [", ".join(phase.name for phase in spec.phases) for spec in (first, second)]
    if len(first.phases) != len(second.phases):
        yield Difference("length", "the list of phases", *(name or "one without a name" for name in names))


def diff_text(first: Spec, second: Spec, comparison: Comparison, names: tuple[str, str] = ("", "")) -> str:
    """The differences under the names of their sections; `names` are what a person called the specs."""
    forms = (titles(spec)[0].partition(", phase")[0] for spec in (first, second))
    called = [f"{name}: {form}" if name else form for name, form in zip(names, forms, strict=True)]
    lines = [f"from {called[0]}", f"to   {called[1]}"]
    for section in dict.fromkeys(each.section for each in comparison.differences):
        lines += ["", section]
        for each in (each for each in comparison.differences if each.section == section):
            lines += _wrapped(str(each))
    if not comparison.differences:
        lines += ["", SAME]
    if comparison.renamed:
        lines += ["", "names only", *_wrapped(", ".join(f"{a} is called {b}" for a, b in comparison.renamed))]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 6,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _phase(matching: Matching) -> Iterator[Difference]:
    """The differences of two phases, in the order of a spec's sections."""
    a, b = matching.first.graph.spec, matching.second.graph.spec
    yield from _data(matching, a, b)
    yield from _networks(matching, a, b)
    yield from _values(matching, a, b)
    yield from loss_differences(matching)
    yield from _optimizers(matching, a, b)
    yield from _schedule(matching)
    if a.batch != b.batch:
        yield Difference("batch", "the batch", str(a.batch), str(b.batch))
    if a.length != b.length:
        yield Difference("length", "the length", *(written(p.length) if p.length else "no end" for p in (a, b)))
    yield from _evaluation(a, b)


def _data(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    for name, other in sides(a.data, b.data, matching.sources):
        before, after = a.data.get(name), b.data.get(other)
        if before is None or after is None:
            yield Difference("data", name or other, *("" if each is None else show(each) for each in (before, after)))
        elif repr(matching.first.graph.sources[name]) != repr(matching.second.graph.sources[other]):
            yield from _source(name, before, after)


_SIZES = "*"  # the arguments of a source that have no names


def _source(name: str, before: Expression, after: Expression) -> Iterator[Difference]:
    """A source that was replaced, or each of its options that changed."""
    ours, theirs = _options(before), _options(after)
    calls = isinstance(before, ast.Call) and isinstance(after, ast.Call) and before.function == after.function
    if not calls or ours.get(_SIZES) != theirs.get(_SIZES):
        yield Difference("data", name, show(before), show(after))
        return
    for option in dict.fromkeys((*ours, *theirs)):
        if ours.get(option) != theirs.get(option):
            yield Difference("data", f"{option} of {name}", *(_or_none(o.get(option)) for o in (ours, theirs)))


def _or_none(text: str | None) -> str:
    return "its default" if text is None else text


def _options(expression: Expression) -> dict[str, str]:
    """The arguments of a source by name, defaults included."""
    definition = vocabulary.get(show(expression.function)) if isinstance(expression, ast.Call) else None
    if definition is None or not isinstance(expression, ast.Call):
        return {}
    shown = {
        name: constant_text(p.default).replace("()", "[]")
        for name, p in definition.signature.parameters.items()
        if p.default is not p.empty
    }
    given = definition.signature.bind_partial(*expression.arguments, **dict(expression.keywords)).arguments
    for name, value in given.items():
        sizes = isinstance(value, tuple)
        shown[_SIZES if sizes else name] = ", ".join(map(show, value)) if sizes else written(value).strip("\"'")
    return shown


def _networks(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    for name, other in sides(a.networks, b.networks, matching.networks):
        ours, theirs = a.networks.get(name), b.networks.get(other)
        if ours is None or theirs is None:
            both = (matching.first, name, ours), (matching.second, other, theirs)
            texts = ("" if made is None else _call(made, checked) + _size(checked, n) for checked, n, made in both)
            yield Difference("networks", name or other, *texts)
        elif not matching.same_network(name, other):
            yield from _network(matching, name, ours, theirs)


def _network(
    matching: Matching, name: str, a: NetworkSpec | AverageSpec, b: NetworkSpec | AverageSpec
) -> Iterator[Difference]:
    """How a network differs: by its call, by its first layer that is another, by its initialisation or its inputs."""
    calls = [_call(a, matching.first), _call(b, matching.second)]
    sizes = [_size(matching.first, name), _size(matching.second, matching.networks[name])]
    if isinstance(a, AverageSpec) or isinstance(b, AverageSpec):
        yield Difference("networks", name, calls[0] + sizes[0], calls[1] + sizes[1])
        return
    if calls[0] == calls[1] and layers(a) != layers(b):
        ours, theirs = _listing(a), _listing(b)
        apart = next(
            (i for i, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), min(len(ours), len(theirs))
        )
        calls = [
            f"{calls[i]} such as {each[apart]}" if apart < len(each) else calls[i]
            for i, each in enumerate((ours, theirs))
        ]
    if layers(a) != layers(b):
        yield Difference("networks", name, calls[0] + sizes[0], calls[1] + sizes[1])
    elif sizes[0] != sizes[1]:
        yield Difference("networks", f"the size of {name}", *(size.removeprefix(", ") for size in sizes))
    if _tied(a, matching.networks) != _tied(b, {}):
        tied = (listed(_tied(each, {})) for each in (a, b))
        yield Difference("networks", f"what {name} shares", *(text or "nothing" for text in tied))
    if a.init != b.init:
        inits = (", ".join(f"{kind} {show(how)}" for kind, how in each.init.items()) for each in (a, b))
        yield Difference("networks", f"the initialisation of {name}", *(text or "torch's own" for text in inits))


def _tied(network: NetworkSpec, names: Mapping[str, str]) -> list[str]:
    """The parts that a network shares, by the names of their owners on the other side."""
    return [f"{names.get(owner, owner)}.{part}" for owner, parts in tied_to(network).items() for part in parts]


def _listing(network: NetworkSpec) -> list[str]:
    """Everything that a network consists of, in order."""
    chains = [show(layer) for chain in network.parts.values() for layer in chain]
    return [*chains, *map(show, network.values.values()), *map(show, network.outputs.values())]


def _size(checked: Checked, name: str) -> str:
    return f", {checked.networks[name].parameters:,} parameters" if name in checked.networks else ""


def _call(network: NetworkSpec | AverageSpec, checked: Checked) -> str:
    """The call that made a network, its params worked out; of layers written in place, that they are."""
    if isinstance(network, AverageSpec):
        return f"average({network.of}, decay={show(network.decay)}, buffers={network.buffers})"
    span = network.span
    params = {name: literal(value, span) for name, value in checked.graph.spec.params.items()}
    try:
        made = Scope(params).reduce(parse_expression(Scalar.of(span.text.content[span.start : span.end], "call")))
    except SpecError:
        return network.template
    return show(made) if isinstance(made, ast.Call) else "layers of its own"


def _values(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    first, second = matching.first.graph, matching.second.graph
    for name, other in sides(a.values, b.values, matching.values):
        before, after = a.values.get(name), b.values.get(other)
        if before is not None and after is not None:
            if before != after and not _same_value(matching, name, other):
                yield Difference("values", name, show(before), show(after))
        elif before is not None and not any(
            matching.same_node(node, n) for node in _read(first, name) for n in second.nodes
        ):
            yield from (Difference("values", name, show(before), "") for _ in _read(first, name))
        elif after is not None and not any(
            matching.same_node(n, node) for node in _read(second, other) for n in first.nodes
        ):
            yield from (Difference("values", other, "", show(after)) for _ in _read(second, other))


def _same_value(matching: Matching, name: str, other: str) -> bool:
    nodes = matching.first.graph.values.get(name), matching.second.graph.values.get(other)
    return nodes[0] is not None and nodes[1] is not None and matching.same_node(nodes[0], nodes[1])


def _read(graph: Graph, name: str) -> tuple[str, ...]:
    """The node of a value that an objective depends on; nothing where none does."""
    node = graph.values.get(name, "")
    return (node,) if node in trained(graph) else ()


def _optimizers(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    for name, other in sides(a.optimizers, b.optimizers, groups_of(a, b)):
        ours, theirs = a.optimizers.get(name), b.optimizers.get(other)
        if ours is None or theirs is None:
            yield Difference("optimizers", name or other, *("" if g is None else _optimizer(g) for g in (ours, theirs)))
            continue
        members = [matching.networks.get(network, network) for network, _ in ours.networks]
        if sorted(members) != sorted(network for network, _ in theirs.networks):
            trained = (listed(network for network, _ in group.networks) for group in (ours, theirs))
            yield Difference("optimizers", f"what {name} trains", *trained)
        if ours.kind != theirs.kind:
            yield Difference("optimizers", name, _optimizer(ours), _optimizer(theirs))
            continue
        for option in dict.fromkeys((*ours.options, *theirs.options)):
            before, after = _option(ours, option), _option(theirs, option)
            if before != after:
                yield Difference("optimizers", f"{option} of {name}", before, after)


def _optimizer(group: OptimizerSpec) -> str:
    options = "".join(f", {key}={written(value)}" for key, value in group.options.items())
    return f"{group.kind}({listed(name for name, _ in group.networks)}{options})"


def _option(group: OptimizerSpec, name: str) -> str:
    """An option as it is written, or as torch has it by default."""
    if name in group.options:
        return over_time(group.options[name])
    return constant_text(optimizers[group.kind].signature.parameters[name].default)


_TIMING = {"times": ("how often update {} runs", "once"), "every": ("the rhythm of update {}", "every step"),
           "when": ("the condition of update {}", "none"),
           "gates": ("what decides the groups of update {}", "none"), "draws": ("what update {} draws anew", "nothing"),
           "unroll": ("how far update {} looks ahead", "not at all"),
           "accumulate": ("what update {} averages its gradient over", "one batch"),
           "then": ("what follows update {}", "nothing")}  # fmt: skip


def _schedule(matching: Matching) -> Iterator[Difference]:
    """The order of updates, and how each runs."""
    first, second = matching.first.graph, matching.second.graph
    groups = groups_of(first.spec, second.spec)
    ours = [" and ".join(groups.get(o.group, o.group) for o in update.objectives) for update in first.updates]
    theirs = [" and ".join(o.group for o in update.objectives) for update in second.updates]
    if ours != theirs:
        orders = (", then ".join(f"{name} at once" if " and " in name else name for name in o) for o in (ours, theirs))
        yield Difference("schedule", "the order of updates", *orders)
    left = {j: (name, _timing(matching.second, j)) for j, name in enumerate(theirs)}
    for i, name in enumerate(ours):
        j = next((j for j, (other, _) in left.items() if other == name), None)
        if j is not None:
            yield from _retimed(name, _timing(matching.first, i, matching), left.pop(j)[1])
    for name, timing in left.values():
        yield from _retimed(name, {}, timing)


def _retimed(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    options = {name: (f"{option.compared} in update {{}}", "none") for name, option in UPDATE_OPTIONS.items()}
    for key, (what, plain) in (_TIMING | options).items():
        if before.get(key) != after.get(key):
            yield Difference("schedule", what.format(name), before.get(key, plain), after.get(key, plain))


def _timing(checked: Checked, index: int, names: Matching | None = None) -> dict[str, str]:
    """How an update runs, where that is not once in each step on the draws of the step; in the second's `names`."""
    sources, networks = (names.sources, names.networks) if names else ({}, {})
    graph, update = checked.graph, checked.graph.updates[index]
    given = {"times": update.times, "every": update.every, "when": update.when, **update.options}
    forms = {"times": "{} times", "every": "every {} steps"}
    timing = {key: forms.get(key, "{}").format(written(value)) for key, value in given.items() if value is not None}
    if update.lookaheads:
        timing["unroll"] = ", ".join(_ahead(graph, ahead, networks) for ahead in update.lookaheads)
    gates = [f"{each.group}: {written(each.when)}" for each in update.objectives if each.when is not None]
    if gates:
        timing["gates"] = "; ".join(gates)
    if update.accumulate > 1:
        timing["accumulate"] = f"{update.accumulate} batches"
    beneath = graph.below(*update.roots)
    targets = {graph.nodes[name].target for name in beneath if graph.nodes[name].is_source}
    first = index == 0 and not update.conditional and update.accumulate == 1
    anew = [name for name in graph.spec.data if name in targets and name in (update.draws or ())]
    if anew and not first:
        timing["draws"] = listed(sorted(sources.get(name, name) for name in anew))
    if update.then:
        timing["then"] = ", ".join(
            f"{name}({', '.join([networks.get(net, net), *map(shown, numbers)])})" for name, net, numbers in update.then
        )
    return timing


def _ahead(graph: Graph, ahead: Lookahead, networks: Mapping[str, str]) -> str:
    """`5 steps of adam on D, down judge`."""
    goal = written(over_values_and_losses(graph).of(ahead.loss))
    moved = listed(networks.get(name, name) for name in ahead.networks)
    kind = graph.spec.optimizers[ahead.group].kind
    return f"{ahead.steps} step{'s' * (ahead.steps != 1)} of {kind} on {moved}, down {goal}"


def _evaluation(a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    ours, theirs = (dict(_looks(phase.evaluate)) for phase in (a, b))
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield Difference("evaluation", name, ours.get(name, ""), theirs.get(name, ""))


_LOOKS = {"every": "the time between evaluations", "samples": "the number of samples", "mode": "the networks' mode",
          "best": "what chooses the best checkpoint", "metrics": "metric", "values": "value", "results": "result",
          "grids": "the picture", "samplers": "sampler", "data": "source",
          "result_samples": "the number of samples for results", "networks": "evaluator"}  # fmt: skip


def _looks(evaluate: EvaluateSpec | None) -> Iterator[tuple[str, str]]:
    """Everything that an evaluation is, by name."""
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


__all__ = ["SAME", "Comparison", "Difference", "compare", "diff_text", "differences"]
