"""InfoGAN (Chen et al. 2016) written by hand: its networks and one iteration of its training.

Parameters are registered in the order in which forward uses them.
"""

from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import backward
from torch.distributions import Categorical, Normal
from torch.optim import Adam, Optimizer

Codes = tuple[Tensor, Tensor, Tensor]
Losses = dict[str, float]


class Generator(nn.Module):
    """Noise and codes to an image in [0, 1], from a quarter of its size."""

    def __init__(self, noise: int, classes: int, filters: int, hidden: int, size: int, channels: int) -> None:
        super().__init__()
        self.classes = classes
        base = 2 * filters * (size // 4) ** 2
        self.net = nn.Sequential(
            nn.Linear(noise + classes + 2, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, base),
            nn.BatchNorm1d(base),
            nn.ReLU(),
            nn.Unflatten(1, (2 * filters, size // 4, size // 4)),
            nn.ConvTranspose2d(2 * filters, filters, 4, 2, 1),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.ConvTranspose2d(filters, channels, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor, codes: Codes) -> Tensor:
        category, *continuous = codes
        image: Tensor = self.net(torch.cat([z, torch.eye(self.classes, dtype=z.dtype)[category], *continuous], 1))
        return image


class Trunk(nn.Sequential):
    """The layers that the discriminator and the recognition network share."""

    def __init__(self, filters: int, hidden: int, size: int, channels: int, slope: float = 0.1) -> None:
        super().__init__(
            nn.Conv2d(channels, filters, 4, 2, 1),
            nn.LeakyReLU(slope),
            nn.Conv2d(filters, 2 * filters, 4, 2, 1),
            nn.BatchNorm2d(2 * filters),
            nn.LeakyReLU(slope),
            nn.Flatten(),
            nn.Linear(2 * filters * (size // 4) ** 2, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(slope),
        )


class Recognition(nn.Module):
    """Logits of the category, means of two continuous codes, and two outputs that nobody reads."""

    def __init__(self, classes: int, hidden: int, slope: float = 0.1) -> None:
        super().__init__()
        width = hidden // 8
        self.body = nn.Sequential(nn.Linear(hidden, width), nn.BatchNorm1d(width), nn.LeakyReLU(slope))
        self.heads = nn.ModuleList(nn.Linear(width, outputs) for outputs in (classes, 1, 1, 2))

    def forward(self, h: Tensor) -> Codes:
        seen = self.body(h)
        category, first, second, _ = (head(seen) for head in self.heads)
        return category, first, second


class InfoganLoop:
    """The discriminator's step with the recognition network's, then the generator's on new noise and codes."""

    def __init__(self, generator: nn.Module, trunk: nn.Module, score: nn.Module, recognition: nn.Module) -> None:
        self.generator, self.trunk, self.score, self.recognition = generator, trunk, score, recognition
        self.judges = (trunk, score, recognition)
        self.generator_optimizer = Adam(generator.parameters(), 1e-3, (0.5, 0.999))
        self.judge_optimizer = Adam(chain(*(network.parameters() for network in self.judges)), 2e-4, (0.5, 0.999))

    def step(self, x: Tensor, noise: tuple[Tensor, Tensor], codes: tuple[Codes, Codes]) -> Losses:
        with torch.no_grad():
            fake = self.generator(noise[0], codes[0])
        real_score, seen = self.score(self.trunk(x)), self.trunk(fake)
        fake_score = self.score(seen)
        judge = F.binary_cross_entropy_with_logits(real_score, torch.ones_like(real_score))
        judge = judge + F.binary_cross_entropy_with_logits(fake_score, torch.zeros_like(fake_score))
        _descend(self.judge_optimizer, judge - sum(self._information(seen, codes[0])))

        for network in self.judges:
            network.requires_grad_(False)
        seen = self.trunk(self.generator(noise[1], codes[1]))
        fool = -F.logsigmoid(self.score(seen)).mean()
        information = self._information(seen, codes[1])
        _descend(self.generator_optimizer, fool - sum(information))
        for network in self.judges:
            network.requires_grad_(True)
        names = ("judge", "fool", "bound", "bound_2", "bound_3")
        return {name: loss.item() for name, loss in zip(names, (judge, fool, *information), strict=True)}

    def _information(self, seen: Tensor, codes: Codes) -> list[Tensor]:
        """The bound for each code: how much likelier its recognition makes it than its prior does, in nats."""
        guessed, standard = self.recognition(seen), Normal(torch.zeros((), dtype=seen.dtype), 1)
        prior = Categorical(logits=torch.zeros_like(guessed[0]))
        bounds = [Categorical(logits=guessed[0]).log_prob(codes[0]) - prior.log_prob(codes[0])]
        bounds += [
            Normal(mean, 1).log_prob(code) - standard.log_prob(code)
            for mean, code in zip(guessed[1:], codes[1:], strict=True)
        ]
        return [bound.mean() for bound in bounds]


def _descend(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    backward(loss)
    optimizer.step()
