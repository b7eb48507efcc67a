"""A buffer of past values, mixed with the present ones (Shrivastava et al. 2017, section 2.3)."""

import torch
from torch import Tensor

from gangraph.data.stream import derive_seed


class History:
    """Keeps up to `size` past samples.

    While it fills, samples are stored and passed on. Once it is full, each sample is with probability 1/2
    exchanged for a stored one that is chosen uniformly, one sample after the other.
    """

    def __init__(self, name: str, size: int, seed: int) -> None:
        self.name, self.size, self.seed = name, size, seed
        self.samples: Tensor | None = None
        self.count = 0
        self.calls = 0

    def push(self, values: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Mix a batch [B, ...] with the past; same shape, no gradient.

        `chosen`, int64 [B], is for each sample the place that it is exchanged with once the buffer is full, or -1 for
        none; by default it is drawn.
        """
        if self.size == 0:
            return values.detach()
        if self.samples is None:
            self.samples = values.new_zeros((self.size, *values.shape[1:]))
        exchange, slots = exchanges(self.seed, self.name, self.calls, len(values), self.size)
        if chosen is not None:
            slots = chosen.tolist()
            exchange = [slot >= 0 for slot in slots]
        self.calls += 1
        mixed = values.detach().clone()
        for index in range(len(values)):
            if self.count < self.size:
                self.samples[self.count] = mixed[index]
                self.count += 1
            elif exchange[index]:
                stored = self.samples[slots[index]].clone()
                self.samples[slots[index]] = mixed[index]
                mixed[index] = stored
        return mixed

    def restore(
        self, samples: Tensor | None, count: int, calls: int, device: torch.device, dtype: torch.dtype | None
    ) -> None:
        """Take back what a checkpoint kept, in another type if one is given."""
        self.samples = None if samples is None else samples.to(device, dtype, copy=True)
        self.count, self.calls = count, calls


def exchanges(seed: int, name: str, call: int, batch: int, size: int) -> tuple[list[bool], list[int]]:
    """For each sample of a batch: whether it is exchanged, and for which slot."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "history", name, call))
    exchange = torch.rand(batch, generator=generator) < 0.5
    slots = torch.randint(size, (batch,), generator=generator)
    return exchange.tolist(), slots.tolist()
