"""Pictures by a critic of patches, then a network, in float64 against loops that are written here by hand."""

import math
from collections.abc import Mapping
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.pipeline import check_spec, compile_phase
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    normals,
    parameter_deviations,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, CROP, APART = 10, 3, 56, 48, 8
PATCH, STRIDE, MAP = 4, 2, 14  # of the maps that patches are cut from
TILT, ZOOM = 0.1745, 1.1
PAPER = {"params.like": 0.5, "params.smooth": 1e-4, "params.rate_p": 0.02, "params.rate_g": 0.02}
WIDTHS = (2, 3, 4, 5)  # of the blocks of the frozen network
BY_PATCHES = tuple(product(range(0, MAP - PATCH + 1, STRIDE), repeat=2))
BY_PIECES = tuple(product(range(0, SIZE - CROP + 1, APART), repeat=2))


class Features(nn.Module):
    """The maps after the first convolution of the third block and of the fourth."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, 2, 2, 3, 3, 4, 4, 4)
        outputs = (2, 2, 3, 3, 4, 4, 4, 5)
        self.convs = nn.ModuleList(nn.Conv2d(n, m, 3, padding=1) for n, m in zip(inputs, outputs, strict=True))

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        made = {}
        for number, conv in enumerate(self.convs):
            x = conv(functional.max_pool2d(x, 2) if number in (2, 4, 7) else x).relu()
            if number in (4, 7):
                made[3 if number == 4 else 4] = x
        return made


def patch_critic(bias: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(WIDTHS[2], 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
        nn.Conv2d(4, 1, PATCH, bias=bias), nn.Flatten(),
    )  # fmt: skip


def map_critic(bias: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(WIDTHS[2], 4, 4, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 1, bias=bias),
    )  # fmt: skip


def generator(bias: bool) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs, shape in ((WIDTHS[3], 16, (3, 1, 1)), (16, 8, (4, 2, 1)), (8, 4, (4, 2, 1))):
        layers += [nn.ConvTranspose2d(inputs, outputs, *shape), nn.BatchNorm2d(outputs)]
        layers += [nn.LeakyReLU(0.2) if bias else nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=bias), nn.Tanh())


def moved(x: Tensor, turn: Tensor, grow: Tensor, mirror: Tensor) -> Tensor:
    """Images turned about their centre, larger, and mirrored, where the draws say so; reflected at border pixels."""
    reach = (SIZE - 1) / 2
    down, right = torch.meshgrid(*[torch.arange(SIZE, dtype=x.dtype) - reach] * 2, indexing="ij")
    made = []
    for image, angle, larger, mirrored in zip(x, turn.round() * TILT, ZOOM ** grow.round(), mirror, strict=True):
        if mirrored:
            image = image.flip(-1)
        there = torch.stack([angle.cos() * right - angle.sin() * down, angle.sin() * right + angle.cos() * down], -1)
        grid = (there / larger / reach)[None]
        made.append(functional.grid_sample(image[None], grid, padding_mode="reflection", align_corners=True))
    return torch.cat(made)


def cut(x: Tensor, places: tuple[tuple[int, ...], ...], size: int, chosen: Tensor | None) -> Tensor:
    """Squares of each sample in turn: all of them, or those that it chooses."""
    squares = []
    for sample, image in enumerate(x):
        for place in range(len(places)) if chosen is None else chosen[sample].tolist():
            top, left = places[place]
            squares.append(image[:, top : top + size, left : left + size])
    return torch.stack(squares)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    return (1 - real).relu().mean() + (1 + fake).relu().mean()


def roughness(x: Tensor) -> Tensor:
    """Half the squared differences of neighbours, summed over each image."""
    return ((x[..., 1:] - x[..., :-1]).square().sum() + (x[..., 1:, :] - x[..., :-1, :]).square().sum()) / (2 * len(x))


def halved(f: Tensor) -> Tensor:
    """Maps whose gradient is divided by how many patches hold each place."""
    count = torch.zeros(MAP, MAP, dtype=f.dtype)
    for top, left in BY_PATCHES:
        count[top : top + PATCH, left : left + PATCH] += 1
    return f.detach() + (f - f.detach()) / count


def contrast(x: Tensor) -> Tensor:
    made = []
    for image in x:
        off = image - image.mean()
        bound = 2 * float(off.square().mean().sqrt())
        off = off.clamp(-bound, bound)
        made.append((off - off.min()) / (off.max() - off.min()) * 2 - 1)
    return torch.stack(made)


def move(loss: Tensor, parameters: list[nn.Parameter], optimizer: torch.optim.Adam) -> None:
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def begin(variant: str | None, share: bool, merge: bool) -> gangraph.Trainer:
    """An engine with the numbers of the paper, on noise: where photographs are flat, Adam makes steps of rounding."""
    changes = {"data.x": f"fixed(uniform(3, {SIZE}, {SIZE}, low=-1))", **PAPER}
    if variant is None:
        changes["losses.likeness"] = "l2(told.relu4_1, known.relu4_1)"
    spec = load("mgan", variant=variant, **{key.replace(".", "__"): value for key, value in changes.items()})
    return trainer(spec, share=share, merge=merge)


class Begun:
    """An engine at the beginning of a phase, and the same networks by hand, moved apart so that each place differs."""

    def __init__(self, engine: gangraph.Trainer, variant: str | None, names: str) -> None:
        self.official = variant == "official_code"
        bias = not self.official
        made = {"P": patch_critic(bias), "D": map_critic(bias), "G": generator(bias), "V": Features()}
        self.networks: dict[str, nn.Module] = {name: made[name].double() for name in names}
        self.engine, self.v = engine, made["V"].double()
        theirs = engine.networks
        with torch.no_grad():
            for name in ("V", *names):
                for number, parameter in enumerate(theirs[name].parameters()):
                    parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.2)
            for mine, other in zip(self.v.parameters(), theirs["V"].parameters(), strict=False):
                mine.copy_(other)
        for name in names:
            copy_parameters(theirs[name], self.networks[name])
        draws = engine.engine.draws.ahead()
        self.x, self.style = (draws.draw(name, 0)["value"].double() for name in ("x", "style"))
        self.picture = nn.Parameter(theirs["picture"].value.detach().clone())  # type: ignore[operator]
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=0.02, betas=(0.5, 0.999))
            for name, network in self.networks.items()
        }
        self.painter = torch.optim.Adam([self.picture], lr=0.02, betas=(0.5, 0.999))

    def update(self, name: str, loss: Tensor) -> None:
        move(loss, list(self.networks[name].parameters()), self.optimizers[name])


def drawn(number: int, places: int, count: int) -> dict[str, Tensor]:
    """What a step draws: how images are moved, and which squares of them are taken."""
    made = torch.Generator().manual_seed(number)
    turn, grow = (3 * torch.rand(BATCH, generator=made, dtype=torch.float64) - 1.5 for _ in range(2))
    mirror = torch.randint(2, (BATCH,), generator=made).double()
    return {
        "turn": turn,
        "grow": grow,
        "mirror": mirror,
        "places": torch.randint(places, (BATCH, count), generator=made),
    }


def picture_step(begun: Begun, draws: Mapping[str, Tensor]) -> dict[str, float]:
    """One step of the pictures by hand: the critic of patches, then the pictures."""
    v, p = begun.v, begun.networks["P"]
    style = v(moved(begun.style, draws["turn"], draws["grow"], draws["mirror"]))[3]
    wanted = cut(style, BY_PATCHES, PATCH, draws["places"]).detach()
    shown = v(begun.picture)
    maps = halved(shown[3]) if begun.official else shown[3]
    spots = cut(maps, BY_PATCHES, PATCH, None)
    judge = hinge(p(wanted), p(spots.detach()))
    begun.update("P", judge)
    fool = (1 - p(spots)).relu().mean()
    content = functional.mse_loss(shown[4], v(begun.x)[4])
    rough = roughness(begun.picture)
    move(fool + 0.5 * content + 1e-4 * rough, [begun.picture], begun.painter)
    found = {"judge_patches": judge, "fool_patches": fool, "content": content, "rough": rough}
    return {name: float(value.detach()) for name, value in found.items()}


def network_step(begun: Begun, draws: Mapping[str, Tensor], variant: str | None) -> dict[str, float]:
    """One step of the network by hand: its critic, then the network on the same pieces."""
    v, d, g = begun.v, begun.networks["D"], begun.networks["G"]
    turned = [
        moved(each, draws["turn"], draws["grow"], draws["mirror"])
        for each in (begun.x, contrast(begun.picture.detach()) if begun.official else begun.picture.detach())
    ]
    piece, model = (cut(each, BY_PIECES, CROP, draws["places"]) for each in turned)
    known, y = v(model), g(v(piece)[4].detach())
    told = v(y)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    judge = hinge(d(known[3])[inner], d(told[3].detach())[inner])
    begun.update("D", judge)
    fool = (1 - d(told[3])[inner]).relu().mean()
    near = (y - model) if variant in ("official_code", "pixels") else (told[4] - known[4])
    likeness = near.square().mean()
    if variant == "official_code":  # the mean is over the ring too, where the loss is 0
        begun.update("G", likeness / 1.01 + 0.01 / 1.01 * 36 / 64 * fool)
    else:
        begun.update("G", likeness + 0.01 * fool)
    return {name: float(value.detach()) for name, value in {"judge": judge, "fool": fool, "likeness": likeness}.items()}


def given(draws: dict[str, Tensor], places: str) -> dict[str, Tensor]:
    return {places if name == "places" else name: value for name, value in draws.items()}


@PLANS
@pytest.mark.parametrize("variant", [None, "official_code"])
def test_pictures_are_optimised_as_by_hand(share: bool, merge: bool, variant: str | None) -> None:
    engine = begin(variant, share, merge)
    engine.engine.begin(engine.clock)
    begun = Begun(engine, variant, "P")
    assert torch.equal(begun.picture.detach(), begun.x)
    started = snapshot(begun.networks)
    for number in range(STEPS):
        draws = drawn(number, len(BY_PATCHES), len(BY_PATCHES))
        found = engine.step(given(draws, "at_style"))
        expected = picture_step(begun, draws)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    ended = engine.networks["picture"].value.detach()  # type: ignore[operator]
    assert deviation(ended, begun.picture.detach()) < 1e-9
    assert worst(e for _, e in parameter_deviations(engine, begun.networks, started, still=1e-6)) < 1e-9


@PLANS
@pytest.mark.parametrize("variant", [None, "official_code", "pixels"])
def test_the_network_learns_from_pairs_as_by_hand(share: bool, merge: bool, variant: str | None) -> None:
    engine = begin(variant, share, merge)
    engine.train(2)
    engine.next_phase()
    engine.engine.begin(engine.clock)
    begun = Begun(engine, variant, "DG")
    started = snapshot(begun.networks)
    for number in range(STEPS):
        draws = drawn(number, len(BY_PIECES), 1)
        found = engine.step(given(draws, "at"))
        expected = network_step(begun, draws, variant)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert worst(e for _, e in parameter_deviations(engine, begun.networks, started, still=1e-6)) < 1e-9
    ended = engine.networks["picture"].value.detach()  # type: ignore[operator]
    assert torch.equal(ended, begun.picture.detach())


@pytest.mark.parametrize("phase", [0, 1])
def test_the_kernel_of_patches_stands_in_its_place_and_computes_the_same(phase: int) -> None:
    spec = load("mgan")
    segments = compile_phase(check_spec(spec)[phase], kernels="auto").segments
    placed = [use.fusion for lowered in segments.values() for use in lowered.kernels]
    assert [(fusion.kernel, fusion.why_not) for fusion in placed] == [("patch_loss", "")]
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    for engine in (fused, plain):
        engine.train(1)
        if phase:
            engine.next_phase()
    for _ in range(3):
        assert fused.step() == pytest.approx(plain.step(), rel=1e-9)


def test_critics_that_know_nothing_lose_two_and_let_everything_pass_for_half() -> None:
    """Where a critic says 0, its hinge loss is 2, and that of what it judges is 1."""
    engine = trainer(load("mgan"))
    losses = dict(_silenced(engine, "P").step())
    engine.next_phase()
    losses |= _silenced(engine, "D").step()
    assert losses["judge_patches"] == losses["judge"] == 2
    assert losses["content"] == 0 and losses["rough"] > 0


def _silenced(engine: gangraph.Trainer, name: str) -> gangraph.Trainer:
    with torch.no_grad():
        for parameter in engine.networks[name].parameters():
            parameter.zero_()
    return engine


def test_what_is_painted_is_as_large_as_its_photograph_and_bounded() -> None:
    engine = trainer(load("mgan"))
    v, g = engine.networks["V"], engine.networks["G"]
    for height, width in ((SIZE, SIZE), (24, 80)):
        (x,) = normals(1, 2, 3, height, width)
        made = g(v(x)["relu4_1"])
        assert made.shape == x.shape and float(made.detach().abs().max()) <= 1


def test_scores_at_the_border_are_left_out() -> None:
    """A map of 12 places a side has 3 scores a side, of which only the one inside counts."""
    d = trainer(load("mgan")).networks["D"]
    (f,) = normals(1, 2, WIDTHS[2], CROP // 4, CROP // 4)
    assert d(f).shape == (2, 1, 1, 1)


def test_a_cosine_of_a_patch_with_itself_is_one() -> None:
    unlike = trainer(load("mgan")).networks["unlike"]
    f, s = normals(2, 2, 5, 9, 9)
    assert abs(float(unlike(f, 3 * f))) < 1e-6
    expected = []
    for one, other in zip(f, s, strict=True):
        p, q = (functional.unfold(each[None], 3)[0] for each in (one, other))
        p, q = p / p.norm(dim=0), q / q.norm(dim=0)
        expected.append((p.T @ q).max(1).values.mean())
    assert math.isclose(float(unlike(f, s)), 1 - float(torch.stack(expected).mean()), rel_tol=1e-6)
