"""Labels beyond the classes of the layer or op that reads them: a run would end at the first of them."""

import math
from collections.abc import Iterator, Mapping

from gangraph.check.infer import Types
from gangraph.check.instantiate import ANY, Interval, known_ranges
from gangraph.check.naming import said
from gangraph.errors import Problem
from gangraph.graph.model import Argument, Graph, LayerUse, Node, Ref
from gangraph.registry import vocabulary


def labels_beyond_classes(graph: Graph, seen: Types) -> Iterator[Problem]:
    """GG413: whole numbers that can be as large as, or larger than, the number of classes that an op or layer has."""
    for node in graph.nodes.values():
        if node.kind == "op":
            known = {name: (seen.nodes[name].low, seen.nodes[name].high) for name in node.inputs if name in seen.nodes}
            shapes = {name: seen.nodes[name].shape for name in known}
            for argument, span, classes in _read_by_op(node, known, shapes):
                yield _problem(node.target, node, said(graph, argument), span, classes)
        elif node.is_call and node.id in seen.calls:
            yield from _in_network(graph, node, seen)


def _in_network(graph: Graph, call: Node, seen: Types) -> Iterator[Problem]:
    model = seen.calls[call.id]
    given = tuple((seen.nodes[name].low, seen.nodes[name].high) for name in call.inputs)
    known = known_ranges(model, given)
    inputs = dict(zip(model.graph.spec.inputs, call.inputs, strict=True))
    for node in model.graph.nodes.values():
        found = [*_read_by_op(node, known, model.shapes)] if node.kind == "op" else []
        if node.kind == "layer":
            use = model.graph.layers[node.target]
            found = [(name, known.get(name, ANY), classes) for name, classes in _read_by_layer(node, use)]
        for argument, span, classes in found:
            if _is_beyond(span, classes):
                name = vocabulary[use.name].name if node.kind == "layer" else node.target
                what = said(graph, inputs[argument]) if argument in inputs else argument
                inside = f"{name} at {node.span}"
                yield _problem(call.target, call, what, span, classes, inside)


Reading = tuple[str, Interval, int]  # a value, its range, and the number of classes that it is read as


def _read_by_op(node: Node, known: Mapping[str, Interval], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Reading]:
    definition = vocabulary[node.target]
    labels = definition.traits.labels
    if not isinstance(labels, Mapping):
        return
    arguments = definition.signature.bind(*node.arguments, **dict(node.keywords)).arguments
    for label, counted in labels.items():
        by, _, axis = counted.partition("[")
        value, classes = arguments.get(label), _classes(arguments.get(by), shapes, int(axis[:-1] or 1))
        if isinstance(value, Ref) and classes is not None and _is_beyond(known.get(value.id, ANY), classes):
            yield value.id, known[value.id], classes


def _classes(counted: Argument, shapes: Mapping[str, tuple[int, ...]], axis: int) -> int | None:
    """The number of classes: `counted` itself, or the size of an axis of that value, such as axis 1 of scores."""
    if isinstance(counted, Ref):
        shape = shapes.get(counted.id, ())
        return shape[axis] if len(shape) > axis else None
    return counted if isinstance(counted, int) else None


def _read_by_layer(node: Node, use: LayerUse) -> Iterator[tuple[str, int]]:
    """The inputs of a layer that are labels, and how many classes it has for each."""
    while use.wrapped is not None:
        use = use.wrapped
    definition = vocabulary[use.name]
    labels = definition.traits.labels
    read = labels if isinstance(labels, Mapping) else {definition.inputs[0]: labels}
    names = [name for name in definition.signature.parameters if name not in definition.inputs]
    given = {**dict(zip(names, use.arguments, strict=False)), **dict(use.keywords)}
    for label, counted in read.items():
        classes = given.get(counted)
        if isinstance(classes, int):
            yield node.inputs[definition.inputs.index(label)], classes


def _is_beyond(span: Interval, classes: int) -> bool:
    """Whether numbers that are known to lie in an interval can be no class."""
    low, high = span
    return (math.isfinite(high) and high > classes - 1) or (math.isfinite(low) and low < 0)


def _problem(name: str, node: Node, label: str, span: Interval, classes: int, inside: str = "") -> Problem:
    return Problem(
        code="GG413",
        message=f"'{name}' is given labels that it has no class for",
        span=node.span,
        found=f"{label} in [{span[0]:g}, {span[1]:g}]",
        inside=(inside,) if inside else (),
        expected=f"labels from 0 to {classes - 1}, for {classes} classes",
        fix=f"{span[1] + 1:g} classes" if span[0] >= 0 and math.isfinite(span[1]) else "",
    )
