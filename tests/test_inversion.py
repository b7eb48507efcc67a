"""An image with the features of another, in float64 against a loop that is written here by hand."""

import pytest
import torch
from torch import Tensor, nn

from tests.support import deviation, load, trainer, worst
from tests.test_gatys import PLANS, features_of

STEPS, HEIGHT, WIDTH = 12, 16, 24
POWER = 0.54**2 * 3 * HEIGHT * WIDTH


def variation(x: Tensor, beta: float, small: float) -> Tensor:
    """Sum of ((x[i, j + 1] - x[i, j])^2 + (x[i + 1, j] - x[i, j])^2)^(beta / 2), where the border repeats itself."""
    right, down = torch.zeros_like(x), torch.zeros_like(x)
    right[..., :-1] = x[..., 1:] - x[..., :-1]
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    return ((right**2 + down**2 + small) ** (beta / 2)).sum()


@PLANS
@pytest.mark.parametrize("variant", ["", "spiky", "no_priors", "official_code"])
def test_it_descends_as_a_loop_by_hand(share: bool, merge: bool, variant: str) -> None:
    falls = {
        "params.rate": "4e-3 * (1 if step < 4 else 0.1)",  # of the rate, early
        "train.optimizers.painter": "sgd(picture, lr=rate * power, momentum=momentum)",  # as the document has it
    }
    if variant == "official_code":
        falls["params.momentum"] = "1e-9 if step == 4 else 0.9"
    engine = trainer(load("inversion", variant=variant or None, **falls), share=share, merge=merge)
    engine.engine.begin(engine.clock)
    v = features_of(engine)
    x = engine.engine.draws.ahead().draw("x", 0)["value"].double()
    picture = nn.Parameter(engine.networks["picture"].value.detach().clone())  # type: ignore[union-attr, operator]
    known, velocity, found = v(x)["relu3_1"], torch.zeros_like(picture), []
    beta, small = (1, 1e-6) if variant == "spiky" else (2, 0)
    priors = 0 if variant == "no_priors" else 1
    for step in range(STEPS):
        rate = 4e-3 * POWER * (1 if step < 4 else 0.1)
        far = (v(picture)["relu3_1"] - known).square().sum() / known.square().sum()
        edges = 1 / 2 * variation(picture, beta, small) / POWER
        glare = 0.211 / 2 * picture.pow(6).sum() / POWER
        (slope,) = torch.autograd.grad(far + priors * (edges + glare), picture)
        kept = 0.0 if variant == "official_code" and step == 4 else 0.9
        velocity = kept * velocity + slope
        with torch.no_grad():
            picture -= rate * velocity
        losses = engine.step()
        found.append(deviation(losses["far"], far.detach()))
        if priors:
            found += [deviation(losses["edges"], edges.detach()), deviation(losses["glare"], glare.detach())]
    ended = engine.networks["picture"].value.detach()  # type: ignore[union-attr, operator]
    found.append(deviation(ended, picture.detach()))
    assert worst(found) <= 1e-8
