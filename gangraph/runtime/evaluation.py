"""Looking at a run: the values that `evaluate:` shows and measures, computed without disturbing training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gangraph.compiler.lower import noise_name
from gangraph.data.stream import derive_seed
from gangraph.errors import RunError
from gangraph.language.schedule import Clock, evaluate
from gangraph.runtime.draws import Draws
from gangraph.runtime.engine import Engine
from gangraph.vocabulary.layers import RandomLayer

# Evaluations draw under a seed of their own, the same at every look, so that grids can be compared over time.
_SEED = "evaluate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one evaluation saw: tensors by column, numbers by metric."""

    grid: dict[str, Tensor]
    metrics: dict[str, float]


class Evaluation:
    """The `evaluate:` section of a phase over an engine's networks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        seen = engine.program.plan.checked.graph.evaluation
        if seen is None or engine.program.evaluation is None:
            raise RunError("the spec has no evaluate: section")
        self.seen, self.lowered = seen, engine.program.evaluation

    def look(self, clock: Clock, count: int | None = None) -> Look:
        """Draw `count` samples (the spec's number by default) and compute the grid and the metrics."""
        spec = self.seen.graph.spec.evaluate
        assert spec is not None
        engine, settings = self.engine, self.engine.settings
        draws = Draws(
            self.seen.graph.sources,
            batch=count or spec.samples,
            seed=derive_seed(settings.seed, _SEED),
            device=settings.device,
            dtype=settings.dtype,
        )
        with self._undisturbed(spec.mode):
            given = self._inputs(draws, clock)
            with engine.precision():
                made = self.lowered.bind(engine.networks.callable)(*(given[name] for name in self.lowered.reads))
        values: dict[str, Tensor] = {name: value for name, value in given.items() if value is not None}
        values |= zip(self.lowered.writes, made, strict=True)
        return Look(
            grid={label: values[node].detach() for label, node in self.seen.grid},
            metrics={name: float(values[node]) for name, node in self.seen.metrics},
        )

    def _inputs(self, draws: Draws, clock: Clock) -> dict[str, Tensor | None]:
        """Draw what the evaluation reads."""
        draws.begin({})
        values: dict[str, Tensor | None] = {}
        graph = self.seen.graph
        for name in dict.fromkeys(
            graph.nodes[n].target for n in self.lowered.segment.inputs if graph.nodes[n].kind != "scalar"
        ):
            fields = draws.draw(name, 0)
            values |= {name if len(fields) == 1 else f"{name}.{field}": tensor for field, tensor in fields.items()}
        for name in self.lowered.segment.inputs:
            if graph.nodes[name].kind == "scalar":
                number = evaluate(graph.nodes[name].over_time, clock)
                values[name] = torch.tensor(number, dtype=draws.dtype, device=draws.device)
        return values | self._noise(draws)

    def _noise(self, draws: Draws) -> dict[str, Tensor | None]:
        """Random numbers for layers; none for those that are random only in training, if this is evaluation mode."""
        graph, checked = self.seen.graph, self.engine.program.plan.checked
        noise: dict[str, Tensor | None] = {}
        for name in self.lowered.segment.nodes:
            node = graph.nodes[name]
            if node.kind != "network":
                continue
            owner = graph.owner(node.target)
            module = self.engine.networks.live[owner]
            for draw in checked.networks[owner].draws:
                layer = module.get_submodule(draw.path)
                assert isinstance(layer, RandomLayer)
                if layer.only_in_training and not module.training:
                    noise[noise_name(name, draw.name)] = None
                    continue
                shape = (draws.batch, *draw.shape)
                like = next(module.parameters())
                noise[noise_name(name, draw.name)] = draws.noise(name, layer, draw.name, shape, 0, like)
        return noise

    @contextmanager
    def _undisturbed(self, mode: str) -> Iterator[None]:
        """Networks in the evaluation's mode; afterwards every buffer and mode is as it was."""
        modules = list(self.engine.networks.callable.values())
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
