"""Refuses what has no meaning in updates that compute their objectives several times, at several points."""

from collections.abc import Iterable, Mapping

from gangraph.errors import refuse
from gangraph.graph.closure import closure
from gangraph.graph.model import Node
from gangraph.graph.update import ObjectiveGraph
from gangraph.language.expression.gates import is_over_time, losses_in
from gangraph.language.expression.model import unparse
from gangraph.language.update_spec import OptimizerSpec, UpdateSpec
from gangraph.registry import optimizers


def evaluates_again(group: OptimizerSpec) -> bool:
    """Whether the optimizer of a group evaluates its objective several times in a step."""
    return group.kind in optimizers and optimizers[group.kind].traits.reevaluates


def refuse_in_closure(spec: UpdateSpec, groups: Mapping[str, OptimizerSpec]) -> None:
    """Refuse what an optimizer that evaluates its objective several times cannot do. Raises SpecError."""
    group = next(groups[each.group] for each in spec.objectives if evaluates_again(groups[each.group]))
    what = f"group '{group.name}' with {group.kind}"
    message = f"{group.kind} evaluates its objective several times in a step"
    if len(spec.objectives) > 1:
        others = ", ".join(each.group for each in spec.objectives if each.group != group.name)
        refuse("GG590", message, spec.span, f"{what} beside {others} in one update", f"an update of {group.name} alone")
    if spec.ahead:
        refuse("GG590", message, spec.span, f"{what}, and steps ahead of its own", "no unroll:")
    _refuse_several_batches("GG590", spec, message)
    for name, written in spec.options.items():
        refuse("GG590", message, written.span, f"{name}, which changes gradients", f"{group.kind} without {name}")
    for each in spec.objectives:
        if each.unroll is not None and each.unroll.steps:
            refuse("GG590", message, each.unroll.span, "unroll:, which takes second derivatives", "no unroll:")


def refuse_ahead(spec: UpdateSpec) -> None:
    """Refuse what an update that looks ahead of its own groups cannot do. Raises SpecError."""
    message = "an update that looks ahead takes its gradients at several points"
    _refuse_several_batches("GG593", spec, message)
    for each in spec.objectives:
        if each.unroll is not None and each.unroll.steps:
            found = f"steps of '{each.unroll.objective.group}' as well"
            refuse("GG593", message, each.unroll.span, found, "steps of another group, or of its own")


def _refuse_several_batches(code: str, spec: UpdateSpec, message: str) -> None:
    if (count := spec.timing.number("accumulate")) > 1:
        found = f"accumulate: {count}, which draws several batches"
        refuse(code, message, spec.span, found, "one batch, on which every evaluation is made")
    for gate in (spec.timing.gate, *(each.when for each in spec.objectives)):
        if gate is not None and not is_over_time(gate):
            found = f"a gate on {' and '.join(dict.fromkeys(name.id for name in losses_in(gate)))}, {unparse(gate)}"
            refuse(code, message, gate.span, found, "a gate over time, such as step % 2 == 0")


def refuse_past(objectives: Iterable[ObjectiveGraph], nodes: Mapping[str, Node]) -> None:
    """Refuse `at_first` and `history` of values that the update changes: each evaluation would change what they keep.

    Raises:
        SpecError: at the first such value.
    """
    each = tuple(objectives)
    moved = {name for objective in each for name in objective.moved}
    below = closure((objective.loss for objective in each), lambda name: nodes[name].needs)
    for node in (node for name, node in nodes.items() if name in below and node.remembers):
        beneath = closure((node.id,), lambda name: nodes[name].needs)
        networks = {nodes[name].target for name in beneath if nodes[name].of_network}
        if networks & moved:
            refuse(
                "GG591",
                "an update that computes its objective at several points cannot remember values of its own",
                node.span,
                f"{node.kind} of a value that depends on {', '.join(sorted(networks & moved))}, which it moves",
                "a value that the update does not move, or an update of its own",
            )
