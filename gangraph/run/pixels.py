"""Images drawn pixel by pixel from a network that predicts each pixel from those before it."""

from itertools import product

import torch
from torch import Tensor, nn

from gangraph.terminal import Countdown
from gangraph.vocabulary.causal import levels_per_colour


class PixelByPixel(nn.Module):
    """A network that gives logits of an image's pixels, as one that draws the pixels in raster order.

    Each pixel, colour by colour, is drawn from the network's output for the image as it is so far, which is 0 where
    nothing was drawn yet: one call for each. The network is in evaluation mode meanwhile.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.no_grad()
    def forward(self, *given: Tensor, at: tuple[int, ...], output: str = "", rows: int = 0) -> Tensor:
        """The image with its first `rows` as they are, and all other pixels drawn.

        Args:
            given: the network's inputs, then uniform numbers of the image's shape.
            at: which inputs are the image [B, C, H, W], with levels in [0, 1].
            output: which output of the network has the logits.
        """
        *inputs, uniform = given
        drawn = inputs[at[0]].clone()
        drawn[:, :, rows:] = 0
        inputs = [drawn if index in at else value for index, value in enumerate(inputs)]
        pixels = list(product(range(rows, drawn.shape[2]), range(drawn.shape[3]), range(drawn.shape[1])))
        training = self.network.training
        self.network.eval()
        said = Countdown("drawing pixel", len(pixels))
        for row, column, colour in pixels:
            made = self.network(*inputs)
            logits = made[output] if output else made
            own = logits[:, colour :: drawn.shape[1], row, column]
            drawn[:, colour, row, column] = _level(
                own, uniform[:, colour, row, column], levels_per_colour(logits, drawn)
            )
            said.one_more()
        self.network.train(training)
        return drawn


def _level(logits: Tensor, uniform: Tensor, levels: int) -> Tensor:
    """Levels in [0, 1] of logits [B, levels], by uniform numbers [B]; a single logit is that of 1 against 0."""
    if levels == 1:
        return (uniform < torch.sigmoid(logits[:, 0])).to(uniform.dtype)
    below = torch.softmax(logits.to(uniform.dtype), 1).cumsum(1)[:, :-1]
    return (uniform[:, None] >= below).sum(1).to(uniform.dtype) / (levels - 1)
