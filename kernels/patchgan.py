"""What a PatchGAN computes besides its convolutions: the block after each, and the loss over maps of patch logits.

instance_norm_leaky_relu
    y = leaky_relu(weight * (x - mean(x)) / sqrt(var(x) + eps) + bias), mean and variance of each channel of each sample

    Layout: x [N, C, ...], contiguous, channels-last or with any strides. A plane that fits on chip is read once and
    written once, forward and backward in one kernel each (see `_plane_norm.py`). Order: 1.

patch_loss
    loss = mean over s in real of f(s) + mean over s in fake of g(s)      (the second one optional)

    with a label t for each map:
    logistic        (1 - t) max(s, 0) + t max(-s, 0) + log(1 + exp(-|s|)), which is softplus(s) - t s
    least_squares   (s - t)^2
    hinge           f(s) = max(0, 1 - s), g(s) = max(0, 1 + s)
    wasserstein     f(s) = -s, g(s) = s

    One launch for both maps reads every score once: each program sums one block, and where a gradient is wanted
    writes that of the mean, f'(s) / n. Backward multiplies it by the incoming gradient, again in one launch. Between
    the two it is kept in float32, since a scaled loss would find it rounded twice in bfloat16, and lost in float16,
    where 1 / n of a large map is below the smallest number. There is no tensor of targets and no map of losses.

Layout: maps of any shape and any strides; those with gaps between their elements are copied first. Order: 1.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ._kernel import Kernel, Pattern, Step
from ._patch_loss import patch_loss_operator
from ._plane_norm import check_planes, normalised_reference, per_plane, plane_norm
from ._triton import Impl, statistics_type, use_triton

Loss = Literal["logistic", "least_squares", "hinge", "wasserstein"]


def instance_norm_leaky_relu(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    slope: float = 0.2,
    eps: float = 1e-5,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """Instance norm and leaky ReLU: what follows a convolution in a PatchGAN (Isola et al. 2017, appendix 6.1).

    Args:
        x: features [N, C, ...], with one or more dimensions of positions.
        weight, bias: [C] each, or None for a norm that is not affine.
        slope: the slope of the leaky ReLU; 0 for ReLU, 1 for no activation.
        eps: added to the variance.
        impl: `auto` runs the kernel on CUDA and the reference elsewhere.

    Returns:
        The shape and type of x. Statistics are kept in float32 for every type but float64.

    Raises:
        ValueError: the shapes do not fit.
        RuntimeError: `impl="triton"` where Triton cannot run.
        OrderError: the kernel was differentiated twice.
    """
    check_planes(x, weight=weight, bias=bias)
    if use_triton(impl, x, weight, bias):
        return plane_norm(x, scale=weight, shift=bias, eps=eps, after=slope)
    return _instance_norm_leaky_relu_reference(x, weight, bias, slope, eps)


def _instance_norm_leaky_relu_reference(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: float, eps: float
) -> Tensor:
    y = normalised_reference(x, eps)
    if weight is not None:
        y = y * per_plane(weight, x)
    if bias is not None:
        y = y + per_plane(bias, x)
    return functional.leaky_relu(y, slope).to(x.dtype)


def patch_loss(
    real: Tensor,
    fake: Tensor | None = None,
    loss: Loss = "logistic",
    real_label: float = 1.0,
    fake_label: float = 0.0,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """The adversarial loss over maps of patch logits: the mean over real, plus the mean over fake if given.

    This is a critic's loss. A generator's is the same function with its fakes in the place of real, since they should
    look real: `patch_loss(fake)`. The generator of the hinge loss has the loss `wasserstein` (Lim and Ye 2017).

    Args:
        real: scores before any sigmoid that should look real, of any shape, as [B, 1, h, w].
        fake: scores that should look fake, of any shape, which may be another; each map is read in its own dtype.
        loss: `logistic` (binary cross-entropy on logits), `least_squares`, `hinge` or `wasserstein`.
        real_label: the target of real scores; below 1 it is one-sided label smoothing (Salimans et al. 2016, 3.4).
            Every pair of labels is compiled separately, so labels have to be constants, not random numbers.
        fake_label: the target of fake scores.
        impl: `auto`, `reference` or `triton`.

    Returns:
        One number; float64 where a map is float64, else float32.

    Raises:
        ValueError: no such loss, a label that the loss does not take, or a map without elements.
        OrderError: the kernel was differentiated twice.
    """
    if loss not in get_args(Loss):
        raise ValueError(f"loss is 'logistic', 'least_squares', 'hinge' or 'wasserstein', not {loss!r}")
    if loss in ("hinge", "wasserstein") and (real_label, fake_label) != (1, 0):
        raise ValueError(
            f"loss='{loss}' has no labels to smooth: real_label is 1 and fake_label 0, "
            f"not {real_label} and {fake_label}"
        )
    for name, x in (("real", real), ("fake", fake)):
        if x is not None and x.numel() == 0:
            raise ValueError(f"{name} has no elements, so it has no mean: its shape is {list(x.shape)}")
    if use_triton(impl, real, fake):
        return patch_loss_operator(real, fake, loss, float(real_label), float(fake_label))
    return _patch_loss_reference(real, fake, loss, real_label, fake_label)


def _patch_loss_reference(
    real: Tensor, fake: Tensor | None, loss: Loss, real_label: float, fake_label: float
) -> Tensor:
    total = _mean_loss(real, loss, real_label, 1)
    return total if fake is None else total + _mean_loss(fake, loss, fake_label, -1)


def _mean_loss(score: Tensor, loss: Loss, label: float, sign: int) -> Tensor:
    """The loss over one map; sign is 1 for scores that should look real, and -1 for fake."""
    score = score.to(statistics_type(score))
    if loss == "logistic":
        return functional.binary_cross_entropy_with_logits(score, torch.full_like(score, label))
    if loss == "least_squares":
        return (score - label).square().mean()
    if loss == "hinge":
        return functional.relu(1 - sign * score).mean()
    return -sign * score.mean()


def _step(name: str, **numbers: str) -> tuple[Step]:
    return (Step(name, numbers),)


_NORM = Step("instance_norm", {"weight": "weight", "bias": "bias", "eps": "eps"})

INSTANCE_NORM_LEAKY_RELU = Kernel(
    function=instance_norm_leaky_relu,
    order=1,
    patterns=(
        Pattern((_NORM, Step("leaky_relu", {"negative_slope": "slope"}))),
        Pattern((_NORM, Step("relu")), {"slope": 0.0}),
        Pattern((_NORM,), {"slope": 1.0}),
    ),
)

PATCH_LOSS = Kernel(
    function=patch_loss,
    order=1,
    patterns=(
        Pattern(_step("logistic.critic", fake="fake"), {"loss": "logistic"}),
        Pattern(_step("logistic.generator"), {"loss": "logistic"}),
        Pattern(_step("minimax.critic", fake="fake"), {"loss": "logistic"}),
        Pattern(_step("least_squares.critic", fake="fake"), {"loss": "least_squares"}),
        Pattern(_step("least_squares.generator"), {"loss": "least_squares"}),
        Pattern(_step("hinge.critic", fake="fake"), {"loss": "hinge"}),
        Pattern(_step("hinge.generator"), {"loss": "wasserstein"}),
        Pattern(_step("wasserstein.critic", fake="fake"), {"loss": "wasserstein"}),
        Pattern(_step("wasserstein.generator"), {"loss": "wasserstein"}),
        Pattern(_step("bce", target="real_label"), {"loss": "logistic"}),
    ),
)

KERNELS = (INSTANCE_NORM_LEAKY_RELU, PATCH_LOSS)
