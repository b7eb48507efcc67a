"""Shapes that a grid moves, and pictures of them: in float64 against a loop that is written here by hand."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.vocabulary.ops import selu
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    move,
    normals,
    parameter_deviations,
    resumes_to_the_bit,
    snapshot,
    trainer,
    worst,
)

BATCH, SIZE, F, LEVELS = 2, 16, 2, 4
RATES = {"shapes": 2e-4, "images": 2e-3, "critic_s": 1e-4, "critic_i": 5e-4}
WEIGHTS = SMOOTH, BIAS, AFFINE, IMAGE = 2e-3, 1e-2, 1, 0.2
LENGTHS = (2, 5)
SETTINGS: dict[str, object] = {
    "params__pool": 0,
    **{f"params__{name}": value for name, value in zip(("smooth", "bias", "affine", "image"), WEIGHTS, strict=True)},
    **{
        f"params__{name}": value
        for name, value in zip(("rate", "rate_i", "rate_ds", "rate_di"), RATES.values(), strict=True)
    },
    "train__phases__0__length": f"{LENGTHS[0]} steps",
    "train__phases__1__length": f"{LENGTHS[1]} steps",
    "train__phases__0__set__rate": RATES["shapes"],
    **{f"train__phases__0__set__{name}": 10 for name in ("bias", "affine")},  # 1e6 would blow up rounding as well
}


class Threshold(torch.autograd.Function):
    """1 above 0.35, with the gradient of the identity."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return (x > 0.35).to(x.dtype)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 5), nn.Conv2d(3, 4, 3)])
        self.hidden, self.last = nn.Linear(4 * 4 * 4, 32), nn.Linear(32, 6)

    def ordered(self) -> list[nn.Parameter]:
        modules = (*self.convs, self.hidden, self.last)
        return [p for module in modules for p in module.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        h = functional.selu(functional.max_pool2d(self.convs[0](x), 2))
        h = functional.selu(self.hidden(functional.selu(self.convs[1](h)).flatten(1)))
        theta = (self.last(h) + torch.tensor([1.0, 0, 0, 0, 1, 0], dtype=x.dtype)).view(-1, 2, 3)
        return functional.affine_grid(theta, list(x.shape), align_corners=True)


class Bend(nn.Module):
    """Steps along both axes, never negative, and their sums."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, F, 7), nn.Conv2d(F, 2 * F, 3, 2, 1), nn.Conv2d(2 * F, 4 * F, 3, 2, 1)])
        self.block = nn.ModuleList([nn.Conv2d(4 * F, 4 * F, 3), nn.Conv2d(4 * F, 4 * F, 3)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(4 * F, 2 * F, 3, 2, 1, 1), nn.ConvTranspose2d(2 * F, F, 3, 2, 1, 1)]
        )
        self.last = nn.Conv2d(F, 2, 7)

    def ordered(self) -> list[nn.Parameter]:
        return [p for m in (*self.down, *self.block, *self.up, self.last) for p in m.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        def padded(h: Tensor, by: int) -> Tensor:
            return functional.pad(h, (by,) * 4, mode="reflect")

        norm = functional.instance_norm
        h = norm(self.down[0](padded(x, 3))).relu()
        for conv in self.down[1:]:
            h = norm(conv(h)).relu()
        h = h + norm(self.block[1](padded(norm(self.block[0](padded(h, 1))).relu(), 1)))
        for conv in self.up:
            h = norm(conv(h)).relu()
        step = functional.hardtanh(self.last(padded(h, 3)), 0, 0.1) * 50 / SIZE
        right, down = torch.ones(1, 1, 1, SIZE, dtype=x.dtype), torch.ones(1, 1, SIZE, 1, dtype=x.dtype)
        summed = [functional.conv_transpose2d(step[:, k : k + 1], kernel) for k, kernel in ((0, right), (1, down))]
        return torch.cat([each[:, :, :SIZE, :SIZE] for each in summed], 1) - 1.01


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        w = [F * min(2**k, 8) for k in range(LEVELS)]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise([1, *w]))
        ups = [(w[3], w[2]), (2 * w[2], w[1]), (2 * w[1], w[0]), (2 * w[0], 3)]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in ups)

    def ordered(self) -> list[nn.Parameter]:
        return [p for m in (*self.down, *self.up) for p in m.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.down[0](x)]
        for number, conv in enumerate(self.down[1:], 1):
            h = conv(functional.leaky_relu(kept[-1], 0.2))
            kept.append(functional.instance_norm(h) if number < LEVELS - 1 else h)
        h = kept[-1]
        for number, conv in enumerate(self.up[:-1]):
            h = torch.cat([kept[LEVELS - 2 - number], functional.instance_norm(conv(h.relu()))], 1)
        return torch.tanh(self.up[-1](h.relu()))


class Critic(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv2d(inputs, F, 4, 2, 1), nn.Conv2d(F, 2 * F, 4, 1, 1), nn.Conv2d(2 * F, 1, 4, 1, 1)]
        )

    def ordered(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.convs
        h = functional.leaky_relu(first(x), 0.2)
        return last(functional.leaky_relu(functional.instance_norm(second(h)), 0.2))


class Loop:
    def __init__(self, engine: gangraph.Trainer) -> None:
        self.networks = {"T": Affine(), "S": Bend(), "I": Unet(), "D_s": Critic(1), "D_i": Critic(3)}
        self.groups = {"shapes": "ST", "images": "I", "critic_s": ("D_s",), "critic_i": ("D_i",)}
        for number, (name, mine) in enumerate(self.networks.items()):
            theirs = engine.networks[name]
            with torch.no_grad():
                for place, parameter in enumerate(theirs.parameters()):
                    spread = 0.02 if name == "T" else 0.1
                    parameter.add_(normals(1, *parameter.shape, seed=100 * number + place)[0], alpha=spread)
                if name == "S":  # about as many pixels a step as moves nothing
                    *_, last = theirs.parameters()
                    last.fill_(0.04)
            copy_parameters(theirs, nn.ParameterList(mine.double().ordered()))
        self.begin()

    def begin(self) -> None:
        """Optimizers begin anew in each phase."""
        self.optimizers = {
            group: torch.optim.Adam(
                [p for name in names for p in self.networks[name].ordered()], lr=RATES[group], betas=(0.5, 0.999)
            )
            for group, names in self.groups.items()
        }

    def step(self, x: dict[str, Tensor], still_phase: bool) -> dict[str, float]:
        """One step in the order of the code: shapes, images, then both critics."""
        smooth, bias, affine = (1.0, 10.0, 10.0) if still_phase else (SMOOTH, BIAS, AFFINE)
        nets = self.networks
        line = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
        still = torch.stack([line.expand(SIZE, SIZE), line[:, None].expand(SIZE, SIZE)])[None]

        turned = nets["T"](x["a"])
        a, mask = (functional.grid_sample(x[k], turned, padding_mode="border", align_corners=True) for k in ("a", "m"))
        bent = nets["S"](a)
        soft = functional.grid_sample(mask, bent.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=True)
        mask = Threshold.apply(soft)
        fake, rec = nets["I"](mask.detach()), nets["I"](x["mb"])

        off = bent - still
        rough = (off[..., 1:] - off[..., :-1]).abs().sum() + (off[..., 1:, :] - off[..., :-1, :]).abs().sum()
        found = {
            "rough": smooth * rough,
            "biased": bias * (bent.mean(0, keepdim=True) - still).square().mean(),
            "affine_off": affine * (turned.mean(0).permute(2, 0, 1)[None] - still).square().mean(),
        }
        shapes = found["rough"] + found["biased"] + found["affine_off"]
        if still_phase:
            move(shapes, self.optimizers["shapes"])
            return {name: float(value.detach()) for name, value in found.items()}
        found["fool_s"] = (nets["D_s"](mask) - 1).square().mean()
        move(shapes + found["fool_s"], self.optimizers["shapes"])
        found["fool_i"] = IMAGE * (nets["D_i"](fake) - 1).square().mean()
        found["copied"] = (rec - x["b"]).abs().mean()
        move(found["fool_i"] + found["copied"], self.optimizers["images"])
        for name, group, real, made in (("D_s", "critic_s", x["mb"], mask), ("D_i", "critic_i", x["b"], fake)):
            critic = nets[name]
            judge = 0.5 * ((critic(real) - 1).square().mean() + critic(made.detach()).square().mean())
            found["judge" + name[1:]] = judge
            move(judge, self.optimizers[group])
        return {name: float(value.detach()) for name, value in found.items()}


def drawn(number: int) -> dict[str, Tensor]:
    a, b = (each.clamp(-1, 1) for each in normals(2, BATCH, 3, SIZE, SIZE, seed=number))
    m, mb = ((each > 0).double() for each in normals(2, BATCH, 1, SIZE, SIZE, seed=500 + number))
    return {"a": a, "b": b, "m": m, "mb": mb}


@PLANS
def test_both_phases_agree_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("deformation", **SETTINGS), share=share, merge=merge)
    loop = Loop(engine)
    ordered = {name: nn.ParameterList(each.ordered()) for name, each in loop.networks.items()}
    started = snapshot(ordered)
    for phase in (0, 1):
        if phase:
            engine.next_phase()
            loop.begin()
        for number in range(LENGTHS[phase]):
            x = drawn(10 * phase + number)
            source = {"figure": x["a"][:, None], "silhouette": x["m"][:, None]}
            given: dict[str, object] = {"source": source}
            if phase:
                given["target"] = {"figure": x["b"][:, None], "silhouette": x["mb"][:, None]}
            found, expected = engine.step(given), loop.step(x, not phase)
            for name, value in expected.items():
                assert deviation(found[name], value) < 1e-8, (phase, number, name)
    # Biases before a norm have no gradient but by rounding, of which Adam makes steps.
    assert worst(error for _, error in parameter_deviations(engine, ordered, started, still=1e-7)) < 1e-8


def test_a_grid_that_moves_nothing_leaves_joints_and_silhouettes() -> None:
    places = {f"evaluate__values__at_{kind}": "coordinates(a)" for kind in ("turned", "bent")}
    look = trainer(load("deformation", params__size=64, params__levels=6, **places)).evaluate(6)
    assert look is not None
    found = look.metrics
    assert found["overlap"] == pytest.approx(found["overlap_before"], abs=1e-6)
    assert 0 < found["joints"] == pytest.approx(found["joints_before"], abs=0.4)  # to the nearest pixel
    assert found["area"] == pytest.approx(found["area_a"])


def test_the_true_grid_brings_joints_home() -> None:
    """All pixels are moved by five to the right and three down, and so is every joint."""
    moved = 'coordinates(a) - rearrange(tensor([5, 3], like=a), "c -> 1 c 1 1")'
    spec = load(
        "deformation", params__size=64, params__levels=6,
        evaluate__values__at_turned=moved, evaluate__values__at_bent="coordinates(a)",
        evaluate__values__right='unmoved + rearrange(tensor([5, 3], like=a), "c -> 1 1 c")',
    )  # fmt: skip
    look = trainer(spec).evaluate(6)
    assert look is not None
    assert look.metrics["joints"] < 0.6
    assert look.metrics["joints_before"] == pytest.approx(34**0.5, abs=1e-4)


def test_it_resumes_to_the_bit_across_phases(tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("deformation", train__phases__0__length="1 steps"), tmp_path)


def test_selu_keeps_the_mean_and_the_spread_of_normal_numbers() -> None:
    x = torch.linspace(-6, 6, 100001, dtype=torch.float64)
    y, weight = selu(x), (-(x**2) / 2).exp() / (-(x**2) / 2).exp().sum()
    assert float((y * weight).sum()) == pytest.approx(0, abs=1e-6)
    assert float((y**2 * weight).sum()) == pytest.approx(1, abs=1e-6)
    assert float(selu(torch.tensor(2.0))) == pytest.approx(2 * 1.0507009873554805)
