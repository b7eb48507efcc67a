"""The next frame by an LSTM over any number of frames, in float64 against a loop that is written here by hand."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.data.world.source import World
from gangraph.session.run import measure_now
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    parameter_deviations,
    resumes_to_the_bit,
    snapshot,
    trainer,
    worst,
)

BATCH, SIZE, SMALL, WIDTHS, HIDDEN = 3, 8, 2, (2, 3), (5,)
MAPS = WIDTHS[1] * SMALL**2
LENGTHS = (5, 3, 4, 5, 3, 4)  # frames of each batch: two to four are given, and one is predicted
RATE, RATE_D, WEIGHT = 1e-3, 0.05, 0.3
SEED = 3  # with which every part of networks as small as these has a gradient
DOCUMENT = {  # the optimizers of the document in place of quick's
    "params__rate": RATE,
    "train__optimizers__predictor": "rmsprop(G, lr=rate, alpha=0.9)",
}
CRITIC = {
    "params__rate_d": RATE_D,
    "params__weight": WEIGHT,
    "train__optimizers__critic": "sgd(D, lr=rate_d, momentum=0.5)",
}


class Frames(nn.Module):
    """Each frame by two convolutions to numbers, and these by an LSTM."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.look = nn.ModuleList(nn.Conv3d(a, b, (1, 3, 3)) for a, b in pairwise((1, *WIDTHS)))
        self.lstm = nn.LSTM(MAPS, units)

    def forward(self, clip: Tensor) -> Tensor:
        """[B, T, 1, H, W] to the last state [B, units], step by step."""
        units = self.lstm.hidden_size
        state = cell = clip.new_zeros(len(clip), units)
        for frame in clip.unbind(1):
            h = frame
            for layer in self.look:
                assert isinstance(layer, nn.Conv3d) and layer.bias is not None
                h = functional.conv2d(functional.pad(h, (1, 1, 1, 1)), layer.weight[:, :, 0], layer.bias)
                h = functional.max_pool2d(h.clamp_min(0), 2)
            into = h.flatten(1) @ self.lstm.weight_ih_l0.T + self.lstm.bias_ih_l0
            gates = into + state @ self.lstm.weight_hh_l0.T + self.lstm.bias_hh_l0
            i, f, g, o = gates.split(units, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            state = torch.sigmoid(o) * torch.tanh(cell)
        return state


class Predictor(nn.Module):
    def __init__(self, units: int, clipped: bool) -> None:
        super().__init__()
        self.see, self.clipped = Frames(units), clipped
        self.dense = nn.Linear(units, MAPS) if units != MAPS else None
        self.draw = nn.ModuleList([nn.Conv2d(3, 2, 3), nn.Conv2d(2, 1, 3)])

    def forward(self, clip: Tensor) -> Tensor:
        h = self.see(clip)
        h = h if self.dense is None else torch.relu(self.dense(h))
        h = torch.relu(self.draw[0](functional.pad(larger(h.unflatten(1, (3, SMALL, SMALL))), (1, 1, 1, 1))))
        h = self.draw[1](functional.pad(larger(h), (1, 1, 1, 1)))
        return h.clamp(0, 1) if self.clipped else torch.sigmoid(h)


class Critic(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.past = Frames(units)
        layers: list[nn.Module] = []
        for a, b in pairwise((1, *WIDTHS)):
            layers += [nn.Conv2d(a, b, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
        self.look = nn.Sequential(*layers, nn.Flatten(), nn.Linear(MAPS, units), nn.ReLU())
        self.judge = nn.Sequential(nn.Linear(2 * units, HIDDEN[0]), nn.ReLU(), nn.Linear(HIDDEN[0], 1))

    def forward(self, past: Tensor, frame: Tensor) -> Tensor:
        logits: Tensor = self.judge(torch.cat([self.past(past), self.look(frame)], 1))
        return logits


def larger(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


def balls(number: int) -> dict[str, Tensor]:
    """A batch of another length than the one before."""
    world = World(size=SIZE, view=["balls", "courses"], frames=LENGTHS[number], channels=1, seed=3)
    batch = world.open().batch(range(BATCH * number, BATCH * (number + 1)))
    return {name: tensor.double() for name, tensor in batch.items()}


class Loop:
    """A step on clips of any length: the critic, if there is one, and the predictor on the same clips."""

    def __init__(self, form: str, units: int, clipped: bool) -> None:
        self.form = form
        self.predictor = Predictor(units, clipped).double()
        self.networks: dict[str, nn.Module] = {"G": self.predictor}
        self.descent_g = torch.optim.RMSprop(self.predictor.parameters(), lr=RATE, alpha=0.9)
        if form != "squares":
            self.critic = Critic(units).double()
            self.networks["D"] = self.critic
            self.descent_d = torch.optim.SGD(self.critic.parameters(), lr=RATE_D, momentum=0.5)

    def step(self, clip: Tensor) -> dict[str, float]:
        past, target = clip[:, :-1], clip[:, -1]
        made = self.predictor(past)
        error = (made - target).square().mean()
        found, objective = {} if self.form == "adversarial" else {"error": error}, error
        if self.form != "squares":
            real, fake = self.critic(past, target), self.critic(past, made.detach())
            found["judge"] = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean()) / 2
            descend(found["judge"], self.descent_d)
            found["fool"] = -torch.sigmoid(self.critic(past, made)).log().mean()
            objective = found["fool"] if self.form == "adversarial" else error + WEIGHT * found["fool"]
        descend(objective, self.descent_g)
        return {name: float(loss.detach()) for name, loss in found.items()}


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def engine_of(form: str, units: int, clipped: bool, **plan: bool) -> gangraph.Trainer:
    settings: dict[str, object] = {**DOCUMENT, "params__units": units}
    settings |= {"params__final": "clamp(0, 1)"} if clipped else {}
    settings |= CRITIC if form != "squares" else {}
    return trainer(load("pgn", variant=None if form == "squares" else form, **settings), seed=SEED, **plan)


@PLANS
@pytest.mark.parametrize(
    ("form", "units", "clipped"), [("squares", MAPS, True), ("both", 4, False), ("adversarial", 4, False)]
)
def test_training_on_clips_of_several_lengths_agrees_with_the_loop_by_hand(
    form: str, units: int, clipped: bool, share: bool, merge: bool
) -> None:
    engine, loop = engine_of(form, units, clipped, share=share, merge=merge), Loop(form, units, clipped)
    for name, network in loop.networks.items():
        copy_parameters(engine.networks[name], network)
    started, errors = snapshot(loop.networks), []
    for number in range(len(LENGTHS)):
        batch = balls(number)
        found = engine.step({"x": batch})
        expected = loop.step((batch["balls"] + 1) / 2)
        assert {name: float(found[name]) for name in found} == pytest.approx(expected, rel=1e-9)
        errors.append(next(iter(expected.values())))
    assert len(set(errors)) == len(errors)
    assert worst(error for _, error in parameter_deviations(engine, loop.networks, started, still=1e-10)) < 1e-8
    moved = [float((p.detach() - started[f"G.{name}"]).abs().max()) for name, p in loop.predictor.named_parameters()]
    assert min(moved) > 0  # no part is without a gradient


def test_a_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("pgn", variant="both"), tmp_path)


def test_a_film_goes_on_from_the_frames_that_are_made() -> None:
    seen_whole = f'fixed(world(size={SIZE}, view=["balls", "courses"], frames=13, channels=1, split="test"))'
    engine = trainer(load("pgn", evaluate__data__x=seen_whole, evaluate__grid="[next, made, last(shown)]"))
    predictor = Predictor(4, False).double()
    copy_parameters(engine.networks["G"], predictor)
    seen = engine.evaluate(4)
    assert seen is not None
    world = World(size=SIZE, view=["balls", "courses"], frames=13, channels=1, split="test")
    whole = (world.open().batch(range(4))["balls"].double() + 1) / 2
    film, made = whole[:, :4], predictor(whole[:, :4]).detach()
    for _ in range(9):
        film = torch.cat([film[:, 1:], predictor(film).detach()[:, None]], 1)
    grid = {name: image.double() for name, image in seen.grid.items()}
    assert worst(deviation(grid[n], y) for n, y in (("made", made), ("last(shown)", film[:, -1]))) < 1e-6
    error = (made - whole[:, 4]).square().sum((1, 2, 3)).mean()
    assert seen.metrics["error"] == pytest.approx(float(error), rel=1e-5)


def test_what_the_state_knows_of_a_turning_object_is_measured() -> None:
    settings = {"evaluate__result_samples": 40, "params__size": 12}
    results = measure_now(trainer(load("pgn", variant="turning,autoencoder", **settings)))
    assert {"angle", "speed", "speed_second", "form"} <= set(results)
    form = results["form"].value
    assert form is not None and 0 < form <= 1
