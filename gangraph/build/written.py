"""The expressions that a phase of a spec writes, and the calls in them."""

from collections.abc import Iterator
from typing import NoReturn

from gangraph.errors import Edit, Problem, SpecError, nearest
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.spec import OUTPUT, AverageSpec, EvaluateSpec, NetworkSpec, PhaseSpec

_MOST = 4  # calls that a message lists


def in_training(spec: PhaseSpec) -> Iterator[Expression]:
    """Every expression that training computes, and what variables begin as."""
    yield from (*spec.variables.values(), *spec.values.values(), *spec.losses.values())
    yield from (state.next for state in spec.states.values())
    written = [objective for update in spec.updates for objective in update.objectives]
    written += [objective.unroll.objective for objective in written if objective.unroll is not None]
    yield from (objective.expression for objective in written)


def evaluated(evaluate: EvaluateSpec) -> Iterator[Expression]:
    """Every expression that an evaluation computes."""
    yield from (*evaluate.metrics.values(), *evaluate.results.values(), *evaluate.grid)
    for sampler in evaluate.samplers.values():
        yield from sampler.columns
        if sampler.above is not None:
            yield sampler.above


def in_evaluation(spec: PhaseSpec) -> Iterator[Expression]:
    """Every expression that the evaluation has beside those of training."""
    if spec.evaluate is not None:
        yield from (*spec.evaluate.values.values(), *evaluated(spec.evaluate))


def everywhere(spec: PhaseSpec) -> Iterator[Expression]:
    """Every expression that training or evaluation computes."""
    yield from in_training(spec)
    yield from in_evaluation(spec)


def refuse_uncalled(spec: PhaseSpec, network: str, output: str, node: Expression, *, evaluating: bool) -> NoReturn:
    """Refuse an output of a network that no call gives, with the calls that there are; one alone is the fix (GG316)."""
    own = spec.networks[network]
    made = spec.networks.get(own.of) if isinstance(own, AverageSpec) else own
    outputs = [each for each in (made.outputs if isinstance(made, NetworkSpec) else ()) if each != OUTPUT]
    calls, here = _calls(everywhere(spec), network), everywhere(spec) if evaluating else in_training(spec)
    known = output in outputs
    texts = [f"{call}.{output}" for call in calls] if known and 0 < len(calls) <= _MOST else []
    texts = texts or [f"{network}(...).{each}" for each in outputs if each]
    only = known and len(calls) == 1 and calls == _calls(here, network)
    raise SpecError([
        Problem(
            code="GG316",
            message="the outputs of a network are those of a call of it",
            span=node.span,
            found=ast.unparse(node),
            expected=" or ".join(texts) or f"{network}(...): it has no named outputs",
            fix=texts[0] if only else "" if known else nearest(output, outputs),
            mend=Edit(node.span, texts[0]) if only else None,
        )
    ])  # fmt: skip


def _calls(written: Iterator[Expression], network: str) -> list[str]:
    """The calls of a network as they are written, each once."""
    nodes = (node for expression in written for node in ast.walk(expression) if isinstance(node, ast.Call))
    return [
        *dict.fromkeys(ast.unparse(n) for n in nodes if isinstance(n.function, ast.Name) and n.function.id == network)
    ]
