"""The adversarial loss over patch logits: what is special about it; `test_agreement.py` holds it to its reference."""

import math
import warnings
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional

import gangraph.vocabulary
from gangraph.kernels import OrderError, Pattern, _patch_loss
from gangraph.kernels._triton import tl, triton
from gangraph.kernels.patchgan import PATCH_LOSS, Loss, patch_loss
from gangraph.registry import vocabulary

assert gangraph.vocabulary  # imported for its names

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LOSSES: tuple[Loss, ...] = get_args(Loss)
NUMBERS = {"target": 0.7}  # for the arguments of the vocabulary's losses that are not maps

each_loss = pytest.mark.parametrize("loss", LOSSES)
each_impl = pytest.mark.parametrize("impl", ["reference", "triton"])


def scores(*shape: int, seed: int = 0, spread: float = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    made = spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.to(DEVICE, dtype).requires_grad_()


# ------------------------------------------------------------------------------------------------------- values


@each_impl
@pytest.mark.parametrize(("real_label", "fake_label"), [(1.0, 0.0), (0.9, 0.1)])
@pytest.mark.parametrize(
    ("loss", "plain"),
    [("logistic", functional.binary_cross_entropy_with_logits), ("least_squares", functional.mse_loss)],
)
def test_values_are_those_of_pytorch(
    impl: str, real_label: float, fake_label: float, loss: Loss, plain: Callable[[Tensor, Tensor], Tensor]
) -> None:
    real, fake = scores(2, 1, 30, 30), scores(3, 1, 7, 9, seed=1)
    goal = plain(real, torch.full_like(real, real_label)) + plain(fake, torch.full_like(fake, fake_label))
    found = patch_loss(real, fake, loss, real_label, fake_label, impl=impl)
    torch.testing.assert_close(found, goal, rtol=1e-12, atol=0)
    for mine, right in zip(grad(found, (real, fake)), grad(goal, (real, fake)), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-16)  # PyTorch's own subtracts the label from 1


@each_impl
@pytest.mark.parametrize("pattern", PATCH_LOSS.patterns, ids=lambda each: each.steps[0].name)
def test_every_pattern_is_the_loss_of_that_name(pattern: Pattern, impl: str) -> None:
    (step,) = pattern.steps
    definition = vocabulary[step.name]
    first, *others = definition.signature.parameters
    assert set(step.numbers) == set(others)
    maps = {name: scores(2, 1, 9, 7 + i, seed=i) for i, name in enumerate([first, *others]) if name not in NUMBERS}
    arguments = {name: NUMBERS.get(name, maps.get(name)) for name in [first, *others]}
    goal = definition.function(**arguments)
    renamed = {step.numbers[name]: arguments[name] for name in others}
    found = patch_loss(arguments[first], **renamed, **pattern.given, impl=impl)
    torch.testing.assert_close(found, goal, rtol=1e-12, atol=1e-12)
    leaves = list(maps.values())
    for mine, right in zip(grad(found, leaves), grad(goal, leaves), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-15)


def test_every_adversarial_loss_of_single_scores_that_does_not_saturate_has_a_pattern() -> None:
    adversarial = {name for name, each in vocabulary.items() if each.traits.player}
    saturating = {name for name in adversarial if vocabulary[name].traits.saturates}
    of_pairs = {"relativistic.critic", "relativistic.generator"}
    assert {pattern.steps[0].name for pattern in PATCH_LOSS.patterns} == adversarial - saturating - of_pairs | {"bce"}


def test_the_loss_of_a_right_answer_keeps_its_digits() -> None:
    """log(1 + exp(-30)) is about exp(-30), of which 1 + exp(-30) holds three digits in float64 and none in float32."""
    for dtype, limit in ((torch.float64, 1e-14), (torch.float32, 3e-6)):  # of exp: |s| * 2^-24
        for score in (-30.0, -17.0, -5.0):
            x = torch.full((1,), score, dtype=dtype, device=DEVICE, requires_grad=True)
            loss = patch_loss(x, real_label=0.0, impl="triton")
            (slope,) = grad(loss, x)
            assert loss.item() == pytest.approx(math.log1p(math.exp(score)), rel=limit, abs=0)
            assert slope.item() == pytest.approx(1 / (1 + math.exp(-score)), rel=limit, abs=0)


def test_the_gradient_of_a_right_answer_keeps_its_digits() -> None:
    """PyTorch computes sigmoid(s) - 1, which is 0 in float32 above 17; the kernel computes -sigmoid(-s)."""
    x = torch.full((1,), 30.0, device=DEVICE, requires_grad=True)
    (slope,) = grad(patch_loss(x, impl="triton"), x)
    assert slope.item() == pytest.approx(-math.exp(-30), rel=1e-5, abs=0)


@each_impl
@each_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_large_scores_give_finite_numbers(loss: Loss, impl: str, dtype: torch.dtype) -> None:
    real, fake = (torch.tensor([-1e4, -100, 0, 100, 1e4], dtype=dtype, device=DEVICE).requires_grad_() for _ in "ab")
    found = patch_loss(real, fake, loss, impl=impl)
    assert all(each.isfinite().all() for each in (found, *grad(found, (real, fake))))


@each_impl
@each_loss
def test_a_score_that_is_no_number_shows(loss: Loss, impl: str) -> None:
    x = torch.tensor([1.0, torch.nan, 2.0], device=DEVICE)
    assert patch_loss(x, loss=loss, impl=impl).isnan()
    assert patch_loss(torch.zeros_like(x), x, loss, impl=impl).isnan()


def test_a_generators_loss_is_that_of_real_scores() -> None:
    fake = scores(4, 1, 5, 5)
    torch.testing.assert_close(patch_loss(fake, impl="triton"), functional.softplus(-fake).mean(), rtol=1e-12, atol=0)


# ----------------------------------------------------------------------------------------------- types and layouts


@each_impl
@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float64, torch.float16, torch.float64),
        (torch.float32, torch.float64, torch.float64),
        (torch.bfloat16, None, torch.float32),
    ],
)
def test_each_map_is_read_in_its_own_type(
    real: torch.dtype, fake: torch.dtype | None, expected: torch.dtype, impl: str
) -> None:
    maps = [scores(2, 1, 5, 7, dtype=real)] + ([scores(3, 35, seed=1, dtype=fake)] if fake else [])
    found = patch_loss(*maps, impl=impl)
    assert found.dtype is expected
    exact = [x.detach().double().requires_grad_() for x in maps]
    goal = patch_loss(*exact, impl="reference")
    torch.testing.assert_close(found.double(), goal, rtol=1e-6, atol=0)
    for x, mine, right in zip(maps, grad(found, maps), grad(goal, exact), strict=True):
        assert mine.dtype is x.dtype
        torch.testing.assert_close(mine.double(), right, rtol=0.01, atol=1e-6)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "dimensions exchanged": lambda x: x.permute(2, 0, 3, 1),
    "every second": lambda x: x[..., ::2],
    "a slice": lambda x: x[:, 1:3],
    "repeated": lambda x: x[:1].expand(5, -1, -1, -1),
    "no dimensions": lambda x: x[0, 0, 0, 0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_map_may_lie_in_memory_as_it_likes(layout: str) -> None:
    whole, fake = scores(2, 4, 6, 8), scores(5, 5, seed=1)
    found = grad(patch_loss(LAYOUTS[layout](whole), fake, impl="triton"), (whole, fake))
    goal = grad(patch_loss(LAYOUTS[layout](whole), fake, impl="reference"), (whole, fake))
    for mine, right in zip(found, goal, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-15)


def test_a_dense_map_is_not_copied() -> None:
    x = scores(2, 4, 6, 8).detach()
    for dense in (x, x.permute(2, 0, 3, 1), x.to(memory_format=torch.channels_last)):
        assert _patch_loss._dense(dense) is dense
        unit = torch.ops.gangraph.patch_loss(dense, None, "hinge", 1.0, 0.0, True, False)[1]
        assert unit.stride() == dense.stride()


def test_a_scaled_loss_loses_nothing_in_float16() -> None:
    """The gradient of a mean is below what float16 holds, until a gradient scaler's factor comes in."""
    x = scores(9000, spread=1, dtype=torch.float16)
    exact = x.detach().double().requires_grad_()
    (right,) = grad(65536 * patch_loss(exact, real_label=0.5), exact)
    for impl in ("reference", "triton"):
        (found,) = grad(65536 * patch_loss(x, real_label=0.5, impl=impl), x)
        torch.testing.assert_close(found.double(), right, rtol=6e-4, atol=1e-6)


def test_offsets_pass_2_to_the_31() -> None:
    found = torch.empty(1024, dtype=torch.int64, device=DEVICE)
    _offsets_kernel[(1,)](found, 2**22 + 3, BLOCK=1024)
    assert torch.equal(found.cpu(), (2**22 + 3) * 1024 + torch.arange(1024))


@triton.jit
def _offsets_kernel(p_out, i_block, BLOCK: tl.constexpr):
    tl.store(p_out + tl.arange(0, BLOCK), _patch_loss._offsets(i_block, BLOCK))


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter would take minutes for 2^31 scores")
def test_a_map_longer_than_2_to_the_31() -> None:
    fake = torch.zeros(2**31 + 9000, dtype=torch.bfloat16, device=DEVICE)
    fake[-1] = 2.0**31
    found = patch_loss(fake[:1], fake, "wasserstein", impl="triton")
    torch.testing.assert_close(found.item(), 2.0**31 / fake.numel())


# ---------------------------------------------------------------------------------------------------- gradients


@each_loss
def test_the_reference_has_every_order(loss: Loss) -> None:
    def function(real: Tensor, fake: Tensor) -> Tensor:
        return patch_loss(real, fake, loss, impl="reference")

    maps = scores(2, 1, 3, 3), scores(5, seed=1)
    assert gradcheck(function, maps)
    assert gradgradcheck(function, maps)


@each_loss
def test_gradients_by_finite_differences(loss: Loss) -> None:
    maps = scores(2, 1, 3, 3), scores(5, seed=1)
    assert gradcheck(lambda real, fake: patch_loss(real, fake, loss, impl="triton"), maps)


@each_loss
def test_a_second_order_is_an_error(loss: Loss) -> None:
    x, fake = scores(2, 1, 3, 3), scores(5, seed=1).detach()
    (slope,) = grad(patch_loss(x, fake, loss, impl="triton"), x, create_graph=True)
    assert slope.requires_grad  # although the incoming gradient is a constant
    message = "patch_loss was differentiated twice, and its kernel has order 1: under a gradient penalty call it with "
    with pytest.raises(OrderError, match=message + "impl='reference', which has every order"):
        grad(slope.square().sum(), x)


def test_a_second_order_is_an_error_for_the_fakes_alone() -> None:
    x, fake = scores(2, 1, 3, 3).detach(), scores(5, seed=1)
    (slope,) = grad(patch_loss(x, fake, impl="triton"), fake, create_graph=True)
    with pytest.raises(OrderError):
        slope.sum().backward()


def test_a_second_order_by_the_incoming_gradient_is_an_error() -> None:
    x, weight = scores(2, 1, 3, 3), torch.ones((), dtype=torch.float64, device=DEVICE, requires_grad=True)
    (slope,) = grad(weight * patch_loss(x, impl="triton"), x, create_graph=True)
    with pytest.raises(OrderError):
        grad(slope.sum(), weight)


def test_a_gradient_is_written_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def recorded(*args: object) -> tuple[Tensor, Tensor, Tensor]:
        loss, real, fake = operator(*args)
        seen.append((real.numel(), fake.numel()))
        return loss, real, fake

    operator = _patch_loss._patch_loss
    monkeypatch.setattr(_patch_loss, "_patch_loss", recorded)
    real, fake = scores(2, 1, 3, 3), scores(5, seed=1)
    patch_loss(real, fake, impl="triton")
    patch_loss(real, fake.detach(), impl="triton")
    patch_loss(real.detach(), fake, impl="triton")
    patch_loss(real, impl="triton")
    patch_loss(real.detach(), fake.detach(), impl="triton")
    with torch.no_grad():
        patch_loss(real, fake, impl="triton")
    assert seen == [(18, 5), (18, 0), (0, 5), (18, 0), (0, 0), (0, 0)]


def test_one_map_may_take_no_gradient() -> None:
    real, fake = scores(2, 1, 40, 40), scores(3000, seed=1)
    for leaf, loss in (
        (real, patch_loss(real, fake.detach(), impl="triton")),
        (fake, patch_loss(real.detach(), fake, impl="triton")),
    ):
        (right,) = grad(patch_loss(real, fake, impl="reference"), leaf)
        torch.testing.assert_close(grad(loss, leaf)[0], right, rtol=1e-12, atol=1e-15)


@each_loss
def test_runs_give_the_same_bits(loss: Loss) -> None:
    real, fake = scores(5, 1, 30, 30, dtype=torch.float32), scores(3, 1, 31, 33, seed=1, dtype=torch.float32)
    runs = []
    for _ in range(3):
        found = patch_loss(real, fake, loss, impl="triton")
        runs.append((found, *grad(found, (real, fake))))
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run, strict=True))


# ------------------------------------------------------------------------------------------------ registered ops


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("fakes", [True, False])
def test_the_forward_is_a_proper_operator(dtype: torch.dtype, fakes: bool) -> None:
    real, fake = scores(2, 3, 5, 7, dtype=dtype), scores(40, 40, seed=1, dtype=dtype) if fakes else None
    for layout in (real, real.permute(1, 3, 0, 2), real[..., ::2]):
        leaf = layout.detach().requires_grad_()
        torch.library.opcheck(torch.ops.gangraph.patch_loss, (leaf, fake, "logistic", 0.9, 0.1, True, fakes))
    torch.library.opcheck(torch.ops.gangraph.patch_loss, (real.detach(), fake, "hinge", 1.0, 0.0, False, fakes))


def test_the_backward_is_a_proper_operator() -> None:
    real, fake = scores(2, 3, dtype=torch.bfloat16).detach(), scores(40, seed=1, dtype=torch.float32).detach()
    one = torch.ones((), device=DEVICE)
    torch.library.opcheck(torch.ops.gangraph.patch_loss_backward, (one, real.float(), fake, real, fake))
    torch.library.opcheck(torch.ops.gangraph.patch_loss_backward, (one, real.float(), fake[:0], real, None))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_it_compiles_without_a_break(backend: str) -> None:
    def critic(real: Tensor, fake: Tensor) -> Tensor:
        return 2 * patch_loss(3 * real, fake + 1, "logistic", 0.9, impl="triton")

    maps = scores(2, 1, 9, 9, dtype=torch.float32), scores(3, 1, 31, 33, seed=1, dtype=torch.float32)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        found = torch.compile(critic, fullgraph=True, backend=backend)(*maps)
        slopes = grad(found, maps)
    goal = critic(*maps)
    for mine, right in zip((found, *slopes), (goal, *grad(goal, maps)), strict=True):
        torch.testing.assert_close(mine, right)


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "bce"}, "loss is 'logistic', 'least_squares', 'hinge' or 'wasserstein', not 'bce'"),
        (
            {"loss": "hinge", "real_label": 0.9},
            "loss='hinge' has no labels to smooth: real_label is 1 and fake_label 0, not 0.9 and 0.0",
        ),
        (
            {"loss": "wasserstein", "fake_label": 0.1},
            "loss='wasserstein' has no labels to smooth: real_label is 1 and fake_label 0, not 1.0 and 0.1",
        ),
        ({"fake": torch.zeros(0, 1, 3, 3)}, "fake has no elements, so it has no mean: its shape is [0, 1, 3, 3]"),
        ({"impl": "cuda"}, "impl is 'auto', 'reference' or 'triton', not 'cuda'"),
    ],
)
def test_errors_say_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        patch_loss(torch.zeros(2, 1, 3, 3), **options)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_map_without_elements_is_an_error() -> None:
    with pytest.raises(ValueError, match="real has no elements"):
        patch_loss(torch.zeros(0, 1, 3, 3))


def test_least_squares_takes_any_labels() -> None:
    x = torch.zeros(2, 1, 3, 3, device=DEVICE)
    assert patch_loss(x, x, "least_squares", 3.0, -2.0, impl="triton").item() == pytest.approx(13, rel=1e-6)
