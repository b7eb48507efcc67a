"""The embedded world: pure, exact, and what its fields say it is."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from gangraph.data.world.caption import MOST_LETTERS, SYNONYMS, VOCABULARY, sentence, spelled
from gangraph.data.world.plane import Plane, centres, log_density
from gangraph.data.world.render import PALETTE
from gangraph.data.world.scene import FACTORS, HUES, SHAPES, TEXTURES, Scene, cosine
from gangraph.data.world.sheet import contact_sheet
from gangraph.data.world.source import World
from gangraph.data.world.views import ATTRIBUTES, VIEWS
from gangraph.registry import vocabulary

STRIPED = {"texture": "stripes"}
EVERY_VIEW = tuple(VIEWS)


def samples(indices: Any = range(12), **arguments: Any) -> Mapping[str, Tensor]:
    return World(**arguments).open().batch(indices, torch.Generator())


def value(indices: Any = range(12), **arguments: Any) -> Tensor:
    return samples(indices, **arguments)["value"]


def scenes(count: int = 500, **arguments: Any) -> Scene:
    return World(**arguments).scenes(range(count))


def correlation(a: Tensor, b: Tensor) -> Tensor:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]


def differing(a: Scene, b: Scene) -> set[str]:
    return {name for name in FACTORS if not torch.equal(a[name], b[name])}


# Draws


@pytest.mark.parametrize("view", EVERY_VIEW)
def test_a_sample_depends_on_its_index_and_on_nothing_else(view: str) -> None:
    arguments = {"view": view, "size": 24, "under": STRIPED, "frames": 3}
    together = value([5, 900, 31, 5, 7], **arguments)
    alone = [value([index], **arguments)[0] for index in (5, 900, 31, 5, 7)]
    assert torch.equal(together, torch.stack(alone))


def test_a_drawn_scene_never_changes_between_releases() -> None:
    drawn = World(seed=3).scenes([0, 10**12])
    assert [SHAPES[k] for k in drawn["shape"]] == ["ring", "disc"]
    assert drawn["x"].tolist() == [0.31365819934910366, 0.9379473153777168]


def test_every_factor_is_uniform() -> None:
    drawn = scenes(4000)
    for name, factor in FACTORS.items():
        bins = len(factor.names) or 10
        parts = drawn[name] if factor.names else (drawn[name] * bins).long()
        shares = torch.bincount(parts, minlength=bins) / 4000
        assert (shares * bins - 1).abs().max() < 0.25, name


def test_factors_are_independent() -> None:
    drawn = scenes(4000)
    # A hue is never the ground's, so these two are tied.
    names = [name for name in FACTORS if name != "hue"]
    table = torch.stack([drawn[name].double() for name in names])
    off_diagonal = torch.corrcoef(table) - torch.eye(len(names))
    assert off_diagonal.abs().max() < 0.06


def test_splits_and_seeds_share_no_scene() -> None:
    drawn = [scenes(300, split=split, seed=seed)["x"] for split in ("train", "val", "test") for seed in (0, 1)]
    assert len(set(torch.cat(drawn).tolist())) == 6 * 300


def test_offset_shifts_the_indices() -> None:
    assert torch.equal(value([2], offset=40, size=16), value([42], size=16))


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(IndexError, match="at least 0"):
        value([-1])


def test_an_empty_batch_is_empty() -> None:
    for name, batch in samples([], view=EVERY_VIEW, under=STRIPED).items():
        assert batch.shape[0] == 0, name


def test_only_the_factors_that_vary_vary() -> None:
    drawn = scenes(50, vary=["shape", "x"])
    for name, factor in FACTORS.items():
        assert (len(set(drawn[name].tolist())) > 1) == (name in ("shape", "x"))
        if name not in ("shape", "x"):
            default = factor.names[drawn[name][0]] if factor.names else drawn[name][0].item()
            assert default == factor.default


@pytest.mark.parametrize(
    "forced",
    [{"texture": "stripes"}, {"ground_texture": "grain"}, {"shape": "star"}, {"light": 0.8}],
    ids=lambda forced: next(iter(forced)),
)
def test_forcing_a_factor_leaves_the_others(forced: dict[str, Any]) -> None:
    assert differing(scenes(), scenes(**forced)) == set(forced)


def test_forcing_a_hue_moves_the_ground_only_where_it_had_that_hue() -> None:
    free, red = scenes(), scenes(hue="red")
    clash = free["ground_hue"] == HUES.index("red")
    assert torch.equal(free["ground_hue"][~clash], red["ground_hue"][~clash])
    assert torch.equal(free["hue"][clash], red["ground_hue"][clash])


@pytest.mark.parametrize(
    "arguments",
    [{}, {"hue": "blue"}, {"ground_hue": "teal"}, {"vary": ["hue"]}, {"vary": ["ground_hue"]}],
    ids=str,
)
def test_an_object_never_has_the_colour_of_its_ground(arguments: dict[str, Any]) -> None:
    drawn = scenes(**arguments)
    assert (drawn["hue"] != drawn["ground_hue"]).all()
    if "hue" in arguments:
        assert (drawn["hue"] == HUES.index(arguments["hue"])).all()


def test_unaligned_domains_have_a_known_counterpart() -> None:
    plain, striped = value(texture="plain", size=32), value(texture="stripes", size=32)
    replaced = value(texture="plain", view="under", under=STRIPED, size=32)
    outside = value(view="segmentation", size=32, texture="plain") == 0
    assert torch.equal(striped, replaced)
    assert (plain - striped).abs().amax(1)[outside].mean() < 0.02
    assert (plain - striped).abs().amax(1)[~outside].mean() > 0.05


def test_changes_may_be_a_mapping_or_texts() -> None:
    texts = World(view="under", under=["light=0.9", "texture = stripes"])
    assert texts == World(view=["under"], under={"texture": "stripes", "light": 0.9})
    assert hash(texts) == hash(texts)


# Pictures


@pytest.mark.parametrize("view", EVERY_VIEW)
@pytest.mark.parametrize("arguments", [{"size": 8}, {"size": 40, "channels": 1, "label": "hue"}], ids=str)
def test_a_view_is_what_its_field_says(view: str, arguments: dict[str, Any]) -> None:
    world = World(view=view, under=STRIPED, frames=12, stride=3, **arguments)
    (field,), (batch,) = world.fields.values(), world.open().batch(range(40)).values()
    assert (batch.shape[1:], batch.dtype) == (field.shape, field.dtype)
    assert field.low <= batch.min() and batch.max() <= field.high
    assert batch.is_contiguous()


def test_one_view_is_called_value_and_several_by_name() -> None:
    assert list(samples([0])) == list(World().fields) == ["value"]
    assert list(samples([0], view=["image", "label"])) == ["image", "label"]


@pytest.mark.parametrize("view", ["image", "shade", "under"])
def test_a_scene_is_the_same_at_any_size(view: str) -> None:
    small, large = (value(view=view, size=size, under=STRIPED) for size in (32, 128))
    assert correlation(small, avg_pool2d(large, 4)) > 0.97


def test_the_plain_middle_of_a_disc_has_the_colour_of_its_hue() -> None:
    for hue in HUES:
        ground = "red" if hue == "blue" else "blue"
        picture = value([0], vary=[], hue=hue, ground_hue=ground, size=32)[0]
        assert ((picture[:, 16, 16] + 1) / 2).tolist() == pytest.approx(PALETTE[hue], abs=1e-6)
        assert ((picture[:, 0, 0] + 1) / 2).tolist() == pytest.approx(PALETTE[ground], abs=1e-6)


def test_light_darkens_one_side() -> None:
    lit = value([0], vary=[], light=1.0)[0].mean(0)  # by default from the top left
    assert lit[:8, :8].mean() > lit[-8:, -8:].mean() + 0.2


def test_every_texture_looks_different() -> None:
    pictures = [value([3], ground_texture=texture) for texture in TEXTURES]
    gaps = [(a - b).abs().mean() for k, a in enumerate(pictures) for b in pictures[:k]]
    assert min(gaps) > 0.02


def test_every_shape_has_a_fair_area() -> None:
    for shape in SHAPES:
        area = (value(range(60), view="segmentation", shape=shape) > 0).float().mean()
        assert 0.03 < area < 0.3, shape


def test_segmentation_segmap_and_outline_agree() -> None:
    views = samples(view=["segmentation", "segmap", "outline", "label"])
    classes, labels = views["segmentation"], views["label"]
    assert torch.equal(classes.amax((1, 2)), labels + 1)
    edge = (classes[:, 1:] != classes[:, :-1]).any(1).any(1)
    assert edge.all() and (views["outline"].amax((1, 2, 3)) > 0.9).all()
    for picture, kinds in zip(views["segmap"], classes, strict=True):
        colours = picture[:, kinds > 0]
        assert (colours == colours[:, :1]).all()


def test_shade_is_low_on_the_ground_and_high_inside() -> None:
    views = samples(view=["shade", "segmentation"], size=128)
    inside = views["segmentation"] > 0
    assert (views["shade"].amax((1, 2, 3)) > 0.8).all()
    assert views["shade"][:, 0][inside].mean() > 0.2 and views["shade"][:, 0][~inside].mean() < -0.98


def test_the_polygon_lies_on_the_outline() -> None:
    views = samples(range(60), view=["polygon", "outline"], size=128, points=48)
    at = views["polygon"].permute(0, 2, 1)[:, :, None]
    assert grid_sample(views["outline"], at, align_corners=False).mean() > 0.8


def test_low_is_the_mean_of_blocks() -> None:
    views = samples(view=["image", "low"], factor=8)
    assert torch.allclose(views["low"], avg_pool2d(views["image"], 8))


def test_one_channel_is_the_luminance() -> None:
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert torch.allclose(value(channels=1)[:, 0], (value() * weights).sum(1), atol=1e-5)


def test_a_clip_starts_at_the_image_and_moves() -> None:
    views = samples(view=["image", "clip"], size=32)
    clip = views["clip"]
    assert torch.allclose(clip[:, 0], views["image"], atol=1e-4)
    assert ((clip[:, 1:] - clip[:, :-1]).abs().amax((2, 3, 4)) > 0.05).all()


def test_a_clip_skips_by_its_stride() -> None:
    fine, coarse = value(view="clip", frames=9, size=16), value(view="clip", frames=3, stride=4, size=16)
    assert torch.allclose(fine[:, ::4], coarse, atol=1e-4)


def test_a_moving_object_stays_inside() -> None:
    vary = ["x", "y", "scale", "heading", "growth"]
    clip = value(range(10), view="clip", frames=40, stride=5, size=64, vary=vary)
    rim = torch.cat([clip[..., 0, :], clip[..., -1, :], clip[..., 0], clip[..., -1]], dim=-1)
    assert (rim - rim[:1, :1, :, :1]).abs().max() < 1e-3


# Numbers and words


def test_factors_and_attributes_tell_the_scene() -> None:
    views, drawn = samples(view=["factors", "attributes"]), World().scenes(range(12))
    columns = dict(zip(FACTORS, views["factors"].unbind(1), strict=True))
    traits = dict(zip(ATTRIBUTES, views["attributes"].bool().unbind(1), strict=True))
    assert torch.equal((columns["hue"] * 7).round().long(), drawn["hue"])
    assert torch.equal(traits["hollow"], drawn["shape"] == SHAPES.index("ring"))
    assert torch.equal(traits["left"], columns["x"] < 0.5)


def test_every_factor_is_a_view_by_its_name() -> None:
    world = World(view=[*FACTORS, "factors"], seed=4)
    views, drawn = world.open().batch(range(200)), world.scenes(range(200))
    for name, factor in FACTORS.items():
        field = world.fields[name]
        assert views[name].shape == (200,) and views[name].dtype == field.dtype
        assert field.low <= views[name].min() and views[name].max() <= field.high
        if factor.names:
            assert torch.equal(views[name], drawn[name]) and field.high == len(factor.names) - 1
        else:
            assert torch.equal(views[name], views["factors"][:, list(FACTORS).index(name)])


def test_a_caption_tells_hue_and_shape() -> None:
    world = World()
    drawn = world.scenes(range(300))
    for text, shape, hue in zip(world.captions(range(300)), drawn["shape"], drawn["hue"], strict=True):
        words = set(text.split())
        assert words & set(SYNONYMS[SHAPES[shape]]) and words & set(SYNONYMS[HUES[hue]])


def test_captions_use_every_word_and_say_little_twice() -> None:
    texts = World().captions(range(3000))
    assert {word for text in texts for word in text.split()} == set(VOCABULARY[2:])
    assert len(set(texts)) > 2500


def test_tokens_spell_the_caption() -> None:
    rows = value(view="tokens")
    assert [sentence(row) for row in rows] == World().captions(range(12))


@pytest.mark.parametrize("vary", ["all", ["shape"], ["hue"], ["hue", "ground_hue"]], ids=str)
def test_a_mismatch_is_never_true(vary: Any) -> None:
    world = World(vary=vary)
    own, other = world.scenes(range(400)), world.rivals(range(400))
    free = ("shape", "hue") if vary == "all" else [name for name in ("shape", "hue") if name in vary]
    assert all((own[name] != other[name]).all() for name in free)
    assert (other["hue"] != other["ground_hue"]).all()


def test_letters_spell_the_sentences_of_tokens() -> None:
    found = samples(view=["tokens", "letters", "mismatch", "mismatch_letters"])
    for words, letters in (("tokens", "letters"), ("mismatch", "mismatch_letters")):
        assert [spelled(row) for row in found[letters]] == [sentence(row) for row in found[words]]


def test_the_longest_sentence_fits_its_letters() -> None:
    longest = {name: max(map(len, words)) for name, words in SYNONYMS.items()}
    kinds = {name: max(longest[each] for each in names) for name, names in
             (("shape", SHAPES), ("hue", HUES), ("texture", TEXTURES))}  # fmt: skip
    place, light = len("at the bottom middle"), longest["strong"] + 1 + longest["light"]
    thing = 2 + longest["small"] + 1 + kinds["texture"] + 1 + kinds["hue"] + 1 + kinds["shape"]
    backdrop = len("on a ") + kinds["texture"] + 1 + kinds["hue"] + 1 + longest["ground"]
    assert thing + 1 + place + 1 + backdrop + len(" in ") + light < MOST_LETTERS


def combinations(scene: Scene) -> set[tuple[int, int]]:
    return set(zip(scene["hue"].tolist(), scene["shape"].tolist(), strict=True))


def test_combinations_of_shape_and_hue_are_seen_or_unseen() -> None:
    seen, unseen = (
        World(combinations=chosen, split=split) for chosen, split in (("seen", "train"), ("unseen", "test"))
    )
    trained, new = (combinations(world.scenes(range(2000))) for world in (seen, unseen))
    assert (len(trained), len(new), trained & new) == (36, 12, set())
    assert {shape for _, shape in new} == {shape for _, shape in trained} == set(range(len(SHAPES)))
    assert {hue for hue, _ in new} == {hue for hue, _ in trained} == set(range(len(HUES)))
    assert combinations(seen.rivals(range(2000))) == trained and combinations(unseen.rivals(range(2000))) == new
    for world in (seen, unseen):
        own, other = world.scenes(range(400)), world.rivals(range(400))
        assert all((own[name] != other[name]).all() for name in ("shape", "hue"))
        assert all((scene["hue"] != scene["ground_hue"]).all() for scene in (own, other))


def test_seen_combinations_leave_all_other_factors_as_they_were() -> None:
    whole, seen = (World(combinations=chosen).scenes(range(300)) for chosen in ("all", "seen"))
    assert all(torch.equal(whole[name], seen[name]) for name in FACTORS if name != "shape")
    moved = whole["shape"] != seen["shape"]
    assert moved.float().mean() == pytest.approx(0.25, abs=0.08)  # 12 of 48
    counts = torch.bincount(World(combinations="seen").scenes(range(6000))["shape"], minlength=len(SHAPES)) / 1000
    assert counts.sub(1).abs().max() < 0.15


def test_cosine_is_the_cosine() -> None:
    turns = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    assert torch.allclose(cosine(turns), torch.cos(2 * torch.pi * turns), atol=1e-10, rtol=0)


def test_the_contact_sheet_has_a_row_for_every_view() -> None:
    sheet = contact_sheet(size=16, count=2)
    assert sheet.width > 2 * 96 and sheet.height > 7 * 96


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "imge"}, "view: found 'imge', expected 'image', .*; did you mean 'image'?"),
        ({"view": []}, "view: found .*, expected one or more of image"),
        ({"view": ["image", "image"]}, "expected each name once"),
        ({"view": 3}, "view: found 3, expected names out of image"),
        ({"split": "training"}, "split: .* did you mean 'train'?"),
        ({"vary": ["hues"]}, "vary: found 'hues'.* did you mean 'hue'?"),
        ({"texture": "stripe"}, "texture: found 'stripe'.* did you mean 'stripes'?"),
        ({"light": 2}, "light: found 2, expected a number from 0 to 1"),
        ({"hue": "red", "ground_hue": "red"}, "hue and ground_hue: found 'red', expected two hues"),
        ({"size": 7}, "size: found 7, expected a whole number from 8 to 1024"),
        ({"size": True}, "size: found true"),
        ({"count": 0}, "count: found 0, expected a whole number of at least 1"),
        ({"channels": 2}, "channels: found 2, expected 1"),
        ({"view": "low", "factor": 5}, "factor: found 5, expected a divisor of size, which is 64"),
        ({"label": "x"}, "label: found 'x', expected 'shape', 'hue'"),
        ({"view": "under"}, r"under: found \[\], expected what to replace"),
        ({"under": "texture"}, "under: found 'texture', expected changes such as"),
        ({"under": 5}, "under: found 5, expected changes such as"),
        ({"under": {"texure": "dots"}}, "under: found 'texure'.* did you mean 'texture'?"),
        ({"under": {"scale": "big"}}, "under scale: found 'big', expected a number from 0 to 1"),
        ({"under": {"hue": "red", "ground_hue": "red"}}, "under: found 'red', expected two hues"),
    ],
)
def test_a_wrong_argument_of_world_is_told_what_was_expected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "rings"}, "kind: found 'rings', .* did you mean 'ring'?"),
        (
            {"kind": "grid", "modes": 8},
            "modes: found 8, expected a square number for a grid; the nearest is 9",
        ),
        ({"std": 0}, "std: found 0, expected a finite number above 0"),
        ({"modes": 1}, "modes: found 1, expected a whole number of at least 2"),
    ],
)
def test_a_wrong_argument_of_plane_is_told_what_was_expected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plane(**arguments)


def test_both_sources_are_registered() -> None:
    assert (vocabulary["world"].function, vocabulary["plane"].function) == (World, Plane)


# The plane


@pytest.mark.parametrize("kind", ["ring", "grid", "spiral"])
def test_points_lie_at_the_modes_of_the_plane(kind: str) -> None:
    plane = Plane(kind=kind, std=0.05, scale=0.5)
    points = plane.open().batch(range(4000))["value"].double()
    gaps, owners = torch.cdist(points, plane.centres).min(1)
    shares = torch.bincount(owners, minlength=len(plane.centres)) / 4000
    assert gaps.square().mean().div(2).sqrt() == pytest.approx(0.025, rel=0.05)
    assert (shares * len(plane.centres) - 1).abs().max() < 0.3
    assert points.abs().max() <= plane.fields["value"].high


def test_a_point_depends_on_its_index_and_split() -> None:
    train, test = Plane().open(), Plane(split="test").open()
    together = train.batch([4, 9])["value"]
    assert torch.equal(together[1:], train.batch([9])["value"])
    assert not torch.equal(together, test.batch([4, 9])["value"])


@pytest.mark.parametrize("kind", ["ring", "grid", "spiral"])
def test_the_density_integrates_to_one(kind: str) -> None:
    axis = torch.linspace(-3, 3, 301, dtype=torch.float64)
    density = log_density(torch.cartesian_prod(axis, axis), centres(kind), 0.1).exp()
    assert density.sum() * 0.02**2 == pytest.approx(1, abs=1e-3)


def test_the_log_density_at_a_lone_mode_is_known() -> None:
    plane = Plane(std=0.01)
    expected = -torch.log(torch.tensor(2 * torch.pi * 0.01**2 * 8))
    assert plane.log_density(plane.centres[:1]).item() == pytest.approx(expected.item())


# Pictures that are not square


def test_every_view_of_a_wide_or_high_picture_has_its_declared_shape_and_range() -> None:
    for size in ((24, 40), (40, 24), (16, 64)):
        world = World(size=size, view=tuple(VIEWS), under=["texture=stripes"], factor=8, frames=3)
        batch = world.open().batch(range(40))
        for name, field in world.fields.items():
            assert batch[name].shape == (40, *field.shape), name
            assert field.low <= batch[name].min() <= batch[name].max() <= field.high, name
        assert world.fields["image"].shape == (3, *size)
        assert world.fields["segmentation"].shape == size


def test_a_wide_picture_shows_its_objects_undistorted_and_farther_apart() -> None:
    wide, square = (World(size=size, view="segmentation", shape="disc", vary=["x", "y"]) for size in ((64, 128), 64))
    places = []
    for world in (wide, square):
        inside = world.open().batch(range(50))["value"] > 0
        rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)
        assert (rows - columns).abs().max() <= 1  # a disc is round
        places.append((inside.any(1).float().cumsum(1) == 1).float().argmax(1))
    assert places[0].max() > 70 > 64 > places[1].max()
    areas = [(world.open().batch(range(50))["value"] > 0).float().mean((0, 1, 2)).item() for world in (wide, square)]
    assert areas[1] == pytest.approx(2 * areas[0], rel=0.05)


def test_sizes_of_two_numbers_are_checked_each() -> None:
    with pytest.raises(ValueError, match="size: found 4, expected a whole number from 8 to 1024"):
        World(size=(64, 4))
    with pytest.raises(
        ValueError, match=r"size: found .64., expected a whole number of at least 1, or .height, width."
    ):
        World(size=(64,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"factor: found 4, expected a divisor of size, which is .64, 50."):
        World(size=(64, 50), view="low")
    assert World(size=[16, 24]) == World(size=(16, 24))  # type: ignore[arg-type]
    assert hash(World(size=[16, 24])) == hash(World(size=(16, 24)))  # type: ignore[arg-type]
