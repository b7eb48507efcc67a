"""Initialization of parameters: the schemes that `init:` names, checked before a run and applied when it begins."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached, is_parametrized

from gangraph.check.instantiate import NetworkModel, first_line
from gangraph.errors import Problem, SpecError, nearest
from gangraph.graph.code_names import module_name
from gangraph.graph.model import NetworkGraph
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import Expression
from gangraph.language.expression.order import require_order
from gangraph.language.scalar import Scalar
from gangraph.language.spec import VARIABLE
from gangraph.language.tied import family_of
from gangraph.registry import vocabulary
from gangraph.vocabulary.layers import weighted

SCHEMES: Mapping[str, Callable[..., Tensor]] = {
    "normal": nn.init.normal_, "uniform": nn.init.uniform_, "constant": nn.init.constant_, "zeros": nn.init.zeros_,
    "ones": nn.init.ones_, "orthogonal": nn.init.orthogonal_, "truncated_normal": nn.init.trunc_normal_,
    "xavier_uniform": nn.init.xavier_uniform_, "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_, "kaiming_normal": nn.init.kaiming_normal_,
}  # fmt: skip
_OF_MATRICES = ("orthogonal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal")
_ORDERED = {"uniform": ("a", "b"), "truncated_normal": ("a", "b")}  # the bounds of these
KINDS = ("conv", "linear", "norm", "embedding", "bias", "all")
Scheme = Callable[[Tensor], Tensor]


def check_initialization(graph: NetworkGraph, model: NetworkModel | None) -> Iterator[Problem]:
    """Every entry of `init:` names a part or a kind of layer, and a scheme that can initialize its weights."""
    wrong = [*_written_wrongly(graph)]
    yield from wrong
    if model is not None and not wrong:
        yield from _refused(model)


def _refused(model: NetworkModel) -> Iterator[Problem]:
    """Schemes that cannot initialize a weight of the network, such as one for matrices and the weight of a norm."""
    init, parts = model.graph.spec.init, {module_name(part): part for part in model.graph.spec.parts}
    for path, use in model.graph.layers.items() if init else ():
        kind = vocabulary[(use.wrapped or use).name].traits.init
        layer, named = model.module.get_submodule(path), parts.get(path.partition(".")[0], "")
        if kind is None:
            continue
        try:
            with torch.random.fork_rng(devices=[]):
                _apply(layer, *_schemes(init, named, kind))
        except Exception as error:  # torch raises many types; every one means that the scheme does not fit
            written = next(init[name] for name in (*_named(named), str(kind), "all", "bias") if name in init)
            yield Problem(
                code="GG322",
                message=f"the weights of '{use.name}' cannot start like this",
                span=written.span,
                found=f"{ast.unparse(written)} for {_shape(layer)}",
                reason=first_line(error),
                expected="a scheme for weights of this shape, or another one for this kind of layer",
                fix=f"{kind}: default",
            )


def _shape(layer: nn.Module) -> str:
    (layer, *_) = weighted(layer)
    weight: Any = _parametrizations(layer)["weight"].original if is_parametrized(layer, "weight") else layer.weight
    return f"a weight {list(weight.shape)}"


def _written_wrongly(graph: NetworkGraph) -> Iterator[Problem]:
    parts = [*graph.spec.parts, *dict.fromkeys(family_of(part) for part in graph.spec.parts)]
    for kind, expression in graph.spec.init.items():
        if kind not in KINDS and kind not in parts:
            known = tuple(dict.fromkeys((*KINDS, *parts)))
            span = kind.span if isinstance(kind, Scalar) else expression.span
            yield Problem(
                code="GG322",
                message=f"there is no kind of layer and no part '{kind}'",
                span=span,
                found=kind,
                expected="one of " + ", ".join(known),
                fix=nearest(kind, known),
            )
        try:
            with torch.random.fork_rng(devices=[]):
                _scheme(expression)(torch.empty(2) if kind == "bias" else torch.empty(2, 2))
        except SpecError as error:
            yield from error.problems
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            known = ("default", *(name for name in SCHEMES if kind != "bias" or name not in _OF_MATRICES))
            name = ast.unparse(expression.function if isinstance(expression, ast.Call) else expression)
            example = "constant(0.1)" if kind == "bias" else "normal(0, 0.02)"
            yield Problem(
                code="GG322",
                message="parameters cannot start like this",
                span=expression.span,
                found=ast.unparse(expression),
                expected="one of " + ", ".join(known) + f", such as {example}",
                reason=f"torch says: {first_line(error)}" if name in known else "",
                fix="" if name in known else nearest(name, known),
            )


def initialize(module: nn.Module, graph: NetworkGraph, generator: torch.Generator) -> None:
    """Set every parameter and buffer of a network that has storage, from PyTorch's defaults and `init:`.

    A scheme sets a layer's weight; its bias is then 0, or what `bias` says. An entry for a part comes before one for a
    kind of layer. A variable is 0 until it begins.
    """
    if graph.spec.start is not None:
        nn.init.zeros_(module.get_parameter(VARIABLE))
        return
    parts = {module_name(part): part for part in graph.spec.parts}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                _reset(part, reset)
        for path, use in graph.layers.items():
            kind = vocabulary[(use.wrapped or use).name].traits.init
            if kind is not None:
                named = parts.get(path.partition(".")[0], "")
                _apply(module.get_submodule(path), *_schemes(graph.spec.init, named, kind))
        for part in list(module.modules()):
            if is_parametrized(part, "weight"):
                _restart(part)


def _reset(layer: nn.Module, reset: Callable[[], object]) -> None:
    """PyTorch's initialization. A parametrized weight is computed at each access, so it is filled once and stored.

    A parametrization that has a method `start` initializes what it stores by itself.
    """
    with torch.no_grad(), cached():
        reset()
        for name, steps in _parametrizations(layer).items():
            steps.original.copy_(getattr(layer, name))
            for step in steps:
                getattr(step, "start", _default)(steps.original)


def _parametrizations(layer: nn.Module) -> dict[str, Any]:
    """Each parametrized weight or bias of a layer: what is stored as `original`, and the steps that use it."""
    return dict(layer.parametrizations.items()) if is_parametrized(layer) else {}  # type: ignore[union-attr, operator]  # torch types it as any attribute of a module


def _restart(layer: nn.Module) -> None:
    """Estimate a spectral norm from the weight as it is now: its vectors are buffers, which nothing else fills."""
    weight: Any = layer.parametrizations.weight  # type: ignore[union-attr]  # of torch's parametrize
    for norm in weight:
        if not hasattr(norm, "n_power_iterations"):
            continue
        fresh = type(norm)(weight.original, norm.n_power_iterations, norm.dim, norm.eps)
        norm.load_state_dict(fresh.state_dict())


def _named(part: str) -> list[str]:
    """The names by which `init:` may address a part."""
    return [name for name in (part, family_of(part)) if name not in KINDS]


def _schemes(init: Mapping[str, Expression], part: str, kind: str) -> tuple[Scheme | None, Scheme | None]:
    """The schemes of a layer's weight and bias; None where `init:` says nothing."""
    weight = next((init[name] for name in (*_named(part), kind, "all") if name in init), None)
    bias = init.get("bias")
    return _scheme(weight) if weight is not None else None, _scheme(bias) if bias is not None else None


def _apply(layer: nn.Module, weights: Scheme | None, biases: Scheme | None) -> None:
    """Start the weight and the bias of a layer, or of each layer that it consists of."""
    for part in weighted(layer):
        _apply_to(part, weights, biases)


def _apply_to(layer: nn.Module, weights: Scheme | None, biases: Scheme | None) -> None:
    stored = {name: steps.original for name, steps in _parametrizations(layer).items()}
    weight = stored.get("weight", layer.weight)
    bias = stored.get("bias", getattr(layer, "bias", None))
    if biases is None and weights is not None and weights is not _default:
        biases = nn.init.zeros_
    with torch.no_grad():
        if isinstance(weight, Tensor) and weights is not None:
            weights(weight)
        if isinstance(bias, Tensor) and biases is not None:
            biases(bias)


def _default(weight: Tensor) -> Tensor:
    return weight


def _scheme(expression: Expression) -> Scheme:
    """The function that fills a weight. Raises SpecError, KeyError."""
    if isinstance(expression, ast.Name):
        return _default if expression.id == "default" else SCHEMES[expression.id]
    if not isinstance(expression, ast.Call):
        raise KeyError(ast.unparse(expression))
    name = ast.unparse(expression.function)
    fill = SCHEMES[name]
    if name in _ORDERED:
        require_order(expression, _ORDERED[name], inspect.signature(fill), skipped=1)
    arguments = tuple(constant(argument) for argument in expression.arguments)
    keywords = {key: constant(value) for key, value in expression.keywords}
    return lambda weight: fill(weight, *arguments, **keywords)
