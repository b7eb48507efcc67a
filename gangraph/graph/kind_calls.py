"""The nodes that calls in a spec such as `grad(output, input)` become, where their arguments are not just values."""

from gangraph.errors import refuse
from gangraph.graph.arguments import Argument, Ref
from gangraph.graph.kind import Builder, NodeKind
from gangraph.language.expression import model as ast
from gangraph.language.place import place_of


def gradient_call(builder: Builder, kind: NodeKind, call: ast.Call) -> Argument:
    """`grad(output, input)`: with respect to a value, or to parameters of a network. Raises SpecError."""
    hint = builder.take_hint("grad")
    by = place_of(call.arguments[1]) if len(call.arguments) == 2 else None
    if by is not None and builder.is_network(by.network):
        refuse(
            "GG451",
            "grad is taken with respect to a value, and a network is none",
            by.span,
            by.written,
            "a value from which the first argument is computed, such as x in grad(D(x), x)",
            f"parameters({by.written})",
        )
    usage = "grad(output, input): the gradient of the output's sum with respect to the input"
    output, at = builder.arguments_of(call, 2, usage)
    if not isinstance(output, Ref) or not isinstance(at, Ref):
        refuse(
            "GG313", "grad is taken of a value with respect to a value", call.span, ast.unparse(call), "grad(D(v), v)"
        )
    subject = builder.node_of(at)
    if subject is None or not subject.of_parameters:
        return builder.add(kind.name, hint, call, output, at)
    if subject.kind == "weight_matrix":
        refuse(
            "GG451",
            "grad is taken with respect to the parameters of a layer, not to its matrix",
            call.arguments[1].span,
            ast.unparse(call.arguments[1]),
            "parameters(NETWORK.PART.LAYER.weight)",
            f"parameters({subject.place.written}.weight)",
        )
    if builder.measures:
        refuse(
            "GG562",
            "an evaluation takes no gradient with respect to parameters",
            call.span,
            ast.unparse(call),
            "a value of training that is logged, such as a loss",
        )
    return builder.add("parameter_grad", hint, call, output, target=subject.target, field=subject.field)


def history_call(builder: Builder, kind: NodeKind, call: ast.Call) -> Argument:
    """`history(value, size)`. Raises SpecError."""
    hint = builder.take_hint("history")
    value, size = builder.arguments_of(call, 2, "history(value, size)")
    if not isinstance(value, Ref) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        refuse(
            "GG313",
            "history mixes a value with its past",
            call.span,
            ast.unparse(call),
            "history(value, 50), the size at least 0",
        )
    return builder.add(kind.name, hint, call, value, size, target=f"{value.id}.history")


def parameters_call(builder: Builder, kind: NodeKind, call: ast.Call) -> Argument:
    """`parameters(place)` and `weight_matrix(place)`: a node of the network and the path in it. Raises SpecError."""
    assert kind.form is not None
    hint = builder.take_hint(kind.name)
    place = builder.place_of(call, kind.form.usage)
    return builder.add(kind.name, hint, call, target=place.network, field=place.path)
