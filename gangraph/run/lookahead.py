"""Steps of an optimizer as differentiable functions, through which the gradient of a lookahead flows.

A step here gives the numbers of the optimizer of torch that it is named after, from that optimizer's own state and
options, and changes nothing: parameters, buffers and moments of the networks ahead are values that are forgotten.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Slots = Mapping[str, Any]  # what an optimizer keeps for one parameter, or the options of its group
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
        parameters = [p for network in networks for p in network.parameters()]
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
        options = {p: group for group in self.optimizer.param_groups for p in group["params"]}
        take = STEPS[type(self.optimizer)]
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


def root(value: Tensor) -> Tensor:
    """The square root, with a derivative of 0 at 0, where the square root has none.

    A sum of squared gradients is exactly 0 for a unit that never was active. There sqrt's derivative is infinite, that
    of the square beneath it 0, and their product NaN. The quotient that an optimizer makes of it is differentiable:
    m / (sqrt(v) + eps) has m = 0 at such a place, so its derivative is m' / eps, whatever that of sqrt(v) is.
    """
    still = value == 0
    return torch.where(still, 0.0, torch.where(still, 1.0, value).sqrt())


def _adam(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
    """Adam (Kingma and Ba 2014) and AdamW (Loshchilov and Hutter 2017), also with AMSGrad's largest second moment."""
    rate, (first, second), decay = options["lr"], options["betas"], options["weight_decay"]
    if options["decoupled_weight_decay"]:
        value = value * (1 - rate * decay)
    elif decay:
        gradient = gradient + decay * value
    step = float(slots.get("step", 0)) + 1
    mean = torch.lerp(_kept(slots, "exp_avg", value), gradient, 1 - first)
    square = second * _kept(slots, "exp_avg_sq", value) + (1 - second) * gradient * gradient
    made: dict[str, Any] = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
    if options["amsgrad"]:
        square = made["max_exp_avg_sq"] = torch.maximum(_kept(slots, "max_exp_avg_sq", value), square)
    scale = root(square) / math.sqrt(1 - second**step) + options["eps"]
    return value - rate / (1 - first**step) * mean / scale, made


def _sgd(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
    """Gradient descent; momentum begins with the first gradient."""
    gradient = gradient + options["weight_decay"] * value if options["weight_decay"] else gradient
    momentum = options["momentum"]
    if not momentum:
        return value - options["lr"] * gradient, slots
    past = slots.get("momentum_buffer")
    speed = gradient if past is None else momentum * past + (1 - options["dampening"]) * gradient
    along = gradient + momentum * speed if options["nesterov"] else speed
    return value - options["lr"] * along, {"momentum_buffer": speed}


def _rmsprop(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
    """RMSprop, also centred, also with momentum."""
    gradient = gradient + options["weight_decay"] * value if options["weight_decay"] else gradient
    alpha = options["alpha"]
    square = alpha * _kept(slots, "square_avg", value) + (1 - alpha) * gradient * gradient
    made = {"square_avg": square}
    if options["centered"]:
        mean = made["grad_avg"] = torch.lerp(_kept(slots, "grad_avg", value), gradient, 1 - alpha)
        square = square - mean * mean
    move = gradient / (root(square) + options["eps"])
    if options["momentum"]:
        move = made["momentum_buffer"] = options["momentum"] * _kept(slots, "momentum_buffer", value) + move
    return value - options["lr"] * move, made


def _adagrad(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
    """Adagrad (Duchi et al. 2011)."""
    gradient = gradient + options["weight_decay"] * value if options["weight_decay"] else gradient
    step = float(slots.get("step", 0)) + 1
    total = _kept(slots, "sum", value) + gradient * gradient
    rate = options["lr"] / (1 + (step - 1) * options["lr_decay"])
    return value - rate * gradient / (root(total) + options["eps"]), {"step": step, "sum": total}


def _kept(slots: Slots, name: str, like: Tensor) -> Tensor:
    """What is kept for a parameter; zeros before its first step."""
    kept: Tensor | None = slots.get(name)
    return torch.zeros_like(like) if kept is None else kept


STEPS: Mapping[type[torch.optim.Optimizer], Step] = {
    torch.optim.Adam: _adam, torch.optim.AdamW: _adam, torch.optim.SGD: _sgd, torch.optim.RMSprop: _rmsprop,
    torch.optim.Adagrad: _adagrad,
}  # fmt: skip
