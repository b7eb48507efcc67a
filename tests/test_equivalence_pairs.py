"""A game of pairs (x, E(x)) and (G(z), z), in float64 against a loop that is written here by hand."""

import math
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

import gangraph
from gangraph.pipeline import check_spec
from tests.support import deviation, load, trainer

WIDTH, CODES, PIXELS, BATCH, STEPS = 6, 3, 64, 5, 4
RATE, DECAY, BETAS = 1e-3, 2.5e-5, (0.5, 0.999)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def normalised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-8).sqrt()


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = linear(CODES, WIDTH), linear(WIDTH, WIDTH)
        self.again, self.last = linear(CODES, WIDTH), linear(WIDTH, PIXELS)

    def forward(self, z: Tensor) -> Tensor:
        h = normalised(self.first(z)).relu()
        h = normalised(self.second(h) + self.again(z)).relu()
        return torch.sigmoid(self.last(h))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = linear(PIXELS, WIDTH), linear(WIDTH, WIDTH), linear(WIDTH, CODES)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(normalised(self.second(F.leaky_relu(self.first(x), 0.2))), 0.2)
        return 2 * torch.sigmoid(self.last(h)) - 1


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = linear(PIXELS, WIDTH), linear(WIDTH, WIDTH)
        self.code, self.last = linear(CODES, WIDTH), linear(WIDTH, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        h = self.second(F.leaky_relu(self.first(x), 0.2)) + self.code(z)
        score: Tensor = self.last(F.leaky_relu(normalised(h), 0.2))
        return score


def step(networks: Mapping[str, nn.Module], optimizers: Mapping[str, Adam], x: Tensor, z: Tensor) -> dict[str, float]:
    """Both losses at the same parameters; then everything moves."""
    g, e, d = (networks[name] for name in "GED")
    real, fake = d(x, e(x)), d(g(z), z)
    judge = (F.softplus(-real) + F.softplus(fake)).mean() / 2
    fool = (F.softplus(real) + F.softplus(-fake)).mean() / 2
    moved = {"judge": (judge, list(d.parameters())), "fool": (fool, [*g.parameters(), *e.parameters()])}
    for loss, parameters in moved.values():
        for parameter, grad in zip(parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
            parameter.grad = grad
    for optimizer in optimizers.values():
        optimizer.step()
    return {name: float(loss.detach()) for name, (loss, _) in moved.items()}


def test_the_game_of_pairs_agrees_with_the_loop_by_hand() -> None:
    engine = trainer(load("bigan", train__length="4 steps"))
    networks = {"G": Generator().double(), "E": Encoder().double(), "D": Discriminator().double()}
    for name, network in networks.items():
        theirs = engine.networks[name].parameters()
        for mine, parameter in zip(network.parameters(), theirs, strict=True):
            mine.data.copy_(parameter.detach().reshape(mine.shape))
    together = [*networks["G"].parameters(), *networks["E"].parameters()]
    optimizers = {
        "fool": Adam(together, RATE, BETAS, weight_decay=DECAY),
        "judge": Adam(networks["D"].parameters(), RATE, BETAS, weight_decay=DECAY),
    }
    generator = torch.Generator().manual_seed(1)
    for index in range(STEPS):
        x = torch.rand(BATCH, PIXELS, generator=generator, dtype=torch.float64)
        z = torch.rand(BATCH, CODES, generator=generator, dtype=torch.float64) * 2 - 1
        for optimizer in optimizers.values():
            optimizer.param_groups[0]["lr"] = RATE * 0.01 ** max(0, 2 * index / STEPS - 1)
        digits = {"image": x.reshape(BATCH, 1, 8, 8), "label": torch.zeros(BATCH, dtype=torch.int64)}
        found = engine.step({"digits": digits, "z": z})
        expected = step(networks, optimizers, x, z)
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
        if index == 0:  # the last layer of the discriminator starts at zero
            assert expected["judge"] == pytest.approx(math.log(2), abs=1e-15)
    for name, network in networks.items():
        for mine, parameter in zip(network.parameters(), engine.networks[name].parameters(), strict=True):
            assert deviation(parameter.detach().reshape(mine.shape), mine.detach()) < 1e-9


def test_the_papers_networks_have_as_many_parameters() -> None:
    (checked,) = check_spec(gangraph.load("bigan", profile="paper"))
    counts = {name: model.parameters for name, model in checked.networks.items()}
    assert counts == {"G": 1_953_792, "E": 1_902_592, "D": 1_903_616}
