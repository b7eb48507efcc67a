"""Optimistic Adam: Adam that steps by twice the present direction minus the one before."""

from typing import Any

import torch
from torch import Tensor, nn, optim

from gangraph.vocabulary.optimizer_steps import Slots, root


def step_of(value: Tensor, gradient: Tensor, slots: Slots, options: Slots) -> tuple[Tensor, Slots]:
    """The step as a differentiable function: see `gangraph.vocabulary.optimizer_steps`."""
    rate, (first, second) = options["lr"], options["betas"]
    step = float(slots.get("step", 0)) + 1
    zeros = torch.zeros_like(value)
    mean = torch.lerp(slots.get("exp_avg", zeros), gradient, 1 - first)
    square = second * slots.get("exp_avg_sq", zeros) + (1 - second) * gradient * gradient
    direction = mean / (1 - first**step) / (root(square / (1 - second**step)) + options["eps"])
    moved = value - rate * (2 * direction - slots.get("direction", zeros))
    return moved, {"step": step, "exp_avg": mean, "exp_avg_sq": square, "direction": direction}


class OptimisticAdam(optim.Optimizer):
    """w - 2 lr u + lr u' with Adam's direction u, and u' of the step before (Daskalakis et al. 2018, algorithm 1).

    In the first step there is no direction before, and u' is 0.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        if lr < 0 or eps < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr is {lr}, eps {eps} and betas {betas}: expected 0 or more, and betas below 1")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closure is evaluated
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)

    def _step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq", "direction")}
        state["step"] += 1
        step = state["step"].item()
        state["exp_avg"].lerp_(parameter.grad, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(parameter.grad, parameter.grad, value=1 - second)
        scale = (state["exp_avg_sq"] / (1 - second**step)).sqrt_().add_(group["eps"])
        direction = (state["exp_avg"] / (1 - first**step)).div_(scale)
        parameter.sub_(2 * direction - state["direction"], alpha=group["lr"])
        state["direction"] = direction
