"""The `evaluate:` section of a phase to a graph by itself, over the values of the training graph."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gangraph.build.network import build_network
from gangraph.build.prune import pruned_for
from gangraph.build.sources import build_sources
from gangraph.build.values import ValueBuilder
from gangraph.build.written import evaluated
from gangraph.errors import Problem
from gangraph.graph.model import Evaluation, Graph, NetworkGraph, Ref, Sampler
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.spec import AverageSpec, EvaluateSpec, EvaluatorSpec, NetworkSpec, PhaseSpec, SamplerSpec


def build_evaluation(
    spec: PhaseSpec,
    evaluate: EvaluateSpec,
    networks: Mapping[str, NetworkGraph],
    broken: set[str],
    problems: list[Problem],
) -> Evaluation:
    """The graph of grids, metrics, results and samplers, over the evaluation's own streams. Problems are added."""
    found: list[Problem] = []
    data = {**spec.data, **evaluate.data}
    evaluators = {name: made for name, each in evaluate.networks.items() if (made := _evaluator(each)) is not None}
    sources = dict(build_sources(spec, data, found))
    broken = broken | (evaluate.networks.keys() - evaluators.keys()) | (data.keys() - sources.keys())
    values = {**spec.values, **evaluate.values}
    networks = pruned_for({**networks, **evaluators}, (*values.values(), *spec.losses.values(), *evaluated(evaluate)))
    fresh = replace(
        spec,
        data=data,
        networks={**spec.networks, **{name: evaluator.spec for name, evaluator in evaluators.items()}},
        values=values,
    )
    builder = ValueBuilder(fresh, sources, networks, broken, found, evaluating=True)
    shown = _Columns(builder, found)
    grids = {name: shown.columns(columns) for name, columns in evaluate.grids.items()}
    metrics, results = shown.named(evaluate.metrics), shown.named(evaluate.results)
    # Last, since draws without a name are numbered in this order: a sampler changes no number.
    samplers = {name: shown.sampler(sampler) for name, sampler in evaluate.samplers.items()}
    problems += [problem for problem in found if problem not in problems]
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
        grids=grids,
        metrics=metrics,
        results=results,
        evaluators=evaluate.networks,
        samplers=samplers,
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Makes nodes of the columns, metrics and results of an evaluation, and keeps what is wrong with them."""

    builder: ValueBuilder
    found: list[Problem]

    def columns(self, written: Iterable[Expression]) -> tuple[tuple[str, str], ...]:
        """Nodes by the text of their expressions."""
        return tuple(self._pairs((ast.unparse(column), column) for column in written))

    def named(self, written: Mapping[str, Expression]) -> tuple[tuple[str, str], ...]:
        """Nodes by their names."""
        return tuple(self._pairs(written.items()))

    def sampler(self, spec: SamplerSpec) -> Sampler:
        """What one sampler shows."""
        above = self.columns((spec.above,) if spec.above is not None else ())
        return Sampler(spec=spec, columns=self.columns(spec.columns), above=next((node for _, node in above), None))

    def _pairs(self, written: Iterable[tuple[str, Expression]]) -> Iterator[tuple[str, str]]:
        for name, expression in written:
            value = self.builder.attempt(self.builder.visit, expression, name)
            if isinstance(value, Ref):
                yield name, value.id
            elif value is not None:
                self.found.append(_constant(expression))


def _constant(expression: Expression) -> Problem:
    """GG560: what an evaluation should show is a constant."""
    quoted = isinstance(expression, ast.Literal) and isinstance(expression.value, str)
    return Problem(
        code="GG560",
        message="an evaluation cannot show a constant",
        span=expression.span,
        found=ast.unparse(expression),
        expected="a value of the spec, or something computed from values",
        fix="leave out the inner quotes, or put the whole list in quotes" if quoted else "",
    )


def _evaluator(evaluator: EvaluatorSpec) -> NetworkGraph | None:
    """The graph of a network that another spec trains; None if it is broken, which the check of that spec reports."""
    networks = evaluator.spec.phases[-1].networks
    made = networks.get(evaluator.network)
    made = networks.get(made.of) if isinstance(made, AverageSpec) else made
    return build_network(made)[0] if isinstance(made, NetworkSpec) else None
