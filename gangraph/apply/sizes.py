"""Which sizes of images a network takes, and the sizes of its outputs, found by running it without storage."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, fx

Size = tuple[int, int]  # height and width in pixels


@dataclass(frozen=True, slots=True)
class Scaling:
    """The sizes that a network takes and gives, for height and width.

    It takes sides that are multiples of `multiple`, and its outputs have `factor` times as long ones.
    """

    multiple: Size
    factor: tuple[Fraction, Fraction]

    def result(self, size: Size) -> Size:
        """The size of the output for an image of a size, rounded up for sides that are no multiples."""
        height, width = (-int(-side * factor // 1) for side, factor in zip(size, self.factor, strict=True))
        return height, width


def scaling_of(network: fx.GraphModule, channels: int, size: Size) -> Scaling | None:
    """How the size of a network's output depends on that of its input; None if it takes one size only.

    Args:
        network: on the meta device, in the mode in which it will run.
        channels, size: of images that it is known to take.
    """
    made = result_size(network, channels, size)
    if made is None:
        return None
    factor = Fraction(made[0], size[0]), Fraction(made[1], size[1])

    def works(height: int, width: int) -> bool:
        made = result_size(network, channels, (size[0] + height, size[1] + width))
        expected: tuple[Fraction, Fraction] = (size[0] + height) * factor[0], (size[1] + width) * factor[1]
        return made is not None and all(side == its for side, its in zip(made, expected, strict=True))

    def smallest(side: int, grown: Callable[[int], bool]) -> int | None:
        steps = (step for step in range(1, side + 1) if side % step == 0)
        return next((step for step in steps if all(grown(step * times) for times in (1, 2, 3, 5))), None)

    rows, columns = smallest(size[0], lambda by: works(by, 0)), smallest(size[1], lambda by: works(0, by))
    if rows is None or columns is None or not works(rows, 2 * columns):
        return None
    return Scaling((rows, columns), factor)


@torch.no_grad()
def result_size(network: fx.GraphModule, channels: int, size: Size) -> Size | None:
    """The size of what a network on the meta device gives for an image of a size; None if it cannot take one."""
    try:
        made = main_output(network(torch.empty((1, channels, *size), device="meta")))
    except Exception:  # torch's layers raise many types; every one means that the input does not fit
        return None
    return (made.shape[2], made.shape[3]) if made.dim() == 4 else None


def main_output(made: Tensor | dict[str, Tensor]) -> Tensor:
    """The main output of a network, which may have other outputs by name."""
    return made if isinstance(made, Tensor) else made[""]


def meta_copy(module: fx.GraphModule, *, training: bool) -> fx.GraphModule:
    """A copy of a network on the meta device, in training or evaluation mode."""
    return copy.deepcopy(module).train(training)
