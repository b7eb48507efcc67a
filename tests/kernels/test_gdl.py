"""The gradient difference loss: what is special about it; `test_agreement.py` holds it to its reference."""

import importlib
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
from gangraph.benchmarks.gdl import ENTRIES
from gangraph.kernels import OrderError
from gangraph.kernels.gdl import gdl

module = importlib.import_module("gangraph.kernels.gdl")  # `gangraph.kernels.gdl` as an attribute could be the function

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OPTIONS = [
    {},
    {"alpha": 2.0},
    {"alpha": 1.5, "p": 1.0},
    {"alpha": 1.0, "p": 2.0, "weight": 0.3},
    {"alpha": 3.0, "p": 1.7},
]

each_impl = pytest.mark.parametrize("impl", ["reference", "triton"])
each_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def pair(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = (torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype) for _ in "py")
    prediction, target = (x.requires_grad_() for x in made)
    return prediction, target


# -------------------------------------------------------------------------------------------------------- values


@each_impl
def test_a_small_example(impl: str) -> None:
    """Vertical differences of Y: 2 and -3, of P: 0 and 1; horizontal ones of Y: 1 and -4, of P: 5 and 6."""
    target = torch.tensor([[1.0, 2.0], [3.0, -1.0]], device=DEVICE)
    prediction = torch.tensor([[0.0, 5.0], [0.0, 6.0]], device=DEVICE)
    assert gdl(prediction, target, impl=impl).item() == (2 + 2) / 2 + (4 + 2) / 2
    assert gdl(prediction, target, 2.0, impl=impl).item() == (4 + 4) / 2 + (16 + 4) / 2
    l1 = (1 + 3 + 3 + 7) / 4
    assert gdl(prediction, target, p=1.0, weight=0.5, impl=impl).item() == 5 + 0.5 * l1
    prediction.requires_grad_()
    (slope,) = grad(gdl(prediction, target, impl=impl), prediction)
    # The first column's vertical difference is 0 in P, where |x| has derivative 0; that of the second, 1, is short of
    # |-3|; both horizontal differences are too large.
    assert slope.tolist() == [[-0.5, 0.5 + 0.5], [-0.5, -0.5 + 0.5]]


@each_impl
@each_option
def test_a_perfect_prediction_has_no_loss_and_no_slope(impl: str, options: dict[str, float]) -> None:
    x, _ = pair(2, 3, 5, 7)
    y = x.detach().clone().requires_grad_()
    loss = gdl(x, y, **options, impl=impl)
    assert loss.item() == 0
    assert all(not slope.any() for slope in grad(loss, (x, y)))


@each_impl
def test_a_brightness_offset_is_ignored_but_by_the_term_with_p(impl: str) -> None:
    x = torch.randint(-8, 8, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0)).to(DEVICE, torch.float64)
    assert gdl(x + 3, x, impl=impl).item() == 0
    assert gdl(3 - x, x, impl=impl).item() == 0  # edges have no sign
    assert gdl(x + 3, x, p=1.0, weight=2.0, impl=impl).item() == 6


@each_impl
def test_the_term_with_p_is_pytorchs(impl: str) -> None:
    x, y = pair(2, 3, 5, 7)
    without = gdl(x, y, impl=impl)
    for p, plain in ((1.0, functional.l1_loss), (2.0, functional.mse_loss)):
        torch.testing.assert_close(gdl(x, y, p=p, impl=impl) - without, plain(x, y), rtol=1e-12, atol=0)


@each_impl
def test_the_papers_sum_is_the_mean_times_the_pairs(impl: str) -> None:
    x, y = (each.detach() for each in pair(2, 3, 6, 6))
    total = 0.0
    for i, j in ((1, 0), (0, 1)):
        edges = [(v[..., i:, j:] - v[..., : 6 - i, : 6 - j]).abs() for v in (x, y)]
        total += (edges[0] - edges[1]).abs().sum().item()
    assert gdl(x, y, impl=impl).item() * x[..., 1:, :].numel() == pytest.approx(total, rel=1e-12)


@each_impl
@each_option
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 3, 1, 0), (1, 1)])
def test_a_mean_over_nothing_is_zero(shape: tuple[int, ...], options: dict[str, float], impl: str) -> None:
    x = torch.zeros(shape, device=DEVICE, requires_grad=True)
    y = torch.zeros(shape, device=DEVICE, requires_grad=True)
    loss = gdl(x, y, **options, impl=impl)
    assert loss.item() == 0
    assert all(not slope.any() and slope.shape == shape for slope in grad(loss, (x, y)))


# ------------------------------------------------------------------------------------------------ types and layouts


@each_impl
@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float16, torch.float64, torch.float64),
        (torch.float64, torch.float32, torch.float64),
    ],
)
def test_each_input_is_read_in_its_own_type(
    prediction: torch.dtype, target: torch.dtype, expected: torch.dtype, impl: str
) -> None:
    inputs = tuple(x.detach().to(d).requires_grad_() for x, d in zip(pair(2, 5, 7), (prediction, target), strict=True))
    exact = tuple(x.detach().double().requires_grad_() for x in inputs)
    found, right = gdl(*inputs, 2.0, impl=impl), gdl(*exact, 2.0, impl="reference")
    assert found.dtype is expected
    torch.testing.assert_close(found.double(), right, rtol=1e-6, atol=0)
    for x, mine, goal in zip(inputs, grad(found, inputs), grad(right, exact), strict=True):
        assert mine.dtype is x.dtype
        torch.testing.assert_close(mine.double(), goal, rtol=0.01, atol=1e-6)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.mT,
    "later frames": lambda x: x[:, :, 2:],
    "frames first": lambda x: x.transpose(1, 2),
    "dimensions exchanged": lambda x: x.permute(2, 0, 3, 4, 1),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last_3d),
    "a slice of channels last": lambda x: x.contiguous(memory_format=torch.channels_last_3d)[:, 1:, :, ::2],
    "one frame repeated": lambda x: x[:, :, :1].expand(-1, -1, 3, -1, -1),
}


@pytest.mark.parametrize("mixed", [False, True], ids=["both", "prediction"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_may_lie_in_memory_as_they_like(layout: str, mixed: bool) -> None:
    inputs = pair(2, 3, 4, 6, 8)

    def loss(impl: str) -> Tensor:
        prediction, target = (LAYOUTS[layout](x) for x in inputs)
        return gdl(prediction, target.contiguous() if mixed else target, 2.0, 1.0, impl=impl)

    torch.testing.assert_close(loss("triton"), loss("reference"), rtol=1e-12, atol=0)
    for mine, right in zip(grad(loss("triton"), inputs), grad(loss("reference"), inputs), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-15)


def test_rows_are_consecutive_in_channels_last() -> None:
    x = torch.empty(2, 3, 4, 5)
    ((view,), near) = module._rows(x.contiguous(memory_format=torch.channels_last))
    assert (view.shape, view.stride(), near) == ((1, 1, 2, 4, 15), (120, 120, 60, 15, 1), 3)
    ((view,), near) = module._rows(x)
    assert (view.shape, near) == ((1, 2, 3, 4, 5), 1)


@pytest.mark.parametrize(
    "row",
    [
        Row("rows in several steps", (1, 2, 150, 3)),
        Row("and in several tiles", (1, 1, 21, 259), options={"alpha": 2.0, "p": 1.0}),
        Row("in channels last", (2, 3, 70, 20), layout="channels_last", options={"alpha": 1.5}),
        Row("one row more than a tile", (1, 1, 65, 256), torch.bfloat16, options={"p": 2.0}),
    ],
    ids=lambda row: row.name.replace(" ", "_"),
)
def test_a_program_walks_down_where_there_are_many(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PROGRAMS": 1, "IN_HAND": 1024}.items():
        monkeypatch.setattr(module, name, value)
    tilings = []
    launch = module._launch
    monkeypatch.setattr(module, "_launch", lambda *arguments: (tilings.append(arguments[1]), launch(*arguments)))
    assert check(ENTRIES[0], row, DEVICE).message == ""
    assert min(tiling.steps for tiling in tilings) > 1


@pytest.mark.parametrize(("planes", "steps"), [(1, 1), (32, 2), (100, 4), (600, 16)])
def test_steps_leave_enough_programs(planes: int, steps: int) -> None:
    tiling = module._Tiling.of(torch.empty(planes, 1, 1, 256, 256, device="meta"), 1, torch.float32)
    assert tiling.steps == steps
    assert tiling.programs == planes * 64 / steps
    assert tiling.programs >= module.PROGRAMS or steps == 1


def test_addresses_beyond_2_to_the_31() -> None:
    # Strides of 32 bits: a larger one would widen every product by itself.
    far = torch.zeros(2**31 + 4096, dtype=torch.bfloat16, device=DEVICE)
    images = [far.as_strided((3, 1, 4, 8), (2**30, 32, 8, 1), start) for start in (0, 64)]
    for image, source in zip(images, pair(3, 1, 4, 8, dtype=torch.bfloat16), strict=True):
        image.copy_(source.detach()).requires_grad_()
    near = [image.detach().clone().requires_grad_() for image in images]
    found, right = (gdl(*each, p=1.0, impl="triton") for each in (images, near))
    assert torch.equal(found, right)
    assert all(torch.equal(*slopes) for slopes in zip(grad(found, images), grad(right, near), strict=True))


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 3, 300), (1, 3, 70, 1)])
def test_everything_is_written_and_runs_give_the_same_bits(shape: tuple[int, ...]) -> None:
    runs = []
    for _ in range(3):
        x, y = pair(*shape, dtype=torch.float32)
        with poisoned():
            loss = gdl(x, y, 1.5, 1.0, impl="triton")
            runs.append((loss, *grad(loss, (x, y))))
    assert all(each.isfinite().all() for each in runs[0])
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run, strict=True))


# ------------------------------------------------------------------------------------------------------ gradients


@each_option
def test_the_reference_has_every_order(options: dict[str, float]) -> None:
    inputs = pair(2, 1, 3, 4)
    assert gradcheck(lambda p, y: gdl(p, y, **options, impl="reference"), inputs)
    assert gradgradcheck(lambda p, y: gdl(p, y, **options, impl="reference"), inputs)


@each_option
def test_gradients_by_finite_differences(options: dict[str, float]) -> None:
    assert gradcheck(lambda p, y: gdl(p, y, **options, impl="triton"), pair(1, 2, 3, 4))


@pytest.mark.parametrize("which", [0, 1])
def test_a_gradient_is_made_only_where_it_is_wanted(which: int) -> None:
    inputs = pair(2, 3, 5, 7)
    right = grad(gdl(*inputs, p=2.0, impl="reference"), inputs)[which]
    inputs[1 - which].requires_grad_(False)
    loss = gdl(*inputs, p=2.0, impl="triton")
    torch.testing.assert_close(grad(loss, inputs[which])[0], right, rtol=1e-12, atol=1e-15)
    options = (1.0, 2.0, 1.0, which == 0, which == 1)
    made = torch.ops.gangraph.gdl_backward(torch.ones_like(loss), *inputs, *options)
    assert [each.numel() for each in made] == [210 * (which == 0), 210 * (which == 1)]


def test_a_second_order_is_an_error() -> None:
    x, y = pair(2, 1, 3, 3)
    (slope,) = grad(gdl(x, y.detach(), impl="triton"), x, create_graph=True)
    assert slope.requires_grad  # although the incoming gradient is a constant
    message = "gdl was differentiated twice, and its kernel has order 1: under a gradient penalty call it with "
    with pytest.raises(OrderError, match=message + "impl='reference', which has every order"):
        grad(slope.square().sum(), x)
    weight = torch.ones((), dtype=torch.float64, device=DEVICE, requires_grad=True)
    (slope,) = grad(weight * gdl(x, y, impl="triton"), x, create_graph=True)
    with pytest.raises(OrderError):
        grad(slope.sum(), weight)


# -------------------------------------------------------------------------------------------------- registered ops


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_they_are_proper_operators(dtype: torch.dtype) -> None:
    x, y = pair(2, 3, 5, 7, dtype=dtype)
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.library.opcheck(torch.ops.gangraph.gdl, (x, y, 1.0, None, 1.0))
    torch.library.opcheck(torch.ops.gangraph.gdl, (last, y.detach(), 1.5, 1.0, 0.3))
    torch.library.opcheck(
        torch.ops.gangraph.gdl, (*(each.detach()[..., ::2].requires_grad_() for each in (x, y)), 2.0, 2.0, 1.0)
    )
    one = torch.ones((), dtype=torch.promote_types(dtype, torch.float32), device=DEVICE)
    for wanted in ((True, True), (True, False), (False, True)):
        given = (one, last.detach(), y.detach(), 2.0, None, 1.0, *wanted)
        torch.library.opcheck(torch.ops.gangraph.gdl_backward, given)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_it_compiles_without_a_break(backend: str) -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        return 2 * gdl(torch.tanh(x), y + 1, p=2.0, impl="triton")

    inputs = pair(2, 3, 2, 5, 7, dtype=torch.float32)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        found = torch.compile(loss, fullgraph=True, backend=backend)(*inputs)
        slopes = grad(found, inputs)
    right = loss(*inputs)
    for mine, goal in zip((found, *slopes), (right, *grad(right, inputs)), strict=True):
        torch.testing.assert_close(mine, goal)


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (
            ((2, 3), (3, 2)),
            {},
            "gdl takes a prediction and a target of one shape, not [2, 3] and [3, 2]",
        ),
        (((5,), (5,)), {}, "gdl takes images [..., H, W], not a tensor of shape [5]"),
        (
            ((2, 3), (2, 3)),
            {"alpha": 0.5},
            "alpha is at least 1 (below, the gradient at 0 is infinite), not 0.5",
        ),
        (
            ((2, 3), (2, 3)),
            {"p": 0.0},
            "p is at least 1 (below, the gradient at 0 is infinite), not 0",
        ),
        (
            ((2, 3), (2, 3)),
            {"alpha": float("nan")},
            "alpha is at least 1 (below, the gradient at 0 is infinite), not nan",
        ),
        (((2, 3), (2, 3)), {"impl": "cuda"}, "impl is 'auto', 'reference' or 'triton', not 'cuda'"),
    ],
)
def test_what_it_does_not_take(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        gdl(*map(torch.zeros, shapes), **options)
    assert str(caught.value) == message
