"""Parameters as values: which ones a spec means by a place in a network, once its layers are known."""

import torch

from gangraph.check.instantiate import NetworkModel
from gangraph.errors import nearest
from gangraph.graph.model import Node
from gangraph.graph.node import Inference
from gangraph.graph.parts import beneath, paths_at
from gangraph.graph.types import TensorType
from gangraph.language.places import Place


def names_at(place: Place, model: NetworkModel) -> tuple[str, ...]:
    """The names of the parameters at a place of a network, in the order in which the network has them."""
    return beneath(_sizes(model), paths_at(model.graph.spec, place))


def type_of_parameters(inference: Inference, node: Node, model: NetworkModel) -> TensorType | None:
    """The type of parameters as a vector [P]. Reports a place that has none."""
    sizes, chosen = _sizes(model), names_at(node.place, model)
    if chosen or not node.place.path:
        return TensorType((sum(sizes[name] for name in chosen),), torch.float32)
    _report_none(inference, node, model)
    return None


def _report_none(inference: Inference, node: Node, model: NetworkModel) -> None:
    """Report a place without parameters, with those that there are in the same layer or part."""
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


def _sizes(model: NetworkModel) -> dict[str, int]:
    return {name: parameter.numel() for name, parameter in model.module.named_parameters()}
