"""What an evaluation shows and measures: every number is one, every batch fits, every sampler can be drawn."""

from collections.abc import Iterator, Mapping

import torch

from gangraph.check.infer import Types, infer
from gangraph.check.instantiate import NetworkModel
from gangraph.check.nearest_sizes import resized
from gangraph.errors import Problem
from gangraph.graph.model import Evaluation, Sampler
from gangraph.graph.types import TensorType
from gangraph.language.expression import model as ast
from gangraph.vocabulary.coupled import BatchError


def infer_evaluation(evaluation: Evaluation, networks: Mapping[str, NetworkModel]) -> Types:
    """The types of an evaluation, whose metrics see as many samples as they are given."""
    graph, spec = evaluation.graph, evaluation.graph.spec.evaluate
    assert spec is not None
    samples = dict.fromkeys(graph.below(*(node for _, node in evaluation.results)), spec.result_samples)
    samples |= dict.fromkeys(graph.below(*(node for _, node in evaluation.metrics)), spec.samples)
    return infer(graph, networks, samples)


def check_evaluation(evaluation: Evaluation, seen: Types) -> Iterator[Problem]:
    """What is wrong with an evaluation whose values have these types."""
    yield from _numbers(evaluation, seen)
    yield from _samples(evaluation, seen)
    for name, sampler in evaluation.samplers.items():
        yield from _drawable(seen, name, sampler)


def _numbers(evaluation: Evaluation, seen: Types) -> Iterator[Problem]:
    """Every metric and result is one number."""
    for name, node in evaluation.numbers:
        made = seen.nodes.get(node)
        if made is not None and made.shape != ():
            yield Problem(
                code="GG404",
                message=f"'{name}' is not one number",
                span=evaluation.graph.nodes[node].span,
                found=str(made),
                expected="a number: mean(...) or a metric",
            )


def _samples(evaluation: Evaluation, seen: Types) -> Iterator[Problem]:
    """Every network whose layers compare samples in evaluation can take the batch of an evaluation."""
    graph, spec = evaluation.graph, evaluation.graph.spec.evaluate
    assert spec is not None
    for node in graph.nodes.values():
        model = seen.networks.get(graph.owner(node.target)) if node.is_call else None
        if model is None or not model.couples_always or any(n not in seen.nodes for n in (node.id, *node.inputs)):
            continue
        along = next((name for name in node.inputs if name in seen.batched), None)
        if along is None:
            continue  # it has as many samples as in training
        count = seen.nodes[along].shape[0] * spec.samples // graph.spec.batch
        given = [(name in seen.batched, seen.nodes[name]) for name in node.inputs]
        inputs = [resized((made,), count)[0] if has_samples else made.example() for has_samples, made in given]
        try:
            with torch.no_grad():
                model.module.eval()(*inputs)
        except BatchError as error:
            yield Problem(
                code="GG540",
                message=f"network '{node.target}' cannot take the batch that an evaluation gives it",
                span=node.span,
                found=f"{count} sample{'s' * (count != 1)}, by samples: under evaluate:",
                expected=f"such as the batch of training, samples: {graph.spec.batch}",
                reason=str(error),
            )
        finally:
            model.module.train(not model.graph.spec.frozen)


def _drawable(seen: Types, name: str, sampler: Sampler) -> Iterator[Problem]:
    """A sampler shows images, or points; its frames are alike, and what stands above columns is of their size."""
    typed = {node: made for node in sampler.shown if (made := seen.nodes.get(node)) is not None}
    spans = {ast.unparse(column): column.span for column in sampler.spec.columns}
    places = {node: spans[written] for written, node in sampler.columns}
    if sampler.above is not None and sampler.spec.above is not None:
        places.setdefault(sampler.above, sampler.spec.above.span)
    first = next((made for made in typed.values() if _is_image(made)), None)
    aligned = sampler.spec.moving or sampler.above is not None
    for node, made in typed.items():
        message, expected = "", ""
        if not _is_image(made) and not (_is_points(made) and first is None and not aligned):
            message, expected = f"sampler '{name}' cannot draw this", "images [batch, channels, height, width]"
        elif first is not None and aligned and made.shape[-2:] != first.shape[-2:]:
            message, expected = f"the images of sampler '{name}' are of one size", f"such as the first, {first}"
        if message:
            yield Problem(code="GG561", message=message, span=places[node], found=str(made), expected=expected)


def _is_image(made: TensorType) -> bool:
    return len(made.shape) == 4 or (len(made.shape) == 3 and not made.dtype.is_floating_point)


def _is_points(made: TensorType) -> bool:
    return len(made.shape) == 2 and made.shape[1] == 2
