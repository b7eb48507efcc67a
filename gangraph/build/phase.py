"""Stage 3, build: a phase of a resolved spec to the graph of its values, losses and updates."""

from collections.abc import Iterator

from gangraph.build.evaluation import build_evaluation
from gangraph.build.network import build_network
from gangraph.build.prune import pruned_for, without_unread
from gangraph.build.sources import build_sources
from gangraph.build.states import build_states
from gangraph.build.updates import build_updates
from gangraph.build.values import ValueBuilder
from gangraph.build.variables import odd_starts
from gangraph.build.written import everywhere, in_training
from gangraph.data import sources as _sources  # noqa: F401  (registers the sources)
from gangraph.errors import Problem, SpecError, called_by, nearest
from gangraph.graph.model import Graph, NetworkGraph
from gangraph.language.expression.schedule import is_dynamic, numbers_in, require_over_time
from gangraph.language.spec import AverageSpec, NetworkSpec, PhaseSpec
from gangraph.registry import load_plugins
from gangraph.vocabulary import layers as _layers  # noqa: F401  (registers the vocabulary)


def build(spec: PhaseSpec, broken: frozenset[str] = frozenset()) -> Graph:
    """Bind every name, check every call's arguments, and connect the nodes.

    Problems are kept in the result; what depends on a broken definition is left out without another message.
    """
    load_plugins()
    problems: list[Problem] = []
    networks = dict(_networks(spec, broken, problems))
    networks = without_unread(networks, everywhere(spec))
    broken |= {name for name in spec.networks if isinstance(spec.networks[name], NetworkSpec) and name not in networks}
    sources = dict(build_sources(spec, spec.data, problems))
    broken |= {name for name in spec.data if name not in sources}
    trained = pruned_for(networks, in_training(spec))
    builder = ValueBuilder(spec, sources, trained, set(broken), problems)
    builder.define_all()
    updates = build_updates(builder)
    problems += odd_starts(spec, builder.starts, builder.table.nodes, updates)
    moves = build_states(builder)
    _check_schedules(spec, problems)
    return Graph(
        spec=spec,
        nodes=builder.table.nodes,
        sources=builder.sources,
        networks=trained,
        averages={name: made for name, made in spec.networks.items() if isinstance(made, AverageSpec)},
        values=builder.values,
        losses=builder.losses,
        updates=updates,
        moves=moves,
        evaluation=build_evaluation(spec, spec.evaluate, networks, set(broken), problems) if spec.evaluate else None,
        problems=tuple(problems),
        starts=builder.starts,
    )


def _networks(spec: PhaseSpec, broken: frozenset[str], problems: list[Problem]) -> Iterator[tuple[str, NetworkGraph]]:
    for name, network in spec.networks.items():
        if isinstance(network, NetworkSpec):
            graph, found = build_network(network)
            problems.extend(called_by(problem, name, network.span) for problem in found)
            if graph is not None and name not in broken:
                yield name, graph
        elif network.of not in broken and not isinstance(spec.networks.get(network.of), NetworkSpec):
            known = [other for other, made in spec.networks.items() if isinstance(made, NetworkSpec)]
            problems.append(
                Problem(
                    code="GG310",
                    message=f"there is no network '{network.of}' to average",
                    span=network.span,
                    found=network.of,
                    expected="one of " + ", ".join(known),
                    fix=nearest(network.of, known),
                )
            )


def _check_schedules(spec: PhaseSpec, problems: list[Problem]) -> None:
    """Optimizer options and decays are constants or numbers over time."""
    own = [names for group in spec.optimizers.values() for names in (group.options, *(e.options for e in group.listed))]
    numbers = [number for names in own for value in names.values() for number in numbers_in(value)]
    changing = [number for number in numbers if is_dynamic(number)]
    decays = [network.decay for network in spec.networks.values() if isinstance(network, AverageSpec)]
    for expression in (*changing, *decays):
        try:
            require_over_time(expression, spec.states)
        except SpecError as error:
            problems += error.problems
