"""The conditional GAN and least squares GAN, written by hand: networks of two branches, and one iteration of each."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam


class Branches(nn.Module):
    """Two inputs, each through a linear layer of its own, then a hidden layer and an output for both.

    With several pieces, an activation is the largest of so many neighbouring outputs; with one, a ReLU.
    """

    def __init__(
        self, inputs: tuple[int, int], widths: tuple[int, int, int], pieces: tuple[int, int], out: int
    ) -> None:
        super().__init__()
        alone, joint = pieces
        self.first = nn.Linear(inputs[0], widths[0] * alone)
        self.second = nn.Linear(inputs[1], widths[1] * alone)
        self.joint = nn.Linear(widths[0] + widths[1], widths[2] * joint)
        self.last = nn.Linear(widths[2], out)
        self.pieces = pieces

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        alone, joint = self.pieces
        both = [_active(self.first(first.flatten(1)), alone), _active(self.second(second), alone)]
        out: Tensor = self.last(_active(self.joint(torch.cat(both, 1)), joint))
        return out


def _active(h: Tensor, pieces: int) -> Tensor:
    return F.relu(h) if pieces == 1 else h.reshape(len(h), -1, pieces).amax(2)


def cgan_step(
    generator: nn.Module, discriminator: nn.Module, players: tuple[SGD, SGD], x: Tensor, z: Tensor, label: Tensor
) -> dict[str, float]:
    """Both players' gradients at the same parameters; fakes have the labels of the real minibatch."""
    told = F.one_hot(label, 10).double()
    fake = torch.sigmoid(generator(z, told))
    real_score, fake_score = discriminator(x, told), discriminator(fake, told)
    judge = 0.5 * (F.softplus(-real_score).mean() + F.softplus(fake_score).mean())
    fool = F.softplus(-fake_score).mean()
    own = torch.autograd.grad(judge, list(discriminator.parameters()), retain_graph=True)
    theirs = torch.autograd.grad(fool, list(generator.parameters()))
    for network, gradients, player in ((discriminator, own, players[1]), (generator, theirs, players[0])):
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        player.step()
    return {"judge": judge.item(), "fool": fool.item()}


def lsgan_step(
    generator: nn.Module,
    discriminator: nn.Module,
    players: tuple[Adam, Adam],
    x: Tensor,
    z: Tensor,
    targets: tuple[float, float, float],
) -> dict[str, float]:
    """The discriminator's step, then the generator's on the same fakes; targets are those of fakes, data and G."""
    a, b, c = targets
    fake = generator(z)
    judge = 0.5 * (discriminator(x) - b).square().mean() + 0.5 * (discriminator(fake.detach()) - a).square().mean()
    players[1].zero_grad()
    judge.backward()
    players[1].step()
    fool = 0.5 * (discriminator(fake) - c).square().mean()
    players[0].zero_grad()
    fool.backward()
    players[0].step()
    return {"judge": judge.item(), "fool": fool.item()}
