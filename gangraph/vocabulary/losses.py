"""Losses: pure functions of tensors that return one number.

An adversarial loss is a pair of functions, `NAME.critic(real, fake)` and `NAME.generator(fake)`, both to be
minimised; scores are the critic's raw outputs (logits), of any shape, averaged over batch and positions.
"""

from torch import Tensor
from torch.nn import functional

from gangraph.kernels import gdl as _gdl
from gangraph.registry import loss


@loss()
def l1(x: Tensor, y: Tensor) -> Tensor:
    """mean |x - y| over all elements."""
    return functional.l1_loss(*_alike(x, y))


@loss()
def l2(x: Tensor, y: Tensor) -> Tensor:
    """mean (x - y)^2 over all elements."""
    return functional.mse_loss(*_alike(x, y))


@loss()
def gdl(prediction: Tensor, target: Tensor, alpha: float = 1.0, p: float | None = None, weight: float = 1.0) -> Tensor:
    """mean ||dx| - |dy||^alpha over neighbours in each direction, the gradient difference loss (Mathieu et al. 2016).

    Images [B, C, H, W] or clips [B, C, T, H, W], where frames are compared one by one; alpha is 1 or more. With `p` it
    adds weight * mean |x - y|^p.
    """
    number: Tensor = _gdl.gdl(*_alike(prediction, target), alpha, p, weight, impl="reference")
    return number


@loss(logits=True)
def bce(score: Tensor, target: float) -> Tensor:
    """-target log s(x) - (1 - target) log(1 - s(x)) with s the sigmoid, mean over all elements; takes logits."""
    return functional.binary_cross_entropy_with_logits(score, score.new_full((), target).expand_as(score))


@loss(logits=True)
def cross_entropy(score: Tensor, label: Tensor) -> Tensor:
    """-log softmax(score)[label], mean over the batch; scores [B, K], labels int64 [B]."""
    return functional.cross_entropy(score, label)


@loss("logistic.critic", logits=True, player="critic")
def logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-D(x))] + E[softplus(D(G(z)))] (Goodfellow et al. 2014, equation 1 on logits)."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


@loss("logistic.generator", logits=True, player="generator")
def logistic_generator(fake: Tensor) -> Tensor:
    """E[softplus(-D(G(z)))], the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return functional.softplus(-fake).mean()


@loss("minimax.critic", logits=True, player="critic")
def minimax_critic(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's loss of the minimax game: the same as logistic.critic."""
    return logistic_critic(real, fake)


@loss("minimax.generator", logits=True, player="generator", saturates=True)
def minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - s(D(G(z))))] = -E[softplus(D(G(z)))], which saturates where the critic wins (2014, equation 1)."""
    return -functional.softplus(fake).mean()


@loss("least_squares.critic", logits=True, player="critic")
def least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[(D(x) - 1)^2] + E[D(G(z))^2] (Mao et al. 2017, equation 9 without its factor 1/2)."""
    return (real - 1).square().mean() + fake.square().mean()


@loss("least_squares.generator", logits=True, player="generator")
def least_squares_generator(fake: Tensor) -> Tensor:
    """E[(D(G(z)) - 1)^2] (Mao et al. 2017, equation 9 without its factor 1/2)."""
    return (fake - 1).square().mean()


@loss("hinge.critic", logits=True, player="critic")
def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Lim and Ye 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


@loss("hinge.generator", logits=True, player="generator")
def hinge_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (Lim and Ye 2017)."""
    return -fake.mean()


@loss("wasserstein.critic", logits=True, player="critic", needs_lipschitz=True)
def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)] (Arjovsky et al. 2017, equation 3 with the sign of a loss)."""
    return fake.mean() - real.mean()


@loss("wasserstein.generator", logits=True, player="generator")
def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (Arjovsky et al. 2017)."""
    return -fake.mean()


def _alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse two shapes that PyTorch would broadcast: between images that is always a mistake."""
    if x.shape != y.shape:
        raise ValueError(f"the shapes differ: {list(x.shape)} and {list(y.shape)}")
    return x, y
