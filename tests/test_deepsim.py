"""Images from features, in float64 against a loop that is written here by hand; gates stop either player."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.language.expression.schedule import Clock, evaluate
from tests.support import PLANS, copy_parameters, load, normals, parameter_deviations, snapshot, trainer, worst

STEPS, BATCH, SIZE, DECAY = 16, 4, 16, 4e-4
IMAGE, FEATURE, ADVERSARY = 0.1, 0.3, 2.0  # the weights of the three terms
WEIGHTS: dict[str, Any] = {
    "params__weight_x": IMAGE,
    "params__weight_c": FEATURE,
    "params__weight_d": ADVERSARY,
    "params__rate": 1e-2,
}


class Known(nn.Module):
    """The frozen network: the maps that are inverted, and the score by which images are compared."""

    def __init__(self) -> None:
        super().__init__()
        down = [nn.Conv2d(n, m, 5, stride=2, padding=2, bias=False) for n, m in ((2, 3), (3, 3), (3, 2))]
        self.maps = nn.Sequential(
            nn.Conv2d(3, 2, 5, padding=2), nn.ReLU(), down[0], nn.ReLU(), down[1], nn.ReLU(), down[2]
        )  # fmt: skip
        self.score = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(8, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maps(x)
        return maps.flatten(1), self.score(maps)


def generator() -> nn.Module:
    act = nn.LeakyReLU(0.3)
    return nn.Sequential(
        nn.Linear(8, 6), act, nn.Linear(6, 32), act, nn.Unflatten(1, (2, 4, 4)),
        nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1, bias=False), act,
        nn.Conv2d(3, 4, 3, padding=1, bias=False), act,
        nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, bias=False),
    )  # fmt: skip


class Critic(nn.Module):
    """Scores of two classes, real and made; its two masks of dropout are given."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.ReLU())
        self.code = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU())
        self.hidden, self.last = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor, code: Tensor, masks: tuple[Tensor, Tensor]) -> Tensor:
        joined = torch.cat([self.image(x).mean((2, 3)), self.code(code)], 1) * masks[0]
        scores: Tensor = self.last(functional.relu(self.hidden(joined)) * masks[1])
        return scores


@dataclass
class Switch:
    """On from when a number rises above `high` until it falls below `low`."""

    low: float
    high: float
    on: bool
    seen: list[bool] = field(default_factory=list)

    def decide(self, number: float) -> bool:
        self.on = number > self.high or (self.on and number >= self.low)
        self.seen.append(self.on)
        return self.on


@dataclass
class Loop:
    """One step: the critic if it is on, then the generator against what the critic has become, if that one is on."""

    networks: Mapping[str, nn.Module]
    critic_on: Switch
    generator_far_ahead: Switch | None = None  # in the released code, where both decide by the ratio of the step before
    ratio: float = 1.0

    def __post_init__(self) -> None:
        late = self.generator_far_ahead is not None
        self.steps_g = torch.optim.Adam(self.networks["G"].parameters(), lr=1e-2)
        self.steps_d = torch.optim.Adam(self.networks["D"].parameters(), lr=1e-2, weight_decay=DECAY if late else 0)

    def step(self, x: Tensor, masks: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        known, g, d = self.networks["C"], self.networks["G"], self.networks["D"]
        with torch.no_grad():
            code, target = known(x)
        made = g(code) / 4
        fake = d(made.detach(), code, masks[1])
        real_cost, fake_cost = cost(d(x, code, masks[0]), 0), cost(fake, 1)
        both = float((real_cost + fake_cost).detach())
        before = both / float(cost(fake, 0).detach()) if self.generator_far_ahead is None else self.ratio
        if self.critic_on.decide(before):
            move(ADVERSARY * (real_cost + fake_cost), d, self.steps_d)
        fool = cost(d(made, code, masks[2]), 0)
        pixels = IMAGE * 0.5 * (made - x).square().sum() / len(x)
        features = FEATURE * 0.5 * (known(made)[1] - target).square().sum() / len(x)
        if self.generator_far_ahead is None or not self.generator_far_ahead.decide(before):
            move(pixels + features + ADVERSARY * fool, g, self.steps_g)
        self.ratio = both / float(fool.detach())
        losses = {"pixels": pixels, "features": features, "fool": fool, "real_cost": real_cost, "fake_cost": fake_cost}
        told = {} if self.generator_far_ahead is None else {"ratio": self.ratio}
        return {**{name: float(loss.detach()) for name, loss in losses.items()}, **told}


def move(loss: Tensor, network: nn.Module, optimizer: torch.optim.Adam) -> None:
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def cost(scores: Tensor, label: int) -> Tensor:
    return -scores.log_softmax(1)[:, label].mean()


def given(number: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """A batch, and masks of the critic for it, for what is made of it, and for that again in the generator's turn."""
    (x,) = normals(1, BATCH, 3, SIZE, SIZE, seed=number)
    first, second = normals(3, BATCH, 6, seed=100 + number), normals(3, BATCH, 5, seed=200 + number)
    return x.tanh(), [((a > 0).double() * 2, (b > 0).double() * 2) for a, b in zip(first, second, strict=True)]


def compare(engine: gangraph.Trainer, critic_on: Switch, generator_far_ahead: Switch | None = None) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(chain(*(engine.networks[name].parameters() for name in "CGD"))):
            parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.4)
    networks = {"C": Known().double(), "G": generator().double(), "D": Critic().double()}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started = snapshot(networks)
    loop = Loop(networks, critic_on, generator_far_ahead)
    for number in range(STEPS):
        x, masks = given(number)
        calls = {"D(x, known)": masks[:1], "D(rec, known)": masks[1:]}
        numbers = {
            f"{call}:top.{layer}": [each[place] for each in those]
            for call, those in calls.items()
            for place, layer in enumerate(("dropout", "dropout_2"))
        }
        found, expected = engine.step({"x": x, **numbers}), loop.step(x, masks)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9)) < 1e-9
    assert not {path for path, value in snapshot({"C": networks["C"]}).items() if not torch.equal(value, started[path])}


@PLANS
@pytest.mark.parametrize("low_high", [(0.0, 0.5), (1.2, 1.6)], ids=["always open", "shut at times"])
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool, low_high: tuple[float, float]) -> None:
    low, high = low_high
    when = f"hysteresis((real_cost + fake_cost) / fool, low={low}, high={high})"
    engine = trainer(load("deepsim", train__step__0__when=when, **WEIGHTS), share=share, merge=merge)
    critic_on = Switch(low, high, on=True)
    compare(engine, critic_on)
    assert set(critic_on.seen) == ({True} if low == 0 else {True, False})
    assert engine.engine.open_shares()["critic"] == sum(critic_on.seen) / STEPS


@PLANS
def test_the_released_code_stops_either_of_them_by_the_ratio_of_the_step_before(share: bool, merge: bool) -> None:
    changes: dict[str, Any] = {
        **WEIGHTS,
        "train__step__0__when": "hysteresis(ratio, low=1.2, high=1.6)",
        "train__step__1__when": "not hysteresis(ratio, low=1.2, high=6, open=false)",
    }
    engine = trainer(load("deepsim", variant="official_code", **changes), share=share, merge=merge)
    critic_on, far_ahead = Switch(1.2, 1.6, on=True), Switch(1.2, 6.0, on=False)
    compare(engine, critic_on, far_ahead)
    assert {True, False} == set(critic_on.seen) == set(far_ahead.seen)
    assert critic_on.seen != far_ahead.seen
    assert engine.engine.open_shares() == pytest.approx(
        {"critic": sum(critic_on.seen) / STEPS, "generator": 1 - sum(far_ahead.seen) / STEPS}
    )


def test_a_critic_starts_undecided_so_that_it_is_not_stopped() -> None:
    """Its last layers start at a tenth of He's rule: each cost is log 2, and the ratio 2."""
    losses = trainer(gangraph.load("deepsim", set={"networks.C": "feature_discriminator(norm=none)", **SMALL})).step()
    for name in ("real_cost", "fake_cost", "fool"):
        assert losses[name] == pytest.approx(0.6931, abs=0.02)


SMALL = {
    "values.code": "flatten(layers.features)",
    "values.target": "layers.features",
    "values.reached": "C(rec).features",
    "evaluate.values.code_again": "flatten(C(rec).features)",
}


def test_distances_are_sums_halved_and_the_rate_halves_as_in_the_released_code() -> None:
    spec = gangraph.load("deepsim", profile="paper").phases[0]
    rate = spec.optimizers["generator"].options["lr"]
    for step, halvings in ((0, 0), (299_999, 0), (300_000, 1), (500_000, 2), (700_000, 3), (900_000, 4)):
        assert evaluate(rate, Clock(step=step)) == pytest.approx(2e-4 * 0.5**halvings)
