"""The next frame at four scales, in float64 against a loop that is written here by hand, and what metrics see of it."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph.data.world.source import World
from gangraph.pipeline import check_spec, compile_phase
from gangraph.views.plan import plan_text
from tests.support import (
    PLANS,
    TINY,
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

STEPS, BATCH, SIZE, TOP, WEIGHT, EDGE = 8, 3, 32, 4, 0.05, 0.7
SETTINGS = {"params__rate": 0.04, "params__rate_d": 0.02, "params__edge": EDGE}
SGD = {
    "train__optimizers__predictor": "sgd([G[k] for k in 1..top], lr=rate)",
    "train__optimizers__critic": "sgd([D[k] for k in 1..top], lr=rate_d)",
}
WIDTHS = [[2], [2], [2, 3], [2, 3]]
KERNELS = [[3, 3], [5, 3], [3, 3, 3], [5, 3, 3]]
WIDTHS_D = [[2], [2, 3], [2, 3], [2, 3]]
KERNELS_D = [[3], [3, 3], [5, 3], [5, 5]]
HIDDEN = [[4], [4], [3, 4], [4]]


def predictor(k: int) -> nn.Module:
    sizes = [12 if k == 0 else 15, *WIDTHS[k], 3]
    layers: list[nn.Module] = []
    for (before, after), kernel in zip(pairwise(sizes), KERNELS[k], strict=True):
        layers += [nn.Conv2d(before, after, kernel, padding="same"), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def critic(k: int) -> nn.Module:
    layers: list[nn.Module] = []
    side = SIZE // 2 ** (TOP - 1 - k)
    for (before, after), kernel in zip(pairwise([15, *WIDTHS_D[k]]), KERNELS_D[k], strict=True):
        layers += [nn.Conv2d(before, after, kernel), nn.ReLU()]
        side -= kernel - 1
    if k == TOP - 1:
        layers.append(nn.MaxPool2d(2))
        side //= 2
    layers.append(nn.Flatten())
    for before, after in pairwise([side**2 * WIDTHS_D[k][-1], *HIDDEN[k], 1]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def smaller(x: Tensor, k: int) -> Tensor:
    """The mean of each square of 8, 4, 2 or 1 pixels a side."""
    side = 2 ** (TOP - 1 - k)
    return x.unflatten(-1, (-1, side)).unflatten(-3, (-1, side)).mean((-3, -1))


def larger(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


def predicted(predictors: list[nn.Module], past: Tensor) -> list[Tensor]:
    made: list[Tensor] = []
    for k, network in enumerate(predictors):
        if k == 0:
            made.append(torch.tanh(network(smaller(past, 0))))
        else:
            coarse = larger(made[-1])
            made.append(torch.tanh(network(torch.cat([smaller(past, k), coarse], 1)) + coarse))
    return made


def edges(y: Tensor, t: Tensor) -> Tensor:
    """Equation 6 with alpha = 1, as a mean in either direction."""
    down = (t[..., 1:, :] - t[..., :-1, :]).abs() - (y[..., 1:, :] - y[..., :-1, :]).abs()
    across = (t[..., 1:] - t[..., :-1]).abs() - (y[..., 1:] - y[..., :-1]).abs()
    return down.abs().mean() + across.abs().mean()


def cost(logits: Tensor, real: bool) -> Tensor:
    target = torch.full_like(logits, float(real))
    return functional.binary_cross_entropy_with_logits(logits, target)


class Loop:
    """One step: critics of all scales, and then, on other clips, predictors of all scales."""

    def __init__(self, names: str, squared: bool) -> None:
        self.predictors = [predictor(k).double() for k in range(TOP)]
        self.critics = [critic(k).double() for k in range(TOP)] if "D" in names else []
        self.squared, self.with_edges = squared, "e" in names
        self.steps_g = torch.optim.SGD([p for n in self.predictors for p in n.parameters()], lr=0.04)
        if self.critics:
            self.steps_d = torch.optim.SGD([p for n in self.critics for p in n.parameters()], lr=0.02)

    def step(self, clips: Tensor, others: Tensor) -> dict[str, float]:
        found: dict[str, Tensor] = {}
        if self.critics:
            past, target = clips[:, :4].flatten(1, 2), clips[:, 4]
            made = [y.detach() for y in predicted(self.predictors, past)]
            found["judge"] = torch.zeros((), dtype=torch.float64)
            for k, network in enumerate(self.critics):
                told = smaller(past, k)
                real, fake = (network(torch.cat([told, y], 1)) for y in (smaller(target, k), made[k]))
                found["judge"] = found["judge"] + cost(real, True) + cost(fake, False)
            self.steps_d.zero_grad()
            found["judge"].backward()
            self.steps_d.step()
            clips = others
        past, target = clips[:, :4].flatten(1, 2), clips[:, 4]
        made = predicted(self.predictors, past)
        pairs = [(y, smaller(target, k)) for k, y in enumerate(made)]
        distance = functional.mse_loss if self.squared else functional.l1_loss
        found["pixels"] = torch.stack([distance(y, t) for y, t in pairs]).sum()
        objective = found["pixels"]
        if self.with_edges:
            found["edges"] = torch.stack([edges(y, t) for y, t in pairs]).sum()
            objective = objective + EDGE * found["edges"]
        if self.critics:
            scored = [n(torch.cat([smaller(past, k), made[k]], 1)) for k, n in enumerate(self.critics)]
            found["fool"] = torch.stack([cost(each, True) for each in scored]).sum()
            objective = objective + WEIGHT * found["fool"]
        self.steps_g.zero_grad()
        objective.backward()
        self.steps_g.step()
        return {name: float(loss.detach()) for name, loss in found.items()}


def clips(number: int) -> tuple[Tensor, Tensor]:
    first, second = normals(2, BATCH, 5, 3, SIZE, SIZE, seed=number)
    return first.tanh(), second.tanh()


@PLANS
@pytest.mark.parametrize(
    ("variant", "parts"),
    [(None, "De"), ("adversarial", "D"), ("gdl_l1", "e"), ("l1", ""), ("l2", "")],
    ids=lambda each: each or "full",
)
def test_training_agrees_with_the_loop_by_hand(variant: str | None, parts: str, share: bool, merge: bool) -> None:
    optimizers = SGD if "D" in parts else {key: text for key, text in SGD.items() if "predictor" in key}
    engine = trainer(load("mathieu", variant=variant, **SETTINGS, **optimizers), share=share, merge=merge)
    loop = Loop(parts, squared=variant in ("adversarial", "l2"))
    networks: dict[str, nn.Module] = {f"G[{k + 1}]": network for k, network in enumerate(loop.predictors)}
    networks |= {f"D[{k + 1}]": network for k, network in enumerate(loop.critics)}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    started = snapshot(networks)
    for number in range(STEPS):
        first, second = clips(number)
        found = engine.step({"x": [first, second] if loop.critics else first})
        assert {name: float(found[name]) for name in found} == pytest.approx(loop.step(first, second), rel=1e-8)
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-10)) < 1e-8


def test_a_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("mathieu"), tmp_path)


def test_one_scale_has_no_coarser_frame_beside_the_four() -> None:
    changes = {"params__widths": [[2, 3]], "params__kernels": [[3, 3, 3]]}
    engine = trainer(load("mathieu", variant="single_scale", **changes))
    network = nn.Sequential(
        nn.Conv2d(12, 2, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 3, 3, padding=1),
    ).double()
    copy_parameters(engine.networks["G[1]"], network)
    x, _ = clips(0)
    found = engine.step({"x": x})
    made = torch.tanh(network(x[:, :4].flatten(1, 2)))
    assert float(found["pixels"]) == pytest.approx(float(functional.mse_loss(made, x[:, 4]).detach()), rel=1e-9)


def test_a_mismatch_of_the_released_code_is_a_frame_of_another_clip() -> None:
    smaller_nets = {key.replace(".", "__"): value for key, value in TINY["mathieu"].items()}
    data = {f"data__{name}": 'world(size=size, view="clip", frames=5, seed=1)' for name in ("other", "third")}
    engine = trainer(load("mathieu", variant="official_code", **{**smaller_nets, **data}))
    critics = [critic(k).double() for k in range(TOP)]
    for k, network in enumerate(critics):
        copy_parameters(engine.networks[f"D[{k + 1}]"], network)
    (x, other), (third, _) = clips(0), clips(1)
    found = engine.step({"x": [x, x], "other": other, "third": third})
    told, target, wrong = other[:, :4].flatten(1, 2), other[:, 4], third[:, 4]
    expected = sum(
        cost(network(torch.cat([smaller(told, k), smaller(target, k)], 1)), True)
        + cost(network(torch.cat([smaller(told, k), smaller(wrong, k)], 1)), False)
        for k, network in enumerate(critics)
    )
    assert float(found["mismatch"]) == pytest.approx(float(torch.as_tensor(expected).detach()), rel=1e-9)


def test_further_frames_go_on_from_those_that_are_made() -> None:
    engine = trainer(load("mathieu", evaluate__data__x='fixed(world(size=32, view="clip", frames=8, split="test"))'))
    predictors = [predictor(k).double() for k in range(TOP)]
    for k, network in enumerate(predictors):
        copy_parameters(engine.networks[f"G[{k + 1}]"], network)
    seen = engine.evaluate(4)
    assert seen is not None
    clip = World(size=32, view="clip", frames=8, split="test").open().batch(range(4))["value"].double()
    first = predicted(predictors, clip[:, :4].flatten(1, 2))[-1].detach()
    second = predicted(predictors, torch.cat([clip[:, 1:4], first[:, None]], 1).flatten(1, 2))[-1].detach()
    assert worst(deviation(seen.grid[n].double(), y) for n, y in (("first", first), ("second", second))) < 1e-6
    moved = (clip[:, 4] - clip[:, 3]).abs().amax(1) > 0.1
    error = ((first - clip[:, 4]).square().mean(1) * moved).sum((1, 2)) / moved.sum((1, 2))
    assert seen.metrics["psnr_moving"] == pytest.approx(float((10 * torch.log10(4 / error)).mean()), rel=1e-5)
    assert seen.metrics["psnr_moving"] < seen.metrics["psnr_still"]  # before it has learned anything


def test_the_edges_of_all_scales_are_computed_by_the_kernel_alike() -> None:
    spec = load("mathieu", variant="gdl_l1")
    text = " ".join(plan_text(compile_phase(check_spec(spec)[0], kernels="on")).split())
    assert all(f"gdl(y[{k}], real[{k}])" in text.partition("kernels")[2] for k in (1, 2, 3, 4))
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    for number in range(2):
        found, expected = (engine.step({"x": clips(number)[0]}) for engine in (fused, plain))
        assert worst(deviation(found[name], expected[name]) for name in expected) < 1e-12
    parameters = zip(*(engine.networks["G[4]"].parameters() for engine in (fused, plain)), strict=True)
    assert worst(deviation(one.detach(), other.detach()) for one, other in parameters) < 1e-12
