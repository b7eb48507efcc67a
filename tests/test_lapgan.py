"""A pyramid of GANs: levels that train by themselves, samples that go through all of them, and gates."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import interpolate

import gangraph
from gangraph.check.phase import Checked
from gangraph.pipeline import check_spec
from tests.support import changed, deviation, load, normals, snapshot, trainer


def paper(**settings: object) -> Checked:
    """The last phase of the paper's form on a pyramid of 8, 16 and 32 pixels, where sizes of networks are known."""
    return check_spec(gangraph.load("lapgan", profile="paper", set={"params.sizes": [8, 16, 32], **settings}))[-1]


@pytest.mark.parametrize(
    ("classes", "generator", "discriminator"), [(0, 218_179, 116_545), (10, 232_579, 129_409)], ids=["plain", "classes"]
)
def test_networks_have_the_sizes_that_are_known_at_32_pixels(classes: int, generator: int, discriminator: int) -> None:
    checked = paper(classes=classes)
    assert checked.networks["G[2]"].parameters == generator
    assert checked.networks["D[2]"].parameters == discriminator


def test_the_first_level_has_the_sizes_that_are_known() -> None:
    checked = paper()
    assert (checked.networks["G[0]"].parameters, checked.networks["D[0]"].parameters) == (1_792_992, 477_001)


def test_each_level_trains_by_itself_and_in_turn() -> None:
    run = trainer(load("lapgan"))
    for level, phase in enumerate(run.spec.phases):
        assert phase.name == f"level[{level}]"
        before = snapshot(run.networks)
        run.train(steps=2)
        assert run.phase == level
        assert changed(before, snapshot(run.networks)) == {f"G[{level}]", f"D[{level}]"}
    assert run.done


class Level(nn.Module):
    """The networks of a level after the first as plain modules."""

    def __init__(self, filters: int, size: int) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Conv2d(4, filters, 7, padding=3), nn.ReLU(),
            nn.Conv2d(filters, filters, 7, padding=3), nn.ReLU(),
            nn.Conv2d(filters, 3, 5, padding=2),
        )  # fmt: skip
        end = (size - 4 - 5) // 2 + 1
        self.discriminator = nn.Sequential(
            nn.Conv2d(3, filters, 5), nn.ReLU(), nn.Conv2d(filters, filters, 5, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(filters * end * end, 1),
        )  # fmt: skip

    def fake(self, z: Tensor, coarse: Tensor) -> Tensor:
        """The residual that is added to an enlarged image."""
        made: Tensor = self.generator(torch.cat([z, coarse], 1))
        return made

    def score(self, residual: Tensor, coarse: Tensor) -> Tensor:
        """The logit of an image that is put together again."""
        logit: Tensor = self.discriminator(residual + coarse)
        return logit


def smaller(image: Tensor, size: int) -> Tensor:
    """As the spec makes images smaller and larger."""
    return interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)


def test_a_level_equals_a_loop_by_hand() -> None:
    rate: dict[str, Any] = {"train.optimizers.generator[k in levels]": "sgd(G[k], lr=0.1)"}
    rate |= {"train.optimizers.discriminator[k in levels]": "sgd(D[k], lr=0.1)", "networks.D[k in later].drop": 0}
    run = trainer(load("lapgan", **rate))
    run.train(steps=4)
    run.next_phase()
    hand = Level(2, 16).double()
    for module, name in ((hand.generator, "G[2]"), (hand.discriminator, "D[2]")):
        for mine, theirs in zip(module.parameters(), run.networks[name].parameters(), strict=True):
            mine.data.copy_(theirs.data)
    steps = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (hand.discriminator, hand.generator)]
    for image, first, second in zip(
        normals(3, 4, 3, 16, 16), normals(3, 4, 1, 16, 16), normals(3, 4, 1, 16, 16, seed=1), strict=True
    ):
        label = torch.zeros(4, dtype=torch.int64)
        found = run.step({"photo": {"image": image, "label": label}, "z[2]": [first, second]})
        coarse = smaller(smaller(image, 10), 16)
        real, fake = hand.score(image - coarse, coarse), hand.score(hand.fake(first, coarse).detach(), coarse)
        judge = 0.5 * (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)))
        steps[0].zero_grad()
        judge.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        steps[0].step()
        again = hand.score(hand.fake(second, coarse), coarse)
        fool = bce(again, torch.ones_like(again))
        steps[1].zero_grad()
        fool.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        steps[1].step()
        assert deviation(found["judge[2]"], judge.detach()) < 1e-9
        assert deviation(found["fool[2]"], fool.detach()) < 1e-9


def test_a_sample_goes_through_all_levels() -> None:
    run = trainer(load("lapgan"))
    run.train()
    look = run.evaluate()
    assert look is not None
    grid = {name: image.double() for name, image in look.grid.items()}
    assert [image.shape[-1] for image in grid.values()] == [16, 4, 10, 16, 10, 16, 10, 16]
    for level, size in ((1, 10), (2, 16)):
        assert deviation(grid[f"wide[{level}]"], smaller(grid[f"drawn[{level - 1}]"], size)) < 1e-6
        drawn = (grid[f"wide[{level}]"] + grid[f"added[{level}]"]).clamp(-1, 1)
        assert deviation(grid[f"drawn[{level}]"], drawn) < 1e-6


@pytest.mark.parametrize(
    ("scale", "moved"), [(0, {"G[0]"}), (1000, {"D[0]"})], ids=["neither is behind", "fooled by every fake"]
)
def test_the_gated_variant_trains_who_is_behind(scale: float, moved: set[str]) -> None:
    run = trainer(load("lapgan", variant="gated", **{"networks.D[0].drop": 0}))
    network = run.networks["D[0]"]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        last = [*network.parameters()][-1]
        last.fill_(scale / 1000 * 3)  # the logit of every image: 3 takes all fakes for real
    before = snapshot(run.networks)
    run.step()
    assert changed(before, snapshot(run.networks)) <= moved
    shares = run.engine.open_shares()
    assert {group for group, share in shares.items() if share} == {
        f"{'generator' if name[0] == 'G' else 'discriminator'}[0]" for name in moved
    }
