"""Attention, contrast between places and between samples, Gram matrices and relativistic pairs, against a loop by hand.

In float64, under every plan, with batch norm and spectral norm in the discriminator, whose buffers agree as well.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from gangraph import Trainer
from gangraph.pipeline import check_spec
from tests.plans import PLANS
from tests.support import deviation, read, trainer, worst
from tests.test_resume import assert_same_checkpoints

BATCH, STEPS, RATE = 4, 20, 0.02
SPEC = """
gangraph: 1
name: algebra
data:
  x: normal(2, 4, 4)
  z: normal(2, 4, 4)
  y: categorical(3)
  order: uniform()
  places: permutation(16, count=5)
networks:
  G:
    inputs: z
    parts:
      first: conv2d(3, 3, padding=1), tanh
      q: linear(3)
      k: linear(3)
      v: linear(3)
      last: conv2d(2, 1), tanh
    values:
      h: first(z)
      tokens: rearrange(h, "b c h w -> b (h w) c")
      weights: softmax(einsum("b i c, b j c -> b i j", q(tokens), k(tokens)), dim=2)
      attended: einsum("b i j, b j c -> b i c", weights, v(tokens))
    output: last(h + rearrange(attended, "b (h w) c -> b c h w", h=4))
  E: {{inputs: x, layers: "conv2d(3, 3, padding=1), tanh"}}
  D:
    inputs: x
    parts: {{body: "conv2d(4, 3, padding=1), batch_norm, leaky_relu(0.2)", head: "flatten, spectral_norm(linear(1))"}}
    values: {{h: body(x)}}
    output: head(h)
    outputs: {{features: h}}
values:
  fake: G(z)
  mixed: take(x, argsort(order, dim=0))
  near: gather(rearrange(E(fake), "b c h w -> b (h w) c"), places)
  far: gather(rearrange(E(x), "c h w -> (h w) c"), places)
  query: near / sqrt(reduce(near ** 2, "b n c -> b n 1", "sum"))
  key: detach(far / sqrt(reduce(far ** 2, "b n c -> b n 1", "sum")))
  alike: einsum("b i c, b j c -> b i j", query, key) / 0.07
  pairs: einsum("i c h w, j c h w -> i j", E(fake), E(x))
  soft: where(y == 1, D(mixed), roll(D(mixed), 1, dim=0))
losses:
  judge: mean(softplus(D(fake) - D(x))) + 0.1 * mean(soft ** 2) + 0.05 * mean(topk(D(fake), 2, dim=0))
  fool: mean(softplus(D(x) - D(fake)))
  places_nce: mean(logsumexp(alike, dim=2) - einsum("b i i -> b i", alike))
  samples_nce: >-
    mean(logsumexp(where(eye(pairs) + (pairs > 3) > 0, pairs, 0.5 * pairs), dim=1) - einsum("i i -> i", pairs))
  style: >-
    l2(einsum("b c h w, b d h w -> b c d", D(fake).features, D(fake).features) / 16,
    einsum("b c h w, b d h w -> b c d", D(x).features, D(x).features) / 16)
train:
  batch: {batch}
  length: 100 steps
  optimizers: {{g: "sgd([G, E], lr={rate})", d: "sgd(D, lr={rate})"}}
  step:
    - {{update: d, minimize: judge}}
    - {{update: g, minimize: fool + 0.1 * places_nce + 0.1 * samples_nce + style}}
"""


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, 1)
        self.q, self.k, self.v = (nn.Linear(3, 3) for _ in range(3))

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z).tanh()
        tokens = h.flatten(2).transpose(1, 2)
        weights = (self.q(tokens) @ self.k(tokens).transpose(1, 2)).softmax(2)
        return torch.tanh(self.last(h + (weights @ self.v(tokens)).transpose(1, 2).reshape(h.shape)))


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(64, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.leaky_relu(self.norm(self.conv(x)), 0.2)
        return self.head(h.flatten(1)), h


def gram(h: Tensor) -> Tensor:
    return torch.stack([torch.stack([torch.stack([(a * b).sum() for b in s]) for a in s]) for s in h]) / 16


def at(maps: Tensor, places: Tensor) -> Tensor:
    chosen = torch.stack([sample.flatten(1).t()[own] for sample, own in zip(maps, places, strict=True)])
    return chosen / chosen.pow(2).sum(2, keepdim=True).sqrt()


class Loop:
    """One step by hand: the discriminator, then generator and encoder."""

    def __init__(self, g: Generator, e: nn.Module, d: Discriminator) -> None:
        self.g, self.e, self.d = g, e, d
        self.of_g = SGD([*g.parameters(), *e.parameters()], lr=RATE)
        self.of_d = SGD(d.parameters(), lr=RATE)

    def step(self, drawn: Mapping[str, Tensor]) -> dict[str, float]:
        x, fake = drawn["x"], self.g(drawn["z"])
        of_mixed, _ = self.d(x[drawn["order"].argsort()])
        (of_fake, _), (of_x, _) = self.d(fake.detach()), self.d(x)
        following = of_mixed[[BATCH - 1, *range(BATCH - 1)]]
        soft = torch.stack([(a if y == 1 else b) for a, b, y in zip(of_mixed, following, drawn["y"], strict=True)])
        judge = F.softplus(of_fake - of_x).mean() + 0.1 * soft.pow(2).mean()
        judge = judge + 0.05 * of_fake.sort(0, descending=True).values[:2].mean()
        self._descend(self.of_d, judge)

        (of_fake, h_fake), (of_x, h_x) = self.d(fake), self.d(x)
        near, far = self.e(fake).tanh(), self.e(x).tanh()
        query, key = at(near, drawn["places"]), at(far, drawn["places"]).detach()
        classes = torch.arange(5).expand(BATCH, 5)
        places = F.cross_entropy((query @ key.transpose(1, 2) / 0.07).transpose(1, 2), classes)
        pairs = near.flatten(1) @ far.flatten(1).t()
        kept = (torch.eye(BATCH) + (pairs > 3)) > 0
        samples = (torch.where(kept, pairs, pairs / 2).logsumexp(1) - pairs.diagonal()).mean()
        style, fool = F.mse_loss(gram(h_fake), gram(h_x)), F.softplus(of_x - of_fake).mean()
        self._descend(self.of_g, fool + 0.1 * places + 0.1 * samples + style)
        made = {"judge": judge, "fool": fool, "places_nce": places, "samples_nce": samples, "style": style}
        return {name: float(value.detach()) for name, value in made.items()}

    @staticmethod
    def _descend(optimizer: SGD, loss: Tensor) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()


def draws(step: int) -> dict[str, Tensor]:
    own = torch.Generator().manual_seed(step)
    x, z = (torch.randn(BATCH, 2, 4, 4, generator=own, dtype=torch.float64) for _ in range(2))
    return {
        "x": x,
        "z": z,
        "y": torch.randint(3, (BATCH,), generator=own),
        "order": torch.rand(BATCH, generator=own, dtype=torch.float64),
        "places": torch.stack([torch.randperm(16, generator=own)[:5] for _ in range(BATCH)]),
    }


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_trains_as_the_loop_by_hand(plan: str) -> None:
    share, merge = PLANS[plan]
    engine = trainer(read(SPEC.format(batch=BATCH, rate=RATE)), share=share, merge=merge)
    made = {"G": Generator().double(), "E": nn.Conv2d(2, 3, 3, padding=1).double(), "D": Discriminator().double()}
    for name, network in made.items():
        network.load_state_dict(named_as_by_hand(name, engine.networks[name].state_dict()))
    loop = Loop(made["G"], made["E"], made["D"])  # type: ignore[arg-type]
    found: dict[str, float] = {}
    for step in range(STEPS):
        drawn = draws(step)
        losses, expected = engine.step(drawn), loop.step(drawn)
        assert losses.keys() == expected.keys()
        found |= {f"{name} of step {step}": deviation(losses[name], expected[name]) for name in expected}
    for name, network in made.items():
        theirs = named_as_by_hand(name, engine.networks[name].state_dict())
        found |= {f"{name}.{path}": deviation(theirs[path], mine) for path, mine in network.state_dict().items()}
    assert {name: off for name, off in found.items() if not off <= 1e-9} == {}, worst(found.values())


# Where each tensor of a network by hand stands in the engine's.
NAMES = {
    "G": {"first": "first.conv2d", "last": "last.conv2d", "q": "q.linear", "k": "k.linear", "v": "v.linear"},
    "E": {"": "layers.conv2d"},
    "D": {"conv": "body.conv2d", "norm": "body.batch_norm", "head": "head.spectral_norm"},
}


def named_as_by_hand(network: str, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the engine's network under the names that they have in the one by hand."""
    places = {there: here for here, there in NAMES[network].items()}
    parts = {path: next(there for there in places if path.startswith(f"{there}.")) for path in theirs}
    return {f"{places[part]}.{path.removeprefix(f'{part}.')}".lstrip("."): theirs[path] for path, part in parts.items()}


def test_what_mixes_samples_is_known_by_its_arguments() -> None:
    (checked,) = check_spec(read(SPEC.format(batch=BATCH, rate=RATE)))
    assert {name: model.coupling for name, model in checked.networks.items()} == {
        "G": (),
        "E": (),
        "D": ("batch_norm",),
    }
    assert checked.lints == ()


def test_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    spec = read(SPEC.format(batch=BATCH, rate=RATE))
    whole, first = (trainer(spec, seed=3, precision="fp32") for _ in range(2))
    expected = whole.train(steps=8)
    first.train(steps=4)
    resumed = Trainer.resume(first.save(tmp_path / "first"), device="cpu")
    assert resumed.train(steps=4) == expected
    assert_same_checkpoints(whole.save(tmp_path / "whole"), resumed.save(tmp_path / "resumed"))
