"""Optimizers by name: torch's own, checked against their signatures."""

import inspect
from collections.abc import Iterable, Iterator, Mapping

import torch

from gangraph.errors import Problem, Span, nearest
from gangraph.language.expression import Call, Expression, keyword_span, walk
from gangraph.language.gates import outside
from gangraph.language.schedule import Clock, evaluate, is_dynamic
from gangraph.language.spec import OptimizerSpec, PhaseSpec
from gangraph.language.static import StaticError, constant

_HIDDEN = ("params", "foreach", "capturable", "differentiable", "fused", "maximize")

OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax, "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
}  # fmt: skip
_FUSED = ("adam", "adamw", "sgd", "adagrad")
DIFFERENTIABLE = ("adam", "adamw", "sgd", "rmsprop", "adagrad")  # whose steps an objective can look ahead


def check_optimizers(spec: PhaseSpec) -> Iterator[Problem]:
    """Every group names one of torch's optimizers and options that it has."""
    for group in spec.optimizers.values():
        yield from _check_group(group, spec.static_names)


def _check_group(group: OptimizerSpec, static_names: Iterable[str]) -> Iterator[Problem]:
    if group.kind not in OPTIMIZERS:
        function = Span(group.span.text, group.span.start, group.span.start + len(group.kind))
        yield Problem(
            code="GG320",
            message=f"there is no optimizer '{group.kind}'",
            span=function,
            found=group.kind,
            expected="one of " + ", ".join(OPTIMIZERS),
            fix=nearest(group.kind, OPTIMIZERS),
        )
        return
    known = [name for name in inspect.signature(OPTIMIZERS[group.kind]).parameters if name not in _HIDDEN]
    for name, value in group.options.items():
        if name not in known:
            yield Problem(
                code="GG320",
                message=f"'{group.kind}' has no option '{name}'",
                span=keyword_span(name, value),
                found=name,
                expected="one of " + ", ".join(known),
                fix=nearest(name, known),
            )
    if any(name not in known for name in group.options):
        return
    try:
        for value in group.options.values():
            misplaced = [outside(node) for node in walk(value) if isinstance(node, Call)]
            if any(misplaced):
                raise StaticError(next(filter(None, misplaced)))
            if not is_dynamic(value):
                constant(value, static_names)
        make_optimizer(group, [torch.nn.Parameter(torch.zeros(1))])
    except StaticError as error:
        if error.problem is not None:
            yield error.problem
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        yield Problem(code="GG320", message=f"'{group.kind}' refuses its options", span=group.span, reason=str(error))


def make_optimizer(group: OptimizerSpec, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a group, fused where torch can. Numbers over time start at their value at step 0.

    Raises:
        StaticError: an option is neither a constant nor a number over time.
        ValueError: torch refuses an option's value.
    """
    options = {
        name: _option(evaluate(value, Clock()) if is_dynamic(value) else constant(value))
        for name, value in group.options.items()
    }
    if group.kind in _FUSED:
        options["fused"] = True
    return OPTIMIZERS[group.kind](parameters, **options)  # type: ignore[arg-type]


def schedules(group: OptimizerSpec) -> dict[str, Expression]:
    """The options of a group that change with time."""
    return {name: value for name, value in group.options.items() if is_dynamic(value)}


def _option(value: object) -> object:
    """Numbers as floats: torch's fused optimizers refuse whole numbers in tuples."""
    if isinstance(value, tuple):
        return tuple(float(item) if isinstance(item, int) else item for item in value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
