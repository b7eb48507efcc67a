"""A photograph's code, searched and edited, in float64 against a loop that is written here by hand."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from tests.support import PLANS, copy_parameters, deviation, load, normals, resumes_to_the_bit, trainer, worst

BATCH, SIZE, CODES, CELL = 3, 16, 4, 4
SEARCHES, ITERATIONS, EDITS = 2, 5, 4
WEIGHT, EDGE, SMOOTH = 0.05, 0.2, 5
PAINT = (0.97, 0.7, -0.5)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Linear(CODES, 2 * 4, bias=False)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2, 2, 5, 2, 2, 1, bias=False) for _ in range(3))
        self.image = nn.Conv2d(2, 3, 5, padding=2)

    def forward(self, z: Tensor) -> Tensor:
        h = self.begin(z).relu().unflatten(1, (2, 2, 2))
        for layer in self.up:
            h = layer(h).relu()
        return torch.tanh(self.image(h))


class Guesser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, CODES), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        guess: Tensor = self.layers(x)
        return guess


class Look(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


def edges(x: Tensor) -> Tensor:
    """Histograms of 8 directions in cells, by Sobel's filters."""
    grey = x.mean(1, keepdim=True)
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=x.dtype) / 4
    dx, dy = (functional.conv2d(grey, f[None, None], padding=1) for f in (across, across.T))
    size = (dx.square() + dy.square() + 1e-6).sqrt()
    near = math.cos(math.pi / 8)
    turns = [k * math.pi / 8 for k in range(8)]
    maps = [((dx * math.cos(t) + dy * math.sin(t)).abs() - near * size).relu() / (1 - near) for t in turns]
    once = functional.avg_pool2d(torch.cat(maps, 1), CELL, 1, CELL // 2)
    return functional.avg_pool2d(once, CELL)


NETWORKS = {
    "networks__G": "code_decoder(widths=[2, 2, 2, 2], size=size, norm=none)",
    "networks__P": "mlp(widths=[], outputs=codes, final=tanh)",
    "networks__C": "small_vgg(widths=[2, 3, 3, 2], norm=none)",
    "values__known": "C(photo).relu1_1",
    "values__told": "C(found).relu1_1",
    "values__told_blind": "C(searched).relu1_1",
}


def engine_of(**plan: bool) -> gangraph.Trainer:
    settings = {
        **NETWORKS,
        "params__lengths": f"[{SEARCHES} steps, {EDITS} steps]",
        **{
            f"train__optimizers__{group}": f'lbfgs({name}, max_iter={ITERATIONS}, line_search_fn="strong_wolfe")'
            for group, name in (("finder", "code"), ("other", "blind"))
        },
    }
    return trainer(load("igan", **settings), **plan)


@PLANS
def test_the_searches_and_the_edit_agree_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = engine_of(share=share, merge=merge)
    g, p, c = Decoder().double(), Guesser().double(), Look().double()
    copy_parameters(engine.networks["G"], g)
    copy_parameters(engine.networks["P"], p)
    first_layer = engine.networks["C"].state_dict()
    c.conv.load_state_dict({part: first_layer[f"conv1_1.conv2d.{part}"] for part in ("weight", "bias")})
    for mine in (g, p, c):
        mine.requires_grad_(False)
    (photo,) = normals(1, BATCH, 3, SIZE, SIZE)
    photo = torch.tanh(photo)
    first = p(photo).clamp(-0.99, 0.99)
    code = torch.atanh(first).requires_grad_()
    known = c(photo)

    def away(u: Tensor) -> Tensor:
        made = g(torch.tanh(u))
        return functional.mse_loss(made, photo) + WEIGHT * functional.mse_loss(c(made), known)

    (start,) = torch.rand(1, BATCH, CODES, dtype=torch.float64)
    found = engine.step({"photo": photo, "blind_start": start * 2 - 1})
    blind = (start * 2 - 1).requires_grad_()
    searches = [
        torch.optim.LBFGS([u], max_iter=ITERATIONS, line_search_fn="strong_wolfe", tolerance_grad=1e-7)
        for u in (code, blind)
    ]
    for number in range(SEARCHES):
        found = found if not number else engine.step({"photo": photo})
        for name, u, search in (("away", code, searches[0]), ("away_blind", blind, searches[1])):

            def again(u: Tensor = u, search: torch.optim.LBFGS = search) -> Tensor:
                search.zero_grad()
                loss = away(u)
                loss.backward()
                return loss

            before = away(u).detach()
            search.step(again)
            assert deviation(found[name], before) < 1e-8
            assert deviation(engine.networks["code" if u is code else "blind"].value.detach(), u.detach()) < 1e-8
    engine.next_phase()
    place = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy"))
    marks = ((place - 8).abs().amax(0) < 6).double().expand(BATCH, 1, SIZE, SIZE)
    strokes = marks * torch.tensor(PAINT, dtype=torch.float64)[:, None, None]
    cells = functional.avg_pool2d(marks, CELL)
    change = torch.zeros(BATCH, CODES, dtype=torch.float64, requires_grad=True)
    editor = torch.optim.Adam([change], lr=0.1)
    for _ in range(EDITS):
        found = engine.step({"photo": photo})
        z = torch.tanh(code.detach() + change)
        made = g(z)
        colour = ((made - strokes).square() * marks).mean() / (marks.mean() + 1e-5)
        drawn = ((edges(made) - edges(strokes)).square() * cells).mean() / (cells.mean() + 1e-5)
        cost = colour + EDGE * drawn + SMOOTH * functional.mse_loss(z, torch.tanh(code.detach()))
        editor.zero_grad()
        cost.backward()
        editor.step()
        assert deviation(found["colour"], colour.detach()) < 1e-8
        assert deviation(found["edges"], drawn.detach()) < 1e-8
        assert deviation(engine.networks["change"].value.detach(), change.detach()) < 1e-8
    for name, mine in (("G", g), ("P", p)):
        pairs = zip(engine.networks[name].parameters(), mine.parameters(), strict=True)
        assert worst(deviation(a.detach(), b) for a, b in pairs) == 0


@pytest.mark.parametrize("steps", [0, 1])
def test_an_edit_is_brought_to_the_photograph(steps: int) -> None:
    engine = engine_of()
    engine.train(steps=SEARCHES + steps)
    seen = engine.evaluate(BATCH)
    assert seen is not None
    brought, photo = seen.grid["brought[16]"], seen.grid["photo"]
    assert (float((brought - photo).abs().max()) < 1e-6) == (steps == 0)


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    assert resumes_to_the_bit(load("igan", **NETWORKS, params__lengths="[3 steps, 9 steps]"), tmp_path)
