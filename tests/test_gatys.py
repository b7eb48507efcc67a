"""A picture painted by L-BFGS against frozen features, in float64 against a loop that is written here by hand."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.folder.checkpoint import read_checkpoint
from tests.support import PLANS, deviation, load, same, trainer, worst

STEPS, EVALUATIONS = 4, 5  # of each step
ALPHA, BETA = 1.0, 5e3
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)


class Features(nn.Module):
    """Four blocks of convolutions with maxima between, and the maps after some of their ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        ends = (3, 2, 3, 4, 5)
        self.convolutions = nn.ModuleDict()
        for block, count in enumerate((2, 2, 3, 3), 1):
            for k in range(1, count + 1):
                inputs = ends[block - 1] if k == 1 else ends[block]
                self.convolutions[f"conv{block}_{k}"] = nn.Conv2d(inputs, ends[block], 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = {}
        for name, convolution in self.convolutions.items():
            if name.endswith("_1") and name != "conv1_1":
                x = functional.max_pool2d(x, 2)
            x = convolution(x).relu()
            maps[name.replace("conv", "relu")] = x
        return maps


def features_of(engine: gangraph.Trainer) -> Features:
    """The same features with the engine's weights."""
    made, state = Features().double(), engine.networks["V"].state_dict()
    for name, convolution in made.convolutions.items():
        convolution.load_state_dict({part: state[f"{name}.conv2d.{part}"] for part in ("weight", "bias")})
    return made.requires_grad_(False)


def gram(f: Tensor) -> Tensor:
    """Equation 3, each entry by the number of places."""
    (_, channels, *_) = f.shape
    flat = f.reshape(channels, -1)
    return flat @ flat.T / flat.shape[1]


def objective(told: dict[str, Tensor], known: dict[str, Tensor], wanted: dict[str, Tensor], variant: str) -> Tensor:
    """Equations 1 to 7, with sums as the paper writes them, or the first author's."""
    if variant == "official_code":
        subject = functional.mse_loss(told["relu4_2"], known["relu4_2"])
        weights = [1e3 / width**2 for width in (64, 128, 256, 512)]
        grams = [functional.mse_loss(gram(told[layer]), gram(wanted[layer])) for layer in STYLE_LAYERS]
        return subject + sum((w * g for w, g in zip(weights, grams, strict=True)), torch.zeros(()))
    layer = "relu2_2" if variant == "fine_content" else "relu4_2"
    subject = (told[layer] - known[layer]).square().sum() / 2
    manner = torch.zeros((), dtype=torch.float64)
    for name in STYLE_LAYERS:
        (_, maps, height, width) = told[name].shape
        places = height * width
        apart = (gram(told[name]) * places - gram(wanted[name]) * places).square().sum()
        manner = manner + 0.2 * apart / (4 * maps**2 * places**2)
    return ALPHA * subject + BETA * manner


def grey(x: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", x, LUMA)[:, None]


def in_the_range_of(x: Tensor, other: Tensor) -> Tensor:
    """A grey image with the mean and the deviation of another."""
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * other.std(correction=0) + other.mean()


@PLANS
@pytest.mark.parametrize("variant", ["", "from_noise", "official_code", "fine_content", "keep_colours"])
def test_it_paints_as_a_loop_by_hand(share: bool, merge: bool, variant: str) -> None:
    engine = trainer(load("gatys", variant=variant or None), share=share, merge=merge)
    engine.engine.begin(engine.clock)
    v = features_of(engine)
    content, style = (engine.engine.draws.ahead().draw(name, 0)["value"].double() for name in ("content", "style"))
    picture = nn.Parameter(engine.networks["picture"].value.detach().clone())  # type: ignore[union-attr, operator]
    assert torch.equal(picture.detach(), content) == (variant not in ("from_noise", "keep_colours"))
    if variant == "keep_colours":
        brightness = grey(content)
        known, wanted = (v(x.expand(-1, 3, -1, -1)) for x in (brightness, in_the_range_of(grey(style), brightness)))
    else:
        known, wanted = v(content), v(style)
    painter = torch.optim.LBFGS([picture], max_iter=EVALUATIONS)

    def evaluated() -> Tensor:
        painter.zero_grad()
        loss = objective(v(picture.expand(-1, 3, -1, -1)), known, wanted, variant)
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        return loss

    found = []
    for _ in range(STEPS):
        losses, by_hand = engine.step(), painter.step(evaluated)  # type: ignore[arg-type]
        beta = 4 if variant == "official_code" else BETA
        found.append(deviation(losses["subject"] + beta * losses["manner"], by_hand.detach()))
    assert painter.state[picture]["func_evals"] == STEPS * EVALUATIONS
    ended = engine.networks["picture"].value.detach()  # type: ignore[union-attr, operator]
    found.append(deviation(ended, picture.detach()))
    assert worst(found) <= 1e-8


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_it_goes_on_to_the_bit_in_the_midst_of_its_history(precision: str, tmp_path: Path) -> None:
    spec = load("gatys")
    whole, half = (gangraph.Trainer(spec, device="cpu", seed=3, precision=precision) for _ in range(2))
    whole.train(6)
    half.train(3)
    half.save(tmp_path / "half")
    again = gangraph.Trainer.resume(tmp_path / "half", device="cpu")
    again.train(3)
    one, other = (read_checkpoint(each.save(tmp_path / name)) for each, name in ((whole, "whole"), (again, "again")))
    assert same(one.tensors, other.tensors)
    (kept,) = (tensor for name, tensor in one.tensors.items() if name.endswith("count"))
    assert 3 * EVALUATIONS < kept < 100
