"""Losses: pure functions of tensors that return one number.

An adversarial loss is a pair of functions, `NAME.critic(real, fake)` and `NAME.generator(fake)`, both to be
minimised; scores are the critic's raw outputs (logits), of any shape, averaged over batch and positions.
"""

import math

from torch import Tensor
from torch.nn import functional

from gangraph.kernels import gdl as _gdl
from gangraph.registry import loss

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@loss(
    compares=True,
    per_element=True,
    latex=r"E[\lVert $x - $y \rVert_1]",
    words="the mean absolute difference between $x and $y",
)
def l1(x: Tensor, y: Tensor) -> Tensor:
    """mean |x - y| over all elements."""
    return functional.l1_loss(*_alike(x, y))


@loss(
    compares=True,
    per_element=True,
    latex=r"E[\lVert $x - $y \rVert_2^2]",
    words="the mean squared difference between $x and $y",
)
def l2(x: Tensor, y: Tensor) -> Tensor:
    """mean (x - y)^2 over all elements."""
    return functional.mse_loss(*_alike(x, y))


@loss(words="how much the edges of $prediction differ from those of $target")
def gdl(prediction: Tensor, target: Tensor, alpha: float = 1.0, p: float | None = None, weight: float = 1.0) -> Tensor:
    """mean ||dx| - |dy||^alpha over neighbours in each direction, the gradient difference loss (Mathieu et al. 2016).

    Images [B, C, H, W] or clips [B, C, T, H, W], where frames are compared one by one; alpha is 1 or more. With `p` it
    adds weight * mean |x - y|^p.
    """
    number: Tensor = _gdl.gdl(*_alike(prediction, target), alpha, p, weight, impl="reference")
    return number


@loss(
    logits=True,
    latex=r"E[-${target} \log \sigma(${score}) - (1 - ${target}) \log(1 - \sigma(${score}))]",
    words="the cross-entropy between $score and the target $target",
)
def bce(score: Tensor, target: float) -> Tensor:
    """-target log s(x) - (1 - target) log(1 - s(x)) with s the sigmoid, mean over all elements; takes logits."""
    return functional.binary_cross_entropy_with_logits(score, score.new_full((), target).expand_as(score))


@loss(
    logits=True,
    labels={"label": "score"},
    latex=r"-E[\log \mathrm{softmax}(${score})_{${label}}]",
    words="the cross-entropy between $score and the class $label",
)
def cross_entropy(score: Tensor, label: Tensor) -> Tensor:
    """-log softmax(score)[label], mean over the batch; scores [B, K], labels int64 [B], or one class for all."""
    if not isinstance(label, Tensor):
        if isinstance(label, bool) or label not in range(score.shape[1]):
            raise ValueError(f"label is {label}, expected a class from 0 to {score.shape[1] - 1}")
        return -functional.log_softmax(score, 1)[:, label].mean()
    return functional.cross_entropy(score, label)


@loss(
    nats=True,
    latex=r"E[D_{\mathrm{KL}}(\mathcal{N}(${mean}, e^{${logvar}}) \,\|\, \mathcal{N}(0, 1))]",
    words="the KL divergence of the Gaussian with mean $mean and log-variance $logvar from the standard normal",
)
def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """1/2 sum (mean^2 + e^logvar - logvar - 1) over a sample's numbers, mean over the batch, in nats; [B, D] or maps.

    The divergence of N(mean, e^logvar) from N(0, 1) (Kingma and Welling 2014, appendix B).
    """
    mean, logvar = _alike(mean, logvar)
    return 0.5 * _sample_sums(mean.square() + logvar.exp() - logvar - 1).mean()


@loss(
    nats=True,
    latex=r"E[D_{\mathrm{KL}}(\mathcal{N}(${mean}, e^{${logvar}}) \,\|\, "
    r"\mathcal{N}(${prior_mean}, e^{${prior_logvar}}))]",
    words="the KL divergence of the Gaussian with mean $mean and log-variance $logvar "
    "from the one with mean $prior_mean and log-variance $prior_logvar",
)
def kl_between(mean: Tensor, logvar: Tensor, prior_mean: Tensor, prior_logvar: Tensor) -> Tensor:
    """The divergence in nats of N(mean, e^logvar) from a prior N(prior_mean, e^prior_logvar) that may be learned.

    1/2 sum (prior_logvar - logvar + (e^logvar + (mean - prior_mean)^2) / e^prior_logvar - 1) over a sample's numbers,
    mean over the batch; all four [B, D] or maps of one shape (Sohn et al. 2015, section 3).
    """
    mean, logvar = _alike(mean, logvar)
    _alike(mean, prior_mean)
    _alike(logvar, prior_logvar)
    apart = (mean - prior_mean).square() * (-prior_logvar).exp()
    return 0.5 * _sample_sums(prior_logvar - logvar + (logvar - prior_logvar).exp() + apart - 1).mean()


@loss(
    compares=True,
    latex=r"-E[\log \mathcal{N}(${target} \mid ${prediction}, $std^2)]",
    words="the negative log-likelihood of $target under Gaussians around $prediction with deviation $std",
)
def gaussian_nll(prediction: Tensor, target: Tensor, std: Tensor | float = 1.0) -> Tensor:
    """1/2 ((x - prediction) / std)^2 + log std + 1/2 log 2 pi, summed over a sample, mean over the batch; in nats.

    Tensors of one shape [B, ...]; std is a number, or a value of that shape
    (Kingma and Welling 2014, appendix C.2).
    """
    prediction, target = _alike(prediction, target)
    if isinstance(std, Tensor) and std.dim() and [*std.shape] != [*prediction.shape]:
        raise ValueError(f"std is {[*std.shape]}, expected one number or {[*prediction.shape]} as the prediction")
    logarithm = std.log() if isinstance(std, Tensor) else math.log(_positive("std", std))
    squares = 0.5 * ((target - prediction) / std).square()
    return _sample_sums(squares + logarithm + _HALF_LOG_TWO_PI).mean()


@loss(
    compares=True,
    latex=r"-E[\log \mathrm{Laplace}(${target} \mid ${prediction}, ${scale})]",
    words="the negative log-likelihood of $target under Laplace distributions around $prediction with scale $scale",
)
def laplace_nll(prediction: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
    """|x - prediction| / scale + log(2 scale), summed over a sample, mean over the batch; in nats, [B, ...]."""
    prediction, target = _alike(prediction, target)
    return _sample_sums((target - prediction).abs() / _positive("scale", scale) + math.log(2 * scale)).mean()


@loss(
    logits=("logits",),
    ranges={"target": (0.0, 1.0)},
    latex=r"-E[\log \mathrm{Bernoulli}(${target} \mid \sigma(${logits}))]",
    words="the negative log-likelihood of $target under Bernoulli distributions with log-odds $logits",
)
def bernoulli_nll(logits: Tensor, target: Tensor) -> Tensor:
    """-x log s(logits) - (1 - x) log(1 - s(logits)), summed over a sample, mean over the batch; in nats, takes logits.

    Tensors of one shape [B, ...]; the target x is in [0, 1], and not only 0 or 1: then the least is its entropy
    (Kingma and Welling 2014, appendix C.1).
    """
    logits, target = _alike(logits, target)
    return _sample_sums(functional.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean()


@loss(
    "logistic.critic",
    logits=True,
    player="critic",
    latex=r"-E[\log \sigma(${real})] - E[\log(1 - \sigma(${fake}))]",
    words="the cross-entropy of telling $real, which should score as real, from $fake, which should not",
)
def logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-D(x))] + E[softplus(D(G(z)))] (Goodfellow et al. 2014, equation 1 on logits)."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


@loss(
    "logistic.generator",
    logits=True,
    player="generator",
    latex=r"-E[\log \sigma(${fake})]",
    words="the cross-entropy of $fake with the answer 'real' (the form that does not saturate)",
)
def logistic_generator(fake: Tensor) -> Tensor:
    """E[softplus(-D(G(z)))], the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return functional.softplus(-fake).mean()


@loss(
    "relativistic.critic",
    logits=True,
    player="critic",
    latex=r"-E[\log \sigma(${real} - ${fake})]",
    words="the cross-entropy of telling which of two is real, $real or $fake, sample by sample",
)
def relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-(D(x) - D(G(z))))] over pairs by their place in the batch (Jolicoeur-Martineau 2019)."""
    real, fake = _alike(real, fake)
    return functional.softplus(fake - real).mean()


@loss(
    "relativistic.generator",
    logits=True,
    player="generator",
    latex=r"-E[\log \sigma(${fake} - ${real})]",
    words="the cross-entropy of taking $fake for the real one of a pair with $real",
)
def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-(D(G(z)) - D(x)))] over pairs by their place in the batch (Jolicoeur-Martineau 2019)."""
    real, fake = _alike(real, fake)
    return functional.softplus(real - fake).mean()


@loss(
    "minimax.critic",
    logits=True,
    player="critic",
    latex=r"-E[\log \sigma(${real})] - E[\log(1 - \sigma(${fake}))]",
    words="the cross-entropy of telling $real, which should score as real, from $fake, which should not",
)
def minimax_critic(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's loss of the minimax game: the same as logistic.critic."""
    return logistic_critic(real, fake)


@loss(
    "minimax.generator",
    logits=True,
    player="generator",
    saturates=True,
    latex=r"E[\log(1 - \sigma(${fake}))]",
    words="the log-probability that $fake is recognised as made (the form that saturates)",
)
def minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - s(D(G(z))))] = -E[softplus(D(G(z)))], which saturates where the critic wins (2014, equation 1)."""
    return -functional.softplus(fake).mean()


@loss(
    "least_squares.critic",
    logits=True,
    player="critic",
    latex=r"E[($real - 1)^2] + E[$fake^2]",
    words="the squared distances of $real from 1 and of $fake from 0",
)
def least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[(D(x) - 1)^2] + E[D(G(z))^2] (Mao et al. 2017, equation 9 without its factor 1/2)."""
    return (real - 1).square().mean() + fake.square().mean()


@loss(
    "least_squares.generator",
    logits=True,
    player="generator",
    latex=r"E[($fake - 1)^2]",
    words="the squared distance of $fake from 1",
)
def least_squares_generator(fake: Tensor) -> Tensor:
    """E[(D(G(z)) - 1)^2] (Mao et al. 2017, equation 9 without its factor 1/2)."""
    return (fake - 1).square().mean()


@loss(
    "hinge.critic",
    logits=True,
    player="critic",
    latex=r"E[\max(0, 1 - $real)] + E[\max(0, 1 + $fake)]",
    words="by how much $real stays below 1 and $fake above -1",
)
def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Lim and Ye 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


@loss(
    "hinge.generator",
    logits=True,
    player="generator",
    latex=r"-E[${fake}]",
    words="the negative mean of $fake",
)
def hinge_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (Lim and Ye 2017)."""
    return -fake.mean()


@loss(
    "wasserstein.critic",
    logits=True,
    player="critic",
    needs_lipschitz=True,
    latex=r"E[${fake}] - E[${real}]",
    words="the mean of $fake minus the mean of $real",
)
def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)] (Arjovsky et al. 2017, equation 3 with the sign of a loss)."""
    return fake.mean() - real.mean()


@loss(
    "wasserstein.generator",
    logits=True,
    player="generator",
    latex=r"-E[${fake}]",
    words="the negative mean of $fake",
)
def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (Arjovsky et al. 2017)."""
    return -fake.mean()


def _alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse two shapes that PyTorch would broadcast: between images that is always a mistake."""
    if x.shape != y.shape:
        raise ValueError(f"the shapes differ: {list(x.shape)} and {list(y.shape)}")
    return x, y


def _sample_sums(x: Tensor) -> Tensor:
    """The sum over each sample: [B, ...] to [B]."""
    return x.flatten(1).sum(1)


def _positive(name: str, number: float) -> float:
    """Refuse a scale that is not above 0. Raises ValueError."""
    if number <= 0:
        raise ValueError(f"{name} is {number}, expected a positive number")
    return number
