"""A lint of augmentation: functions that draw, between the samples and a critic."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.errors import Problem
from gangraph.graph.model import Argument, Graph, Ref
from gangraph.registry import vocabulary


def augmented_on_one_side(graph: Graph, _: Types) -> Iterator[Problem]:
    """GG643: a critic that sees real samples through a function that draws and fakes without it, or the reverse."""
    for node in graph.nodes.values():
        if not node.is_operation or vocabulary[node.target].traits.player != "critic":
            continue
        given = vocabulary[node.target].signature.bind(*node.arguments, **dict(node.keywords)).arguments
        seen = {side: _functions(graph, given.get(side)) for side in ("real", "fake")}
        plain = next((side for side in seen if not seen[side]), "")
        through = next((names for names in seen.values() if names), ())
        if plain and through:
            yield warn(
                "GG643",
                f"the critic sees only one side through '{through[0]}'",
                node.span,
                found=f"{through[0]}(...) before the critic, and what is {plain} without it",
                fix=f"{through[0]}(...) on both sides",
            )


def _functions(graph: Graph, score: Argument) -> tuple[str, ...]:
    """The functions that draw whose results a call of a critic is given."""
    if not isinstance(score, Ref):
        return ()
    call = graph.nodes[score.id]
    call = graph.nodes[call.inputs[0]] if call.kind == "output" else call
    inputs = [graph.nodes[name] for name in call.inputs] if call.is_call else []
    functions = {name for name, made in graph.networks.items() if made.is_function and made.draws}
    return tuple(each.target for each in inputs if each.is_call and each.target in functions)
