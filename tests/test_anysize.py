"""Networks over images of any size: which sizes they take, how far they see, and tiles that change nothing."""

import copy

import pytest
import torch
from torch import Tensor, nn

from gangraph.apply.anysize import AnySize
from gangraph.apply.levels import Levels
from gangraph.apply.sizes import meta_copy, scaling_of
from gangraph.apply.statistics import shared_statistics
from gangraph.build.network import build_network
from gangraph.check.instantiate import instantiate
from gangraph.errors import RunError
from gangraph.evaluate.pictures import clipped
from gangraph.language.spec import NetworkSpec
from tests.support import read

SPEC = """
gangraph: 1
name: any
data: {{x: world(size={size})}}
networks: {{N: {{inputs: x, {network}}}}}
losses: {{l: 'l1(N(x), N(x))'}}
train: {{batch: 1, optimizers: {{n: adam(N)}}, step: [{{update: n, minimize: l}}]}}
"""
DOWN_UP = "conv2d(4, 3, stride=2, padding=1), relu, conv_transpose2d(3, 4, stride=2, padding=1)"
DEEP = (
    "reflection_pad2d(3), conv2d(4, 7), relu, conv2d(6, 3, stride=2, padding=1), relu, conv2d(6, 3, stride=2, "
    "padding=1), relu, conv2d(6, 3, padding=1), relu, conv_transpose2d(4, 4, stride=2, padding=1), relu, "
    "conv_transpose2d(3, 4, stride=2, padding=1), tanh"
)
NORMED = "conv2d(8, 3, padding=1), instance_norm, relu, conv2d(8, 3, padding=1), instance_norm, conv2d(3, 1), tanh"


def network(layers: str, size: int = 16, *, memory: float = 1e12, seed: int = 0) -> AnySize:
    """A network with random weights in float64."""
    written = layers if layers.startswith(("parts", "layers", "output")) else f'layers: "{layers}"'
    spec = read(SPEC.format(size=size, network=written)).phases[0].networks["N"]
    assert isinstance(spec, NetworkSpec)
    graph, _ = build_network(spec)
    assert graph is not None
    model = instantiate(graph, (torch.empty((1, 3, size, size), device="meta"),))
    module = copy.deepcopy(model.module).to_empty(device="cpu").double().eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=generator)
    for name, buffer in module.named_buffers():
        buffer.fill_(float(name.endswith("running_var")))
    return AnySize(module, meta_copy(model.module, training=False), 3, (size, size), memory)


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("conv2d(3, 3, padding=1)", ((1, 1), (1, 1))),
        (DOWN_UP, ((2, 2), (1, 1))),
        (DEEP, ((4, 4), (1, 1))),
        ("conv2d(4, 3, padding=1), upsample(4), conv2d(3, 3, padding=1)", ((1, 1), (4, 4))),
        ("avg_pool2d(4), conv2d(3, 3, padding=1)", ((4, 4), (0.25, 0.25))),
        (NORMED, ((1, 1), (1, 1))),
        ("flatten, linear(768), reshape(3, 16, 16)", None),
        ("conv2d(3, 3, padding=1), resize(16)", None),
        ("crop(8, 16), conv2d(3, 3, padding=1)", None),  # one direction alone
        ("conv2d(3, 3)", None),  # what it cuts off is no share of the image
    ],
)
def test_the_multiple_and_the_factor_of_a_network_are_found(
    layers: str, expected: tuple[tuple[int, int], tuple[float, float]] | None
) -> None:
    plain = network(layers)
    found = scaling_of(plain.bare, 3, (16, 16))
    assert (None if found is None else (found.multiple, tuple(map(float, found.factor)))) == expected


@pytest.mark.parametrize("layers", [DOWN_UP, DEEP, "conv2d(4, 5, padding=2), upsample(2), conv2d(3, 3, padding=1)"])
@pytest.mark.parametrize("size", [(96, 131), (257, 64)])
def test_tiles_of_a_local_network_are_the_whole_to_rounding(layers: str, size: tuple[int, int]) -> None:
    whole, tiled = network(layers), network(layers)
    tiled.memory = whole.needs((48, 48))
    run, sizes = tiled._run, list[tuple[int, int]]()

    def counted(x: Tensor) -> Tensor:
        sizes.append((x.shape[2], x.shape[3]))
        return run(x)

    tiled._run = counted  # type: ignore[method-assign]  # to see the tiles
    expected, made = whole(image(*size)), tiled(image(*size))
    assert made.shape == expected.shape and (made - expected).abs().max() < 1e-12
    tiles = [each for each in sizes if max(each) < 1024]  # the others find out how far it sees
    assert len(tiles) > 3 and all(whole.needs(each) <= tiled.memory for each in tiles)
    assert list(tiled.remarks) == ["large images were cut into overlapping tiles, which changes nothing"]


def test_tiles_become_bytes_at_once_and_are_the_whole_enlarged() -> None:
    layers = "conv2d(12, 3, padding=1), rearrange('(c i j) h w -> c (h i) (w j)', i=2, j=2), conv2d(3, 3, padding=1)"
    whole, tiled = network(layers), network(layers)
    tiled.memory = whole.needs((48, 48))
    kept: list[Tensor] = []
    levels, counted = Levels((-1.0, 1.0)), Levels((-1.0, 1.0))

    def bytes_of(made: Tensor) -> Tensor:
        kept.append(levels(made))
        return kept[-1]

    expected, made = whole(image(96, 131)), tiled(image(96, 131), bytes_of)
    assert made.dtype == torch.uint8 and made.shape == (1, 3, 192, 262) and len(kept) > 3
    assert (made.int() - counted(expected).int()).abs().max() <= 1  # rounding may fall to either side of a half
    assert levels.clipped(1)[0] == pytest.approx(counted.clipped(1)[0], abs=0.05)  # the last tiles overlap
    assert counted.clipped(1)[0] == pytest.approx(clipped(expected[0], (-1, 1)), rel=1e-6)


def test_how_far_a_network_sees_is_what_its_layers_add_up_to() -> None:
    assert network("conv2d(4, 3, padding=1), conv2d(3, 5, padding=2)")._reach == (3, 3)
    assert network("conv2d(4, 3, padding=4, dilation=4), conv2d(3, [1, 3], padding=[0, 1])")._reach == (4, 5)
    assert network(NORMED)._reach is None


def test_layers_that_normalise_the_whole_image_share_statistics_and_that_is_said() -> None:
    whole, tiled = network(NORMED), network(NORMED)
    tiled.memory = whole.needs((96, 96))
    expected, made = whole(image(300, 200)), tiled(image(300, 200))
    assert list(tiled.remarks) == [
        "large images were cut into tiles that share estimated statistics: they are approximate"
    ]
    assert 0 < (made - expected).abs().mean() < 0.05
    again = whole(image(300, 200))  # nothing is left behind in the layers
    assert torch.equal(again, expected)


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)])
def test_shared_statistics_of_the_whole_change_nothing_and_take_no_further_maps(layer: nn.Module) -> None:
    model = nn.Sequential(layer.double())
    for number, parameter in enumerate(layer.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    x, places = torch.randn(1, 4, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), []
    layer.register_forward_hook(lambda _, given, made: places.append(made.data_ptr()))
    with torch.no_grad():
        expected = model(x)
        with shared_statistics(model, x):
            made = model(x)
    assert torch.allclose(made, expected, rtol=0, atol=1e-6)  # they are in single precision
    assert made.data_ptr() == places[-1]  # where the layer itself has written


def test_a_network_that_looks_at_the_whole_image_otherwise_is_not_cut_into_tiles() -> None:
    parts = 'parts: {a: "conv2d(3, 3, padding=1)", b: "mean_pool, linear(3)"}, output: "tanh(a(x) + planes(b(x), x))"'
    whole, tiled = network(parts), network(parts)
    tiled.memory = whole.needs((32, 32))
    assert whole(image(100, 90)).shape == (1, 3, 100, 90)
    with pytest.raises(
        RunError, match=r"90x100 pixels take about .* GiB in one piece, and tiles would not do.*--memory"
    ):
        tiled(image(100, 90))


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (5, 4)])
def test_small_images_are_filled_up_and_cut_back(size: tuple[int, int]) -> None:
    assert network(DEEP)(image(*size)).shape == (1, 3, *size)


def test_what_is_filled_up_lies_beyond_the_image() -> None:
    made = network("conv2d(3, 2, stride=2), upsample(2)")
    assert made.scaling is not None and made.scaling.multiple == (2, 2)
    (odd,), (even,) = made(image(9, 9)), made(image(9, 9)[:, :, :8, :8])
    assert (odd[:, :8, :8] - even).abs().max() < 1e-12  # sizes may be summed in another order


@pytest.mark.parametrize("size", [(40, 3), (3, 40), (3, 3)])
def test_one_side_that_is_too_small_is_filled_up_whatever_the_other_is(size: tuple[int, int]) -> None:
    made = network("reflection_pad2d(8), conv2d(3, 17)", size=16)
    assert made(image(*size)).shape == (1, 3, *size)
