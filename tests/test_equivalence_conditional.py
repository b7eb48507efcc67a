"""cgan and lsgan train as the loops by hand do, in float64 and in every plan."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from gangraph import Trainer
from tests.reference.conditional import Branches, cgan_step, lsgan_step
from tests.reference.networks import DcganDiscriminator, DcganGenerator
from tests.support import copy_parameters, deviation, load, parameter_deviations, snapshot, trainer

STEPS = 5
TOLERANCE = 1e-9
STILL = 1e-8  # what rounding may move a parameter whose gradient is 0
PLANS = [(True, True), (False, True), (True, False), (False, False)]

Step = Callable[[Tensor, Tensor, Tensor], dict[str, float]]
plans = pytest.mark.parametrize(("share", "merge"), PLANS, ids=["as planned", "merged", "shared", "plain"])


def compare(engine: Trainer, networks: Mapping[str, nn.Module], step: Step, size: int, batch: int, low: float) -> None:
    """Five steps from the same weights and draws: every loss and every parameter agrees."""
    generator = torch.Generator().manual_seed(1)
    found: dict[str, float] = {}
    started = snapshot(networks)
    for number in range(STEPS):
        x = low + (1 - low) * torch.rand(batch, 1, size, size, generator=generator, dtype=torch.float64)
        z = low + (1 - low) * torch.rand(batch, 100, generator=generator, dtype=torch.float64)
        label = torch.randint(10, (batch,), generator=generator)
        source = next(name for name in engine.engine.graph.sources if name != "z")
        losses, expected = engine.step({source: {"image": x, "label": label}, "z": z}), step(x, z, label)
        assert losses.keys() == expected.keys()
        found |= {f"{name} of step {number}": deviation(losses[name], expected[name]) for name in expected}
    found |= dict(parameter_deviations(engine, networks, started, still=STILL))
    assert {name: d for name, d in found.items() if not d <= TOLERANCE} == {}


def paired(engine: Trainer, networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The networks by hand in float64, with the engine's weights."""
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network.double())
    return networks


@plans
def test_cgan_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("cgan", params__drop=0, let__rate=0.1, let__momentum=0.5), share=share, merge=merge)
    made = paired(engine, {
        "G": Branches((100, 10), (6, 6, 8), (1, 1), 64),
        "D": Branches((64, 10), (6, 4, 6), (5, 4), 1),
    })  # fmt: skip
    players = SGD(made["G"].parameters(), 0.1, 0.5), SGD(made["D"].parameters(), 0.1, 0.5)

    def step(x: Tensor, z: Tensor, label: Tensor) -> dict[str, float]:
        return cgan_step(made["G"], made["D"], players, x, z, label)

    compare(engine, made, step, size=8, batch=5, low=0)


@plans
@pytest.mark.parametrize(("variant", "targets"), [(None, (0, 1, 1)), ("pearson", (-1, 1, 0))])
def test_lsgan_agrees_with_the_loop_by_hand(
    variant: str | None, targets: tuple[float, float, float], share: bool, merge: bool
) -> None:
    engine = trainer(load("lsgan", variant=variant, params__rate=2e-4), share=share, merge=merge)
    made = paired(engine, {"G": DcganGenerator(100, 2, 1, 16), "D": DcganDiscriminator(2, 1, 16)})
    players = Adam(made["G"].parameters(), 2e-4, (0.5, 0.999)), Adam(made["D"].parameters(), 2e-4, (0.5, 0.999))

    def step(x: Tensor, z: Tensor, label: Tensor) -> dict[str, float]:
        return lsgan_step(made["G"], made["D"], players, x, z, targets)

    compare(engine, made, step, size=16, batch=4, low=-1)
