"""AdaIN, AdaIN from a style image, StyleGAN's epilogue: what is special about them, beside `test_instance_norm.py`.

`test_agreement.py` holds them to their references.
"""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional

pytest.importorskip("triton")

from gangraph.benchmarks.agreement import poisoned
from gangraph.kernels import OrderError, Step, _plane_norm
from gangraph.kernels.adain import KERNELS, adain, adain_image, style_epilogue
from gangraph.kernels.gdl import gdl
from gangraph.kernels.patchgan import instance_norm_leaky_relu, patch_loss

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAMES = ["adain", "adain_image", "style_epilogue"]

each_impl = pytest.mark.parametrize("impl", ["reference", "triton"])
each_kernel = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(params=["held", "chunked"])
def positions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, ...]:
    """The positions of a plane that one program holds, and of one in two chunks, for which the limits are lowered."""
    if request.param == "held":
        return 5, 7
    monkeypatch.setattr(_plane_norm, "ON_CHIP", 1024)
    monkeypatch.setattr(_plane_norm, "CHUNK_ELEMENTS", 2048)
    return 45, 57


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.to(DEVICE, dtype).requires_grad_()


def operands(
    name: str, *shape: int, dtype: torch.dtype = torch.float64, style: tuple[int, ...] = (4, 9)
) -> list[Tensor]:
    """What each function takes first: x and its style, and the epilogue's noise, its weight and the bias between."""
    x, scale, bias = (normal(*size, seed=seed, dtype=dtype) for seed, size in enumerate((shape, shape[:2], shape[:2])))
    if name == "adain":
        return [x, scale, bias]
    if name == "adain_image":
        return [x, normal(*shape[:2], *style, seed=3, dtype=dtype)]
    sizes = (shape[0], 1, *shape[2:]), shape[1:2], shape[1:2]
    noise, weight, channel_bias = (normal(*size, seed=seed, dtype=dtype) for seed, size in enumerate(sizes, 3))
    return [x, noise, weight, channel_bias, scale, bias]


def run(name: str, given: list[Tensor], impl: str, **options: float) -> Tensor:
    functions: dict[str, Callable[..., Tensor]] = {kernel.name: kernel.function for kernel in KERNELS}
    return functions[name](*given, **options, impl=impl)


def plainly(x: Tensor, scale: Tensor, bias: Tensor, eps: float) -> Tensor:
    """PyTorch's own instance norm, then scale and bias."""
    across = (*scale.shape, *(1,) * (x.dim() - 2))
    return scale.view(across) * functional.instance_norm(x, eps=eps) + bias.view(across)


def compare(found: Tensor, right: Tensor, leaves: list[Tensor], **tolerances: float) -> None:
    """The same values, and the same gradients for the same random upstream gradient."""
    torch.testing.assert_close(found, right, **tolerances)
    upstream = normal(*right.shape, seed=9).detach().to(right.dtype)
    for mine, goal in zip(grad(found, leaves, upstream), grad(right, leaves, upstream), strict=True):
        torch.testing.assert_close(mine, goal, **tolerances)


CLOSE = {"rtol": 1e-10, "atol": 1e-12}


# ------------------------------------------------------------------------------------------------------- values


@each_impl
def test_adain_is_pytorchs_instance_norm_with_a_style(impl: str, positions: tuple[int, ...]) -> None:
    x, scale, bias = given = operands("adain", 2, 3, *positions)
    compare(adain(*given, 1e-3, impl=impl), plainly(x, scale, bias, 1e-3), given, **CLOSE)


@each_impl
def test_the_style_of_an_image_is_its_deviation_and_mean(impl: str, positions: tuple[int, ...]) -> None:
    x, _ = operands("adain_image", 2, 3, *positions)
    for style in (normal(2, 3, 4, 9, seed=3), normal(2, 3, *positions, seed=4), normal(2, 3, 70, seed=5)):
        flat = style.flatten(2)
        right = plainly(x, torch.std(flat, 2, correction=0), flat.mean(2), 1e-3)
        compare(adain_image(x, style, 1e-3, impl=impl), right, [x, style], **CLOSE)


@each_impl
def test_features_take_over_mean_and_deviation(impl: str) -> None:
    x, style = operands("adain_image", 2, 4, 11, 13)
    y = adain_image(x, style, 0.0, impl=impl)
    for moment in (lambda each: each.mean((2, 3)), lambda each: each.std((2, 3), correction=0)):
        torch.testing.assert_close(moment(y), moment(style), **CLOSE)


@each_impl
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_epilogue_is_its_steps_one_by_one(noise: bool, bias: bool, impl: str, positions: tuple[int, ...]) -> None:
    x, plane, weight, channel_bias, scale, shift = operands("style_epilogue", 2, 3, *positions)
    u, leaves = x, [x, scale, shift]
    if noise:
        u, leaves = u + weight.view(3, 1, 1) * plane, [*leaves, plane, weight]
    if bias:
        u, leaves = u + channel_bias.view(3, 1, 1), [*leaves, channel_bias]
    right = plainly(functional.leaky_relu(u, 0.3), scale, shift, 1e-3)
    given = (plane if noise else None, weight if noise else None, channel_bias if bias else None)
    compare(style_epilogue(x, *given, scale, shift, 0.3, 1e-3, impl=impl), right, leaves, **CLOSE)


@each_impl
def test_one_noise_may_serve_all_samples(impl: str) -> None:
    x, _, *others = operands("style_epilogue", 3, 2, 5, 7)
    noise = normal(1, 1, 5, 7, seed=8)
    right = style_epilogue(x, noise.expand(3, -1, -1, -1), *others, impl="reference")
    compare(style_epilogue(x, noise, *others, impl=impl), right, [x, noise, *others], **CLOSE)


def test_the_patterns_are_the_chains_of_these_kernels() -> None:
    found = {
        kernel.name: [[(step.name, step.optional) for step in pattern.steps] for pattern in kernel.patterns]
        for kernel in KERNELS
    }
    epilogue = [("noise", True), ("bias", True), ("leaky_relu", False), ("adain", False)]
    assert found == {
        "adain": [[("adain", False)]],
        "adain_image": [[("adain_image", False)]],
        "style_epilogue": [epilogue],
    }


def step(each: Step, x: Tensor, given: dict[str, Tensor], eps: float, slope: float) -> Tensor:
    """One step of a pattern as PyTorch has it, its tensors under the names of the kernel's parameters."""
    parameters = {of: given.get(to) for of, to in each.numbers.items()}
    match each.name:
        case "noise":
            return x + parameters["weight"].view(-1, 1, 1) * parameters["noise"]
        case "bias":
            return x + parameters["bias"].view(-1, 1, 1)
        case "leaky_relu":
            return functional.leaky_relu(x, slope)
        case "adain":
            return plainly(x, parameters["scale"], parameters["bias"], eps)
        case "adain_image":
            flat = parameters["style"].flatten(2)
            return plainly(x, flat.std(2, correction=0), flat.mean(2), eps)
    raise AssertionError(each.name)


@each_impl
@each_kernel
@pytest.mark.parametrize("absent", [(), ("noise",), ("bias",), ("noise", "bias")], ids=str)
def test_every_pattern_is_its_steps(absent: tuple[str, ...], name: str, impl: str) -> None:
    (kernel,) = (each for each in KERNELS if each.name == name)
    parameters = ["x", "noise", "noise_weight", "channel_bias", "scale", "bias"]
    names = {"adain": ["x", "scale", "bias"], "adain_image": ["x", "style"], "style_epilogue": parameters}[name]
    tensors = dict(zip(names, operands(name, 2, 3, 5, 7), strict=True))
    for pattern in kernel.patterns:
        steps = [each for each in pattern.steps if not (each.optional and each.name in absent)]
        used = {to: tensors[to] for each in steps for to in each.numbers.values() if to in tensors}
        right = tensors["x"]
        for each in steps:
            right = step(each, right, used, eps=1e-3, slope=0.3)
        options = {"eps": 1e-3} | ({"slope": 0.3} if name == "style_epilogue" else {})
        found = kernel.function(tensors["x"], **{**pattern.given, **used, **options}, impl=impl)
        torch.testing.assert_close(found, right, **CLOSE)


@each_impl
@each_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_planes_without_variance_give_finite_numbers(
    name: str, dtype: torch.dtype, impl: str, positions: tuple[int, ...]
) -> None:
    given = operands(name, 1, 2, *positions, dtype=dtype)
    if name == "style_epilogue":  # else the noise varies
        given[1] = torch.zeros_like(given[1]).requires_grad_()
    given[0] = torch.full_like(given[0], 3.1).requires_grad_()
    y = run(name, given, impl, eps=1e-5)
    upstream = normal(*y.shape, seed=9, dtype=dtype).detach()
    assert all(each.isfinite().all() for each in (y, *grad(y, given, upstream)))


@each_impl
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (113, 145)], ids=str)
@pytest.mark.parametrize("value", [0.0, 0.3, 1000.1])
def test_nothing_passes_through_the_deviation_of_a_flat_style(
    value: float, size: tuple[int, ...], dtype: torch.dtype, impl: str
) -> None:
    """Where all are the same the deviation is 0 to the last bit, so dstyle is that of the mean alone."""
    x = normal(1, 2, 5, 7, dtype=dtype)
    style = torch.full((1, 2, *size), value, dtype=dtype, device=DEVICE, requires_grad=True)
    y = adain_image(x, style, impl=impl)
    torch.testing.assert_close(y, style[..., :1, :1].expand_as(y))
    upstream = normal(*x.shape, seed=9, dtype=dtype).detach()
    dx, dstyle = grad(y, (x, style), upstream)
    if impl == "triton":
        assert dx.eq(0).all()
        assert dstyle.eq(dstyle[..., :1, :1]).all()
    torch.testing.assert_close(dstyle.double().sum((2, 3)), upstream.double().sum((2, 3)), rtol=0.01, atol=0.05)


# ------------------------------------------------------------------------------------------------- ways to memory


@each_kernel
def test_each_tensor_is_read_in_its_own_type(name: str) -> None:
    given = operands(name, 2, 3, 5, 7)
    types = [torch.bfloat16, torch.float32, torch.float16, torch.float32, torch.bfloat16, torch.float32]
    mixed = [each.detach().to(dtype).requires_grad_() for each, dtype in zip(given, types, strict=False)]
    exact = [each.detach().double().requires_grad_() for each in mixed]
    y, right = run(name, mixed, "triton"), run(name, exact, "reference")
    assert y.dtype is torch.bfloat16
    torch.testing.assert_close(y.double(), right, rtol=0.01, atol=0.01)
    upstream = normal(*y.shape, seed=9, dtype=torch.bfloat16).detach()
    slopes = grad(y, mixed, upstream), grad(right, exact, upstream.double())
    for leaf, mine, goal in zip(mixed, *slopes, strict=True):
        assert mine.dtype is leaf.dtype
        torch.testing.assert_close(mine.double(), goal, rtol=0.02, atol=0.02)


def test_a_style_may_lie_in_memory_as_it_likes() -> None:
    """Halves of one affine layer's output, its columns in turn, a transpose, one style for all samples."""
    x, both = normal(2, 3, 5, 7), normal(2, 6, seed=1)
    styles: dict[str, tuple[Tensor, ...]] = {
        "halves": both.chunk(2, 1),
        "in turn": (both[:, ::2], both[:, 1::2]),
        "transposed": both.view(6, 2).T.chunk(2, 1),
        "repeated": tuple(each.expand(2, 3) for each in both[:1].chunk(2, 1)),
        "one number": tuple(both[:, i : i + 1].expand(2, 3) for i in (0, 1)),
    }
    for scale, bias in styles.values():
        y, right = (adain(x, scale, bias, impl=impl) for impl in ("triton", "reference"))
        compare(y, right, [x, both], **CLOSE)


def test_parameters_of_the_epilogue_may_lie_in_memory_as_they_like() -> None:
    x, _, _, _, scale, bias = operands("style_epilogue", 2, 3, 5, 7)
    pairs, planes = normal(3, 2, seed=7), normal(7, 5, 2, seed=8)
    noises = planes.permute(2, 1, 0)[:, None], planes[..., 0].T.expand(2, 1, 5, 7)
    for noise in noises:
        results = [
            style_epilogue(x, noise, *pairs.unbind(1), scale, bias, impl=impl) for impl in ("triton", "reference")
        ]
        compare(*results, [x, planes, pairs], **CLOSE)


def test_stylegans_constant_is_one_sample_repeated() -> None:
    constant, (_, *others) = normal(1, 5, 4, 4, seed=7), operands("style_epilogue", 3, 5, 4, 4)
    results = [style_epilogue(constant.expand(3, -1, -1, -1), *others, impl=impl) for impl in ("triton", "reference")]
    compare(*results, [constant, *others], **CLOSE)


# Strides of 32 bits: a larger one would widen every product by itself.
@pytest.mark.parametrize("stride", [(2**30, 16, 1), (32, 16, 2**31 // 15 + 1)], ids=str)
@pytest.mark.parametrize("name", ["style_epilogue", "adain_image"])
def test_addresses_beyond_2_to_the_31(name: str, stride: tuple[int, ...]) -> None:
    far = torch.zeros(2**31 + 4096, dtype=torch.bfloat16, device=DEVICE)
    wide = [far.as_strided((3, 2, 16), stride, start) for start in (0, 512, 1024)]
    x, *others = operands(name, 3, 2, 16, dtype=torch.bfloat16)
    if name == "adain_image":
        others = [normal(3, 2, 16, seed=3, dtype=torch.bfloat16)]
    near = [x, *others]
    upstream = normal(3, 2, 16, seed=9, dtype=torch.bfloat16).detach()
    for view, source in zip(wide, (x, upstream, others[0]), strict=True):
        if view.shape == source.shape:
            view.copy_(source.detach())
    away = [wide[0].requires_grad_(), *others]
    if name == "adain_image":
        away[1] = wide[2].requires_grad_()
    found, right = run(name, away, "triton"), run(name, near, "triton")
    assert torch.equal(found, right)
    slopes = grad(found, away, wide[1].detach()), grad(right, near, upstream)
    assert all(torch.equal(*each) for each in zip(*slopes, strict=True))


@each_kernel
def test_everything_is_written_and_runs_give_the_same_bits(name: str, positions: tuple[int, ...]) -> None:
    runs = []
    for _ in range(3):
        given = operands(name, 2, 3, *positions, dtype=torch.float32)
        upstream = normal(2, 3, *positions, seed=9, dtype=torch.float32).detach()
        with poisoned():
            y = run(name, given, "triton")
            runs.append((y, *grad(y, given, upstream)))
    assert all(each.isfinite().all() for each in runs[0])
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run, strict=True))


@each_kernel
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_nothing_in_gives_nothing_out(shape: tuple[int, ...], name: str) -> None:
    given = operands(name, *shape, dtype=torch.float32)
    y = run(name, given, "triton")
    assert y.shape == shape
    assert [each.shape for each in grad(y.sum(), given)] == [each.shape for each in given]


@pytest.mark.parametrize(
    ("shape", "block", "chunks"),
    [((2, 512, 4, 4), 64, 1), ((2, 3, 32, 32), 1, 1), ((2, 3, 127, 129), 1, 1), ((2, 3, 128, 129), 1, 2)],
)
def test_programs_take_several_small_planes_of_a_style(shape: tuple[int, ...], block: int, chunks: int) -> None:
    layout = _plane_norm._layout(torch.empty(shape, device="meta").flatten(2), 0)
    assert (layout.block_c, layout.chunks) == (block, chunks)


# ---------------------------------------------------------------------------------------------------- gradients


@each_kernel
def test_the_reference_has_every_order(name: str) -> None:
    given = operands(name, 2, 2, 2, 3, style=(2, 2))
    assert gradcheck(lambda *each: run(name, list(each), "reference", eps=0.1), given)
    assert gradgradcheck(lambda *each: run(name, list(each), "reference", eps=0.1), given)


@each_kernel
def test_gradients_by_finite_differences(name: str) -> None:
    given = operands(name, 2, 2, 2, 3, style=(2, 2))
    assert gradcheck(lambda *each: run(name, list(each), "triton", eps=0.1), given)


@each_kernel
def test_a_second_order_is_an_error(name: str, positions: tuple[int, ...]) -> None:
    given = operands(name, 1, 2, *positions)
    for leaf in given:
        (slope,) = grad(run(name, given, "triton").sum(), leaf, create_graph=True)
        assert slope.requires_grad  # although the incoming gradient is a constant
        with pytest.raises(OrderError, match="was differentiated twice, and its kernel has order 1: under a gradient"):
            grad(slope.square().sum(), leaf)


def test_a_second_order_of_the_style_alone_is_an_error() -> None:
    x, style = operands("adain_image", 1, 2, 5, 7)
    (slope,) = grad(adain_image(x.detach(), style, impl="triton").sum(), style, create_graph=True)
    with pytest.raises(OrderError):
        grad(slope.square().sum(), style)
    mean, std = _plane_norm.plane_moments(style)
    (slope,) = grad(mean.sum() + std.sum(), style, create_graph=True)
    with pytest.raises(OrderError, match="AdaIN from a style image was differentiated twice"):
        grad(slope.square().sum(), style)


@each_kernel
def test_each_tensor_alone_may_take_a_gradient(name: str, positions: tuple[int, ...]) -> None:
    given = operands(name, 2, 3, *positions)
    upstream = normal(2, 3, *positions, seed=9).detach()
    right = grad(run(name, given, "reference"), given, upstream)
    for which, leaf in enumerate(given):
        alone = [each if each is leaf else each.detach() for each in given]
        y = run(name, alone, "triton")
        torch.testing.assert_close(grad(y, leaf, upstream)[0], right[which], **CLOSE)
    assert not run(name, [each.detach() for each in given], "triton").requires_grad


# ------------------------------------------------------------------------------------------------ registered ops


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_moments_are_proper_operators(dtype: torch.dtype, positions: tuple[int, ...]) -> None:
    x = normal(2, 3, positions[0] * positions[1], dtype=dtype)
    last = x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    for source in (x, last):
        torch.library.opcheck(torch.ops.gangraph.plane_moments, (source,))
    mean, std = torch.ops.gangraph.plane_moments(x.detach())
    given = (x.detach(), mean, std, torch.ones_like(mean), torch.ones_like(std))
    torch.library.opcheck(torch.ops.gangraph.plane_moments_backward, given)


def compiled(function: Callable[..., Tensor], backend: str, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """The output and every gradient of a function compiled in one graph."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        found = torch.compile(function, fullgraph=True, backend=backend)(*inputs)
        return (found, *grad(found, inputs))


def block(x: Tensor, kernel: Tensor, noise: Tensor, weight: Tensor, bias: Tensor, w: Tensor, affine: Tensor) -> Tensor:
    """A layer of StyleGAN: a convolution, noise, bias, leaky ReLU, AdaIN with a style from an affine layer."""
    scale, shift = (w @ affine).chunk(2, 1)
    x = functional.conv2d(x, kernel, padding=1)
    return style_epilogue(x, noise, weight, bias, 1 + scale, shift, impl="triton")


def block_inputs() -> list[Tensor]:
    shapes = ((2, 4, 8, 8), (3, 4, 3, 3), (2, 1, 8, 8), (3,), (3,), (2, 5), (5, 6))
    made = [0.5 * normal(*shape, seed=seed, dtype=torch.float32).detach() for seed, shape in enumerate(shapes)]
    return [each.requires_grad_() for each in made]


def test_a_block_of_stylegan_compiles_without_a_break() -> None:
    def loss(*inputs: Tensor) -> Tensor:
        return block(*inputs).square().cumsum(-1).mean()

    inputs = block_inputs()
    right = loss(*inputs)
    for mine, goal in zip(compiled(loss, "aot_eager", inputs), (right, *grad(right, inputs)), strict=True):
        torch.testing.assert_close(mine, goal)


@each_kernel
def test_each_compiles_without_a_break(name: str) -> None:
    def loss(*inputs: Tensor) -> Tensor:
        return run(name, list(inputs), "triton").square().cumsum(-1).mean()

    inputs = operands(name, 2, 3, 5, 7, dtype=torch.float32)
    right = loss(*inputs)
    for mine, goal in zip(compiled(loss, "aot_eager", inputs), (right, *grad(right, inputs)), strict=True):
        torch.testing.assert_close(mine, goal)


def test_a_generator_and_its_critic_compile_into_one_graph() -> None:
    """StyleGAN's block, a PatchGAN over its output, the adversarial loss and the gradient difference loss."""

    def loss(target: Tensor, first: Tensor, last: Tensor, *inputs: Tensor) -> Tensor:
        def scores(x: Tensor) -> Tensor:
            x = instance_norm_leaky_relu(functional.conv2d(x, first, stride=2, padding=1), impl="triton")
            return functional.conv2d(x, last, padding=1)

        fake = torch.tanh(block(*inputs))
        return patch_loss(scores(target), scores(fake), impl="triton") + gdl(fake, target, 2.0, impl="triton")

    shapes = ((2, 3, 8, 8), (6, 3, 4, 4), (1, 6, 4, 4))
    extra = [0.3 * normal(*shape, seed=seed, dtype=torch.float32).detach() for seed, shape in enumerate(shapes, 20)]
    inputs = [*(each.requires_grad_() for each in extra), *block_inputs()]
    right = loss(*inputs)
    for mine, goal in zip(compiled(loss, "inductor", inputs), (right, *grad(right, inputs)), strict=True):
        torch.testing.assert_close(mine, goal)


# ------------------------------------------------------------------------------------------------------- errors


@each_impl
@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [
        (
            adain,
            {"x": (2, 3), "scale": (2, 3), "bias": (2, 3)},
            "x is [2, 3], but [N, C, ...] with one or more dimensions of positions is needed",
        ),
        (
            adain,
            {"x": (2, 3, 4), "scale": (3,), "bias": (2, 3)},
            "scale is [3], but one number per sample and channel is needed: [2, 3]",
        ),
        (
            adain,
            {"x": (2, 3, 4), "scale": (2, 3), "bias": (2, 3, 1)},
            "bias is [2, 3, 1], but one number per sample and channel is needed: [2, 3]",
        ),
        (
            adain_image,
            {"x": (2, 3), "style": (2, 3, 4)},
            "x is [2, 3], but [N, C, ...] with one or more dimensions of positions is needed",
        ),
        (adain_image, {"x": (2, 3, 4), "style": (2, 4, 4)}, "style is [2, 4, 4], but [2, 3, ...] is needed"),
        (adain_image, {"x": (2, 3, 4), "style": (2, 3)}, "style is [2, 3], but [2, 3, ...] is needed"),
        (
            style_epilogue,
            {"x": (2, 3), "noise": None, "noise_weight": None, "channel_bias": None, "scale": (2, 3), "bias": (2, 3)},
            "x is [2, 3], but [N, C, ...] with one or more dimensions of positions is needed",
        ),
        (
            style_epilogue,
            {
                "x": (2, 3, 4),
                "noise": None,
                "noise_weight": None,
                "channel_bias": None,
                "scale": (1, 3),
                "bias": (2, 3),
            },
            "scale is [1, 3], but one number per sample and channel is needed: [2, 3]",
        ),
        (
            style_epilogue,
            {"noise": (2, 1, 4), "noise_weight": None},
            "noise and noise_weight are given together, or neither is",
        ),
        (
            style_epilogue,
            {"noise": None, "noise_weight": (3,)},
            "noise and noise_weight are given together, or neither is",
        ),
        (
            style_epilogue,
            {"noise": (2, 3, 4), "noise_weight": (3,)},
            "noise is [2, 3, 4], but one plane for all channels is needed: [2, 1, 4]",
        ),
        (
            style_epilogue,
            {"noise": (2, 1, 4), "noise_weight": (1,)},
            "noise_weight is [1], but one number per channel is needed: [3]",
        ),
        (
            style_epilogue,
            {"noise": None, "noise_weight": None, "channel_bias": (2, 3)},
            "channel_bias is [2, 3], but one number per channel is needed: [3]",
        ),
    ],
)
def test_shapes_must_fit(
    function: Callable[..., Tensor], shapes: dict[str, tuple[int, ...] | None], message: str, impl: str
) -> None:
    if function is style_epilogue:
        shapes = {"x": (2, 3, 4), "channel_bias": None, "scale": (2, 3), "bias": (2, 3), **shapes}
    given = {name: shape if shape is None else torch.zeros(shape, device=DEVICE) for name, shape in shapes.items()}
    with pytest.raises(ValueError) as caught:
        function(**given, impl=impl)
    assert str(caught.value) == message


@each_kernel
def test_there_is_no_other_implementation(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        run(name, operands(name, 2, 3, 4, 5), "cuda")
    assert str(caught.value) == "impl is 'auto', 'reference' or 'triton', not 'cuda'"
