"""The steps that segments look ahead, over the networks and optimizers of a run."""

from collections.abc import Iterator, Mapping

from torch import nn
from torch.optim import Optimizer

from gangraph.lower.model import Lowered, Program
from gangraph.run.lookahead import Steps
from gangraph.run.networks import Networks


def steps_of(
    lowered: Lowered, program: Program, networks: Networks, optimizers: Mapping[str, Optimizer]
) -> Iterator[tuple[str, nn.Module]]:
    """The steps that a segment looks ahead, by the names that its code calls them."""
    for ahead in lowered.segment.lookaheads:
        told = ahead.graph
        live = [networks.live[name] for name in told.networks]
        every = {**networks.live, **networks.averages}
        called = [every[name] for name in ahead.each.moved if name not in told.networks]
        loss_of = program.segments[ahead.each.name].bind(networks.callable)
        optimizer = optimizers[told.group]
        yield ahead.called, Steps(loss_of, told.steps, optimizer, live, called, through=ahead.live)
