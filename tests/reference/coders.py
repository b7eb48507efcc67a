"""Variational autoencoders as textbook PyTorch: networks, and one step of training each, written by hand.

Nothing here imports gangraph. Noise comes in as an argument; parameters are registered in the order of use.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.optim import Adam

Losses = dict[str, float]


class Coder(nn.Module):
    """A body and two linear heads: the mean and the log-variance of a code."""

    def __init__(self, body: nn.Module, features: int, latents: int) -> None:
        super().__init__()
        self.body, self.mean, self.logvar = body, nn.Linear(features, latents), nn.Linear(features, latents)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mean(h), self.logvar(h)


def dense_coder(inputs: int, hidden: int, latents: int) -> Coder:
    """One ReLU layer before the heads."""
    return Coder(nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU()), hidden, latents)


def dense_decoder(latents: int, hidden: int, outputs: int) -> nn.Module:
    """Code to logits through one ReLU layer."""
    return nn.Sequential(nn.Linear(latents, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def conv_coder(width: int, hidden: int, latents: int) -> Coder:
    """Grey images of 8 px: one convolution to 4 px, then a linear layer."""
    body = nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, hidden), nn.ReLU()
    )
    return Coder(body, hidden, latents)


def conv_decoder(latents: int, hidden: int, first: int) -> nn.Module:
    """Code to grey logits of 8 px; the first map is made by a linear layer."""
    dense = [nn.Linear(latents, hidden), nn.ReLU(), nn.Linear(hidden, 16 * first), nn.ReLU()]
    return nn.Sequential(*dense, nn.Unflatten(1, (first, 4, 4)), nn.ConvTranspose2d(first, 1, 4, 2, 1))


class VaeLoop:
    """Raise the evidence lower bound: sums over a sample, means over the batch; `press` is what becomes of the rate."""

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, lr: float, press: Callable[[Tensor, int], Tensor]
    ) -> None:
        self.encoder, self.decoder, self.press = encoder, decoder, press
        self.optimizer = Adam([*encoder.parameters(), *decoder.parameters()], lr)
        self.steps = 0

    def step(self, x: Tensor, noise: Tensor) -> Losses:
        mean, logvar = self.encoder(x)
        std = torch.exp(0.5 * logvar)
        logits = self.decoder(mean + std * noise).reshape(x.shape)
        likelihood = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        rate = kl_divergence(Normal(mean, std), Normal(torch.zeros_like(mean), torch.ones_like(std))).sum() / len(x)
        pressure = self.press(rate, self.steps)
        self.optimizer.zero_grad()
        (likelihood + pressure).backward()
        self.optimizer.step()
        self.steps += 1
        return {"likelihood": likelihood.item(), "pressure": pressure.item()}


class ConditionalLoop:
    """A conditional VAE under a learned prior: the divergence of two Gaussians by its closed form."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: nn.Module, lr: float) -> None:
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        networks = (encoder, decoder, prior)
        self.optimizer = Adam([p for network in networks for p in network.parameters()], lr)

    def step(self, x: Tensor, given: Tensor, noise: Tensor) -> Losses:
        mean, logvar = self.encoder(torch.cat([x.flatten(1), given], 1))
        prior_mean, prior_logvar = self.prior(given)
        std, prior_std = torch.exp(0.5 * logvar), torch.exp(0.5 * prior_logvar)
        logits = self.decoder(torch.cat([mean + std * noise, given], 1)).reshape(x.shape)
        likelihood = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        divergence = kl_divergence(Normal(mean, std), Normal(prior_mean, prior_std)).sum() / len(x)
        self.optimizer.zero_grad()
        (likelihood + divergence).backward()
        self.optimizer.step()
        return {"likelihood": likelihood.item(), "divergence": divergence.item()}
