"""How the optimizers and the updates of two specs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gangraph.check.phase import Checked
from gangraph.errors import listed, shown
from gangraph.graph.model import Graph
from gangraph.graph.update import Lookahead
from gangraph.language.place import Place
from gangraph.language.spec import PhaseSpec
from gangraph.language.spec_fields import Names
from gangraph.language.update_spec import OptimizerSpec
from gangraph.registry import optimizers
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.update_schedule import SCHEDULE_KEYS
from gangraph.views.decompile import over_values_and_losses
from gangraph.views.diff.difference import Difference, groups_of, sides
from gangraph.views.diff.matching import Matching
from gangraph.views.printers.words import constant_text, over_time, written
from gangraph.views.spec import entry_text
from gangraph.views.wording import counted


def optimizer_differences(matching: Matching, a: PhaseSpec, b: PhaseSpec) -> Iterator[Difference]:
    """Groups that came or went, and of the others what they train, by what, and with which options."""
    for name, other in sides(a.optimizers, b.optimizers, groups_of(a, b)):
        ours, theirs = a.optimizers.get(name), b.optimizers.get(other)
        if ours is None or theirs is None:
            yield Difference("optimizers", name or other, *("" if g is None else _optimizer(g) for g in (ours, theirs)))
            continue
        renamed = _renamed(ours, matching.networks)
        if sorted(renamed.trained) != sorted(theirs.trained):
            yield Difference("optimizers", f"what {name} trains", listed(ours.trained), listed(theirs.trained))
        if ours.kind != theirs.kind:
            yield Difference("optimizers", name, _optimizer(ours), _optimizer(theirs))
            continue
        for option in dict.fromkeys((*ours.options, *theirs.options)):
            before, after = _option(ours, option), _option(theirs, option)
            if before != after:
                yield Difference("optimizers", f"{option} of {name}", before, after)
        yield from _entry_differences(name, renamed, theirs)


def _optimizer(group: OptimizerSpec) -> str:
    options = "".join(f", {key}={written(value)}" for key, value in group.options.items())
    return f"{group.kind}({listed(map(entry_text, group.entries))}{options})"


def _renamed(group: OptimizerSpec, networks: Mapping[str, str]) -> OptimizerSpec:
    """A group with the names that its networks have in another spec."""
    return replace(
        group,
        networks=tuple((networks.get(name, name), span) for name, span in group.networks),
        listed=tuple(
            replace(each, place=replace(each.place, network=networks.get(each.place.network, each.place.network)))
            for each in group.listed
        ),
    )


def _entry_differences(name: str, ours: OptimizerSpec, theirs: OptimizerSpec) -> Iterator[Difference]:
    """Options of their own that parts have in one of two groups, or other ones."""
    first, second = ({each.place.written: each.options for each in group.listed} for group in (ours, theirs))
    for place in dict.fromkeys((*first, *second)):
        for option in dict.fromkeys((*first.get(place, {}), *second.get(place, {}))):
            before = _option_at(ours, first.get(place, {}), option)
            after = _option_at(theirs, second.get(place, {}), option)
            if before != after:
                yield Difference("optimizers", f"{option} of {place} in {name}", before, after)


def _option_at(group: OptimizerSpec, own: Names, option: str) -> str:
    """An option of an entry: its own, or that of the group."""
    return over_time(own[option]) if option in own else _option(group, option)


def _option(group: OptimizerSpec, name: str) -> str:
    """An option as it is written, or as torch has it by default."""
    if name in group.options:
        return over_time(group.options[name])
    return constant_text(optimizers[group.kind].signature.parameters[name].default)


# Beside the records of keys, what else is told of an update, and what is said where that is usual.
_OTHERS = {"gates of groups": ("what decides the groups of update {}", "none"),
           "draws": ("what update {} draws anew", "nothing"), "unroll": ("how far update {} looks ahead", "not at all"),
           "own steps": ("where update {} takes its gradients", "at the parameters as they are"),
           "then": ("what follows update {}", "nothing")}  # fmt: skip


def schedule_differences(matching: Matching) -> Iterator[Difference]:
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
    keys = {key: (record.compared, record.usual) for key, record in SCHEDULE_KEYS.items()}
    options = {name: (f"{option.compared} in update {{}}", "none") for name, option in UPDATE_OPTIONS.items()}
    for key, (what, plain) in (keys | _OTHERS | options).items():
        if before.get(key) != after.get(key):
            yield Difference("schedule", what.replace("{}", name), before.get(key, plain), after.get(key, plain))


def _timing(checked: Checked, index: int, names: Matching | None = None) -> dict[str, str]:
    """How an update runs, where that is not once in each step on the draws of the step; in the second's `names`."""
    sources, networks = (names.sources, names.networks) if names else ({}, {})
    graph, update = checked.graph, checked.graph.updates[index]
    timing = {key.name: key.told(key.stated, written(value)) for key, value in update.timing}
    timing |= {name: written(value) for name, value in update.options.items()}
    if update.lookaheads:
        timing["unroll"] = ", ".join(_ahead(graph, ahead, networks) for ahead in update.lookaheads)
    if update.ahead:
        timing["own steps"] = f"{counted(update.ahead, 'step')} of its own groups ahead"
    gates = [f"{each.group}: {written(each.when)}" for each in update.objectives if each.when is not None]
    if gates:
        timing["gates of groups"] = "; ".join(gates)
    beneath = graph.below(*update.roots)
    targets = {graph.nodes[name].target for name in beneath if graph.nodes[name].is_source}
    first = index == 0 and update.timing.once
    anew = [name for name in graph.spec.data if name in targets and name in (update.draws or ())]
    if anew and not first:
        timing["draws"] = listed(sorted(sources.get(name, name) for name in anew))
    if update.then:
        timing["then"] = ", ".join(
            f"{each.operation}({', '.join([_place(each.place, networks), *map(shown, each.numbers)])})"
            for each in update.then
        )
    return timing


def _place(place: Place, networks: Mapping[str, str]) -> str:
    """A network or a part of it, by the name that the network has in the other spec."""
    return Place(networks.get(place.network, place.network), place.path, place.span).written


def _ahead(graph: Graph, ahead: Lookahead, networks: Mapping[str, str]) -> str:
    """`5 steps of adam on D, down judge`."""
    goal = written(over_values_and_losses(graph).of(ahead.loss))
    moved = listed(networks.get(name, name) for name in ahead.networks)
    kind = graph.spec.optimizers[ahead.group].kind
    return f"{ahead.steps} step{'s' * (ahead.steps != 1)} of {kind} on {moved}, down {goal}"
