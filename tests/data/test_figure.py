"""The jointed figure of the world: its body stays, it moves smoothly, and every view shows the same joints."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gangraph.data.world.figure import BUILDS, JOINTS
from gangraph.data.world.source import World
from gangraph.errors import ArgumentError

VIEWS = ("figure", "pose", "joints", "silhouette")


def drawn(count: int = 12, **arguments: Any) -> dict[str, Tensor]:
    world = World(view=VIEWS, **{"size": 64, "frames": 12, **arguments})
    return dict(world.open().batch(range(count)))


def joint(found: Tensor, name: str) -> Tensor:
    return found[:, :, JOINTS.index(name)]


def at(clip: Tensor, places: Tensor) -> Tensor:
    """What clips [B, T, C, H, W] show at places [B, T, 2] in shares: [B, T, C]."""
    size = clip.shape[-1]
    column, row = (((places + 1) / 2 * size).long().clamp(0, size - 1)).unbind(-1)
    batch, time = torch.meshgrid(torch.arange(len(clip)), torch.arange(clip.shape[1]), indexing="ij")
    return clip[batch, time, :, row, column]


@pytest.mark.parametrize("build", BUILDS)
def test_bones_keep_their_lengths(build: str) -> None:
    found, body = drawn(build=build)["joints"], BUILDS[build]
    for side in ("left", "right"):
        for first, second, length in (
            ("shoulder", "elbow", body.arm), ("elbow", "hand", body.arm),
            ("hip", "knee", body.leg), ("knee", "foot", body.leg),
        ):  # fmt: skip
            apart = (joint(found, f"{side} {first}") - joint(found, f"{side} {second}")).norm(dim=-1)
            assert torch.allclose(apart, torch.full_like(apart, length), atol=1e-5)
    torso, across = joint(found, "neck") - joint(found, "pelvis"), joint(found, "right hip") - joint(found, "left hip")
    assert torch.allclose(torso.norm(dim=-1), torch.full(torso.shape[:2], body.torso), atol=1e-5)
    assert (torso * across).sum(-1).abs().max() < 1e-6


def test_it_moves_in_every_frame_but_never_far_and_stays_inside() -> None:
    found = drawn(200)["joints"]
    moved = (found[:, 1:] - found[:, :-1]).norm(dim=-1)
    assert moved.amax(2).min() > 0.002 and moved.max() < 0.35
    assert found.abs().max() < 0.95
    assert found.std(0).amax(-1).min() > 0.01  # no joint stands at one place in all samples


def test_every_view_shows_the_same_joints() -> None:
    seen = drawn(vary=["hue"], ground_hue="blue")
    for name in JOINTS:
        assert at(seen["silhouette"], joint(seen["joints"], name)).min() == 1
    ground = seen["figure"][:, :, :, :1, :1]
    apart = (seen["figure"] - ground).abs().amax(2, keepdim=True) > 0.02
    assert (apart >= (seen["silhouette"] > 0)).float().mean() > 0.999
    assert (apart.float() - seen["silhouette"]).abs().mean() < 0.1  # soft edges lie outside
    found = seen["joints"]
    middle = (joint(found, "left elbow") + joint(found, "left hand")) / 2
    orange = torch.tensor([0.97, 0.54, 0.13]) * 2 - 1
    hidden = (at(seen["pose"], middle) - orange).abs().amax(-1) > 0.4
    assert hidden.float().mean() < 0.15  # by sticks before it


def test_the_shirt_has_the_hue_of_the_scene() -> None:
    seen = drawn(vary=[], hue="green", ground_hue="yellow", build="stout")
    middle = joint(seen["joints"], "neck") * 0.4 + joint(seen["joints"], "pelvis") * 0.6
    shown = at(seen["figure"], middle)
    green = (torch.tensor([0.27, 0.68, 0.32]) * 2 - 1).expand_as(shown)
    assert ((shown - green).abs().amax(-1) < 0.05).float().mean() > 0.6  # elsewhere an arm is before it


def test_a_shorter_clip_a_later_one_and_another_size_are_of_the_same_dance() -> None:
    whole = drawn(4, tremor=0.02)
    for views in (drawn(4, frames=6, tremor=0.02), {k: v[:, :6] for k, v in drawn(4, tremor=0.02).items()}):
        assert all(torch.equal(views[name], whole[name][:, :6]) for name in VIEWS)
    assert all(torch.equal(drawn(4, frames=4, stride=3, tremor=0.02)[name], whole[name][:, ::3]) for name in VIEWS)
    large = drawn(4, size=128)["figure"].flatten(0, 1)
    assert (avg_pool2d(large, 2) - drawn(4)["figure"].flatten(0, 1)).abs().mean() < 0.02
    wide = drawn(4, size=[64, 96])
    assert torch.allclose(wide["silhouette"][..., 16:80], drawn(4)["silhouette"])
    assert torch.allclose(wide["joints"][..., 0] * 1.5, drawn(4)["joints"][..., 0], atol=1e-6)


def test_a_twin_dances_likewise_in_the_other_scene() -> None:
    views = ("twin", "twin_joints", "twin_silhouette")
    world = World(size=32, frames=3, vary=["hue"], view=views, under={"hue": "green"})
    other = World(size=32, frames=3, vary=["hue"], view=VIEWS, build="stout", hue="green")
    seen, expected = (each.open().batch(range(4)) for each in (world, other))
    for name, view in zip(views, ("figure", "joints", "silhouette"), strict=True):
        assert torch.equal(seen[name], expected[view])
    slim = World(size=32, frames=3, vary=["hue"], view=views, under={"hue": "green"}, build="stout", twin="slim")
    assert not torch.equal(slim.open().batch(range(4))["twin_joints"], seen["twin_joints"])


def test_a_tremor_shakes_the_sticks_alone() -> None:
    calm, shaken = drawn(4), drawn(4, tremor=0.05)
    assert all(torch.equal(calm[name], shaken[name]) for name in ("figure", "joints", "silhouette"))
    assert (calm["pose"] - shaken["pose"]).abs().mean() > 0.01
    assert torch.equal(calm["pose"], drawn(4, tremor=0)["pose"])


def test_grey_figures_and_single_frames() -> None:
    seen = drawn(2, channels=1, frames=1)
    assert seen["figure"].shape == seen["pose"].shape == (2, 1, 1, 64, 64)


@pytest.mark.parametrize(("argument", "value"), [("build", "tall"), ("twin", "tall"), ("tremor", -0.1), ("tremor", 1)])
def test_wrong_arguments_are_told(argument: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=argument):
        World(**{argument: value})  # type: ignore[arg-type]  # wrong on purpose
