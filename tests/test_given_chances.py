"""What happens by chance within a step can be given to it: the numbers of random layers, the choices of histories."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph.errors import UsageError
from gangraph.language.spec import Spec
from tests.plans import PLANS
from tests.support import copy_parameters, deviation, normals, same, small, snapshot, trainer

NOISY = "{inputs: x, layers: 'linear(4), dropout(0.5), tanh, gaussian_noise(0.1), linear(1)'}"
PAST = "logistic.critic(real=D(x), fake=D(history(fake, 3)))"
STEP = ("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: z}")


def noisy(*step: str, **parts: str) -> Spec:
    return small(*(step or STEP), networks_d=NOISY, judge=PAST, **parts)


def test_every_name_that_can_be_given_is_known() -> None:
    names = [f"{call}:layers.{layer}" for call in ("D(x)", "D(history(fake, 3))", "D(fake)")
             for layer in ("dropout", "gaussian_noise")]  # fmt: skip
    assert sorted(trainer(noisy()).draws) == sorted(["x", "z", "fake:history", *names])


def test_a_call_with_a_name_is_called_by_it_and_equal_layers_are_numbered() -> None:
    network = "{inputs: z, parts: {n: noise}, values: {h: n(z), k: n(h * z)}, output: k}"
    made = trainer(small(networks_g="mlp(widths=[4], outputs=2)", more_networks=f"  N: {network}",
                         more_values="  rough: N(z)", fool="logistic.generator(D(fake)) + mean(rough)"))  # fmt: skip
    assert made.draws == ("x", "z", "rough:n.noise", "rough:n.noise#2")


@pytest.mark.parametrize("plan", PLANS)
def test_a_loop_by_hand_with_its_own_masks_noise_and_choices_agrees(plan: str) -> None:
    share, merge = PLANS[plan]
    engine = trainer(noisy(), share=share, merge=merge)
    maker = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    first, last = nn.Linear(2, 4).double(), nn.Linear(4, 1).double()
    critic = nn.ModuleList([first, last])
    copy_parameters(engine.networks["G"], maker)
    copy_parameters(engine.networks["D"], critic)
    steps = torch.optim.SGD(maker.parameters(), lr=0.1), torch.optim.SGD(critic.parameters(), lr=0.1)
    past: list[Tensor] = []
    largest = 0.0
    for step in range(20):
        x, z, z_2 = normals(3, 4, 2, seed=step)
        hidden = normals(6, 4, 4, seed=100 + step)
        masks = [(each > 0).double() * 2 for each in hidden[:3]]
        slots = torch.randint(-1, 3, (4,), generator=torch.Generator().manual_seed(step))
        calls = ("D(x)", "D(history(fake, 3))", "D(fake)")
        given = {f"{call}:layers.dropout": mask for call, mask in zip(calls, masks, strict=True)}
        given |= {f"{call}:layers.gaussian_noise": each for call, each in zip(calls, hidden[3:], strict=True)}
        losses = engine.step({"x": x, "z": [z, z_2], "fake:history": slots, **given})

        def score(value: Tensor, which: int, masks: list[Tensor] = masks, hidden: list[Tensor] = hidden) -> Tensor:
            made: Tensor = last(torch.tanh(first(value) * masks[which]) + hidden[3 + which])
            return made

        mixed = []
        for sample, slot in zip(maker(z).detach(), slots.tolist(), strict=True):
            if len(past) < 3:
                past.append(sample)
                mixed.append(sample)
            elif slot >= 0:
                mixed.append(past[slot])
                past[slot] = sample
            else:
                mixed.append(sample)
        judge = functional.softplus(-score(x, 0)).mean() + functional.softplus(score(torch.stack(mixed), 1)).mean()
        steps[1].zero_grad()
        judge.backward()
        steps[1].step()
        fool = functional.softplus(-score(maker(z_2), 2)).mean()
        steps[0].zero_grad()
        fool.backward()
        steps[0].step()
        largest = max(largest, deviation(losses["judge"], judge.detach()), deviation(losses["fool"], fool.detach()))
    assert largest < 1e-9


def test_what_is_not_given_is_drawn_as_ever() -> None:
    spec, ones = noisy(), torch.ones(4, 4, dtype=torch.float64)
    plain, given = trainer(spec, seed=2), trainer(spec, seed=2)
    theirs, mine = plain.step(), given.step({"D(fake):layers.dropout": ones})
    assert theirs["judge"] == mine["judge"] and theirs["fool"] != mine["fool"]
    assert same(snapshot({"D": plain.networks["D"]}), snapshot({"D": given.networks["D"]}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"D(x):layers.dropuot": torch.ones(4, 4)}, "did you mean 'D(x):layers.dropout'?"),
        ({"D(x):layers.dropout": torch.ones(4, 3)}, "'D(x):layers.dropout' is [4, 4]; [4, 3] was given"),
        ({"D(x):layers.dropout": torch.ones(4, 4, dtype=torch.int64)}, "floating-point numbers; torch.int64 was"),
        ({"D(x):layers.dropout": None}, "'D(x):layers.dropout' is a tensor, not nothing"),
        ({"D(x):layers.dropout": [torch.ones(4, 4)] * 2}, "is drawn once in this step, and 2 tensors were given"),
        ({"fake:history": torch.tensor([0, 1, 2, 3])}, "places from 0 to 2, and -1 for none; 0 to 3 was given"),
        ({"fake:history": torch.ones(4)}, "whole numbers, torch.int64; torch.float32 was given"),
    ],
)
def test_what_cannot_be_given_is_told_and_nothing_moves(given: dict[str, Tensor], said: str) -> None:
    made = trainer(noisy())
    before = snapshot(made.networks)
    with pytest.raises(UsageError, match=re.escape(said)):
        made.step(given)
    assert same(before, snapshot(made.networks)) and made.step_count == 0


def test_each_pass_of_an_update_takes_the_next_of_a_list() -> None:
    made = trainer(noisy("{update: d, minimize: judge, times: 2, draw: all}", "{update: g, minimize: fool}"))
    mask = torch.ones(4, 4)
    with pytest.raises(UsageError, match="drawn 2 times"):
        made.step({"D(x):layers.dropout": mask})
    made.step({"D(x):layers.dropout": [mask, mask], "fake:history": [torch.full((4,), -1)] * 2})


def test_what_is_given_has_as_many_samples_as_the_batches() -> None:
    batches = {"x": torch.zeros(6, 2), "z": [torch.zeros(6, 2)] * 2}
    trainer(noisy()).step({**batches, "D(x):layers.dropout": torch.ones(6, 4)})
    with pytest.raises(UsageError, match=re.escape("is [6, 4]; [4, 4] was given")):
        trainer(noisy()).step({**batches, "D(x):layers.dropout": torch.ones(4, 4)})


def test_a_random_layer_draws_for_each_call_as_many_numbers_as_its_values_have() -> None:
    """On images of another size, a batch twice as large and a mean over one, in training and in an evaluation."""
    network = "{inputs: x, layers: 'conv2d(2, 1), dropout(0.5), noise'}"
    sizes = {"P(tile)": [4, 2, 4, 4], "P(part)": [4, 2, 2, 2], "P(both)": [8, 2, 4, 4], "P(centre)": [1, 2, 4, 4]}
    every = "mean(P(tile)) + mean(P(part)) + mean(P(both)) + mean(P(centre) * shift)"
    made = trainer(
        small(
            more_networks=f"  P: {network}",
            more_values="  tile: normal(1, 4, 4)\n  part: crop(tile, 2, 2)\n"
            "  both: cat(tile, flip(tile), dim=0)\n  centre: batch_mean(tile)\nvariables: {shift: 1}",
            fool=f"logistic.generator(D(fake)) + {every}",
            evaluate=f"evaluate: {{samples: 3, mode: train, metrics: {{all: {every}}}}}",
        )
    )
    given = {f"{call}:layers.dropout": torch.ones(size, dtype=torch.float64) for call, size in sizes.items()}
    made.step(given)
    with pytest.raises(UsageError, match=re.escape("is [4, 2, 2, 2]; [4, 2, 4, 4] was given")):
        made.step({"P(part):layers.dropout": given["P(tile):layers.dropout"]})
    made.step()
    assert (evaluated := made.evaluate()) is not None and evaluated.metrics
