"""InfoGAN: the engine trains as the loop by hand does, in float64 and in every plan; and what its codes are."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gangraph import Trainer
from gangraph.vocabulary.ops import filled
from tests.reference.infogan import Generator, InfoganLoop, Recognition, Trunk
from tests.support import copy_parameters, deviation, load, parameter_deviations, snapshot, trainer

STEPS = 4
TOLERANCE = 1e-9
STILL = 1e-7  # what rounding may move a parameter whose gradient is 0, such as a bias before a normalisation
PLANS = [(True, True), (False, True), (True, False), (False, False)]
RATES = {"params__rate": 1e-3, "params__rate_d": 2e-4}


def pair(share: bool, merge: bool) -> tuple[Trainer, dict[str, nn.Module]]:
    engine = trainer(load("infogan", **RATES), share=share, merge=merge)
    networks = {
        "G": Generator(62, 10, 2, 8, 8, 1),
        "T": Trunk(2, 8, 8, 1),
        "D": nn.Linear(8, 1),
        "Q": Recognition(10, 8),
    }
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network.double())
    return engine, networks


def draws(generator: torch.Generator) -> dict[str, Any]:
    """Images in [0, 1], and noise and codes for each of two updates."""

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1

    c1 = [torch.randint(10, (4,), generator=generator) for _ in "ab"]
    continuous = {name: [uniform(4, 1) for _ in "ab"] for name in ("c2", "c3")}
    return {"x": 0.5 * uniform(4, 1, 8, 8) + 0.5, "z": [uniform(4, 62) for _ in "ab"], "c1": c1, **continuous}


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=["as planned", "merged", "shared", "plain"])
def test_engine_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    engine, networks = pair(share, merge)
    loop = InfoganLoop(*(networks[name] for name in "GTDQ"))
    generator = torch.Generator().manual_seed(1)
    started = snapshot(networks)
    found: dict[str, float] = {}
    for step in range(STEPS):
        given = draws(generator)
        codes = [tuple(given[name][k] for name in ("c1", "c2", "c3")) for k in range(2)]
        digits = {"image": given["x"], "label": torch.zeros(4, dtype=torch.int64)}
        losses = engine.step({"digits": digits, **{name: given[name] for name in ("z", "c1", "c2", "c3")}})
        expected = loop.step(given["x"], tuple(given["z"]), tuple(codes))
        assert losses.keys() == expected.keys()
        found |= {f"{name} of step {step}": deviation(losses[name], expected[name]) for name in expected}
    found |= dict(parameter_deviations(engine, networks, started, still=STILL))
    assert {name: d for name, d in found.items() if not d <= TOLERANCE} == {}


def test_the_recognition_network_is_trained_by_the_discriminator_alone() -> None:
    """At a rate of 0 for the discriminator, the trunk and both heads stay, whatever the generator does."""
    engine = trainer(load("infogan", params__rate=1e-3, params__rate_d=0))
    before = {name: [p.clone() for p in network.parameters()] for name, network in engine.networks.items()}
    engine.step()
    moved = {
        name
        for name, network in engine.networks.items()
        if any(not torch.equal(*both) for both in zip(before[name], network.parameters(), strict=True))
    }
    assert moved == {"G"}


def test_the_bound_of_a_recognition_that_knows_nothing_is_zero_and_grows_to_the_entropy() -> None:
    knows = trainer(load("infogan"))
    with torch.no_grad():
        for parameter in knows.networks["Q"].parameters():
            parameter.zero_()
    losses = knows.step()
    # The generator's step comes after one step of Q at a small rate, from where every guess is the prior.
    assert abs(losses["bound"]) < 0.02
    assert abs(losses["bound_2"]) < 0.02


def test_filled_is_one_number_everywhere_and_keeps_the_type() -> None:
    labels, codes = torch.tensor([4, 0, 7]), torch.tensor([[0.5], [float("nan")]], dtype=torch.float64)
    assert torch.equal(filled(labels, 2), torch.tensor([2, 2, 2]))
    assert torch.equal(filled(codes, -0.5), torch.full((2, 1), -0.5, dtype=torch.float64))
