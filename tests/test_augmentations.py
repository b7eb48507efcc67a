"""DiffAugment and ADA as network files: the same as loops over samples and pixels, with the draws given."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gangraph import Trainer
from gangraph.vocabulary.arithmetic import lt
from gangraph.vocabulary.geometry import (
    affine,
    channel_mean,
    color,
    coordinates,
    fir,
    matrix,
    reflected,
    translate,
    warp,
)
from tests.support import small, trainer

SYM6 = (0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
        0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
        0.0017677118642428036, -0.007800708325034148)  # fmt: skip
# Rows of matrices that put no place onto a whole pixel, where bilinear sampling has no derivative.
PLACES = [[[0.9013, 0.3071, 0.5117], [-0.2037, 1.1057, -0.7019]], [[2.03, 0.31, 1.017], [0.113, 3.07, 2.051]]]


@pytest.fixture(autouse=True)
def _in_double() -> object:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def function(call: str, inputs: str, size: str = "9, 12", channels: int = 3) -> tuple[Trainer, tuple[str, ...]]:
    """A trainer whose network T is a function of images, and the names of what T takes."""
    spec = small(
        more_networks=f"  T: {call}\n  I: {{inputs: x, layers: 'linear({channels} * {size.replace(', ', ' * ')}), "
        f"reshape({channels}, {size})'}}",
        more_values="  p: linear(0, 1)",
        fool=f"logistic.generator(D(fake)) + mean(T({inputs}))",
    )
    torch.set_default_dtype(torch.float32)  # in which every spec is checked
    made = trainer(spec)
    torch.set_default_dtype(torch.float64)
    return made, made.engine.program.plan.checked.graph.networks["T"].spec.inputs


def test_diffaugment_is_what_its_paper_does_sample_by_sample() -> None:
    made, names = function("diffaugment()", "I(x)")
    x = torch.randn(5, 3, 9, 12)
    draws = {name: torch.rand(5) for name in names[1:]}
    given = {name: each.reshape(-1, *(1,) * {"right": 0, "down": 0, "hole_x": 2, "hole_y": 2}.get(name, 3))
             for name, each in draws.items()}  # fmt: skip
    given |= {
        "brightness": given["brightness"] - 0.5,
        "saturation": 2 * given["saturation"],
        "contrast": given["contrast"] + 0.5,
    }
    found = made.networks["T"](x, *(given[name] for name in names[1:]))
    for index, image in enumerate(x):
        drawn = {name: float(each[index]) for name, each in draws.items()}
        assert torch.allclose(found[index], diffaugment_by_hand(image, drawn), atol=1e-12)


def diffaugment_by_hand(image: Tensor, u: dict[str, float]) -> Tensor:
    image = image + u["brightness"] - 0.5
    grey = image.mean(0)
    image = (image - grey) * 2 * u["saturation"] + grey
    image = (image - image.mean()) * (u["contrast"] + 0.5) + image.mean()
    rows, columns = image.shape[1:]
    most = rows // 8, columns // 8
    down, right = (math.floor(u[name] * (2 * far + 1)) - far for name, far in zip(("down", "right"), most, strict=True))
    size = rows // 2, columns // 2
    first = [math.floor(u[name] * (whole + 1 - own % 2)) - own // 2
             for name, whole, own in zip(("hole_y", "hole_x"), (rows, columns), size, strict=True)]  # fmt: skip
    made = torch.zeros_like(image)
    for row in range(rows):
        for column in range(columns):
            hole = first[0] <= row < first[0] + size[0] and first[1] <= column < first[1] + size[1]
            if not hole and 0 <= row - down < rows and 0 <= column - right < columns:
                made[:, row, column] = image[:, row - down, column - right]
    return made


def test_parts_of_diffaugment_can_be_left_out_and_are_not_drawn() -> None:
    _, names = function("diffaugment(colour=false, cutout=0)", "I(x)")
    assert names == ("x", "right", "down")
    _, names = function("diffaugment(translation=0)", "I(x)")
    assert "right" not in names and "hole_x" in names


def ada_by_hand(x: Tensor, p: float, u: dict[str, Tensor]) -> Tensor:
    """The pipeline with matrices by torch, for one image after the other; colours on a grey image by its luma."""
    made = []
    for index, image in enumerate(x):
        own = {name: each[index] for name, each in u.items()}
        made.append(_ada_of_one(image, p, own))
    return torch.stack(made)


def _ada_of_one(image: Tensor, p: float, u: dict[str, Tensor]) -> Tensor:
    coin = [float(each) < p for each in u["coin"]]
    turns = [float(each) < 1 - math.sqrt(1 - p) for each in u["coin"]]
    rows, columns = image.shape[1:]
    flip = math.floor(2 * float(u["flip"])) * coin[0]
    quarters = math.floor(4 * float(u["quarters"])) * coin[1]
    across, down = (round(float(u[n]) * size) * coin[2] for n, size in (("right", columns), ("down", rows)))
    scale, stretch = 2 ** (0.2 * float(u["scale"]) * coin[3]), 2 ** (0.2 * float(u["stretch"]) * coin[5])
    first, second = (2 * math.pi * float(u[n]) * turns[i] for n, i in (("first_turn", 4), ("second_turn", 6)))
    part = [0.125 * float(u[n]) * size * coin[7] for n, size in (("right_part", columns), ("down_part", rows))]
    back = torch.diag(torch.tensor([1.0 - 2 * flip, 1, 1]))
    back = (
        back
        @ _turn(quarters * math.pi / 2)
        @ _shift(-across, -down)
        @ torch.diag(torch.tensor([1 / scale, 1 / scale, 1]))
    )
    back = (
        back
        @ _turn(first)
        @ torch.diag(torch.tensor([1 / stretch, stretch, 1]))
        @ _turn(second)
        @ _shift(-part[0], -part[1])
    )
    seen = _sampled_at_twice_the_size(image, back)
    return _coloured(seen, coin, u)


def _turn(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _shift(right: float, down: float) -> Tensor:
    return torch.tensor([[1, 0, right], [0, 1, down], [0, 0, 1.0]])


def _sampled_at_twice_the_size(image: Tensor, back: Tensor) -> Tensor:
    """Reflect, up by sym6, bilinear sampling by torch, down by sym6 from the other end."""
    rows, columns = image.shape[1:]
    wide = functional.pad(image[None], (columns - 1, columns - 1, rows - 1, rows - 1), mode="reflect")
    spread = torch.zeros(1, image.shape[0], 2 * wide.shape[2], 2 * wide.shape[3])
    spread[:, :, ::2, ::2] = wide
    taps = torch.tensor(SYM6) / sum(SYM6)
    kernel = torch.outer(taps, taps).expand(image.shape[0], 1, 12, 12)
    large = functional.conv2d(functional.pad(spread, (6, 5, 6, 5)), 4 * kernel.flip(2, 3), groups=image.shape[0])
    twice = torch.diag(torch.tensor([2.0, 2, 1]))
    moved = _shift(-0.5, -0.5) @ twice @ back @ torch.linalg.inv(twice) @ _shift(0.5, 0.5)
    size = 2 * rows + 12, 2 * columns + 12
    into = torch.diag(torch.tensor([2 / large.shape[3], 2 / large.shape[2], 1]))
    out = torch.diag(torch.tensor([size[1] / 2, size[0] / 2, 1]))
    grid = functional.affine_grid((into @ moved @ out)[None, :2], [1, 1, *size], align_corners=False)
    sampled = functional.grid_sample(large, grid, align_corners=False)
    return functional.conv2d(sampled[:, :, 1:-1, 1:-1], kernel, groups=image.shape[0])[0, :, ::2, ::2]


def _coloured(image: Tensor, coin: list[bool], u: dict[str, Tensor]) -> Tensor:
    luma = torch.full((3, 3), 1 / 3)
    image = image + 0.2 * float(u["brightness"]) * coin[8]
    image = image * 2 ** (0.5 * float(u["contrast"]) * coin[9])
    mirror = torch.eye(3) - 2 * luma * math.floor(2 * float(u["luma"])) * coin[10]
    axis = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = torch.linalg.matrix_exp(axis * 2 * math.pi * float(u["hue"]) * coin[11])
    vivid = luma + (torch.eye(3) - luma) * 2 ** (float(u["saturation"]) * coin[12])
    return torch.einsum("ij, jhw -> ihw", vivid @ hue @ mirror, image)


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_ada_is_its_pipeline_image_by_image(p: float) -> None:
    made, names = function("ada()", "I(x), p", "8, 10")
    x = torch.randn(6, 3, 8, 10)
    laws = made.engine.program.plan.checked.graph.networks["T"].draws
    generator = torch.Generator().manual_seed(3)
    draws = {name: laws[name].draw(6, generator, "cpu", torch.float64) for name in names[2:]}
    found = made.networks["T"](x, torch.tensor(p), *(draws[name] for name in names[2:]))
    assert torch.allclose(found, ada_by_hand(x, p, draws), atol=1e-9)
    assert (found - x).abs().max() < 1e-2 if p == 0 else (found - x).abs().max() > 0.1


def test_ada_on_grey_images_keeps_the_luma() -> None:
    made, names = function("ada(flips=0, geometry=0)", "I(x), p", "8, 10", channels=1)
    laws = made.engine.program.plan.checked.graph.networks["T"].draws
    x, one = torch.randn(4, 1, 8, 10), torch.tensor(1.0)
    draws = [laws[name].draw(4, torch.Generator().manual_seed(1), "cpu", torch.float64) for name in names[2:]]
    grey = made.networks["T"](x, one, *draws)
    colours = made.networks["T"](x.expand(-1, 3, -1, -1), one, *draws)
    assert torch.allclose(grey, colours.mean(1, keepdim=True), atol=1e-12)


def test_ada_cuts_a_hole_of_half_the_size() -> None:
    made, names = function("ada(flips=0, geometry=0, colours=0, cutout=1)", "I(x), p", "8, 8")
    laws = made.engine.program.plan.checked.graph.networks["T"].draws
    draws = {name: laws[name].draw(2, torch.Generator().manual_seed(1), "cpu", torch.float64) for name in names[2:]}
    draws["hole_x"][:], draws["hole_y"][:] = 0.5, 0.0
    found = made.networks["T"](torch.ones(2, 3, 8, 8), torch.tensor(1.0), *draws.values())
    assert torch.equal(
        found[0, 0] == 0, torch.tensor([[row < 2 and 2 <= column < 6 for column in range(8)] for row in range(8)])
    )


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_affine_is_torchs_sampling_and_has_derivatives_of_any_order(padding: str) -> None:
    x, rows = torch.randn(2, 3, 5, 7), torch.tensor(PLACES)
    corners = padding == "reflection"  # which is then about the centres of the border pixels
    half = torch.tensor([7 - corners, 5 - corners, 2]) / 2
    square = torch.cat([rows, torch.tensor([[[0.0, 0, 1]]]).expand(2, 1, 3)], 1)
    theta = (torch.diag(1 / half) @ square @ torch.diag(half))[:, :2]
    grid = functional.affine_grid(theta, [2, 3, 5, 7], align_corners=corners)
    expected = functional.grid_sample(x, grid, padding_mode=padding, align_corners=corners)
    assert torch.allclose(affine(x, rows, padding=padding), expected, atol=1e-12)
    assert torch.allclose(affine(x, square, padding=padding), expected, atol=1e-12)
    inputs = (x[:, :1].requires_grad_(), rows.requires_grad_())
    assert torch.autograd.gradcheck(lambda image, at: affine(image, at, padding=padding), inputs)
    assert torch.autograd.gradgradcheck(lambda image, at: affine(image, at, padding=padding), inputs)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_warp_is_torchs_sampling_and_has_derivatives_of_any_order(padding: str) -> None:
    x, at = torch.randn(2, 3, 5, 7), torch.rand(2, 2, 4, 6) * 10 - 2
    half = torch.tensor([6.0, 4.0]) / 2
    grid = at.permute(0, 2, 3, 1) / half - 1
    expected = functional.grid_sample(x, grid, padding_mode=padding, align_corners=True)
    assert torch.allclose(warp(x, at, padding), expected, atol=1e-12)
    inputs = (x[:, :1].requires_grad_(), at.requires_grad_())
    assert torch.autograd.gradcheck(lambda image, places: warp(image, places, padding), inputs)
    assert torch.autograd.gradgradcheck(lambda image, places: warp(image, places, padding), inputs)


def test_warp_at_the_coordinates_changes_nothing_and_says_what_does_not_fit() -> None:
    x = torch.randn(2, 3, 5, 7)
    assert torch.equal(warp(x, coordinates(x)), x)
    assert torch.equal(warp(x, coordinates(x)[:, :, :2, 3:]), x[:, :, :2, 3:])
    for at, padding in ((coordinates(x)[:1], "zeros"), (x, "zeros"), (coordinates(x), "mirror")):
        with pytest.raises(ValueError, match=r"expected places \[2, 2, H, W\]|padding is one of"):
            warp(x, at, padding)


def test_affine_gives_an_image_as_large_as_another() -> None:
    x, same = torch.randn(1, 2, 6, 6), matrix(torch.ones(1), 0, 0, 0, 1, 0, rows=2)
    assert torch.equal(affine(x, same, like=torch.empty(1, 1, 4, 2)), x[:, :, 1:5, 2:4])


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 5.0), (0.1, 0.5, 0.9, 0.2, 0.3)])
@pytest.mark.parametrize("flip", [False, True])
def test_fir_is_a_convolution_with_the_outer_product_of_its_taps(taps: tuple[float, ...], flip: bool) -> None:
    x, count = torch.randn(2, 3, 6, 7), len(taps)
    line = torch.tensor(taps) / sum(taps)
    kernel = torch.outer(line, line).expand(3, 1, count, count)
    kernel = kernel if flip else kernel.flip(2, 3)
    spread = torch.zeros(2, 3, 12, 14)
    spread[:, :, ::2, ::2] = x
    up = functional.conv2d(functional.pad(spread, (*_around(count + 1, count - 2),) * 2), 4 * kernel, groups=3)
    assert torch.allclose(fir(x, taps, up=2, flip=flip), up, atol=1e-14)
    down = functional.conv2d(functional.pad(x, (*_around(count - 1, count),) * 2), kernel, groups=3)
    assert torch.allclose(fir(x, taps, down=2, flip=flip), down[:, :, ::2, ::2], atol=1e-14)
    same = functional.conv2d(functional.pad(x, (*_around(count, count - 1),) * 2), kernel, groups=3)
    assert torch.allclose(fir(x, taps, flip=flip), same, atol=1e-14)


def _around(before: int, after: int) -> tuple[int, int]:
    return before // 2, after // 2


def test_small_ops_on_images_and_matrices() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert translate(x, torch.tensor([1.0]), -1)[0, 0].tolist() == [[0, 4, 5, 6], [0, 8, 9, 10], [0, 0, 0, 0]]
    assert coordinates(x)[0, :, 2, 1].tolist() == [1, 2]
    assert reflected(x)[0, 0, 2, 3:7].tolist() == [0, 1, 2, 3] and reflected(x).shape == (1, 1, 7, 10)
    assert lt(0.3, torch.tensor([0.2, 0.5])).tolist() == [0, 1]  # type: ignore[arg-type]  # a spec gives a number
    assert matrix(torch.tensor([1.0, 2.0]), 3, 4, 5, rows=2).tolist() == [[[1, 3], [4, 5]], [[2, 3], [4, 5]]]
    swap = matrix(torch.zeros(1), 1, 0, 0.5, 1, 0, 0, 0, 0, 0, 1, 0, rows=3)
    colours = color(torch.tensor([1.0, 2, 3]).reshape(1, 3, 1, 1), swap)
    assert colours.flatten().tolist() == [2.5, 1, 3]
    assert channel_mean(colours).flatten().tolist() == [pytest.approx(6.5 / 3)]
    for wrong in (lambda: matrix(torch.ones(2), 1, 2, rows=2), lambda: matrix(1, 2, rows=1), lambda: fir(x, (1, -1)),
                  lambda: color(torch.ones(1, 2, 2, 2), swap), lambda: affine(x, swap), lambda: coordinates(x[0]),
                  lambda: affine(x, swap[:, :2, :3], padding="wrap")):  # fmt: skip
        with pytest.raises(ValueError):
            wrong()
