"""Layers and ops of autoregressive models, which predict each pixel of an image from those before it.

Pixels come row by row from the top, each row from the left, and the colours of a pixel one after another. The channels
of a map are interleaved by colour: channel k belongs to colour k mod `colours`. So any number of channels will do, and
the sum of two maps is again ordered like this. Image, features and logits follow the same rule.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph.registry import layer, loss, op

MASKS = ("A", "B", "above", "row")


class MaskedConv2d(nn.Conv2d):
    """A convolution masked to what comes before a pixel: [B, in, H, W] to [B, out, H, W], zeros around the image.

    Every call multiplies the weight by the mask. Every mask keeps all of the rows above; of the pixel's own row it
    keeps

    - "A": the pixels to the left, and of the pixel itself the colours before (colour i for colour j where i < j);
    - "B": the same, and each colour itself (i <= j);
    - "above": nothing;
    - "row": all of it, for features that are computed from the rows above alone.

    "A" is for the first layer, whose input is the image, and "B" for those after it (van den Oord et al. 2016, figure
    4). The other two make the vertical stack of the gated form (section 2.2 of its paper). `parts` says that the
    channels consist of so many equal parts, each with the colours in order: 2 before the op `gated`. Kernels are odd:
    3, or [1, 3].
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        mask: str,
        colours: int = 1,
        parts: int = 1,
        bias: bool = True,
    ) -> None:
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError(f"a masked kernel has a centre, so its sizes are odd, but got {height} x {width}")
        if mask not in MASKS:
            raise ValueError(f"mask is '{mask}', expected one of {', '.join(MASKS)}")
        if mask == "above" and height == 1:
            raise ValueError("a kernel of one row sees nothing above")
        if colours < 1 or parts < 1 or out_channels % parts:
            raise ValueError(f"{out_channels} channels are not {parts} equal parts with {colours} colours")
        super().__init__(in_channels, out_channels, (height, width), padding=(height // 2, width // 2), bias=bias)
        self.kind, self.colours, self.parts = mask, colours, parts
        self.register_buffer("mask", self._mask(), persistent=False)

    def _mask(self) -> Tensor:
        height, width = self.kernel_size
        return causal_mask(
            self.kind, self.out_channels // self.parts, self.in_channels, height, width, self.colours
        ).repeat(self.parts, 1, 1, 1)

    def reset_parameters(self) -> None:
        """PyTorch's initialization of a convolution; the mask is written again, since the storage may be new."""
        super().reset_parameters()
        if hasattr(self, "mask"):
            self.mask.copy_(self._mask())

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H, W]."""
        height, width = self.kernel_size
        weight = self.weight * self.mask
        return functional.conv2d(x, weight, self.bias, padding=(height // 2, width // 2))

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, mask={self.kind}"
        return f"{sizes}, colours={self.colours}, parts={self.parts}, bias={self.bias is not None}"


def causal_mask(kind: str, out_channels: int, in_channels: int, height: int, width: int, colours: int) -> Tensor:
    """Which entries of a kernel are kept: bool [out, in, height, width]."""
    rows = torch.arange(height)[:, None] - height // 2
    columns = torch.arange(width)[None] - width // 2
    if kind in ("above", "row"):
        seen = rows.expand(height, width) < (0 if kind == "above" else 1)
        return seen.expand(out_channels, in_channels, -1, -1).clone()
    before = (rows < 0) | ((rows == 0) & (columns < 0))
    centre = (rows == 0) & (columns == 0)
    source = torch.arange(in_channels)[None] % colours
    target = torch.arange(out_channels)[:, None] % colours
    known = source < target if kind == "A" else source <= target
    return before | (centre & known[:, :, None, None])


layer("masked_conv2d", init="conv", moves_state=False)(MaskedConv2d)


def _step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM from its gates o, f, i and g: c = f c + i g and h = o tanh(c), g squashed by tanh."""
    o, f, i, g = gates.chunk(4, -1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


class _Scan(nn.Module):
    """An LSTM over an image: gates from the input, gates from the state, and a learned initial state."""

    def __init__(self, in_channels: int, features: int, kernel: int, kernel_of_state: int, side: int, colours: int):
        super().__init__()
        if features < 1 or kernel < 1:
            raise ValueError(f"features and kernel are at least 1, but got {features} and {kernel}")
        self.from_input = MaskedConv2d(in_channels, 4 * features, (1, kernel), "B", colours, parts=4)
        self.from_state = nn.Conv1d(features, 4 * features, kernel_of_state, bias=False)
        self.hidden = nn.Parameter(torch.zeros(features, side))
        self.cell = nn.Parameter(torch.zeros(features, side))

    def reset_parameters(self) -> None:
        """An initial state of zeros; the convolutions initialize themselves."""
        nn.init.zeros_(self.hidden)
        nn.init.zeros_(self.cell)

    def scan(self, gates: Tensor, dim: int, before: int) -> Tensor:
        """Step along `dim` of the gates [B, 4 features, H, W]; the state's kernel begins `before` places earlier.

        Features are moved to the last axis: a step is then one product of matrices, several times faster than a
        convolution.
        """
        weight = self.from_state.weight.permute(2, 1, 0).flatten(0, 1)  # [kernel * features, 4 * features]
        shifts = [before - tap for tap in range(self.from_state.kernel_size[0])]
        hidden, cell = (state.t().expand(len(gates), -1, -1) for state in (self.hidden, self.cell))
        made = []
        for one in gates.movedim((dim, 1), (0, 3)).contiguous():
            seen = torch.cat([functional.pad(hidden, (0, 0, shift, -shift)) for shift in shifts], 2)
            hidden, cell = _step(one + seen @ weight, cell)
            made.append(hidden)
        return torch.stack(made).movedim((0, 3), (dim, 1))


class RowLstm(_Scan):
    """An LSTM that reads an image row by row: [B, C, H, W] to [B, features, H, W] (van den Oord et al. 2016, 3.1).

    The gates are computed from the row's pixels up to this one, by a 1 x `kernel` convolution with mask B, and from the
    state of the row above, by one of the same width; so a pixel depends on a triangle above it. The initial state is
    learned for each column, so the images of all calls have the same width.
    """

    def __init__(self, in_channels: int, width: int, features: int, kernel: int = 3, colours: int = 1) -> None:
        super().__init__(in_channels, features, kernel, kernel, width, colours)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, features, H, W]."""
        _require_side("width", x.shape[3], self.hidden.shape[1])
        return self.scan(self.from_input(x), 2, self.from_state.kernel_size[0] // 2)


class _Diagonal(_Scan):
    """An LSTM along the diagonals of an image from the upper left: a state is made of those above and to the left."""

    def __init__(self, in_channels: int, height: int, features: int, colours: int) -> None:
        super().__init__(in_channels, features, 1, 2, height, colours)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, features, H, W]."""
        return unskewed(self.scan(skewed(self.from_input(x)), 3, 1))


class DiagonalLstm(nn.Module):
    """Two LSTMs along the diagonals, from both upper corners: [B, C, H, W] to [B, features, H, W].

    Their outputs are added. That of the LSTM from the right is shifted down by a row before, because pixels to the
    right come later; so a pixel depends on all pixels before it (van den Oord et al. 2016, section 3.2). The input goes
    through a 1 x 1 convolution with mask B. The initial state is learned for each row, so the images of all calls have
    the same height.
    """

    def __init__(self, in_channels: int, height: int, features: int, colours: int = 1) -> None:
        super().__init__()
        self.left = _Diagonal(in_channels, height, features, colours)
        self.right = _Diagonal(in_channels, height, features, colours)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, features, H, W]."""
        _require_side("height", x.shape[2], self.left.hidden.shape[1])
        late = self.right(x.flip(3)).flip(3)[:, :, :-1]
        made: Tensor = self.left(x) + functional.pad(late, (0, 0, 1, 0))
        return made


def skewed(x: Tensor) -> Tensor:
    """Row r shifted to the right by r: [B, C, H, W] to [B, C, H, W + H - 1], zeros around it."""
    height, width = x.shape[2:]
    wide = functional.pad(x, (0, height)).flatten(2)
    return wide[:, :, : height * (width + height - 1)].reshape(*x.shape[:3], -1)


def unskewed(x: Tensor) -> Tensor:
    """The inverse of `skewed`: [B, C, H, W + H - 1] to [B, C, H, W]."""
    height, width = x.shape[2:]
    return functional.pad(x.flatten(2), (0, height)).reshape(*x.shape[:3], -1)[..., : width + 1 - height]


@layer()
def row_lstm(x: Tensor, features: int, kernel: int = 3, colours: int = 1) -> nn.Module:
    """An LSTM over the rows of an image, masked along the row: [B, C, H, W] to [B, features, H, W].

    Van den Oord et al. (2016), section 3.1; the initial state is learned for each column.
    """
    _require_image(x)
    return RowLstm(x.shape[1], x.shape[3], features, kernel, colours)


@layer()
def diagonal_lstm(x: Tensor, features: int, colours: int = 1) -> nn.Module:
    """LSTMs along the diagonals from both upper corners, added: [B, C, H, W] to [B, features, H, W].

    Van den Oord et al. (2016), section 3.2; the output of the LSTM from the right is shifted down by a row, and the
    initial states are learned for each row.
    """
    _require_image(x)
    return DiagonalLstm(x.shape[1], x.shape[2], features, colours)


@op(range=lambda _: (-1.0, 1.0), latex=r"\tanh(${x}_1) \odot \sigma(${x}_2)")
def gated(x: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves of the channels: [B, 2 C, ...] to [B, C, ...].

    Van den Oord et al. (2016b), equation 2; a masked convolution before it has `parts=2`.
    """
    if x.shape[1] % 2:
        raise ValueError(f"{x.shape[1]} channels have no two halves")
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


@loss(
    logits=("logits",),
    ranges={"target": (0.0, 1.0)},
    latex=r"-E[\log \mathrm{softmax}(${logits})_{${target}}]",
    words="the negative log-likelihood of $target under a distribution over levels for each pixel, of logits $logits",
)
def categorical_nll(logits: Tensor, target: Tensor) -> Tensor:
    """-log softmax(logits)[level], summed over a sample's pixels and colours, mean over the batch; in nats.

    The target [B, C, H, W] in [0, 1] is rounded to the levels k / (levels - 1). Their number follows from the logits
    [B, levels * C, H, W], in which channel k * C + c belongs to level k and colour c (van den Oord et al. 2016, 2.2).
    """
    levels = levels_per_colour(logits, target)
    if levels < 2:
        raise ValueError("one logit for each pixel is a Bernoulli distribution: bernoulli_nll")
    chosen = (target * (levels - 1)).round().long()
    numbers = functional.cross_entropy(logits.reshape(len(logits), levels, *target.shape[1:]), chosen, reduction="none")
    return numbers.flatten(1).sum(1).mean()


def levels_per_colour(logits: Tensor, image: Tensor) -> int:
    """How many logits there are for each colour of a pixel; 1 is a Bernoulli distribution. Raises ValueError."""
    shape, target = list(map(int, logits.shape)), list(map(int, image.shape))
    if image.dim() != 4 or not image.is_floating_point():
        raise ValueError(f"expected images [B, C, H, W], but got {target}")
    if len(shape) != 4 or shape[0] != target[0] or shape[2:] != target[2:] or shape[1] % target[1]:
        expected = f"[{target[0]}, levels * {target[1]}, {target[2]}, {target[3]}]"
        raise ValueError(f"logits are {shape} for an image {target}, expected {expected}")
    return shape[1] // target[1]


def _require_image(x: Tensor) -> None:
    if x.dim() != 4:
        raise ValueError(f"expected images [B, C, H, W], but got {x.dim()} dimensions")


def _require_side(name: str, found: int, made_for: int) -> None:
    if found != made_for:
        raise ValueError(f"the first state was made for a {name} of {made_for}, and this image has {found}")
