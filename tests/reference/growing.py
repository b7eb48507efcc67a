"""Growing and style-based generators in plain PyTorch: what a network computes from its stored parameters, by name.

Nothing here is a module. A network is a dictionary of tensors, so that a step of growth is: keep what has a name in
both, add what is new, begin with a new Adam.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad
from torch.optim import Adam

Parameters = dict[str, Tensor]
Losses = dict[str, float]
ROOT = math.sqrt(2)


def _of(p: Parameters, path: str, gain: float, rate: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """The weight and bias that an equalized layer uses."""
    weight, bias = (p.get(f"{path}.parametrizations.{name}.original") for name in ("weight", "bias"))
    assert weight is not None
    return weight * (rate * gain / math.sqrt(weight[0].numel())), None if bias is None else bias * rate


def _conv(p: Parameters, path: str, x: Tensor, gain: float = ROOT) -> Tensor:
    weight, bias = _of(p, path, gain)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _linear(p: Parameters, path: str, x: Tensor, gain: float = ROOT, rate: float = 1.0) -> Tensor:
    return F.linear(x, *_of(p, path, gain, rate))


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _pixel_norm(x: Tensor) -> Tensor:
    return x / torch.sqrt((x**2).mean(1, keepdim=True) + 1e-8)


def _twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _half(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _blur(x: Tensor) -> Tensor:
    row = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype) / 4
    return F.conv2d(x, torch.outer(row, row).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def _faded(coarse: Tensor, fine: Tensor, alpha: float) -> Tensor:
    return (1 - alpha) * coarse + alpha * fine


def generator(p: Parameters, z: Tensor, size: int, alpha: float | None) -> Tensor:
    """Karras et al. (2018), table 2; `alpha` is None where nothing is faded in."""
    x = F.linear(_pixel_norm(z), _of(p, "block_4.equalized", ROOT / 4)[0]).reshape(len(z), -1, 4, 4)
    x = _pixel_norm(_lrelu(x + p["block_4.bias.bias"][:, None, None]))
    x = _pixel_norm(_lrelu(_conv(p, "block_4.equalized_2", x)))
    before, side = x, 4
    while side < size:
        before, side = x, 2 * side
        for name, image in ((f"block_{side}.equalized", None), (f"block_{side}.equalized_2", x)):
            x = _pixel_norm(_lrelu(_conv(p, name, _twice(x) if image is None else x)))
    fine = _conv(p, f"rgb_{size}.equalized", x, 1.0)
    return fine if alpha is None else _faded(_twice(_conv(p, f"rgb_{size // 2}.equalized", before, 1.0)), fine, alpha)


def discriminator(p: Parameters, x: Tensor, size: int, alpha: float | None, group: int, smooth: bool = False) -> Tensor:
    """Karras et al. (2018), table 2; with `smooth` a blur before each convolution that is pooled."""
    h, side = _lrelu(_conv(p, f"rgb_{size}.equalized", x)), size
    while side > 4:
        h = _lrelu(_conv(p, f"block_{side}.equalized", h))
        h = _lrelu(_half(_conv(p, f"block_{side}.equalized_2", _blur(h) if smooth else h)))
        if side == size and alpha is not None:
            h = _faded(_lrelu(_conv(p, f"rgb_{side // 2}.equalized", _half(x))), h, alpha)
        side //= 2
    count = len(x) // group
    groups = torch.stack([h[i::count] for i in range(count)])  # members are i, i + N / group, ...
    spread = torch.sqrt(groups.var(1, unbiased=False) + 1e-8).mean((1, 2, 3)).repeat(group)
    h = torch.cat([h, spread[:, None, None, None].expand(-1, 1, 4, 4)], 1)
    h = _lrelu(_conv(p, "block_4.equalized", h)).flatten(1)
    return _linear(p, "block_4.equalized_3", _lrelu(_linear(p, "block_4.equalized_2", h)), 1.0)


def mapping(p: Parameters, z: Tensor, depth: int, rate: float = 0.01) -> Tensor:
    """Karras et al. (2019), figure 1b, on the left."""
    w = _pixel_norm(z)
    for k in range(1, depth + 1):
        w = _lrelu(_linear(p, "map.equalized" + (f"_{k}" if k > 1 else ""), w, ROOT, rate))
    return w


def synthesis(p: Parameters, styles: Tensor, noise: Sequence[Tensor], size: int, alpha: float | None) -> Tensor:
    """Karras et al. (2019), figure 1b, on the right; `styles` is [B, layers, F], `noise` one plane a layer."""

    def epilogue(x: Tensor, layer: int) -> Tensor:
        x = x + p[f"add_{layer}.noise.weight"][:, None, None] * noise[layer]
        x = _lrelu(x + p[f"end_{layer}.bias.bias"][:, None, None])
        x = (x - x.mean((2, 3), keepdim=True)) / torch.sqrt(x.var((2, 3), unbiased=False, keepdim=True) + 1e-8)
        scale, shift = _linear(p, f"style_{layer}.equalized", styles[:, layer], 1.0).chunk(2, 1)
        return x * (scale + 1)[:, :, None, None] + shift[:, :, None, None]

    x = p["first_4.learned_constant.value"].expand(len(styles), -1, -1, -1)
    x, side, before = epilogue(x, 0), 4, x
    while True:
        layer = 2 * int(math.log2(side)) - 3
        x = epilogue(_conv(p, f"second_{side}.equalized", x), layer)
        if side == size:
            break
        before, side = x, 2 * side
        x = epilogue(_blur(_conv(p, f"first_{side}.equalized", _twice(x))), layer + 1)
    fine = _conv(p, f"rgb_{size}.equalized", x, 1.0)
    return fine if alpha is None else _faded(_twice(_conv(p, f"rgb_{size // 2}.equalized", before, 1.0)), fine, alpha)


def _cross_faded(x: Tensor, alpha: float | None) -> Tensor:
    return x if alpha is None else _faded(_twice(_half(x)), x, alpha)


def _numbers(**losses: Tensor) -> Losses:
    return {name: float(loss.detach()) for name, loss in losses.items()}


class Loop:
    """What both loops have: networks by name, two Adams, averages, and growth."""

    def __init__(self, networks: dict[str, Parameters], rate: float, decay: float, players: dict[str, str]) -> None:
        self.networks, self.rate, self.decay, self.players = {}, rate, decay, players
        self.averages: dict[str, Parameters] = {}
        self.grow(networks)

    def grow(self, networks: dict[str, Parameters]) -> None:
        """Take over what is there by name, add what is new, drop what is not needed, and begin with new moments."""
        old, averaged = self.networks, self.averages
        self.networks = {
            name: {path: old.get(name, {}).get(path, t).detach().clone().requires_grad_() for path, t in fresh.items()}
            for name, fresh in networks.items()
        }
        self.averages = {
            name: {
                path: averaged.get(name, {}).get(path, t).detach().clone() for path, t in self.networks[name].items()
            }
            for name in self.players["averaged"]
        }
        self.optimizers = {
            player: Adam([t for name in names for t in self.networks[name].values()], self.rate, (0.0, 0.99))
            for player, names in self.players.items()
            if player != "averaged"
        }

    def update(self, player: str, loss: Tensor) -> None:
        """One step of a player, and of the averages of its networks."""
        parameters = [t for name in self.players[player] for t in self.networks[name].values()]
        for parameter, gradient in zip(parameters, grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self.optimizers[player].step()
        for name in self.averages:
            if name in self.players[player]:
                for path, mine in self.averages[name].items():
                    mine.mul_(self.decay).add_((1 - self.decay) * self.networks[name][path].detach())


class GrowingLoop(Loop):
    """Karras et al. (2018): Wasserstein with a gradient penalty and a drift, at one size."""

    def __init__(self, networks: dict[str, Parameters], rate: float, decay: float, group: int) -> None:
        super().__init__(networks, rate, decay, {"critic": "D", "generator": "G", "averaged": "G"})
        self.group = group

    def step(self, x: Tensor, zs: Sequence[Tensor], weight: Tensor, size: int, alpha: float | None) -> Losses:
        g, d = self.networks["G"], self.networks["D"]
        x = _cross_faded(x, alpha)
        fake = generator(g, zs[0], size, alpha).detach()
        mix = (x + weight[:, :, None, None] * (fake - x)).requires_grad_()
        (slope,) = grad(discriminator(d, mix, size, alpha, self.group).sum(), mix, create_graph=True)
        real = discriminator(d, x, size, alpha, self.group)
        penalty = 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        drift = 0.001 * (real**2).mean()
        judge = discriminator(d, fake, size, alpha, self.group).mean() - real.mean() + penalty + drift
        self.update("critic", judge)
        fool = -discriminator(d, generator(g, zs[1], size, alpha), size, alpha, self.group).mean()
        self.update("generator", fool)
        return _numbers(judge=judge, penalty=penalty, drift=drift, fool=fool)


class StyleLoop(Loop):
    """Karras et al. (2019): non-saturating losses with R1, mixed styles, and a running mean of w."""

    def __init__(self, networks: dict[str, Parameters], rate: float, decay: float, depth: int) -> None:
        super().__init__(networks, rate, decay, {"critic": "D", "generator": "MS", "averaged": "MS"})
        self.depth, self.centre = depth, torch.zeros(())

    def fake(
        self, codes: tuple[Tensor, Tensor], at: Tensor, noise: Sequence[Tensor], size: int, alpha: float | None
    ) -> Tensor:
        first, second = (mapping(self.networks["M"], code, self.depth) for code in codes)
        for w in (first, second):
            self.centre = 0.995 * self.centre + 0.005 * w.detach().mean(0)
        layers = range(2 * int(math.log2(size)) - 2)
        mixed = [torch.stack([first[i] if k < at[i] else second[i] for k in layers]) for i in range(len(at))]
        return synthesis(self.networks["S"], torch.stack(mixed), noise, size, alpha)

    def step(
        self,
        x: Tensor,
        codes: Sequence[tuple[Tensor, Tensor]],
        ats: Sequence[Tensor],
        noises: Sequence[Sequence[Tensor]],
        size: int,
        alpha: float | None,
    ) -> Losses:
        d = self.networks["D"]
        x = _cross_faded(x, alpha).requires_grad_()
        fake = self.fake(codes[0], ats[0], noises[0], size, alpha).detach()
        real = discriminator(d, x, size, alpha, 4, smooth=True)
        (slope,) = grad(real.sum(), x, create_graph=True)
        penalty = 5 * slope.pow(2).sum((1, 2, 3)).mean()
        score = discriminator(d, fake, size, alpha, 4, smooth=True)
        judge = F.softplus(score).mean() + F.softplus(-real).mean() + penalty
        self.update("critic", judge)
        again = self.fake(codes[1], ats[1], noises[1], size, alpha)
        fool = F.softplus(-discriminator(d, again, size, alpha, 4, smooth=True)).mean()
        self.update("generator", fool)
        return _numbers(judge=judge, penalty=penalty, fool=fool)
