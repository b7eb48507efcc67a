"""Values computed anew: `again(v)` makes every call of a network on the way to v once more, as a call of its own."""

from gangraph.build.expressions import NodeTable
from gangraph.graph.arguments import Ref, with_arguments
from gangraph.graph.kind import always, kinds
from gangraph.graph.node import Node


def computed_anew(table: NodeTable, value: Ref) -> Ref | None:
    """The value computed from new calls on the same draws; None if it depends on no call that can be made anew.

    What `value` is computed from is followed down to draws, and to `detach`, `at_first` and `history`, which pass no
    gradient on. Only calls found there, and what depends on them, get new nodes. The new calls stand after those that
    they repeat, in the same order.
    """
    nodes = table.nodes
    made = dict[str, Ref]()
    for name in _way(table, value.id):
        node = nodes[name]
        if not node.is_call and made.keys().isdisjoint(node.inputs):
            continue
        places = {source: made.get(source, Ref(source)) for source in node.inputs}
        made[name] = table.add(
            node.kind,
            f"{name}_anew",
            span=node.span,
            unique=("anew", value.id),
            target=node.target,
            field=node.field,
            arguments=tuple(with_arguments(argument, places) for argument in node.arguments),
            keywords=tuple((key, with_arguments(each, places)) for key, each in node.keywords),
            anew=node.anew or name,
        )
    return made.get(value.id)


def _way(table: NodeTable, root: str) -> list[str]:
    """The nodes that may be computed anew: a value and what it is computed from, down to where that ends."""
    found, waiting = set[str](), [root]
    while waiting:
        name = waiting.pop()
        node = table.nodes[name]
        if name not in found and not _ends(node):
            found.add(name)
            waiting += node.inputs
    return [name for name in table.nodes if name in found]


def _ends(node: Node) -> bool:
    return node.is_given or kinds.of(node).stops is always
