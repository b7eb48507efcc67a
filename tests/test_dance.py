"""A film of a person from a film of poses: in float64 against a loop that is written here by hand."""

from itertools import chain, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
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

BATCH, SIZE, SIDE, F = 2, 16, 8, 2
WIDTHS = (2, 3, 3, 2)
LENGTHS = (3, 2, 3)  # steps of the three phases
RATE = 4e-4
SHORT = {f"train__phases__{number}__length": f"{length} steps" for number, length in enumerate(LENGTHS)}
FIXED = {f"train__phases__{number}__set__rate": RATE for number in (0, 1, 2)}


class Translator(nn.Module):
    """Half the size and back, with one block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(6, F, 7), nn.Conv2d(F, 2 * F, 3, stride=2, padding=1)
        self.block = nn.ModuleList(nn.Conv2d(2 * F, 2 * F, 3) for _ in range(2))
        self.up = nn.ConvTranspose2d(2 * F, F, 3, stride=2, padding=1, output_padding=1)
        self.last = nn.Conv2d(F, 3, 7)

    def forward(self, x: Tensor) -> Tensor:
        def norm(h: Tensor) -> Tensor:
            return functional.instance_norm(h)

        def padded(h: Tensor, by: int) -> Tensor:
            return functional.pad(h, (by, by, by, by), mode="reflect")

        h = norm(self.first(padded(x, 3))).relu()
        h = norm(self.down(h)).relu()
        h = h + norm(self.block[1](padded(norm(self.block[0](padded(h, 1))).relu(), 1)))
        return torch.tanh(self.last(padded(norm(self.up(h)).relu(), 3)))


class Critic(nn.Module):
    """The maps of four layers, and scores of patches."""

    def __init__(self, inputs: int, batch_norm: bool = False) -> None:
        super().__init__()
        widths = [inputs, F, 2 * F, 4 * F, 8 * F, 1]
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for number, (a, b) in enumerate(pairwise(widths)):
            self.convs.append(nn.Conv2d(a, b, 4, stride=2 if number < 3 else 1, padding=2))
            middle = 0 < number < 4
            self.norms.append((nn.BatchNorm2d(b) if batch_norm else nn.InstanceNorm2d(b)) if middle else nn.Identity())

    def ordered(self) -> list[nn.Parameter]:
        return [p for pair in zip(self.convs, self.norms, strict=True) for module in pair for p in module.parameters()]

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x))
            x = functional.leaky_relu(x, 0.2) if number < 4 else x
            maps.append(x)
        return maps


class Features(nn.Module):
    """The first map of each of four blocks."""

    def __init__(self) -> None:
        super().__init__()
        inputs = [3, *chain(*([width] * depth for width, depth in zip(WIDTHS, (2, 2, 3, 1), strict=True)))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(inputs))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number, conv in enumerate(self.convs):
            x = functional.max_pool2d(x, 2) if number in (2, 4, 7) else x
            x = functional.relu(conv(x))
            if number in (0, 2, 4, 7):
                maps.append(x)
        return maps


def l1(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean()


def cut(x: Tensor, at: Tensor) -> Tensor:
    """The square of each image whose upper left corner is at (left, above)."""
    return torch.stack(
        [image[:, int(a) : int(a) + SIDE, int(b) : int(b) + SIDE] for image, (b, a) in zip(x, at, strict=True)]
    )


def with_face(body: Tensor, added: Tensor, at: Tensor) -> Tensor:
    made = []
    for image, face, (left, above) in zip(body, added, at.int().tolist(), strict=True):
        around = (left, SIZE - SIDE - left, above, SIZE - SIDE - above)
        made.append(image + functional.pad(face, around))
    return torch.stack(made)


class Loop:
    """The losses of a step, and the groups of parameters that it moves."""

    def __init__(self, engine: gangraph.Trainer) -> None:
        self.networks: dict[str, nn.Module] = {"G": Translator(), "D[1]": Critic(12), "D[2]": Critic(12)}
        self.v = Features().double()
        with torch.no_grad():
            for mine, theirs in zip(self.v.parameters(), engine.networks["V"].parameters(), strict=False):
                theirs.add_(normals(1, *theirs.shape, seed=7)[0], alpha=0.3)
                mine.copy_(theirs)
        self.optimizers: dict[str, torch.optim.Adam] = {}
        self.take_over(engine, "G", "D[1]", "D[2]")

    def take_over(self, engine: gangraph.Trainer, *names: str) -> None:
        """Networks that begin in this phase, moved apart so that every layer counts."""
        for number, name in enumerate(names):
            with torch.no_grad():
                for parameter in engine.networks[name].parameters():
                    parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.1)
            self.networks[name].double()
            copy_parameters(engine.networks[name], self.ordered(name))

    def ordered(self, name: str) -> nn.ParameterList:
        """The parameters of a network in the order of its file."""
        mine = self.networks[name]
        return nn.ParameterList(mine.ordered() if isinstance(mine, Critic) else mine.parameters())

    def optimizer(self, group: str, *names: str) -> None:
        parameters = [p for name in names for p in self.networks[name].parameters()]
        self.optimizers[group] = torch.optim.Adam(parameters, lr=RATE, betas=(0.5, 0.999))

    def unlike(self, x: Tensor, y: Tensor, clipped: bool) -> Tensor:
        told, known = self.v(x.clamp(-1, 1) if clipped else x), self.v(y)
        weighed = [w * l1(t, k) for w, t, k in zip((1 / 8, 1 / 4, 1 / 2, 1), told, known, strict=True)]
        return torch.stack(weighed).sum()

    def losses(self, x: dict[str, Tensor], faces: bool) -> dict[str, Tensor]:
        g = self.networks["G"]
        p, r = x["pose"].unbind(1), x["figure"].unbind(1)
        at = ((x["joints"][:, 0, 2] + 1) / 2 * SIZE - SIDE / 2).round().clamp(0, SIZE - SIDE)
        y: list[Tensor] = []
        for t in (0, 1):
            made = g(torch.cat([p[t], y[0] if t else torch.zeros_like(p[0])], 1))
            if faces:
                added = self.networks["F"](torch.cat([cut(p[t], at), cut(made, at)], 1))
                made = with_face(made, added, at)
            y.append(made)
        real, fake = torch.cat([*p, *r], 1), torch.cat([*p, *y], 1)
        found = {name: torch.zeros((), dtype=torch.float64) for name in ("fool", "matched", "judge")}
        for name in ("D[2]", "D[1]"):
            told, known, still = (self.networks[name](each) for each in (fake, real, fake.detach()))
            found["fool"] = found["fool"] + (told[-1] - 1).square().mean()
            for a, b in zip(told[:-1], known[:-1], strict=True):
                found["matched"] = found["matched"] + 10 / 2 * l1(a, b.detach())
            found["judge"] = found["judge"] + 0.5 * ((known[-1] - 1).square().mean() + still[-1].square().mean())
            real, fake = (functional.avg_pool2d(each, 3, 2, 1, count_include_pad=False) for each in (real, fake))
        found["alike"] = 10 * 0.5 * sum(self.unlike(y[t], r[t], faces) for t in (0, 1))
        if faces:
            judge = self.networks["D_face"]
            found["fool_face"] = found["judge_face"] = torch.zeros((), dtype=torch.float64)
            for t in (0, 1):
                square = cut(p[t], at)
                found["alike"] = found["alike"] + 5 * self.unlike(cut(y[t], at), cut(r[t], at), True)
                made, true = torch.cat([square, cut(y[t], at)], 1), torch.cat([square, cut(r[t], at)], 1)
                found["fool_face"] = found["fool_face"] + 0.5 * (judge(made)[-1] - 1).square().mean()
                judged = (judge(true)[-1] - 1).square().mean() + judge(made.detach())[-1].square().mean()
                found["judge_face"] = found["judge_face"] + 0.25 * judged
        return found

    def step(self, x: dict[str, Tensor], objectives: dict[str, tuple[str, ...]], faces: bool) -> dict[str, float]:
        """All gradients at the same parameters, then every group."""
        found = self.losses(x, faces)
        for group, names in objectives.items():
            parameters = self.optimizers[group].param_groups[0]["params"]
            total = torch.stack([found[name] for name in names]).sum()
            gradients = torch.autograd.grad(total, parameters, retain_graph=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        for group in objectives:
            self.optimizers[group].step()
        return {name: float(value.detach()) for name, value in found.items()}


def drawn(number: int) -> dict[str, Tensor]:
    figure, pose = (each.clamp(-1, 1) for each in normals(2, BATCH, 2, 3, SIZE, SIZE, seed=number))
    return {"figure": figure, "pose": pose, "joints": normals(1, BATCH, 2, 15, 2, seed=number)[0].clamp(-1, 1)}


@PLANS
def test_the_three_phases_agree_with_a_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("dance", **SHORT, **FIXED), share=share, merge=merge)
    loop = Loop(engine)
    loop.optimizer("translator", "G")
    loop.optimizer("critics", "D[1]", "D[2]")
    body = ("fool", "matched", "alike")
    started = snapshot({name: loop.ordered(name) for name in loop.networks})
    for phase in range(3):
        if phase == 1:
            engine.next_phase()
            loop.networks |= {"F": Translator(), "D_face": Critic(6, batch_norm=True)}
            loop.take_over(engine, "F", "D_face")
            loop.optimizer("translator", "F")
            loop.optimizer("beginner", "D_face")
            started |= snapshot({name: loop.ordered(name) for name in ("F", "D_face")})
        if phase == 2:  # the critics begin anew, the face network goes on
            engine.next_phase()
            loop.optimizer("critics", "D[1]", "D[2]")
            loop.optimizer("critic", "D_face")
        objectives: dict[str, tuple[str, ...]] = {"translator": (*body, "fool_face") if phase else body}
        objectives |= {"critics": ("judge",)} if phase != 1 else {"beginner": ("judge_face",)}
        objectives |= {"critic": ("judge_face",)} if phase == 2 else {}
        for step in range(LENGTHS[phase]):
            x = drawn(10 * phase + step)
            found, expected = engine.step({"x": x}), loop.step(x, objectives, faces=phase > 0)
            for name in found.keys() & expected.keys():
                assert deviation(found[name], expected[name]) < 1e-8, (phase, step, name)
            assert {name for names in objectives.values() for name in names} <= found.keys()
    # Biases before a norm have no gradient but by rounding, of which Adam makes steps.
    ordered = {name: loop.ordered(name) for name in loop.networks}
    assert worst(error for _, error in parameter_deviations(engine, ordered, started, still=1e-7)) < 1e-8


def test_each_frame_of_a_film_is_made_from_the_one_before() -> None:
    run = trainer(load("dance"))
    look = run.evaluate(2)
    alone = trainer(load("dance", variant="framewise"))
    assert look is not None and alone.evaluate(2) is not None
    assert look.metrics.keys() >= {"flicker", "face", "face_plain", "ssim"}
    assert look.metrics["face"] == look.metrics["face_plain"]  # before there is a face network


def test_it_resumes_to_the_bit_across_phases(tmp_path: Path) -> None:
    short = {key: "2 steps" if key.endswith("0__length") else "1 steps" for key in SHORT}
    assert resumes_to_the_bit(load("dance", **short), tmp_path)
