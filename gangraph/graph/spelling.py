"""How a spec writes each kind of node: the expression that a node stands for, from those of its arguments."""

from collections.abc import Callable, Mapping
from functools import reduce

from gangraph.errors import Span
from gangraph.graph.model import Argument, Node
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.spec import OUTPUT

Inside = Callable[[Argument], Expression]  # what an argument of the node stands for
Spelled = Callable[[Node, Inside], Expression]

SIGNS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "neg": "-"}  # how a spec writes these ops


def spelled(node: Node, inside: Inside) -> Expression:
    """The expression that a spec would write for a node; for a kind without a rule, `kind(argument, keyword=...)`."""
    return SPELLED.get(node.kind, _as_call)(node, inside)


def dotted_name(name: str, span: Span) -> Expression:
    """`a.b.c` as the parser reads it: attributes of a name."""
    first, *rest = name.split(".")
    base: Expression = ast.Name(first, span)
    return reduce(lambda base, part: ast.Attribute(base, part, span), rest, base)


def _call(name: str, node: Node, inside: Inside) -> Expression:
    keywords = tuple((key, inside(value)) for key, value in node.keywords)
    return ast.Call(dotted_name(name, node.span), tuple(map(inside, node.arguments)), keywords, node.span)


def _as_call(node: Node, inside: Inside) -> Expression:
    return _call(node.kind, node, inside)


def _target(node: Node, inside: Inside) -> Expression:
    return _call(node.target, node, inside)


def _source(node: Node, _: Inside) -> Expression:
    return dotted_name(node.id, node.span)


def _number(node: Node, _: Inside) -> Expression:
    return node.over_time


def _first(node: Node, inside: Inside) -> Expression:
    return inside(node.arguments[0])


def _output(node: Node, inside: Inside) -> Expression:
    call = inside(node.arguments[0])
    return call if node.field == OUTPUT else ast.Attribute(call, node.field, node.span)


def _operation(node: Node, inside: Inside) -> Expression:
    match node.arguments:
        case [operand] if node.target == "neg":
            return ast.Unary(SIGNS["neg"], inside(operand), node.span)
        case [left, right] if node.target in SIGNS:
            return ast.Binary(SIGNS[node.target], inside(left), inside(right), node.span)
    return _target(node, inside)


def _parameters(node: Node, _: Inside) -> Expression:
    return ast.Call(ast.Name("parameters", node.span), (ast.Name(node.target, node.span),), (), node.span)


SPELLED: Mapping[str, Spelled] = {
    "stream": _source,
    "random": _source,
    "scalar": _number,
    "network": _target,
    "output": _output,
    "op": _operation,
    "parameters": _parameters,
    "alias": _first,
    "input": _source,
    "layer": _target,
}
