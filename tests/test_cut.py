"""Contrast between patches, in float64 against a loop that is written here by hand."""

import math
from collections.abc import Mapping
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from tests.support import PLANS, copy_parameters, load, move, normals, parameter_deviations, snapshot, trainer, worst

STEPS, BATCH, SIZE, FILTERS, PATCHES, WIDTH, MAPS = 10, 2, 16, 2, 5, 4, 5
PLACES = [(SIZE + 6) ** 2, SIZE**2, (SIZE // 2) ** 2, (SIZE // 4) ** 2, (SIZE // 4) ** 2]


def depthwise(taps: list[float], x: Tensor) -> Tensor:
    """The same square filter for each channel of x."""
    row = torch.tensor(taps, dtype=x.dtype)
    return (torch.outer(row, row) / row.sum() ** 2).expand(x.shape[1], 1, -1, -1)


def halved(x: Tensor) -> Tensor:
    """[1, 2, 1] in both directions over reflected borders, and every other pixel of it."""
    return functional.conv2d(
        functional.pad(x, (1, 1, 1, 1), "reflect"), depthwise([1, 2, 1], x), stride=2, groups=x.shape[1]
    )


def doubled(x: Tensor) -> Tensor:
    """A transposed convolution with [1, 3, 3, 1] over repeated borders, without its margin."""
    wide = functional.pad(x, (1, 1, 1, 1), "replicate")
    weight = 4 * depthwise([1, 3, 3, 1], x)
    return functional.conv_transpose2d(wide, weight, stride=2, groups=x.shape[1])[..., 3:-3, 3:-3]


def normed(x: Tensor) -> Tensor:
    return torch.relu(functional.instance_norm(x))


class Generator(nn.Module):
    """One block between two halvings and two doublings."""

    def __init__(self) -> None:
        super().__init__()
        f = FILTERS
        sizes = [(3, f, 7), (f, 2 * f, 3), (2 * f, 4 * f, 3), *[(4 * f, 4 * f, 3)] * 2, (4 * f, 2 * f, 3)]
        self.convs = nn.ModuleList(nn.Conv2d(*size) for size in [*sizes, (2 * f, f, 3), (f, 3, 7)])

    def maps(self, x: Tensor) -> list[Tensor]:
        first, second, third, inner, outer = self.convs[:5]
        padded = functional.pad(x, (3, 3, 3, 3), "reflect")
        whole = second(functional.pad(normed(first(padded)), (1, 1, 1, 1)))
        half = third(functional.pad(halved(normed(whole)), (1, 1, 1, 1)))
        quarter = halved(normed(half))
        changed = normed(inner(functional.pad(quarter, (1, 1, 1, 1), "reflect")))
        block = quarter + functional.instance_norm(outer(functional.pad(changed, (1, 1, 1, 1), "reflect")))
        return [padded, whole, half, block, block]

    def forward(self, x: Tensor) -> Tensor:
        h = self.maps(x)[-1]
        for conv in self.convs[5:7]:
            h = normed(conv(functional.pad(doubled(h), (1, 1, 1, 1))))
        return torch.tanh(self.convs[7](functional.pad(h, (3, 3, 3, 3), "reflect")))


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = [(3, FILTERS), (FILTERS, 2 * FILTERS), (2 * FILTERS, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(*width, 4, padding=1) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        h = halved(functional.leaky_relu(self.convs[0](x), 0.2))
        h = functional.leaky_relu(functional.instance_norm(self.convs[1](h)), 0.2)
        score: Tensor = self.convs[2](h)
        return score


def head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def vectors(head: nn.Module, maps: Tensor, places: Tensor) -> Tensor:
    """What stands at each sample's places, as vectors of length 1: [B, S, width]."""
    rows = [image.flatten(1)[:, at].T for image, at in zip(maps, places, strict=True)]
    return functional.normalize(head(torch.stack(rows)), dim=2)


def contrast(query: Tensor, key: Tensor) -> Tensor:
    """Cross entropy of the patch of the same place, first, among those of other places of the same image."""
    alike = query @ key.detach().transpose(1, 2)
    own = torch.eye(alike.shape[1], dtype=torch.bool).expand_as(alike)
    scores = torch.cat([alike[own].reshape(-1, 1), alike.masked_fill(own, -10).flatten(0, 1)], 1) / 0.07
    return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))


class Loop:
    def __init__(self, networks: Mapping[str, nn.Module], *, mirrors: bool) -> None:
        self.g, self.d = networks["G"], networks["D"]
        self.heads = [networks[f"F[{level}]"] for level in range(MAPS)]
        self.mirrors = mirrors
        trained = list(chain(self.g.parameters(), *(each.parameters() for each in self.heads)))
        self.translators = torch.optim.Adam(trained, lr=2e-4, betas=(0.5, 0.999))
        self.critic = torch.optim.Adam(self.d.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def between(self, made: Tensor, source: Tensor, places: list[Tensor], coin: Tensor | None = None) -> Tensor:
        """The mean over the maps of the contrast between an image and what it was made from."""
        terms = []
        for each, found, true, at in zip(self.heads, self.g.maps(made), self.g.maps(source), places, strict=True):  # type: ignore[operator]
            turned = found if coin is None else torch.where(coin[..., None, None] > 0, found.flip(3), found)
            terms.append(contrast(vectors(each, turned, at), vectors(each, true, at)))
        return torch.stack(terms).mean()

    def step(self, x: Tensor, y: Tensor, at_x: list[Tensor], at_y: list[Tensor], coin: Tensor) -> dict[str, Tensor]:
        seen = torch.where(coin[..., None, None] > 0, x.flip(3), x) if self.mirrors else x
        fake = self.g(seen)
        judge = (self.d(fake.detach()).square().mean() + (self.d(y) - 1).square().mean()) / 2
        move(judge, self.critic)
        losses = {"judge": judge, "fool": (self.d(fake) - 1).square().mean()}
        if self.mirrors:
            losses["contrast"] = 10 * self.between(fake, x, at_x, coin)
        else:
            losses["contrast"] = self.between(fake, x, at_x)
            losses["identity"] = self.between(self.g(y), y, at_y)
        move(sum(losses.values()) - judge, self.translators)
        return losses


def drawn(number: int) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor], Tensor]:
    x, y = (each.tanh() for each in normals(2, BATCH, 3, SIZE, SIZE, seed=number))
    chance = torch.Generator().manual_seed(number)
    at = [
        [torch.stack([torch.randperm(n, generator=chance)[:PATCHES] for _ in range(BATCH)]) for n in PLACES]
        for _ in range(2)
    ]
    coin = torch.randint(2, (BATCH, 1), generator=chance).double()
    return x, y, *at, coin


def by_hand(engine: gangraph.Trainer) -> dict[str, nn.Module]:
    """The same networks, whose weights are moved apart first so that each place looks different."""
    channels = [3, 2 * FILTERS, 4 * FILTERS, 4 * FILTERS, 4 * FILTERS]
    networks: dict[str, nn.Module] = {"G": Generator(), "D": Discriminator()}
    networks |= {f"F[{level}]": head(channels[level]) for level in range(MAPS)}
    for number, (name, network) in enumerate(networks.items()):
        with torch.no_grad():
            for place, parameter in enumerate(engine.networks[name].parameters()):
                parameter.add_(normals(1, *parameter.shape, seed=100 * number + place)[0], alpha=0.3)
        copy_parameters(engine.networks[name], network.double())
    return networks


@PLANS
@pytest.mark.parametrize("variant", [None, "fastcut"])
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool, variant: str | None) -> None:
    engine = trainer(load("cut", variant=variant, params__rate=2e-4), share=share, merge=merge)
    networks = by_hand(engine)
    started = snapshot(networks)
    loop = Loop(networks, mirrors=variant == "fastcut")
    for number in range(STEPS):
        x, y, at_x, at_y, coin = drawn(number)
        given: dict[str, object] = {"x": x, "y": y} | {f"at_x[{level}]": at for level, at in enumerate(at_x)}
        more = {"coin": coin} if loop.mirrors else {f"at_y[{level}]": at for level, at in enumerate(at_y)}
        found = engine.step({**given, **more})  # type: ignore[arg-type]
        expected = {name: float(loss.detach()) for name, loss in loop.step(x, y, at_x, at_y, coin).items()}
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-8)) < 1e-9


def test_equal_patches_cost_the_logarithm_of_their_number() -> None:
    engine = trainer(load("cut"))
    same = functional.normalize(torch.ones(BATCH, 256, WIDTH, dtype=torch.float64), dim=2)
    assert float(engine.networks["nce"](same, same)) == pytest.approx(math.log(256))


def test_a_critic_that_scores_zero_costs_one_half_and_its_adversary_one() -> None:
    engine = trainer(load("cut", params__rate=0))
    with torch.no_grad():
        for parameter in engine.networks["D"].parameters():
            parameter.zero_()
    losses = engine.step()
    assert (losses["judge"], losses["fool"]) == (0.5, 1)


def test_heads_take_every_place_of_their_map() -> None:
    engine = trainer(load("cut"))
    (x,) = normals(1, BATCH, 3, SIZE, SIZE)
    maps = Generator().double().maps(x)
    for level, (found, places) in enumerate(zip(maps, PLACES, strict=True)):
        at = torch.arange(places).expand(BATCH, -1)
        made = engine.networks[f"F[{level}]"](found, at)
        assert made.shape == (BATCH, found.shape[2] * found.shape[3], WIDTH)
