"""Lints of the ranges and the scale of values."""

import math
from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Problem, Span
from gangraph.graph.model import Graph, Node, Ref
from gangraph.graph.types import TensorType
from gangraph.registry import vocabulary
from gangraph.traits import Traits


def ranges_that_do_not_meet(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG603: values of different ranges where one is compared with the other, or fed to one network."""
    for name in graph.networks:
        calls = [node for node in graph.calls(name) if all(i in types.nodes for i in node.inputs)]
        for position in range(len(calls[0].inputs) if calls else 0):
            yield from _compare([(node.span, types.nodes[node.inputs[position]]) for node in calls], f"'{name}' is fed")
    for node in graph.nodes.values():
        if node.kind != "op" or any(i not in types.nodes for i in node.inputs):
            continue
        traits = vocabulary[node.target].traits
        if traits.compares:
            yield from _compare([(node.span, types.nodes[i]) for i in node.inputs], f"'{node.target}' compares")
        for name, (low, high) in (traits.ranges or {}).items():
            given = _given(node, name)
            if given is not None and _reaches_beyond(types.nodes[given], low, high):
                yield warn(
                    "GG603",
                    f"'{name}' of '{node.target}' lives in [{low:g}, {high:g}]",
                    node.span,
                    f"[{types.nodes[given].low:g}, {types.nodes[given].high:g}]",
                    f"bring it to that range, for example by 0.5 * {graph.label(given)} + 0.5 for data in [-1, 1]",
                )


def _given(node: Node, parameter: str) -> str | None:
    """The node that a parameter of an op is given; None for a constant."""
    argument = vocabulary[node.target].signature.bind(*node.arguments, **dict(node.keywords)).arguments.get(parameter)
    return argument.id if isinstance(argument, Ref) else None


def _reaches_beyond(value: TensorType, low: float, high: float) -> bool:
    """Whether the known range of a value is not within another; what is unbounded is not known."""
    return (float("-inf") < value.low and value.high < float("inf")) and (value.low < low or value.high > high)


def known_interval(value: TensorType | None) -> tuple[float, float] | None:
    """The range (low, high) of a value if both ends are known and differ; else None."""
    bounded = value is not None and float("-inf") < value.low < value.high < float("inf")
    return (value.low, value.high) if value is not None and bounded else None


def _compare(given: list[tuple[Span, TensorType]], subject: str) -> Iterator[Problem]:
    bounded = [(span, (t.low, t.high)) for span, t in given if float("-inf") < t.low and t.high < float("inf")]
    for span, interval in bounded[1:]:
        first = bounded[0][1]
        narrower, wider = sorted((first, interval), key=lambda i: i[1] - i[0])
        if narrower != wider and (narrower, wider) in _MISMATCHES:
            found = f"[{first[0]:g}, {first[1]:g}] and [{interval[0]:g}, {interval[1]:g}]"
            yield warn(
                "GG603",
                f"{subject} values of different ranges",
                span,
                found,
                "bring both to one range, for example with tanh for data in [-1, 1]",
            )
            return


_MISMATCHES = {((0.0, 1.0), (-1.0, 1.0)), ((-1.0, 1.0), (0.0, 255.0)), ((0.0, 1.0), (0.0, 255.0))}


def sigmoid_before_logits(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG604: a loss of scores that is given probabilities."""
    for node in graph.nodes.values():
        scores = vocabulary[node.target].traits.logits if node.kind == "op" else False
        if not scores:
            continue
        named = (_given(node, score) for score in scores) if isinstance(scores, tuple) else node.inputs
        for name in filter(None, named):
            source = _unshaped(graph, name)
            call = graph.nodes[source.inputs[0]] if source.kind == "output" else source
            model = types.networks.get(call.target) if call.is_call else None
            squashed = source.target if source.kind == "op" else model.last_ops.get(source.field, "") if model else ""
            if squashed in ("sigmoid", "softmax"):
                where = graph.label(source.id) if source.kind == "op" else call.target
                yield warn(
                    "GG604",
                    f"'{node.target}' takes scores before any {squashed}",
                    node.span,
                    found=f"{squashed} at the end of '{where}'",
                    fix=f"leave out the {squashed}",
                )


def _unshaped(graph: Graph, name: str) -> Node:
    """What a value is before it was brought into another shape."""
    node = graph.unwrapped(name)
    while node.kind == "op" and node.target in ("reshape", "flatten", "rearrange") and node.inputs:
        node = graph.unwrapped(node.inputs[0])
    return node


def unstable_logarithm(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG614: the logarithm of what can underflow to 0."""
    for node in graph.nodes.values():
        if (
            node.kind == "op"
            and node.target == "log"
            and node.inputs
            and graph.nodes[node.inputs[0]].target in ("sigmoid", "softmax")
        ):
            inner = graph.nodes[node.inputs[0]].target
            yield warn(
                "GG614",
                f"log({inner}(x)) is -infinity where {inner} underflows",
                node.span,
                fix="log_sigmoid(x)" if inner == "sigmoid" else "cross_entropy",
            )


def mean_beside_divergence(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG624: a mean over the numbers of a sample, added to a sum over them."""
    for update in graph.updates:
        for objective in update.objectives:
            terms = list(_terms(graph, objective.loss, 1.0))
            divergences = [(n, weight) for n, weight in terms if _traits(n).nats and _numbers(n, types) > 0]
            for term, weight in terms:
                elements = _numbers(term, types) if _traits(term).per_element else 0
                beside = [n for n, its in divergences if _numbers(n, types) < elements and abs(weight) <= abs(its)]
                if beside:
                    yield warn(
                        "GG624",
                        f"'{term.target}' is a mean over {elements:,} numbers, and '{beside[0].target}' a sum in nats",
                        term.span,
                        found=f"the divergence counts {elements:,} times as much as beside a likelihood",
                        fix="gaussian_nll or laplace_nll, which sum over a sample",
                    )


def _terms(graph: Graph, name: str, weight: float) -> Iterator[tuple[Node, float]]:
    """The ops that an objective adds up, each with the constant that it is multiplied by; what varies counts as 1."""
    node = graph.nodes[name]
    numbers = [a for a in node.arguments if isinstance(a, int | float)]
    refs = [a.id for a in node.arguments if isinstance(a, Ref)]
    if node.kind == "op" and node.target in ("add", "sub", "neg"):
        for ref in refs:
            yield from _terms(graph, ref, weight)
    elif node.kind == "op" and node.target in ("mul", "truediv"):
        factor = math.prod(numbers)
        for ref in refs:
            yield from _terms(graph, ref, weight / factor if node.target == "truediv" and factor else weight * factor)
    elif node.kind == "op":
        yield node, weight


def _traits(node: Node) -> Traits:
    return vocabulary[node.target].traits


def _numbers(node: Node, types: Types) -> int:
    """How many numbers of each sample a loss reads; 0 where that is not known."""
    first = types.nodes.get(node.inputs[0]) if node.inputs else None
    return math.prod(first.shape[1:]) if first is not None else 0
