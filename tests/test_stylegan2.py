"""Modulated convolutions, lazy penalties and the lengths of paths, in float64 against a loop by hand."""

import math
from collections.abc import Callable, Sequence
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    normals,
    parameter_deviations,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, FEATURES, WIDTH, LAYERS = 12, 4, 8, 6, 8, 4
EVERY_PATH, EVERY_R1, RATE, STRETCH, GAMMA = 2, 3, 5e-3, 0.5, 2
SIZES = (4, 8, 8)  # what the three convolutions make
Noise = Sequence[Tensor]


def filtered(x: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
    """Zeros around an image, then the filter [1, 3, 3, 1] in both directions without further ones."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    kernel = (gain * torch.outer(taps, taps) / 64).expand(x.shape[1], 1, 4, 4)
    return functional.conv2d(functional.pad(x, (before, after, before, after)), kernel, groups=x.shape[1])


def spread(x: Tensor) -> Tensor:
    """Each pixel as the upper left one of four, of which the others are 0."""
    made = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    made[..., ::2, ::2] = x
    return made


def lrelu(x: Tensor) -> Tensor:
    return math.sqrt(2) * functional.leaky_relu(x, 0.2)


class Dense(nn.Module):
    """A linear map whose stored weight is N(0, 1 / rate), and whose bias is stored 1 / rate as large."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.t() * (self.rate / math.sqrt(x.shape[1])) + self.rate * self.bias


class Conv(nn.Module):
    """A convolution of which the weight is divided by the root of its inputs."""

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return functional.conv2d(x, self.weight / math.sqrt(self.weight[0].numel()), self.bias, stride, padding)


class Modulated(nn.Module):
    """The weights of every sample by themselves, and one convolution for each."""

    def __init__(self, outputs: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, WIDTH, size, size))

    def forward(self, x: Tensor, style: Tensor, *, up: bool = False, demodulate: bool = True) -> Tensor:
        scaled = self.weight / math.sqrt(self.weight[0].numel()) * style[:, None, :, None, None]
        if demodulate:
            scaled = scaled / (scaled.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        ready = filtered(spread(x), 3, 2, gain=4) if up else functional.pad(x, (self.weight.shape[3] // 2,) * 4)
        return torch.cat([functional.conv2d(ready[n : n + 1], weight) for n, weight in enumerate(scaled)])


class Mapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Dense(FEATURES, FEATURES, 0.01) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        h = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
        for layer in self.layers:
            h = lrelu(layer(h))
        return h


class End(nn.Module):
    """Noise of one strength for all channels, and a bias."""

    def __init__(self, width: int, noisy: bool) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1)) if noisy else None
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        made = x + self.bias[:, None, None]
        return made if self.strength is None or noise is None else made + self.strength * noise


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.style, self.mix, self.end = Dense(FEATURES, WIDTH), Modulated(WIDTH, 3), End(WIDTH, noisy=True)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor, up: bool) -> Tensor:
        return lrelu(self.end(self.mix(x, 1 + self.style(w), up=up), noise))


class ToRGB(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.style, self.mix, self.end = Dense(FEATURES, WIDTH), Modulated(3, 1), End(3, noisy=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        made: Tensor = self.end(self.mix(x, 1 + self.style(w), demodulate=False))
        return made


class Synthesis(nn.Module):
    """4 and 8 px: the layers 0, 1 and 2, and images with the styles 1 and 3."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(WIDTH, 4, 4))
        self.layers = nn.ModuleList(Layer() for _ in SIZES)
        self.rgb = nn.ModuleList(ToRGB() for _ in range(2))

    def forward(self, w: Tensor, noise: Noise) -> Tensor:
        x = self.layers[0](self.basis.expand(len(w), -1, -1, -1), w[:, 0], noise[0], False)
        image = filtered(spread(self.rgb[0](x, w[:, 1])), 2, 1, gain=4)
        x = self.layers[2](self.layers[1](x, w[:, 1], noise[1], True), w[:, 2], noise[2], False)
        made: Tensor = image + self.rgb[1](x, w[:, 3])
        return made


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rgb, self.wide, self.halve = Conv(3, WIDTH, 1), Conv(WIDTH, WIDTH, 3), Conv(WIDTH, WIDTH, 3)
        self.skip = Conv(WIDTH, WIDTH, 1, bias=False)
        self.last, self.dense, self.score = Conv(WIDTH + 1, WIDTH, 3), Dense(16 * WIDTH, WIDTH), Dense(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = lrelu(self.rgb(x))
        main = lrelu(self.halve(filtered(lrelu(self.wide(h, padding=1)), 2, 2), stride=2))
        h = (main + self.skip(filtered(h, 1, 1)[..., ::2, ::2])) / math.sqrt(2)
        deviation_of = (h.var(0, correction=0) + 1e-8).sqrt().mean()  # the batch is one group of 4
        h = torch.cat([h, deviation_of.expand(len(h), 1, 4, 4)], 1)
        made: Tensor = self.score(lrelu(self.dense(lrelu(self.last(h, padding=1)).flatten(1))))
        return made


class Loop:
    """The four phases of a step, the mean length of paths, the mean of w, and the averages."""

    def __init__(self, engine: gangraph.Trainer) -> None:
        kinds: dict[str, Callable[[], nn.Module]] = {"M": Mapper, "S": Synthesis, "D": Discriminator}
        self.networks = {name: kinds[name[0]]().double() for name in ("M", "S", "D", "Ms", "Ss")}
        for name, network in self.networks.items():
            copy_parameters(engine.networks[name], network)
        slow_g, slow_d = EVERY_PATH / (EVERY_PATH + 1), EVERY_R1 / (EVERY_R1 + 1)
        self.g = torch.optim.Adam(self._of("MS"), lr=slow_g * RATE, betas=(0.0, 0.99**slow_g))
        self.d = torch.optim.Adam(self._of("D"), lr=slow_d * RATE, betas=(0.0, 0.99**slow_d))
        self.decay = 0.5 ** (slow_g * BATCH / 1000)
        self.usual, self.centre = torch.zeros(()).double(), torch.zeros(FEATURES).double()

    def _of(self, names: str) -> list[nn.Parameter]:
        return [*chain(*(self.networks[name].parameters() for name in names))]

    def styles(self, z: Tensor, other: Tensor, at: Tensor) -> Tensor:
        first, second = self.networks["M"](z), self.networks["M"](other)
        for w in (first, second):
            self.centre = 0.995 * self.centre + 0.005 * w.detach().mean(0)
        own = torch.arange(LAYERS) < at
        return torch.where(own[:, :, None], first[:, None], second[:, None])

    def move(self, loss: Tensor, optimizer: torch.optim.Adam, names: str) -> float:
        parameters = self._of(names)
        for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            parameter.grad = slope
        optimizer.step()
        if names == "MS":
            with torch.no_grad():
                for name in names:
                    averages = self.networks[f"{name}s"].parameters()
                    for mean, parameter in zip(averages, self.networks[name].parameters(), strict=True):
                        mean.mul_(self.decay).add_(parameter, alpha=1 - self.decay)
        return float(loss.detach())

    def step(
        self, number: int, x: Tensor, passes: Sequence[tuple[Tensor, Tensor, Tensor, Noise]], y: Tensor
    ) -> dict[str, float]:
        synthesis, score = self.networks["S"], self.networks["D"]
        losses = {}
        (z, other, at, noise), *rest = passes
        fool = functional.softplus(-score(synthesis(self.styles(z, other, at), noise))).mean()
        losses["fool"] = self.move(fool, self.g, "MS")
        if number % EVERY_PATH == 0:
            z, other, at, noise = rest[0]
            w = self.styles(z, other, at)
            (slope,) = torch.autograd.grad((synthesis(w, noise) * y).sum() / SIZE, w, create_graph=True)
            lengths = slope.square().sum(2).mean(1).sqrt()
            self.usual = self.usual + 0.01 * (lengths.detach().mean() - self.usual)
            path = STRETCH * (lengths - self.usual).square().mean()
            losses["path_length"] = self.move(EVERY_PATH * path, self.g, "MS") / EVERY_PATH
        z, other, at, noise = rest[-1]
        fake = synthesis(self.styles(z, other, at), noise).detach()
        judge = functional.softplus(score(fake)).mean() + functional.softplus(-score(x)).mean()
        losses["judge"] = self.move(judge, self.d, "D")
        if number % EVERY_R1 == 0:
            at_x = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(score(at_x).sum(), at_x, create_graph=True)
            penalty = GAMMA / 2 * slope.square().sum((1, 2, 3)).mean()
            losses["R1"] = self.move(EVERY_R1 * penalty, self.d, "D") / EVERY_R1
        return losses | {"usual": float(self.usual)}


def drawn(number: int) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor, Noise]], Tensor, dict[str, object]]:
    """What one step draws: for the loop, and by name for the engine."""
    count = 2 + (number % EVERY_PATH == 0)
    (x,) = (each.clamp(-1, 1) for each in normals(1, BATCH, 3, SIZE, SIZE, seed=number))
    codes = normals(2 * count, BATCH, FEATURES, seed=100 + number)
    planes = [
        [normals(1, BATCH, 1, s, s, seed=1000 * number + 10 * k + n)[0] for n, s in enumerate(SIZES)]
        for k in range(count)
    ]
    chance = torch.Generator().manual_seed(number)
    coins = [torch.randint(2, (BATCH, 1), generator=chance).double() for _ in range(count)]
    cuts = [1 + (LAYERS - 1) * torch.rand(BATCH, 1, generator=chance).double() for _ in range(count)]
    ys = normals(count - 1, BATCH, 3, SIZE, SIZE, seed=200 + number)
    passes = [(codes[2 * k], codes[2 * k + 1], LAYERS - coins[k] * cuts[k], planes[k]) for k in range(count)]
    given: dict[str, object] = {
        "x": x,
        "z": codes[::2],
        "other": codes[1::2],
        "at.bernoulli": coins,
        "at.uniform": cuts,
    }
    given |= {"paths.normal": ys} | {f"fake:end_{n}.noise": [each[n] for each in planes] for n in range(len(SIZES))}
    return x, passes, ys[-1], given


@PLANS
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("stylegan2"), share=share, merge=merge)
    with torch.no_grad():
        for number, parameter in enumerate(chain(*(engine.networks[name].parameters() for name in "MSD"))):
            parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.2)
    loop = Loop(engine)
    started = snapshot(loop.networks)
    for number in range(STEPS):
        x, passes, y, given = drawn(number)
        found = engine.step(given)
        expected = loop.step(number, x, passes, y)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert worst(error for _, error in parameter_deviations(engine, loop.networks, started, still=1e-9)) < 1e-9
    assert deviation(engine.networks["M"].get_buffer("track.running_mean.mean"), loop.centre) < 1e-9


def test_noise_has_no_effect_and_images_do_not_depend_on_the_size_of_styles_when_training_begins() -> None:
    engine = trainer(load("stylegan2"))
    synthesis = engine.networks["S"]
    (w,) = normals(1, BATCH, LAYERS, FEATURES)
    torch.manual_seed(0)
    assert deviation(synthesis(w).detach(), synthesis(w).detach()) == 0
    x, style = normals(1, BATCH, WIDTH, 4, 4)[0], normals(1, BATCH, WIDTH, seed=1)[0]
    mix = synthesis.get_submodule("mix_1.equalized")
    assert deviation(mix(x, 3 * style).detach(), mix(x, style).detach()) < 1e-6
    rgb = synthesis.get_submodule("rgb_4.equalized")
    assert deviation(rgb(x, 3 * style).detach(), 3 * rgb(x, style).detach()) < 1e-12


def test_codes_and_styles_have_the_size_of_the_paper_when_training_begins() -> None:
    """The root of the mean square of w is about 1; styles have mean 1 and deviation 1."""
    engine = gangraph.Trainer(
        gangraph.load("stylegan2", set={"params.features": 256, "params.widest": 128}), device="cpu"
    )
    codes = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    _, w = (each.detach() for each in engine.networks["M"](codes).values())  # after the mean of all so far
    styles = 1 + engine.networks["S"].get_submodule("style_1.equalized")(w).detach()
    assert float(w.square().mean().sqrt()) == pytest.approx(1, rel=0.1)
    assert (float(styles.mean()), float(styles.std())) == pytest.approx((1, 1), rel=0.1)


def test_the_probability_of_augmentation_rises_as_fast_as_the_code_lets_it_where_all_scores_are_positive() -> None:
    engine = trainer(load("stylegan2", variant="ada", params__pace=500000))
    bias = engine.networks["D"].get_parameter("end.equalized_3.parametrizations.bias.original")
    with torch.no_grad():
        bias.fill_(1e6)
    for steps in (4, 8, 12):
        engine.train(steps=4)
        assert float(engine.states["p"]) == pytest.approx(steps * BATCH / 500000, rel=1e-9)
    with torch.no_grad():
        bias.fill_(-1e6)
    engine.train(steps=12)
    assert float(engine.states["p"]) == pytest.approx(0, abs=1e-12)
