"""Layers and ops that couple the samples of a batch: the output for one sample depends on the others.

All have the trait `mixes_samples`: the planner never merges calls of a network that has one, since every sample would
then be compared with others. The trait `grows_with_batch` says that the numbers depend on how many samples there are.
"""

import math

import torch
from torch import Tensor, nn

from gangraph.registry import layer, op


class BatchError(ValueError):
    """A batch has too few samples, or a number of samples that cannot be divided into groups."""


class MinibatchDiscrimination(nn.Module):
    """How near each sample is to the others of its batch: features [B, A] to [B, A + kernels] (Salimans et al. 2016).

    With M_i = f(x_i) T cut into kernels of `dims` numbers, o_ib = sum over j of exp(-||M_ib - M_jb||_1) is appended to
    f(x_i). The sum leaves out j = i, as the authors' code does; with `own` it has this term, a constant 1, as the
    paper's formula. `bias` adds a learned number per kernel to o. T has a direction and a learned length exp(log_scale)
    per column, which starts at `length`; with `length=none` it is free. Row b * dims + c of `weight` is column (b, c)
    of T and starts as N(0, 0.05). If samples are alike at the start, a larger length separates them.
    """

    def __init__(
        self,
        in_features: int,
        kernels: int = 100,
        dims: int = 5,
        own: bool = False,
        bias: bool = True,
        length: float | None = 1.0,
    ) -> None:
        super().__init__()
        if kernels < 1 or dims < 1:
            raise ValueError(f"kernels and dims are at least 1, but got {kernels} and {dims}")
        if length is not None and length <= 0:
            raise ValueError(f"a length is above 0, but got {length}")
        self.kernels, self.dims, self.own, self.length = kernels, dims, own, length
        self.weight = nn.Parameter(torch.empty(kernels * dims, in_features))
        self.log_scale = nn.Parameter(torch.empty(kernels * dims)) if length is not None else None
        self.bias = nn.Parameter(torch.empty(kernels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A weight N(0, 0.05), lengths of `length` and biases of 0."""
        nn.init.normal_(self.weight, 0.0, 0.05)
        if self.log_scale is not None and self.length is not None:
            nn.init.constant_(self.log_scale, math.log(self.length))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, A] to [B, A + kernels]."""
        if x.dim() != 2:
            raise ValueError(f"expected features [B, A], but got {x.dim()} dimensions: flatten or mean_pool before it")
        require_others(x, "minibatch_discrimination")
        rows = (x @ self._columns()).reshape(len(x), 1, self.kernels, self.dims)
        near = torch.exp(-(rows - rows.transpose(0, 1)).abs().sum(3)).sum(1)
        near = near if self.own else near - 1  # a sample's nearness to itself is exp(0)
        return torch.cat([x, near if self.bias is None else near + self.bias], dim=1)

    def _columns(self) -> Tensor:
        """T as a matrix [A, kernels * dims]."""
        if self.log_scale is None:
            return self.weight.t()
        lengths: Tensor = torch.linalg.vector_norm(self.weight, dim=1)
        return (self.weight * (self.log_scale.exp() / lengths)[:, None]).t()

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{self.weight.shape[1]}, kernels={self.kernels}, dims={self.dims}, own={self.own}, length={self.length}"


layer("minibatch_discrimination", init="linear", mixes_samples=True, grows_with_batch=True)(MinibatchDiscrimination)


@op(mixes_samples=True, range=lambda x, *_: (min(x[0], 0.0), float("inf")))
def minibatch_std(x: Tensor, group: int = 4, eps: float = 1e-8) -> Tensor:
    """Append how much a group of samples varies, as one map: [B, C, ...] to [B, C + 1, ...] (Karras et al. 2018).

    Sample n is in group n % (B / group); the number is the mean over all features of sqrt(variance + eps), the variance
    that of the group without Bessel's correction. A batch smaller than `group` is one group.
    """
    require_others(x, "minibatch_std")
    if group < 2:
        raise ValueError(f"a group has at least 2 samples, but got {group}")
    size = min(group, len(x))
    if len(x) % size:
        raise BatchError(f"minibatch_std divides a batch into groups of {size}, and {len(x)} samples leave a remainder")
    grouped = x.reshape(size, len(x) // size, -1)
    spread = torch.sqrt(grouped.var(0, correction=0) + eps).mean(1)
    return torch.cat([x, _as_map(spread.repeat(size), x)], dim=1)


def _as_map(numbers: Tensor, like: Tensor) -> Tensor:
    """One number a sample as a feature or as a constant map: [B] to [B, 1, ...]."""
    return numbers.reshape(-1, *(1,) * (like.dim() - 1)).expand(-1, -1, *like.shape[2:])


@op(mixes_samples=True, range=lambda x: x, latex="E[${x}]", words="the mean of $x over the batch")
def batch_mean(x: Tensor) -> Tensor:
    """Mean over the samples of the batch, which keeps the features apart: [B, ...] to [1, ...]."""
    return x.mean(0, keepdim=True)


@op(mixes_samples=True, range=lambda x, *_: x, words="sample $index of $x")
def pick(x: Tensor, index: int) -> Tensor:
    """One sample of the batch in the place of every sample: [B, ...] to [B, ...]; counted from 0.

    With it a grid shows every pair of two batches, `[G(w, pick(v, k)) for k in 0..5]`, and a source is drawn once for
    a batch: `pick(uniform(1), 0)`.
    """
    if index < 0:
        raise BatchError(f"samples are counted from 0, but got {index}")
    if x.is_meta:  # checked with the batch of training, while a picture may have more samples
        return torch.empty_like(x)
    if index >= len(x):
        raise BatchError(f"a batch of {len(x)} has no sample {index}; the first is sample 0")
    return x[index : index + 1].expand_as(x)


def require_others(x: Tensor, name: str) -> None:
    """Refuse a batch of fewer than two samples. Raises BatchError."""
    if len(x) < 2:
        raise BatchError(f"{name} compares the samples of a batch, and a batch of {len(x)} has no two")
