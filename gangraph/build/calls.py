"""Which argument of a call each input of the network gets."""

from collections.abc import Iterator, Mapping, Sequence

from gangraph.errors import nearest, refuse
from gangraph.graph.model import Argument, Ref
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.spec import NetworkSpec


def bind(
    name: str, network: NetworkSpec, call: ast.Call, arguments: Sequence[Argument], keywords: Mapping[str, Argument]
) -> dict[str, Argument]:
    """The arguments of a call by input: those that every call has to give, and the draws that this one gives by name.

    Raises:
        SpecError: an input is missing, given twice or unknown, or it is given a constant.
    """
    usage = f"{name}({', '.join(network.given)})"
    inputs = network.given
    if unknown := next((key for key in keywords if key not in network.inputs), None):
        span = ast.keyword_span(unknown, dict(call.keywords)[unknown])
        message = f"network '{name}' has no input '{unknown}'"
        refuse("GG317", message, span, unknown, usage + _also(network), nearest(unknown, network.inputs))
    given = dict(zip(inputs, arguments, strict=False))
    missing = [each for each in inputs if each not in given and each not in keywords]
    if missing or len(arguments) > len(inputs) or not keywords.keys().isdisjoint(given):
        takes = f"network '{name}' takes {len(inputs)} input{'s' * (len(inputs) != 1)}"
        refuse("GG317", takes, call.span, ast.unparse(call), usage + _also(network))
    for value, written in _written(call, arguments, keywords):
        if not isinstance(value, Ref):
            expected = "data, a random draw or another value"
            refuse("GG317", "a network's input is a value", written.span, ast.unparse(written), expected)
    return {**given, **keywords}


def _written(
    call: ast.Call, arguments: Sequence[Argument], keywords: Mapping[str, Argument]
) -> Iterator[tuple[Argument, Expression]]:
    """Each argument with the expression that it was written as."""
    yield from zip(arguments, call.arguments, strict=True)
    yield from ((keywords[key], written) for key, written in call.keywords)


def _also(network: NetworkSpec) -> str:
    """The end of a message: the inputs that are drawn where a call does not give them."""
    return f"; drawn where they are not given by name: {', '.join(network.draws)}" if network.draws else ""
