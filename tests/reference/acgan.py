"""AC-GAN (Odena et al. 2016) written by hand: its networks and one iteration of its training.

Parameters are registered in the order in which forward uses them. The discriminator takes its dropout masks: tensors of
0 and 1/(1-p), one for each dropout in the order of forward.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import backward
from torch.optim import Adam, Optimizer

Losses = dict[str, float]


class Generator(nn.Module):
    """Noise and a class to an image in [-1, 1], from an eighth of its size."""

    def __init__(self, noise: int, classes: int, filters: int, size: int, channels: int) -> None:
        super().__init__()
        self.classes = classes
        self.net = nn.Sequential(
            nn.Linear(noise + classes, 4 * filters * (size // 8) ** 2),
            nn.ReLU(),
            nn.Unflatten(1, (4 * filters, size // 8, size // 8)),
            nn.ConvTranspose2d(4 * filters, 2 * filters, 5, 2, 2, output_padding=1),
            nn.BatchNorm2d(2 * filters),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * filters, filters, 5, 2, 2, output_padding=1),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.ConvTranspose2d(filters, channels, 5, 2, 2, output_padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        image: Tensor = self.net(torch.cat([z, torch.eye(self.classes, dtype=z.dtype)[label]], 1))
        return image


class Discriminator(nn.Module):
    """Six convolutions, of which every second keeps the size; a logit for real, and one for each class."""

    def __init__(self, classes: int, filters: int, size: int, channels: int) -> None:
        super().__init__()
        widths = [channels, *(filters * 2**k for k in range(6))]
        self.blocks = nn.ModuleList()
        for k in range(6):
            layers: list[nn.Module] = [nn.Conv2d(widths[k], widths[k + 1], 3, 2 if k % 2 == 0 else 1, 1)]
            layers += [nn.BatchNorm2d(widths[k + 1])] if k else []
            self.blocks.append(nn.Sequential(*layers, nn.LeakyReLU(0.2)))
        features = widths[-1] * (size // 8) ** 2
        self.label, self.score = nn.Linear(features, classes), nn.Linear(features, 1)

    def forward(self, x: Tensor, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        for block, mask in zip(self.blocks, masks, strict=True):
            x = block(x) * mask
        names = self.label(x.flatten(1))
        return self.score(x.flatten(1)), names


class AcganLoop:
    """The discriminator's step, then the generator's on the same fakes, scored and named again."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, rate: float) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer = Adam(generator.parameters(), rate, (0.5, 0.999))
        self.discriminator_optimizer = Adam(discriminator.parameters(), rate, (0.5, 0.999))

    def step(self, x: Tensor, label: Tensor, z: Tensor, wanted: Tensor, masks: tuple[Sequence[Tensor], ...]) -> Losses:
        fake = self.generator(z, wanted)
        for_real, for_fake, for_fake_again = masks

        real_score, real_names = self.discriminator(x, for_real)
        fake_score, fake_names = self.discriminator(fake.detach(), for_fake)
        judge = F.binary_cross_entropy_with_logits(real_score, torch.ones_like(real_score))
        judge = judge + F.binary_cross_entropy_with_logits(fake_score, torch.zeros_like(fake_score))
        name_real = F.nll_loss(real_names.log_softmax(1), label)
        _descend(self.discriminator_optimizer, judge + name_real + F.nll_loss(fake_names.log_softmax(1), wanted))

        self.discriminator.requires_grad_(False)
        fake_score, fake_names = self.discriminator(fake, for_fake_again)
        fool = F.binary_cross_entropy_with_logits(fake_score, torch.ones_like(fake_score))
        name_fake = F.nll_loss(fake_names.log_softmax(1), wanted)
        _descend(self.generator_optimizer, fool + name_fake)
        self.discriminator.requires_grad_(True)
        losses = {"judge": judge, "fool": fool, "name_real": name_real, "name_fake": name_fake}
        return {name: loss.item() for name, loss in losses.items()}


def _descend(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    backward(loss)
    optimizer.step()
