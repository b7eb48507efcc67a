"""Losses: pure functions of tensors that return one number.

An adversarial loss is a pair of functions, `NAME.critic(real, fake)` and `NAME.generator(fake)`, both to be
minimised; scores are the critic's raw outputs (logits), of any shape, averaged over batch and positions.
"""

from torch import Tensor
from torch.nn import functional

from gangraph.kernels import gdl as _gdl
from gangraph.registry import loss


@loss(latex=r"E[\lVert $x - $y \rVert_1]", words="the mean absolute difference between $x and $y")
def l1(x: Tensor, y: Tensor) -> Tensor:
    """mean |x - y| over all elements."""
    return functional.l1_loss(*_alike(x, y))


@loss(latex=r"E[\lVert $x - $y \rVert_2^2]", words="the mean squared difference between $x and $y")
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
    latex=r"-E[\log \mathrm{softmax}(${score})_{${label}}]",
    words="the cross-entropy between $score and the class $label",
)
def cross_entropy(score: Tensor, label: Tensor) -> Tensor:
    """-log softmax(score)[label], mean over the batch; scores [B, K], labels int64 [B], or one class for all."""
    if not isinstance(label, Tensor):
        return -functional.log_softmax(score, 1)[:, label].mean()
    return functional.cross_entropy(score, label)


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
    words="the mean of $fake, with a minus sign",
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
    words="the mean of $fake, with a minus sign",
)
def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (Arjovsky et al. 2017)."""
    return -fake.mean()


def _alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse two shapes that PyTorch would broadcast: between images that is always a mistake."""
    if x.shape != y.shape:
        raise ValueError(f"the shapes differ: {list(x.shape)} and {list(y.shape)}")
    return x, y
