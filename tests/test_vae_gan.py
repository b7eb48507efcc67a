"""VAE/GAN trains as the loop by hand does, with and without gates."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gangraph import Trainer
from tests.reference.vae_gan import Decoder, Discriminator, Encoder, VaeGanLoop
from tests.support import copy_parameters, deviation, load, trainer

STEPS = 6
TOLERANCE = 1e-8
LOW, HIGH = 0.64, 0.78  # close to where the costs are, so that each gate is shut in some step


def networks(engine: Trainer) -> tuple[Encoder, Decoder, Discriminator]:
    made = (Encoder([2, 3, 4], 16, 6, 3), Decoder([4, 3, 3, 2], 16, 3), Discriminator([2, 3, 4, 4], 16, 5))
    for name, network in zip(("Enc", "Dec", "D"), made, strict=True):
        copy_parameters(engine.networks[name], network.double())
    return made


def draws(count: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        {"photos": normal(4, 3, 16, 16).tanh(), "z.normal": normal(4, 3), "fake.normal": normal(4, 3)}
        for _ in range(count)
    ]


def compare(engine: Trainer, loop: VaeGanLoop) -> None:
    for given in draws(STEPS):
        found, expected = engine.step(given), loop.step(*given.values())
        for name, value in expected.items():
            assert deviation(found[name], value) <= TOLERANCE
    by_hand = (loop.encoder, loop.decoder, loop.discriminator)
    for name, network in zip(("Enc", "Dec", "D"), by_hand, strict=True):
        for mine, theirs in zip(engine.networks[name].parameters(), network.parameters(), strict=True):
            assert deviation(mine.detach(), theirs.detach()) <= TOLERANCE


@pytest.mark.parametrize("options", [{}, {"share": False, "merge": False}], ids=["as planned", "plain"])
def test_three_sums_at_the_same_parameters_are_the_loop_by_hand(options: dict[str, Any]) -> None:
    engine = trainer(load("vae_gan", params__rate=1e-3, params__gamma=1e-2), **options)
    compare(engine, VaeGanLoop(*networks(engine), gamma=1e-2, lr=1e-3))


@pytest.mark.parametrize("options", [{}, {"share": False, "merge": False}], ids=["as planned", "plain"])
def test_gates_of_the_released_code_shut_and_open_as_by_hand(options: dict[str, Any]) -> None:
    spec = load(
        "vae_gan", variant="released_code", params__gamma=1e-2, params__low=LOW, params__high=HIGH, params__rate=1e-3
    )
    engine = trainer(spec, **options)

    def decoder_steps(real: float, fake: float) -> bool:
        return max(real, fake) <= HIGH or min(real, fake) < LOW

    def discriminator_steps(real: float, fake: float) -> bool:
        return min(real, fake) >= LOW or max(real, fake) > HIGH

    loop = VaeGanLoop(
        *networks(engine), gamma=1e-2, lr=1e-3, decay=1e-5, epsilon=1e-3, gates=(decoder_steps, discriminator_steps)
    )
    compare(engine, loop)
    assert {False} < {steps for decision in loop.decisions for steps in decision}
    shares = engine.engine.open_shares()
    assert shares["decoder"] == sum(decoder for decoder, _ in loop.decisions) / STEPS
    assert shares["discriminator"] == sum(critic for _, critic in loop.decisions) / STEPS


def test_no_sum_reaches_the_networks_of_another() -> None:
    engine = trainer(load("vae_gan", params__rate=1e-3, params__gamma=0))
    plan = engine.engine.program.plan
    (update,) = plan.updates
    nodes = plan.checked.graph.nodes
    below = {each.group: plan.checked.graph.below(each.loss) for each in update.graph.objectives}
    costs = {
        name for name, node in plan.checked.graph.losses.items() if name.endswith("cost") and node in below["encoder"]
    }
    assert costs == set()
    assert plan.checked.graph.losses["like"] not in below["discriminator"]
    assert all(nodes[name].target != "kl" for name in below["decoder"])
