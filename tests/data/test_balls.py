"""Bouncing balls of the world: the set on which models of sequences are compared, with the course of every ball."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gangraph.data.world.balls import BOX, RADIUS, pictures
from gangraph.data.world.source import World


def drawn(count: int = 40, **arguments: Any) -> tuple[Tensor, Tensor]:
    """Clips in [0, 1], [B, T, H, W], and courses with places and speeds in the box's own units, float64."""
    world = World(view=["balls", "courses"], **{"size": 30, "channels": 1, "frames": 50, **arguments})
    batch = world.open().batch(range(count))
    places, speeds = batch["courses"].double().split(2, dim=-1)
    return (batch["balls"][:, :, 0] + 1) / 2, torch.cat([(places + 1) * BOX / 2, speeds / 2], dim=-1)


def squared(x: Tensor, y: Tensor) -> float:
    """The squared difference of images, summed over pixels, as papers report it."""
    return float((x - y).square().sum((-2, -1)).mean())


def test_simple_predictions_have_the_errors_of_the_published_set() -> None:
    """The numbers are those of the generator of Sutskever et al. in its own words, with T = 100."""
    clips, courses = drawn(60, frames=100)
    places = courses[..., :2]
    straight = torch.cat([2 * places[:, 1:-1] - places[:, :-2], courses[:, 1:-1, :, 2:]], dim=-1)
    assert squared(clips[:, 1:], clips[:, :-1]) == pytest.approx(11.82, abs=0.3)
    assert squared(clips[:, 2:], (pictures(straight, (30, 30)) + 1) / 2) == pytest.approx(2.07, abs=0.34)
    assert squared(clips, clips.mean((0, 1))) == pytest.approx(74.8, abs=1)
    assert float(clips.sum((2, 3)).mean()) == pytest.approx(110.7, abs=0.5)


def test_no_ball_begins_in_a_wall_or_in_another() -> None:
    _, courses = drawn(400, frames=1, balls=4)
    places = courses[:, 0, :, :2]
    assert places.min() > RADIUS - 1e-5 and places.max() < BOX - RADIUS + 1e-5
    apart = (places[:, :, None] - places[:, None]).norm(dim=-1) + 99 * torch.eye(4)
    assert apart.min() > 2 * RADIUS - 1e-5


def test_energy_stays_and_every_direction_is_as_likely() -> None:
    _, courses = drawn(400, frames=40)
    speeds = courses[..., 2:]
    assert torch.allclose(speeds.square().sum((2, 3)), torch.tensor(0.25, dtype=torch.float64), atol=1e-6)
    first = speeds[:, 0].flatten(1)
    assert (first.mean(0).abs() < 0.04).all()
    assert torch.allclose(first.square().mean(0), torch.tensor(0.25 / 6, dtype=torch.float64), rtol=0.25)


def test_a_ball_flies_straight_until_something_is_in_its_way() -> None:
    _, courses = drawn()
    places, speeds = courses.split(2, dim=-1)
    free = torch.isclose(speeds[:, 1:], speeds[:, :-1], atol=1e-6).all(-1)
    assert 0.5 < free.double().mean() < 0.95
    flown = (places[:, 1:] - places[:, :-1] - speeds[:, :-1]).abs().amax(-1)
    assert flown[free].max() < 0.5 and flown[free].median() < 1e-5  # there and back within a frame is rare
    assert places.min() > RADIUS - 0.3 and places.max() < BOX - RADIUS + 0.3


def test_two_balls_exchange_what_they_have_along_their_line() -> None:
    _, courses = drawn(200, balls=2)
    speeds = courses[..., 2:]
    momentum = speeds.sum(2)
    kept = (momentum[:, 1:] - momentum[:, :-1]).abs().amax(-1) < 1e-6
    turned = (speeds[:, 1:] - speeds[:, :-1]).abs().amax((-2, -1)) > 1e-3
    assert int((kept & turned).sum()) > 50


def test_a_shorter_clip_a_later_one_and_another_size_are_of_the_same_balls() -> None:
    _, courses = drawn(5)
    assert torch.equal(drawn(5, frames=20)[1], courses[:, :20])
    assert torch.equal(drawn(5, frames=10, stride=5)[1], courses[:, ::5])
    large = drawn(5, size=60)[0]
    small = torch.nn.functional.avg_pool2d(large, 2)
    assert (small - drawn(5)[0]).abs().mean() < 1e-2
    wide = drawn(5, size=[30, 44])[0]
    assert torch.equal(wide[..., 7:37], drawn(5)[0]) and wide[..., :4].max() == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"balls": 5}, "a whole number from 1 to 4"),
        ({"balls": 0}, "a whole number from 1 to 4"),
        ({"motion": "spinning"}, "did you mean 'spin'"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        World(**wrong)


def test_a_clip_moves_as_it_is_asked_to() -> None:
    arguments: dict[str, Any] = {"view": "clip", "size": 32, "shape": "square", "frames": 9}
    clips = {
        motion: World(motion=motion, **arguments).open().batch(range(6))["value"]
        for motion in ("spin", "growth", "all")
    }
    assert not torch.equal(clips["spin"], clips["all"])
    still = World(motion=[], **arguments).open().batch(range(6))["value"]
    assert torch.equal(still, still[:, :1].expand_as(still))
    turning = World(**{**arguments, "view": ["clip", "segmentation"]}, motion="spin")
    inside = turning.open().batch(range(6))["segmentation"] > 0
    change = (clips["spin"][:, 1:] - clips["spin"][:, :-1]).abs().amax((1, 2))
    near = torch.nn.functional.max_pool2d(inside.float()[:, None], 9, 1, 4)[:, 0] > 0
    assert change[~near].max() == 0  # nothing leaves its place
