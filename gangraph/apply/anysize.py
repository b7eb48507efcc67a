"""A network over images of any size: the sizes that it takes, its receptive field, and large images as tiles.

Everything is found by running the network: sizes and memory on tensors without storage, and the receptive field by
which outputs become NaN when a stripe of the input is NaN. So no layers are known here by name, except those that
normalise by statistics of the whole image, which the tiles of an image have to share.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from gangraph.apply.sizes import Scaling, Size, main_output, result_size, scaling_of
from gangraph.apply.statistics import shared_statistics
from gangraph.errors import RunError

Finish = Callable[[Tensor], Tensor]  # from what a network gives to what is kept, of the same shape

_PROBED = 1024  # pixels of the strip on which the reach is measured; more than half of it is not found
_SAMPLED, _LEAST, _PIECES = (
    512,
    64,
    16,
)  # sides of the pieces for statistics, and their least number


class _Peak(fx.Interpreter):
    """Runs a network on tensors without storage, and finds the most bytes that its values take at once."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.peak = 0

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        alive = [value for value in (*self.env.values(), made) if isinstance(value, Tensor)]
        self.peak = max(self.peak, sum(value.nbytes for value in alive))
        return made


@dataclass
class AnySize:
    """A trained network, ready for images of any size.

    Args:
        network: the network, in the mode in which it is to run.
        bare: the same network on the meta device.
        channels, size: of images that it is known to take, such as those that it was trained on.
        memory: how many bytes it may use at once; an image that needs more is cut into tiles.
        precision: gives the context in which the network runs, such as autocast.

    Attributes:
        remarks: what a user should know about how images were processed, each once.
    """

    network: nn.Module
    bare: fx.GraphModule
    channels: int
    size: Size
    memory: float
    precision: Callable[[], AbstractContextManager[object]] = nullcontext
    remarks: dict[str, None] = field(default_factory=dict)
    _needs: dict[Size, int] = field(default_factory=dict)

    @cached_property
    def scaling(self) -> Scaling | None:
        """How the size of the output depends on that of the input; None if the network takes one size only."""
        return scaling_of(self.bare, self.channels, self.size)

    @torch.no_grad()
    def __call__(self, images: Tensor, finished: Finish = lambda made: made) -> Tensor:
        """Run images [B, C, H, W] through the network: [B, C', H', W'], where H' and W' are H and W by `scaling`.

        H and W may be any if there is a `scaling`. An image is filled up with its mirror image to a size that the
        network takes, and the result is cut back. How large images were processed is added to `remarks`. `finished` is
        called with what the network gives, of a large image tile by tile, and what it makes of each value is the
        result: large ones take little memory as bytes.

        Raises:
            RunError: an image is too large for `memory`, and cannot be cut into tiles, since each output depends on the
                whole image.
        """
        if self.scaling is None:
            return finished(self._run(images))
        padded = self._padded(images)
        size = (padded.shape[2], padded.shape[3])
        height, width = self.scaling.result((images.shape[2], images.shape[3]))
        if len(images) * self.needs(size) <= self.memory:
            return finished(self._run(padded)[:, :, :height, :width])
        made = [self._tiled(image[None], finished)[:, :, :height, :width] for image in padded]
        return torch.cat(made) if len(made) > 1 else made[0]

    def needs(self, size: Size) -> int:
        """About how many bytes one image of a size takes: twice the most that values between layers take at once.

        The factor was measured on a CPU.
        """
        if size not in self._needs:
            peak = _Peak(self.bare)
            with torch.no_grad():
                peak.run(torch.empty((1, self.channels, *size), device="meta"))
            self._needs[size] = peak.peak * self._weight.element_size() // 2
        return self._needs[size]

    def _run(self, images: Tensor) -> Tensor:
        with self.precision():
            return main_output(self.network(images))

    def _padded(self, images: Tensor) -> Tensor:
        """Images with mirrored rows added below and columns at the right, up to a size that the network takes."""
        size = self._accepted((images.shape[2], images.shape[3]))
        below, right = size[0] - images.shape[2], size[1] - images.shape[3]
        for amount, dim in ((below, 2), (right, 3)):  # mirrored as often as is needed
            while amount > 0 and images.shape[dim] > 1:
                step = min(amount, images.shape[dim] - 1)
                mirrored = images.narrow(dim, images.shape[dim] - 1 - step, step).flip(dim)
                images, amount = torch.cat([images, mirrored], dim), amount - step
            if amount:
                images = images.expand(*(size[at - 2] if at == dim else -1 for at in range(4)))
        return images

    def _accepted(self, size: Size) -> Size:
        """The least size, not below this one, that the network takes: a multiple, and not too small."""
        assert self.scaling is not None
        steps = self.scaling.multiple
        height, width = (-(-side // step) * step for side, step in zip(size, steps, strict=True))
        while (height < self.size[0] or width < self.size[1]) and (
            result_size(self.bare, self.channels, (height, width)) is None
        ):
            height, width = (
                min(height + steps[0], max(height, self.size[0])),
                min(width + steps[1], max(width, self.size[1])),
            )
        return height, width

    # Tiles

    def _tiled(self, image: Tensor, finished: Finish) -> Tensor:
        """Run one image tile by tile, each with a margin as wide as the receptive field reaches."""
        statistics = nullcontext() if self._reach is not None else shared_statistics(self.network, self._pieces(image))
        with statistics:
            reach = self._reach if self._reach is not None else self._measured()
            if reach is None:
                size, gib = f"{image.shape[3]}x{image.shape[2]}", self.needs((image.shape[2], image.shape[3])) / 2**30
                raise RunError(
                    f"{size} pixels take about {gib:.1f} GiB in one piece, and tiles would not do: what the network "
                    f"gives for one place depends on the whole image; give --memory {gib + 0.5:.0f} or a smaller --size"
                )
            if self._reach is None:
                self.remarks[
                    "large images were cut into tiles that share estimated statistics: they are approximate"
                ] = None
            else:
                self.remarks["large images were cut into overlapping tiles, which changes nothing"] = None
            return self._patched(image, reach, finished)

    def _patched(self, image: Tensor, reach: Size, finished: Finish) -> Tensor:
        assert self.scaling is not None
        height, width = image.shape[2], image.shape[3]
        made = self._result((height, width), finished)
        side = self._tile(reach, max(self.memory - made.nbytes, self.memory / 2))
        for top in _starts(height, side[0]):
            for left in _starts(width, side[1]):
                y0, y1 = max(0, top - reach[0]), min(height, top + side[0] + reach[0])
                x0, x1 = max(0, left - reach[1]), min(width, left + side[1] + reach[1])
                piece = self._run(image[:, :, y0:y1, x0:x1])
                (r0, c0), (r1, c1) = (
                    self.scaling.result((top, left)),
                    self.scaling.result((top + side[0], left + side[1])),
                )
                r1, c1 = min(r1, made.shape[2]), min(c1, made.shape[3])
                dy, dx = self.scaling.result((y0, x0))
                made[:, :, r0:r1, c0:c1] = finished(piece[:, :, r0 - dy : r1 - dy, c0 - dx : c1 - dx])
        return made

    def _result(self, size: Size, finished: Finish) -> Tensor:
        """The tensor that the tiles of an image of a size are written to."""
        assert self.scaling is not None
        probe = main_output(self.bare(torch.empty((1, self.channels, *self.size), device="meta")))
        form = finished(self._weight.new_empty((1, probe.shape[1], 0, 0)))
        return form.new_empty((1, probe.shape[1], *self.scaling.result(size)))

    def _tile(self, reach: Size, memory: float) -> Size:
        """The size of the largest tile that fits into memory with its margins, but at least the size known to work."""
        assert self.scaling is not None
        rows, columns = self.scaling.multiple
        times = 1
        while self.needs((2 * times * rows + 2 * reach[0], 2 * times * columns + 2 * reach[1])) <= memory:
            times *= 2
        for step in (times // 2, times // 4):  # sizes between two powers of two
            grown = times + step
            if step and self.needs((grown * rows + 2 * reach[0], grown * columns + 2 * reach[1])) <= memory:
                times = grown
        return max(times * rows, self.size[0]), max(times * columns, self.size[1])

    @cached_property
    def _reach(self) -> Size | None:
        """The reach of the network with each layer's own statistics; None if that is the whole image."""
        return self._measured()

    def _measured(self) -> Size | None:
        """How many pixels around a position its output depends on, in each direction, rounded up to multiples.

        None if these are more than can be measured.
        """
        assert self.scaling is not None
        found = [self._sees(axis) for axis in (0, 1)]
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    def _sees(self, axis: Literal[0, 1]) -> int | None:
        """How far a NaN spreads along one axis, in pixels, from a stripe in an input of zeros; None if to the ends.

        The stripe is as wide as the network's multiple, so that it holds every kind of position.
        """
        assert self.scaling is not None
        step, factor = self.scaling.multiple[axis], self.scaling.factor[axis]
        length = -(-max(_PROBED, 2 * self.size[axis]) // step) * step
        middle = length // (2 * step) * step
        shape = [1, self.channels, *self.size]
        shape[2 + axis] = length
        probe = torch.zeros(shape, dtype=self._weight.dtype, device=self._weight.device)
        probe.narrow(2 + axis, middle, step).fill_(torch.nan)
        reached = self._run(probe).isnan().amax(dim=(0, 1, 3 - axis)).nonzero()
        if not reached.numel():  # the network does not pass a NaN on, so its reach is not known
            return None
        first, last = Fraction(int(reached.min())) / factor, Fraction(int(reached.max()) + 1) / factor
        if first <= 0 or last >= length:
            return None
        far = max(middle - first, last - middle - step, Fraction(0))
        return int(-(-far // step) * step)

    @cached_property
    def _weight(self) -> Tensor:
        return next(self.network.parameters(), torch.empty(0))

    def _piece(self, image: Tensor, side: int) -> Size:
        assert self.scaling is not None
        height, width = (
            max(min(side, whole) // step * step, least)
            for whole, step, least in zip(image.shape[2:], self.scaling.multiple, self.size, strict=True)
        )
        return height, width

    def _pieces(self, image: Tensor) -> Tensor:
        """Pieces [N, C, h, w] of one image, evenly spread over it, as many as fit into memory."""
        assert self.scaling is not None
        side = _SAMPLED
        while side > max(_LEAST, *self.size) and self.memory < _PIECES * self.needs(self._piece(image, side)):
            side //= 2
        height, width = self._piece(image, side)
        count = max(1, int(self.memory // self.needs((height, width))))
        rows = max(1, min(-(-image.shape[2] // height), round((count * image.shape[2] / image.shape[3]) ** 0.5)))
        columns = max(1, min(-(-image.shape[3] // width), count // rows))
        tops, lefts = _spread(image.shape[2], height, rows), _spread(image.shape[3], width, columns)
        return torch.cat([image[:, :, y : y + height, x : x + width] for y in tops for x in lefts])


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along an axis: side by side, the last one moved back to end with the image."""
    return [min(start, max(0, length - side)) for start in range(0, length, side)]


def _spread(length: int, side: int, count: int) -> list[int]:
    return [round(i * max(0, length - side) / max(1, count - 1)) for i in range(count)]
