"""Two games that are dual: in float64 against a loop that is written here by hand."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    normals,
    parameter_deviations,
    resumes_to_the_bit,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, FILTERS, LEVELS, CRITICS = 6, 2, 16, 2, 4, 2
RATE, WEIGHT, LIMIT = 5e-4, 100, 0.05
EPS = 1e-6
SETTLED = {  # a parameter before a norm has no gradient but by rounding, which the spec's 1e-10 would blow up
    f"train.optimizers.{group}.eps": 1e-5 for group in ("translators", "critics")
}


def scaled(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + EPS).sqrt() * gain[None, :, None, None] + shift[None, :, None, None]


class Norm(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(*shape)), nn.Parameter(torch.zeros(shape[0]))

    def forward(self, x: Tensor) -> Tensor:
        return scaled(x, self.weight.flatten(), self.bias)


class Translator(nn.Module):
    """16 pixels to 1 and back; TensorFlow's borders are one pixel more to the right and below."""

    def __init__(self) -> None:
        super().__init__()
        w = [FILTERS * min(2**k, 8) for k in range(LEVELS)]
        self.down = nn.ModuleList(nn.Conv2d(a, b, k, stride=2) for a, b, k in
                                  ((3, w[0], 5), (w[0], w[1], 3), (w[1], w[2], 3), (w[2], w[3], 3)))  # fmt: skip
        self.down_norm = nn.ModuleList(Norm(width) for width in w[1:3])
        self.inner = Norm(w[3], 1, 1, 1)  # as a convolution of each channel by itself
        up = ((w[3], w[2], 3), (2 * w[2], w[1], 3), (2 * w[1], w[0], 3), (2 * w[0], 3, 5))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, k, stride=2) for a, b, k in up)
        self.up_norm = nn.ModuleList(Norm(width) for width in (w[2], w[1], w[0]))

    def ordered(self) -> list[nn.Parameter]:
        """The parameters in the order of the network file."""
        (d1, d2, d3, d4), (n2, n3) = self.down, self.down_norm
        (u4, u3, u2, u1), (m4, m3, m2) = self.up, self.up_norm
        modules = (d1, d2, n2, d3, n3, d4, self.inner, u4, m4, u3, m3, u2, m2, u1)
        return [parameter for module in modules for parameter in module.parameters()]

    def forward(self, x: Tensor, masks: list[Tensor]) -> Tensor:
        kept = [self.down[0](functional.pad(x, (1, 2, 1, 2)))]
        for number in (1, 2, 3):
            h = self.down[number](functional.pad(functional.leaky_relu(kept[-1], 0.2), (0, 1, 0, 1)))
            kept.append(self.down_norm[number - 1](h) if number < 3 else self.inner(h))
        h = kept[3]
        for number in (0, 1, 2):
            h = self.up[number](functional.relu(h))[:, :, :-1, :-1]
            h = self.up_norm[number](h) * masks[number]
            h = torch.cat([h, kept[2 - number]], dim=1)
        return torch.tanh(self.up[3](functional.relu(h))[:, :, 1:-2, 1:-2])


class Critic(nn.Module):
    """One halving, then scores of patches."""

    def __init__(self) -> None:
        super().__init__()
        f = FILTERS
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(3, f, 4, stride=2, padding=1),
                nn.Conv2d(f, 2 * f, 4, padding=1),
                nn.Conv2d(2 * f, 1, 4, padding=1),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.convs
        h = functional.leaky_relu(first(x), 0.2)
        return last(functional.leaky_relu(functional.instance_norm(second(h)), 0.2))


def masks_of(seed: int) -> list[Tensor]:
    """Of the three levels that drop: what is kept counts twice."""
    shapes = ((BATCH, 4 * FILTERS, 2, 2), (BATCH, 2 * FILTERS, 4, 4), (BATCH, FILTERS, 8, 8))
    return [(normals(1, *shape, seed=seed + place)[0] > 0).double() * 2 for place, shape in enumerate(shapes)]


def wasserstein(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    return d(fake).mean() - d(real).mean()


def step(loss: Tensor, optimizer: torch.optim.RMSprop) -> None:
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


@PLANS
def test_the_dual_games_agree_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("dualgan", params__limit=LIMIT, **SETTLED), share=share, merge=merge)
    g, f, d_x, d_y = Translator().double(), Translator().double(), Critic().double(), Critic().double()
    networks = {
        "G": nn.ParameterList(g.ordered()), "F": nn.ParameterList(f.ordered()),
        "D_x": nn.ParameterList(d_x.parameters()), "D_y": nn.ParameterList(d_y.parameters()),
    }  # fmt: skip
    for name, mine in networks.items():
        copy_parameters(engine.networks[name], mine)
    started = snapshot(networks)
    players = [[*networks["G"], *networks["F"]], [*networks["D_x"], *networks["D_y"]]]
    translators, critics = (torch.optim.RMSprop(each, lr=RATE, alpha=0.9, eps=1e-5) for each in players)
    for number in range(STEPS):
        pairs = [normals(2, BATCH, 3, SIZE, SIZE, seed=1000 * number + each) for each in range(CRITICS + 1)]
        masks = [[masks_of(1000 * number + 100 * call + 10 * each) for each in range(CRITICS + 1)] for call in range(4)]
        given: dict[str, object] = {"x": [x for x, _ in pairs], "y": [y for _, y in pairs]}
        for call, of_call in zip(("fake_y", "fake_x", "rec_x", "rec_y"), masks, strict=True):
            for place, level in enumerate((4, 3, 2)):
                drawn = [each[place] for each in of_call]
                given[f"{call}:up_{level}.dropout"] = drawn if call.startswith("fake") else drawn[-1]
        found = engine.step(given)
        for (x, y), keep_y, keep_x in zip(pairs[:-1], masks[0], masks[1], strict=False):
            step(wasserstein(d_x, x, f(y, keep_x).detach()) + wasserstein(d_y, y, g(x, keep_y).detach()), critics)
            for parameter in players[1]:
                parameter.data.clamp_(-LIMIT, LIMIT)
        (x, y), (fake_y, fake_x, rec_x, rec_y) = pairs[-1], [each[-1] for each in masks]
        made_y, made_x = g(x, fake_y), f(y, fake_x)
        fool = -d_x(made_x).mean() - d_y(made_y).mean()
        back = WEIGHT * ((f(made_y, rec_x) - x).abs().mean() + (g(made_x, rec_y) - y).abs().mean())
        step(fool + back, translators)
        assert deviation(found["fool"], fool.detach()) < 1e-8
        assert deviation(found["back"], back.detach()) < 1e-8
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9)) < 1e-8
    assert all(
        float(p.detach().abs().max()) <= LIMIT for name in ("D_x", "D_y") for p in engine.networks[name].parameters()
    )


def test_the_innermost_level_says_no_more_than_its_bias() -> None:
    network = trainer(load("dualgan", params__drop=0)).networks["G"]
    (x,) = normals(1, BATCH, 3, SIZE, SIZE)
    before = network(x)
    with torch.no_grad():
        network.get_parameter("down_4.conv2d.weight").normal_()
        assert torch.equal(network(x), before)
        network.get_parameter("still.conv2d.bias").normal_()
        assert not torch.allclose(network(x), before)


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("dualgan"), tmp_path)
