"""The game with a balance, in float64 against a loop that is written here by hand."""

from collections.abc import Mapping
from itertools import chain, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gangraph
from tests.support import PLANS, copy_parameters, load, normals, parameter_deviations, snapshot, trainer, worst

STEPS, BATCH, CODE, FILTERS, LEVELS, CHANNELS = 20, 4, 3, 2, 2, 1
SIZE, GAMMA, PACE = 8 * 2 ** (LEVELS - 1), 0.7, 0.4


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class Decoder(nn.Module):
    def __init__(self, *, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.first = nn.Linear(CODE, 64 * FILTERS)
        inputs = [FILTERS * (2 if skips and level else 1) for level in range(LEVELS)]
        self.levels = nn.ModuleList(
            nn.Sequential(conv(each, FILTERS), nn.ELU(), conv(FILTERS, FILTERS), nn.ELU()) for each in inputs
        )
        self.rgb = conv(FILTERS, CHANNELS)

    def forward(self, code: Tensor) -> Tensor:
        start = self.first(code).view(-1, FILTERS, 8, 8)
        h = self.levels[0](start)
        for level in self.levels[1:]:
            if self.skips:
                factor = h.shape[2] // 8
                h = torch.cat([h, start.repeat_interleave(factor, 2).repeat_interleave(factor, 3)], 1)
            h = level(h.repeat_interleave(2, 2).repeat_interleave(2, 3))
        image: Tensor = self.rgb(h)
        return image


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(CHANNELS, FILTERS), nn.ELU()]
        for before, after in pairwise([FILTERS, *(FILTERS * k for k in range(1, LEVELS + 1))]):
            layers += [conv(before, after), nn.ELU(), conv(after, after), nn.ELU()]
            if after < FILTERS * LEVELS:
                layers += [conv(after, after, stride=2), nn.ELU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * FILTERS * LEVELS, CODE))

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.layers(x)
        return code


def step(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Adam], k: float, x: Tensor, z: Tensor
) -> dict[str, float]:
    """Both players by the parameters before the step, then the balance by the errors that they saw."""
    g, e, r = (networks[name] for name in "GER")
    fake = g(z)
    real_error, fake_error = (r(e(x)) - x).abs().mean(), (r(e(fake)) - fake).abs().mean()
    judge = real_error - k * (r(e(fake.detach())) - fake.detach()).abs().mean()
    losses = {"critic": judge, "generator": fake_error}
    trained = {"critic": [*e.parameters(), *r.parameters()], "generator": [*g.parameters()]}
    gradients = {name: torch.autograd.grad(losses[name], trained[name], retain_graph=True) for name in losses}
    for name, optimizer in optimizers.items():
        for parameter, gradient in zip(trained[name], gradients[name], strict=True):
            parameter.grad = gradient
        optimizer.step()
    balance = k + PACE * (GAMMA * float(real_error.detach()) - float(fake_error.detach()))
    return {name: float(loss.detach()) for name, loss in (("judge", judge), ("fake_error", fake_error))} | {
        "k": min(max(balance, 0), 1)
    }


def drawn(number: int) -> tuple[Tensor, Tensor]:
    (x,) = normals(1, BATCH, CHANNELS, SIZE, SIZE, seed=number)
    return x.clamp(-1, 1), normals(1, BATCH, CODE, seed=99 + number)[0]


def batch(x: Tensor, z: Tensor) -> dict[str, Any]:
    """What the engine takes: digits have labels, which this game does not look at."""
    return {"x": {"image": x, "label": torch.zeros(BATCH, dtype=torch.int64)}, "z": z}


@pytest.mark.parametrize("variant", [None, "skips"])
@PLANS
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool, variant: str | None) -> None:
    spec = load("began", variant=variant, params__gamma=GAMMA, params__pace=PACE, params__rate=2e-3)
    engine = trainer(spec, share=share, merge=merge)
    decoders = {name: Decoder(skips=variant == "skips").double() for name in "GR"}
    networks = {"G": decoders["G"], "E": Encoder().double(), "R": decoders["R"]}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started = snapshot(networks)
    optimizers = {
        "critic": torch.optim.Adam(chain(networks["E"].parameters(), networks["R"].parameters()), lr=2e-3),
        "generator": torch.optim.Adam(networks["G"].parameters(), lr=2e-3),
    }
    k, balances = 0.0, []
    for number in range(STEPS):
        x, z = drawn(number)
        found, expected = engine.step(batch(x, z)), step(networks, optimizers, k, x, z)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
        k = expected["k"]
        balances.append(k)
    assert 0 < balances[0] < max(balances)  # else the balance would not have been tested
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9)) < 1e-9


def test_the_first_step_looks_at_the_data_alone() -> None:
    engine = trainer(load("began"))
    x, z = drawn(0)
    found = engine.step(batch(x, z))
    assert float(found["judge"]) == float(found["real_error"])
    balance = 0.1 * (0.9 * float(found["real_error"]) - float(found["fake_error"]))
    assert 0 < balance == pytest.approx(float(engine.states["k"]), rel=1e-12)


def test_the_balance_stays_between_0_and_1() -> None:
    low, high = (trainer(load("began", params__pace=100, params__gamma=gamma)) for gamma in (1e-6, 1.0))
    for engine, end in ((low, 0), (high, 1)):
        x, z = drawn(0)
        engine.step(batch(x, z))
        assert float(engine.states["k"]) == end


@pytest.mark.parametrize(
    ("size", "filters", "generator", "critic"),
    [(32, 128, 1_421_443, 7_128_643), (128, 128, 2_011_779, 23_221_443), (32, 64, 489_539, 2_310_979)],
)
def test_networks_of_other_sizes_have_the_counts_of_the_well_known_code(
    size: int, filters: int, generator: int, critic: int
) -> None:
    changes = {"params.size": size, "params.filters": filters}
    checked = gangraph.check_spec(gangraph.load("began", profile="paper", set=changes))[-1]
    counts = {name: model.parameters for name, model in checked.networks.items()}
    assert counts["G"] == generator
    assert counts["E"] + counts["R"] == critic
