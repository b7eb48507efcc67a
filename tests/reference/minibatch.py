"""Minibatch discrimination, weight norm, label smoothing and historical averaging with few labels, by hand.

Layers keep a bias, a direction and, where it is learned, a length. Random draws come in as arguments.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad
from torch.optim import Adam

from tests.reference.loops import Losses


class NormedConv(nn.Module):
    """A convolution, or its transpose, whose weights have one length per output channel: fixed, or learned from 1."""

    def __init__(self, i: int, o: int, k: int, stride: int = 1, pad: int = 0, gain: float | None = None) -> None:
        super().__init__()
        self.transposed, self.fixed, self.stride, self.pad = gain is None, gain, stride, pad
        self.bias = nn.Parameter(torch.zeros(o))
        self.direction = nn.Parameter(torch.randn(*((i, o) if self.transposed else (o, i)), k, k))
        self.length = nn.Parameter(torch.ones(o)) if gain is None else None

    def forward(self, x: Tensor) -> Tensor:
        v = self.direction.transpose(0, 1) if self.transposed else self.direction
        lengths = torch.full((len(v),), self.fixed, dtype=x.dtype) if self.length is None else self.length
        rows = [length * unit / unit.pow(2).sum().sqrt() for length, unit in zip(lengths, v, strict=True)]
        w = torch.stack(rows)
        if not self.transposed:
            return F.conv2d(x, w, self.bias, self.stride, self.pad)
        return F.conv_transpose2d(x, w.transpose(0, 1), self.bias, self.stride, self.pad, output_padding=1)


class CoupledGenerator(nn.Module):
    """Uniform noise to images of 16 px: batch norm without a gain, shifts that are learned, and a normed last layer."""

    def __init__(self, nz: int, filters: int) -> None:
        super().__init__()
        self.filters = filters
        self.first = nn.Linear(nz, 64 * filters, bias=False)
        self.shift = nn.Parameter(torch.zeros(64 * filters))
        self.up = nn.ConvTranspose2d(4 * filters, filters, 5, 2, 2, output_padding=1, bias=False)
        self.shift_up = nn.Parameter(torch.zeros(filters))
        self.last = NormedConv(filters, 1, 5, 2, 2)

    def parameters_in_order(self) -> list[nn.Parameter]:
        last = self.last
        assert last.length is not None
        return [self.first.weight, self.shift, self.up.weight, self.shift_up, last.bias, last.direction, last.length]

    def forward(self, z: Tensor) -> Tensor:
        h = F.relu(_standard(self.first(z)) + self.shift).reshape(len(z), 4 * self.filters, 4, 4)
        h = F.relu(_standard(self.up(h)) + self.shift_up[:, None, None])
        return torch.tanh(self.last(h))


class CoupledDiscriminator(nn.Module):
    """Images to the logits of classes. Each sample is compared with every other one in a loop over pairs."""

    def __init__(self, filters: int, classes: int, kernels: int, dims: int, gain: float) -> None:
        super().__init__()
        f, self.kernels, self.dims = filters, kernels, dims
        sizes = [(1, f, 1), (f, f, 1), (f, f, 2), (f, 2 * f, 1), (2 * f, 2 * f, 1), (2 * f, 2 * f, 2)]
        self.convs = nn.ModuleList(NormedConv(i, o, 3, stride, 1, gain) for i, o, stride in sizes)
        self.top = nn.ModuleList(NormedConv(2 * f, 2 * f, k, 1, 0, gain) for k in (3, 1, 1))
        self.tensor = nn.Parameter(torch.randn(kernels * dims, 2 * f))
        self.log_scale = nn.Parameter(torch.zeros(kernels * dims))
        self.offset = nn.Parameter(torch.zeros(kernels))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.direction = nn.Parameter(torch.randn(classes, 2 * f + kernels))
        self.length = nn.Parameter(torch.ones(classes))

    def parameters_in_order(self) -> list[nn.Parameter]:
        convs = [p for conv in (*self.convs, *self.top) for p in conv.parameters()]
        return [*convs, self.tensor, self.log_scale, self.offset, self.bias, self.direction, self.length]

    def forward(self, x: Tensor, noise: Sequence[Tensor]) -> Tensor:
        h = x + noise[0]
        for k, conv in enumerate(self.convs):
            h = F.leaky_relu(conv(h), 0.2)
            h = h * noise[k // 3 + 1] if k % 3 == 2 else h
        for conv in self.top:
            h = F.leaky_relu(conv(h), 0.2)
        h = h.mean((2, 3))
        h = torch.cat([h, self._nearness(h)], 1)
        w = self.direction / self.direction.pow(2).sum(1, keepdim=True).sqrt() * self.length[:, None]
        return h @ w.t() + self.bias

    def _nearness(self, h: Tensor) -> Tensor:
        t = self.tensor / self.tensor.pow(2).sum(1, keepdim=True).sqrt() * self.log_scale.exp()[:, None]
        m = [(t @ row).reshape(self.kernels, self.dims) for row in h]
        sums = [sum(torch.exp(-(a - b).abs().sum(1)) for j, b in enumerate(m) if j != i) for i, a in enumerate(m)]
        return torch.stack([torch.as_tensor(each) for each in sums]) + self.offset


class CoupledLoop:
    """One step of the discriminator, three of the generator; both are drawn to the mean of their past parameters."""

    def __init__(self, generator: CoupledGenerator, discriminator: CoupledDiscriminator, lr: float) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.g, self.d = generator.parameters_in_order(), discriminator.parameters_in_order()
        self.optimizers = {id(each): Adam(each, lr, (0.5, 0.999)) for each in (self.g, self.d)}
        self.means = {id(each): [p.detach().clone() for p in each] for each in (self.g, self.d)}
        self.steps = 0

    def step(
        self,
        real: Tensor,
        known: Tensor,
        label: Tensor,
        zs: Sequence[Tensor],
        noises: dict[str, Sequence[Sequence[Tensor]]],
    ) -> Losses:
        fake = self.generator(zs[0]).detach()
        ((on_real,), (on_known,), on_fakes) = noises["real"], noises["known"], noises["fake"]
        l_real = self.discriminator(real, on_real).logsumexp(1)
        l_fake = self.discriminator(fake, on_fakes[0]).logsumexp(1)
        told = self.discriminator(known, on_known)
        classify = (told.logsumexp(1) - told.gather(1, label[:, None])[:, 0]).mean()
        unlabelled = -(0.9 * F.logsigmoid(l_real) + 0.1 * F.logsigmoid(-l_real)).mean() + F.softplus(l_fake).mean()
        settle_d = self._settle(self.d)
        judge = 0.5 * unlabelled + classify + settle_d
        self._descend(self.d, judge)
        for z, noise in zip(zs[1:], on_fakes[1:], strict=True):
            settle_g = self._settle(self.g)
            fool = -F.softplus(self.discriminator(self.generator(z), noise).logsumexp(1)).mean() + settle_g
            self._descend(self.g, fool)
        self.steps += 1
        found = {"judge": judge, "classify": classify, "fool": fool, "settle_D": settle_d, "settle_G": settle_g}
        return {name: loss.item() for name, loss in found.items()}

    def _settle(self, parameters: list[nn.Parameter]) -> Tensor:
        pairs = zip(parameters, self.means[id(parameters)], strict=True)
        return torch.stack([((p - mean) ** 2).sum() for p, mean in pairs]).sum()

    def _descend(self, parameters: list[nn.Parameter], loss: Tensor) -> None:
        for parameter, gradient in zip(parameters, grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self.optimizers[id(parameters)].step()
        for parameter, mean in zip(parameters, self.means[id(parameters)], strict=True):
            mean.copy_((self.steps * mean + parameter.detach()) / (self.steps + 1))


def _standard(x: Tensor) -> Tensor:
    """Each feature without its mean, over its deviation in the batch."""
    dims = [0, *range(2, x.dim())]
    centred = x - x.mean(dims, keepdim=True)
    standard: Tensor = centred / (centred.pow(2).mean(dims, keepdim=True) + 1e-5).sqrt()
    return standard
