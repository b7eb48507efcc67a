"""A network that enlarges images, first by pixels, then in the game: in float64 against a loop written here by hand."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.pipeline import check_spec, compile_phase
from gangraph.run.loading import load_run
from gangraph.session.run import run
from gangraph.views.plan import plan_text
from tests.support import (
    DEVICE,
    PLANS,
    changed,
    copy_parameters,
    load,
    move,
    normals,
    parameter_deviations,
    snapshot,
    trainer,
    worst,
)

BATCH, SIZE, FACTOR, WIDTH, HIDDEN = 3, 16, 4, 2, 5
LENGTHS = {"pixels": 4, "game": 5, "slower": 5}
RATES = {"pixels": 1e-3, "game": 1e-3, "slower": 1e-4}
WEIGHT = 0.05


def conv(inputs: int, outputs: int, size: int = 3, *, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)


class Generator(nn.Module):
    """One block, and two pixel shuffles."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(3, WIDTH, 9, bias=True), nn.PReLU())
        self.block = nn.Sequential(
            conv(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH), nn.PReLU(), conv(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH)
        )
        self.join = nn.Sequential(conv(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH))
        self.enlarge = nn.Sequential(
            conv(WIDTH, 4 * WIDTH, bias=True), nn.PixelShuffle(2), nn.PReLU(),
            conv(WIDTH, 4 * WIDTH, bias=True), nn.PixelShuffle(2), nn.PReLU(),
            conv(WIDTH, 3, 9, bias=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        image: Tensor = self.enlarge(h + self.join(h + self.block(h)))
        return image


def discriminator() -> nn.Sequential:
    layers = [conv(3, WIDTH, bias=True), nn.LeakyReLU(0.2), *halving(WIDTH, WIDTH)]
    for level in range(1, 4):
        layers += [*halving(WIDTH * 2 ** (level - 1), WIDTH * 2**level, stride=1), *halving(WIDTH * 2**level)]
    layers += [nn.Flatten(), nn.Linear(8 * WIDTH * (SIZE // 16) ** 2, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1)]
    return nn.Sequential(*layers)


def halving(inputs: int, outputs: int | None = None, stride: int = 2) -> tuple[nn.Module, ...]:
    outputs = outputs or inputs
    return conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)


def perceptual() -> nn.Sequential:
    """The frozen network up to the third map of its fourth block."""
    layers: list[nn.Module] = []
    inputs = 3
    for block, (outputs, count) in enumerate(((2, 2), (3, 2), (3, 3), (2, 3))):
        layers += [nn.MaxPool2d(2)] if block else []
        for _ in range(count):
            layers += [conv(inputs, outputs, bias=True), nn.ReLU()]
            inputs = outputs
    return nn.Sequential(*layers)


def hand() -> dict[str, nn.Module]:
    made = {"G": Generator(), "D": discriminator(), "V": perceptual()}
    return {name: network.double() for name, network in made.items()}


def cubic(x: float) -> float:
    """The kernel of Keys (1981) with a = -1/2, which is that of MATLAB's imresize."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def quarter(length: int) -> Tensor:
    """The matrix [length / 4, length] that makes a side smaller: the kernel is four times as wide as a pixel."""
    rows = []
    for out in range(length // FACTOR):
        centre = (out + 0.5) * FACTOR - 0.5
        row = torch.tensor([cubic((place - centre) / FACTOR) for place in range(length)], dtype=torch.float64)
        rows.append(row / row.sum())
    return torch.stack(rows)


def small(x: Tensor) -> Tensor:
    """Images in [-1, 1] at a quarter of their size, of 8 bits, in [0, 1]."""
    made = torch.einsum("ih,jw,bchw->bcij", quarter(x.shape[2]), quarter(x.shape[3]), (x + 1) / 2)
    return (made.clamp(0, 1) * 255).round() / 255


def step(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Adam], phase: str, number: int, content: str
) -> dict[str, float]:
    """One step by hand: of pixels alone, or of the critic and then of the generator."""
    g, d, v = (networks[name] for name in "GDV")
    x = drawn(number)
    low = small(x)
    if phase == "pixels":
        pixels = (g(low) - x).square().sum(1).mean()
        move(pixels, optimizers["generator"])
        return {"pixels": float(pixels.detach())}
    fake = g(low)
    judge = functional.softplus(-d(x)).mean() + functional.softplus(d(fake.detach())).mean()
    move(judge, optimizers["critic"])
    alike = (fake - x).square() if content == "mse" else (v(fake) - v(x)).square() / 2
    losses = {"judge": judge, "fool": functional.softplus(-d(fake)).mean(), "content": alike.sum(1).mean()}
    move(losses["content"] + WEIGHT * losses["fool"], optimizers["generator"])
    return {name: float(loss.detach()) for name, loss in losses.items()}


def drawn(number: int) -> Tensor:
    return normals(1, BATCH, 3, SIZE, SIZE, seed=number)[0].clamp(-1, 1)


def steps() -> Iterator[tuple[str, bool]]:
    """The phase of each step, and whether the step is the phase's first."""
    for phase, count in LENGTHS.items():
        yield from ((phase, not index) for index in range(count))


@PLANS
@pytest.mark.parametrize("variant", [None, "mse"])
def test_it_agrees_with_the_loop_by_hand_in_all_phases(share: bool, merge: bool, variant: str | None) -> None:
    rates = {"params__rate": RATES["pixels"], "params__rate_game": RATES["game"], "params__rate_end": RATES["slower"]}
    spec = load("srgan", variant=variant, params__first=4, params__later=5, params__weight=WEIGHT, **rates)
    engine = trainer(spec, share=share, merge=merge)
    networks = hand()
    for name in ("G", "D") if variant else ("G", "D", "V"):
        give(engine, networks, name)
    started = snapshot(networks)
    optimizers: dict[str, torch.optim.Adam] = {}
    for number, (phase, new) in enumerate(steps()):
        if new and number:
            engine.next_phase()
        if new and phase != "slower":
            optimizers = {
                "generator": torch.optim.Adam(networks["G"].parameters()),
                "critic": torch.optim.Adam(networks["D"].parameters()),
            }
        for optimizer in optimizers.values():
            optimizer.param_groups[0]["lr"] = RATES[phase]
        found = engine.step({"x": drawn(number)})
        expected = step(networks, optimizers, phase, number, variant or "deep")
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-8)
    del networks["V"]
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9)) < 1e-8


def give(engine: gangraph.Trainer, networks: Mapping[str, nn.Module], name: str) -> None:
    """The engine's parameters; of the frozen network those that lead to the map that is compared."""
    if name != "V":
        copy_parameters(engine.networks[name], networks[name])
        return
    with torch.no_grad():
        for mine, theirs in zip(networks["V"].parameters(), engine.networks["V"].parameters(), strict=False):
            assert mine.shape == theirs.shape
            mine.copy_(theirs)


def test_at_scores_of_zero_the_game_begins_at_the_logarithm_of_two() -> None:
    engine = trainer(load("srgan"))
    engine.next_phase()
    with torch.no_grad():
        for path in ("layers.linear_2.weight", "layers.linear_2.bias"):
            engine.networks["D"].get_parameter(path).zero_()
    found = engine.step({"x": drawn(0)})
    assert float(found["judge"]) == pytest.approx(2 * math.log(2), rel=1e-12)


def test_the_first_phase_leaves_the_discriminator_alone_and_the_others_go_on() -> None:
    engine = trainer(load("srgan"))
    for moved in ({"G"}, {"G", "D"}, {"G", "D"}):
        before = snapshot(engine.networks)
        engine.train(steps=3)
        assert changed(before, snapshot(engine.networks)) == moved
    assert engine.done


def test_the_game_begins_with_the_generator_of_a_run(tmp_path: Path) -> None:
    first = run(load("srresnet", train__length="2 steps"), out=tmp_path / "first", device="cpu")
    begun = load("srgan", variant="go_on", start=f'from_run("{first}")')
    given = load_run(first, device="cpu").networks["G"].state_dict()
    found = trainer(begun, precision="fp32").networks["G"].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in given.items())


@pytest.mark.parametrize("kernels", ["off", "on"])
def test_features_and_total_variation_are_those_by_hand(kernels: str) -> None:
    """Sums over the channels of a place, means over places; neighbours that differ, in either direction."""
    settings = {"networks__V": "small_vgg(widths=[2, 3, 3, 2], norm=none)", "params__smooth": 0.5}
    spec = load("srresnet", variant="vgg22", **settings)
    engine, networks = trainer(spec, device=DEVICE, kernels=kernels), hand()
    give(engine, networks, "G")
    with torch.no_grad():
        for mine, theirs in zip(networks["V"].parameters(), engine.networks["V"].parameters(), strict=False):
            mine.copy_(theirs)
    low_maps, x = networks["V"][:9], drawn(0)
    fake = networks["G"](small(x))
    rough = sum((fake.diff(dim=dim)).abs().mean() for dim in (2, 3))
    alike = 24 * (low_maps(fake) - low_maps(x)).square().mean()
    found = engine.step({"x": x})["content"]
    assert float(found) == pytest.approx(float((alike + 3 * 0.5 * rough).detach()), rel=1e-9)


def test_the_plan_takes_the_kernel_of_total_variation() -> None:
    spec = load("srresnet", variant="vgg22", networks__V="small_vgg(widths=[2, 3, 3, 2], norm=none)")
    text = plan_text(compile_phase(check_spec(spec)[0], kernels="auto"))
    assert "gdl computes gdl(fake, filled(fake, 0))" in " ".join(text.split())
