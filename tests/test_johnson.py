"""A style, and enlarging, in a single pass: in float64 against a loop that is written here by hand."""

import math
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.apply.apply import apply
from gangraph.session.run import run
from tests.support import PLANS, copy_parameters, load, normals, parameter_deviations, snapshot, trainer, worst

STEPS, BATCH, SIZE, FILTERS, FACTOR = 10, 2, 16, 2, 4
WIDTHS = (2, 3, 3, 2)  # of the frozen features
STRENGTH, SMOOTH = 1.5, 1e-3


def normed(layer: nn.Module, width: int) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(width)]


class Painter(nn.Module):
    """The transform network with one block: 8 pixels more on each side, which the block takes away."""

    def __init__(self) -> None:
        super().__init__()
        f = FILTERS
        self.encode = nn.Sequential(
            *normed(nn.Conv2d(3, f, 9, padding=4), f), nn.ReLU(),
            *normed(nn.Conv2d(f, 2 * f, 3, stride=2, padding=1), 2 * f), nn.ReLU(),
            *normed(nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1), 4 * f), nn.ReLU(),
        )  # fmt: skip
        self.block = nn.Sequential(
            *normed(nn.Conv2d(4 * f, 4 * f, 3), 4 * f), nn.ReLU(), *normed(nn.Conv2d(4 * f, 4 * f, 3), 4 * f)
        )
        self.decode = nn.Sequential(
            *normed(nn.ConvTranspose2d(4 * f, 2 * f, 3, stride=2, padding=1, output_padding=1), 2 * f), nn.ReLU(),
            *normed(nn.ConvTranspose2d(2 * f, f, 3, stride=2, padding=1, output_padding=1), f), nn.ReLU(),
            nn.Conv2d(f, 3, 9, padding=4), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        h = self.encode(functional.pad(x, (8, 8, 8, 8), mode="reflect"))
        image: Tensor = self.decode(h[:, :, 2:-2, 2:-2] + self.block(h))
        return image


class Enlarger(nn.Module):
    """Four times as large, with one block."""

    def __init__(self) -> None:
        super().__init__()
        f = FILTERS
        self.first = nn.Sequential(*normed(nn.Conv2d(3, f, 9, padding=4), f), nn.ReLU())
        self.block = nn.Sequential(
            *normed(nn.Conv2d(f, f, 3, padding=1), f), nn.ReLU(), *normed(nn.Conv2d(f, f, 3, padding=1), f)
        )
        self.up = nn.Sequential(
            *normed(nn.ConvTranspose2d(f, f, 3, stride=2, padding=1, output_padding=1), f), nn.ReLU(),
            *normed(nn.ConvTranspose2d(f, f, 3, stride=2, padding=1, output_padding=1), f), nn.ReLU(),
            nn.Conv2d(f, 3, 9, padding=4), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        image: Tensor = self.up(h + self.block(h))
        return image


class Features(nn.Module):
    """The last map of each of four blocks."""

    def __init__(self) -> None:
        super().__init__()
        depths = (2, 2, 3, 3)
        inputs = [3, *chain(*([width] * depth for width, depth in zip(WIDTHS, depths, strict=True)))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(inputs))
        self.last = {1: 0, 3: 1, 6: 2}  # convolutions before a pooling

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, conv in enumerate(self.convs):
            x = functional.relu(conv(x))
            if number in self.last or number == len(self.convs) - 1:
                maps.append(x)
                x = functional.max_pool2d(x, 2)
        return maps


def gram(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def style_losses(y: Tensor, x: Tensor, style: Tensor, features: Features) -> dict[str, Tensor]:
    told, known, model = features(y), features(x), features(style)
    apart = [(gram(t) - gram(m).mean(0)).square().sum((1, 2)).mean() for t, m in zip(told, model, strict=True)]
    right, down = y[:, :, :-1, 1:] - y[:, :, :-1, :-1], y[:, :, 1:, :-1] - y[:, :, :-1, :-1]
    return {
        "content": functional.mse_loss(told[1], known[1]),
        "look": torch.stack(apart).sum(),
        "rough": (right.square().sum() + down.square().sum()) / 2,
    }


def lowered(x: Tensor) -> Tensor:
    """A Gaussian of one pixel, and a quarter of the size."""
    taps = torch.tensor([math.exp(-(k**2) / 2) for k in range(-4, 5)], dtype=x.dtype)
    kernel = torch.outer(taps / taps.sum(), taps / taps.sum()).expand(3, 1, 9, 9)
    smooth = functional.conv2d(functional.pad(x, (4, 4, 4, 4), mode="reflect"), kernel, groups=3)
    return functional.interpolate(smooth, scale_factor=1 / FACTOR, mode="bicubic", antialias=True)


def drawn(number: int) -> tuple[Tensor, Tensor]:
    x, style = (each.clamp(-1, 1) for each in normals(2, BATCH, 3, SIZE, SIZE, seed=number))
    return x, style


def shaken(engine: gangraph.Trainer) -> None:
    """Other parameters than those of the start, under which every layer counts."""
    with torch.no_grad():
        for number, parameter in enumerate(chain(*(engine.networks[name].parameters() for name in "TV"))):
            parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.2)


def features_of(engine: gangraph.Trainer) -> Features:
    features = Features().double()
    theirs = [p for name, p in engine.networks["V"].named_parameters() if name.startswith("conv")]
    with torch.no_grad():
        for mine, their in zip(features.parameters(), theirs, strict=True):
            mine.copy_(their)
    return features


def move(objective: Tensor, network: nn.Module, optimizer: torch.optim.Adam) -> None:
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(objective, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


@PLANS
def test_painting_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    spec = load("johnson", params__strength=STRENGTH, params__smooth=SMOOTH, params__normed="batch_norm")
    engine = trainer(spec, share=share, merge=merge)
    shaken(engine)
    painter, features = Painter().double(), features_of(engine)
    copy_parameters(engine.networks["T"], painter)
    started = snapshot({"T": painter})
    optimizer = torch.optim.Adam(painter.parameters(), lr=1e-3)
    for number in range(STEPS):
        x, style = drawn(number)
        found = engine.step({"x": x, "style": style})
        losses = style_losses(painter(x), x, style, features)
        move(losses["content"] + STRENGTH * losses["look"] + SMOOTH * losses["rough"], painter, optimizer)
        assert {name: float(found[name]) for name in losses} == pytest.approx(
            {name: float(loss.detach()) for name, loss in losses.items()}, rel=1e-9
        )
    assert worst(error for _, error in parameter_deviations(engine, {"T": painter}, started, still=1e-9)) < 1e-9


@PLANS
@pytest.mark.parametrize("variant", ["super_resolution", "super_resolution,pixels"])
def test_enlarging_agrees_with_the_loop_by_hand(variant: str, share: bool, merge: bool) -> None:
    engine = trainer(load("johnson", variant=variant), share=share, merge=merge)
    if variant == "super_resolution":
        shaken(engine)
    enlarger = Enlarger().double()
    copy_parameters(engine.networks["T"], enlarger)
    started = snapshot({"T": enlarger})
    optimizer = torch.optim.Adam(enlarger.parameters(), lr=1e-3)
    for number in range(STEPS):
        x, _ = drawn(number)
        found = engine.step({"x": x})
        y = enlarger(lowered(x))
        if variant == "super_resolution":
            features = features_of(engine)
            content = functional.mse_loss(features(y)[1], features(x)[1])
        else:
            content = functional.mse_loss(y, x)
        move(content, enlarger, optimizer)
        assert float(found["content"]) == pytest.approx(float(content.detach()), rel=1e-9)
    assert worst(error for _, error in parameter_deviations(engine, {"T": enlarger}, started, still=1e-9)) < 1e-9


@pytest.mark.parametrize(("blocks", "height", "width"), [(1, 16, 24), (2, 32, 20), (5, 64, 48)])
def test_the_padding_makes_up_for_what_the_blocks_take_away(blocks: int, height: int, width: int) -> None:
    network = trainer(load("johnson", params__blocks=blocks, params__size=64)).networks["T"]
    (x,) = normals(1, 2, 3, height, width)
    assert network(x).shape == x.shape


def test_the_losses_of_the_release_are_means_at_other_layers() -> None:
    engine = trainer(load("johnson", variant="official_code"))
    shaken(engine)
    features = features_of(engine)
    x, style = drawn(0)
    y = engine.networks["T"](x).detach()
    found = engine.step({"x": x, "style": style})
    told, known, model = features(y), features(x), features(style)
    look = sum(
        functional.mse_loss(gram(t), gram(m).mean(0).expand_as(gram(t))) for t, m in zip(told, model, strict=True)
    )
    assert float(found["content"]) == pytest.approx(float(functional.mse_loss(told[2], known[2]).detach()), rel=1e-9)
    assert float(found["look"]) == pytest.approx(float(torch.as_tensor(look).detach()), rel=1e-9)


def test_a_picture_is_optimised_toward_both_losses() -> None:
    engine = trainer(load("johnson", variant="optimised", train__batch=1, params__strength=STRENGTH))
    first = engine.step()
    last = engine.train(20)
    assert last["content"] + STRENGTH * last["look"] < first["content"] + STRENGTH * first["look"]


def test_it_paints_photographs_of_any_size(tmp_path: Path) -> None:
    folder = run(load("johnson", train__length="1 steps"), out=tmp_path / "run", device="cpu")
    levels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "photograph.png")
    apply(folder, "T", tmp_path / "photograph.png", tmp_path / "painted.png")
    with Image.open(tmp_path / "painted.png") as image:
        assert image.size == (50, 37)
        assert np.array(image).std() > 0
