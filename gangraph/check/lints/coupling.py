"""Lints of layers that couple the samples of a batch."""

from collections.abc import Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.warning import warn
from gangraph.check.mixing import mixing_ops
from gangraph.errors import Problem, Span
from gangraph.graph.differentiability import penalised_calls
from gangraph.graph.model import Evaluation, Graph, Node
from gangraph.registry import vocabulary


def mixing_under_penalty(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG601: a gradient penalty concerns each sample by itself, but batch norm makes samples depend on each other."""
    for call, gradient in penalised_calls(graph):
        if graph.nodes[gradient].by_parameters:
            continue  # which has the whole batch in any case
        node = graph.nodes[call]
        model = types.networks.get(node.target)
        if model is not None and model.mixes_samples:
            yield warn(
                "GG601",
                f"'{node.target}' mixes the samples of a batch under a gradient penalty",
                node.span,
                found=" and ".join(model.coupling),
                fix="norm=layer_norm or norm=instance_norm"
                if model.coupling == ("batch_norm",)
                else "leave it out there",
            )


def coupling_in_parts(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG622: layers or ops that couple the samples of a batch get micro-batches, and so compare only these."""
    coupling = _coupling_ops(graph, types)
    for update in (update for update in graph.updates if update.accumulate > 1):
        below = graph.below(*(objective.loss for objective in update.objectives))
        nodes = [node for node in graph.nodes.values() if node.id in below]
        calls = [node for node in nodes if node.is_call]
        for node in {node.target: node for node in reversed(calls)}.values():  # the first call of each network
            model = types.networks.get(graph.owner(node.target))
            if model is not None and model.mixes_samples:
                yield _in_parts(graph, node, " and ".join(model.coupling), update.accumulate)
        for node in (node for node in nodes if node.id in coupling):
            yield _in_parts(graph, node, node.target, update.accumulate)


# A mean or sum of parts of a batch is as good as one of the whole, and what only moves samples does so in parts, too.
_AS_GOOD_IN_PARTS = ("mean", "total", "take", "roll", "flip", "pick", "argsort", "rearrange", "repeat")


def _coupling_ops(graph: Graph, types: Types) -> set[str]:
    """The ops among the values that compare samples, or sum over samples before anything else is computed."""
    examples = {name: made.example() for name, made in types.nodes.items()}
    known = [node for node in graph.nodes.values() if all(name in examples for name in node.inputs)]
    return {name for name in mixing_ops(known, examples) if graph.nodes[name].target not in _AS_GOOD_IN_PARTS}


def _in_parts(graph: Graph, node: Node, coupled: str, parts: int) -> Problem:
    return warn(
        "GG622",
        f"'{node.target}' couples the samples of each micro-batch by itself",
        node.span,
        found=f"{coupled} with accumulate: {parts}",
        fix=f"batch: {graph.spec.batch * parts} without accumulate, if memory allows",
    )


def coupling_grows(graph: Graph, types: Types) -> Iterator[Problem]:
    """GG623: a layer that sums over a batch has another scale for batches of another size."""
    for name, model in types.networks.items():
        grows = [each for each in model.coupling if vocabulary[each].traits.grows_with_batch]
        if not grows:
            continue
        sizes: dict[int, Span] = {}
        for node in (n for n in graph.nodes.values() if n.is_call and graph.owner(n.target) == name):
            if node.inputs[0] in types.nodes:
                sizes.setdefault(types.nodes[node.inputs[0]].shape[0], node.span)
        if graph.evaluation is not None and len(sizes) == 1:
            sizes |= _sizes_in_evaluation(graph.evaluation, name, next(iter(sizes)), graph.spec.batch, sizes)
        if len(sizes) > 1:
            yield warn(
                "GG623",
                f"'{name}' is called with batches of different sizes",
                list(sizes.values())[1],
                found=f"{' and '.join(map(str, sizes))} samples, over which {' and '.join(grows)} sums",
                fix="batches of one size; in evaluate:, samples: the batch of training",
            )


def _sizes_in_evaluation(
    evaluation: Evaluation, name: str, size: int, batch: int, known: dict[int, Span]
) -> dict[int, Span]:
    """The other batch size that an evaluation gives a network, and where; nothing if it does not call it."""
    graph, spec = evaluation.graph, evaluation.graph.spec.evaluate
    samples = spec.samples * size // batch if spec is not None else size
    calls = [n for n in graph.nodes.values() if n.is_call and graph.owner(n.target) == name]
    return {samples: calls[0].span} if calls and samples not in known else {}
