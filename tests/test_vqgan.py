"""Images as maps of codes, in float64 against a loop that is written here by hand."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    move,
    normals,
    parameter_deviations,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, GROUPS, FEATURES, CODES, START = 12, 3, 8, 2, 3, 5, 2
NARROW, WIDE = 4, 8  # channels at 8 and at 4 px
RATE = 1e-3


def normed(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


def conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.layers = nn.Sequential(
            normed(inputs), nn.SiLU(), conv(inputs, outputs), normed(outputs), nn.SiLU(), conv(outputs, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.skip(x) + self.layers(x)
        return added


class Attention(nn.Module):
    """One head, with every place of the map as a token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = normed(width)
        self.key, self.query, self.value, self.out = (conv(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm(x)
        q, k, v = (layer(n).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        heard = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        added: Tensor = x + self.out(heard)
        return added


class Down(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        smaller: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return smaller


class Up(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return larger


def encoder() -> nn.Module:
    return nn.Sequential(
        conv(3, NARROW), Block(NARROW, NARROW), Down(NARROW), Block(NARROW, WIDE), Attention(WIDE),
        Block(WIDE, WIDE), Attention(WIDE), Block(WIDE, WIDE),
        normed(WIDE), nn.SiLU(), conv(WIDE, FEATURES), conv(FEATURES, FEATURES, 1),
    )  # fmt: skip


def decoder() -> nn.Sequential:
    return nn.Sequential(
        conv(FEATURES, FEATURES, 1), conv(FEATURES, WIDE), Block(WIDE, WIDE), Attention(WIDE), Block(WIDE, WIDE),
        Block(WIDE, WIDE), Attention(WIDE), Block(WIDE, WIDE), Attention(WIDE),
        Up(WIDE), Block(WIDE, NARROW), Block(NARROW, NARROW), normed(NARROW), nn.SiLU(), conv(NARROW, 3),
    )  # fmt: skip


def critic() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 2, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(2, 4, 4, padding=1, bias=False), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 4, padding=1),
    )  # fmt: skip


def perceptual() -> nn.Module:
    """The frozen network whose features are compared."""
    down = [nn.Conv2d(n, m, 5, stride=2, padding=2, bias=False) for n, m in ((2, 3), (3, 3), (3, 2))]
    return nn.Sequential(
        nn.Conv2d(3, 2, 5, padding=2), nn.ReLU(), down[0], nn.ReLU(), down[1], nn.ReLU(), down[2]
    )  # fmt: skip


class Codes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(CODES, FEATURES)

    def forward(self, z: Tensor) -> Tensor:
        distance = (z.permute(0, 2, 3, 1)[..., None, :] - self.table.weight).square().sum(-1)
        chosen: Tensor = self.table(distance.argmin(-1))
        return chosen.permute(0, 3, 1, 2)


def far(x: Tensor, y: Tensor) -> Tensor:
    """The mean squared difference of vectors of root mean square 1."""
    one, other = (each / (each.square().mean(1, keepdim=True) + 1e-8).sqrt() for each in (x, y))
    return (one - other).square().mean()


def hand() -> dict[str, nn.Module]:
    made = {"E": encoder(), "G": decoder(), "D": critic(), "Z": Codes(), "V": perceptual()}
    return {name: network.double() for name, network in made.items()}


def give(engine: gangraph.Trainer, networks: Mapping[str, nn.Module]) -> None:
    """The engine's parameters; of the frozen network those that lead to its features."""
    for name in "EGDZ":
        copy_parameters(engine.networks[name], networks[name])
    with torch.no_grad():
        for mine, theirs in zip(networks["V"].parameters(), engine.networks["V"].parameters(), strict=False):
            mine.copy_(theirs)


def slopes(loss: Tensor, weight: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    length: Tensor = gradient.norm()
    return length


def step(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Adam], number: int, official: bool
) -> dict[str, float]:
    """One step by hand: encoder, codes and decoder, and then the critic."""
    e, g, d, codes, v = (networks[name] for name in "EGDZV")
    strength, small = (0.8, 1e-4) if official else (0.3, 1e-6)
    begun, x = float(number > START), drawn(number)
    z = e(x)
    chosen = codes(z)
    rec = g(z + (chosen - z).detach())
    near = (rec - x).abs().mean() + 0.05 * far(v(rec), v(x))
    fool = -d(rec).mean()
    last = g.get_parameter("14.weight")
    weight = strength * (slopes(near, last) / (slopes(fool, last) + small)).clamp(0, 1e4).detach()
    of_codes, of_features = (chosen - z.detach()).square().mean(), (z - chosen.detach()).square().mean()
    vq = 0.25 * of_codes + of_features if official else of_codes + 0.25 * of_features
    move(near + vq + begun * weight * fool, optimizers["coder"])
    with torch.no_grad():
        z = e(x)
        rec = g(codes(z))
    judge = begun / 2 * ((1 - d(x)).relu().mean() + (1 + d(rec)).relu().mean())
    move(judge, optimizers["critic"])
    losses = {"near": near, "fool": fool, "weight": weight, "judge": judge}
    return {name: float(loss.detach()) for name, loss in losses.items()}


def drawn(number: int) -> Tensor:
    return normals(1, BATCH, 3, SIZE, SIZE, seed=number)[0].clamp(-1, 1)


def spread(engine: gangraph.Trainer) -> None:
    """Codes as far apart as features are, so that several are chosen."""
    with torch.no_grad():
        engine.networks["Z"].get_parameter("table.codebook.weight").copy_(normals(1, CODES, FEATURES, seed=9)[0])


@PLANS
@pytest.mark.parametrize("variant", [None, "official_code"])
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool, variant: str | None) -> None:
    engine = trainer(load("vqgan", variant=variant, params__rate=RATE), share=share, merge=merge)
    spread(engine)
    networks = hand()
    give(engine, networks)
    started = snapshot(networks)
    coder = [parameter for name in "EZG" for parameter in networks[name].parameters()]
    optimizers = {
        "coder": torch.optim.Adam(coder, RATE, (0.5, 0.9)),
        "critic": torch.optim.Adam(networks["D"].parameters(), RATE, (0.5, 0.9)),
    }
    for number in range(STEPS):
        found = engine.step({"x": drawn(number)})
        expected = step(networks, optimizers, number, official=variant is not None)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    del networks["V"]
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9)) < 1e-9


def test_the_critic_waits_and_then_begins_at_one() -> None:
    """A hinge of scores of 0 is 1 with the factor of a half; before its start nothing moves but running statistics."""
    engine = trainer(load("vqgan", params__rate=RATE))
    with torch.no_grad():
        for path in ("layers.conv2d_3.weight", "layers.conv2d_3.bias"):
            engine.networks["D"].get_parameter(path).zero_()
    before = {name: parameter.clone() for name, parameter in engine.networks["D"].named_parameters()}
    for number in range(START + 1):
        assert engine.step({"x": drawn(number)})["judge"] == 0
    assert all(torch.equal(before[name], parameter) for name, parameter in engine.networks["D"].named_parameters())
    assert engine.step({"x": drawn(0)})["judge"] == pytest.approx(1, abs=1e-12)


def test_codes_are_the_nearest_and_start_within_one_over_their_number() -> None:
    codes = trainer(load("vqgan")).networks["Z"]
    table = codes.get_parameter("table.codebook.weight")
    assert 0.5 / CODES < float(table.detach().abs().max()) <= 1 / CODES
    (z,) = normals(1, BATCH, FEATURES, 4, 4)
    places = z.permute(0, 2, 3, 1).reshape(-1, FEATURES)
    expected = table[torch.cdist(places, table).argmin(1)].reshape(BATCH, 4, 4, FEATURES).permute(0, 3, 1, 2)
    found = codes(z)
    assert deviation((found if isinstance(found, Tensor) else found[0]).detach(), expected.detach()) < 1e-12
