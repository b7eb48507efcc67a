"""The first values of variables, computed once, before the first step of a run changes anything."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from gangraph.graph.model import Ref
from gangraph.language.expression.schedule import Clock, evaluate
from gangraph.language.spec import VARIABLE
from gangraph.lower.model import Program
from gangraph.run.draws import Draws
from gangraph.run.networks import Networks
from gangraph.run.noise import drawn_noise
from gangraph.run.settings import Settings


class Starts:
    """The variables of a run, which get their first values when the first step begins.

    Attributes:
        waiting: the variables that have no first value yet, and hold zeros.
    """

    def __init__(self, program: Program, networks: Networks, settings: Settings) -> None:
        self.program, self.networks, self.settings = program, networks, settings
        self.checked = program.plan.checked
        self.waiting = set(self.checked.graph.starts)

    @property
    def sources(self) -> dict[str, int]:
        """The sources that the first values of waiting variables need, each drawn once."""
        graph = self.checked.graph
        begun = [node for name, node in graph.begun.items() if name in self.waiting]
        nodes = (graph.nodes[name] for name in graph.in_order(graph.below(*begun)))
        return dict.fromkeys((node.target for node in nodes if node.is_source), 1)

    def begin(
        self, draws: Draws, clock: Clock, step: int, precision: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """Give waiting variables, and their averages, their first values, computed from the draws of the next step.

        Args:
            draws: those of that step, which nothing else draws from.
            precision: the arithmetic that segments run in.
        """
        graph = self.checked.graph
        values = self._values(draws, clock, step, precision) if self.program.starts is not None else {}
        for name in sorted(self.waiting):
            start = graph.starts[name]
            parameter = self.networks.live[name].get_parameter(VARIABLE)
            made = values[start.id] if isinstance(start, Ref) else torch.tensor(start, dtype=parameter.dtype)
            with torch.no_grad():
                parameter.copy_(made)
            for average in (each for each, told in graph.averages.items() if told.of == name):
                self.networks.averages[average].load_state_dict(self.networks.live[name].state_dict())

    def _values(
        self, draws: Draws, clock: Clock, step: int, precision: Callable[[], AbstractContextManager[object]]
    ) -> dict[str, Tensor]:
        """The first values of all variables, by node. No buffer of a network changes."""
        code, graph = self.program.starts, self.checked.graph
        assert code is not None
        values: dict[str, Tensor] = {}
        nodes = [graph.nodes[name] for name in code.segment.inputs]
        for source in dict.fromkeys(node.target for node in nodes if node.is_source):
            fields = draws.draw(source, step)
            values |= {source if len(fields) == 1 else f"{source}.{field}": made for field, made in fields.items()}
        for node in (node for node in nodes if not node.is_source):
            number = evaluate(node.over_time, clock)
            values[node.id] = torch.tensor(number, dtype=self.settings.dtype, device=self.settings.device)
        calls = [name for name in code.segment.nodes if graph.nodes[name].is_call]
        values |= dict(drawn_noise(self.checked, self.networks, draws, self.settings, calls, step))
        module = code.bind(self.networks.callable)
        with unmoved(self.networks.modules), precision():
            made = module(*(values[name] for name in code.reads))
        return dict(zip(code.writes, made, strict=True))


@contextmanager
def unmoved(modules: Iterable[nn.Module]) -> Iterator[None]:
    """A context after which every buffer is as it was before."""
    before = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
