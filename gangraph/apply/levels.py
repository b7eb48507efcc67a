"""What a network gives as levels of 8 bits, with what is lost at the ends of its range."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gangraph.check.instantiate import Interval
from gangraph.evaluate.pictures import clipped, levels_of


@dataclass
class Levels:
    """Turns images, or tiles of one image, into levels from 0 to 255, and remembers how many values were clipped.

    Args:
        interval: the range that the levels stand for.
    """

    interval: Interval
    _outside: Tensor = field(default_factory=lambda: torch.zeros(1))
    _seen: int = 0

    def __call__(self, made: Tensor) -> Tensor:
        """Images [B, C, H, W], or tiles of one image, as uint8 on the CPU."""
        made = made.float().cpu()
        count = made[0].numel()
        self._outside = self._outside + torch.tensor([clipped(each, self.interval) * count for each in made])
        self._seen += count
        return levels_of(made, self.interval)

    def clipped(self, count: int) -> list[float]:
        """The share of the values that lay outside of the range, of each of `count` images."""
        shares: list[float] = (self._outside / max(1, self._seen)).expand(count).tolist()
        return shares
