"""A lint of what states become."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.check.naming import said
from gangraph.errors import Problem
from gangraph.graph.closure import closure
from gangraph.graph.model import Graph


def late_for_a_state(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG650: a state is computed from a call that an update made before its network changed; it is made again."""
    below = [graph.below(*update.roots) for update in graph.updates]
    for entry in graph.moves:
        for name, node in entry.states:
            call = next(_late(graph, below, node), None)
            if call is not None:
                shown, network = said(graph, call), graph.owner(graph.nodes[call].target)
                state = graph.spec.states[name]
                what = f"the {state.called} '{name}'"
                yield warn(
                    "GG650",
                    f"{what} is computed at the step's end, where '{network}' has changed since {shown}",
                    state.next.span,
                    found=shown,
                    fix=f"at_first({shown}) for what it was in the update; again({shown}) if the end is meant",
                )


def _late(graph: Graph, below: list[set[str]], root: str) -> Iterator[str]:
    """The calls beneath the new value of a state that updates made with other parameters, and that are made again."""
    nodes = graph.nodes

    def kept(name: str) -> bool:
        """Whether a value is held from an update, so that nothing beneath it is computed again."""
        return nodes[name].remembers == "step" and any({name, *nodes[name].inputs} & names for names in below)

    now = closure((root,), lambda name: () if kept(name) else nodes[name].needs)
    for name in graph.in_order(now):
        first = next((index for index, names in enumerate(below) if name in names), None)
        if nodes[name].is_call and first is not None:
            beneath = {graph.owner(nodes[each].target) for each in graph.below(name) if nodes[each].of_network}
            if any(beneath & {*update.networks} for update in graph.updates[first:]):
                yield name
