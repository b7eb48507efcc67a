"""Which networks of a run can be applied to images, and how the spec prepares images for them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gangraph.check.infer import Types
from gangraph.check.instantiate import Interval
from gangraph.check.phase import Checked
from gangraph.check.shown import Relations, bounds, input_at, node_at, output_at
from gangraph.data.random import RandomSource
from gangraph.data.source import Source, innermost
from gangraph.data.transform import ImageOptions, Interpolation, Range
from gangraph.errors import UsageError, nearest
from gangraph.graph.model import Graph

_COLOURS = (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A network, by its name in the spec, that takes one image and gives one.

    Attributes:
        owner: the network that it is the average of; its own name if it is no average.
        like: the source whose images the network is given in the spec, in words; empty if there is none.
        given: the range of the images that it takes.
        options: how a file is prepared, as that source prepares its own.
        size: height and width of the images that it was trained on.
        made: the range of the images that it gives; None where the spec does not tell.
    """

    name: str
    owner: str
    like: str
    given: Interval
    options: ImageOptions
    size: tuple[int, int]
    made: Interval | None


class NoImageError(ValueError):
    """A network does not take one image and give one; the message says what it does instead."""


def applicable(checked: Checked, name: str, *, average: bool = False) -> Applied:
    """The network of a name, or with `average` its moving average, as it is applied to images.

    Raises:
        UsageError: there is no such network or average, or it does not take one image and give one; the message names
            the networks that can be applied.
    """
    graph = checked.graph
    known = _networks(checked)
    if name not in known:
        near = nearest(name, known)
        raise UsageError(f"there is no network '{name}'" + (f"; {near}" if near else "") + f"; {_those(checked)}")
    if average and name not in graph.averages:
        name = _average_of(graph, name)
    try:
        return _applied(checked, name)
    except NoImageError as error:
        raise UsageError(f"network '{name}' cannot be applied to images: {error}; {_those(checked)}") from None


def _average_of(graph: Graph, name: str) -> str:
    found = next((average for average, its in graph.averages.items() if its.of == name), None)
    if found is None:
        raise UsageError(
            f"the run keeps no average of '{name}'; its averages are {', '.join(graph.averages) or 'none'}"
        )
    return found


def _those(checked: Checked) -> str:
    """Which networks can be applied, as the end of a message."""
    names = [name for name in _networks(checked) if _can(checked, name)]
    return f"those that can are {', '.join(names)}" if names else "none of this run can"


def _networks(checked: Checked) -> list[str]:
    """All networks and averages, in the order of the spec."""
    made = {*checked.networks, *checked.graph.averages}
    return [name for name in checked.graph.spec.networks if name in made]


def _can(checked: Checked, name: str) -> bool:
    try:
        _applied(checked, name)
    except NoImageError:
        return False
    return True


def _applied(checked: Checked, name: str) -> Applied:
    owner = checked.graph.owner(name)
    model = checked.networks[owner]
    inputs = ", ".join(f"{n} {list(s[1:])}" for n, s in zip(model.graph.spec.inputs, model.input_shapes, strict=True))
    shape = model.input_shapes[0]
    if len(model.input_shapes) != 1 or len(shape) != 4 or shape[1] not in _COLOURS:
        raise NoImageError(f"it takes {inputs}, not one image of 1 or 3 channels")
    if "" not in model.made:
        raise NoImageError(f"it has no main output, but {', '.join(f'.{field}' for field in model.made)}")
    made = tuple(model.made[""].shape)
    if len(made) != 4 or made[1] not in _COLOURS:
        raise NoImageError(f"it gives {list(made[1:])}, not an image of 1 or 3 channels")
    relations = Relations(checked)
    if not _is_seen_as_image(checked, relations, owner):
        raise NoImageError(f"it gives {list(made[1:])}, which the spec neither shows nor compares with an image")
    like, given, options = _preparation(checked, relations, owner, shape)
    return Applied(
        name=name,
        owner=owner,
        like=like,
        given=given,
        options=options,
        size=(shape[2], shape[3]),
        made=_range(checked, relations, owner),
    )


def _range(checked: Checked, relations: Relations, owner: str) -> Interval | None:
    """The range of the images that a network gives; None where the spec does not tell."""
    for graph, types in _graphs(checked):
        ranges = {bounds(types.nodes.get(node)) for node in _results(graph, owner)}
        if len(ranges) == 1 and None not in ranges:
            return ranges.pop()
    return relations.output(owner)


def _graphs(checked: Checked) -> Iterator[tuple[Graph, Types]]:
    """The graph of training with its types, then that of the evaluation if there is one."""
    yield checked.graph.as_written, checked.types
    if checked.graph.evaluation is not None and checked.evaluation is not None:
        yield checked.graph.evaluation.graph, checked.evaluation


def _results(graph: Graph, owner: str) -> Iterator[str]:
    """The nodes of the main outputs of all calls of a network or of its averages."""
    calls = {node.id for node in graph.nodes.values() if node.is_call and graph.owner(node.target) == owner}
    outputs = {n.id for n in graph.nodes.values() if n.kind == "output" and n.inputs[0] in calls}
    split = {graph.nodes[name].inputs[0] for name in outputs}
    yield from (n for n in graph.nodes if n in calls - split or (n in outputs and graph.nodes[n].field == ""))


def _is_seen_as_image(checked: Checked, relations: Relations, owner: str) -> bool:
    """Whether a spec shows the output of a network, feeds it to a network, or compares it with an image."""
    own = set(_results(checked.graph, owner))
    met = relations.relatives(output_at(owner)) - {output_at(owner)} - {node_at(name) for name in own}
    ways = {kind for kind, name, _ in met if kind != "node" or not checked.graph.nodes[name].is_same}
    return bool(ways) or _is_shown(checked, owner)


def _is_shown(checked: Checked, owner: str) -> bool:
    """Whether a column of a grid or a sampler is the output of a network, or is computed from it by ops alone."""
    evaluation = checked.graph.evaluation
    if evaluation is None:
        return False
    waiting = [node for columns in evaluation.grids.values() for _, node in columns]
    waiting += [node for sampler in evaluation.samplers.values() for node in sampler.shown]
    graph, seen = evaluation.graph, set[str]()
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            node = graph.nodes[name]
            waiting += node.inputs if node.is_operation or node.is_same else ()
    return not seen.isdisjoint(_results(graph, owner))


def _preparation(
    checked: Checked, relations: Relations, owner: str, shape: tuple[int, ...]
) -> tuple[str, Interval, ImageOptions]:
    """The source of a network's images in words, the range of these images, and how they are prepared.

    The source is the first, in the order of the spec, that a call is given directly; else one whose images are compared
    with the network's input; else one that its input is computed from.

    Raises:
        NoImageError: the range of the network's input is not known.
    """
    graph, types = next(each for each in _graphs(checked) if any(True for _ in _results(each[0], owner)))
    calls = [node for node in graph.nodes.values() if node.is_call and graph.owner(node.target) == owner]
    direct = [node for call in calls if (node := graph.unwrapped(call.inputs[0])).is_source]
    related = [checked.graph.nodes[name] for name in relations.sources(input_at(owner, 0))]
    below = [graph.nodes[name] for name in graph.nodes if name in graph.below(*(call.id for call in calls))]
    given = [bounds(types.nodes.get(call.inputs[0])) for call in calls] + [relations.range(input_at(owner, 0))]
    interval = next((its for its in given if its is not None), None)
    for node in (*direct, *related, *(node for node in below if node.is_source)):
        source = graph.sources[node.target]
        if isinstance(source, RandomSource) or len(source.fields[node.field].shape) != 3:
            continue
        interval = interval or bounds(types.nodes[node.id])
        if interval is None:
            break
        name = f"{node.target}.{node.field}" if len(source.fields) > 1 else node.target
        return name if node in direct else f"what is computed from {name}", interval, _options(source, interval, shape)
    if interval is None:
        raise NoImageError("the range of the images that it takes is not known")
    return "", interval, _options(None, interval, shape)


def _options(source: Source | None, interval: Interval, shape: tuple[int, ...]) -> ImageOptions:
    """How a source prepares files; for one that reads no files, to this shape without changing the aspect ratio."""
    declared: Range = "tanh" if interval[0] < 0 else "unit"
    read = innermost(source) if source is not None else None
    if isinstance(read, ImageOptions):
        options: ImageOptions = replace(read, augment=False, flip=False, channels=shape[1], range=declared)
        if options.pixels.shape == shape[1:]:
            return options
        return replace(options, size=(shape[2], shape[3]), resize=None, crop=None)
    interpolation: Interpolation = getattr(read, "interpolation", "bilinear")
    return ImageOptions(
        size=(shape[2], shape[3]), channels=shape[1], range=declared, fit="cover", interpolation=interpolation
    )
