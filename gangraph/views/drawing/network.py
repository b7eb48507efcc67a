"""A network as a picture: its layers, those that follow each other in one part as one box."""

from collections.abc import Mapping, Sequence

from gangraph.graph.kinds import SIGNS
from gangraph.graph.model import NetworkGraph, Node, Ref
from gangraph.views.drawing.picture import Figure, Picture
from gangraph.views.drawing.svg import Frame, document
from gangraph.views.printers import text
from gangraph.views.printers.text import wrapped
from gangraph.views.printers.words import call_text, layer_text


def draw_network(graph: NetworkGraph, *, title: str, shapes: Mapping[str, str] | None = None) -> str:
    """A network as SVG: one box for every chain of layers of one part."""
    frame = Frame(title=title, subtitle=graph.spec.template, about=f"The layers of the network {title}")
    return document(network_picture(graph, shapes or {}), frame)


def network_picture(graph: NetworkGraph, shapes: Mapping[str, str]) -> Picture:
    """What to draw of a network: chains of layers of one part as one box, joins as pills."""
    chain_of = _chains(graph)
    chains: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        chains.setdefault(chain_of[node.id], []).append(node)
    figures = {name: _chain_figure(chain, graph, shapes) for name, chain in chains.items()}
    edges = [(chain_of[source], name) for name, chain in chains.items() for source in dict.fromkeys(chain[0].inputs)]
    for name, argument in graph.outputs.items():
        if isinstance(argument, Ref):
            figures[f"output {name}"] = Figure(kind="stream", name=name or "output")
            edges.append((chain_of[argument.id], f"output {name}"))
    return Picture(figures=figures, edges=tuple(dict.fromkeys(edges)), down=True)


def _chains(graph: NetworkGraph) -> dict[str, str]:
    """For each node the first of its chain: nodes that each read the one before alone, and are its only readers."""
    readers: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for node in graph.nodes.values():
        for source in dict.fromkeys(node.inputs):
            readers[source].append(node.id)
    ends = {ref.id for ref in graph.outputs.values() if isinstance(ref, Ref)} | {*graph.spec.values, *graph.spec.parts}
    chain_of: dict[str, str] = {}
    for node in graph.nodes.values():
        source = next(iter(node.inputs), "")
        follows = (
            _reads_one(node)
            and source not in ends
            and readers[source] == [node.id]
            and _begins(graph, graph.nodes[source])
        )
        chain_of[node.id] = chain_of[source] if follows else node.id
    return chain_of


def _reads_one(node: Node) -> bool:
    return len(set(node.inputs)) == 1


def _begins(graph: NetworkGraph, node: Node) -> bool:
    """Whether a node can stand in a chain before another: what reads one value, or a layer with several inputs."""
    return _reads_one(node) or node.target in graph.layers


def _chain_figure(chain: Sequence[Node], graph: NetworkGraph, shapes: Mapping[str, str]) -> Figure:
    first, last = chain[0], chain[-1]
    tip = "\n".join(f"{node.id} {shapes.get(node.id, '')}".rstrip() for node in chain)
    value = last.id if last.id in graph.spec.values else ""
    if first.id in graph.spec.inputs:
        return Figure(kind="stream", name=first.id, tip=tip)
    if not _begins(graph, first):
        sign = SIGNS.get(first.target, first.target)
        return Figure(kind="op", head=text.SIGNS.get(sign, sign), name=value, tip=tip)
    titles = {part.replace("[", "_").replace("]", ""): part for part in graph.spec.parts}
    prefix = next((node.target.rpartition(".")[0] for node in chain if node.target in graph.layers), "")
    lines = tuple(line for node in chain for line in wrapped(_text(node, graph), width=64))
    return Figure(kind="part", head=titles.get(prefix, prefix), name=value, lines=lines, tip=tip)


def _text(node: Node, graph: NetworkGraph) -> str:
    """A layer with its arguments, or an op with those that are constants."""
    if node.target in graph.layers:
        return layer_text(graph.layers[node.target])
    constants = [argument for argument in node.arguments if not isinstance(argument, Ref)]
    keywords = {key: value for key, value in node.keywords if not isinstance(value, Ref)}
    return call_text(node.target, constants, keywords)
