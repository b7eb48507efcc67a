"""Variational autoencoders: the engine trains as the loops do that were written by hand, and counts as papers do."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gangraph
from gangraph import Trainer
from gangraph.run.given import Given
from gangraph.vocabulary.ops import put
from tests.reference.coders import (
    ConditionalLoop,
    Losses,
    VaeLoop,
    conv_coder,
    conv_decoder,
    dense_coder,
    dense_decoder,
)
from tests.support import copy_parameters, deviation, load, trainer, worst

TOLERANCE = 1e-9
Built = tuple[Trainer, Mapping[str, nn.Module], Callable[[torch.Generator], tuple[Given, Losses]]]


def _unit(g: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=g, dtype=torch.float64)


def _normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=g, dtype=torch.float64)


def _paired(engine: Trainer, **networks: nn.Module) -> Mapping[str, nn.Module]:
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network.double())
    return networks


def vae() -> Built:
    return _vae(lambda rate, _: rate)


def warmed_up() -> Built:
    """A weight that rises within the first three steps."""
    return _vae(lambda rate, step: min(step / 3, 1) * rate, params__beta="linear(0, 1, end=3 steps)")


def _vae(pressure: Callable[[Tensor, int], Tensor], **settings: Any) -> Built:
    """A VAE whose loss has this pressure in the place of its divergence."""
    engine = trainer(load("vae", **settings))
    made = _paired(engine, encoder=dense_coder(64, 6, 3), decoder=dense_decoder(3, 6, 64))
    loop = VaeLoop(made["encoder"], made["decoder"], 1e-3, pressure)

    def step(g: torch.Generator) -> tuple[Given, Losses]:
        x, noise = _unit(g, 5, 1, 8, 8), _normal(g, 5, 3)
        losses = loop.step(x, noise)
        digits = {"image": x, "label": torch.zeros(5, dtype=torch.int64)}
        return {"digits": digits, "z.normal": noise}, {
            "likelihood": losses["likelihood"],
            "divergence": losses["pressure"],
        }

    return engine, made, step


def capacity() -> Built:
    """A divergence that is pressed to a number that rises."""
    engine = trainer(load("beta_vae", variant="capacity", let__capacity="linear(0, most, end=4 steps)"))
    made = _paired(engine, encoder=conv_coder(4, 6, 3), decoder=conv_decoder(3, 6, 4))
    loop = VaeLoop(made["encoder"], made["decoder"], 1e-3, lambda rate, step: 50 * (rate - 10 * min(step / 4, 1)).abs())

    def step(g: torch.Generator) -> tuple[Given, Losses]:
        discs, noise = (_unit(g, 4, 1, 8, 8) > 0.5).double(), _normal(g, 4, 3)
        return {"images": discs - 1, "z.normal": noise}, loop.step(discs, noise)

    return engine, made, step


def quadrant() -> Built:
    """A conditional VAE whose prior is a network of what is given: the upper left quarter."""
    engine = trainer(load("cvae", variant="quadrant", params__latents=3))
    made = _paired(
        engine,
        encoder=dense_coder(80, 6, 3),
        decoder=dense_decoder(19, 6, 64),
        guess=dense_coder(16, 6, 3),
    )
    loop = ConditionalLoop(made["encoder"], made["decoder"], made["guess"], 1e-3)

    def step(g: torch.Generator) -> tuple[Given, Losses]:
        x, noise = _unit(g, 5, 1, 8, 8), _normal(g, 5, 3)
        digits = {"image": x, "label": torch.zeros(5, dtype=torch.int64)}
        return {"digits": digits, "z.normal": noise}, loop.step(x, x[:, :, :4, :4].flatten(1), noise)

    return engine, made, step


@pytest.mark.parametrize("build", [vae, warmed_up, capacity, quadrant], ids=lambda build: build.__name__)
def test_engine_agrees_with_the_loop_by_hand_after_five_steps(build: Callable[[], Built]) -> None:
    engine, networks, step = build()
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        given, expected = step(generator)
        found = engine.step(given)
        assert worst(deviation(found[name], expected[name]) for name in expected) <= TOLERANCE
    for name, network in networks.items():
        pairs = zip(engine.networks[name].parameters(), network.parameters(), strict=True)
        assert worst(deviation(theirs.detach(), mine.detach()) for theirs, mine in pairs) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "variant", "settings", "count"),
    [
        ("vae", None, {}, 652_824),
        ("cvae", None, {}, 409_364),
        ("beta_vae", None, {}, 782_275),
        ("beta_vae", None, {"params.latents": 10}, 765_335),
        ("beta_vae", "sprites,capacity", {}, 502_005),
        ("beta_vae", "sprites,dense", {}, 14_196_516),
    ],
)
def test_networks_have_the_parameter_counts_of_the_papers(
    name: str, variant: str | None, settings: Mapping[str, object], count: int
) -> None:
    (checked,) = gangraph.check_spec(gangraph.load(name, profile="paper", variant=variant, set=dict(settings)))
    assert sum(model.parameters for model in checked.networks.values()) == count


def test_a_weight_in_cycles_reaches_one_in_each() -> None:
    """Four cycles over the length, half of each a ramp."""
    engine = trainer(load("vae", variant="cyclical", train__length="16 steps", losses__divergence="params.beta"))
    assert [engine.step()["divergence"] for _ in range(8)] == [0, 0.5, 1, 1, 0, 0.5, 1, 1]


def test_put_replaces_one_number_of_each_vector() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert put(x, 1, 9).tolist() == [[0, 9, 2], [3, 9, 5]]
    assert put(x, 0, torch.tensor([7.0, 8.0])).tolist() == [[7, 1, 2], [8, 4, 5]]
    assert put(x, 2, torch.tensor([[7.0], [8.0]])).tolist() == [[0, 1, 7], [3, 4, 8]]
    for wrong, index in ((x, 3), (x, -1), (x[0], 0)):
        with pytest.raises(ValueError, match="expected vectors with a number at"):
            put(wrong, index, 0)
