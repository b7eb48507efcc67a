"""Networks after steps that are not taken, through which the gradient of an objective that looks ahead flows.

A step here is the differentiable one that stands beside the optimizer (`vocabulary/optimizer_steps.py`), from that
optimizer's own state and options. It changes nothing: parameters, buffers and moments of the networks ahead are values
that are forgotten.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gangraph.registry import optimizers
from gangraph.vocabulary.optimizer_steps import Slots

Step = Callable[[Tensor, Tensor, Slots, Slots], tuple[Tensor, Slots]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Networks after some steps that were not taken: parameters, what the optimizer keeps for each, and buffers."""

    optimizer: torch.optim.Optimizer
    values: Mapping[nn.Parameter, Tensor]
    slots: Mapping[nn.Parameter, Slots]
    buffers: Mapping[Tensor, Tensor]

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, networks: Sequence[nn.Module], called: Sequence[nn.Module] = ()
    ) -> "Ahead":
        """Networks as they are, with the state of their optimizer, and buffers of those that are `called` with them."""
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        parameters = [p for network in networks for p in network.parameters() if id(p) in trained]
        return cls(
            optimizer=optimizer,
            values={p: p.detach().requires_grad_() for p in parameters},
            slots={p: optimizer.state.get(p, {}) for p in parameters},
            buffers={b: b.clone() for network in (*networks, *called) for b in network.buffers()},
        )

    def step(self, loss: Tensor, *, through: bool) -> "Ahead":
        """The networks after one step down `loss`; gradients flow through it where asked.

        A parameter that the loss does not depend on stays, and so does what is kept for it, as in torch.
        """
        values, slots = dict(self.values), dict(self.slots)
        gradients = torch.autograd.grad(loss, list(values.values()), create_graph=through, allow_unused=True)
        take = _step_of(self.optimizer)
        options = {p: group for group in self.optimizer.param_groups for p in group["params"]}
        for parameter, gradient in zip(self.values, gradients, strict=True):
            if gradient is not None:
                moved, slots[parameter] = take(values[parameter], gradient, slots[parameter], options[parameter])
                values[parameter] = moved if through else moved.detach().requires_grad_()
        return replace(self, values=values, slots=slots)

    def tensors(self, network: nn.Module) -> dict[str, Tensor]:
        """The parameters and buffers that stand in the place of a network's own, by path.

        The parameters of a network that the steps do not move are its own.
        """
        parameters = {path: self.values.get(p, p) for path, p in network.named_parameters()}
        return parameters | {path: self.buffers[b] for path, b in network.named_buffers()}


class LookedAhead(nn.Module):
    """A network that is called with its parameters and buffers: the form `D_ahead` of `D`. It has none itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.of = (network,)  # in a tuple, so that its parameters are not this module's

    def forward(self, ahead: Ahead, *inputs: Tensor) -> Any:
        """The network's output with the parameters of `ahead`, whose buffers the call changes."""
        (network,) = self.of
        return functional_call(network, ahead.tensors(network), inputs, strict=True)


class Steps(nn.Module):
    """A number of steps on one loss, from the same inputs every time."""

    def __init__(
        self,
        loss_of: Callable[..., tuple[Tensor]],
        count: int,
        optimizer: torch.optim.Optimizer,
        networks: Sequence[nn.Module],
        called: Sequence[nn.Module] = (),
        *,
        through: bool,
    ) -> None:
        super().__init__()
        self.loss_of, self.count, self.optimizer, self.through = loss_of, count, optimizer, through
        self.networks, self.called = tuple(networks), tuple(called)

    def forward(self, *inputs: Tensor) -> Ahead:
        """The networks after the steps."""
        ahead = Ahead.of(self.optimizer, self.networks, self.called)
        for _ in range(self.count):
            (loss,) = self.loss_of(ahead, *inputs)
            ahead = ahead.step(loss, through=self.through)
        return ahead


def _step_of(optimizer: torch.optim.Optimizer) -> Step:
    """The differentiable step with which an optimizer's class is registered; the check has seen that it has one."""
    registered = (each for each in optimizers.values() if each.function is type(optimizer))
    return next(each.traits.differentiable for each in registered if each.traits.differentiable)
