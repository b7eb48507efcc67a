"""A plan as text: for each update what is differentiated, what is reused and why, and what runs, by which kernels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gangraph.errors import listed
from gangraph.language.expression.model import unparse
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.decompile import Decompiled
from gangraph.views.passages import filled_lines
from gangraph.views.printers.words import written
from gangraph.views.spec import WIDTH, aim
from gangraph.views.variables import begun_as, numbers_text
from gangraph.views.wording import counted, times

if TYPE_CHECKING:
    from gangraph.graph.model import Graph
    from gangraph.graph.update import Lookahead
    from gangraph.language.update_spec import Objective
    from gangraph.lower.model import Program
    from gangraph.plan.model import Segment, UpdatePlan

_LABEL = 15


def plan_text(program: Program, *, title: str = "", width: int = WIDTH) -> str:
    """One step of training, update by update, in lines of at most `width` letters where words are not longer."""
    plan = program.plan
    graph = plan.checked.graph
    switches = [name for name, on in (("sharing", plan.share), ("merging", plan.merge)) if not on]
    lines = [title or graph.spec.name]
    lines += _Row("each step draws", [listed(_drawn(graph, plan.sources))]).lines(width, indent="")
    if switches:
        lines.append(f"planned without {' and '.join(switches)}")
    begins = [f"{name} as {start}, {numbers_text(plan.checked, name)}" for name, start in begun_as(plan.checked)]
    lines += _Row("begins once", begins).lines(width, indent="")
    heads = [f"update {number} of {len(plan.updates)}:" for number, _ in enumerate(plan.updates, 1)]
    heads += ["at the end of the step:" for _ in plan.moves]
    written_as = [*(spec.objectives for spec in graph.spec.updates), *(() for _ in plan.moves)]
    for head, update, objectives in zip(heads, plan.step, written_as, strict=True):
        lines += ["", *filled_lines(f"{head} {_titled(update)}", "", "  ", width)]
        lines += (line for row in _update_rows(program, update, objectives) for line in row.lines(width))
    return "\n".join(lines)


def _titled(update: UpdatePlan) -> str:
    """The name of an entry of the step, and when it runs."""
    parts = "; ".join(key.told(key.caption, unparse(value)) for key, value in update.graph.timing)
    return f"{update.graph.name} ({parts})" if parts else update.graph.name


def _update_rows(program: Program, update: UpdatePlan, objectives: Sequence[Objective]) -> Iterator[_Row]:
    graph = program.plan.checked.graph
    simultaneous = len(objectives) > 1
    for each in objectives:
        when = f", steps only when {unparse(each.when)}" if each.when is not None else ""
        who = f"   (group {each.group}{when})" if simultaneous or when else ""
        yield _Row(f"{aim(each.sign)}s", [f"{unparse(each.expression)}{who}"])
    yield _Row("becomes", [f"{name} = {unparse(graph.spec.states[name].next)}" for name, _ in update.graph.states])
    yield _Row("looks ahead", [_ahead(graph, ahead) for ahead in update.graph.lookaheads])
    yield _Row("looks ahead", [_own_steps(graph, update)] if update.graph.ahead else [])
    yield _Row("evaluates", [_evaluations(graph, update)] if update.graph.closure else [])
    tied = listed(update.graph.tied)
    named = graph.trained(*update.graph.objectives)
    yield _Row("differentiates", [listed(named) + (f", and what {tied} shares with it" if tied else "")])
    fixed = [name for name in update.frozen if name in graph.networks and graph.networks[name].spec.frozen]
    still = f"; frozen for good: {listed(fixed)}" if fixed else ""
    yield _Row("leaves alone", [f"{listed(update.frozen)}, which it calls{still}" if update.frozen else ""])
    yield _Row("draws anew", [listed(_drawn(graph, update.redraws))])
    yield _Row("draws noise", [listed(phrase(graph, name) for name in update.noise)])
    yield _Row(
        "reuses", [f"{phrase(graph, each.value)} from {graph.title(each.source)}: {each.why}" for each in update.reuses]
    )
    yield _Row("runs once", _segments(graph, update.before))
    yield _Row("runs", _segments(graph, update.body))
    yield _Row("merges", [_merged(graph, group) for segment in update.segments for group in segment.merges])
    yield from _kernel_rows(graph, program, update)
    yield _Row("gates look at", [listed(name for name, _ in update.graph.watched)])
    yield _Row("losses", [listed(name for name, _ in update.losses)])
    limits = [(UPDATE_OPTIONS[name], value) for name, value in update.graph.options.items()]
    yield _Row("before its step", [option.told(option.caption, unparse(value)) for option, value in limits])
    done = [(each.operation, ", ".join([each.place.written, *map(str, each.numbers)])) for each in update.graph.then]
    yield _Row("then", [f"{name}({inside})" for name, inside in done])
    averages = [name for name, average in graph.averages.items() if average.of in update.differentiated]
    yield _Row("averages", [f"{name} follows {graph.averages[name].of}" for name in averages])
    nexts = {node for _, node in update.graph.states}  # whose names are those of states
    frees = [name for name in update.frees if name not in nexts and not graph.nodes[name].is_unwritten]
    yield _Row("frees", [listed(phrase(graph, name) for name in frees)])


def _drawn(graph: Graph, sources: Iterable[str]) -> Iterator[str]:
    """The sources that are drawn, each once, by name; what a network draws is named by the call that draws it."""
    names = (
        name if name in graph.spec.data or not graph.nodes[name].is_unwritten else _drawer(graph, name)
        for name in sources
    )
    yield from dict.fromkeys(names)


def _drawer(graph: Graph, name: str) -> str:
    call = graph.drawn_at(name)
    once = graph.networks[graph.owner(call.target)].spec.draws_once
    return f"what {call.target if once else phrase(graph, call.id, named=False)} draws"


def _ahead(graph: Graph, ahead: Lookahead) -> str:
    """The steps that an update looks ahead, and what each of them minimises."""
    kind = graph.spec.optimizers[ahead.group].kind
    return (
        f"{ahead.steps} step{'s' * (ahead.steps != 1)} of {ahead.group} ({kind} on {listed(ahead.networks)}) down"
        f" {phrase(graph, ahead.loss)}, which are forgotten"
    )


def _own_steps(graph: Graph, update: UpdatePlan) -> str:
    """The steps of its own groups after which an update takes its gradients."""
    kinds = listed(
        f"{each.group} ({graph.spec.optimizers[each.group].kind} on {listed(each.networks)})"
        for each in update.graph.objectives
    )
    return (
        f"{counted(update.graph.ahead, 'step')} of {kinds}, without gradient: it takes its gradients there, and steps"
        " from here"
    )


def _evaluations(graph: Graph, update: UpdatePlan) -> str:
    kind = graph.spec.optimizers[update.graph.objectives[0].group].kind
    return f"at as many points as {kind} asks for, on the same draws; state moves in the first evaluation alone"


def _kernel_rows(graph: Graph, program: Program, update: UpdatePlan) -> Iterator[_Row]:
    """Which kernel computes which values on CUDA, and which kernels were not placed, with the reason."""
    if program.kernels == "off":
        return
    places: dict[str, set[str]] = {}
    refused: dict[str, None] = {}
    for use in (use for segment in update.segments for use in program.segments[segment.name].kernels):
        node, fusion = graph.nodes[use.value], use.fusion
        if fusion.why_not:
            under = f"under {listed(phrase(graph, name) for name in use.under)} " if use.under else ""
            what = f"{phrase(graph, use.value, named=False)}, in it {listed(fusion.computes)}"
            refused[f"{fusion.kernel} not for {what}: {under}{fusion.why_not}"] = None
        elif node.is_call:
            what = f"{graph.owner(node.target)}: {fusion.kernel} computes {listed(fusion.computes)}"
            places.setdefault(what, set()).add(fusion.node)
        else:
            places[f"{fusion.kernel} computes {_definition(graph, use.value)}"] = {use.value}
    placed = [what + (f", {len(found)} times" if len(found) > 1 else "") for what, found in places.items()]
    twice = "none: what looks ahead is differentiated twice" if update.graph.lookaheads else ""
    yield _Row("kernels on CUDA", placed or [twice or "none: nothing here has one"])
    yield _Row("plain", list(refused))


class _Row(NamedTuple):
    """Entries under one label; nothing is shown of empty ones."""

    label: str
    entries: list[str]

    def lines(self, width: int, indent: str = "  ") -> list[str]:
        """The entries, each filled into lines beside the label."""
        lines: list[str] = []
        for entry in filter(None, self.entries):
            lead = f"{indent}{'' if lines else self.label:<{_LABEL}}  "
            inside = len(entry) - len(entry.lstrip())
            lines += filled_lines(entry, lead, " " * (len(lead) + inside + 2), width)
        return lines


def _segments(graph: Graph, segments: Iterable[Segment]) -> list[str]:
    """Each segment with its purpose, and below it the calls of networks that it makes, in order."""
    lines = []
    for segment in segments:
        lines.append(f"{segment.name}: {segment.purpose}")
        if segment.histories:
            lines.append(f"  first mixes with the past: {listed(phrase(graph, name) for name in segment.histories)}")
        if segment.detached:
            stopped = [phrase(graph, name) for name in graph.nodes if name in segment.detached]
            lines.append(f"  stops the gradient at {listed(stopped)}")
        for ahead in segment.lookaheads:
            inside = [_definition(graph, n) for n in ahead.each.nodes if graph.nodes[n].is_call]
            lines.append(f"  {ahead.graph.id}: each step computes {listed(inside)}")
        calls = [name for name in segment.nodes if graph.nodes[name].of_network]
        lines += [f"  {_call(graph, segment, name)}" for name in calls] or ["  arithmetic only"]
    return lines


def _call(graph: Graph, segment: Segment, name: str) -> str:
    remarks = [] if name in segment.live else ["no gradient"]
    remarks += ["again, from the state that it began from before"] if name in segment.again else []
    return _definition(graph, name) + (f"   ({'; '.join(remarks)})" if remarks else "")


def _definition(graph: Graph, name: str) -> str:
    """`name = what it is`, or what it is where a value has no name."""
    called, made = phrase(graph, name), phrase(graph, name, named=False)
    return made if called == made else f"{called} = {made}"


def _merged(graph: Graph, group: tuple[str, ...]) -> str:
    calls = [phrase(graph, name, named=False) for name in group]
    return f"{listed(calls)} run as one call on a batch {times(len(group))} as large"


def phrase(graph: Graph, name: str, *, named: bool = True) -> str:
    """A value as a spec would write it; its own name if it has one, unless `named` is false."""
    decompiled = Decompiled(graph, graph.names, ahead="_ahead")
    return written(decompiled.of(name) if named else decompiled.definition(name))
