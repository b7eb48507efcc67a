"""The training steps of the six classic systems, written by hand: one class per system.

Each `step` is one iteration. Random draws come in as arguments; losses come out by name, without the weight
that the total gives them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import backward
from torch.optim import SGD, Adam, Optimizer, RMSprop

from tests.reference.networks import Masks

Losses = dict[str, float]
Decide = Callable[[str, int], tuple[list[bool], list[int]]]


class GanLoop:
    """GAN: both players' gradients at the same parameters, from one forward pass; then both step."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        lr: float = 0.1,
        momentum: float = 0.5,
        *,
        saturating: bool = False,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = SGD(generator.parameters(), lr, momentum)
        self.discriminator_optimizer = SGD(discriminator.parameters(), lr, momentum)
        self.saturating = saturating

    def step(self, x: Tensor, z: Tensor, real_masks: Masks = None, fake_masks: Masks = None) -> Losses:
        real_logit = self._score(x, real_masks)
        fake_logit = self._score(self.generator(z), fake_masks)
        judge = 0.5 * (F.softplus(-real_logit).mean() + F.softplus(fake_logit).mean())
        fool = -F.softplus(fake_logit).mean() if self.saturating else F.softplus(-fake_logit).mean()

        self.discriminator_optimizer.zero_grad(set_to_none=True)
        self.generator_optimizer.zero_grad(set_to_none=True)
        backward(judge, inputs=list(self.discriminator.parameters()), retain_graph=True)
        backward(fool, inputs=list(self.generator.parameters()))
        self.discriminator_optimizer.step()
        self.generator_optimizer.step()
        return _losses(judge=judge, fool=fool)

    def _score(self, x: Tensor, masks: Masks) -> Tensor:
        score: Tensor = self.discriminator(x) if masks is None else self.discriminator(x, masks)
        return score


class DcganLoop:
    """DCGAN, pytorch/examples: D's step, then G's step on the same fakes, scored again by the new D."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = Adam(generator.parameters(), lr, betas)
        self.discriminator_optimizer = Adam(discriminator.parameters(), lr, betas)

    def step(self, x: Tensor, z: Tensor) -> Losses:
        fake = self.generator(z)

        judge = _bce(self.discriminator(x), 1) + _bce(self.discriminator(fake.detach()), 0)
        _descend(self.discriminator_optimizer, judge)

        with _frozen(self.discriminator):
            fool = _bce(self.discriminator(fake), 1)
        _descend(self.generator_optimizer, fool)
        return _losses(judge=judge, fool=fool)


class WganLoop:
    """WGAN: critic steps, each on fresh draws and followed by a clip; then one step of G."""

    def __init__(self, generator: nn.Module, critic: nn.Module, lr: float = 5e-5, clip: float = 0.01) -> None:
        self.generator = generator
        self.critic = critic
        self.generator_optimizer = RMSprop(generator.parameters(), lr)
        self.critic_optimizer = RMSprop(critic.parameters(), lr)
        self.clip = clip

    def step(self, xs: Sequence[Tensor], zs: Sequence[Tensor], z: Tensor) -> Losses:
        for x, critic_z in zip(xs, zs, strict=True):
            with torch.no_grad():
                fake = self.generator(critic_z)
            critic = self.critic(fake).mean() - self.critic(x).mean()
            _descend(self.critic_optimizer, critic)
            with torch.no_grad():
                for parameter in self.critic.parameters():
                    parameter.clamp_(-self.clip, self.clip)

        with _frozen(self.critic):
            generator = -self.critic(self.generator(z)).mean()
        _descend(self.generator_optimizer, generator)
        return _losses(critic=critic, generator=generator)


class WganGpLoop:
    """WGAN-GP: critic steps, each on fresh draws and with a gradient penalty; then one step of G."""

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        penalty: float = 10.0,
    ) -> None:
        self.generator = generator
        self.critic = critic
        self.generator_optimizer = Adam(generator.parameters(), lr, betas)
        self.critic_optimizer = Adam(critic.parameters(), lr, betas)
        self.penalty = penalty

    def step(self, xs: Sequence[Tensor], zs: Sequence[Tensor], us: Sequence[Tensor], z: Tensor) -> Losses:
        for x, critic_z, u in zip(xs, zs, us, strict=True):
            with torch.no_grad():
                fake = self.generator(critic_z)
            critic = self.critic(fake).mean() - self.critic(x).mean()
            critic = critic + self.penalty * self._gradient_penalty(x, fake, u)
            _descend(self.critic_optimizer, critic)

        with _frozen(self.critic):
            generator = -self.critic(self.generator(z)).mean()
        _descend(self.generator_optimizer, generator)
        return _losses(critic=critic, generator=generator)

    def _gradient_penalty(self, x: Tensor, fake: Tensor, u: Tensor) -> Tensor:
        mix = torch.lerp(x, fake, u.view(-1, *[1] * (x.dim() - 1))).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(mix).sum(), mix, create_graph=True)
        norm: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
        return (norm - 1).square().mean()


class Pix2pixLoop:
    """pix2pix: D's step on pairs, then G's step on the same fake, scored again by the new D."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        l1_weight: float = 100.0,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = Adam(generator.parameters(), lr, betas)
        self.discriminator_optimizer = Adam(discriminator.parameters(), lr, betas)
        self.l1_weight = l1_weight

    def step(self, x: Tensor, y: Tensor, masks: Masks = None) -> Losses:
        fake = self.generator(x) if masks is None else self.generator(x, masks)
        real_pair = torch.cat([x, y], 1)
        fake_pair = torch.cat([x, fake], 1)

        judge = 0.5 * (_bce(self.discriminator(real_pair), 1) + _bce(self.discriminator(fake_pair.detach()), 0))
        _descend(self.discriminator_optimizer, judge)

        with _frozen(self.discriminator):
            fool = _bce(self.discriminator(fake_pair), 1)
        l1 = F.l1_loss(fake, y)
        _descend(self.generator_optimizer, fool + self.l1_weight * l1)
        return _losses(judge=judge, fool=fool, l1=l1)


class CycleganLoop:
    """CycleGAN: both translators in one step, then both critics in one, on the fakes made before it.

    `to_y` is the paper's G, `to_x` its F. `decide("fake_y" or "fake_x", n)` is asked once per batch of n
    fakes, y first: does a full history hand out an old image for each, and from which slot? While the history
    fills up, the answer for that image is ignored.
    """

    def __init__(
        self,
        to_y: nn.Module,
        to_x: nn.Module,
        judge_y: nn.Module,
        judge_x: nn.Module,
        decide: Decide,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        cycle_weight: float = 10.0,
        identity_weight: float = 5.0,
        pool_size: int = 50,
    ) -> None:
        self.to_y = to_y
        self.to_x = to_x
        self.judge_y = judge_y
        self.judge_x = judge_x
        self.translator_optimizer = Adam(chain(to_y.parameters(), to_x.parameters()), lr, betas)
        self.judge_optimizer = Adam(chain(judge_x.parameters(), judge_y.parameters()), lr, betas)
        self.cycle_weight = cycle_weight
        self.identity_weight = identity_weight
        self.decide = decide
        self.history_y = ImagePool(pool_size)
        self.history_x = ImagePool(pool_size)

    def step(self, x: Tensor, y: Tensor) -> Losses:
        fake_y = self.to_y(x)
        fake_x = self.to_x(y)

        # Translators.
        with _frozen(self.judge_y, self.judge_x):
            fool = _square(self.judge_y(fake_y), 1) + _square(self.judge_x(fake_x), 1)
        cycle = F.l1_loss(self.to_x(fake_y), x) + F.l1_loss(self.to_y(fake_x), y)
        identity = F.l1_loss(self.to_y(y), y) + F.l1_loss(self.to_x(x), x)
        total = fool + self.cycle_weight * cycle + self.identity_weight * identity
        _descend(self.translator_optimizer, total)

        # Critics.
        old_y = self.history_y.exchange(fake_y.detach(), *self.decide("fake_y", len(fake_y)))
        old_x = self.history_x.exchange(fake_x.detach(), *self.decide("fake_x", len(fake_x)))
        judge_y = 0.5 * (_square(self.judge_y(y), 1) + _square(self.judge_y(old_y), 0))
        judge_x = 0.5 * (_square(self.judge_x(x), 1) + _square(self.judge_x(old_x), 0))
        _descend(self.judge_optimizer, judge_y + judge_x)
        return _losses(fool=fool, cycle=cycle, identity=identity, judge_x=judge_x, judge_y=judge_y)


class ImagePool:
    """Up to `size` past images; once full, it may hand out an old image and keep the new one in its slot."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, use: Sequence[bool], slot: Sequence[int]) -> Tensor:
        """Image by image: the new one or, where the full pool is used, the one in that slot."""
        if self.size == 0:
            return images
        handed: list[Tensor] = []
        for image, use_old, k in zip(images, use, slot, strict=True):
            if len(self.images) < self.size:
                self.images.append(image)
                handed.append(image)
            elif use_old:
                handed.append(self.images[k])
                self.images[k] = image
            else:
                handed.append(image)
        return torch.stack(handed)


def _bce(logit: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logit, torch.full_like(logit, target))


def _square(score: Tensor, target: float) -> Tensor:
    return (score - target).square().mean()


def _descend(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    backward(loss)
    optimizer.step()


@contextmanager
def _frozen(*networks: nn.Module) -> Iterator[None]:
    """What the networks compute in here gives their parameters no gradient, and saves its cost."""
    for network in networks:
        network.requires_grad_(False)
    yield
    for network in networks:
        network.requires_grad_(True)


def _losses(**losses: Tensor) -> Losses:
    return {name: loss.item() for name, loss in losses.items()}
