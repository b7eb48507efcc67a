"""Adaptive instance normalisation: features take over the mean and standard deviation of a style.

    adain(x)          = scale * (x - mean(x)) / sqrt(var(x) + eps) + bias         (Huang and Belongie 2017, equation 8)
    adain_image(x, s) = std(s) * (x - mean(x)) / sqrt(var(x) + eps) + mean(s)
    style_epilogue(x) = adain(leaky_relu(x + noise_weight * noise + channel_bias))     (Karras et al. 2019, figure 1b)

Statistics are taken over the positions of each channel of each sample, are biased, and are kept in float32 for
every type but float64. Layout: x [N, C, ...], contiguous, channels-last or with any strides.
Fused: everything, in one read and one write where a plane fits on chip (see `_plane_norm.py`). Order: 1.
"""

from torch import Tensor
from torch.nn import functional

from ._kernel import Kernel, Pattern, Step
from ._plane_norm import check_planes, normalised_reference, per_plane, plane_moments, plane_norm
from ._triton import Impl, statistics_type, use_triton


def adain(x: Tensor, scale: Tensor, bias: Tensor, eps: float = 1e-5, *, impl: Impl = "auto") -> Tensor:
    """scale * (x - mean(x)) / sqrt(var(x) + eps) + bias, for each channel of each sample.

    Args:
        x: features [N, C, ...], with one or more dimensions of positions.
        scale, bias: the style [N, C].
        eps: added to the variance of x.
        impl: `auto` runs the kernel on CUDA and the reference elsewhere.

    Returns:
        The shape and type of x.

    Raises:
        ValueError: the shapes do not fit.
        RuntimeError: `impl="triton"` where Triton cannot run.
        OrderError: the kernel was differentiated twice.
    """
    check_planes(x)
    _check_style(x, scale=scale, bias=bias)
    if use_triton(impl, x, scale, bias):
        return plane_norm(x, scale=scale, shift=bias, eps=eps)
    return _adain_reference(x, scale, bias, eps)


def adain_image(x: Tensor, style: Tensor, eps: float = 1e-5, *, impl: Impl = "auto") -> Tensor:
    """AdaIN with the standard deviation and the mean of a style's features as scale and bias.

    Args:
        x: features of the content [N, C, ...].
        style: features of the style [N, C, ...], of any size. Its standard deviation is biased and has no eps; where
            it is 0, no gradient passes through it.
        eps: added to the variance of x.
        impl: `auto` runs the kernels on CUDA and the reference elsewhere.

    Returns:
        The shape and type of x.

    Raises:
        ValueError: the shapes do not fit.
        RuntimeError: `impl="triton"` where Triton cannot run.
        OrderError: the kernel was differentiated twice.
    """
    check_planes(x)
    if style.dim() < 3 or style.shape[:2] != x.shape[:2]:
        raise ValueError(f"style is {list(style.shape)}, but [{x.shape[0]}, {x.shape[1]}, ...] is needed")
    if use_triton(impl, x, style):
        mean, std = plane_moments(style)
        return plane_norm(x, scale=std, shift=mean, eps=eps)
    planes = style.to(statistics_type(style)).flatten(2)
    return _adain_reference(x, planes.std(2, correction=0), planes.mean(2), eps)


def style_epilogue(
    x: Tensor,
    noise: Tensor | None,
    noise_weight: Tensor | None,
    channel_bias: Tensor | None,
    scale: Tensor,
    bias: Tensor,
    slope: float = 0.2,
    eps: float = 1e-8,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """What follows each convolution of a style-based generator: noise, bias, leaky ReLU, instance norm, style.

    Args:
        x: features [N, C, ...].
        noise: one plane for all channels, [N, 1, ...] or [1, 1, ...], with `noise_weight` [C]; or None for both.
        channel_bias: [C], or None.
        scale, bias: the style [N, C]; Karras et al. (2019) scale by 1 + the output of an affine layer.
        slope: the slope of the leaky ReLU.
        eps: added to the variance.
        impl: `auto` runs the kernel on CUDA and the reference elsewhere.

    Returns:
        The shape and type of x.

    Raises:
        ValueError: the shapes do not fit, or one of noise and noise_weight is None and the other is not.
        RuntimeError: `impl="triton"` where Triton cannot run.
        OrderError: the kernel was differentiated twice.
    """
    check_planes(x, noise_weight=noise_weight, channel_bias=channel_bias)
    _check_style(x, scale=scale, bias=bias)
    _check_noise(x, noise, noise_weight)
    if use_triton(impl, x, noise, noise_weight, channel_bias, scale, bias):
        return plane_norm(
            x, noise=noise, noise_weight=noise_weight, bias=channel_bias, scale=scale, shift=bias, eps=eps, before=slope
        )
    u = x.to(statistics_type(x))
    if noise is not None and noise_weight is not None:
        u = u + per_plane(noise_weight, x) * noise
    if channel_bias is not None:
        u = u + per_plane(channel_bias, x)
    return _adain_reference(functional.leaky_relu(u, slope), scale, bias, eps).to(x.dtype)


def _adain_reference(x: Tensor, scale: Tensor, bias: Tensor, eps: float) -> Tensor:
    return (per_plane(scale, x) * normalised_reference(x, eps) + per_plane(bias, x)).to(x.dtype)


def _check_style(x: Tensor, **style: Tensor) -> None:
    for name, value in style.items():
        if value.shape != x.shape[:2]:
            raise ValueError(
                f"{name} is {list(value.shape)}, but one number per sample and channel is needed: {list(x.shape[:2])}"
            )


def _check_noise(x: Tensor, noise: Tensor | None, noise_weight: Tensor | None) -> None:
    if (noise is None) != (noise_weight is None):
        raise ValueError("noise and noise_weight are given together, or neither is")
    if noise is not None and noise.shape not in ((n, 1, *x.shape[2:]) for n in (1, x.shape[0])):
        raise ValueError(
            f"noise is {list(noise.shape)}, but one plane for all channels is needed: {[x.shape[0], 1, *x.shape[2:]]}"
        )


_STYLE = Step("adain", {"scale": "scale", "bias": "bias", "eps": "eps"})

KERNELS = (
    Kernel(
        function=style_epilogue,
        order=1,
        patterns=(
            Pattern(
                (
                    Step("noise", {"noise": "noise", "weight": "noise_weight"}, optional=True),
                    Step("bias", {"bias": "channel_bias"}, optional=True),
                    Step("leaky_relu", {"negative_slope": "slope"}),
                    _STYLE,
                ),
                {"noise": None, "noise_weight": None, "channel_bias": None},
            ),
        ),
    ),
    Kernel(function=adain, order=1, patterns=(Pattern((_STYLE,)),)),
    Kernel(
        function=adain_image, order=1, patterns=(Pattern((Step("adain_image", {"style": "style", "eps": "eps"}),)),)
    ),
)
