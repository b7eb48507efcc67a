"""Parameters as values: those at a place in a network, once its layers are known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from gangraph.check.instantiate import NetworkModel
from gangraph.check.naming import said
from gangraph.errors import Problem, nearest
from gangraph.graph.kind import Inference
from gangraph.graph.model import Graph, Node
from gangraph.graph.parts import beneath, paths_at
from gangraph.graph.reached import unreached
from gangraph.graph.types import TensorType
from gangraph.language.place import Place

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def names_at(place: Place, model: NetworkModel) -> tuple[str, ...]:
    """The names of the parameters at a place of a network, in the order in which the network has them."""
    return beneath(_sizes(model), paths_at(model.graph.spec, place))


def parameter_names(models: Mapping[str, NetworkModel]) -> dict[str, tuple[str, ...]]:
    """The names of the parameters of networks, in order."""
    return {name: tuple(_sizes(model)) for name, model in models.items()}


def type_of_parameters(inference: Inference, node: Node, model: NetworkModel) -> TensorType | None:
    """The type of parameters as a vector [P], or of a weight as a matrix [outputs, rest].

    None, with a problem reported, if the place has none.
    """
    if node.kind == "weight_matrix":
        return _type_of_matrix(inference, node, model)
    sizes, chosen = _sizes(model), names_at(node.place, model)
    if chosen or not node.place.path:
        return TensorType((sum(sizes[name] for name in chosen),), torch.float32)
    _report_none(inference, node, model)
    return None


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """The weight that a layer stores: its name, its shape as a matrix, and whether it is stored inputs first."""

    name: str
    shape: tuple[int, int]
    transposed: bool


_WEIGHTS = ("weight", "parametrizations.weight.original")  # as the layer stores it


def weight_at(place: Place, model: NetworkModel) -> StoredWeight | None:
    """The weight of the layer at a place, if it is one layer with a weight of two or more dimensions.

    Under `spectral_norm` and `equalized` it is the weight before scaling, under `weight_norm` the direction.
    """
    (path, *others) = paths_at(model.graph.spec, place) or ("",)
    stored = dict(model.module.named_parameters())
    name = next((f"{path}.{each}" for each in _WEIGHTS if f"{path}.{each}" in stored), "")
    if others or path not in model.graph.layers or not name or stored[name].dim() < 2:
        return None
    transposed = isinstance(model.module.get_submodule(path), _TRANSPOSED)
    rows = stored[name].shape[1 if transposed else 0]
    return StoredWeight(name, (rows, stored[name].numel() // rows), transposed)


def _type_of_matrix(inference: Inference, node: Node, model: NetworkModel) -> TensorType | None:
    found = weight_at(node.place, model)
    if found is None:
        inference.report(
            "GG545",
            f"'{node.place.written}' is no layer with a matrix",
            node,
            found=node.place.written,
            expected="one linear or convolutional layer, such as G.last.conv2d",
        )
        return None
    return TensorType(found.shape, torch.float32)


def require_reached(inference: Inference, graph: Graph, node: Node, models: Mapping[str, NetworkModel]) -> bool:
    """Whether the output of a gradient depends on the parameters that it is taken by; reports where it does not."""
    (output,), written = node.inputs, node.place.written
    if node.target in graph.averages:
        owner = graph.owner(node.target)
        inference.report(
            "GG451",
            "nothing is differentiated with respect to an average",
            node,
            found=f"parameters({written})",
            expected="parameters of a network that is trained or called",
            fix=f"parameters({written.replace(node.target, owner, 1)})",
        )
        return False
    if unreached(graph, output, [node.place], parameter_names(models)):
        inference.report(
            "GG503",
            "the gradient is zero: the output does not depend on these parameters",
            node,
            found=f"{said(graph, output)} is not computed from {written}, or only through what stops gradients",
            expected=f"a value that a call of {node.target} leads to",
        )
        return False
    return True


def _report_none(inference: Inference, node: Node, model: NetworkModel) -> None:
    """Report a place without parameters, and name those in the same layer or part."""
    place = node.place
    layers = [".".join(path.split(".")[:2]) for path in paths_at(model.graph.spec, place)]
    known = dict.fromkeys(
        name.removeprefix(f"{layer}.") for layer in layers for name in beneath(_sizes(model), [layer])
    )
    inference.report(
        "GG545",
        f"there are no parameters in '{place.written}'",
        node,
        found=place.written,
        expected="one of " + ", ".join(known) if known else "a part or a layer with weights",
        fix=nearest(place.within.partition(".")[2], known),
    )


def operations_on_nothing(graph: Graph, models: Mapping[str, NetworkModel]) -> Iterator[Problem]:
    """GG545: operations on the parameters of a part, or of a layer, that has none."""
    for each in (each for update in graph.updates for each in update.then):
        model = models.get(each.network)
        if each.place.path and model is not None and not names_at(each.place, model):
            yield Problem(
                code="GG545",
                message=f"there are no parameters in '{each.place.written}'",
                span=each.place.span,
                found=each.place.written,
                expected="a part or a layer with weights",
            )


def _sizes(model: NetworkModel) -> dict[str, int]:
    return {name: parameter.numel() for name, parameter in model.module.named_parameters()}
