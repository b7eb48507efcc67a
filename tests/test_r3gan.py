"""The relativistic game with both penalties, in float64 against a loop that is written here by hand."""

import math
from collections.abc import Mapping
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.language.expression.schedule import Clock, evaluate, evaluate_option
from gangraph.language.spec import AverageSpec
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    normals,
    parameter_deviations,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, LATENT, LENGTH = 20, 4, 8, 3, 40
WIDTHS = (8, 8)  # at 4 and 8 px


class Biased(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


class Block(nn.Module):
    """x plus a grouped bottleneck that is twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), Biased(wide), nn.LeakyReLU(0.2),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide // 4, bias=False), Biased(wide), nn.LeakyReLU(0.2),
            nn.Conv2d(wide, width, 1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.layers(x)
        return x + changed


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(WIDTHS[0], 4, 4))
        self.scale = nn.Linear(LATENT, WIDTHS[0], bias=False)
        self.blocks = nn.ModuleList(Block(width) for width in WIDTHS)
        self.rgb = nn.Conv2d(WIDTHS[-1], 3, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.blocks[0](self.basis * self.scale(z)[:, :, None, None])
        image: Tensor = self.rgb(self.blocks[1](doubled(h)))
        return image


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Conv2d(3, WIDTHS[-1], 1, bias=False)
        self.blocks = nn.ModuleList(Block(width) for width in reversed(WIDTHS))
        self.end = nn.Conv2d(WIDTHS[0], WIDTHS[0], 4, groups=WIDTHS[0], bias=False)
        self.score = nn.Linear(WIDTHS[0], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = halved(self.blocks[0](self.rgb(x)))
        score: Tensor = self.score(self.end(self.blocks[1](h)).flatten(1))
        return score


def halved(x: Tensor) -> Tensor:
    """Images at half their size through the filter [1, 3, 3, 1] / 8 in both directions."""
    return functional.conv2d(x, filter_of(x), stride=2, padding=1, groups=x.shape[1])


def doubled(x: Tensor) -> Tensor:
    """Images at twice their size through the same filter, as bright as before."""
    return functional.conv_transpose2d(x, 4 * filter_of(x), stride=2, padding=1, groups=x.shape[1])


def filter_of(x: Tensor) -> Tensor:
    taps = torch.tensor([1, 3, 3, 1], dtype=x.dtype) / 8
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


def penalty(scores: Tensor, at: Tensor) -> Tensor:
    """The mean over the batch of the squared length of the gradient of each score."""
    (gradient,) = torch.autograd.grad(scores.sum(), at, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def cosine(share: float, start: float, end: float) -> float:
    """From start to end along half a cosine."""
    return end + (1 + math.cos(math.pi * share)) / 2 * (start - end)


def step(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Adam], number: int
) -> dict[str, float]:
    """One step by hand: the critic, then the generator against fresh pairs, then the average."""
    g, d, share = networks["G"], networks["D"], number / LENGTH
    x, z, x2, z2 = drawn(number)
    for optimizer in optimizers.values():
        optimizer.param_groups[0].update(lr=cosine(share, 1e-3, 2.5e-4), betas=(0.0, cosine(share, 0.9, 0.99)))
    real, fake = x.clone().requires_grad_(), g(z).detach().requires_grad_()
    real_score, fake_score = d(real), d(fake)
    sizes = penalty(real_score, real) + penalty(fake_score, fake)
    judge = functional.softplus(fake_score - real_score).mean() + cosine(share, 2, 0.2) / 2 * sizes
    move(judge, d, optimizers["critic"])
    fool = functional.softplus(d(x2) - d(g(z2))).mean()
    move(fool, g, optimizers["generator"])
    decay = 0.5 ** (BATCH / max(cosine(share, 0, 2e3), 1e-8))
    with torch.no_grad():
        for mean, parameter in zip(networks["Gs"].parameters(), g.parameters(), strict=True):
            mean.lerp_(parameter, 1 - decay)
    return {"judge": float(judge.detach()), "fool": float(fool.detach())}


def move(loss: Tensor, network: nn.Module, optimizer: torch.optim.Adam) -> None:
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def drawn(number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, x2 = (each.clamp(-1, 1) for each in normals(2, BATCH, 3, SIZE, SIZE, seed=number))
    z, z2 = normals(2, BATCH, LATENT, seed=1000 + number)
    return x, z, x2, z2


@PLANS
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    schedules = {"rate": "cosine(1e-3, 2.5e-4)", "gamma": "cosine(2, 0.2)", "memory": "cosine(0, 2e3)"}
    changes = {f"params__{name}": schedule for name, schedule in schedules.items()}
    spec = load("r3gan", train__length=f"{LENGTH} steps", **changes)
    engine = trainer(spec, share=share, merge=merge)
    with torch.no_grad():
        for number, parameter in enumerate(chain(*(engine.networks[name].parameters() for name in "GD"))):
            parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.2)
    networks = {"G": Generator().double(), "D": Discriminator().double(), "Gs": Generator().double()}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started = snapshot(networks)
    optimizers = {
        group: torch.optim.Adam(networks[name].parameters()) for group, name in (("generator", "G"), ("critic", "D"))
    }
    for number in range(STEPS):
        x, z, x2, z2 = drawn(number)
        found = engine.step({"x": [x, x2], "z": [z, z2]})
        expected = step(networks, optimizers, number)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9)) < 1e-9


def test_a_generator_is_a_resized_constant_when_training_begins() -> None:
    g = trainer(load("r3gan")).networks["G"]
    (z,) = normals(1, BATCH, LATENT)
    scaled = g.get_parameter("basis.learned_constant.value") * g.get_submodule("scale.linear")(z)[:, :, None, None]
    expected = g.get_submodule("rgb.conv2d")(doubled(scaled))
    assert deviation(g(z).detach(), expected.detach()) < 1e-12


def test_weights_start_with_the_gain_of_the_paper() -> None:
    d = gangraph.Trainer(gangraph.load("r3gan", set={"params.widest": 256, "params.base": 8192})).networks["D"]
    blocks, gain = 3, math.sqrt(2 / 1.04)
    for path, inputs in (("widen_2.conv2d", 256), ("mix_2.conv2d", 16 * 9)):
        weight = d.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        assert float(weight.detach().std()) == pytest.approx(gain * blocks**-0.25 / math.sqrt(inputs), rel=0.02)
    assert not d.get_parameter("narrow_2.conv2d.weight").any()


def test_its_schedules_are_the_half_cosines_of_the_code() -> None:
    """Numbers at 5 of the 20 million images, computed from the released schedule."""
    spec = gangraph.load("r3gan", profile="paper", variant="ffhq64").phases[0]
    options = spec.optimizers["critic"].options
    clock = Clock(seen=5_000_000, progress=0.05)
    assert evaluate(options["lr"], clock) == pytest.approx(1.7803e-4, rel=1e-4)
    assert evaluate_option(options["betas"], clock) == pytest.approx((0, 0.91318), rel=1e-4)
    average = spec.networks["Gs"]
    assert isinstance(average, AverageSpec)
    assert math.log(0.5) / math.log(evaluate(average.decay, clock)) * 256 == pytest.approx(73_223, rel=1e-4)
