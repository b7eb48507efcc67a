"""The spec with coupled layers, weight norm, label smoothing and historical averaging trains as the loop by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gangraph import Trainer
from tests.reference.minibatch import CoupledDiscriminator, CoupledGenerator, CoupledLoop
from tests.support import deviation, load, trainer, worst

STEPS, BATCH, RATE = 4, 4, 1e-3
PLANS = [(True, True), (False, True), (True, False), (False, False)]


def _noise_of(engine: Trainer, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """The random numbers of every call in the last step, in order, by the call's input."""
    draws, drawn = engine.engine.draws, dict[str, list[Tensor]]()
    draw = draws.noise

    def noise(call: str, *arguments: Any) -> Tensor:
        made = draw(call, *arguments)
        drawn.setdefault(engine.engine.graph.label(engine.engine.graph.nodes[call].inputs[0]), []).append(made)
        return made

    monkeypatch.setattr(draws, "noise", noise)
    return drawn


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=["as planned", "merged", "shared", "plain"])
def test_engine_agrees_with_the_loop_by_hand(share: bool, merge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = {"losses__fool": "settle_G - mean(softplus(fake_score))", "let__rate": RATE}
    spec = load("minibatch", variant="historical_averaging", **paper)
    engine = trainer(spec, share=share, merge=merge)
    torch.manual_seed(0)
    generator, discriminator = CoupledGenerator(100, 2).double(), CoupledDiscriminator(2, 10, 3, 2, 2**0.5).double()
    made = {"G": generator, "D": discriminator}
    for name, network in made.items():
        with torch.no_grad():
            for mine, theirs in zip(network.parameters_in_order(), engine.networks[name].parameters(), strict=True):
                assert mine.shape == theirs.shape
                mine.copy_(theirs)
    loop, drawn = CoupledLoop(generator, discriminator, RATE), _noise_of(engine, monkeypatch)
    found: dict[str, float] = {}
    moved = 0.0
    for step in range(STEPS):
        real, known = (torch.rand(BATCH, 1, 16, 16, dtype=torch.float64) * 2 - 1 for _ in range(2))
        labels = torch.randint(10, (BATCH,))
        zs = [torch.rand(BATCH, 100, dtype=torch.float64) for _ in range(4)]
        drawn.clear()
        losses = engine.step({
            "x": {"image": real, "label": labels},
            "known": {"image": known, "label": labels},
            "z": zs,
        })  # fmt: skip
        noises = {key.partition(".")[0]: _by_call(tensors) for key, tensors in drawn.items()}
        noises["real"] = noises.pop("real", noises.pop("x", []))
        expected = loop.step(real, known, labels, zs, noises)
        assert losses.keys() == expected.keys()
        found |= {f"{name} of step {step}": deviation(losses[name], expected[name]) for name in expected}
        moved = max(moved, expected["settle_G"])
    assert moved > 0
    for name, network in made.items():
        for (path, theirs), mine in zip(
            engine.networks[name].named_parameters(), network.parameters_in_order(), strict=True
        ):
            found[f"{name}.{path}"] = deviation(theirs.detach(), mine.detach())
    assert {name: off for name, off in found.items() if not off <= 1e-9} == {}, worst(found.values())


def _by_call(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Three random layers in each call."""
    return [tensors[i : i + 3] for i in range(0, len(tensors), 3)]
