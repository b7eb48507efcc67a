"""The engine's own kinds of nodes."""

from collections.abc import Callable

import torch

from gangraph.graph import kind_calls
from gangraph.graph.arguments import Argument, Ref
from gangraph.graph.kind import (
    Form,
    Inference,
    NetworkFacts,
    NodeKind,
    Writer,
    always,
    as_call,
    call_of,
    dotted_name,
    kinds,
)
from gangraph.graph.node import Node
from gangraph.graph.types import TensorType
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.spec import OUTPUT
from gangraph.registry import vocabulary

SIGNS = {  # how a spec writes these ops
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "neg": "-",
    "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
}  # fmt: skip

# ------------------------------------------------------------------------------------------------------ gradients


def _op_stops(_: NetworkFacts, node: Node) -> bool:
    return vocabulary[node.target].traits.stops_gradient


# ---------------------------------------------------------------------------------------------------------- types


def _number(_: Inference, __: Node) -> TensorType:
    return TensorType((), torch.float32)


def _state(_: Inference, node: Node) -> TensorType:
    shape = node.arguments[1:]
    return TensorType(tuple(size for size in shape if isinstance(size, int)), torch.float32)


def _first(inference: Inference, node: Node) -> TensorType:
    return inference.types[node.inputs[0]]


def _no_value(_: Inference, __: Node) -> None:
    """Parameters of networks, which are no value of a spec."""


def _in_networks_alone(_: object, node: Node) -> None:
    raise AssertionError(f"'{node.id}' is of kind '{node.kind}', which stands in networks alone")


def _given(_: Writer, node: Node) -> None:
    raise AssertionError(f"'{node.id}' is given to a segment, which has no code for it")


# ------------------------------------------------------------------------------------------ back to expressions

Inside = Callable[[Argument], Expression]


def _spell_source(node: Node, _: Inside) -> Expression:
    return dotted_name(node.id, node.span)


def _spell_state(node: Node, _: Inside) -> Expression:
    return dotted_name(node.target, node.span)


def _spell_number(node: Node, _: Inside) -> Expression:
    return node.over_time


def _spell_output(node: Node, inside: Inside) -> Expression:
    call = inside(node.arguments[0])
    return call if node.field == OUTPUT else ast.Attribute(call, node.field, node.span)


def _spell_operation(node: Node, inside: Inside) -> Expression:
    match node.arguments:
        case [operand] if node.target == "neg":
            return ast.Unary("-", inside(operand), node.span)
        case [left, right] if node.target in SIGNS:
            return ast.Binary(SIGNS[node.target], inside(left), inside(right), node.span)
    return call_of(node.target, node, inside)


def _spell_target(node: Node, inside: Inside) -> Expression:
    """A call; a network without inputs is a variable, whose name is its value."""
    return call_of(node.target, node, inside) if node.arguments else dotted_name(node.target, node.span)


def _spell_first(node: Node, inside: Inside) -> Expression:
    return inside(node.arguments[0])


def _spell_again(node: Node, inside: Inside) -> Expression:
    return ast.Call(ast.Name("again", node.span), (inside(Ref(node.anew)),), (), node.span)


def _spell_parameters(node: Node, _: Inside) -> Expression:
    place = dotted_name(node.place.written, node.span)
    return ast.Call(
        ast.Name("weight_matrix" if node.kind == "weight_matrix" else "parameters", node.span), (place,), (), node.span
    )


def _spell_parameter_gradient(node: Node, inside: Inside) -> Expression:
    arguments = (inside(node.arguments[0]), _spell_parameters(node, inside))
    return ast.Call(ast.Name("grad", node.span), arguments, (), node.span)


# ---------------------------------------------------------------------------------------------------- the table

KINDS = (
    NodeKind(  # a field of a batch of data or of random numbers; target: the source, field
        name="source",
        target="source",
        given=True,
        source=True,
        stops=always,
        infer=lambda inference, node: inference.source(node),
        write=_given,
        spelled=_spell_source,
    ),
    NodeKind(  # random numbers that a network draws where it is called, which a spec does not write; target: the source
        name="draw",
        target="source",
        given=True,
        source=True,
        unwritten=True,
        stops=always,
        infer=lambda inference, node: inference.source(node),
        write=_given,
        spelled=_spell_source,
    ),
    NodeKind(  # a number over time; expression
        name="scalar",
        given=True,
        stops=always,
        infer=_number,
        write=_given,
        spelled=_spell_number,
    ),
    NodeKind(  # what the steps before left; target: its name, arguments: the number that it began as, and its shape
        name="state",
        arguments=None,
        target="state",
        given=True,
        stops=always,
        infer=_state,
        write=_given,
        spelled=_spell_state,
    ),
    NodeKind(  # a call of a network; from which output to which input a gradient passes, `NetworkGraph.flows` says
        name="network",
        arguments=None,
        target="network",
        of_network=True,
        infer=lambda inference, node: inference.call(node),
        write=lambda writer, node: writer.network(node),
        spelled=_spell_target,
    ),
    NodeKind(  # one named output of a call; field
        name="output",
        arguments=(Ref,),
        infer=lambda inference, node: inference.output(node),
        write=lambda writer, node: writer.output(node),
        spelled=_spell_output,
    ),
    NodeKind(  # a call of an op, a loss or a metric
        name="op",
        arguments=None,
        target="op",
        whole=True,
        stops=_op_stops,
        infer=lambda inference, node: inference.operation(node),
        write=lambda writer, node: writer.operation(node),
        spelled=_spell_operation,
    ),
    NodeKind(  # the gradient of the first argument's sum with respect to the second
        name="grad",
        arguments=(Ref, Ref),
        like=1,
        infer=lambda inference, node: inference.gradient(node),
        write=lambda writer, node: writer.gradient(node),
        form=Form("grad(output, input)", build=kind_calls.gradient_call),
    ),
    NodeKind(  # the gradient of its argument's sum with respect to parameters of a network; target and field: whose
        name="parameter_grad",
        arguments=(Ref,),
        target="network",
        infer=lambda inference, node: inference.parameter_gradient(node),
        write=lambda writer, node: writer.parameter_gradient(node),
        spelled=_spell_parameter_gradient,
    ),
    NodeKind(  # the value, its gradient stopped
        name="detach",
        arguments=(Ref,),
        same=True,
        like=0,
        whole=True,
        accent="overline",
        stops=always,
        infer=_first,
        write=lambda writer, node: writer.method(node, "detach"),
        form=Form("detach(value)", "detached"),
    ),
    NodeKind(  # the value as it was when first computed in this step
        name="at_first",
        arguments=(Ref,),
        remembers="step",
        same=True,
        like=0,
        whole=True,
        accent="overline",
        stops=always,
        infer=_first,
        write=lambda writer, node: writer.method(node, "detach"),
        form=Form("at_first(value)"),
    ),
    NodeKind(  # the value from calls of its own
        name="again",
        arguments=(Ref,),
        same=True,
        like=0,
        whole=True,
        infer=_first,
        write=lambda writer, node: writer.alias(node),
        spelled=_spell_again,
        form=Form("again(value)", build=lambda builder, _, call: builder.again(call)),
    ),
    NodeKind(  # past values mixed with the present one, before a segment; target: the buffer, arguments: value and size
        name="history",
        arguments=(Ref, int),
        target="buffer",
        remembers="run",
        same=True,
        like=0,
        whole=True,
        accent="widetilde",
        stops=always,
        infer=_first,
        write=lambda writer, node: writer.method(node, "detach"),
        form=Form("history(value, size)", build=kind_calls.history_call),
    ),
    NodeKind(  # the parameters of a network as a vector, or by its field those of a part, of a layer, or one
        name="parameters",
        target="network",
        of_network=True,
        infer=lambda inference, node: inference.parameters(node),
        write=lambda writer, node: writer.parameters(node),
        form=Form(
            "parameters(NETWORK), parameters(NETWORK.PART) or parameters(NETWORK.PART.LAYER)",
            build=kind_calls.parameters_call,
        ),
        spelled=_spell_parameters,
    ),
    NodeKind(  # the weight of a layer of a network, its field, as a matrix
        name="weight_matrix",
        target="network",
        of_network=True,
        infer=lambda inference, node: inference.parameters(node),
        write=lambda writer, node: writer.parameters(node),
        form=Form("weight_matrix(NETWORK.PART.LAYER)", build=kind_calls.parameters_call),
        spelled=_spell_parameters,
    ),
    NodeKind(  # an image drawn pixel by pixel; arguments: a call of the network on an image, and the image
        name="autoregressive",
        arguments=(Ref, Ref),
        keywords=("rows",),
        target="network",
        of_network=True,
        like=1,
        stops=always,
        infer=lambda inference, node: inference.autoregressive(node),
        write=lambda writer, node: writer.autoregressive(node),
        form=Form("autoregressive(P(x), x, rows=8)", build=lambda builder, _, call: builder.autoregressive(call)),
    ),
    NodeKind(  # the value under another name, from which nothing else is computed
        name="alias",
        arguments=(Ref,),
        same=True,
        like=0,
        infer=_first,
        write=lambda writer, node: writer.alias(node),
        spelled=_spell_first,
    ),
    NodeKind(  # networks as a group's steps would make them; target: the group, arguments: what the steps read
        name="lookahead",
        arguments=None,
        target="group",
        infer=_no_value,
        write=lambda writer, node: writer.lookahead(node),
    ),
    NodeKind(  # the parameter of a variable, which is a network of nothing else
        name="variable", in_networks=True, infer=_in_networks_alone, write=_in_networks_alone, spelled=_spell_source
    ),
    NodeKind(  # an input of a network
        name="input", in_networks=True, infer=_in_networks_alone, write=_in_networks_alone, spelled=_spell_source
    ),
    NodeKind(  # a layer of a network; target: the path of its module
        name="layer",
        arguments=None,
        target="path",
        in_networks=True,
        infer=_in_networks_alone,
        write=_in_networks_alone,
        spelled=_spell_target,
    ),
)
for each in KINDS:
    kinds.add(each)

__all__ = ["SIGNS", "Form", "NodeKind", "Ref", "always", "as_call", "kinds"]
