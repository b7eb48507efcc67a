"""Which calls of ops make the samples of a batch depend on each other."""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from gangraph.graph.model import Node, with_arguments
from gangraph.registry import vocabulary


def mixing_ops(nodes: Iterable[Node], examples: Mapping[str, Tensor]) -> Iterator[str]:
    """The names of the ops that mix samples, among nodes in topological order.

    Args:
        examples: a tensor without storage for each value, by name. A value without one is taken to have no batch, and
            so is the result of an op on such values alone.
    """
    batched = dict[str, Tensor | None]()
    for node in nodes:
        is_op = node.is_operation
        has = any(batched.get(name) is not None for name in node.inputs) if is_op else not node.of_parameters
        if is_op and mixes(node, batched):
            yield node.id
        if is_op and not vocabulary[node.target].traits.has_samples:
            has = False
        batched[node.id] = examples.get(node.id) if has else None


def mixes(node: Node, batched: Mapping[str, Tensor | None]) -> bool:
    """Whether an op mixes samples. `batched` has a tensor without storage for each input; None for no batch."""
    given = {name: batched.get(name) for name in node.inputs}
    arguments = [with_arguments(argument, given) for argument in node.arguments]
    return vocabulary[node.target].mixes_samples(
        arguments, {key: with_arguments(value, given) for key, value in node.keywords}
    )
