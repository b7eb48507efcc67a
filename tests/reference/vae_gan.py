"""VAE/GAN by hand (Larsen et al. 2016): three sums at the same parameters, each with a forward pass of its own.

Nothing here imports gangraph. What a sum may not reach is detached, as the authors describe it.
"""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import RMSprop

Losses = dict[str, float]
Gate = Callable[[float, float], bool]


class Encoder(nn.Module):
    """Three convolutions of stride 2, one layer, and two heads."""

    def __init__(self, widths: list[int], size: int, hidden: int, latents: int) -> None:
        super().__init__()
        self.down = nn.Sequential()
        for before, width in zip([3, *widths], widths, strict=False):
            self.down.extend([nn.Conv2d(before, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width, 1e-6), nn.ReLU()])
        inside = widths[-1] * (size // 8) ** 2
        self.top = nn.Sequential(nn.Linear(inside, hidden, bias=False), nn.BatchNorm1d(hidden, 1e-6), nn.ReLU())
        self.mean, self.logvar = nn.Linear(hidden, latents), nn.Linear(hidden, latents)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.top(self.down(x).flatten(1))
        return self.mean(h), self.logvar(h)


class Decoder(nn.Module):
    """One layer, three transposed convolutions of stride 2, and a convolution."""

    def __init__(self, widths: list[int], size: int, latents: int) -> None:
        super().__init__()
        self.shape = (widths[0], size // 8, size // 8)
        inside = math.prod(self.shape)
        self.first = nn.Sequential(nn.Linear(latents, inside, bias=False), nn.BatchNorm1d(inside, 1e-6), nn.ReLU())
        self.up = nn.Sequential()
        for before, width in itertools.pairwise(widths):
            up = nn.ConvTranspose2d(before, width, 5, 2, 2, output_padding=1, bias=False)
            self.up.extend([up, nn.BatchNorm2d(width, 1e-6), nn.ReLU()])
        self.last = nn.Conv2d(widths[-1], 3, 5, padding=2)

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z).unflatten(1, self.shape)
        return torch.tanh(self.last(self.up(h)))


class Discriminator(nn.Module):
    """A score, and the output of the third convolution of stride 2."""

    def __init__(self, widths: list[int], size: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, widths[0], 5, padding=2)
        layers: list[nn.Module] = [nn.ReLU()]
        for before, width in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width, 1e-6), nn.ReLU()]
        self.middle, self.end = nn.Sequential(*layers[:-2]), nn.Sequential(*layers[-2:])
        top = nn.Linear(widths[-1] * (size // 8) ** 2, hidden, bias=False)
        self.top = nn.Sequential(top, nn.BatchNorm1d(hidden, 1e-6), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.middle(self.first(x))
        return self.top(self.end(features).flatten(1)), features


class VaeGanLoop:
    """One step of all three networks.

    Without `epsilon` the GAN's costs are those of logits, over data, reconstructions and samples of the prior. With it
    they are those of the released code: of data and samples alone, and `gates` say, from both costs, which of decoder
    and discriminator step.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: nn.Module,
        *,
        gamma: float,
        lr: float,
        decay: float = 0.0,
        epsilon: float | None = None,
        gates: tuple[Gate, Gate] | None = None,
    ) -> None:
        self.encoder, self.decoder, self.discriminator = encoder, decoder, discriminator
        self.gamma, self.epsilon, self.gates = gamma, epsilon, gates
        self.optimizers = [RMSprop(n.parameters(), lr, weight_decay=decay) for n in (encoder, decoder, discriminator)]
        self.decisions: list[tuple[bool, bool]] = []

    def step(self, x: Tensor, noise: Tensor, prior: Tensor) -> Losses:
        mean, logvar = self.encoder(x)
        z = mean + (logvar / 2).exp() * noise
        target = self.discriminator(x)[1].detach()
        divergence = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum() / len(x)

        rec = self.decoder(z)
        like = self._like(self.discriminator(rec)[1], target)
        encoder_loss = divergence + like

        apart = self.decoder(z.detach())
        score, features = self.discriminator(apart)
        real, again, fake = self._costs(self.discriminator(x)[0], score, self.discriminator(self.decoder(prior))[0])
        weight = 1.0 if self.epsilon is None else 1 - self.gamma
        decoder_loss = self.gamma * self._like(features, target) - weight * (real.detach() + again + fake)

        given = [x, apart.detach(), self.decoder(prior).detach()]
        gan = sum(self._costs(*(self.discriminator(each)[0] for each in given)))
        discriminator_loss = gan if self.epsilon is None else gan / 2

        decoder_steps, discriminator_steps = (gate(real.item(), fake.item()) for gate in self.gates or (_yes, _yes))
        self.decisions.append((decoder_steps, discriminator_steps))
        losses = (encoder_loss, decoder_loss, discriminator_loss)
        networks = (self.encoder, self.decoder, self.discriminator)
        for network, loss in zip(networks, losses, strict=True):
            gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.grad = gradient
        for optimizer, steps in zip(self.optimizers, (True, decoder_steps, discriminator_steps), strict=True):
            if steps:
                optimizer.step()
        return {"prior": divergence.item(), "like": like.item(), "real_cost": real.item(), "fake_cost": fake.item()}

    def _like(self, features: Tensor, target: Tensor) -> Tensor:
        distribution = torch.distributions.Normal(features, 1.0)
        return -distribution.log_prob(target).sum() / len(target)

    def _costs(self, real: Tensor, again: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.epsilon is None:
            bce = functional.binary_cross_entropy_with_logits
            yes, no = torch.ones_like(real), torch.zeros_like(real)
            return bce(real, yes), bce(again, no), bce(fake, no)
        probabilities = real.sigmoid(), 1 - fake.sigmoid()
        costs = [-(p + self.epsilon).log().mean() for p in probabilities]
        return costs[0], torch.zeros_like(costs[0]), costs[1]


def _yes(_: float, __: float) -> bool:
    return True
