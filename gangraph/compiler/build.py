"""Stage 3, build: a phase of a resolved spec to the graph of its values, losses and updates."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from gangraph.compiler.build_network import build_network
from gangraph.compiler.build_sources import build_sources
from gangraph.compiler.build_updates import build_updates
from gangraph.compiler.build_values import ValueBuilder
from gangraph.compiler.graph import Argument, Evaluation, Graph, NetworkGraph, Ref
from gangraph.compiler.trim import fields_in, trimmed
from gangraph.data import sources as _sources  # noqa: F401  (registers the sources)
from gangraph.errors import Problem, called_by, nearest
from gangraph.language import expression as ast
from gangraph.language.expression import Expression
from gangraph.language.schedule import is_dynamic, verify
from gangraph.language.spec import (
    AverageSpec,
    EvaluateSpec,
    EvaluatorSpec,
    NetworkSpec,
    PhaseSpec,
)
from gangraph.language.static import StaticError
from gangraph.registry import load_plugins
from gangraph.vocabulary import layers as _layers  # noqa: F401  (registers the vocabulary)


def build(spec: PhaseSpec, broken: frozenset[str] = frozenset()) -> Graph:
    """Bind every name, check every call's arguments, and connect the nodes.

    Problems are kept in the result; what depends on a broken definition is left out without another message.
    """
    load_plugins()
    problems: list[Problem] = []
    networks = dict(_networks(spec, broken, problems))
    broken |= {name for name in spec.networks if isinstance(spec.networks[name], NetworkSpec) and name not in networks}
    sources = dict(build_sources(spec, spec.data, problems))
    broken |= {name for name in spec.data if name not in sources}
    written = [objective for update in spec.updates for objective in update.objectives]
    written += [objective.unroll.objective for objective in written if objective.unroll is not None]
    objectives = (objective.expression for objective in written)
    trained = _trimmed(networks, (*spec.values.values(), *spec.losses.values(), *objectives))
    builder = ValueBuilder(spec, sources, trained, set(broken), problems)
    builder.define_all()
    updates = build_updates(builder)
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
        evaluation=_evaluation(spec, spec.evaluate, networks, set(broken), problems) if spec.evaluate else None,
        problems=tuple(problems),
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


def _trimmed(networks: Mapping[str, NetworkGraph], written: Iterable[Expression]) -> dict[str, NetworkGraph]:
    fields = fields_in(written)
    return {name: trimmed(network, fields) for name, network in networks.items()}


def _check_schedules(spec: PhaseSpec, problems: list[Problem]) -> None:
    """Optimizer options and decays are constants or numbers over time."""
    options = [value for group in spec.optimizers.values() for value in group.options.values() if is_dynamic(value)]
    decays = [network.decay for network in spec.networks.values() if isinstance(network, AverageSpec)]
    for expression in (*options, *decays):
        try:
            verify(expression)
        except StaticError as error:
            problems += [error.problem] if error.problem else []


def _evaluation(
    spec: PhaseSpec,
    evaluate: EvaluateSpec,
    networks: Mapping[str, NetworkGraph],
    broken: set[str],
    problems: list[Problem],
) -> Evaluation:
    """The graph of grids, metrics and results: the training graph's values over the evaluation's own streams."""
    found: list[Problem] = []
    data = {**spec.data, **evaluate.data}
    judges = {name: network for name, judge in evaluate.networks.items() if (network := _judge(judge)) is not None}
    sources = dict(build_sources(spec, data, found))
    broken = broken | (evaluate.networks.keys() - judges.keys()) | (data.keys() - sources.keys())
    written = (*evaluate.metrics.values(), *evaluate.results.values(), *chain(*evaluate.grids.values()))
    values = {**spec.values, **evaluate.values}
    networks = _trimmed({**networks, **judges}, (*values.values(), *spec.losses.values(), *written))
    fresh = replace(
        spec,
        data=data,
        networks={**spec.networks, **{name: judge.spec for name, judge in judges.items()}},
        values=values,
    )
    builder = ValueBuilder(fresh, sources, networks, broken, found)
    grids = {
        name: [(ast.show(column), builder.attempt(builder.visit, column, ast.show(column))) for column in columns]
        for name, columns in evaluate.grids.items()
    }
    metrics = [(name, builder.attempt(builder.visit, metric, name)) for name, metric in evaluate.metrics.items()]
    results = [(name, builder.attempt(builder.visit, result, name)) for name, result in evaluate.results.items()]
    made = (*metrics, *results, *chain(*grids.values()))
    found += [
        _not_seen(expression)
        for (_, value), expression in zip(made, written, strict=True)
        if value is not None and not isinstance(value, Ref)
    ]
    for problem in found:
        if problem not in problems:
            problems.append(problem)
    graph = Graph(
        spec=fresh,
        nodes=builder.table.nodes,
        sources=builder.sources,
        networks=networks,
        averages={n: a for n, a in spec.networks.items() if isinstance(a, AverageSpec)},
        values=builder.values,
        losses=builder.losses,
        updates=(),
        evaluation=None,
        problems=(),
    )
    return Evaluation(
        graph=graph,
        grids={name: _present(columns) for name, columns in grids.items()},
        metrics=_present(metrics),
        results=_present(results),
        evaluators=evaluate.networks,
    )


def _not_seen(expression: Expression) -> Problem:
    """What is to be looked at is a constant."""
    quoted = isinstance(expression, ast.Literal) and isinstance(expression.value, str)
    return Problem(
        code="GG560",
        message="an evaluation cannot show a constant",
        span=expression.span,
        found=ast.show(expression),
        expected="a value of the spec, or something computed from values",
        fix="leave out the inner quotes, or put the whole list in quotes" if quoted else "",
    )


def _judge(evaluator: EvaluatorSpec) -> NetworkGraph | None:
    """The graph of a network that another spec trains; None if it is broken, which the check of that spec reports."""
    networks = evaluator.spec.phases[-1].networks
    made = networks.get(evaluator.network)
    made = networks.get(made.of) if isinstance(made, AverageSpec) else made
    return build_network(made)[0] if isinstance(made, NetworkSpec) else None


def _present(pairs: list[tuple[str, Argument]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value.id) for name, value in pairs if isinstance(value, Ref))
