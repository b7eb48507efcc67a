"""Lints of optimizer groups and updates."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Problem
from gangraph.graph.code_names import module_name
from gangraph.graph.groups import share_parameters
from gangraph.graph.model import Graph
from gangraph.language.expression import model as ast
from gangraph.language.expression.gates import losses_in
from gangraph.language.expression.schedule import TIME
from gangraph.language.named_parts import ANONYMOUS, parts_at
from gangraph.language.place import Place
from gangraph.language.tied import identities
from gangraph.language.update_spec import OptimizerSpec
from gangraph.registry import vocabulary


def untrained(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG605: a network with weights that no objective moves."""
    groups = [graph.spec.optimizers[goal.group] for update in graph.updates for goal in update.objectives]
    named = [(group, name) for group in groups for name, _ in group.networks if name in graph.networks]
    trained = {
        part
        for group, name in named
        for part in identities(name, graph.networks[name].spec)
        if _trains(graph, group, name, part[1])
    }
    whole = {place.network for group in groups for place in group.places if not place.path}
    begun = {name for _, name in named}
    for name, network in graph.networks.items():
        left = {module_name(part) for owner, part in identities(name, network.spec) if (owner, part) not in trained}
        idle = [use for path, use in network.layers.items() if path.partition(".")[0] in (*left, ANONYMOUS)]
        used = any(graph.calls(name))
        weights = any(vocabulary[use.name].traits.init for use in idle) or network.spec.start is not None
        if used and name not in whole and not network.spec.frozen and weights:
            own = " what is its own in" if len(left) < len(network.spec.parts) else ""
            rest = " all of" if name in begun else own
            yield warn(
                "GG605",
                f"no update trains{rest} '{name}'",
                graph.spec.spans.get(name, network.spec.span),
                found=f"nothing changes {', '.join(sorted(left))}" if name in begun else "",
                fix="name it in an optimizer group and an update",
            )


def in_two_groups(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG606: a network that two optimizers move."""
    places: list[Place] = []
    told: set[str] = set()
    for group in graph.spec.optimizers.values():
        for place in (each for each in group.places if each.network in graph.networks and each.network not in told):
            others = [each for each in places if each.network == place.network]
            first = next((each for each in others if share_parameters(graph.spec.networks, [place], [each])), None)
            if first is not None:
                told.add(place.network)
                written = place.written if place.is_in(first) else first.written
                yield warn("GG606", f"'{written}' belongs to two optimizer groups", first.span)
        places += group.places


def part_in_two_groups(graph: Graph, _: Types) -> Iterator[Problem]:
    """A shared part that two optimizers move, through two networks that have it."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    told: set[tuple[str, str]] = set()
    for group in graph.spec.optimizers.values():
        for name, span in group.networks:
            own = identities(name, graph.networks[name].spec) if name in graph.networks else ()
            for part in sorted(each for each in own if _trains(graph, group, name, each[1])):
                first, network = found.setdefault(part, (group.name, name))
                if first != group.name and network != name and part not in told:
                    told.add(part)
                    yield warn(
                        "GG620",
                        f"part '{part[1]}' of '{name}' belongs to two optimizer groups",
                        span,
                        found=f"it is shared with '{network}' of group '{first}'",
                        fix=f"both networks in one group: [{network}, {name}]",
                    )


def _trains(graph: Graph, group: OptimizerSpec, network: str, part: str) -> bool:
    """Whether a group trains any parameter in a part of a network."""
    places = [place for place in group.places if place.network == network]
    return any(not place.path or part in parts_at(graph.networks[network].spec, place) for place in places)


def zero_rate(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG615: an optimizer whose learning rate is 0."""
    for group in graph.spec.optimizers.values():
        own = ((f"'{each.place.written}'", each.options) for each in group.listed)
        for what, options in ((f"group '{group.name}'", group.options), *own):
            rate = options.get("lr")
            if isinstance(rate, ast.Literal) and rate.value == 0:
                yield warn("GG615", f"{what} has a learning rate of 0", rate.span)


def momentum_with_clipping(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG613: momentum on clipped weights, which it keeps pushing against the limits; variables are left out."""
    for update in graph.updates:
        clipped = {each.network for each in update.then if each.operation == "clip"} - graph.starts.keys()
        for objective in update.objectives:
            group = graph.spec.optimizers[objective.group]
            betas = group.options.get("betas")
            first = betas.items[0] if isinstance(betas, ast.Sequence) and betas.items else ast.Literal(0.9, group.span)
            momentum = isinstance(first, ast.Literal) and bool(first.value)
            if group.kind in ("adam", "adamw") and momentum and clipped & set(objective.networks):
                yield warn(
                    "GG613",
                    f"group '{group.name}' has momentum, and its weights are clipped",
                    group.span,
                    fix="rmsprop, or betas=[0, 0.9]",
                )


def held_for_nothing(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG612: `at_first`, or another form that remembers, of a value that no update changes."""
    changed = {name for update in graph.updates for name in update.networks}
    for node in graph.nodes.values():
        if node.remembers == "step":
            beneath = {graph.nodes[n].target for n in graph.below(*node.inputs) if graph.nodes[n].of_network}
            if not beneath & changed:
                yield warn(
                    "GG612",
                    "nothing beneath this value changes within a step",
                    node.span,
                    found=graph.label(node.inputs[0]),
                    fix=f"leave out {node.kind}()",
                )


def shut_for_good(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG618: a closed gate that nothing can open again: no other update changes its losses, and it names no time."""
    for index, update in enumerate(graph.updates):
        others = {name for i, other in enumerate(graph.updates) if i != index for name in other.networks}
        own = [(update.timing.gate, update.networks)] + [(each.when, each.networks) for each in update.objectives]
        for gate, shut in own:
            looked = losses_in(gate) if gate is not None else ()
            if gate is None or not looked or any(isinstance(n, ast.Name) and n.id in TIME for n in ast.walk(gate)):
                continue
            below = graph.below(*(dict(update.watched)[name.id] for name in looked))
            beneath = {graph.owner(graph.nodes[n].target) for n in below if graph.nodes[n].of_network}
            moving = others | (set(update.networks) - set(shut))
            moved = any(graph.nodes[n].is_state for n in below)
            if beneath and not moved and not beneath & moving:
                yield warn(
                    "GG618",
                    f"while this gate is shut, nothing changes {' or '.join(sorted(beneath))}",
                    gate.span,
                    found=ast.unparse(gate),
                    fix="look at a loss of the other player too, or open it now and then: or step % 10 == 0",
                )


def averaged_buffers(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG610: an average of statistics that are averages themselves."""
    for average in graph.averages.values():
        layers = graph.networks[average.of].layers.values() if average.of in graph.networks else ()
        if average.buffers == "average" and any(use.name == "batch_norm" for use in layers):
            yield warn(
                "GG610",
                f"the average of '{average.of}' runs over batch norm's statistics",
                average.span,
                fix='buffers="copy"',
            )
