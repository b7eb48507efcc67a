"""Steps of optimizers as differentiable functions, through which the gradient of a lookahead flows.

A step gives the numbers of the optimizer of torch that it is named after: from a parameter, its gradient, what the
optimizer keeps of it (nothing before its first step) and the options of its group to the next parameter and what is
kept then. It changes none of these.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Slots = Mapping[str, Any]  # what an optimizer keeps for one parameter, or the options of its group


def root(value: Tensor) -> Tensor:
    """The square root, with a derivative of 0 at 0, where the square root has none.

    A sum of squared gradients is exactly 0 for a unit that never was active. There sqrt's derivative is infinite, that
    of the square beneath it 0, and their product NaN. The quotient that an optimizer makes of it is differentiable:
    m / (sqrt(v) + eps) has m = 0 at such a place, so its derivative is m' / eps, whatever that of sqrt(v) is.
    """
    still = value == 0
    return torch.where(still, 0.0, torch.where(still, 1.0, value).sqrt())


def adam(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
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


def sgd(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
    """Gradient descent; momentum begins with the first gradient."""
    gradient = gradient + options["weight_decay"] * value if options["weight_decay"] else gradient
    momentum = options["momentum"]
    if not momentum:
        return value - options["lr"] * gradient, slots
    past = slots.get("momentum_buffer")
    speed = gradient if past is None else momentum * past + (1 - options["dampening"]) * gradient
    along = gradient + momentum * speed if options["nesterov"] else speed
    return value - options["lr"] * along, {"momentum_buffer": speed}


def rmsprop(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
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


def adagrad(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
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
