"""AC-GAN: the engine trains as the loop by hand does, in float64 and in every plan."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.reference.acgan import AcganLoop, Discriminator, Generator
from tests.support import copy_parameters, deviation, load, parameter_deviations, snapshot, trainer

STEPS = 4
TOLERANCE = 1e-9
STILL = 1e-7  # what rounding may move a parameter whose gradient is 0, such as a bias before a normalisation
PLANS = [(True, True), (False, True), (True, False), (False, False)]


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=["as planned", "merged", "shared", "plain"])
def test_engine_agrees_with_the_loop_by_hand(share: bool, merge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = trainer(load("acgan", params__rate=2e-4), share=share, merge=merge)
    networks: dict[str, nn.Module] = {"G": Generator(100, 10, 2, 16, 1), "D": Discriminator(10, 2, 16, 1)}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network.double())
    loop = AcganLoop(networks["G"], networks["D"], 2e-4)
    drawn: list[Tensor] = []
    draw = engine.engine.draws.noise

    def noise(*arguments: Any) -> Tensor:
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(engine.engine.draws, "noise", noise)
    generator = torch.Generator().manual_seed(1)
    started, found = snapshot(networks), {}
    for step in range(STEPS):
        x = 2 * torch.rand(4, 1, 16, 16, generator=generator, dtype=torch.float64) - 1
        z = torch.randn(4, 100, generator=generator, dtype=torch.float64)
        label, wanted = (torch.randint(10, (4,), generator=generator) for _ in "ab")
        drawn.clear()
        losses = engine.step({"x": {"image": x, "label": label}, "z": z, "c": wanted})
        assert len(drawn) == 18
        expected = loop.step(x, label, z, wanted, (drawn[:6], drawn[6:12], drawn[12:]))
        assert losses.keys() == expected.keys()
        found |= {f"{name} of step {step}": deviation(losses[name], expected[name]) for name in expected}
    found |= dict(parameter_deviations(engine, networks, started, still=STILL))
    assert {name: d for name, d in found.items() if not d <= TOLERANCE} == {}
