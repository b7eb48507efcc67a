"""Many styles in one network, in float64 against a loop that is written here by hand."""

from itertools import chain, pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from tests.support import PLANS, deviation, load, normals, snapshot, trainer, worst

STEPS, BATCH, SIZE, FILTERS, STYLES, STRENGTH = 10, 2, 16, 2, 5, 0.75
WIDTHS = (2, 3, 3, 2)  # of the frozen features


class Painter(nn.Module):
    """The network with one block; scales and shifts are looked up, or mixed, and applied map by map."""

    def __init__(self, styles: int = STYLES) -> None:
        super().__init__()
        f = FILTERS
        sizes = [(3, f, 9), (f, 2 * f, 3), (2 * f, 4 * f, 3), (4 * f, 4 * f, 3), (4 * f, 4 * f, 3),
                 (4 * f, 2 * f, 3), (2 * f, f, 3), (f, 3, 9)]  # fmt: skip
        self.convs = nn.ModuleList(nn.Conv2d(a, b, side, bias=False) for a, b, side in sizes)
        self.gains = nn.ParameterList(torch.ones(b, styles) for _, b, _ in sizes)
        self.shifts = nn.ParameterList(torch.zeros(b, styles) for _, b, _ in sizes)

    def normed(self, number: int, x: Tensor, weights: Tensor, stride: int = 1) -> Tensor:
        conv = self.convs[number]
        assert isinstance(conv, nn.Conv2d)
        edge = conv.kernel_size[0] // 2
        x = functional.conv2d(functional.pad(x, (edge,) * 4, mode="reflect"), conv.weight, stride=stride)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        scale, shift = (sum(weights[:, s, None] * rows[:, s] for s in range(weights.shape[1]))
                        for rows in (self.gains[number], self.shifts[number]))  # fmt: skip
        return scale[:, :, None, None] * x + shift[:, :, None, None]

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        h = functional.relu(self.normed(0, x, weights))
        h = functional.relu(self.normed(1, h, weights, 2))
        h = functional.relu(self.normed(2, h, weights, 2))
        h = h + self.normed(4, functional.relu(self.normed(3, h, weights)), weights)
        for number in (5, 6):
            h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
            h = functional.relu(self.normed(number, h, weights))
        return 2 * torch.sigmoid(self.normed(7, h, weights)) - 1


class Features(nn.Module):
    """The last map of each of four blocks."""

    def __init__(self) -> None:
        super().__init__()
        inputs = [3, *chain(*([width] * depth for width, depth in zip(WIDTHS, (2, 2, 3, 3), strict=True)))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(inputs))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, conv in enumerate(self.convs):
            x = functional.relu(conv(x))
            if number in (1, 3, 6, 9):
                maps.append(x)
                x = functional.max_pool2d(x, 2)
        return maps


def gram(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def losses_of(y: Tensor, x: Tensor, style: Tensor, features: Features) -> dict[str, Tensor]:
    told, known, model = features(y), features(x), features(style)
    apart = [(gram(t) - gram(m)).square().mean() for t, m in zip(told, model, strict=True)]
    return {"content": functional.mse_loss(told[2], known[2]), "look": torch.stack(apart).sum()}


def drawn(number: int) -> tuple[Tensor, Tensor, Tensor]:
    x, style = (each.clamp(-1, 1) for each in normals(2, BATCH, 3, SIZE, SIZE, seed=number))
    return x, style, (torch.arange(BATCH) + number) % STYLES


def copied(engine: gangraph.Trainer) -> tuple[Painter, Features]:
    """Both networks, with parameters under which every layer counts."""
    with torch.no_grad():
        for number, parameter in enumerate(chain(*(engine.networks[name].parameters() for name in "TV"))):
            parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.2)
    painter, features = Painter().double(), Features().double()
    ours = dict(engine.networks["T"].named_parameters())
    with torch.no_grad():
        for name, mine in painter.named_parameters():
            mine.copy_(ours[their_name(name)])
        convs = [p for name, p in engine.networks["V"].named_parameters() if name.startswith("conv")]
        for mine, their in zip(features.parameters(), convs, strict=True):
            mine.copy_(their)
    return painter, features


def their_name(name: str) -> str:
    kind, number = name.split(".")[:2]
    return {"convs": f"map_{number}.conv2d", "gains": f"gain_{number}.linear", "shifts": f"shift_{number}.linear"}[
        kind
    ] + ".weight"


def follows(engine: gangraph.Trainer) -> None:
    """Hold the engine to the loop by hand, step by step."""
    painter, features = copied(engine)
    optimizer = torch.optim.Adam(painter.parameters(), lr=1e-3)
    for number in range(STEPS):
        x, style, label = drawn(number)
        found = engine.step({"x": x, "style": {"image": style, "label": label}})
        y = painter(x, functional.one_hot(label, STYLES).double())
        losses = losses_of(y, x, style, features)
        optimizer.zero_grad()
        (losses["content"] + STRENGTH * losses["look"]).backward()
        optimizer.step()
        assert {name: float(found[name]) for name in losses} == pytest.approx(
            {name: float(loss.detach()) for name, loss in losses.items()}, rel=1e-9
        )
    ours = dict(engine.networks["T"].named_parameters())
    assert worst(deviation(ours[their_name(n)].detach(), p.detach()) for n, p in painter.named_parameters()) < 1e-9


@PLANS
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    follows(trainer(load("cin", params__strength=STRENGTH), share=share, merge=merge))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the loop is on the CPU, where kernels need the interpreter")
def test_it_agrees_with_the_kernel_of_adain_in_every_layer() -> None:
    engine = trainer(load("cin", params__strength=STRENGTH), kernels="on")
    used = [use for lowered in engine.engine.program.segments.values() for use in lowered.kernels]
    assert [use.fusion.kernel for use in used if not use.fusion.why_not] == ["adain"] * 8
    follows(engine)


def test_a_new_style_moves_its_row_and_nothing_else() -> None:
    engine = trainer(load("cin", variant="new_style", train__phases__0__length="2 steps"))
    engine.train(steps=2)
    before = snapshot({"T": engine.networks["T"]})
    fresh = engine.next_phase()
    assert {path.split(".")[1].split("_")[0] for path in fresh} == {"gain", "shift"}
    rows = engine.networks["T"].state_dict()
    assert all(bool((rows[name] == name.startswith("gain")).all()) for name in rows if not name.startswith("map"))
    engine.train(steps=2)
    after = snapshot({"T": engine.networks["T"]})
    assert all(torch.equal(before[name], after[name]) for name in after if ".map_" in name)
    assert all(after[name].shape[1] == 1 for name in after if ".map_" not in name)
    assert not any(bool((after[name] == float(".gain_" in name)).all()) for name in after if ".map_" not in name)


def test_weights_mix_the_rows_of_styles() -> None:
    painter, _ = copied(engine := trainer(load("cin")))
    (x,) = normals(1, BATCH, 3, SIZE, SIZE)
    weights = torch.tensor([[0.25, 0, 0.75, 0, 0], [0, 0, 0, 1, 0]]).double()
    assert deviation(engine.networks["T"](x, weights).detach(), painter(x, weights).detach()) < 1e-12


def test_styles_begin_alike() -> None:
    """Scales of 1 and shifts of 0, after convolutions of N(0, 0.01)."""
    network = gangraph.Trainer(gangraph.load("cin", set={"networks.V": "small_vgg()"})).networks["T"]
    first = network.get_parameter("map_0.conv2d.weight")
    assert float(first.detach().std()) == pytest.approx(0.01, rel=0.05)
    x = normals(1, 1, 3, 64, 64)[0].float().expand(2, -1, -1, -1)
    one, other = network(x, torch.eye(5)[[0, 4]])
    assert torch.equal(one, other)


@pytest.mark.parametrize("styles", [1, 2, 10])
def test_a_style_costs_3206_numbers(styles: int) -> None:
    spec = gangraph.load("cin", profile="paper", set={"params.styles": styles})
    counts = gangraph.check_spec(spec)[0].networks
    assert counts["T"].parameters == 1_677_638 + 3_206 * (styles - 1)
