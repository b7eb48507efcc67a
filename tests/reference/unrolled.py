"""Unrolled GAN by hand: one iteration in plain PyTorch, with Adam written out where it is differentiated.

The discriminator is taken apart into its weights, so that steps which are not taken are arithmetic on lists of tensors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

Weights = list[Tensor]


class UnrolledLoop:
    """The generator descends on -f at the discriminator k steps of Adam ahead; then that takes one step on f itself.

    `together` takes both gradients before either player moves.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        k: int,
        *,
        lr: tuple[float, float] = (1e-4, 1e-4),
        shrink: float = 4.0,
        together: bool = False,
    ) -> None:
        self.generator, self.discriminator, self.k, self.shrink, self.together = (
            generator,
            discriminator,
            k,
            shrink,
            together,
        )
        self.betas = (0.5, 0.999)
        self.generator_optimizer = Adam(generator.parameters(), lr[0], betas=self.betas)
        self.discriminator_optimizer = Adam(discriminator.parameters(), lr[1], betas=self.betas)
        self.rate = lr[1]
        self.steps = 0

    def step(self, x: Tensor, z: Tensor) -> dict[str, float]:
        real = list(self.discriminator.parameters())
        fake = self.generator(z)
        ahead = self._loss(self._unrolled(x, fake), x, fake)
        gradients = torch.autograd.grad(-ahead, list(self.generator.parameters()))
        if not self.together:
            _apply(self.generator_optimizer, gradients)
        judge = self._loss(real, x, fake.detach() if self.together else self.generator(z).detach())
        _apply(self.discriminator_optimizer, torch.autograd.grad(judge, real))
        if self.together:
            _apply(self.generator_optimizer, gradients)
        self.steps += 1
        return {"judge": float(judge.detach())}

    def _loss(self, weights: Weights, x: Tensor, fake: Tensor) -> Tensor:
        """softplus(-D(x)) + softplus(D(fake)), D being relu layers with these weights and biases."""
        scores = []
        for h in (x / self.shrink, fake / self.shrink):
            for i in range(0, len(weights), 2):
                h = F.linear(F.relu(h) if i else h, weights[i], weights[i + 1])
            scores.append(h)
        return F.softplus(-scores[0]).mean() + F.softplus(scores[1]).mean()

    def _unrolled(self, x: Tensor, fake: Tensor) -> Weights:
        """The discriminator's weights after k steps of its Adam, as functions of the fakes."""
        weights = [p.detach().clone().requires_grad_() for p in self.discriminator.parameters()]
        kept = [self.discriminator_optimizer.state[p] for p in self.discriminator.parameters()]
        zeros = [torch.zeros_like(w) for w in weights]
        first = [k.get("exp_avg", o).clone() for k, o in zip(kept, zeros, strict=True)]
        second = [k.get("exp_avg_sq", o).clone() for k, o in zip(kept, zeros, strict=True)]
        (b1, b2), t = self.betas, self.steps
        for _ in range(self.k):
            t += 1
            gradients = torch.autograd.grad(self._loss(weights, x, fake), weights, create_graph=True)
            first = [b1 * m + (1 - b1) * g for m, g in zip(first, gradients, strict=True)]
            second = [b2 * v + (1 - b2) * g**2 for v, g in zip(second, gradients, strict=True)]
            weights = [
                w - self.rate * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8)
                for w, m, v in zip(weights, first, second, strict=True)
            ]
        return weights


def _apply(optimizer: Adam, gradients: Sequence[Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
