"""Comprehensions over the matrices of a network, written out once its layers are known."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from gangraph.errors import refuse
from gangraph.graph.code_names import module_name
from gangraph.graph.kind import dotted_name
from gangraph.graph.model import LayerUse, NetworkGraph
from gangraph.graph.parts import beneath, paths_at
from gangraph.language.expression import model as ast
from gangraph.language.expression.folding import total_of
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import is_late
from gangraph.language.expression.substitute import substitute
from gangraph.language.place import Place
from gangraph.registry import vocabulary

USAGE = "matrices(NETWORK), of its linear and convolutional layers, as in sum(total(w ** 2) for w in matrices(G))"
_OF_MATRICES = ("conv", "linear")  # kinds of layers

Find = Callable[[ast.Call, str], tuple[Place, NetworkGraph]]  # the place that a call names, and the network's layers


def written_out(node: Expression, find: Find) -> Expression:
    """A call or a list without comprehensions over matrices. Raises SpecError."""
    if isinstance(node, ast.Sequence) and any(map(_is_open, node.items)):
        return replace(node, items=tuple(_items(node.items, find)))
    if isinstance(node, ast.Call) and any(map(_is_open, node.arguments)):
        terms = tuple(_items(node.arguments, find))
        return total_of(terms, node.span) if ast.unparse(node.function) == "sum" else replace(node, arguments=terms)
    return node


def _is_open(item: Expression) -> bool:
    return isinstance(item, ast.Comprehension)


def _items(items: tuple[Expression, ...], find: Find) -> Iterator[Expression]:
    for item in items:
        if not isinstance(item, ast.Comprehension):
            yield item
            continue
        assert isinstance(item.domain, ast.Call)
        assert is_late(item.domain)
        for layer in _layers(item.domain, find):
            yield substitute({item.variable: layer}, item.item)


def _layers(domain: ast.Call, find: Find) -> list[Expression]:
    """`weight_matrix(G.last.conv2d)` for each layer with a matrix, in the order of the network."""
    place, network = find(domain, USAGE)
    parts = {module_name(part): part for part in network.spec.parts}
    paths = beneath(network.layers, paths_at(network.spec, place))
    chosen = [path for path in paths if _has_matrix(network.layers[path])]
    if not chosen:
        refuse("GG545", f"there are no matrices in '{place.written}'", place.span, place.written, USAGE)
    written = []
    for module, _, layer in (path.partition(".") for path in chosen):
        named = dotted_name(f"{place.network}.{parts.get(module, module)}.{layer}", place.span)
        written.append(ast.Call(ast.Name("weight_matrix", place.span), (named,), (), place.span))
    return list(written)


def _has_matrix(use: LayerUse) -> bool:
    while use.wrapped is not None:
        use = use.wrapped
    return vocabulary[use.name].traits.init in _OF_MATRICES
