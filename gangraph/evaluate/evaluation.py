"""What `evaluate:` shows and measures, computed on the networks of an engine without disturbing training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gangraph.check.instantiate import Interval
from gangraph.check.shown import picture_ranges
from gangraph.data.fixed import is_fixed
from gangraph.data.random import Uniform
from gangraph.data.stream import derive_seed
from gangraph.errors import RunError, WeightsError
from gangraph.evaluate.texts import texts_for
from gangraph.graph.model import Evaluation, Graph, Node, with_arguments
from gangraph.language.expression.schedule import Clock, evaluate
from gangraph.language.spec import EvaluateSpec
from gangraph.lower.given_names import UNIFORM, noise_name
from gangraph.lower.model import EvaluationPart
from gangraph.registry import vocabulary
from gangraph.run.draws import Draws
from gangraph.run.engine import Engine
from gangraph.run.noise import samples_of
from gangraph.vocabulary.coupled import BatchError
from gangraph.vocabulary.layers import RandomLayer

# Evaluations draw under a seed of their own, the same every time, so that grids can be compared over time.
_SEED = "evaluate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """A frozen network that another spec trained, and facts about it, such as that spec's own results."""

    network: nn.Module
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The result of one evaluation: tensors by grid and column, numbers by metric, and why other metrics are missing.

    `ranges` says in which range each column is shown; None where that is not known.
    """

    grids: Mapping[str, dict[str, Tensor]]
    ranges: Mapping[str, Mapping[str, Interval | None]]
    metrics: dict[str, float]
    missing: Mapping[str, str]

    @property
    def grid(self) -> dict[str, Tensor]:
        """The columns of the first grid."""
        return next(iter(self.grids.values()), {})


class BoundEvaluation:
    """A part of the `evaluate:` section, bound to the networks of an engine and to evaluators.

    Args:
        part: what is computed: one of those of the engine's program.
        evaluators: by name, at least those that the part calls (`evaluators_called`).
        seed: of the draws; by default the run's.
        sentences: that take the place of the text which the part reads, one for each sample and again from the first.

    Raises:
        UsageError: there are sentences, and the part reads no text, or several.
    """

    def __init__(
        self,
        engine: Engine,
        part: EvaluationPart,
        evaluators: Mapping[str, Evaluator],
        *,
        seed: int | None = None,
        sentences: Sequence[str] = (),
    ) -> None:
        self.engine, self.part, self.evaluation = engine, part, evaluation_of(engine)
        self.graph = self.evaluation.graph
        self.seed = engine.settings.seed if seed is None else seed
        self.evaluators = {name: evaluators[name].network for name in evaluators_called(self.evaluation, part)}
        networks = replace(engine.networks, frozen={**engine.networks.frozen, **self.evaluators})
        self.module = part.code.bind(networks.made(part.code.networks))
        self.uniforms = dict(self._uniforms())
        self.texts = texts_for(self.graph, part.code.segment.inputs, sentences) if sentences else None

    def _uniforms(self) -> Iterator[tuple[str, Uniform]]:
        """A source of random numbers for each image that is drawn pixel by pixel, one number a pixel."""
        types = self.engine.program.plan.checked.evaluation
        for name in self.part.code.segment.nodes:
            if types is not None and self.graph.nodes[name].kind == "autoregressive":
                yield noise_name(name, UNIFORM), Uniform(types.nodes[name].shape[1:], 0.0, 1.0)

    @property
    def spec(self) -> EvaluateSpec:
        """The section."""
        assert self.graph.spec.evaluate is not None
        return self.graph.spec.evaluate

    def evaluate(self, clock: Clock, count: int | None = None) -> Evaluated:
        """Draw `count` samples (the spec's number by default) and compute the grids and the metrics.

        Raises:
            RunError: a metric refuses its values.
        """
        values, missing = self.values(clock, count)
        grids, metrics = self.evaluation.grids, self.evaluation.metrics
        return Evaluated(
            grids={
                name: {label: values[node].detach() for label, node in columns if node in values}
                for name, columns in grids.items()
            },
            ranges={name: self.ranges_of(columns) for name, columns in grids.items()},
            metrics={name: float(values[node]) for name, node in metrics if node in values},
            missing={name: missing[node] for name, node in metrics if node in missing},
        )

    def values(self, clock: Clock, count: int | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Everything that is computed, of one draw of `count` samples; by node why something could not be.

        Raises:
            RunError: a metric refuses its values.
        """
        given = self.batch(self.draws(count or self.spec.samples), clock, 0)
        return over_set(self.graph, self.part.whole, given)

    @cached_property
    def ranges(self) -> Mapping[str, Interval]:
        """The range in which each value is shown, by node, where it is known."""
        return picture_ranges(self.engine.program.plan.checked)

    def ranges_of(self, columns: Iterable[tuple[str, str]]) -> dict[str, Interval | None]:
        """The ranges of columns, given as labels and nodes."""
        return {label: self.ranges.get(node) for label, node in columns}

    def draws(self, batch: int) -> Draws:
        """What the evaluation draws from, at its beginning."""
        settings = self.engine.settings
        seed = derive_seed(self.seed, _SEED)
        sources = {**self.graph.sources, **self.uniforms}
        return Draws(
            sources,
            batch=batch,
            seed=seed,
            device=settings.device,
            dtype=settings.dtype,
            sections=dict.fromkeys(self.spec.data, "evaluate.data"),
            whole=True,
        )

    def batch(self, draws: Draws, clock: Clock, index: int) -> dict[str, Tensor]:
        """Everything that is computed batch by batch, of the batch `index`. Raises RunError for too few samples."""
        code = self.part.code
        self._require_samples(draws.batch)
        self.engine.begin(clock)
        with self._undisturbed(self.spec.mode):
            given = self._inputs(draws, clock, index)
            try:
                with self.engine.precision():
                    made = self.module(*(given[name] for name in code.reads))
            except BatchError as error:
                raise RunError(f"{error}: evaluate with more samples") from None
        return dict(zip(code.writes, made, strict=True))

    def _require_samples(self, count: int) -> None:
        """Refuse another number of samples than a variable has tensors. Raises RunError."""
        checked = self.engine.program.plan.checked
        called = {self.graph.nodes[name].target for name in self.part.code.segment.nodes}
        for name in sorted(called):
            if self.graph.owner(name) in checked.per_sample and count != checked.graph.spec.batch:
                has = f"one tensor for each of {checked.graph.spec.batch} samples"
                raise RunError(f"the variable '{name}' has {has}, and an evaluation of {count} would read it")

    def _inputs(self, draws: Draws, clock: Clock, index: int) -> dict[str, Tensor | None]:
        """Draw what the evaluation reads."""
        draws.begin({})
        values: dict[str, Tensor | None] = {}
        for name in self.sources:
            fields = draws.draw(name, index)
            values |= {name if len(fields) == 1 else f"{name}.{field}": tensor for field, tensor in fields.items()}
        for name in self.part.code.segment.inputs:
            if self.graph.nodes[name].kind == "scalar":
                number = evaluate(self.graph.nodes[name].over_time, clock)
                values[name] = torch.tensor(number, dtype=draws.dtype, device=draws.device)
            elif self.graph.nodes[name].is_state:
                values[name] = self.engine.states.tensors[self.graph.nodes[name].target]
        if self.texts is not None:
            values[self.texts.node] = self.texts.batch(draws, index, self.engine.draws.meanings)
        return values | self._noise(draws, index)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are drawn; one of which sentences take the place is not."""
        left = self.texts.source if self.texts is not None and self.texts.alone else None
        nodes = (self.graph.nodes[name] for name in self.part.code.segment.inputs)
        return (*dict.fromkeys(node.target for node in nodes if node.is_source and node.target != left), *self.uniforms)

    @property
    def draws_anew(self) -> bool:
        """Whether batches differ: a source is not fixed, or a layer draws."""
        types = self.engine.program.plan.checked.evaluation
        assert types is not None
        modules = {**self.engine.networks.live, **self.evaluators}
        layers = (
            modules[self.graph.owner(self.graph.nodes[name].target)].get_submodule(draw.path)
            for name in self.part.code.segment.nodes
            if self.graph.nodes[name].is_call
            for draw in types.calls[name].draws
        )
        sources = {**self.graph.sources, **self.uniforms}
        return not all(is_fixed(sources[name]) for name in self.sources) or any(
            self.spec.mode == "train" or not getattr(layer, "only_in_training", False) for layer in layers
        )

    def _noise(self, draws: Draws, index: int) -> dict[str, Tensor | None]:
        """Random numbers for layers; none for those that are random only in training, if this is evaluation mode."""
        modules, types = {**self.engine.networks.live, **self.evaluators}, self.engine.program.plan.checked.evaluation
        assert types is not None
        like = torch.empty(0, dtype=draws.dtype, device=draws.device)
        noise: dict[str, Tensor | None] = {}
        for name in self.part.code.segment.nodes:
            node = self.graph.nodes[name]
            if not node.is_call:
                continue
            module = modules[self.graph.owner(node.target)]
            for draw in types.calls[name].draws:
                layer = module.get_submodule(draw.path)
                assert isinstance(layer, RandomLayer)
                if layer.only_in_training and not module.training:
                    noise[noise_name(name, draw.name)] = None
                    continue
                shape = (samples_of(self.graph, types, name, draws.batch), *draw.shape)
                noise[noise_name(name, draw.name)] = draws.noise(name, layer, draw.name, shape, index, like)
        return noise

    @contextmanager
    def _undisturbed(self, mode: str) -> Iterator[None]:
        """Networks in the evaluation's mode; afterwards every buffer and mode is as it was."""
        modules = self.engine.networks.modules
        modes = [module.training for module in modules]
        buffers = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
        for module in modules:
            module.train(mode == "train")
        try:
            yield
        finally:
            for module, training in zip(modules, modes, strict=True):
                module.train(training)
            for buffer, before in buffers:
                buffer.copy_(before)


def evaluation_of(engine: Engine) -> Evaluation:
    """The evaluation of an engine's phase, which has one."""
    evaluation = engine.program.plan.checked.graph.evaluation
    assert evaluation is not None
    return evaluation


def evaluators_called(evaluation: Evaluation, part: EvaluationPart) -> tuple[str, ...]:
    """The evaluators whose networks a part of an evaluation calls."""
    nodes = (evaluation.graph.nodes[name] for name in part.code.segment.nodes)
    called = dict.fromkeys(node.target for node in nodes if node.of_network)
    return tuple(name for name in called if name in evaluation.evaluators)


@torch.no_grad()
def over_set(
    graph: Graph, names: tuple[str, ...], values: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Apply ops to whole sets of samples, float32 on the CPU.

    Returns:
        `values` with what was computed, and by node why something could not be: pretrained weights are missing.

    Raises:
        RunError: a metric or an op refuses its values.
    """
    needed = {name for node in names for name in graph.nodes[node].inputs}
    made = {name: _plain(value) for name, value in values.items() if name in needed}
    missing: dict[str, str] = {}
    for name in names:
        node = graph.nodes[name]
        gone = next((missing[source] for source in node.inputs if source in missing), None)
        if gone is not None:
            missing[name] = gone
            continue
        try:
            made[name] = _applied(node, made)
        except WeightsError as error:
            missing[name] = str(error)
        except (ValueError, RuntimeError) as error:
            raise RunError(f"{node.span}: '{node.target}' cannot measure its values: {error}") from None
    return {**made, **values}, missing


def _plain(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.float() if value.is_floating_point() else value


def _applied(node: Node, values: Mapping[str, Tensor]) -> Tensor:
    if not node.is_operation:  # it is the same as what it is computed from: `Kinds.add` sees to it
        return values[node.inputs[0]]
    arguments = [with_arguments(argument, values) for argument in node.arguments]
    keywords = {key: with_arguments(value, values) for key, value in node.keywords}
    made: Tensor = vocabulary[node.target].function(*arguments, **keywords)
    return made
