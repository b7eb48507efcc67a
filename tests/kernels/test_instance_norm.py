"""Instance norm with leaky ReLU: what is special about it; `test_agreement.py` holds it to its reference.

What is said here of planes that are held, or walked through in chunks, holds for `test_adain.py` too.
"""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional

pytest.importorskip("triton")

from gangraph.benchmarks.agreement import check, poisoned
from gangraph.benchmarks.entry import Row
from gangraph.benchmarks.instance_norm import ENTRIES, normalised
from gangraph.kernels import OrderError, Pattern, _plane_kernels, _plane_norm
from gangraph.kernels._triton import tl, triton
from gangraph.kernels.patchgan import INSTANCE_NORM_LEAKY_RELU, instance_norm_leaky_relu, patch_loss

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

each_impl = pytest.mark.parametrize("impl", ["reference", "triton"])


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


def compare(found: Tensor, right: Tensor, leaves: list[Tensor], goals: list[Tensor], **tolerances: float) -> None:
    """The same values, and the same gradients for the same random upstream gradient."""
    torch.testing.assert_close(found, right, **tolerances)
    upstream = normal(*right.shape, seed=9).detach()
    upstreams = upstream.to(found.dtype), upstream.to(right.dtype)
    slopes = grad(found, leaves, upstreams[0]), grad(right, goals, upstreams[1])
    for mine, goal in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, goal, **tolerances)


# ------------------------------------------------------------------------------------------------------- values


def chain(pattern: Pattern, x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: float) -> Tensor:
    """The steps of a pattern, each as PyTorch has it."""
    for step in pattern.steps:
        match step.name:
            case "instance_norm":
                x = functional.instance_norm(x, weight=weight, bias=bias, eps=1e-3)
            case "leaky_relu":
                x = functional.leaky_relu(x, slope)
            case "relu":
                x = functional.relu(x)
            case name:
                raise AssertionError(name)
    return x


@each_impl
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("pattern", INSTANCE_NORM_LEAKY_RELU.patterns, ids=lambda each: each.steps[-1].name)
def test_every_pattern_is_what_pytorch_computes(
    pattern: Pattern, affine: bool, positions: tuple[int, ...], impl: str
) -> None:
    x = normal(2, 3, *positions)
    parameters = [normal(3, seed=1), normal(3, seed=2)] if affine else [None, None]
    leaves = [each for each in (x, *parameters) if each is not None]
    given = {**pattern.given, "slope": 0.3} if "leaky_relu" in pattern.steps[-1].name else pattern.given
    found = instance_norm_leaky_relu(x, *parameters, eps=1e-3, **given, impl=impl)
    compare(found, chain(pattern, x, *parameters, slope=0.3), leaves, leaves, rtol=1e-10, atol=1e-13)


def test_the_patterns_are_the_longest_first() -> None:
    names = [[step.name for step in pattern.steps] for pattern in INSTANCE_NORM_LEAKY_RELU.patterns]
    assert names == [["instance_norm", "leaky_relu"], ["instance_norm", "relu"], ["instance_norm"]]


@pytest.mark.parametrize(("weight", "bias"), [(True, False), (False, True)])
def test_weight_or_bias_may_be_alone(weight: bool, bias: bool) -> None:
    x, parameters = normal(2, 3, 5, 7), [normal(3, seed=1) if weight else None, normal(3, seed=2) if bias else None]
    leaves = [each for each in (x, *parameters) if each is not None]
    found, right = (instance_norm_leaky_relu(x, *parameters, impl=impl) for impl in ("triton", "reference"))
    compare(found, right, leaves, leaves, rtol=1e-10, atol=1e-13)


@each_impl
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 0.3, -1000.0])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # beyond the plane, never stored
def test_a_plane_without_variance_gives_finite_numbers(
    value: float, dtype: torch.dtype, positions: tuple[int, ...], impl: str
) -> None:
    x = torch.full((1, 2, *positions), value, dtype=dtype, device=DEVICE, requires_grad=True)
    weight, bias = (torch.tensor(each, dtype=dtype, device=DEVICE).requires_grad_() for each in ([2.0, 3], [1.0, -1]))
    found = instance_norm_leaky_relu(x, weight, bias, impl=impl)
    expected = torch.tensor([1.0, -0.2], dtype=dtype, device=DEVICE).view(1, 2, 1, 1).expand_as(x)
    rounding = torch.finfo(torch.promote_types(dtype, torch.float32)).eps * abs(value) * 1e-5**-0.5
    torch.testing.assert_close(found, expected, rtol=torch.finfo(dtype).eps, atol=9 * rounding)
    upstream = normal(*x.shape, seed=1, dtype=dtype).detach()
    assert all(each.isfinite().all() for each in grad(found, (x, weight, bias), upstream))


@pytest.mark.parametrize("value", [0.3, 1000.1])
def test_chunks_of_a_constant_have_exactly_its_mean(value: float) -> None:
    x = torch.full((1, 2, 113, 145), value, device=DEVICE)
    assert instance_norm_leaky_relu(x, eps=1e-12, impl="triton").eq(0).all()


@pytest.mark.parametrize("mean", [30.0, 1000.0, 30000.0])
def test_far_from_zero_the_mean_is_rounded_and_nothing_else(mean: float, positions: tuple[int, ...]) -> None:
    """The squares of 1000 + randn differ in their seventh digit, so E[x^2] - E[x]^2 would leave none.

    The mean is kept in float32. Its sum may be off by some roundings of 2^-24, and everything is relative to the
    standard deviation, here 1.
    """
    x = (mean + normal(1, 2, *positions)).detach().float().requires_grad_()
    exact = x.detach().double().requires_grad_()
    found = instance_norm_leaky_relu(x, slope=1.0, impl="triton")
    right = instance_norm_leaky_relu(exact, slope=1.0, impl="reference")
    upstream = normal(*x.shape, seed=1).detach()
    limit = 4 * mean * 2**-24
    assert (found - right).abs().max() < limit
    slopes = grad(found, x, upstream.float())[0], grad(right, exact, upstream)[0]
    assert (slopes[0] - slopes[1]).abs().max() < limit
    variance = found.double().square().mean((2, 3))
    assert (variance - right.square().mean((2, 3))).abs().max() < limit**2 + 1e-6


# ------------------------------------------------------------------------------------------------- ways to memory


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.mT,
    "dimensions exchanged": lambda x: x.permute(2, 0, 3, 1),
    "a slice of channels": lambda x: x[:, 1:3],
    "a slice of channels last": lambda x: x.contiguous(memory_format=torch.channels_last)[:, 1:, :, ::2],
    "one sample repeated": lambda x: x[:1].expand(5, -1, -1, -1),
    "one position repeated": lambda x: x[:, :, :1].expand(-1, -1, 4, -1),
    "every second column": lambda x: x[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_features_may_lie_in_memory_as_they_like(layout: str) -> None:
    x = normal(2, 4, 6, 8)
    y, right = (instance_norm_leaky_relu(LAYOUTS[layout](x), impl=impl) for impl in ("triton", "reference"))
    compare(y, right, [x], [x], rtol=1e-10, atol=1e-13)


def test_parameters_may_lie_in_memory_as_they_like() -> None:
    x, pairs = normal(2, 5, 4, 6), normal(5, 2, seed=1)
    weight, bias = pairs.unbind(1)
    one = normal(1, seed=2)
    for parameters in ((weight, bias), (one.expand(5), bias)):
        y, right = (instance_norm_leaky_relu(x, *parameters, impl=impl) for impl in ("triton", "reference"))
        leaves = [x, pairs] + [one] * (parameters[0] is not weight)
        compare(y, right, leaves, leaves, rtol=1e-10, atol=1e-13)


def test_the_layout_is_kept() -> None:
    x = normal(2, 5, 4, 6).detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y = instance_norm_leaky_relu(x, impl="triton")
    assert y.stride() == x.stride()
    assert grad(y.sum(), x)[0].stride() == x.stride()


def test_channels_last_is_not_copied() -> None:
    x = normal(2, 5, 4, 6).detach().contiguous(memory_format=torch.channels_last)
    assert x.flatten(2).data_ptr() == x.data_ptr()
    assert _plane_norm._layout(x.flatten(2), _plane_norm.ON_CHIP).block_c == 8  # one sector of neighbours


# Strides of 32 bits: a larger one would widen every product by itself.
@pytest.mark.parametrize("stride", [(2**30, 16, 1), (16, 2**30, 1), (64, 16, 2**31 // 15 + 1)], ids=str)
def test_addresses_beyond_2_to_the_31(stride: tuple[int, ...]) -> None:
    shape = (3, 3, 16)
    far = torch.zeros(2**31 + 4096, dtype=torch.bfloat16, device=DEVICE)
    x, upstream = (far.as_strided(shape, stride, start) for start in (0, 512))
    assert sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) >= 2**31
    x.copy_(normal(*shape, dtype=torch.bfloat16).detach())
    upstream.copy_(normal(*shape, seed=1, dtype=torch.bfloat16).detach())
    x.requires_grad_()
    near = x.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    found, right = (instance_norm_leaky_relu(each, impl="triton") for each in (x, near))
    assert torch.equal(found, right)
    (slope,), (goal,) = grad(found, x, upstream), grad(right, near, upstream.contiguous())
    assert torch.equal(slope, goal)


def test_everything_is_written_and_runs_give_the_same_bits(positions: tuple[int, ...]) -> None:
    runs, shape = [], (2, 3, *positions)
    for _ in range(3):
        leaves = normal(*shape, dtype=torch.float32), normal(shape[1], seed=1, dtype=torch.float32)
        upstream = normal(*shape, seed=2, dtype=torch.float32).detach()
        with poisoned():
            y = instance_norm_leaky_relu(*leaves, impl="triton")
            runs.append((y, *grad(y, leaves, upstream)))
    assert all(each.isfinite().all() for each in runs[0])
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run, strict=True))


@each_impl
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_nothing_in_gives_nothing_out(shape: tuple[int, ...], impl: str) -> None:
    x = torch.zeros(shape, device=DEVICE, requires_grad=True)
    weight = torch.ones(shape[1], device=DEVICE, requires_grad=True)
    y = instance_norm_leaky_relu(x, weight, weight, impl=impl)
    dx, dweight = grad(y.sum(), (x, weight))
    assert y.shape == dx.shape == shape
    assert dweight.shape == weight.shape
    assert not dweight.any()


# ----------------------------------------------------------------------------------------- how the work is divided


@pytest.mark.parametrize(
    ("row", "block", "chunks"),
    [
        (Row("many small planes make a tile", (2, 512, 4, 4)), 64, 1),
        (Row("no more than there are, to a power of 2", (2, 5, 4, 4)), 8, 1),
        (Row("one plane a program", (2, 3, 64, 64)), 1, 1),
        (Row("the largest", (2, 3, 128, 128)), 1, 1),
        (Row("one more", (2, 3, 113, 145)), 1, 2),
        (Row("StyleGAN's largest", (2, 16, 1024, 1024)), 1, 64),
        (Row("chunks grow with the plane", (1, 1, 4096, 4096)), 1, 64),
        (Row("channels last", (2, 64, 32, 32), layout="channels_last"), 8, 1),
        (Row("channels last, a sector of bfloat16", (2, 64, 32, 32), torch.bfloat16, "channels_last"), 16, 1),
        (Row("channels last, chunks", (2, 64, 64, 64), layout="channels_last"), 32, 8),
    ],
    ids=lambda each: each.name.replace(" ", "_") if isinstance(each, Row) else str(each),
)
def test_programs_hold_planes_or_share_them(row: Row, block: int, chunks: int) -> None:
    x = torch.empty(row.shape, dtype=row.dtype, device="meta")
    if row.layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    layout = _plane_norm._layout(x.flatten(2), _plane_norm.ON_CHIP)
    assert (layout.block_c, layout.chunks) == (block, chunks)
    size = x.numel() * x.element_size()
    assert normalised(row, False) == (2 if chunks == 1 else 3) * size
    assert normalised(row, True) == (5 if chunks == 1 else 8) * size


@pytest.mark.parametrize(
    ("row", "chunks"),
    [
        (Row("many chunks", (1, 2, 95, 107)), 64),
        (Row("large chunks", (1, 2, 95, 107)), 2),
        (Row("chunks of several channels", (1, 6, 45, 57), torch.bfloat16, "channels_last"), 64),
    ],
    ids=lambda each: each.name.replace(" ", "_") if isinstance(each, Row) else str(each),
)
def test_chunks_may_be_few_or_many(row: Row, chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ON_CHIP": 1024, "CHUNKS": chunks, "CHUNK_ELEMENTS": 2048}.items():
        monkeypatch.setattr(_plane_norm, name, value)
    used = []
    launch = _plane_norm._launch
    monkeypatch.setattr(_plane_norm, "_launch", lambda *a, **k: (used.append(a[1].chunks), launch(*a, **k)))
    assert check(ENTRIES[1], row, DEVICE).message == ""
    assert {count > 2 for count in used} == {chunks > 2}


@pytest.mark.parametrize("tile", [1, 512, 1024, 4096, 8192, 16384])
def test_every_tile_has_a_configuration_that_holds_it(tile: int) -> None:
    constants = {"BLOCK_C": 1, "CHUNK": tile, "ACC": tl.float32}
    kept = [each for each in _plane_kernels.WHOLE if _plane_kernels._holds(each, constants)]
    assert kept or tile < 256
    assert all(4 <= tile / (32 * each.num_warps) <= 32 for each in kept)
    if tile == _plane_norm.ON_CHIP:
        assert kept[0].num_warps == 32


# ---------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("slope", [0.2, 0.0, 1.0])
def test_the_reference_has_every_order(slope: float) -> None:
    leaves = normal(2, 2, 2, 3), normal(2, seed=1), normal(2, seed=2)
    assert gradcheck(lambda *each: instance_norm_leaky_relu(*each, slope, impl="reference"), leaves)
    assert gradgradcheck(lambda *each: instance_norm_leaky_relu(*each, slope, impl="reference"), leaves)


@pytest.mark.parametrize("slope", [0.2, 0.0, 1.0])
def test_gradients_by_finite_differences(slope: float) -> None:
    leaves = normal(2, 2, 2, 3), normal(2, seed=1), normal(2, seed=2)
    assert gradcheck(lambda *each: instance_norm_leaky_relu(*each, slope, impl="triton"), leaves)


def test_a_second_order_is_an_error(positions: tuple[int, ...]) -> None:
    x = normal(1, 2, *positions)
    (slope,) = grad(instance_norm_leaky_relu(x, impl="triton").sum(), x, create_graph=True)
    assert slope.requires_grad  # although the incoming gradient is a constant
    message = "AdaIN or instance norm was differentiated twice, and its kernel has order 1: under a gradient penalty "
    with pytest.raises(OrderError, match=message + "call it with impl='reference', which has every order"):
        grad(slope.square().sum(), x)


def test_a_second_order_by_a_parameter_or_the_incoming_gradient_is_an_error() -> None:
    x, weight = normal(1, 2, 3, 4), normal(2, seed=1)
    (slope,) = grad(instance_norm_leaky_relu(x, weight, impl="triton").sum(), weight, create_graph=True)
    with pytest.raises(OrderError):
        slope.sum().backward()
    factor = torch.ones((), dtype=torch.float64, device=DEVICE, requires_grad=True)
    (slope,) = grad(
        factor * instance_norm_leaky_relu(x.detach(), weight, impl="triton").sum(), weight, create_graph=True
    )
    with pytest.raises(OrderError):
        grad(slope.sum(), factor)


def test_features_or_parameters_may_take_no_gradient(positions: tuple[int, ...]) -> None:
    leaves = [normal(2, 3, *positions), normal(3, seed=1), normal(3, seed=2)]
    upstream = normal(2, 3, *positions, seed=3).detach()
    right = grad(instance_norm_leaky_relu(*leaves, impl="reference"), leaves, upstream)
    for which, leaf in enumerate(leaves):
        alone = [each if each is leaf else each.detach() for each in leaves]
        y = instance_norm_leaky_relu(*alone, impl="triton")
        torch.testing.assert_close(grad(y, leaf, upstream)[0], right[which], rtol=1e-10, atol=1e-12)
    assert not instance_norm_leaky_relu(*(each.detach() for each in leaves), impl="triton").requires_grad


# ------------------------------------------------------------------------------------------------ registered ops


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_forward_and_backward_are_proper_operators(dtype: torch.dtype, positions: tuple[int, ...]) -> None:
    x = normal(1, 3, positions[0] * positions[1], dtype=dtype)
    last = x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    noise, per_channel = normal(1, x.shape[2], seed=1, dtype=dtype), normal(3, seed=2, dtype=dtype)
    style = normal(1, 3, seed=3, dtype=dtype)
    for source in (x, last):
        for given in (
            (None, None, None, None, None),
            (None, None, None, per_channel, per_channel),
            (noise, per_channel, per_channel, style, style),
        ):
            operands = (source, *given, 1e-5, 0.2, 0.3)
            torch.library.opcheck(torch.ops.gangraph.plane_norm, operands)
    _, mean, rstd = torch.ops.gangraph.plane_norm(x.detach(), None, None, None, None, None, 1e-5, 0.2, 0.3)
    tensors = (x.detach(), None, None, None, style.detach(), None, mean, rstd)
    torch.library.opcheck(torch.ops.gangraph.plane_norm_backward, (x.detach(), *tensors, 0.2, 0.3))


def compiled(function: Callable[..., Tensor], backend: str, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The output and every gradient of a function compiled in one graph."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        found = torch.compile(function, fullgraph=True, backend=backend)(*inputs)
        return (found, *grad(found, inputs))


def test_a_patchgan_compiles_without_a_break() -> None:
    """Conv, norm and leaky ReLU twice, a map of scores, the adversarial loss."""

    def critic(real: Tensor, fake: Tensor, first: Tensor, second: Tensor, last: Tensor) -> Tensor:
        def scores(x: Tensor) -> Tensor:
            x = instance_norm_leaky_relu(functional.conv2d(x, first, stride=2, padding=1), impl="triton")
            x = instance_norm_leaky_relu(functional.conv2d(x, second, stride=2, padding=1), impl="triton")
            return functional.conv2d(x, last, padding=1)

        return patch_loss(scores(real), scores(fake), "hinge", impl="triton")

    shapes = ((2, 3, 16, 16), (2, 3, 16, 16), (6, 3, 4, 4), (8, 6, 4, 4), (1, 8, 4, 4))
    inputs = [0.3 * normal(*shape, seed=seed, dtype=torch.float32).detach() for seed, shape in enumerate(shapes)]
    inputs = [each.requires_grad_() for each in inputs]
    right = critic(*inputs)
    for mine, goal in zip(compiled(critic, "aot_eager", *inputs), (right, *grad(right, inputs)), strict=True):
        torch.testing.assert_close(mine, goal)


# ------------------------------------------------------------------------------------------------------- errors


@each_impl
@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ((2, 3), {}, "x is [2, 3], but [N, C, ...] with one or more dimensions of positions is needed"),
        ((2, 3, 4), {"weight": (4,)}, "weight is [4], but one number per channel is needed: [3]"),
        ((2, 3, 4), {"bias": (2, 3)}, "bias is [2, 3], but one number per channel is needed: [3]"),
        ((2, 3, 4), {"weight": (3,), "bias": (1,)}, "bias is [1], but one number per channel is needed: [3]"),
    ],
)
def test_shapes_must_fit(x: tuple[int, ...], options: dict[str, tuple[int, ...]], message: str, impl: str) -> None:
    tensors = {name: torch.zeros(shape, device=DEVICE) for name, shape in options.items()}
    with pytest.raises(ValueError) as caught:
        instance_norm_leaky_relu(torch.zeros(x, device=DEVICE), **tensors, impl=impl)
    assert str(caught.value) == message


def test_there_is_no_other_implementation() -> None:
    with pytest.raises(ValueError) as caught:
        instance_norm_leaky_relu(torch.zeros(2, 3, 4), impl="cuda")  # type: ignore[arg-type]
    assert str(caught.value) == "impl is 'auto', 'reference' or 'triton', not 'cuda'"


@pytest.mark.parametrize("tile", [1024, 2048, 4096, 8192])
def test_no_tile_reaches_beyond_its_chunk(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes the first configuration; a GPU may take any, with chunks of any size."""
    for name, kernel in vars(_plane_kernels).items():
        if name.endswith("_kernel") and any("TILE" in each.kwargs for each in kernel.configs):
            monkeypatch.setattr(kernel, "configs", [triton.Config({"TILE": tile}, num_warps=4)])
    for name, value in {"ON_CHIP": 1024, "CHUNKS": 64, "CHUNK_ELEMENTS": 2048}.items():
        monkeypatch.setattr(_plane_norm, name, value)
    x = normal(2, 2, 95, 107)
    found, right = (instance_norm_leaky_relu(x, impl=impl) for impl in ("triton", "reference"))
    compare(found, right, [x], [x], rtol=1e-10, atol=1e-13)


def test_a_plane_may_have_more_than_2_to_the_31_positions() -> None:
    """Its statistics from those of its chunks, of which the last is short."""
    positions, chunk = 2**31 + 5, 2**26
    chunks = -(-positions // chunk)
    means = torch.arange(chunks, dtype=torch.float64, device=DEVICE)
    found = [torch.empty(1, dtype=torch.float64, device=DEVICE) for _ in range(2)]
    _combined_kernel[1,](means, torch.ones_like(means), *found, positions, chunk, triton.next_power_of_2(chunks))
    counts = torch.full((chunks,), chunk, dtype=torch.float64, device=DEVICE)
    counts[-1] = positions - chunk * (chunks - 1)
    mean = (counts * means).sum() / positions
    variance = (1 + counts * (means - mean).square()).sum() / positions
    torch.testing.assert_close(found[0][0], mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(found[1][0], 1 / (variance + 1e-5).sqrt(), rtol=1e-14, atol=0)


@triton.jit
def _combined_kernel(p_mean_k, p_m2_k, p_mean, p_rstd, P, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr):
    o_c = tl.arange(0, 1)
    zero = tl.program_id(0).to(tl.int64)
    mean, rstd = _plane_kernels._combine(p_mean_k, p_m2_k, zero, o_c, 1, P, 1e-5, tl.float64, CHUNK, BLOCK_K)
    tl.store(p_mean + o_c, mean)
    tl.store(p_rstd + o_c, rstd)
