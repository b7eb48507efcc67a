"""Codes from which images are rebuilt: in float64 against loops that are written here by hand."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.data.digits import Digits
from gangraph.language.spec import Spec
from gangraph.vocabulary.metrics.codes import pca_error
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    move,
    normals,
    parameter_deviations,
    read,
    resumes_to_the_bit,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, HIDDEN, CODES = 8, 5, 8, 6, 3
POINTS, FILTERS = 24, 2
SINGLE = {"params.widths": [], "params.up": []}
SPARSE = {
    **SINGLE, "params.latents": 4, "params.side": 4, "params.apart": 4,
    "data.images": "fixed(world(size=24, channels=1))",
    "train.optimizers.coder.max_iter": 3,  # many more would blow rounding up
}  # fmt: skip


def images(number: int) -> Tensor:
    return torch.rand(BATCH, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


def labels() -> Tensor:
    return torch.zeros(BATCH, dtype=torch.int64)


def logistic(widths: list[int]) -> nn.Sequential:
    """Linear layers with sigmoids between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.Sigmoid()]
    return nn.Sequential(*layers[:-1]).double()


def cross_entropy(probability: Tensor, x: Tensor) -> Tensor:
    nats = -x * torch.log(probability) - (1 - x) * torch.log(1 - probability)
    return nats.flatten(1).sum(1).mean()


def adam(networks: dict[str, nn.Module], rate: float) -> torch.optim.Adam:
    return torch.optim.Adam([p for network in networks.values() for p in network.parameters()], lr=rate)


def differs(engine: gangraph.Trainer, networks: dict[str, nn.Module], started: dict[str, Tensor]) -> float:
    return worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-9))


@PLANS
def test_the_bottleneck_agrees_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("autoencoder"), share=share, merge=merge)
    networks: dict[str, nn.Module] = {
        "encoder": logistic([SIZE**2, HIDDEN, CODES]), "decoder": logistic([CODES, HIDDEN, SIZE**2]),
    }  # fmt: skip
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started, optimizer = snapshot(networks), adam(networks, 1e-3)
    for number in range(STEPS):
        x = images(number)
        found = engine.step({"images": {"image": x, "label": labels()}})
        loss = cross_entropy(torch.sigmoid(networks["decoder"](networks["encoder"](x))), x.flatten(1))
        move(loss, optimizer)
        assert deviation(found["rebuild"], loss.detach()) < 1e-10
    assert differs(engine, networks, started) < 1e-8


@PLANS
def test_tied_weights_and_missing_pixels_agree_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("autoencoder", variant="denoising", **SINGLE, params__rate=0.1), share=share, merge=merge)
    encoder, shift = nn.Linear(SIZE**2, CODES).double(), nn.Parameter(torch.zeros(SIZE**2, dtype=torch.float64))
    copy_parameters(engine.networks["encoder"], encoder)
    optimizer = torch.optim.SGD([*encoder.parameters(), shift], lr=0.1)
    for number in range(STEPS):
        x = images(number)
        kept = (images(100 + number) < 0.7).double()
        found = engine.step({"images": {"image": x, "label": labels()}, "given.bernoulli": kept})
        h = torch.sigmoid(encoder((x * kept).flatten(1)))
        loss = cross_entropy(torch.sigmoid(h @ encoder.weight + shift), x.flatten(1))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        optimizer.step()
        assert deviation(found["rebuild"], loss.detach()) < 1e-10
    theirs = [*engine.networks["encoder"].parameters(), *engine.networks["decoder"].parameters()]
    mine = [*encoder.parameters(), shift]
    assert worst(deviation(t.detach(), m.detach()) for t, m in zip(theirs, mine, strict=True)) < 1e-8


@PLANS
def test_a_sparse_code_by_lbfgs_agrees_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("autoencoder", variant="sparse", **SPARSE), share=share, merge=merge)
    engine.engine.begin(engine.clock)
    picture = engine.engine.draws.ahead().draw("images", 0)["value"].double()
    encoder, decoder = nn.Linear(16, 4).double(), nn.Linear(4, 16).double()
    copy_parameters(engine.networks["encoder"], encoder)
    copy_parameters(engine.networks["decoder"], decoder)
    taps = torch.tensor([math.exp(-(k**2) / 8) for k in range(-6, 7)], dtype=torch.float64)
    kernel = torch.outer(taps / taps.sum(), taps / taps.sum())[None, None]
    sharp = picture - functional.conv2d(functional.pad(picture, (6, 6, 6, 6), mode="reflect"), kernel)
    cut = functional.unfold(sharp, 4, stride=4).transpose(1, 2).flatten(0, 1)
    level = cut - cut.mean(1, keepdim=True)
    x = (level / (3 * level.square().mean().sqrt())).clamp(-1, 1) * 0.4 + 0.5
    optimizer = torch.optim.LBFGS([*encoder.parameters(), *decoder.parameters()], max_iter=3, history_size=10,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def objective() -> Tensor:
        h = torch.sigmoid(encoder(x))
        active = h.mean(0)
        few = (0.01 * torch.log(0.01 / active) + 0.99 * torch.log(0.99 / (1 - active))).sum()
        heavy = (encoder.weight.square().sum() + decoder.weight.square().sum()) / 2
        return (torch.sigmoid(decoder(h)) - x).square().sum(1).mean() / 2 + 3 * few + 1e-4 * heavy

    def evaluated() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        return loss

    for _ in range(6):
        found, by_hand = engine.step(), optimizer.step(evaluated)  # type: ignore[arg-type]  # a loss as a tensor
        whole = found["rebuild"] + 3 * found["few"] + 1e-4 * found["heavy"]
        assert deviation(whole, by_hand.detach()) < 1e-8
    weight = dict(engine.networks["encoder"].named_parameters())["layers.linear.weight"]
    assert deviation(weight.detach(), encoder.weight.detach()) < 1e-8


class Outline(nn.Module):
    """Three halvings of a closed outline, and three doublings."""

    def __init__(self) -> None:
        super().__init__()
        f = FILTERS
        around = {"padding": 2, "padding_mode": "circular"}
        down = [nn.Conv1d(a, b, 5, stride=2, **around) for a, b in ((2, f), (f, 2 * f), (2 * f, 4 * f))]
        up = [nn.Conv1d(a, b, 5, **around) for a, b in ((2, 4 * f), (4 * f, 2 * f), (2 * f, f), (f, f), (f, 2))]
        self.encoder = nn.ModuleList([*down, nn.Conv1d(4 * f, 2, 1)])
        self.decoder = nn.ModuleList(up)

    def forward(self, p: Tensor) -> Tensor:
        for conv in self.encoder[:3]:  # type: ignore[union-attr]  # a slice of a ModuleList
            p = functional.relu(conv(p))
        p = self.encoder[3](p)
        for number, conv in enumerate(self.decoder):
            p = conv(p)
            p = functional.relu(p) if number < 4 else p
            p = p.repeat_interleave(2, dim=2) if number < 3 else p
        return p


def outlines(**settings: object) -> Spec:
    small = {"params.points": POINTS, "params.latents": 6, "params.filters": FILTERS, "params.size": 16}
    return load("autoencoder", variant="polygons", **{**small, **settings})


@PLANS
def test_closed_outlines_agree_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(outlines(), share=share, merge=merge)
    by_hand = Outline().double()
    networks: dict[str, nn.Module] = {"encoder": by_hand.encoder, "decoder": by_hand.decoder}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started, optimizer = snapshot(networks), adam(networks, 1e-3)
    for number in range(STEPS):
        (polygon,) = normals(1, BATCH, 2, POINTS, seed=number)
        start = torch.tensor([0, 1, 7, 23, number])
        found = engine.step({"images": {"polygon": polygon, "label": labels()}, "start": start})
        x = torch.stack([p.roll(-int(first), 1) for p, first in zip(polygon, start, strict=True)])
        loss = (by_hand(x) - x).square().sum((1, 2)).mean()
        move(loss, optimizer)
        assert deviation(found["rebuild"], loss.detach()) < 1e-10
    assert differs(engine, networks, started) < 1e-8


@pytest.mark.parametrize(("borders", "closed"), [("circular", True), ("zeros", False)])
def test_an_outline_that_begins_elsewhere_has_the_same_code_if_borders_close(borders: str, closed: bool) -> None:
    engine = trainer(outlines(params__borders=f'"{borders}"'))
    encoder, decoder = engine.networks["encoder"], engine.networks["decoder"]
    (p,) = normals(1, BATCH, 2, POINTS)
    code = encoder(p)
    moved = encoder(p.roll(8, 2))
    apart = deviation(moved.reshape(BATCH, 2, 3).detach(), code.reshape(BATCH, 2, 3).roll(1, 2).detach())
    rebuilt = deviation(decoder(moved).detach(), decoder(code).roll(8, 2).detach())
    assert (apart < 1e-12) == closed
    assert (rebuilt < 1e-12) == closed


LINEAR = """
gangraph: 1
name: linear
data: {x: "fixed(digits(range=\\"unit\\"))"}
networks: {E: "mlp(widths=[], outputs=4)", D: "mlp(widths=[], outputs=64)"}
losses: {lost: "mean(norm(D(E(x.image)) - flatten(x.image)) ** 2)"}
train:
  batch: 1257
  length: 20 steps
  optimizers: {coder: 'lbfgs([E, D], max_iter=20, line_search_fn="strong_wolfe")'}
  step: [{update: coder, minimize: lost}]
"""


def test_a_linear_network_loses_what_principal_components_lose() -> None:
    engine = trainer(read(LINEAR))
    engine.train(steps=20)
    digits = engine.engine.draws.ahead().draw("x", 0)["image"]
    best = float(pca_error(digits, digits, 4))
    lost = engine.step()["lost"]
    assert best * (1 - 1e-6) <= lost < best * 1.01


def test_the_variant_that_is_linear_comes_within_a_hundredth_of_principal_components() -> None:
    spec = gangraph.load("autoencoder", profile="quick", variant="linear")
    engine = gangraph.Trainer(spec, device="cpu", seed=1)
    engine.train(steps=3000)
    evaluated = engine.evaluate(270)
    assert evaluated is not None
    sets = (Digits(split=split, range="unit").open() for split in ("train", "test"))
    known, x = (every.batch(range(len(every)), torch.Generator())["image"] for every in sets)
    assert evaluated.metrics["error"] == pytest.approx(float(pca_error(known, x, 8)), rel=0.01)


@pytest.mark.parametrize(("variant", "settings"), [("", {}), ("denoising", SINGLE), ("sparse", SPARSE)])
def test_it_resumes_to_the_bit(variant: str, settings: dict[str, object], tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("autoencoder", variant=variant or None, **settings), tmp_path)


@pytest.mark.parametrize("size", [16, 33])
def test_a_filled_polygon_covers_what_the_scene_shows(size: int) -> None:
    text = f"""
gangraph: 1
name: filled
let: {{vary: '["scale", "x", "y", "rotation"]'}}
data: {{x: 'world(size={size}, view=["polygon", "segmentation"], points=96, shape="star", vary=vary)'}}
networks: {{F: filled_polygon(size={size}), G: "mlp(widths=[], outputs=1)"}}
losses: {{unlike: "mean(abs(column(F(x.polygon), 0) - (x.segmentation > 0))) + mean(G(x.polygon))"}}
train: {{batch: 64, length: 10 steps, optimizers: {{g: "sgd(G, lr=0)"}}, step: [{{update: g, minimize: unlike}}]}}
"""
    engine = trainer(read(text))
    for parameter in engine.networks["G"].parameters():
        parameter.data.zero_()
    assert float(engine.step()["unlike"]) < 0.01
